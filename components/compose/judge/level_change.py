"""How grey levels change from a slice to the next: what the pixels of two aligned pictures have in common.

Neighbours show nearly the same tissue, so the grey levels of the one are those of the other but for the gain
and the offset of the microscope. Tissue changes too. What tells the two apart is that flicker is the same
everywhere: it is more than single pixels differ, and more than one part of the picture differs from another,
as they do where tissue, resin, charging or curtains change.
"""

from __future__ import annotations

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

    The gain is the ratio of the standard deviations, which favours neither picture: that of a regression
    would be less for their noise, slice after slice. The shift is the median, since tissue that changes
    changes few pixels by much.

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
