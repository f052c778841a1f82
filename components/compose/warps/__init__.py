"""Soft warps: smooth displacements that one slice has, and neither its neighbours nor the tissue."""
