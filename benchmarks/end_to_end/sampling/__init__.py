"""A folder for `PYTHONPATH`: Python programs that start with it say where their CPU time goes."""
