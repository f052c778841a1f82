"""`fibstack share`: a volume for others to look at, in a public bucket or in a folder for a web server."""
