"""`fibstack view`, `link` and `share`: a volume in the browser."""
