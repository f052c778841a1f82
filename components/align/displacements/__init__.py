"""Displacements of a slice beyond its transform: shifts of its rows and soft warps, each told twice."""
