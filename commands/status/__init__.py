"""`fibstack status`: how far a run is."""
