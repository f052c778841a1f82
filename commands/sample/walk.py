"""The random walk on which the slices of a sample lie."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from commands.sample.truth import Defect, Truth, TruthSlice
from components.shared.documents.transforms import Matrix3
from components.shared.geometry import Matrix, rotation_about, translation

STEP_PX = 2.0
"""Standard deviation of the step from a slice to the next, along x and along y."""
JUMP_SHARE, JUMP_PX = 0.04, 9.0
"""Share of the steps that are jumps, and their standard deviation."""
TURN_DEG, TURN_MEMORY = 0.07, 0.97
"""Standard deviation of the rotation between slices, and the share that the next slice keeps of it."""
SLIP_PX = (34.0, -23.0)
"""Displacement of a slice with the defect `slip`."""


def make_truth(seed: int, size_xy: tuple[int, int], z_range: range, defects: Mapping[int, Defect]) -> Truth:
    """A random walk of slices: steps of some px, now and then a jump, and small rotations about the centre.

    A duplicate lies where the previous slice lies, for it shows the same picture.

    Args:
        seed: Number of the walk.
        size_xy: Width and height of the slices in px.
        z_range: Numbers of the slices.
        defects: Planted defects by z.
    """
    rng = np.random.default_rng([seed, 3])
    shift, angle = np.zeros(2), 0.0
    center = (np.array(size_xy) - 1) / 2
    slices: list[TruthSlice] = []
    for z in z_range:
        shift = shift + rng.normal(0, STEP_PX, 2) + (rng.uniform() < JUMP_SHARE) * rng.normal(0, JUMP_PX, 2)
        angle = TURN_MEMORY * angle + rng.normal(0, TURN_DEG)
        defect = defects.get(z, "")
        x, y = shift + (SLIP_PX if defect == "slip" else (0.0, 0.0))
        matrix = translation(x, y) @ rotation_about(center, math.radians(angle))
        lies = slices[-1].matrix if defect == "duplicate" else as_rows(matrix)
        slices.append(TruthSlice(z=z, matrix=lies, defect=defect))
    return Truth(seed=seed, width_px=size_xy[0], height_px=size_xy[1], slices=tuple(slices))


def as_rows(matrix: Matrix) -> Matrix3:
    """A matrix as the nested tuples of a document."""
    first, second, third = (tuple(float(value) for value in row) for row in matrix)
    return (first, second, third)  # type: ignore[return-value]  # three rows of three
