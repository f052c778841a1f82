"""Flicker: slices that are brighter, darker or of other contrast than those around them, and what undoes it.

The changes of grey levels from each good slice to the next follow one another along z. What holds:

- A change no larger than tissue makes by itself is none: a clean stack keeps its grey levels to the bit.
- A stack that steps at a restart follows its longer side; where every slice flickers, their median.
- Slices that are not good take no part: the good ones before and after are compared with each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from components.compose.judge.level_change import LevelChange, Levels, level_change
from components.compose.judge.limits import FLICKER, FlickerLimits
from components.compose.solve.pairs import Flags, Floats, Integers
from components.shared.documents.align import SliceStatistics
from components.shared.documents.plan import Plan, part_without
from components.shared.documents.transforms import GreyLine, SliceTransform, Transforms
from components.shared.geometry import at_scale
from components.shared.series import window_medians

ReadThumbnail = Callable[[int], NDArray[np.uint8] | None]
"""The thumbnail `[y, x]` of a slice by its z; None where there is none."""


def grey_lines(
    plan: Plan,
    transforms: Transforms,
    statistics: Mapping[int, SliceStatistics],
    thumbnail: ReadThumbnail,
    limits: FlickerLimits = FLICKER,
) -> dict[int, GreyLine]:
    """The grey line of each slice that flickers, by z.

    Args:
        plan: The plan of the run.
        transforms: Where the slices lie, and what is shown.
        statistics: Statistics of each present slice, by z.
        thumbnail: The thumbnail of a slice by its z; None where there is none.
        limits: What counts as flicker.
    """
    good = [s for s in transforms.slices if s.action == "keep" and s.verdict in ("good", "step")]
    if len(good) < 2:
        return {}
    pivot = float(np.mean([statistics[s.z].mean for s in good]))
    pictures = _Pictures(plan, statistics, thumbnail, limits)
    changes = {
        (i, j): change
        for i, j in _pairs(len(good), limits.reach)
        if (change := pictures.change(good[i], good[j], pivot)) is not None
    }
    if not any(change.is_flicker for change in changes.values()):
        return {}
    log_gains, shifts = course(len(good), changes, limits)
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


def course(
    n_slices: int, changes: Mapping[tuple[int, int], LevelChange], limits: FlickerLimits = FLICKER
) -> tuple[Floats, Floats]:
    """Logarithm of the gain, and the shift, of each good slice against the median one, `[n]` each.

    The raw level of what is to be shown as `level` is `pivot + exp(log_gain) * (level - pivot + shift)`.

    Args:
        n_slices: Number of good slices.
        changes: From a good slice to a later one, by their places among the good slices.
        limits: What counts as flicker.
    """
    among_flicker = _among_flicker(n_slices, changes, limits)
    pairs = np.array([*changes], np.int64).reshape(-1, 2)
    tell = np.array([c.is_flicker or among_flicker[i] for (i, _), c in changes.items()], np.bool_)
    weights = np.where(tell, 1 / np.maximum(pairs[:, 1] - pairs[:, 0], 1), limits.same_weight)
    of_gains = np.where(tell, [c.log_gain for c in changes.values()], 0)
    log_gains = _solved(n_slices, pairs, of_gains, weights, limits)
    log_gains -= np.median(log_gains)
    of_shifts = np.where(tell, [c.shift for c in changes.values()], 0) / np.exp(log_gains[pairs[:, 1]])
    shifts = _solved(n_slices, pairs, of_shifts, weights, limits)
    return log_gains, shifts - np.median(shifts)


def _among_flicker(
    n_slices: int, changes: Mapping[tuple[int, int], LevelChange], limits: FlickerLimits
) -> Flags:
    """[n] whether most of the changes around a slice and the next one are flicker."""
    to_next = [changes.get((i, i + 1)) for i in range(n_slices)]
    unknown = [np.nan] * (limits.around // 2)
    flickers = [np.nan if change is None else float(change.is_flicker) for change in to_next]
    return window_medians(np.array([*unknown, *flickers, *unknown]), limits.around, fewest=1) > 0.5


def _solved(
    n_slices: int, pairs: Integers, differences: Floats, weights: Floats, limits: FlickerLimits
) -> Floats:
    """[n] the values that have these differences, by weighted least squares, and are small besides."""
    from scipy.linalg import solveh_banded  # here, since most stacks have no flicker

    bands, right = np.zeros((limits.reach + 1, n_slices)), np.zeros(n_slices)
    bands[0] = limits.pull_slices**-2.0
    first, second = pairs.T
    for end, sign in ((first, -1), (second, 1)):
        np.add.at(bands[0], end, weights)
        np.add.at(right, end, sign * weights * differences)
    np.add.at(bands, (second - first, first), -weights)
    solved: Floats = solveh_banded(bands, right, lower=True)
    return solved


def _pairs(n_slices: int, reach: int) -> Iterator[tuple[int, int]]:
    """Each place with the next ones."""
    return ((i, j) for i in range(n_slices) for j in range(i + 1, min(i + reach + 1, n_slices)))


class _Pictures:
    """The slices as small pictures in raw grey levels, of which the last few are kept."""

    def __init__(
        self,
        plan: Plan,
        statistics: Mapping[int, SliceStatistics],
        thumbnail: ReadThumbnail,
        limits: FlickerLimits,
    ) -> None:
        self._plan, self._statistics, self._thumbnail, self._limits = plan, statistics, thumbnail, limits
        self._sizes_px = {s.z: (s.width_px, s.height_px) for s in plan.slices}
        self._picture = lru_cache(limits.reach + 1)(self._read)

    def change(self, entry: SliceTransform, following: SliceTransform, pivot: float) -> LevelChange | None:
        """The change of grey levels from a slice to another one; None where it is not known."""
        picture, next_picture = self._picture(entry.z), self._picture(following.z)
        if picture is None or next_picture is None:
            return None
        next_from_slice = np.linalg.inv(np.array(following.matrix)) @ np.array(entry.matrix)
        scale = picture.shape[1] / self._sizes_px[entry.z][0]
        return level_change(picture, next_picture, at_scale(next_from_slice, scale), pivot, self._limits)

    def _read(self, z: int) -> Levels | None:
        thumbnail = self._thumbnail(z)
        if thumbnail is None:
            return None
        limits, own, size_px = self._limits, self._statistics[z], self._sizes_px[z]
        factor = min(1.0, limits.side_px / max(thumbnail.shape))
        width, height = (max(1, round(side * factor)) for side in thumbnail.shape[::-1])
        small = cv2.resize(thumbnail, (width, height), interpolation=cv2.INTER_AREA)
        levels = cv2.GaussianBlur(small.astype(np.float32), (0, 0), limits.grain_sigma_px)
        counts = (small >= limits.tail_levels) & (small <= 255 - limits.tail_levels)
        x, y, part_width_px, part_height_px = part_without(self._plan.data_bars or (), size_px)
        inside, scale = np.zeros_like(counts), width / size_px[0]
        rows = slice(math.ceil(y * scale), math.floor((y + part_height_px) * scale + 1e-9))
        inside[rows, math.ceil(x * scale) : math.floor((x + part_width_px) * scale + 1e-9)] = True
        if self._plan.pixel_type == "uint16":  # whose thumbnails are stretched
            levels = own.low + levels * ((own.high - own.low) / 255)
        return np.where(counts & inside, levels, np.nan).astype(np.float32)
