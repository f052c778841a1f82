"""Streaks of a slice: curtains, long along y and thin along x, and scan lines of charging, long along x.

What is thin across and long along is taken for a streak: the picture less its mean across, averaged along. It
is Gaussian both times, so it is the notch in Fourier space of Render's streak corrector, without the memory
of a Fourier transform of the whole slice. Tissue has such parts too, which a filter takes away: as much as
the same filter takes when it is turned by 90 degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.documents.transforms import StreakAxis, Streaks
from components.shared.limits import limit
from components.shared.pictures.grey_levels import Picture
from components.shared.series import SIGMA_OF_MAD


@dataclass(frozen=True, slots=True, kw_only=True)
class StreakLimits:
    """Limits of what a streak is, and of when it is filtered."""

    across_sigma_px: float = limit(
        3.5,
        unit="px",
        why="wider structures are no streaks",
        measured_on="curtains of 6 grey levels, 300 px long, on 10 slices of fibsem_medulla: 3.7 are left at "
        "a damage of 1.8; with 2.8 px 3.9 at 1.6, with 5 px 3.7 at 2.5",
        too_small="wide curtains are left",
        too_large="membranes along the axis are taken for streaks",
    )
    along_sigma_px: float = limit(
        80.0,
        unit="px",
        why="shorter structures are no streaks",
        measured_on="the same slices: with 55 px 3.8 are left at a damage of 2.1, with 40 px 4.0 at 2.4",
        too_small="membranes along the axis are taken for streaks",
        too_large="curtains that fade within a slice are left",
    )
    clip_scatters: float = limit(
        2.0,
        unit="times the scatter of what is thin",
        why="membranes are stronger than streaks, and count no more than these",
        measured_on="the same slices: without, the damage is 2.0",
        too_small="strong streaks are left",
        too_large="single membranes make streaks",
    )
    least_gain: float = limit(
        1.5,
        unit="times the damage",
        why="a filter is worth its damage only where the streaks are clearly more than that",
        measured_on="the same slices and 10 of fibsem_cube: 1.2 at most without curtains, 1.5 with 2 "
        "levels, 2.6 and 2.8 with 6",
        too_small="slices are made worse than they came",
        too_large="curtains that people see are left",
    )
    least_told: float = limit(
        0.01,
        unit="of the range of grey levels that is shown, RMS",
        why="fainter streaks are filtered where that is asked for, but nobody is told of them",
        measured_on="6 slices each of fibsem_medulla and fibsem_cube: 0.009 at most without curtains, 0.010 "
        "to 0.013 with 2 levels, which no filter makes better, 0.024 to 0.028 with 6",
        too_small="a person is told of streaks that nobody sees",
        too_large="curtains that people see are not told",
    )
    reduction: int = limit(
        8,
        unit="px along a streak that are averaged first",
        why="a tenth of the width of the average: a ninth of the time, and the same result",
        measured_on="not measured apart",
        too_small="time",
        too_large="the average is coarse",
    )
    measured_side_px: int = limit(
        1024,
        unit="px, sides of the middle of a slice that is measured",
        why="streaks cross the whole slice",
        measured_on="not measured; 60 ms a slice",
        too_small="single membranes decide",
        too_large="time of align",
    )
    digits: int = limit(
        3,
        unit="digits after the point of a gain or damage",
        why="more would depend on the processor",
        measured_on="derived",
        too_small="the limit is met by rounding",
        too_large="the bytes of records depend on the processor",
    )
    strip_px: int = limit(
        256,
        unit="px across the streaks that are filtered at a time",
        why="a strip of 10,000 px takes 40 MB",
        measured_on="derived; no result depends on it",
        too_small="time for strips that overlap",
        too_large="memory of tile",
    )


STREAKS = StreakLimits()


def is_worth_filtering(gain: float, damage: float, limits: StreakLimits = STREAKS) -> bool:
    """True where a filter gains clearly more than it damages.

    Example:
        >>> is_worth_filtering(gain=1.8, damage=1.5)
        False
    """
    return bool(gain > limits.least_gain * damage)


def is_worth_telling(
    gain: float, damage: float, shown: tuple[float, float], limits: StreakLimits = STREAKS
) -> bool:
    """True where a filter gains clearly more than it damages, of streaks that people see.

    Args:
        gain: Streaks that the filter takes away, RMS in raw grey levels.
        damage: Tissue that it takes away with them.
        shown: The raw grey levels that are shown as black and white.
        limits: What people see.

    Example:
        >>> is_worth_telling(0.2, 0.1, (0, 255)), is_worth_telling(5.0, 1.8, (0, 255))
        (False, True)
    """
    black, white = shown
    return is_worth_filtering(gain, damage, limits) and gain >= limits.least_told * (white - black)


def streak_figures(picture: Picture, limits: StreakLimits = STREAKS) -> Streaks:
    """Measure the axis with more streaks, by comparison with the other one: tissue has no axis.

    Args:
        picture: `[y, x]` a slice, of which the middle is measured.
        limits: What is a streak.
    """
    middle = _middle(picture, limits)
    along_x, along_y = (
        float(np.square(_streaks(one, _most(one, limits), limits), dtype=np.float64).mean())
        for one in (middle.T, middle)
    )
    return Streaks(
        axis="x" if along_x > along_y else "y",
        gain=round(abs(along_x - along_y) ** 0.5, limits.digits),
        damage=round(min(along_x, along_y) ** 0.5, limits.digits),
    )


def without_streaks(picture: Picture, axis: StreakAxis, limits: StreakLimits = STREAKS) -> Picture:
    """A picture less its streaks along an axis; strip by strip, which changes no result.

    Args:
        picture: `[y, x]`.
        axis: What the streaks are long along.
        limits: What is a streak.
    """
    across = picture if axis == "y" else picture.T
    most = _most(_middle(across, limits), limits)
    filtered = np.empty(picture.shape, picture.dtype)
    result = filtered if axis == "y" else filtered.T
    margin = len(_kernel(limits.across_sigma_px)) // 2
    for start in range(0, across.shape[1], limits.strip_px):
        end = min(start + limits.strip_px, across.shape[1])
        first = max(0, start - margin)
        strip = across[:, first : end + margin]
        whole = strip.astype(np.float32) - _streaks(strip, most, limits)
        levels = np.clip(np.rint(whole[:, start - first : end - first]), 0, np.iinfo(picture.dtype).max)
        result[:, start:end] = levels.astype(picture.dtype)
    return cast("Picture", filtered)


def _middle(picture: Picture, limits: StreakLimits) -> Picture:
    """The middle of a picture, at most `measured_side_px` wide and high."""
    height, width = picture.shape
    rows, columns = min(height, limits.measured_side_px), min(width, limits.measured_side_px)
    top, left = (height - rows) // 2, (width - columns) // 2
    return picture[top : top + rows, left : left + columns]


def _most(middle: Picture, limits: StreakLimits) -> float:
    """The most that a pixel counts of what is thin along x."""
    return limits.clip_scatters * SIGMA_OF_MAD * float(np.median(np.abs(_thin(middle, limits))))


def _streaks(picture: Picture, most: float, limits: StreakLimits) -> NDArray[np.float32]:
    """The streaks along y: thin along x, at most so much, and long along y."""
    thin = np.clip(_thin(picture, limits), -most, most)
    height, width = thin.shape
    rows = max(1, round(height / limits.reduction))
    few = cv2.resize(thin, (width, rows), interpolation=cv2.INTER_AREA)
    kernel = _kernel(limits.along_sigma_px * rows / height)
    few = cv2.sepFilter2D(few, -1, np.ones(1), kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _thin(picture: Picture, limits: StreakLimits) -> NDArray[np.float32]:
    """A picture less its mean along x."""
    grey = np.ascontiguousarray(picture, np.float32)
    kernel = _kernel(limits.across_sigma_px)
    wide = cv2.sepFilter2D(grey, -1, kernel, np.ones(1), borderType=cv2.BORDER_REFLECT)
    return np.asarray(grey - wide, np.float32)


def _kernel(sigma_px: float) -> NDArray[np.float64]:
    """A Gaussian, cut off at four standard deviations."""
    return np.asarray(cv2.getGaussianKernel(2 * math.ceil(4 * sigma_px) + 1, sigma_px), np.float64)
