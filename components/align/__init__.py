"""The align step: features of each slice, and the evidence on how each pair of slices lies to one another."""
