"""Grey levels of a slice as an array of tiles shows them: at 8 bit, inverted, equalized (CLAHE), blended.

An array of 8 bit shows a channel mapped to 0..255 and equalized; an array of 16 bit shows raw grey levels.
A picture is `[y, x]`, or `[y, x, channel]`; three channels are red, green and blue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.documents.transforms import GreyLine, SliceTransform
from components.shared.limits import limit
from components.shared.pictures.fill_values import parts_at_sides, where_one_of
from components.shared.pictures.grey_levels import ALL_LEVELS, Picture, as_8_bit
from components.shared.pictures.streaks import without_streaks
from components.shared.volume.volume import TileArray

_HISTOGRAM_BINS = 256
"""Grey levels at 8 bit; OpenCV gives each a bin of its own."""
_RGB, _RGBA = 3, 4
"""Channels of a colour picture, without and with alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastLimits:
    """Limits of the regions over which contrast is equalized; how much is `clip_limit`, a setting."""

    regions_per_side: int = limit(
        8,
        unit="regions along x and along y",
        why="scikit-image's default kernel is an eighth of each side: `clip_limit` means what it means there",
        measured_on="test_contrast: mean difference to `equalize_adapthist` below 1 of 255 grey levels",
        too_small="a bright corner decides the contrast of the whole slice",
        too_large="regions become as small as cells, whose own contrast is flattened",
    )


LIMITS = ContrastLimits()


def slice_channels(
    tiles: TileArray,
    files: Sequence[Picture],
    intensity_ranges: Sequence[tuple[float, float]],
    clip_limit: float,
    shown: SliceTransform,
) -> Iterator[Picture]:
    """Each channel of a slice, `[y, x]`, in the order of the volume.

    Args:
        tiles: The array of tiles.
        files: The picture of each file of the slice. The first was aligned and judged: it alone is inverted,
            and has padding.
        intensity_ranges: Raw grey levels of each file that are shown as 0 and 255.
        clip_limit: Clip limit of CLAHE, see `equalized`.
        shown: The slice's place: the action `invert` inverts it, and its padding becomes black.
    """
    padding = None
    if shown.padding_levels:
        padding = parts_at_sides(where_one_of(files[0], shown.padding_levels))
    for index, (picture, levels) in enumerate(zip(files, intensity_ranges, strict=True)):
        invert = shown.action == "invert" and index == 0
        line = shown.grey_line if index == 0 else None
        if index == 0 and shown.filtered_streaks and tiles.data_type == "uint8" and picture.ndim == 2:
            picture = without_streaks(_filled(picture, padding), shown.filtered_streaks)  # noqa: PLW2901
        for channel in channels_of(tiles, picture, levels, clip_limit, invert=invert, line=line):
            if padding is None or index > 0:
                yield channel
            else:
                yield cast("Picture", np.where(padding, channel.dtype.type(0), channel))


def _filled(picture: Picture, padding: NDArray[np.bool_] | None) -> Picture:
    """A picture whose padding has the mean grey level of the rest: its edge is no streak."""
    if padding is None or padding.all():
        return picture
    return cast(
        "Picture", np.where(padding, picture.dtype.type(round(float(picture[~padding].mean()))), picture)
    )


def channels_of(
    tiles: TileArray,
    picture: Picture,
    intensity_range: tuple[float, float],
    clip_limit: float,
    *,
    invert: bool,
    line: GreyLine | None = None,
) -> Iterator[Picture]:
    """Each channel of a picture, `[y, x]`: at 8 bit mapped and equalized, to look at; at 16 bit as it is.

    Alpha keeps its meaning: it is neither equalized nor inverted.

    Args:
        tiles: The array of tiles.
        picture: `[y, x]` or `[y, x, channel]`, of a file of the slice.
        intensity_range: Raw grey levels that are shown as 0 and 255.
        clip_limit: Clip limit of CLAHE, see `equalized`.
        invert: Whether the grey levels are inverted.
        line: Correction of the brightness and contrast that an array of 8 bit shows.
    """
    if picture.ndim == 3 and picture.shape[2] == _RGBA:
        colours = picture[:, :, :3]
        yield from channels_of(tiles, colours, intensity_range, clip_limit, invert=invert, line=line)
        yield from channels_of(tiles, picture[:, :, 3], ALL_LEVELS, 0, invert=False)
        return
    if tiles.data_type == "uint16":
        shown = inverted_raw(picture, intensity_range) if invert else picture
    else:
        grey = to_uint8(picture, intensity_range, line)
        shown = equalized(inverted(grey) if invert else grey, clip_limit)
    for channel in np.moveaxis(np.atleast_3d(shown), 2, 0):
        yield np.ascontiguousarray(channel)


def to_uint8(
    picture: Picture, intensity_range: tuple[float, float], line: GreyLine | None = None
) -> NDArray[np.uint8]:
    """A picture at 8 bit: `intensity_range` becomes 0..255, clipped and rounded; 8 bit stays as it is.

    Args:
        picture: Raw grey levels.
        intensity_range: Those that are shown as 0 and 255.
        line: What they are brought to before; None leaves them as they are.

    Example:
        >>> to_uint8(np.array([[90, 100, 151, 202, 300]], np.uint16), (100, 202)).tolist()
        [[0, 0, 128, 255, 255]]
        >>> to_uint8(np.array([[100, 150]], np.uint8), (0, 255), GreyLine(gain=1.1, offset=-5)).tolist()
        [[105, 160]]
    """
    if picture.dtype == np.uint8 and line is None:
        return picture.astype(np.uint8, copy=False)
    levels = np.arange(np.iinfo(picture.dtype).max + 1, dtype=np.float64)
    table = as_8_bit(levels if line is None else levels * line.gain + line.offset, *intensity_range)
    if picture.dtype == np.uint8:
        return cv2.LUT(picture, table).astype(np.uint8, copy=False)
    return table[picture]


def inverted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of 8 bit with its grey levels inverted: 0 becomes 255.

    Example:
        >>> inverted(np.array([[0, 100, 255]], np.uint8)).tolist()
        [[255, 155, 0]]
    """
    return np.bitwise_not(picture)


def inverted_raw(picture: Picture, intensity_range: tuple[float, float]) -> Picture:
    """Raw grey levels inverted within the intensity range: its ends change places.

    What lies beyond an end lies as far beyond the other one, and is clipped to the range of the type.

    Example:
        >>> inverted_raw(np.array([[90, 100, 202, 400]], np.uint16), (100, 202)).tolist()
        [[212, 202, 100, 0]]
    """
    mirrored = round(sum(intensity_range)) - picture.astype(np.int32)
    return cast("Picture", np.clip(mirrored, 0, np.iinfo(picture.dtype).max).astype(picture.dtype))


def blended(a: Picture, b: Picture) -> Picture:
    """The mean of two planes, rounded up; where one shows nothing (0), the other alone.

    Example:
        >>> blended(np.array([[10, 10, 0]], np.uint8), np.array([[20, 13, 7]], np.uint8)).tolist()
        [[15, 12, 7]]
    """
    # The mean rounded up without a ninth bit: a + b = 2 (a | b) - (a ^ b) (Warren, Hacker's Delight, 2-5).
    mean = (a | b) - ((a ^ b) >> 1)
    return cast("Picture", np.where((a == 0) | (b == 0), np.maximum(a, b), mean))


def equalized(picture: NDArray[np.uint8], clip_limit: float) -> NDArray[np.uint8]:
    """A picture after CLAHE (Zuiderveld 1994) over 8 x 8 regions.

    It is computed on the raw slice, so that the black surround of a warped one never enters a histogram
    (docs/decisions/0001). Of red, green and blue the luminance is equalized; any other channel is
    equalized by itself.

    Args:
        picture: `[y, x]` or `[y, x, channel]`.
        clip_limit: As in `skimage.exposure.equalize_adapthist`: the fraction of a region's pixels that one of
            256 bins may hold. OpenCV counts in multiples of the mean bin, 256 times as many. 0 returns the
            picture itself.
    """
    if clip_limit == 0:
        return picture
    clahe = cv2.createCLAHE(clip_limit * _HISTOGRAM_BINS, (LIMITS.regions_per_side, LIMITS.regions_per_side))
    if picture.ndim == 2:
        return clahe.apply(picture).astype(np.uint8, copy=False)
    colours = picture.shape[2] == _RGB
    equal = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb) if colours else picture.copy()
    for channel in range(1 if colours else equal.shape[2]):
        equal[:, :, channel] = clahe.apply(np.ascontiguousarray(equal[:, :, channel]))
    if colours:
        equal = cv2.cvtColor(equal, cv2.COLOR_YCrCb2RGB)
    return equal.astype(np.uint8, copy=False)
