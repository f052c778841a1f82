"""`fibstack apply`: what a run has found, used on something else: on points."""
