"""`fibstack data`: slices before a run, and results after it."""
