"""Sub-pixel refinement of a transform: by windows near full resolution, then over the whole picture.

Phase correlation errs by 0.3 to 0.9 px on noisy, smooth windows, and an affine ECC shrinks the picture; a
template search with a parabolic peak, then two steps of a translation-only ECC from there, errs by 0.04 px a
window.

A window settles on the structure that dominates it, and each structure runs through the block in its own
direction. Over the whole picture the pull of every gradient counts, and of the finest most: small structures
run straighter than large ones. On real tissue that leaves a tenth to a third less error than the best fit to
windows. The windows say which parts to leave out.

ECC is the enhanced correlation coefficient (Evangelidis and Psarakis 2008). Over whole pictures OpenCV's
search takes three times as long as the one here, and comes to the same motion within 0.002 px. Windows are
left to OpenCV: the rim of a window is long, and slopes of the template alone err there, by 0.8 px in serial
sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.models import PointPairs
from components.align.normalise import GREY, GREY_PER_STD, PreparedPicture
from components.shared.documents.align import Model
from components.shared.geometry import (
    Matrix,
    Points,
    corner_points,
    rotation_about,
    transform_points,
    translation,
)
from components.shared.limits import limit
from components.shared.pictures.warping import warped_and_extended


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """Which windows are looked at, and which of them tell a displacement."""

    per_side: int = limit(
        7,
        unit="windows",
        why="49 windows, of which half may fail; each costs 10 ms",
        measured_on="25 windows of 0.04 px give a pair to 0.016 px, on real texture with noise",
        too_small="dirt under a few windows decides",
        too_large="time; windows overlap and tell the same",
    )
    search_px: int = limit(
        8,
        unit="px at refinement scale",
        why="a coarse transform is better than this: features are good to a pixel of matching scale, one to "
        "two of refinement scale",
        measured_on="template search over 8 px: 1.9 ms a window",
        too_small="windows of a coarse transform find nothing",
        too_large="more chance peaks, and time with the square",
    )
    largest_side_px: int = limit(
        256,
        unit="px at refinement scale",
        why="holds enough membranes for one peak",
        measured_on="real texture with noise of sigma 12: 0.04 px a window",
        too_small="windows hold one membrane, along which they slide",
        too_large="displacements that differ over the picture are averaged",
    )
    smallest_side_px: int = limit(
        64,
        unit="px at refinement scale",
        why="on small pictures, so that seven windows a side still see different tissue",
        measured_on="tests on pictures of 80 to 400 px, tests/components/align/test_pair.py",
        too_small="chance peaks",
        too_large="slices of less than five sides have no windows",
    )
    min_peak: float = limit(
        0.25,
        unit="NCC",
        why="below this is chance: a window holds some hundred independent grains of texture, whose NCC "
        "spreads by 0.1",
        measured_on="not measured",
        too_small="chance peaks are taken for displacements",
        too_large="windows of serial sections tell nothing",
    )
    max_second_peak: float = limit(
        0.9,
        unit="of the highest peak",
        why="a second peak this close to the first makes a window ambiguous",
        measured_on="a grating, tests/components/align/test_refine.py; 0.9 is TrakEM2's limit too",
        too_small="windows with broad peaks are thrown away",
        too_large="periodic structures are matched one period off",
    )
    peak_radius_px: int = limit(
        4,
        unit="px at refinement scale",
        why="what lies further from a peak is another one",
        measured_on="not measured; the band has no structure finer than 1.5 px in sigma",
        too_small="the flank of a broad peak counts as a second",
        too_large="a second peak is not seen",
    )
    max_disagreement_px: float = limit(
        1.0,
        unit="px at refinement scale",
        why="between template search and ECC, which both are good to a tenth",
        measured_on="not measured; a window that has not settled is up to 0.9 px off",
        too_small="good windows are thrown away",
        too_large="ECC that has run to another structure counts",
    )
    ecc_steps: int = limit(
        2,
        unit="iterations",
        why="it starts a tenth of a pixel off: one step leaves a thousandth, and each takes time",
        measured_on="windows of 256 and 80 px: 0.0005 px off after one step, 0.00003 px after two",
        too_small="the error of the template's parabola stays",
        too_large="time, and no window moves any more",
    )
    apart_sides: float = limit(
        1.8,
        unit="sides of a window",
        why="windows nearer than this share structures, which move as one and not as the slice does",
        measured_on="not measured apart; sigma of pairs against their closures, benchmarks/alignment",
        too_small="the sigma of a pair is promised too small, and the pair weighs too much",
        too_large="rich models are never taken, and pairs weigh too little",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePictureLimits:
    """Limits that decide when the correction over the whole picture stops."""

    steps: int = limit(
        10,
        unit="steps",
        why="most that a picture may take; from a tenth of a pixel off it takes two, from 0.7 px four",
        measured_on="tests/components/align/test_refine.py: from 0.7 px to 0.03 px",
        too_small="it stops on the way",
        too_large="time where it does not converge",
    )
    settled_px: float = limit(
        0.003,
        unit="px, motion of the corners in the last step",
        why="each step leaves a tenth of the motion of the one before",
        measured_on="slices of 400 and 1,250 px: 0.1 px off, 0.006 after one step, 0.0003 after two",
        too_small="time",
        too_large="it stops on the way",
    )


WINDOWS = WindowLimits()
WHOLE = WholePictureLimits()
_NO_BLUR = 1
"""Filter size of ECC on pictures that are smooth already: blurring them again would bias it."""
_NO_MASK: Any = None
"""OpenCV's type stubs know no overload without a mask and with a filter size."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """Displacements that the windows of a pair of slices tell."""

    pairs: PointPairs
    """Centres of the windows that gave a displacement, in pixels of the refinement pictures."""
    corners_px: NDArray[np.int64]
    """[m, 2] first pixel (x, y) of every window that was looked at."""
    kept: NDArray[np.bool_]
    """[m] whether a window gave a displacement."""
    side_px: int
    """Side of a window."""

    @property
    def n_independent(self) -> float:
        """Number of windows kept, of which those that share structures count as one."""
        return _n_independent(self.pairs.slice_px, self.side_px)

    def trusted(self, weights: NDArray[np.float64], shape_yx: tuple[int, ...]) -> NDArray[np.bool_]:
        """Mask `[y, x]` of the slice's pixels without the windows that disagree with the fit.

        Args:
            weights: of the pairs in a fit, 0 for an outlier.
            shape_yx: of the picture.
        """
        agrees = self.kept.copy()
        agrees[self.kept] = weights > 0
        trusted = np.ones(shape_yx, np.bool_)
        for truth in (False, True):  # what a window that agrees shows is trusted, whatever others say of it
            for x, y in self.corners_px[agrees == truth]:
                trusted[y : y + self.side_px, x : x + self.side_px] = truth
        return trusted


def refine(picture: PreparedPicture, neighbour: PreparedPicture, neighbour_from_slice: Matrix) -> Refinement:
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


def corrected(
    picture: PreparedPicture,
    neighbour: PreparedPicture,
    neighbour_from_slice: Matrix,
    model: Model,
    trusted: NDArray[np.bool_],
) -> Matrix:
    """A transform good to a fraction of a pixel, with its rigid part fitted to all trusted pixels by ECC.

    Stretch and shear stay as they are: ECC's own estimate of them has a bias that adds up.

    Args:
        picture: [y, x] detail of the slice.
        neighbour: [y, x] detail of the neighbour.
        neighbour_from_slice: in pixels of these pictures.
        model: a `translation` is only shifted.
        trusted: [y, x] pixels of the slice that may be compared.

    Returns:
        The corrected transform; the given one where the correction does not converge.
    """
    shown = warped_and_extended(neighbour, neighbour_from_slice, picture.shape)
    # A slope at the rim of what is trusted would look beyond it.
    inner = cv2.erode(trusted.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    slice_from_shown = _settled(shown, picture, inner, is_rigid=model != "translation")
    if slice_from_shown is None:
        return neighbour_from_slice
    result: Matrix = neighbour_from_slice @ np.linalg.inv(slice_from_shown)
    return result


def difference(picture: PreparedPicture, neighbour: PreparedPicture) -> float | None:
    """Mean absolute difference of two pictures as they lie, in standard deviations; None where one is empty.

    Example:
        >>> empty = np.full((8, 8), 128, np.uint8)
        >>> difference(empty, empty) is None
        True
    """
    height, width = np.minimum(picture.shape, neighbour.shape)
    a, b = picture[:height, :width], neighbour[:height, :width]
    if min(np.ptp(a), np.ptp(b)) == 0:
        return None
    return cv2.mean(cv2.absdiff(a, b))[0] / GREY_PER_STD


def _window_side(shape_yx: tuple[int, ...]) -> int:
    """Side of the windows, a fifth of the picture's shorter side in steps of 16 px, within the limits."""
    side = min(shape_yx) // 5 // 16 * 16
    return int(np.clip(side, WINDOWS.smallest_side_px, WINDOWS.largest_side_px))


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
    margin = WINDOWS.search_px + 2
    left = max(0.0, top_left[0], bottom_left[0]) + margin
    top = max(0.0, top_left[1], top_right[1]) + margin
    right = min(width - 1.0, top_right[0], bottom_right[0]) - margin - side
    bottom = min(height - 1.0, bottom_left[1], bottom_right[1]) - margin - side
    if right < left or bottom < top:
        return np.empty((0, 2), np.int64)
    x = np.unique(np.rint(np.linspace(left, right, WINDOWS.per_side)).astype(np.int64))
    y = np.unique(np.rint(np.linspace(top, bottom, WINDOWS.per_side)).astype(np.int64))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _displacement(
    picture: PreparedPicture,
    neighbour: PreparedPicture,
    neighbour_from_slice: Matrix,
    corner: NDArray[np.int64],
    side: int,
) -> tuple[float, float] | None:
    """Displacement x, y of a window beyond the transform, in the slice's frame; None where it tells none."""
    left, top = (int(v) for v in corner)
    reach = WINDOWS.search_px
    window = picture[top : top + side, left : left + side].astype(np.float32)
    region_side = side + 2 * reach
    neighbour_from_region = neighbour_from_slice @ translation(left - reach, top - reach)
    region = warped_and_extended(neighbour, neighbour_from_region, (region_side, region_side))
    region = region.astype(np.float32)
    if np.ptp(window) == 0 or np.ptp(region) == 0:
        return None
    scores = cv2.matchTemplate(region, window, cv2.TM_CCOEFF_NORMED)
    peak = _template_peak(scores.astype(np.float32, copy=False))
    if peak is None:
        return None
    start, stop = translation(*peak)[:2].astype(np.float32), (cv2.TERM_CRITERIA_COUNT, WINDOWS.ecc_steps, 0.0)
    try:
        _, found = cv2.findTransformECC(
            window, region, start, cv2.MOTION_TRANSLATION, stop, _NO_MASK, _NO_BLUR
        )
    except cv2.error:  # it does not converge
        return None
    x, y = float(found[0, 2]), float(found[1, 2])
    if max(abs(x - peak[0]), abs(y - peak[1])) > WINDOWS.max_disagreement_px:
        return None
    return x - reach, y - reach


def _settled(
    template: PreparedPicture, picture: PreparedPicture, trusted: NDArray[np.bool_], *, is_rigid: bool
) -> Matrix | None:
    """The picture_from_template of the greatest ECC near no motion; None where nothing is to hold on to.

    By Gauss-Newton steps in their inverse compositional form (Baker and Matthews 2004): the slopes are those
    of the template and stay, so that a step costs a warp and a few sums. Gain and offset of the grey levels
    are fitted with the motion.

    Args:
        template: [y, x] grey levels around GREY.
        picture: [y, x] grey levels.
        trusted: [y, x] pixels of the template that count.
        is_rigid: the motion may turn about the template's centre, not only shift.
    """
    height, width = template.shape
    grey = template.astype(np.float32) - np.float32(GREY)
    x_slope, y_slope = (cv2.Sobel(grey, cv2.CV_32F, *axis, ksize=1, scale=0.5) for axis in ((1, 0), (0, 1)))
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    turn = []
    if is_rigid:
        x_px = np.arange(width, dtype=np.float32) - np.float32(middle_x)
        y_px = np.arange(height, dtype=np.float32) - np.float32(middle_y)
        turn.append(y_slope * x_px - x_slope * y_px[:, np.newaxis])
    # What the picture shows is a sum of these: two or three kinds of motion, the template, and grey.
    parts = np.stack([x_slope, y_slope, *turn, grey, np.ones_like(grey)]).astype(np.float32, copy=False)
    parts *= trusted
    normal = np.array([_sums(parts, part) for part in parts])
    found, corners, moving = np.eye(3), corner_points(width, height), picture.astype(np.float32)
    for _ in range(WHOLE.steps):
        seen = warped_and_extended(moving, found, template.shape)
        try:
            explained: NDArray[np.float64] = np.linalg.solve(normal, _sums(parts, seen))
        except np.linalg.LinAlgError:  # no structure
            return None
        gain = float(explained[-2])
        if gain <= 0:
            return None
        x, y, angle_rad = explained[:3] / gain if is_rigid else (*(explained[:2] / gain), 0.0)
        step: Matrix = translation(x, y) @ rotation_about((middle_x, middle_y), angle_rad)
        found = found @ np.linalg.inv(step)
        if np.abs(transform_points(step, corners) - corners).max() < WHOLE.settled_px:
            break
    return found


def _sums(parts: NDArray[np.float32], picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums of the products of a picture and each part; without BLAS, whose last bits depend on threads."""
    sums: NDArray[np.float64] = np.einsum("khw,hw->kh", parts, picture).sum(axis=1, dtype=np.float64)
    return sums


def _template_peak(scores: NDArray[np.float32]) -> tuple[float, float] | None:
    """x, y of the highest score to a fraction of a pixel; None where it is low, ambiguous or at the rim."""
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    y, x = int(row), int(column)
    height, width = scores.shape
    if scores[y, x] < WINDOWS.min_peak or not (0 < y < height - 1 and 0 < x < width - 1):
        return None
    others, radius = scores.copy(), WINDOWS.peak_radius_px
    others[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = -1
    if others.max() > WINDOWS.max_second_peak * scores[y, x]:
        return None
    return x + _parabola_top(scores[y, x - 1 : x + 2]), y + _parabola_top(scores[y - 1 : y + 2, x])


def _parabola_top(three: NDArray[np.float32]) -> float:
    """Position of the top of a parabola through values at -1, 0 and 1."""
    left, middle, right = (float(v) for v in three)
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0


def _n_independent(centers: Points, side: int) -> float:
    """Number of windows, or of those that lie apart in the area they cover, if that is less.

    A rule of thumb for points that are correlated in space: the area, in units of what one window speaks for.
    """
    if len(centers) == 0:
        return 0.0
    extent = centers.max(axis=0) - centers.min(axis=0) + side
    return float(min(len(centers), np.prod(extent) / (WINDOWS.apart_sides * side) ** 2))
