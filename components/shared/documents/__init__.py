"""The documents of a run: what is in `process/`, and the configuration."""
