"""Objects in a folder or a bucket."""
