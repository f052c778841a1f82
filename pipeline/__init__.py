"""The pipeline as it is submitted: its graph, its settings, and what compiles, runs and submits it."""
