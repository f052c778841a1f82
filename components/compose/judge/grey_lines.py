"""Flicker: slices that are brighter, darker or of other contrast than those around them, and what undoes it.

The changes of grey levels from each good slice to the next follow one another along z. What holds:

- A change no larger than tissue makes by itself is none: a clean stack keeps its grey levels to the bit.
- A stack that steps at a restart follows its longer side; where every slice flickers, their running median.
- Slices that are not good take no part: the good ones before and after are compared with each other.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from components.compose.judge.level_change import LevelChange, Levels, level_change
from components.compose.judge.limits import FLICKER, FlickerLimits
from components.compose.solve.pairs import Flags, Floats, Integers
from components.shared.documents.align import SliceStatistics
from components.shared.documents.plan import Plan, pixels_within
from components.shared.documents.transforms import GreyLine, SliceTransform, Transforms
from components.shared.geometry import at_scale
from components.shared.series import running_median, window_medians

Changes = Mapping[tuple[int, int], LevelChange]
"""Changes of grey levels from a good slice to a later one, by their places among the good slices."""


def may_flicker(entry: SliceTransform) -> bool:
    """True of a slice whose grey levels are those of good tissue."""
    return entry.action == "keep" and entry.verdict in ("good", "step")


def grey_lines(
    transforms: Transforms,
    statistics: Mapping[int, SliceStatistics],
    changes: Changes,
    limits: FlickerLimits = FLICKER,
) -> dict[int, GreyLine]:
    """The grey line of each slice that flickers, by z.

    Args:
        transforms: Where the slices lie, and what is shown.
        statistics: Statistics of each present slice, by z.
        changes: Changes of grey levels between good slices.
        limits: What counts as flicker.
    """
    good = [entry for entry in transforms.slices if may_flicker(entry)]
    if not any(change.is_flicker for change in changes.values()):
        return {}
    pivot = pivot_of(transforms, statistics)
    means, stds = (np.array([getattr(statistics[s.z], name) for s in good]) for name in ("mean", "std"))
    log_gains, shifts = course(changes, means - pivot, stds, limits)
    black, white = transforms.intensity_range
    least_move = limits.least_move * (white - black) / 255
    lines = {}
    for entry, log_gain, shift in zip(good, log_gains.tolist(), shifts.tolist(), strict=True):
        gain = round(math.exp(-log_gain), limits.gain_digits)
        line = GreyLine(gain=gain, offset=round(pivot - gain * pivot - shift, limits.offset_digits))
        own = statistics[entry.z]
        if max(abs(line.shown(level) - level) for level in (own.low, own.high)) > least_move:
            lines[entry.z] = line
    return lines


def pivot_of(transforms: Transforms, statistics: Mapping[int, SliceStatistics]) -> float:
    """The grey level at which a change of contrast changes nothing: the mean of the good slices."""
    means = [statistics[entry.z].mean for entry in transforms.slices if may_flicker(entry)]
    return float(np.mean(means)) if means else 0.0


def course(
    changes: Changes, own_levels: Floats, own_contrasts: Floats, limits: FlickerLimits = FLICKER
) -> tuple[Floats, Floats]:
    """Logarithm of the gain, and the shift, of each good slice against the median one, `[n]` each.

    The raw level of what is to be shown as `level` is `pivot + exp(log_gain) * (level - pivot + shift)`.

    Where every slice flickers, changes of the tissue that count as flicker add up. So over more slices than
    `pull_slices` the slices' own levels are believed, which would be their running median without flicker;
    not those that are far from what the changes tell, since other tissue is there.

    Args:
        changes: Changes of grey levels between good slices.
        own_levels: Mean grey level of each good slice, less the pivot.
        own_contrasts: Standard deviation of the grey levels of each.
        limits: What counts as flicker.
    """
    among_flicker = _among_flicker(len(own_levels), changes, limits)
    pairs = np.array([*changes], np.int64).reshape(-1, 2)
    tell = np.array([c.is_flicker or among_flicker[i] for (i, _), c in changes.items()], np.bool_)
    weights = np.where(tell, 1 / np.maximum(pairs[:, 1] - pairs[:, 0], 1), limits.same_weight)

    def solved(of_pairs: Floats, own: Floats, most_apart: float) -> Floats:
        differences, nothing = np.where(tell, of_pairs, 0), np.full(len(own), np.nan)
        about = own - running_median(own, limits.own_slices)
        apart = about - _solved(pairs, differences, weights, nothing, limits)
        tissue = np.abs(apart - running_median(apart, limits.own_slices)) > most_apart
        expected = np.where(among_flicker & ~tissue, about, np.nan)
        found = _solved(pairs, differences, weights, expected, limits)
        return found - np.median(found)

    contrasts = np.maximum(own_contrasts, np.finfo(np.float64).tiny)
    log_gains = solved(np.array([c.log_gain for c in changes.values()]), np.log(contrasts), limits.own_apart)
    shifts = np.array([c.shift for c in changes.values()]) / np.exp(log_gains[pairs[:, 1]])
    most_apart = limits.own_apart * float(np.median(contrasts))
    return log_gains, solved(shifts, own_levels / np.exp(log_gains), most_apart)


def _among_flicker(n_slices: int, changes: Changes, limits: FlickerLimits) -> Flags:
    """[n] whether most of the changes around a slice and the next one are flicker."""
    to_next = [changes.get((i, i + 1)) for i in range(n_slices)]
    unknown = [np.nan] * (limits.around // 2)
    flickers = [np.nan if change is None else float(change.is_flicker) for change in to_next]
    return window_medians(np.array([*unknown, *flickers, *unknown]), limits.around, fewest=1) > 0.5


def _solved(
    pairs: Integers, differences: Floats, weights: Floats, expected: Floats, limits: FlickerLimits
) -> Floats:
    """[n] the values that have these differences, by weighted least squares, and are near those expected.

    Args:
        pairs: [pairs, 2] places of the values.
        differences: From the first to the second of each pair.
        weights: Of the pairs.
        expected: [n] what is expected of each value; NaN where it is small and little is known.
        limits: How strongly values are pulled.
    """
    from scipy.linalg import solveh_banded  # here, since most stacks have no flicker

    pulls = np.where(np.isfinite(expected), limits.pull_slices**-2.0, limits.weak_pull_slices**-2.0)
    bands, right = np.zeros((limits.reach + 1, len(expected))), pulls * np.nan_to_num(expected)
    bands[0] = pulls
    first, second = pairs.T
    for end, sign in ((first, -1), (second, 1)):
        np.add.at(bands[0], end, weights)
        np.add.at(right, end, sign * weights * differences)
    np.add.at(bands, (second - first, first), -weights)
    solved: Floats = solveh_banded(bands, right, lower=True)
    return solved


class LevelChanges:
    """Changes of grey levels from each slice that may flicker to the next ones.

    It looks at one slice after another, z ascending, and holds as many pictures as slices are compared with.
    """

    def __init__(self, pivot: float, limits: FlickerLimits = FLICKER) -> None:
        """Begin before the first slice.

        Args:
            pivot: Grey level at which a change of contrast changes nothing.
            limits: What counts as flicker.
        """
        self._pivot, self._limits = pivot, limits
        self._earlier: deque[tuple[SliceTransform, Levels, float]] = deque(maxlen=limits.reach)
        self._found: dict[tuple[int, int], LevelChange] = {}
        self._n_slices = 0

    def look_at(self, entry: SliceTransform, levels: Levels, scale: float) -> None:
        """Compare a slice with those before it.

        Args:
            entry: Where the slice lies.
            levels: Its small picture.
            scale: Scale of that.
        """
        slice_from_volume = np.linalg.inv(np.array(entry.matrix))
        for distance, (other, other_levels, other_scale) in enumerate(reversed(self._earlier), start=1):
            slice_from_other = at_scale(slice_from_volume @ np.array(other.matrix), other_scale)
            change = level_change(other_levels, levels, slice_from_other, self._pivot, self._limits)
            if change is not None:
                self._found[self._n_slices - distance, self._n_slices] = change
        self._earlier.append((entry, levels, scale))
        self._n_slices += 1

    def found(self) -> Changes:
        """The changes between the slices that were looked at, in the order of the earlier one."""
        return dict(sorted(self._found.items()))


def small_levels(
    plan: Plan,
    size_px: tuple[int, int],
    own: SliceStatistics,
    thumbnail: NDArray[np.uint8],
    limits: FlickerLimits = FLICKER,
) -> tuple[Levels, float]:
    """A slice as a small picture in raw grey levels, NaN where they do not count, and the scale of that.

    Args:
        plan: The plan of the run.
        size_px: Width and height of the slice.
        own: Statistics of the slice.
        thumbnail: `[y, x]`.
        limits: What counts.
    """
    factor = min(1.0, limits.side_px / max(thumbnail.shape))
    width, height = (max(1, round(side * factor)) for side in thumbnail.shape[::-1])
    small = cv2.resize(thumbnail, (width, height), interpolation=cv2.INTER_AREA)
    levels = cv2.GaussianBlur(small.astype(np.float32), (0, 0), limits.grain_sigma_px)
    counts = (small >= limits.tail_levels) & (small <= 255 - limits.tail_levels)
    scale = width / size_px[0]
    inside = np.zeros_like(counts)
    inside[pixels_within(plan.matched_part(size_px), scale)] = True
    if plan.pixel_type == "uint16":  # whose thumbnails are stretched
        levels = own.low + levels * ((own.high - own.low) / 255)
    return np.where(counts & inside, levels, np.nan).astype(np.float32), scale
