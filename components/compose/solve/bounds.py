"""The volume as the box around every slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.compose.solve.pairs import Floats
from components.compose.solve.ties import CORNERS

_ROUND_OFF_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Box:
    """Whole voxels in the plane of the slices, in the frame of the solve."""

    origin_xy: tuple[int, int]
    """Position of voxel (0, 0)."""
    size_xy: tuple[int, int]


def bounding_box(volume_from_slice: Floats, sizes_xy: Floats) -> Box:
    """The least box of whole voxels that holds the corner pixels' centres of all slices.

    Args:
        volume_from_slice: `[n, 3, 3]`.
        sizes_xy: `[n, 2]` width and height.

    Example:
        >>> bounding_box(np.eye(3)[None], np.array([[520.0, 500.0]]))
        Box(origin_xy=(0, 0), size_xy=(520, 500))
    """
    corners = CORNERS * (sizes_xy - 1)[:, None]
    placed = corners @ volume_from_slice[:, :2, :2].transpose(0, 2, 1) + volume_from_slice[:, None, :2, 2]
    # A solve's 1e-12 must not cost a row of voxels.
    x, y = np.moveaxis(np.round(placed, _ROUND_OFF_DIGITS), 2, 0)
    left, right = int(np.floor(x.min())), int(np.ceil(x.max()))
    top, bottom = int(np.floor(y.min())), int(np.ceil(y.max()))
    return Box((left, top), (right - left + 1, bottom - top + 1))


def moved_to_origin(volume_from_slice: Floats, box: Box) -> Floats:
    """The matrices with voxel (0, 0) of the box as origin."""
    moved = volume_from_slice.copy()
    moved[:, :2, 2] -= box.origin_xy
    return moved
