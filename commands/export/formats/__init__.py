"""Formats of pictures that `fibstack export` writes for other programs, a class for each."""
