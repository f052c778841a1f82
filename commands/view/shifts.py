"""Which slices lay furthest from where the slice before them does, in the raw stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.shared.documents.transforms import Transforms

N_SHIFTS = 20
LEAST_SHIFT_PX = 1.0
"""Smaller ones are not worth a look, however large among the others."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a slice was moved against the one before."""

    z: int
    against_z: int
    """The slice before that is shown itself; z - 1 but for bad slices between."""
    px: float
    """Of the point that lies in the middle of the volume, in full-resolution px."""


def largest_shifts(transforms: Transforms) -> list[Shift]:
    """The largest shifts that the alignment has taken out, z ascending.

    Slices that are not shown themselves have no say: where they lie is not known.
    """
    shown = [s for s in transforms.slices if s.action in ("keep", "invert")]
    if len(shown) < 2:
        return []
    volume_from_slice = np.array([s.matrix for s in shown])
    width, height, _ = transforms.volume_size_xyz
    middle = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    in_slices = np.linalg.solve(volume_from_slice, middle[:, None])[..., 0]
    moved = np.einsum("nij,nj->ni", volume_from_slice[:-1], in_slices[1:]) - middle
    px = np.hypot(moved[:, 0], moved[:, 1])
    largest = sorted(i for i in np.argsort(-px, kind="stable")[:N_SHIFTS] if px[i] >= LEAST_SHIFT_PX)
    return [Shift(shown[i + 1].z, shown[i].z, float(px[i])) for i in largest]
