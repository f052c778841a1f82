"""Normalised cross-correlation of two slices: what the pictures themselves say about a transform."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import MatchingPicture, blurred
from components.shared.geometry import Matrix
from components.shared.pictures.warping import warped

_SMOOTHING_SIGMA_PX = 1.5
"""Below this lies noise, which differs between slices whatever their position."""
MIN_OVERLAP_PX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How alike two slices are, -1..1."""

    as_they_lie: float
    moved: float
    """After the transform."""
    mirrored: float
    """The most that a mirrored slice reaches after the transform: what chance gives with such pictures."""


def agreement(slice_: MatchingPicture, neighbour: MatchingPicture, neighbour_from_slice: Matrix) -> Agreement:
    """Correlate two pictures as they lie, after a transform, and mirrored.

    The mirrored pictures have the same textures and brightness, but show nothing in common.
    """
    reference = _smoothed(slice_.picture)
    moved, inside = _warped(neighbour, neighbour_from_slice, slice_.picture.shape)
    mirrored = [
        ncc(np.flip(reference, axes), moved, np.flip(inside & slice_.shown, axes) & inside)
        for axes in (0, 1, (0, 1))
    ]
    still, still_inside = _warped(neighbour, np.eye(3), slice_.picture.shape)
    return Agreement(
        as_they_lie=ncc(reference, still, still_inside & slice_.shown),
        moved=ncc(reference, moved, inside & slice_.shown),
        mirrored=max(mirrored),
    )


def ncc(a: NDArray[np.float32], b: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Normalised cross-correlation of two pictures where `inside`; 0 where there is too little to compare."""
    if np.count_nonzero(inside) < MIN_OVERLAP_PX:
        return 0.0
    mask = inside.astype(np.uint8)
    # OpenCV sums in double precision, and without BLAS, whose last bits depend on the number of threads.
    (a_mean, a_std), (b_mean, b_std) = _mean_and_std(a, mask), _mean_and_std(b, mask)
    product = cv2.multiply(a - np.float32(a_mean), b - np.float32(b_mean))
    spread = a_std * b_std
    return float(cv2.mean(product, mask)[0]) / spread if spread > 0 else 0.0


def _mean_and_std(picture: NDArray[np.float32], mask: NDArray[np.uint8]) -> tuple[float, float]:
    mean, std = cv2.meanStdDev(picture, mask=mask)
    return float(mean[0, 0]), float(std[0, 0])


def _smoothed(picture: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    return blurred(picture.astype(np.float32), _SMOOTHING_SIGMA_PX)


def _warped(
    neighbour: MatchingPicture, neighbour_from_slice: Matrix, shape_yx: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The neighbour as the slice would show it, and where it has pixels."""
    moved = warped(_smoothed(neighbour.picture), neighbour_from_slice, shape_yx)
    shown = neighbour.shown.astype(np.uint8) * np.uint8(255)
    return moved, warped(shown, neighbour_from_slice, shape_yx) == 255
