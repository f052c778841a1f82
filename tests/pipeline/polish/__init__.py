"""A step that exists in a test only: it writes the key `colour` into a file for each chunk of slices."""
