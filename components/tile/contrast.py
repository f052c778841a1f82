"""Grey levels of a slice: from 16 to 8 bit, turned round, blended, and equalised within limits (CLAHE).

A picture is `[y, x]`, or `[y, x, channel]`; three channels are red, green and blue.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.pictures.grey_levels import Picture, as_8_bit

_REGIONS_PER_SIDE = 8
"""scikit-image's default kernel is an eighth of each side."""
_HISTOGRAM_BINS = 256
_COLOURS = 3


def to_uint8(picture: Picture, intensity_range: tuple[float, float]) -> NDArray[np.uint8]:
    """A picture at 8 bit: `intensity_range` becomes 0..255, clipped and rounded; 8 bit stays as it is.

    Example:
        >>> to_uint8(np.array([[90, 100, 151, 202, 300]], np.uint16), (100, 202)).tolist()
        [[0, 0, 128, 255, 255]]
    """
    if picture.dtype == np.uint8:
        return picture.astype(np.uint8, copy=False)
    return as_8_bit(np.arange(2**16, dtype=np.float64), *intensity_range)[picture]


def inverted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with its grey levels turned round; of 16 bit, turned within the intensity range.

    Example:
        >>> inverted(np.array([[0, 100, 255]], np.uint8)).tolist()
        [[255, 155, 0]]
    """
    return np.bitwise_not(picture)


def inverted_raw(picture: Picture, intensity_range: tuple[float, float]) -> Picture:
    """Raw grey levels turned round: the ends of the intensity range change places.

    Example:
        >>> inverted_raw(np.array([[90, 100, 202, 400]], np.uint16), (100, 202)).tolist()
        [[212, 202, 100, 0]]
    """
    turned = round(sum(intensity_range)) - picture.astype(np.int32)
    return cast("Picture", np.clip(turned, 0, np.iinfo(picture.dtype).max).astype(picture.dtype))


def blended(a: Picture, b: Picture) -> Picture:
    """The mean of two planes, rounded up; where one shows nothing (0), the other alone.

    Example:
        >>> blended(np.array([[10, 10, 0]], np.uint8), np.array([[20, 13, 7]], np.uint8)).tolist()
        [[15, 12, 7]]
    """
    # (a | b) - ((a ^ b) >> 1) is the mean without a wider type.
    mean = (a | b) - ((a ^ b) >> 1)
    return cast("Picture", np.where((a == 0) | (b == 0), np.maximum(a, b), mean))


def equalized(picture: NDArray[np.uint8], clip_limit: float) -> NDArray[np.uint8]:
    """A picture after CLAHE (Zuiderveld 1994) over 8 x 8 regions.

    It is computed on the raw slice, so that what surrounds a warped slice never enters a histogram. Of three
    channels, red, green and blue, the luminance is equalised; of others each.

    Args:
        picture: `[y, x]` or `[y, x, channel]`.
        clip_limit: As in `skimage.exposure.equalize_adapthist`: the fraction of a region's pixels that one of
            256 bins may hold. OpenCV counts in multiples of the mean bin. 0 returns the picture itself.
    """
    if clip_limit == 0:
        return picture
    clahe = cv2.createCLAHE(clip_limit * _HISTOGRAM_BINS, (_REGIONS_PER_SIDE, _REGIONS_PER_SIDE))
    if picture.ndim == 2:
        return clahe.apply(picture).astype(np.uint8, copy=False)
    colours = picture.shape[2] == _COLOURS
    equal = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb) if colours else picture.copy()
    for channel in range(1 if colours else equal.shape[2]):
        equal[:, :, channel] = clahe.apply(np.ascontiguousarray(equal[:, :, channel]))
    if colours:
        equal = cv2.cvtColor(equal, cv2.COLOR_YCrCb2RGB)
    return equal.astype(np.uint8, copy=False)
