"""How small FIB-SEM images become: encoded over raw bytes, measured on chunks of 64^3 voxels.

CLAHE brings out the noise, which does not compress: slices that it has equalized take half as much again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """Of slices of one kind."""

    jpeg_by_quality: Mapping[int, float]
    png: float
    gzip: float
    tiles: float
    """Of the aligned tiles, in zstd 1."""

    def jpeg(self, quality: int) -> float:
        """The ratio at any quality: between the measured ones on a line, beyond them as the nearest.

        Example:
            >>> PLAIN.jpeg(80), round(PLAIN.jpeg(86), 3), PLAIN.jpeg(100)
            (0.21, 0.262, 0.31)
        """
        for (low, at_low), (high, at_high) in pairwise(self.jpeg_by_quality.items()):
            if low <= quality <= high:
                return at_low + (at_high - at_low) * (quality - low) / (high - low)
        nearest = min(self.jpeg_by_quality, key=lambda measured: abs(measured - quality))
        return self.jpeg_by_quality[nearest]


PLAIN = Ratios(jpeg_by_quality={75: 0.19, 80: 0.21, 85: 0.25, 90: 0.31}, png=0.67, gzip=0.82, tiles=0.83)
"""As the microscope recorded them."""
EQUALIZED = Ratios(jpeg_by_quality={75: 0.29, 80: 0.33, 85: 0.39, 90: 0.48}, png=0.79, gzip=0.97, tiles=0.97)
"""After CLAHE with a clip limit of 0.01 to 0.03, and aligned."""
EM_RATIOS = {"jpeg": EQUALIZED.jpeg(80), "png": EQUALIZED.png, "raw+gzip": EQUALIZED.gzip}
"""Of what a run writes by default, by the encoding of a precomputed volume; JPEG at quality 80."""
