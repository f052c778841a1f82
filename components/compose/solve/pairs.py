"""Slices, pairs and the solution: what goes into a solve and what comes out of it, as arrays.

The words of this room (docs/glossary.md): a *slot* is the position of a slice among those that are present, z
ascending. A pair is *accepted* where matching found evidence enough, and *kept* where the solve gives it a
weight above 0. A slice is *held* where a kept pair ties it to another one, else it is *isolated*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compose.solve.limits import ROUND_OFF

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

CORNERS: Floats = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
"""The corners of the unit square, `[4, 2]`; times (size - 1) they are the corner pixels' centres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """The present slices of a stack, z ascending. The position of a slice here is its slot."""

    z: Integers
    """[n] number of each slice."""
    sizes_xy: Floats
    """[n, 2] width and height in px."""

    def __len__(self) -> int:
        return len(self.z)

    @property
    def slot_of(self) -> dict[int, int]:
        """The slot of each z."""
        return {z: slot for slot, z in enumerate(self.z.tolist())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Accepted pairs of slices, ascending in slot and neighbour."""

    slot: Integers
    neighbour: Integers
    """[m] slot of the second slice, above that of the first."""
    neighbour_from_slice: Floats
    """[m, 3, 3] at full resolution."""
    sigma_px: Floats
    """[m] 1-sigma of the transform at the picture's centre, as matching states it."""
    supports_px: Floats
    """[m, 4] left, top, right, bottom of where the evidence lies in the first slice; not a number where that
    is not known."""

    def __len__(self) -> int:
        return len(self.slot)

    def chosen(self, mask: Flags) -> Pairs:
        """The pairs where `mask` is true."""
        return Pairs(
            slot=self.slot[mask],
            neighbour=self.neighbour[mask],
            neighbour_from_slice=self.neighbour_from_slice[mask],
            sigma_px=self.sigma_px[mask],
            supports_px=self.supports_px[mask],
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
            supports_px=np.concatenate([self.supports_px, others.supports_px])[order],
        )


def unknown_supports(n_pairs: int) -> Floats:
    """The supports of pairs whose evidence may lie anywhere in what their slices share."""
    return np.full((n_pairs, 4), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The result of a solve: the place of every slice, and how far each pair agrees with it."""

    volume_from_slice: Floats
    """[n, 3, 3], one for each slot, in the frame of the solve."""
    weight: Floats
    """[m] robust weight of each pair, 0..1; 0 where it is not kept."""
    residual_px: Floats
    """[m] RMS misfit over the area that the pair's slices share."""

    @property
    def kept(self) -> Flags:
        """[m] whether a pair is kept."""
        return self.weight > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSupport:
    """Support of each slice's place by its accepted pairs, `[n]` each."""

    n_pairs: Integers
    """Number of accepted pairs."""
    mean_weight: Floats
    """Mean of their robust weights, 0..1."""
    residual_px: Floats
    """RMS misfit of the pairs, weighted by their robust weights; 0 where none is kept."""

    @classmethod
    def of(cls, pairs: Pairs, solution: Solution, n_slices: int) -> PairSupport:
        """Sum each pair's weight and misfit at both of its slices."""
        ends = np.concatenate([pairs.slot, pairs.neighbour])
        count = np.bincount(ends, minlength=n_slices)
        weight = np.bincount(ends, np.tile(solution.weight, 2), minlength=n_slices)
        squares = np.bincount(ends, np.tile(solution.weight * solution.residual_px**2, 2), minlength=n_slices)
        return cls(
            n_pairs=count,
            mean_weight=weight / np.maximum(count, 1),
            residual_px=np.sqrt(np.divide(squares, weight, out=np.zeros(n_slices), where=weight > 0)),
        )


@dataclass(frozen=True, slots=True)
class VolumeBox:
    """The volume in the plane of the slices: whole voxels, in the frame of the solve."""

    origin_xy: tuple[int, int]
    """Position of voxel (0, 0)."""
    size_xy: tuple[int, int]
    """Width and height in voxels."""


def bounding_box(volume_from_slice: Floats, sizes_xy: Floats) -> VolumeBox:
    """The least box of whole voxels that holds the corner pixels' centres of all slices.

    Args:
        volume_from_slice: `[n, 3, 3]`.
        sizes_xy: `[n, 2]` width and height.

    Example:
        >>> bounding_box(np.eye(3)[None], np.array([[520.0, 500.0]]))
        VolumeBox(origin_xy=(0, 0), size_xy=(520, 500))
    """
    corners = CORNERS * (sizes_xy - 1)[:, None]
    placed = corners @ volume_from_slice[:, :2, :2].transpose(0, 2, 1) + volume_from_slice[:, None, :2, 2]
    x, y = np.moveaxis(np.round(placed, ROUND_OFF.box_digits), 2, 0)
    left, right = int(np.floor(x.min())), int(np.ceil(x.max()))
    top, bottom = int(np.floor(y.min())), int(np.ceil(y.max()))
    return VolumeBox((left, top), (right - left + 1, bottom - top + 1))


def moved_to_origin(volume_from_slice: Floats, box: VolumeBox) -> Floats:
    """The matrices with voxel (0, 0) of the box as origin."""
    moved = volume_from_slice.copy()
    moved[:, :2, 2] -= box.origin_xy
    return moved
