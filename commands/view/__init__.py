"""`fibstack view` and `link`: a volume in the browser."""
