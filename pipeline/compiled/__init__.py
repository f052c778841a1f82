"""The compiled pipeline: made, checked, and read again."""
