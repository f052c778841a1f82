"""`fibstack apply`: what a run has found, used on points or on another stack."""
