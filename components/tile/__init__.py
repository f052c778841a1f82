"""The `tile` step: warps and contrast-normalises slices and writes them as tiles."""
