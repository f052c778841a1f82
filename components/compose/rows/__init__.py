"""Jitter of rows: shifts that the rows of one slice have, and neither its neighbours nor the tissue."""
