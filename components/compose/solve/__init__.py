"""The global solve: where each slice lies."""
