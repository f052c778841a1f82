"""Slices as files: formats, headers, numbers to grey levels."""
