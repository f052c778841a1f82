"""`fibstack design`: what a run would do and cost."""
