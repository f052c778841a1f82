"""Grey levels of a slice: from 16 to 8 bit, turned round, blended, and equalised within limits (CLAHE)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.imageio import Picture

_REGIONS_PER_SIDE = 8
"""scikit-image's default kernel is an eighth of each side."""
_HISTOGRAM_BINS = 256


def to_uint8(picture: Picture, intensity_range: tuple[float, float]) -> NDArray[np.uint8]:
    """A picture at 8 bit: `intensity_range` becomes 0..255, clipped and rounded; 8 bit stays as it is.

    Example:
        >>> to_uint8(np.array([[90, 100, 151, 202, 300]], np.uint16), (100, 202)).tolist()
        [[0, 0, 128, 255, 255]]
    """
    if picture.dtype == np.uint8:
        return picture.astype(np.uint8, copy=False)
    low, high = intensity_range
    grey = np.arange(2**16, dtype=np.float64)
    scaled = (grey - low) * (255 / max(high - low, 1.0))
    table = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return table[picture]


def inverted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with its grey levels turned round; of 16 bit, turned within the intensity range.

    Example:
        >>> inverted(np.array([[0, 100, 255]], np.uint8)).tolist()
        [[255, 155, 0]]
    """
    return np.bitwise_not(picture)


def blended(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of two planes, rounded up; where one shows nothing (0), the other alone.

    Example:
        >>> blended(np.array([[10, 10, 0]], np.uint8), np.array([[20, 13, 7]], np.uint8)).tolist()
        [[15, 12, 7]]
    """
    # (a | b) - ((a ^ b) >> 1) is the mean without a wider type.
    mean = (a | b) - ((a ^ b) >> 1)
    return np.where((a == 0) | (b == 0), np.maximum(a, b), mean)


def equalized(picture: NDArray[np.uint8], clip_limit: float) -> NDArray[np.uint8]:
    """A picture after CLAHE (Zuiderveld 1994) over 8 x 8 regions.

    It is computed on the raw slice, so that what surrounds a warped slice never enters a histogram.

    Args:
        picture: `[y, x]`.
        clip_limit: As in `skimage.exposure.equalize_adapthist`: the fraction of a region's pixels that one of
            256 bins may hold. OpenCV counts in multiples of the mean bin. 0 returns the picture itself.
    """
    if clip_limit == 0:
        return picture
    clahe = cv2.createCLAHE(clip_limit * _HISTOGRAM_BINS, (_REGIONS_PER_SIDE, _REGIONS_PER_SIDE))
    return clahe.apply(picture).astype(np.uint8, copy=False)
