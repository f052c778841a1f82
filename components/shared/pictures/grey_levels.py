"""Grey levels, unsigned integers of 8 or 16 bit, made of the numbers in a file.

Unsigned numbers stay as they are, signed ones of 8 and 16 bit move up by half their range. Numbers of 32 bit
and floating point become 16 bit: a range of values, chosen once for a stack, is spread over 0..65535.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import PixelType
from components.shared.limits import limit

SampleType = Literal["uint8", "uint16", "int8", "int16", "uint32", "int32", "float32", "float64"]
"""Type of the numbers in a file, by NumPy's name."""
WIDE: tuple[SampleType, ...] = ("uint32", "int32", "float32", "float64")
"""Types whose values are spread over 16 bit."""
Picture = NDArray[np.uint8] | NDArray[np.uint16]
"""[y, x] grey levels, or [y, x, channel]: red, green, blue and alpha, or as many as there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLimits:
    """Limits on what a range of grey levels leaves of a picture where it becomes 0 to 255."""

    fewest_levels: float = limit(
        16.0,
        unit="of 256 grey levels, for the middle half of the pixels",
        why="with fewer, membranes are steps of a few levels, and JPEG and CLAHE make blocks of them",
        measured_on="not measured; chosen: tissue alone in its own range gets about 55",
        too_small="a volume whose tissue has lost its grey levels is written and paid for",
        too_large="stacks with bright structures, which rightly stretch the range, are stopped",
    )
    fewest_asked_levels: float = limit(
        8.0,
        unit="of 256 grey levels, for the middle half of the voxels of an export",
        why="who asks for a contrast may want room around the tissue, such as to compare two volumes",
        measured_on="tests/e2e/test_data_types.py: 12.5 where a contrast is six times as wide as the volume",
        too_small="an export whose tissue has lost its grey levels is written",
        too_large="a contrast that is wide on purpose is refused",
    )
    most_clipped: float = limit(
        0.5,
        unit="of the voxels of an export",
        why="where more become white or black, the contrast is of other grey levels than the volume",
        measured_on="not measured; chosen",
        too_small="a contrast that burns out resin on purpose is refused",
        too_large="an export that is white for the most part is written",
    )


SHOWN = ShownLimits()
TAIL_PERCENTILES = (0.1, 99.9)
"""Percentiles at which a picture's darkest and brightest grey levels are read: odd pixels have no say."""
ALL_LEVELS = (0.0, 65535.0)
"""The whole range of 16 bit grey levels."""

_GREATEST = 65535
"""Greatest grey level of 16 bit."""
_BAND_ROWS = 256
"""Rows of float numbers in memory at a time."""


def pixel_type_of(sample_type: SampleType) -> PixelType:
    """The type of the grey levels that numbers of a type become.

    Example:
        >>> pixel_type_of("int8"), pixel_type_of("int16"), pixel_type_of("float32")
        ('uint8', 'uint16', 'uint16')
    """
    return "uint8" if sample_type in ("uint8", "int8") else "uint16"


def grey_levels(
    numbers: NDArray[Any], values: tuple[float, float] | None, fill: Sequence[float] = ()
) -> Picture:
    """The grey levels of a picture; what is not a number, and fill values of `WIDE` types, become 0.

    Args:
        numbers: `[y, x]` or `[y, x, channel]`, of a `SampleType`.
        values: The two values that become 0 and 65535, for the types in `WIDE`; values beyond are clipped.
        fill: Fill values, for these types.

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
    low, high = (value / 4 for value in values)  # so that the difference of the greatest is finite
    levels = np.empty(numbers.shape, np.uint16)
    with np.errstate(invalid="ignore", over="ignore"):  # of what is no number, or far beyond
        for row in range(0, len(numbers), _BAND_ROWS):
            found = numbers[row : row + _BAND_ROWS]
            band = (found.astype(np.float64) / 4 - low) * (_GREATEST / (high - low))
            band[np.isnan(band)] = 0
            for number in fill:
                band[found == number] = 0
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


def levels_of_middle_half(
    lower: NDArray[np.floating] | float, upper: NDArray[np.floating] | float, shown: tuple[float, float]
) -> NDArray[np.float64]:
    """The number of the 256 grey levels that are shown between the quartiles of a picture.

    Args:
        lower: First quartile of the raw grey levels.
        upper: Third quartile.
        shown: Raw grey levels that become 0 and 255.

    Example:
        >>> float(levels_of_middle_half(30_000, 31_100, shown=(0, 33_000)))
        8.5
    """
    black, white = shown
    low, high = np.clip(lower, black, white), np.clip(upper, black, white)
    return np.asarray((high - low) * (255 / (white - black)), np.float64)


def value_range(numbers: Iterable[NDArray[Any]]) -> tuple[float, float]:
    """The range of values to spread over 16 bit: that of some pictures, and as much again on either side.

    A few odd pixels have no say; slices that are brighter or darker than these have room.

    Args:
        numbers: `[n]` numbers of each picture that count; those that are not finite do not.

    Example:
        >>> low, high = value_range([np.linspace(0, 1, 10_000)])
        >>> round(low), round(high)
        (-1, 2)
    """
    finite = [some[np.isfinite(some)] / 16 for some in numbers]  # so that three times the range is finite
    ends = [np.percentile(some, TAIL_PERCENTILES) for some in finite if len(some)]
    if not ends:
        return 0.0, 1.0
    low, high = float(min(low for low, _ in ends)), float(max(high for _, high in ends))
    width = high - low or 1 / 16
    greatest = float(np.finfo(np.float64).max)
    return max(16 * (low - width), -greatest), min(16 * (high + width), greatest)
