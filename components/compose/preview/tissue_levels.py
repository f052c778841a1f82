"""Grey levels that the tissue of each slice gets in the volume, judged on thumbnails.

A range that something else has stretched, such as hot pixels, a noisy border or slices of another exposure,
leaves the tissue a few of the 256 grey levels, and the volume shows next to nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from components.compose.preview.limits import TISSUE, TissueLimits
from components.compose.solve.pairs import Floats
from components.shared.documents.align import SliceStatistics
from components.shared.pictures.grey_levels import SHOWN, levels_of_middle_half
from components.shared.series import IQR_OF_NORMAL


def tissue_levels(
    picture: NDArray[np.uint8],
    own: SliceStatistics,
    shown: tuple[float, float],
    limits: TissueLimits = TISSUE,
) -> float:
    """The number of 256 grey levels that the middle half of a slice or of its best area gets.

    Areas are looked at only where the slice as a whole has too few: one that is resin for the most part has
    enough where there is tissue. The edge of a border is no such area, since it is narrow.

    Args:
        picture: `[y, x]` thumbnail of a slice of 16 bit.
        own: Statistics of the slice.
        shown: Raw grey levels that are shown as 0 and 255.
        limits: What counts as an area of tissue.
    """
    whole = levels_of_slice(quartiles_of(picture), own, shown)
    side = limits.cell_px
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    if whole >= SHOWN.fewest_levels or min(rows, columns) < limits.area_cells:
        return whole
    cells = picture[: rows * side, : columns * side].reshape(rows, side, columns, side)
    pixels = cells.swapaxes(1, 2).reshape(rows * columns, -1)
    of_cells = _middle_half(np.percentile(pixels, [25, 75], axis=1), own, shown)
    area = np.ones((limits.area_cells, limits.area_cells), np.uint8)
    least_of_area = cv2.erode(
        of_cells.reshape(rows, columns), area, borderType=cv2.BORDER_CONSTANT, borderValue=0.0
    )
    return max(whole, float(least_of_area.max()))


def levels_of_slice(quartiles: Floats, own: SliceStatistics, shown: tuple[float, float]) -> float:
    """The number of 256 grey levels that the middle half of a slice gets.

    Args:
        quartiles: First and third quartile of its thumbnail.
        own: Statistics of the slice.
        shown: Raw grey levels that are shown as 0 and 255.
    """
    return float(_middle_half(quartiles, own, shown))


def quartiles_of(picture: NDArray[np.uint8]) -> Floats:
    """[2] first and third quartile, as `numpy.percentile` has them: counted, at a hundredth of the time."""
    n_below = np.cumsum(cv2.calcHist([picture], [0], None, [256], (0, 256)).ravel(), dtype=np.int64)
    ranks = np.array([0.25, 0.75]) * (picture.size - 1)
    lower, upper = (np.searchsorted(n_below, whole(ranks), side="right") for whole in (np.floor, np.ceil))
    quartiles: Floats = lower + (upper - lower) * (ranks - np.floor(ranks))
    return quartiles


def _middle_half(quartiles: Floats, own: SliceStatistics, shown: tuple[float, float]) -> Floats:
    """The number of 256 grey levels that the middle half of some pixels gets, noise included.

    A thumbnail has little of the slice's noise, whose variance is added again.

    Args:
        quartiles: `[2, ...]` first and third quartile of the pixels of the thumbnail.
        own: Statistics of the slice.
        shown: Raw grey levels that are shown as 0 and 255.
    """
    scale = (own.high - own.low) / 255
    lower, upper = own.low + quartiles * scale
    half = np.hypot(upper - lower, IQR_OF_NORMAL * own.noise) / 2
    middle = (lower + upper) / 2
    return levels_of_middle_half(middle - half, middle + half, shown)
