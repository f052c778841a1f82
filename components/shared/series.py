"""Robust statistics along a series, in which unknown values are NaN."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
"""`[n]` values, NaN where one is not known."""

SIGMA_OF_MAD = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution (Rousseeuw and Croux 1993)."""
IQR_OF_NORMAL = 1.349
"""Interquartile range of a normal distribution over its standard deviation."""
MEDIAN_OF_RAYLEIGH = math.sqrt(2 * math.log(2))
"""Median length of a vector whose two components are normal with standard deviation 1 (Rayleigh)."""


def running_median(values: Series, window: int) -> Series:
    """The median of the known values in a window around each value, the lower of two in the middle.

    Where no value is known nearby it is the median of all, and 0 where none is known at all.

    Args:
        values: `[n]`.
        window: Values in a window, an odd number.

    Example:
        >>> running_median(np.array([0.9, np.nan, 0.1, 0.8, 0.9]), window=3).tolist()
        [0.9, 0.1, 0.1, 0.8, 0.8]
    """
    windows, n_known = _sorted_windows(np.pad(values, window // 2, constant_values=np.nan), window)
    middle = windows[np.arange(len(values)), np.maximum(n_known - 1, 0) // 2]
    known = values[np.isfinite(values)]
    result: Series = np.where(n_known > 0, middle, np.median(known) if len(known) else 0.0)
    return result


def window_medians(values: Series, window: int, fewest: int) -> Series:
    """The median of the known values in each window of a series, the mean of two in the middle.

    Args:
        values: `[n]`.
        window: Values in a window.
        fewest: A window with fewer known values gives NaN.

    Returns:
        `[n - window + 1]`.

    Example:
        >>> window_medians(np.array([np.nan, 1.0, 3.0, 4.0, np.nan]), window=3, fewest=2).tolist()
        [2.0, 3.0, 3.5]
    """
    windows, n_known = _sorted_windows(values, window)
    rows = np.arange(len(windows))
    lower, upper = np.maximum(n_known - 1, 0) // 2, np.minimum(n_known // 2, window - 1)
    middle = (windows[rows, lower] + windows[rows, upper]) / 2
    result: Series = np.where(n_known >= fewest, middle, np.nan)
    return result


def _sorted_windows(values: Series, window: int) -> tuple[Series, NDArray[np.int64]]:
    """The values of each window, `[n - window + 1, window]`, ascending and NaN last; how many are known."""
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
    return windows, np.isfinite(windows).sum(axis=1)
