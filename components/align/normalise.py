"""The pictures that a slice is matched with: small, without curtains, blind to brightness and contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.limits import limit

Raw = NDArray[np.uint8] | NDArray[np.uint16]
"""[y, x] raw slice."""
PreparedPicture = NDArray[np.uint8]
"""[y, x] prepared picture, 1..255; grey 128 is the local mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLimits:
    """Limits of the prepared pictures of a slice: structures that they show, and that count as content."""

    local_sigma_px: float = limit(
        16.0,
        unit="px at matching scale",
        why="neighbourhood of the local mean and standard deviation, wider than a neurite's section",
        measured_on="not measured; chosen with the coarse end of the band below",
        too_small="membranes themselves are flattened, and fewer features are left",
        too_large="shading and charging come through",
    )
    most_std: float = limit(
        4.0,
        unit="local standard deviations",
        why="grey levels 1 and 255 of a prepared picture; what is louder is clipped",
        measured_on="not measured; 0.006 % of a normal distribution lies beyond",
        too_small="bright and dark structures lose their texture",
        too_large="few grey levels are left for the usual ones",
    )
    curtain_length_px: int = limit(
        129,
        unit="px at matching scale, odd",
        why="a curtain runs along y at least this far; a mean this long shows it without the tissue",
        measured_on="planted curtains, tests/components/align/test_pair.py",
        too_small="tissue that runs along y is taken for a curtain and subtracted",
        too_large="short curtains stay and pull matches toward zero motion",
    )
    curtain_sigma_px: float = limit(
        6.0,
        unit="px at matching scale",
        why="a curtain is narrower than this along x",
        measured_on="planted curtains, tests/components/align/test_pair.py",
        too_small="broad curtains stay",
        too_large="slow shading is called a curtain; no harm, the local mean goes anyway",
    )
    band_sigmas_px: tuple[float, float] = limit(
        (1.5, 16.0),
        unit="px at refinement scale, fine and coarse",
        why="the band that the windows of refinement look at: without grain, so that a few pixels suffice",
        measured_on="real texture with noise of sigma 12: 0.04 px a window, 0.016 px a pair",
        too_small="grain correlates with nothing, and peaks are lost in it",
        too_large="peaks are broad, and the displacement is uncertain",
    )
    detail_sigmas_px: tuple[float, float] = limit(
        (0.5, 8.0),
        unit="px at detail scale, fine and coarse",
        why="the band that whole pictures are compared in, which averages the grain out",
        measured_on="benchmarks/alignment: cases untouched, walk, oblong and overlay, on which it was chosen",
        too_small="nothing is left but grain",
        too_large="large structures decide, which run more obliquely through the block than small ones",
    )
    detail_most_std: float = limit(
        1.5,
        unit="standard deviations",
        why="dirt on the detector or a bright fold shall weigh no more than the membrane beside it",
        measured_on="benchmarks/alignment: cases untouched, walk, oblong and overlay, on which it was chosen",
        too_small="every structure is a black or white patch, and gradients are lost",
        too_large="one speck of dirt that stands still holds the picture",
    )
    content_cells: int = limit(
        8,
        unit="cells a side",
        why="content is counted in them, for coverage and for partial slices; records hold 8 x 8 of them",
        measured_on="not measured; a cell of a picture of 1,280 px has 160 px",
        too_small="a consensus in one corner covers the whole picture",
        too_large="cells without a feature are usual",
    )
    typical_percent: float = limit(
        90.0,
        unit="percentile of the local deviation",
        why="the deviation of tissue, also in a slice that is mostly resin",
        measured_on="not measured; tissue on a tenth of the slice suffices",
        too_small="resin of a nearly empty slice is called tissue",
        too_large="one bright fold makes all the rest look empty",
    )
    std_floor: float = limit(
        0.15,
        unit="of the typical deviation",
        why="added to the local deviation, so that empty resin does not become as loud as tissue",
        measured_on="not measured",
        too_small="noise in resin gives features that match nothing",
        too_large="faint tissue stays faint",
    )
    content_std: float = limit(
        0.3,
        unit="of the typical deviation",
        why="a pixel with less around it is resin or border, not content",
        measured_on="phantom with resin on half of the slice, tests/components/align/test_align_slices.py",
        too_small="resin counts, and coverage is asked for where there is nothing to match",
        too_large="faint tissue does not count, and a good slice is called partial",
    )
    padding_px: int = limit(
        9,
        unit="px at matching scale",
        why="an area at least this wide of one grey level is padding, burnt out, or the ground of a label",
        measured_on="planted borders, tests/components/align/test_align_slices.py",
        too_small="saturated membranes are cut out",
        too_large="narrow labels and borders stay, with edges that move with the frame",
    )
    padding_margin_px: int = limit(
        3,
        unit="px at matching scale",
        why="the edge of padding is hidden with it",
        measured_on="not measured; area averaging and the local mean spread an edge by about so much",
        too_small="the edge gives features that stand still",
        too_large="tissue at the edge is lost",
    )
    padding_levels: float = limit(
        0.5,
        unit="grey levels",
        why="padding may differ by less after area averaging; noise differs by more over as many pixels",
        measured_on="not measured; half of a rounding step",
        too_small="padding of a slice that was rounded twice is not found",
        too_large="resin with little noise is called padding",
    )
    reduced_sigma_px: float = limit(
        4.0,
        unit="px of the reduced picture",
        why="a Gaussian of 16 px is one of 4 px in a picture of a fourth: a tenth of the time",
        measured_on="a slice of 2,500 px: 150 ms and 15 ms",
        too_small="what lies between the pixels of the reduced picture shows its grid",
        too_large="time",
    )
    reduced_side_px: int = limit(
        128,
        unit="px, longest side",
        why="of the grey levels kept for a search of the largest structures: twice its own pictures, "
        "so that slices of different size can share a scale",
        measured_on="derived from SearchLimits.broad_size_px",
        too_small="a slice that is smaller than its neighbour is enlarged",
        too_large="memory: 64 kB a slice",
    )
    flat_levels: float = limit(
        1e-3,
        unit="grey levels",
        why="a deviation below this is rounding; it keeps divisions by the deviation of a blank slice finite",
        measured_on="not measured; float32 resolves 0.00002 at grey level 255",
        too_small="rounding of a blank slice becomes texture",
        too_large="the contrast of a very faint slice is lost",
    )


LIMITS = PictureLimits()
GREY = 128
"""Grey level of the local mean in a prepared picture."""
GREY_PER_STD = (255 - GREY) / LIMITS.most_std
"""Grey levels for a standard deviation in a prepared picture."""


@dataclass(frozen=True, slots=True)
class MatchingPicture:
    """A slice made ready for feature matching."""

    picture: PreparedPicture
    shown: NDArray[np.bool_]
    """[y, x] False in padding, which has edges that move with the frame and not with the tissue."""
    content: NDArray[np.float32]
    """[8, 8] fraction of each cell that shows texture to match; empty resin and flat borders do not."""
    reduced: NDArray[np.float32]
    """[y, x] grey levels without curtains, much reduced; never inverted."""


def resized(image: Raw | NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """A picture reduced by area averaging; pixel centres move to exactly `(x + 0.5) * scale - 0.5`.

    Args:
        image: [y, x].
        scale: above 0, at most 1.

    Example:
        >>> resized(np.full((5, 8), 7, np.uint8), 0.5).shape
        (2, 4)
        >>> resized(np.full((1, 8), 7, np.uint8), 0.5).shape
        (1, 4)
    """
    if scale == 1:
        return image.astype(np.float32)
    if min(image.shape) * scale <= 1 / 2:  # OpenCV would leave no pixel
        size = [max(1, round(side * scale)) for side in reversed(image.shape)]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    # A factor and no target size: with a target size OpenCV would stretch to fill the last pixel.
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def matching_picture(picture: NDArray[np.float32], fill: NDArray[np.bool_] | None = None) -> MatchingPicture:
    """Remove curtains, then divide out local mean and contrast; padding becomes grey.

    Args:
        picture: [y, x] at matching scale, any grey levels.
        fill: [y, x] at full resolution, True where a fill value was; None where there is none.
    """
    flat, cells = LIMITS.flat_levels, LIMITS.content_cells
    shown = where_shown(picture)
    if fill is not None:
        shown &= ~_near_any(fill, picture.shape)
    plain = without_curtains(_filled(picture, shown))
    standard, deviation, typical = _standardised(plain, shown, LIMITS.local_sigma_px)
    textured = (shown & (deviation > max(LIMITS.content_std * typical, flat))).astype(np.float32)
    content = cv2.resize(textured, (cells, cells), interpolation=cv2.INTER_AREA)
    return MatchingPicture(
        picture=_to_picture(standard),
        shown=shown,
        content=content.astype(np.float32),
        reduced=resized(plain, min(1.0, LIMITS.reduced_side_px / max(plain.shape))),
    )


def standardised(
    picture: NDArray[np.float32], shown: NDArray[np.bool_], sigma_px: float
) -> NDArray[np.float32]:
    """A picture in standard deviations of each pixel's neighbourhood, about its mean; 0 where not shown."""
    standard, _, _ = _standardised(picture, shown, sigma_px)
    most = np.float32(LIMITS.most_std)
    return np.clip(standard, -most, most).astype(np.float32, copy=False)


def _standardised(
    picture: NDArray[np.float32], shown: NDArray[np.bool_], sigma_px: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """A picture about its local mean in local deviations; these deviations; and that of tissue."""
    flat = LIMITS.flat_levels
    mean = blurred(picture, sigma_px)
    deviation = np.sqrt(_local_mean(np.square(picture - mean), shown, sigma_px))
    typical = flat
    if shown.any():
        typical = max(float(np.percentile(deviation[shown], LIMITS.typical_percent)), flat)
    standard = (picture - mean) / (deviation + np.float32(LIMITS.std_floor * typical))
    standard[~shown] = 0
    return standard.astype(np.float32, copy=False), deviation.astype(np.float32, copy=False), typical


def where_shown(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
    """False where a picture has one grey level over an area, and at the edge of such areas.

    Args:
        picture: [y, x], any grey levels.

    Example:
        >>> where_shown(np.zeros((20, 20), np.float32)).any()
        np.False_
    """
    box = np.ones((LIMITS.padding_px, LIMITS.padding_px), np.uint8)
    flat = (cv2.dilate(picture, box) - cv2.erode(picture, box)) < LIMITS.padding_levels
    side = LIMITS.padding_px + 2 * LIMITS.padding_margin_px
    near: NDArray[np.bool_] = cv2.dilate(flat.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return ~near


def _near_any(mask: NDArray[np.bool_], shape_yx: tuple[int, ...]) -> NDArray[np.bool_]:
    """[y, x] of a smaller shape, True near a pixel that covers one of the mask."""
    size = (shape_yx[1], shape_yx[0])
    covered = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    side = 2 * LIMITS.padding_margin_px + 1
    near: NDArray[np.bool_] = cv2.dilate(covered.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return near


def enlarged(mask: NDArray[np.bool_], shape_yx: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask at another size, by the nearest pixel."""
    size = (shape_yx[1], shape_yx[0])
    result: NDArray[np.bool_] = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return result


def blurred(picture: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A picture under a Gaussian, mirrored at its borders; a broad one is applied to a reduced picture."""
    step = int(sigma_px / LIMITS.reduced_sigma_px)
    if step > 1:
        height, width = picture.shape
        size = math.ceil(width / step), math.ceil(height / step)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
        return cv2.resize(blurred(small, sigma_px / step), (width, height)).astype(np.float32, copy=False)
    smooth = cv2.GaussianBlur(picture, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return smooth.astype(np.float32, copy=False)


def band_passed(picture: NDArray[np.float32], shown: NDArray[np.bool_]) -> PreparedPicture:
    """The difference of two Gaussians, scaled by its own spread to 8 bit, for sub-pixel refinement.

    Args:
        picture: [y, x] at refinement scale, any grey levels.
        shown: from `where_shown`; the rest becomes grey.
    """
    return _to_picture(_standard_band(_filled(picture, shown), shown, LIMITS.band_sigmas_px))


def detail_picture(picture: NDArray[np.float32], shown: NDArray[np.bool_]) -> PreparedPicture:
    """The finest structures, without curtains, and none louder than the usual one.

    Args:
        picture: [y, x] at detail scale, any grey levels.
        shown: from `where_shown`; the rest becomes grey.
    """
    plain = without_curtains(_filled(picture, shown))
    standard = _standard_band(plain, shown, LIMITS.detail_sigmas_px)
    most = np.float32(LIMITS.detail_most_std)
    return _to_picture(np.clip(standard, -most, most) * (GREY / GREY_PER_STD / most))


def without_curtains(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract what is long along y and thin along x.

    Curtains stay in place from slice to slice and would pull every match toward zero motion.
    """
    columns = mean_along_y(picture)
    return picture - (columns - blurred_along_x(columns))


def mean_along_y(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each pixel's column over the length of a curtain, or half of a low picture's height."""
    length = min(LIMITS.curtain_length_px, 2 * (picture.shape[0] // 4) + 1)
    return cv2.blur(picture, (1, length), borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)


def blurred_along_x(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture without what is as thin along x as a curtain."""
    # OpenCV blurs along both axes; with this sigma along y the kernel is the pixel itself.
    smooth = cv2.GaussianBlur(picture, (0, 0), LIMITS.curtain_sigma_px, sigmaY=0.1)
    return smooth.astype(np.float32, copy=False)


def _standard_band(
    picture: NDArray[np.float32], shown: NDArray[np.bool_], sigmas_px: tuple[float, float]
) -> NDArray[np.float32]:
    """The band between two Gaussians, in its own standard deviations; 0 in padding."""
    fine, coarse = sigmas_px
    band = blurred(picture, fine) - blurred(picture, coarse)
    band[~shown] = 0
    standard: NDArray[np.float32] = band / max(float(band.std()), LIMITS.flat_levels)
    return standard


def _filled(picture: NDArray[np.float32], shown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A picture whose padding continues the grey of what lies beside it."""
    if shown.all():
        return picture
    return np.where(shown, picture, _local_mean(picture, shown, LIMITS.local_sigma_px))


def _local_mean(
    picture: NDArray[np.float32], shown: NDArray[np.bool_], sigma_px: float
) -> NDArray[np.float32]:
    """The mean of what is shown in the neighbourhood; far from it, the mean of all that is shown."""
    if shown.all():
        return blurred(picture, sigma_px)
    far = np.float32(picture[shown].mean(dtype=np.float64) if shown.any() else 0)
    # Normalised convolution (Knutsson and Westin 1993): blur what is known and where it is known, and divide.
    share = blurred(shown.astype(np.float32), sigma_px)
    rest = np.float32(LIMITS.flat_levels)
    known = blurred(np.where(shown, picture, 0).astype(np.float32), sigma_px)
    mean: NDArray[np.float32] = (known + far * rest) / (share + rest)
    return mean


def _to_picture(standard: NDArray[np.floating]) -> PreparedPicture:
    """Values in standard deviations as grey levels around 128."""
    grey = np.rint(standard * GREY_PER_STD + GREY)
    picture: PreparedPicture = np.clip(grey, 1, 255).astype(np.uint8)
    return picture


def inverted_picture(picture: PreparedPicture) -> PreparedPicture:
    """Grey levels 1..255 mirrored about the grey of the local mean."""
    inverted: PreparedPicture = (2 * GREY - picture.astype(np.int16)).astype(np.uint8)
    return inverted
