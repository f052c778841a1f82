"""The pictures that a slice is matched with: small, without curtains, blind to brightness and contrast."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Raw = NDArray[np.uint8] | NDArray[np.uint16]
"""[y, x] raw slice."""
Picture = NDArray[np.uint8]
"""[y, x] prepared picture; grey 128 is the local mean."""

LOCAL_SIGMA_PX = 16.0
"""Neighbourhood of the local mean and standard deviation."""
CURTAIN_LENGTH_PX = 129
"""A curtain runs along y at least this far."""
CURTAIN_WIDTH_SIGMA_PX = 6.0
"""A curtain is narrower than this along x."""
SMOOTH_SIGMA_PX = 2.0
"""Grain below this is noise in a poor slice."""
BAND_SIGMAS_PX = (1.5, 16.0)
"""The band that sub-pixel refinement looks at."""
CONTENT_CELLS = 8
"""Content is counted in this many cells per side."""
_CLIP_STD = 4.0
_STD_FLOOR = 0.15
_FLAT = 1e-3
"""Grey levels that a flat picture may differ by after rounding."""
_CONTENT_STD = 0.3


@dataclass(frozen=True, slots=True)
class MatchingPicture:
    """A slice made ready for feature matching."""

    picture: Picture
    content: NDArray[np.float32]
    """[8, 8] fraction of each cell that shows texture to match; empty resin and flat borders do not."""


def resized(image: Raw | NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """A picture reduced by area averaging; pixel centres move to exactly `(x + 0.5) * scale - 0.5`.

    Args:
        image: [y, x].
        scale: above 0, at most 1.

    Example:
        >>> resized(np.full((5, 8), 7, np.uint8), 0.5).shape
        (2, 4)
    """
    if scale == 1:
        return image.astype(np.float32)
    # A factor and no target size: with a target size OpenCV would stretch to fill the last pixel.
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def matching_picture(picture: NDArray[np.float32]) -> MatchingPicture:
    """Remove curtains, then divide out local mean and contrast.

    Args:
        picture: [y, x] at matching scale, any grey levels.
    """
    plain = _without_curtains(picture)
    mean = blurred(plain, LOCAL_SIGMA_PX)
    deviation = np.sqrt(blurred(np.square(plain - mean), LOCAL_SIGMA_PX))
    typical = max(float(np.percentile(deviation, 90)), _FLAT)
    # The floor keeps empty resin from becoming as loud as tissue.
    standard = (plain - mean) / (deviation + np.float32(_STD_FLOOR * typical))
    textured = (deviation > max(_CONTENT_STD * typical, _FLAT)).astype(np.float32)
    content = cv2.resize(textured, (CONTENT_CELLS, CONTENT_CELLS), interpolation=cv2.INTER_AREA)
    return MatchingPicture(_to_picture(standard), content.astype(np.float32))


def blurred(picture: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A picture under a Gaussian, mirrored at its borders."""
    smooth = cv2.GaussianBlur(picture, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return smooth.astype(np.float32, copy=False)


def smooth_picture(picture: Picture) -> Picture:
    """A matching picture without its fine grain: fewer features, but they survive noise and defocus."""
    return matching_picture(blurred(picture.astype(np.float32), SMOOTH_SIGMA_PX)).picture


def band_passed(picture: NDArray[np.float32]) -> Picture:
    """The difference of two Gaussians, scaled by its own spread to 8 bit, for sub-pixel refinement."""
    fine, coarse = BAND_SIGMAS_PX
    band = blurred(picture, fine) - blurred(picture, coarse)
    return _to_picture(band / max(float(band.std()), _FLAT))


def _without_curtains(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract what is long along y and thin along x.

    Curtains stay in place from slice to slice and would pull every match toward zero motion.
    """
    length = min(CURTAIN_LENGTH_PX, 2 * (picture.shape[0] // 4) + 1)
    columns = cv2.blur(picture, (1, length), borderType=cv2.BORDER_REFLECT)
    smooth = cv2.GaussianBlur(columns, (0, 0), CURTAIN_WIDTH_SIGMA_PX, sigmaY=0.1)
    return picture - (columns - smooth).astype(np.float32, copy=False)


def _to_picture(standard: NDArray[np.floating]) -> Picture:
    """Values in standard deviations as grey levels around 128."""
    grey = np.rint(standard * (127 / _CLIP_STD) + 128)
    picture: Picture = np.clip(grey, 1, 255).astype(np.uint8)
    return picture
