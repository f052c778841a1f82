"""The raw grey levels that the volume shows as black and white, the same for all slices."""

from __future__ import annotations

import numpy as np

from components.compose.judge.limits import GREY_RANGE, GreyRangeLimits
from components.compose.solve.pairs import Floats
from components.shared.documents.plan import PixelType


def intensity_range(
    pixel_type: PixelType, low: Floats, high: Floats, limits: GreyRangeLimits = GREY_RANGE
) -> tuple[float, float]:
    """The range that holds the slices' grey levels while brightness drifts, whatever a few bad slices show.

    8-bit slices are kept as they are.

    Args:
        pixel_type: Type of the raw slices.
        low: Low percentile of each good slice, z ascending.
        high: High percentile of each good slice.
        limits: Which slices have no say.

    Example:
        >>> intensity_range("uint16", np.array([100.0, 100, 0]), np.array([900.0, 910, 65535]))
        (100.0, 910.0)
    """
    if pixel_type == "uint8":
        return 0.0, 255.0
    from scipy.ndimage import median_filter  # here, since 8-bit slices need none of it

    run, tail = min(limits.run, len(low)), limits.tail_percent
    # A percentile falls between two slices: the outer of the two decides, so that the range holds both.
    bottom = np.percentile(median_filter(low, run, mode="mirror"), tail, method="lower")
    top = np.percentile(median_filter(high, run, mode="mirror"), 100 - tail, method="higher")
    return float(bottom), float(max(top, bottom + 1))
