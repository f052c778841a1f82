"""Grey levels, unsigned integers of 8 or 16 bit, made of the numbers in a file.

Unsigned numbers stay as they are, signed ones of 8 and 16 bit move up by half their range. Numbers of 32 bit
and floating point become 16 bit: a range of values, chosen once for a stack, is spread over 0..65535.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import PixelType

SampleType = Literal["uint8", "uint16", "int8", "int16", "uint32", "int32", "float32", "float64"]
"""Type of the numbers in a file, by NumPy's name."""
WIDE: tuple[SampleType, ...] = ("uint32", "int32", "float32", "float64")
"""Types whose values are spread over 16 bit."""
Picture = NDArray[np.uint8] | NDArray[np.uint16]
"""[y, x] grey levels, or [y, x, channel]: red, green, blue and alpha, or as many as there are."""

TAIL_PERCENTILES = (0.1, 99.9)
"""Percentiles at which a picture's darkest and brightest grey levels are read: odd pixels have no say."""
ALL_LEVELS = (0.0, 65535.0)
"""The whole range of 16 bit grey levels."""

_GREATEST = 65535
"""Greatest grey level of 16 bit."""
_STEP_PX = 4
"""Every fourth pixel along x and y is looked at for the range of values."""
_BAND_ROWS = 256
"""Rows of float numbers in memory at a time."""


def pixel_type_of(sample_type: SampleType) -> PixelType:
    """The type of the grey levels that numbers of a type become.

    Example:
        >>> pixel_type_of("int8"), pixel_type_of("int16"), pixel_type_of("float32")
        ('uint8', 'uint16', 'uint16')
    """
    return "uint8" if sample_type in ("uint8", "int8") else "uint16"


def grey_levels(numbers: NDArray[Any], values: tuple[float, float] | None) -> Picture:
    """The grey levels of a picture; what is not a number becomes 0.

    Args:
        numbers: `[y, x]` or `[y, x, channel]`, of a `SampleType`.
        values: The two values that become 0 and 65535, for the types in `WIDE`; values beyond are clipped.

    Example:
        >>> grey_levels(np.array([[-128, 0, 127]], np.int8), None).tolist()
        [[0, 128, 255]]
        >>> grey_levels(np.array([[-1, 0, 0.5, 1, 2, np.nan]], np.float32), (0, 1)).tolist()
        [[0, 0, 32768, 65535, 65535, 0]]
    """
    name = numbers.dtype.name
    if name in ("uint8", "uint16"):
        return cast("Picture", numbers)
    if name in ("int8", "int16"):
        unsigned = numbers.view(f"u{name}")
        return cast("Picture", unsigned ^ unsigned.dtype.type(1 << (8 * unsigned.itemsize - 1)))
    assert values is not None, "the plan names the values of wide numbers"
    low, high = values
    levels = np.empty(numbers.shape, np.uint16)
    with np.errstate(invalid="ignore", over="ignore"):  # of what is no number, or far beyond
        for row in range(0, len(numbers), _BAND_ROWS):
            band = (numbers[row : row + _BAND_ROWS].astype(np.float64) - low) * (_GREATEST / (high - low))
            band[np.isnan(band)] = 0
            levels[row : row + _BAND_ROWS] = np.rint(np.clip(band, 0, _GREATEST, out=band))
    return levels


def as_8_bit(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Grey levels at 8 bit: `low`..`high` becomes 0..255, rounded and clipped.

    Args:
        values: Grey levels, computed with in their own precision.
        low: What becomes 0.
        high: What becomes 255; a range that is narrower than 1 is taken as 1 wide.

    Example:
        >>> as_8_bit(np.array([0.0, 50, 51, 101, 152, 255]), 50, 152).tolist()
        [0, 0, 2, 128, 255, 255]
    """
    scaled = (values - low) * (255 / max(high - low, 1))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def value_range(pictures: Iterable[NDArray[Any]]) -> tuple[float, float]:
    """The range of values to spread over 16 bit: that of some pictures, and as much again on either side.

    A few odd pixels have no say; slices that are brighter or darker than these have room.

    Example:
        >>> low, high = value_range([np.linspace(0, 1, 10_000).reshape(100, 100)])
        >>> round(low), round(high)
        (-1, 2)
    """
    seen = [picture[::_STEP_PX, ::_STEP_PX].ravel() for picture in pictures]
    finite = [numbers[np.isfinite(numbers)] for numbers in seen]
    ends = [np.percentile(numbers, TAIL_PERCENTILES) for numbers in finite if len(numbers)]
    if not ends:
        return 0.0, 1.0
    low, high = float(min(low for low, _ in ends)), float(max(high for _, high in ends))
    width = high - low or 1.0
    return low - width, high + width
