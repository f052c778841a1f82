"""The pictures that a slice is matched with: small, without curtains, blind to brightness and contrast."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Raw = NDArray[np.uint8] | NDArray[np.uint16]
"""[y, x] raw slice."""
Picture = NDArray[np.uint8]
"""[y, x] prepared picture, 1..255; grey 128 is the local mean."""

GREY = 128
"""Grey level of the local mean in a prepared picture."""
GREY_PER_STD = 127 / 4
"""Grey levels for a standard deviation in a prepared picture; 4 of them are the most it shows."""
LOCAL_SIGMA_PX = 16.0
"""Neighbourhood of the local mean and standard deviation."""
CURTAIN_LENGTH_PX = 129
"""A curtain runs along y at least this far."""
CURTAIN_WIDTH_SIGMA_PX = 6.0
"""A curtain is narrower than this along x."""
SMOOTH_SIGMA_PX = 2.0
"""Grain below this is noise in a poor slice."""
BAND_SIGMAS_PX = (1.5, 16.0)
"""The band that the windows of sub-pixel refinement look at: without grain, so that a few pixels suffice."""
DETAIL_SIGMAS_PX = (0.5, 8.0)
"""The band that the whole picture is compared in, which averages the grain out."""
DETAIL_MOST_STD = 1.5
"""Standard deviations that are the most it shows."""
CONTENT_CELLS = 8
"""Content is counted in this many cells per side."""
_STD_FLOOR = 0.15
_FLAT = 1e-3
"""Grey levels that a flat picture may differ by after rounding."""
_CONTENT_STD = 0.3
_PADDING_PX = 9
"""An area at least this wide that has one grey level is padding, a burnt-out part or a label's ground."""
_PADDING_MARGIN_PX = 3
_FLAT_AFTER_RESIZING = 0.5
"""Grey levels that padding may differ by after area averaging; noise differs by more over as many pixels."""


@dataclass(frozen=True, slots=True)
class MatchingPicture:
    """A slice made ready for feature matching."""

    picture: Picture
    shown: NDArray[np.bool_]
    """[y, x] False in padding, which has edges that move with the frame and not with the tissue."""
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
    """Remove curtains, then divide out local mean and contrast; padding becomes grey.

    Args:
        picture: [y, x] at matching scale, any grey levels.
    """
    shown = where_shown(picture)
    plain = _without_curtains(_filled(picture, shown))
    mean = blurred(plain, LOCAL_SIGMA_PX)
    deviation = np.sqrt(_local_mean(np.square(plain - mean), shown))
    typical = max(float(np.percentile(deviation[shown], 90)), _FLAT) if shown.any() else _FLAT
    # The floor keeps empty resin from becoming as loud as tissue.
    standard = (plain - mean) / (deviation + np.float32(_STD_FLOOR * typical))
    standard[~shown] = 0
    textured = (shown & (deviation > max(_CONTENT_STD * typical, _FLAT))).astype(np.float32)
    content = cv2.resize(textured, (CONTENT_CELLS, CONTENT_CELLS), interpolation=cv2.INTER_AREA)
    return MatchingPicture(_to_picture(standard), shown, content.astype(np.float32))


def where_shown(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
    """False where a picture has one grey level over an area, and at the edge of such areas.

    Args:
        picture: [y, x], any grey levels.

    Example:
        >>> where_shown(np.zeros((20, 20), np.float32)).any()
        np.False_
    """
    box = np.ones((_PADDING_PX, _PADDING_PX), np.uint8)
    flat = (cv2.dilate(picture, box) - cv2.erode(picture, box)) < _FLAT_AFTER_RESIZING
    side = _PADDING_PX + 2 * _PADDING_MARGIN_PX
    near: NDArray[np.bool_] = cv2.dilate(flat.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return ~near


def enlarged(mask: NDArray[np.bool_], shape_yx: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask at another size, pixel by pixel."""
    size = (shape_yx[1], shape_yx[0])
    result: NDArray[np.bool_] = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return result


def blurred(picture: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A picture under a Gaussian, mirrored at its borders."""
    smooth = cv2.GaussianBlur(picture, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return smooth.astype(np.float32, copy=False)


def smooth_picture(picture: Picture) -> Picture:
    """A matching picture without its fine grain: fewer features, but they survive noise and defocus."""
    return matching_picture(blurred(picture.astype(np.float32), SMOOTH_SIGMA_PX)).picture


def band_passed(picture: NDArray[np.float32], shown: NDArray[np.bool_]) -> Picture:
    """The difference of two Gaussians, scaled by its own spread to 8 bit, for sub-pixel refinement.

    Args:
        picture: [y, x] at refinement scale, any grey levels.
        shown: from `where_shown`; the rest becomes grey.
    """
    fine, coarse = BAND_SIGMAS_PX
    filled = _filled(picture, shown)
    band = blurred(filled, fine) - blurred(filled, coarse)
    band[~shown] = 0
    return _to_picture(band / max(float(band.std()), _FLAT))


def detail_picture(picture: NDArray[np.float32], shown: NDArray[np.bool_]) -> Picture:
    """The finest structures, without curtains, and none louder than the usual one.

    Dirt on the detector or a bright fold then weighs no more than the membrane beside it.

    Args:
        picture: [y, x] at detail scale, any grey levels.
        shown: from `where_shown`; the rest becomes grey.
    """
    fine, coarse = DETAIL_SIGMAS_PX
    plain = _without_curtains(_filled(picture, shown))
    band = blurred(plain, fine) - blurred(plain, coarse)
    band[~shown] = 0
    standard = band / max(float(band.std()), _FLAT)
    most = np.float32(DETAIL_MOST_STD)
    return _to_picture(np.clip(standard, -most, most) * (GREY / GREY_PER_STD / most))


def _filled(picture: NDArray[np.float32], shown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A picture whose padding continues the grey of what lies beside it."""
    return picture if shown.all() else np.where(shown, picture, _local_mean(picture, shown))


def _local_mean(picture: NDArray[np.float32], shown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean of what is shown in the neighbourhood; of all that is shown where that is far."""
    if shown.all():
        return blurred(picture, LOCAL_SIGMA_PX)
    far = np.float32(picture[shown].mean(dtype=np.float64) if shown.any() else 0)
    share = blurred(shown.astype(np.float32), LOCAL_SIGMA_PX)
    rest = np.float32(_FLAT)
    mean: NDArray[np.float32] = (
        blurred(np.where(shown, picture, 0).astype(np.float32), LOCAL_SIGMA_PX) + far * rest
    ) / (share + rest)
    return mean


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
    grey = np.rint(standard * GREY_PER_STD + GREY)
    picture: Picture = np.clip(grey, 1, 255).astype(np.uint8)
    return picture
