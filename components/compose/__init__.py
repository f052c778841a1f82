"""The compose step: one transform for each slice, out of the evidence on the pairs."""
