"""How grey levels change from a slice to the next: what the pixels of two aligned pictures have in common.

Neighbours show nearly the same tissue, so the grey levels of the one are those of the other but for the gain
and the offset of the microscope. Tissue changes too. What tells the two apart is that flicker is the same
everywhere: it is more than single pixels differ, and more than one part of the picture differs from another,
as they do where tissue, resin, charging or curtains change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compose.judge.limits import FLICKER, FlickerLimits
from components.compose.solve.pairs import Flags, Floats
from components.shared.geometry import Matrix
from components.shared.pictures.warping import warped
from components.shared.series import SIGMA_OF_MAD

Levels = NDArray[np.float32]
"""`[y, x]` raw grey levels of a small picture; NaN where they do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChange:
    """Change of grey levels to the next slice: `pivot + shift + exp(log_gain) * (level - pivot)`."""

    log_gain: float
    shift: float
    is_flicker: bool
    """It is more than tissue changes by itself."""


def level_change(
    levels: Levels,
    next_levels: Levels,
    next_from_slice: Matrix,
    pivot: float,
    limits: FlickerLimits = FLICKER,
) -> LevelChange | None:
    """The change of grey levels between two pictures; None where they share too little.

    A change of tissue moves the mean, the median and the contrast of all pixels, too. So the line of a change
    that is flicker is told by tissue that stays: see `_line_of_still_tissue`.

    Args:
        levels: The one picture.
        next_levels: The next one.
        next_from_slice: From pixels of the one to pixels of the next.
        pivot: Grey level at which a change of contrast changes nothing.
        limits: What counts as flicker.
    """
    moved = warped(next_levels, next_from_slice, levels.shape, outside=np.nan)
    shared = np.isfinite(levels) & np.isfinite(moved)
    if np.count_nonzero(shared) < max(limits.least_overlap * shared.size, limits.fewest_px):
        return None
    one, other = levels[shared].astype(np.float64), moved[shared].astype(np.float64)
    contrast, next_contrast = float(one.std()), float(other.std())
    if contrast == 0 or next_contrast == 0:
        return None
    gain = next_contrast / contrast
    shifts = other - pivot - gain * (one - pivot)
    shift, log_gain = _median(shifts), float(np.log(gain))
    size = float(np.hypot(shift, contrast * log_gain))
    # Most changes are less than single pixels differ, and need no look at parts, which takes most time.
    is_flicker = (
        size > limits.least_change * contrast
        and size > limits.least_of_pixels * _scatter(shifts - shift)
        and size > limits.least_of_parts * float(np.std(_of_parts(shifts, shared, limits)))
    )
    if is_flicker:
        still = _is_even(levels, moved / gain, shared, limits)
        log_gain, shift = _line_of_still_tissue(one[still], other[still], gain, shift, pivot, limits)
    return LevelChange(log_gain=log_gain, shift=shift, is_flicker=is_flicker)


def _median(values: Floats) -> float:
    """The median, as `numpy.median` has it: that selects three values, this one, in a fraction of the time.

    Example:
        >>> _median(np.array([4.0, 1.0, 3.0, 2.0])), _median(np.array([3.0, 1.0, 2.0]))
        (2.5, 2.0)
    """
    middle = len(values) // 2
    lower, upper = np.split(np.partition(values, middle), [middle])
    return float(upper[0] if len(values) % 2 else (lower.max() + upper[0]) / 2)


def _is_even(levels: Levels, next_levels: Levels, shared: Flags, limits: FlickerLimits) -> Flags:
    """Which of the shared pixels lie where grey levels change the least within both pictures.

    A structure that runs obliquely moves from slice to slice, which changes the pixels at its edge.
    """
    slopes = [np.hypot(*np.gradient(picture))[shared] for picture in (levels, next_levels)]
    slope = np.nan_to_num(slopes[0] + slopes[1], nan=np.inf)
    found: Flags = slope <= np.quantile(slope, limits.even_share)
    return found


def _line_of_still_tissue(
    one: Floats, other: Floats, gain: float, shift: float, pivot: float, limits: FlickerLimits
) -> tuple[float, float]:
    """Logarithm of the gain, and the shift, that most pixels have in common.

    The gain is the ratio of the standard deviations, which favours neither picture: that of a regression
    would be less for their noise, slice after slice. Both are of pixels that lie near the line, by weights
    that fall to zero: where the tissue of a pixel has changed, it lies far from it.

    Args:
        one: Pixels of the one picture.
        other: The same of the next one.
        gain: A gain to start from.
        shift: A shift to start from.
        pivot: Grey level at which a change of contrast changes nothing.
        limits: Which pixels count.

    Source: Tukey's biweight; Beaton and Tukey (1974), Technometrics 16, 147.
    """
    one, other = one - pivot, other - pivot
    reach = 0.0
    for _ in range(limits.line_rounds):
        off = other - gain * one - shift
        reach = reach or limits.line_reach * _scatter(off - _median(off))
        if reach == 0:  # of pictures without noise, most pixels lie on the line
            break
        weights = np.square(np.clip(1 - np.square(off / reach), 0, None))
        means = [float(np.average(values, weights=weights)) for values in (one, other)]
        squares = [
            float(np.average(np.square(values - mean), weights=weights))
            for values, mean in zip((one, other), means, strict=True)
        ]
        if min(squares) > 0:  # else all have one grey level, which tells no gain
            gain = math.sqrt(squares[1] / squares[0])
        shift = means[1] - gain * means[0]
    return math.log(gain), shift


def _scatter(differences: Floats) -> float:
    return SIGMA_OF_MAD * _median(np.abs(differences))


def _of_parts(shifts: Floats, shared: Flags, limits: FlickerLimits) -> Floats:
    """The median shift of each part of the picture in which enough is known.

    Args:
        shifts: Of the pixels that are known.
        shared: `[y, x]` which these are.
        limits: How many parts there are.
    """
    picture = np.full(shared.shape, np.nan)
    picture[shared] = shifts
    n = limits.parts_per_side
    parts = [part for rows in np.array_split(picture, n) for part in np.array_split(rows, n, axis=1)]
    known = [part[np.isfinite(part)] for part in parts]
    return np.array([_median(part) for part in known if len(part) >= limits.fewest_px / n**2])
