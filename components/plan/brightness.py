"""Which raw grey levels of a further channel the volume shows as black and white.

Of the channel that is aligned, every slice is looked at by `align`; of the others some here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from components.shared.documents.plan import SourceSlice
from components.shared.pictures.grey_levels import TAIL_PERCENTILES, Picture

N_SAMPLES = 9
_ODD_PERCENT = 20
"""One sample in nine may be blank or saturated and has no say; brightness may drift over the others."""
_STEP_PX = 4


def samples(slices: Sequence[SourceSlice]) -> list[SourceSlice]:
    """Some slices, evenly spaced.

    Example:
        >>> entries = [SourceSlice(z=z, key="", size_bytes=1, width_px=1, height_px=1) for z in range(100)]
        >>> [entry.z for entry in samples(entries)]
        [5, 16, 27, 38, 50, 61, 72, 83, 94]
    """
    n = min(N_SAMPLES, len(slices))
    return [slices[(2 * i + 1) * len(slices) // (2 * n)] for i in range(n)]


def intensity_range(pictures: Iterable[Picture]) -> tuple[float, float]:
    """The grey levels to show as 0 and 255, from some pictures of a channel.

    Example:
        >>> grey = np.arange(1000, 2000, dtype=np.uint16).reshape(1, -1)
        >>> low, high = intensity_range([grey, grey, 10 * grey])
        >>> round(low), round(high)
        (1001, 19950)
    """
    seen = [np.percentile(picture[::_STEP_PX, ::_STEP_PX], TAIL_PERCENTILES) for picture in pictures]
    lows, highs = zip(*seen, strict=True)
    low = float(np.percentile(lows, _ODD_PERCENT, method="lower"))
    high = float(np.percentile(highs, 100 - _ODD_PERCENT, method="higher"))
    return low, max(high, low + 1)
