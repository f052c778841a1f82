"""Accuracy against an exact truth: planes along the image axes of an isotropic volume."""
