"""What one look at a raw slice tells, and its thumbnail."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import Raw, resized
from components.shared.documents import SliceStatistics

LOW_PERCENT, HIGH_PERCENT = 0.1, 99.9
_FINE_SIGMAS_PX = (1.0, 2.0)
_COARSE_SIGMAS_PX = (4.0, 8.0)


def slice_statistics(
    z: int, image: Raw, small: NDArray[np.float32], *, content_fraction: float, n_features: int
) -> SliceStatistics:
    """Describe a raw slice.

    Args:
        z: number of the slice.
        image: [y, x] raw grey levels.
        small: the same at refinement scale, for the sharpness.
        content_fraction: fraction of the picture with texture to match.
        n_features: features that were found.
    """
    counts = _grey_level_counts(image)
    share = counts / counts.sum()
    levels = np.arange(len(counts))
    mean = float(np.sum(share * levels))
    low, high = (int(np.searchsorted(share.cumsum(), p / 100)) for p in (LOW_PERCENT, HIGH_PERCENT))
    return SliceStatistics(
        z=z,
        mean=mean,
        std=float(np.sqrt(np.sum(share * np.square(levels - mean)))),
        low=low,
        high=high,
        zero_fraction=float(share[0]),
        saturated_fraction=float(share[-1]),
        sharpness=_band_energy(small, _FINE_SIGMAS_PX) / max(_band_energy(small, _COARSE_SIGMAS_PX), 1e-6),
        content_fraction=content_fraction,
        n_features=n_features,
    )


def thumbnail(image: Raw, scale: float, low: float, high: float) -> NDArray[np.uint8]:
    """A small 8 bit picture of a slice, by area averaging.

    Args:
        image: [y, x]; 8 bit keeps its grey levels.
        scale: of the thumbnail, above 0, at most 1.
        low: 16 bit grey level shown as 0.
        high: 16 bit grey level shown as 255.

    Example:
        >>> thumbnail(np.array([[100, 300]], np.uint16), 1, 100, 300).tolist()
        [[0, 255]]
    """
    small = resized(image, scale)
    if image.dtype == np.uint16:
        small = (small - low) * (255 / max(high - low, 1))
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def _grey_level_counts(image: Raw) -> NDArray[np.float64]:
    """[256 or 65536] number of pixels at each grey level."""
    n_levels = np.iinfo(image.dtype).max + 1
    # Row by row of bounded size: bincount widens its input to 8 bytes a pixel.
    counts = np.zeros(n_levels, np.int64)
    rows = max(1, 2**20 // image.shape[1])
    for start in range(0, len(image), rows):
        counts += np.bincount(image[start : start + rows].ravel(), minlength=n_levels)
    return counts.astype(np.float64)


def _band_energy(picture: NDArray[np.float32], sigmas_px: tuple[float, float]) -> float:
    fine, coarse = (cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in sigmas_px)
    return float(np.mean(np.square(fine - coarse, dtype=np.float64)))
