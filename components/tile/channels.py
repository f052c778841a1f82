"""The channels of a slice as an array of tiles shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from components.shared.documents.transforms import Action
from components.shared.pictures.grey_levels import ALL_LEVELS, Picture
from components.shared.volume.volume import TileArray
from components.tile.contrast import equalized, inverted, inverted_raw, to_uint8

_RGBA = 4


def slice_channels(
    tiles: TileArray,
    files: Sequence[Picture],
    intensity_ranges: Sequence[tuple[float, float]],
    clip_limit: float,
    action: Action,
) -> Iterator[Picture]:
    """Each channel of a slice, `[y, x]`, in the order of the volume.

    Args:
        tiles: The array.
        files: The picture of each file of the slice. The first was aligned and judged: it alone is inverted.
        intensity_ranges: Raw grey levels of each file that are shown as 0 and 255.
        clip_limit: Of CLAHE, see `equalized`.
        action: What is done with the slice.
    """
    for index, (picture, levels) in enumerate(zip(files, intensity_ranges, strict=True)):
        yield from channels_of(tiles, picture, levels, clip_limit, invert=action == "invert" and index == 0)


def channels_of(
    tiles: TileArray,
    picture: Picture,
    intensity_range: tuple[float, float],
    clip_limit: float,
    *,
    invert: bool,
) -> Iterator[Picture]:
    """Each channel of a picture, `[y, x]`: at 8 bit to look at, mapped and equalised, at 16 bit as it is.

    Alpha keeps its meaning: it is neither equalised nor turned round.

    Args:
        tiles: The array.
        picture: `[y, x]` or `[y, x, channel]`, of a file of the slice.
        intensity_range: Raw grey levels that are shown as 0 and 255.
        clip_limit: Of CLAHE, see `equalized`.
        invert: Whether the grey levels are turned round.
    """
    if picture.ndim == 3 and picture.shape[2] == _RGBA:
        yield from channels_of(tiles, picture[:, :, :3], intensity_range, clip_limit, invert=invert)
        yield from channels_of(tiles, picture[:, :, 3], ALL_LEVELS, 0, invert=False)
        return
    if tiles.data_type == "uint16":
        shown = inverted_raw(picture, intensity_range) if invert else picture
    else:
        grey = to_uint8(picture, intensity_range)
        shown = equalized(inverted(grey) if invert else grey, clip_limit)
    for channel in np.moveaxis(np.atleast_3d(shown), 2, 0):
        yield np.ascontiguousarray(channel)
