"""Compression ratios of FIB-SEM images, for estimates: encoded over raw size.

CLAHE brings out the noise, which does not compress: slices that it has equalized take half as much again.
The ratios were measured on chunks of 64^3 voxels of real FIB-SEM at 8 nm. They depend on the noise, and are
good to a third for other stacks. No byte of a result depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from components.shared.documents.config import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """Encoded size over raw size, by encoding, of slices of one kind."""

    jpeg_by_quality: Mapping[int, float]
    """Ratio of JPEG by its quality, which ascends."""
    png: float
    """Ratio of lossless chunks as PNG."""
    gzip: float
    """Ratio of lossless chunks as gzip."""
    tiles: float
    """Ratio of the aligned tiles, in zstd 1."""

    def jpeg(self, quality: int) -> float:
        """The ratio of JPEG at any quality: on a line between measured ones, beyond them the nearest.

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
"""Ratios of slices as the microscope recorded them."""
EQUALIZED = Ratios(jpeg_by_quality={75: 0.29, 80: 0.33, 85: 0.39, 90: 0.48}, png=0.79, gzip=0.97, tiles=0.97)
"""Ratios of aligned slices after CLAHE with a clip limit of 0.01 to 0.03."""
DEFAULT_QUALITY: int = RunConfig.model_fields["jpeg_quality"].default
"""JPEG quality of a run whose configuration names none."""
EM_RATIOS = {"jpeg": EQUALIZED.jpeg(DEFAULT_QUALITY), "png": EQUALIZED.png, "raw+gzip": EQUALIZED.gzip}
"""Ratios of what a run writes by default, by the encoding of a precomputed volume."""
