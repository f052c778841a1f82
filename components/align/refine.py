"""Sub-pixel refinement: the displacement of many windows near full resolution.

Phase correlation errs by 0.3 to 0.9 px on noisy, smooth windows, and an affine ECC shrinks the picture; a
template search with a parabolic peak, then a translation-only ECC from there, errs by 0.04 px a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.matching import PointPairs
from components.align.normalise import GREY_PER_STD, Picture
from components.shared.geometry import Matrix, Points, corner_points, transform_points, translation
from components.shared.pictures.warping import warped_and_extended

WINDOWS_PER_SIDE = 7
SEARCH_PX = 8
_LARGEST_WINDOW_PX = 256
_SMALLEST_WINDOW_PX = 64
_MIN_PEAK = 0.25
"""Correlation below this is chance: a window holds some hundred independent grains of texture."""
_MAX_SECOND_PEAK = 0.9
"""A second peak this close to the first, relative to it, makes the window ambiguous."""
_PEAK_RADIUS_PX = 4
_MAX_DISAGREEMENT_PX = 1.0
"""Between the template search and the ECC."""
_APART_SIDES = 1.8
"""Windows nearer than this many sides share structures, which move as one and not as the slice does."""
_ECC_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-7)
"""Looser criteria stop early, up to 0.9 px off."""
_NO_MASK: Any = None
"""OpenCV's type stubs know no overload without a mask and with a filter size."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """What the windows of a pair of slices tell."""

    pairs: PointPairs
    """Centres of the windows that gave a displacement, in pixels of the refinement pictures."""
    corners_px: NDArray[np.int64]
    """[m, 2] first pixel (x, y) of every window that was looked at."""
    kept: NDArray[np.bool_]
    """[m] those that gave a displacement."""
    side_px: int
    """Side of a window."""

    @property
    def n_independent(self) -> float:
        """Windows kept, counting once what they share."""
        return _n_independent(self.pairs.slice_px, self.side_px)

    def trusted(self, weights: NDArray[np.float64], shape_yx: tuple[int, ...]) -> NDArray[np.bool_]:
        """[y, x] pixels of the slice but for those of windows that say otherwise than the others.

        Args:
            weights: of the pairs in a fit, 0 for an outlier.
            shape_yx: of the picture.
        """
        believed = self.kept.copy()
        believed[self.kept] = weights > 0
        trusted = np.ones(shape_yx, np.bool_)
        for truth in (False, True):  # what a believed window shows is trusted, whatever its neighbours say
            for x, y in self.corners_px[believed == truth]:
                trusted[y : y + self.side_px, x : x + self.side_px] = truth
        return trusted


def refine(picture: Picture, neighbour: Picture, neighbour_from_slice: Matrix) -> Refinement:
    """Measure where the windows of a slice lie in its neighbour, starting from a transform good to 8 px.

    Args:
        picture: [y, x] band-passed slice.
        neighbour: [y, x] band-passed neighbour.
        neighbour_from_slice: in pixels of these pictures.
    """
    side = _window_side(picture.shape)
    corners = _window_corners(picture.shape, neighbour.shape, neighbour_from_slice, side)
    found = [_displacement(picture, neighbour, neighbour_from_slice, corner, side) for corner in corners]
    kept = np.array([d is not None for d in found], bool)
    displacements = np.array([d for d in found if d is not None], np.float64).reshape(-1, 2)
    source: Points = corners[kept].astype(np.float64) + (side - 1) / 2
    target = transform_points(neighbour_from_slice, source + displacements)
    return Refinement(PointPairs(source, target), corners, kept, side)


def difference(picture: Picture, neighbour: Picture) -> float | None:
    """Mean absolute difference as they lie, in standard deviations; None where a picture is empty.

    Example:
        >>> empty = np.full((8, 8), 128, np.uint8)
        >>> difference(empty, empty) is None
        True
    """
    height, width = np.minimum(picture.shape, neighbour.shape)
    a, b = picture[:height, :width], neighbour[:height, :width]
    if min(a.std(), b.std()) == 0:
        return None
    return float(cv2.absdiff(a, b).mean(dtype=np.float64)) / GREY_PER_STD


def _window_side(shape_yx: tuple[int, ...]) -> int:
    """Windows of 256 px; smaller on small pictures, so that they still see different tissue."""
    side = min(shape_yx) // 5 // 16 * 16
    return int(np.clip(side, _SMALLEST_WINDOW_PX, _LARGEST_WINDOW_PX))


def _window_corners(
    shape_yx: tuple[int, ...], neighbour_shape_yx: tuple[int, ...], neighbour_from_slice: Matrix, side: int
) -> NDArray[np.int64]:
    """First pixels (x, y) of a regular grid of windows over what both pictures show, `[n, 2]`."""
    height, width = shape_yx
    neighbour_height, neighbour_width = neighbour_shape_yx
    slice_from_neighbour = np.linalg.inv(neighbour_from_slice).astype(np.float64, copy=False)
    top_left, top_right, bottom_left, bottom_right = transform_points(
        slice_from_neighbour, corner_points(neighbour_width, neighbour_height)
    )
    margin = SEARCH_PX + 2
    left = max(0.0, top_left[0], bottom_left[0]) + margin
    top = max(0.0, top_left[1], top_right[1]) + margin
    right = min(width - 1.0, top_right[0], bottom_right[0]) - margin - side
    bottom = min(height - 1.0, bottom_left[1], bottom_right[1]) - margin - side
    if right < left or bottom < top:
        return np.empty((0, 2), np.int64)
    x = np.unique(np.rint(np.linspace(left, right, WINDOWS_PER_SIDE)).astype(np.int64))
    y = np.unique(np.rint(np.linspace(top, bottom, WINDOWS_PER_SIDE)).astype(np.int64))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _displacement(
    picture: Picture, neighbour: Picture, neighbour_from_slice: Matrix, corner: NDArray[np.int64], side: int
) -> tuple[float, float] | None:
    """How far a window has moved beyond the transform, in the slice's frame; None where it does not tell."""
    left, top = (int(v) for v in corner)
    window = picture[top : top + side, left : left + side].astype(np.float32)
    region_side = side + 2 * SEARCH_PX
    neighbour_from_region = neighbour_from_slice @ translation(left - SEARCH_PX, top - SEARCH_PX)
    region = warped_and_extended(neighbour, neighbour_from_region, (region_side, region_side))
    region = region.astype(np.float32)
    if np.ptp(window) == 0 or np.ptp(region) == 0:
        return None
    scores = cv2.matchTemplate(region, window, cv2.TM_CCOEFF_NORMED)
    peak = _template_peak(scores.astype(np.float32, copy=False))
    if peak is None:
        return None
    start = translation(*peak)[:2].astype(np.float32)
    try:
        _, found = cv2.findTransformECC(window, region, start, cv2.MOTION_TRANSLATION, _ECC_STOP, _NO_MASK, 1)
    except cv2.error:  # it does not converge
        return None
    x, y = float(found[0, 2]), float(found[1, 2])
    if max(abs(x - peak[0]), abs(y - peak[1])) > _MAX_DISAGREEMENT_PX:
        return None
    return x - SEARCH_PX, y - SEARCH_PX


def _template_peak(scores: NDArray[np.float32]) -> tuple[float, float] | None:
    """x, y of the highest score to a fraction of a pixel; None where it is low, ambiguous or at the rim."""
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    y, x = int(row), int(column)
    height, width = scores.shape
    if scores[y, x] < _MIN_PEAK or not (0 < y < height - 1 and 0 < x < width - 1):
        return None
    others = scores.copy()
    others[
        max(0, y - _PEAK_RADIUS_PX) : y + _PEAK_RADIUS_PX + 1,
        max(0, x - _PEAK_RADIUS_PX) : x + _PEAK_RADIUS_PX + 1,
    ] = -1
    if others.max() > _MAX_SECOND_PEAK * scores[y, x]:
        return None
    return x + _parabola_top(scores[y, x - 1 : x + 2]), y + _parabola_top(scores[y - 1 : y + 2, x])


def _parabola_top(three: NDArray[np.float32]) -> float:
    """Where a parabola through values at -1, 0, 1 has its top."""
    left, middle, right = (float(v) for v in three)
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0


def _n_independent(centers: Points, side: int) -> float:
    """Number of windows, or of those that lie apart in the area they cover, if that is less."""
    if len(centers) == 0:
        return 0.0
    extent = centers.max(axis=0) - centers.min(axis=0) + side
    return float(min(len(centers), np.prod(extent) / (_APART_SIDES * side) ** 2))
