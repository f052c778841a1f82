"""Normalised cross-correlation of two slices: evidence on a transform, and a search where features fail."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.registration import phase_cross_correlation

from components.align.normalise import Picture, blurred, resized
from components.shared.geometry import Matrix, at_full_resolution, translation

_SMOOTHING_SIGMA_PX = 1.5
"""Below this lies noise, which differs between slices whatever their position."""
_SEARCH_SIZE_PX = 512
"""Longest side of the pictures in the whole-frame search."""
_MIN_OVERLAP = 0.5
MIN_OVERLAP_PX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How alike two slices are, -1..1."""

    as_they_lie: float
    moved: float
    """After the transform."""
    mirrored: float
    """The most that a mirrored slice reaches after the transform: what chance gives with such pictures."""


def agreement(picture: Picture, neighbour: Picture, neighbour_from_slice: Matrix) -> Agreement:
    """Correlate two pictures as they lie, after a transform, and mirrored.

    The mirrored pictures have the same textures, brightness and borders, but show nothing in common.
    """
    reference = _smoothed(picture)
    moved, inside = _warped(neighbour, neighbour_from_slice, picture.shape)
    mirrored = [
        ncc(np.flip(reference, axes), moved, np.flip(inside, axes) & inside) for axes in (0, 1, (0, 1))
    ]
    still, still_inside = _warped(neighbour, np.eye(3), picture.shape)
    return Agreement(
        as_they_lie=ncc(reference, still, still_inside),
        moved=ncc(reference, moved, inside),
        mirrored=max(mirrored),
    )


def ncc(a: NDArray[np.float32], b: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Normalised cross-correlation of two pictures where `inside`; 0 where there is too little to compare."""
    if np.count_nonzero(inside) < MIN_OVERLAP_PX:
        return 0.0
    a_in, b_in = a[inside].astype(np.float64), b[inside].astype(np.float64)
    a_in -= a_in.mean()
    b_in -= b_in.mean()
    # Sums without BLAS, whose last bits depend on the number of threads.
    norm = np.sqrt(np.sum(a_in * a_in) * np.sum(b_in * b_in))
    return float(np.sum(a_in * b_in) / norm) if norm > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMatch:
    """The result of a search over all translations."""

    matrix: Matrix
    """neighbour_from_slice, to about a pixel."""
    ncc: float
    """Correlation there."""
    chance: float
    """The best that the same search finds with the neighbour upside down, where there is nothing to find."""


def whole_frame_search(picture: Picture, neighbour: Picture) -> FrameMatch:
    """The translation at which two pictures correlate best.

    Masked normalised cross-correlation (Padfield 2012) over every shift that leaves half of them in common.
    """
    scale = min(1.0, _SEARCH_SIZE_PX / max(*picture.shape, *neighbour.shape))
    shift_xy, found = _best_shift(picture, neighbour, scale)
    _, chance = _best_shift(picture, np.flip(neighbour), scale)
    return FrameMatch(matrix=at_full_resolution(translation(*shift_xy), scale), ncc=found, chance=chance)


def _best_shift(picture: Picture, neighbour: Picture, scale: float) -> tuple[tuple[float, float], float]:
    """How far in x and y the neighbour's pixels lie beyond the slice's, and the correlation there."""
    shape = tuple(np.maximum(picture.shape, neighbour.shape))
    reference, reference_mask = _on_canvas(picture, shape, scale)
    moving, moving_mask = _on_canvas(neighbour, shape, scale)
    found_yx, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        reference,
        moving,
        reference_mask=reference_mask,
        moving_mask=moving_mask,
        overlap_ratio=_MIN_OVERLAP,
    )
    y, x = -int(found_yx[0]), -int(found_yx[1])
    height, width = reference.shape
    here = np.s_[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
    there = np.s_[max(0, y) : height - max(0, -y), max(0, x) : width - max(0, -x)]
    both = reference_mask[here] & moving_mask[there]
    return (float(x), float(y)), ncc(reference[here], moving[there], both)


def _on_canvas(
    picture: Picture, shape_yx: tuple[int, ...], scale: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A picture in the corner of a canvas that both fit on, reduced, with the mask of where it is."""
    canvas = np.full(shape_yx, 128, np.float32)
    mask = np.zeros(shape_yx, np.float32)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    mask[: picture.shape[0], : picture.shape[1]] = 1
    return _smoothed(resized(canvas, scale)), resized(mask, scale) > 0.99


def _smoothed(picture: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    return blurred(picture.astype(np.float32), _SMOOTHING_SIGMA_PX)


def _warped(
    neighbour: Picture, neighbour_from_slice: Matrix, shape_yx: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The neighbour as the slice would show it, and where it has pixels."""
    size = (shape_yx[1], shape_yx[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(_smoothed(neighbour), neighbour_from_slice[:2], size, flags=flags)
    ones = np.full(neighbour.shape, 255, np.uint8)
    inside = cv2.warpAffine(ones, neighbour_from_slice[:2], size, flags=flags)
    return moved.astype(np.float32, copy=False), inside == 255
