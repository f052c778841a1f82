"""The check of the solution on thumbnails, which gates the costly part."""
