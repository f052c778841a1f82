"""From figures of each slice to its verdict, and from there to what is shown at its place."""
