"""What goes into a solve, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Accepted pairs, ascending in slot and neighbour. A slot counts the present slices from 0."""

    slot: Integers
    neighbour: Integers
    neighbour_from_slice: Floats
    """[m, 3, 3] at full resolution."""
    sigma_px: Floats

    def __len__(self) -> int:
        return len(self.slot)

    def chosen(self, mask: NDArray[np.bool_]) -> Pairs:
        """The pairs where `mask` is true."""
        return Pairs(
            slot=self.slot[mask],
            neighbour=self.neighbour[mask],
            neighbour_from_slice=self.neighbour_from_slice[mask],
            sigma_px=self.sigma_px[mask],
        )

    def joined(self, others: Pairs) -> Pairs:
        """These pairs and others, ascending."""
        slot = np.concatenate([self.slot, others.slot])
        neighbour = np.concatenate([self.neighbour, others.neighbour])
        order = np.lexsort((neighbour, slot))
        matrices = np.concatenate([self.neighbour_from_slice, others.neighbour_from_slice])
        return Pairs(
            slot=slot[order],
            neighbour=neighbour[order],
            neighbour_from_slice=matrices[order],
            sigma_px=np.concatenate([self.sigma_px, others.sigma_px])[order],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The present slices, z ascending; their position is their slot."""

    z: Integers
    sizes_xy: Floats
    """[n, 2] width and height in px."""

    def __len__(self) -> int:
        return len(self.z)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Where the slices lie, and how far each pair agrees."""

    volume_from_slice: Floats
    """[n, 3, 3], one for each slot."""
    weight: Floats
    """[m] weight of each pair, 0..1; 0 where it is not believed."""
    residual_px: Floats
    """[m] RMS misfit over the area that the pair's slices share."""

    @property
    def kept(self) -> NDArray[np.bool_]:
        """The pairs that are believed."""
        return self.weight > 0
