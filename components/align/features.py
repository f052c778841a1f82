"""SIFT features of a slice, spread evenly over it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import Picture

MAX_FEATURES = 4000
SELECTION_CELLS = 16
"""Features are selected in this many cells per side, so that one busy corner does not take them all."""
DESCRIPTOR_NORM = 512.0
"""Length of a descriptor before rounding: scalar products stay whole numbers below 2^24, exact in float32."""
_CONTRAST_THRESHOLD = 0.02


@dataclass(frozen=True, slots=True)
class Features:
    """Points of a picture with what surrounds them."""

    points_px: NDArray[np.float64]
    """[n, 2] x, y at matching scale."""
    descriptors: NDArray[np.uint8]
    """[n, 128] RootSIFT (Arandjelovic and Zisserman 2012), of length 512."""

    def __len__(self) -> int:
        return len(self.points_px)


def extract_features(picture: Picture, shown: NDArray[np.bool_]) -> Features:
    """The features of a picture where it is shown, at most `MAX_FEATURES`, in a fixed order.

    Needs about 220 bytes a pixel.
    """
    # Without the precise upscale, positions are biased by 0.25 px under scaling and rotation (OpenCV #23123).
    sift = cv2.SIFT.create(0, 3, _CONTRAST_THRESHOLD, 10, 1.6, enable_precise_upscale=True)
    keypoints, descriptors = sift.detectAndCompute(picture, shown.astype(np.uint8))
    if not keypoints:
        return Features(np.empty((0, 2)), np.empty((0, 128), np.uint8))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float64)
    responses = np.array([keypoint.response for keypoint in keypoints], np.float64)
    chosen = spread_selection(points, responses, picture.shape, MAX_FEATURES)
    return Features(points[chosen], _root_sift(descriptors[chosen].astype(np.float32)))


def turned_round(features: Features) -> Features:
    """The features of the same picture with its grey levels turned round, dark for bright.

    Every gradient points the other way, the main one of a feature included: SIFT sees the same spots, turned
    by half a circle. So the 4 x 4 cells of a descriptor change places, and its 8 directions stay.
    """
    cells = features.descriptors.reshape(-1, 4, 4, 8)[:, ::-1, ::-1]
    return Features(features.points_px, np.ascontiguousarray(cells).reshape(-1, 128))


def spread_selection(
    points_px: NDArray[np.float64],
    responses: NDArray[np.float64],
    shape_yx: tuple[int, ...],
    limit: int,
) -> NDArray[np.int64]:
    """Indices of the strongest points of each cell, then of the strongest that are left, ascending."""
    if len(points_px) <= limit:
        return np.arange(len(points_px))
    cell = cell_of(points_px, shape_yx, SELECTION_CELLS)
    order = np.lexsort((np.arange(len(cell)), -responses, cell))
    first_of_cell = np.searchsorted(cell[order], cell[order])
    rank = np.arange(len(order)) - first_of_cell
    late = rank >= limit // SELECTION_CELLS**2
    by_turn = np.lexsort((order, -responses[order], late))
    return np.sort(order[by_turn[:limit]])


def cell_of(points_px: NDArray[np.float64], shape_yx: tuple[int, ...], per_side: int) -> NDArray[np.int64]:
    """Number of the cell that each point lies in, of `per_side`^2; points outside go to the rim.

    Example:
        >>> cell_of(np.array([[0.0, 0.0], [99.0, 0.0], [0.0, 49.0]]), (50, 100), 2).tolist()
        [0, 1, 2]
    """
    size_xy = np.array([shape_yx[1], shape_yx[0]])
    column_row = np.clip(((points_px + 0.5) * per_side / size_xy).astype(np.int64), 0, per_side - 1)
    cells: NDArray[np.int64] = column_row[:, 1] * per_side + column_row[:, 0]
    return cells


def _root_sift(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    rooted: NDArray[np.uint8] = np.clip(np.rint(np.sqrt(share) * DESCRIPTOR_NORM), 0, 255).astype(np.uint8)
    return rooted
