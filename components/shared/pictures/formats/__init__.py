"""Formats of image files: headers, tags, and decoders that notice every damage."""
