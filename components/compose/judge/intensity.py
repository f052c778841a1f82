"""The raw grey levels that the volume shows as black and white, the same for all slices."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from components.compose.solve.pairs import Floats
from components.shared.documents.plan import PixelType

_RUN = 25
"""Slices of the running median: up to twelve odd ones in a row have no say."""
_TAIL_PERCENT = 1.0


def intensity_range(pixel_type: PixelType, low: Floats, high: Floats) -> tuple[float, float]:
    """The range that holds the slices' grey levels while brightness drifts, whatever a few bad slices show.

    8-bit slices are kept as they are.

    Args:
        pixel_type: Type of the raw slices.
        low: Low percentile of each good slice, z ascending.
        high: High percentile of each good slice.

    Example:
        >>> intensity_range("uint16", np.array([100.0, 100, 0]), np.array([900.0, 910, 65535]))
        (100.0, 910.0)
    """
    if pixel_type == "uint8":
        return 0.0, 255.0
    run = min(_RUN, len(low))
    bottom = np.percentile(median_filter(low, run, mode="mirror"), _TAIL_PERCENT, method="lower")
    top = np.percentile(median_filter(high, run, mode="mirror"), 100 - _TAIL_PERCENT, method="higher")
    return float(bottom), float(max(top, bottom + 1))
