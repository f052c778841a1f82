"""The plain way: each slice is placed by its pair with the one before it, and nothing corrects the drift.

The frame is that of the first slice: its matrix is the identity.
"""

from __future__ import annotations

import numpy as np

from components.compose.solve.pairs import Pairs, Solution


def of_neighbours(pairs: Pairs) -> Pairs:
    """The pairs of slices next to each other."""
    return pairs.chosen(pairs.neighbour - pairs.slot == 1)


def compose(pairs: Pairs, n_slices: int) -> Solution:
    """Place each slice by the product of the pairs before it.

    `volume_from_slice(z + 1) = volume_from_slice(z) @ inverse(neighbour_from_slice)`. A slice without a pair
    to the one before takes that slice's matrix. Every pair is believed.

    Args:
        pairs: At most one pair (slot, slot + 1) for each slot, see `of_neighbours`.
        n_slices: Number of slots.
    """
    slice_from_neighbour = np.tile(np.eye(3), (n_slices, 1, 1))
    slice_from_neighbour[pairs.slot] = np.linalg.inv(pairs.neighbour_from_slice)
    matrices = np.empty((n_slices, 3, 3))
    matrices[0] = np.eye(3)
    for slot in range(1, n_slices):
        matrices[slot] = matrices[slot - 1] @ slice_from_neighbour[slot - 1]
    return Solution(volume_from_slice=matrices, weight=np.ones(len(pairs)), residual_px=np.zeros(len(pairs)))
