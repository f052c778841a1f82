"""Judges a contrast that is asked for, on voxels of the lossless volume, before an export is written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from commands.export.lossless import LosslessSource
from components.pyramid.sources import Box
from components.shared.errors import ConfigError
from components.shared.grid import SizeXyz
from components.shared.pictures.grey_levels import SHOWN, TAIL_PERCENTILES, levels_of_middle_half

Range = tuple[float, float]
"""Grey levels that become 0 and 255."""
_BOXES_A_SIDE = 4
"""Boxes along each axis, evenly spaced, from which voxels are taken."""
_BOX_PX = 64
"""Side of a box along x and y: that of a chunk."""


def check_contrast(contrast: Range, run_range: Range, source: LosslessSource, size_xyz: SizeXyz) -> None:
    """Refuse a contrast that leaves most voxels white or black, or the tissue a few grey levels.

    A volume that is resin for the most part has few levels in the middle half, whatever the contrast: it is
    refused only where another contrast gives twice as many.

    Args:
        contrast: Grey levels of the lossless volume that are to become 0 and 255.
        run_range: Those that the run has shown.
        source: The lossless volume, as it is.
        size_xyz: Size of the part that is exported.

    Raises:
        ConfigError: the contrast does not fit the volume.
    """
    voxels = _sampled_voxels(source, size_xyz)
    if not voxels.size:
        return
    asked, run = _Shown.of(voxels, contrast), _Shown.of(voxels, run_range)
    tails = np.percentile(voxels, TAIL_PERCENTILES)
    low, high = int(tails[0]), max(math.ceil(tails[1]), int(tails[0]) + 1)
    fitting = _Shown.of(voxels, (low, high)) if run.is_spoilt else run
    if not asked.is_spoilt or (not asked.is_clipped and fitting.levels < 2 * asked.levels):
        return
    raise ConfigError(
        f"--contrast must suit the grey levels of the volume, here {low} to {high}; got {asked.text}, which "
        f"would show {asked.result}. Write --contrast {fitting.text}."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """Voxels as a contrast shows them, in figures."""

    contrast: Range
    white: float
    """Fraction of the voxels beyond what becomes 255."""
    black: float
    """Fraction of the voxels below what becomes 0."""
    levels: float
    """Number of the 256 grey levels that the middle half of the voxels gets."""
    has_more: bool
    """The middle half has more grey levels in the volume."""

    @classmethod
    def of(cls, voxels: NDArray[np.integer], contrast: Range) -> _Shown:
        """Count what becomes white and black."""
        lower, upper = np.percentile(voxels, [25, 75])
        levels = float(levels_of_middle_half(lower, upper, contrast))
        return cls(
            contrast=contrast,
            white=float(np.mean(voxels > contrast[1])),
            black=float(np.mean(voxels < contrast[0])),
            levels=levels,
            has_more=bool(upper - lower > levels),
        )

    @property
    def is_clipped(self) -> bool:
        """Most voxels are white or black."""
        return self.white + self.black > SHOWN.most_clipped

    @property
    def is_spoilt(self) -> bool:
        return self.is_clipped or (self.has_more and self.levels < SHOWN.fewest_asked_levels)

    @property
    def text(self) -> str:
        """The contrast as it is given to the command."""
        return f"{math.floor(self.contrast[0])}-{math.ceil(self.contrast[1])}"

    @property
    def result(self) -> str:
        """The fault, as an object of 'show'."""
        if self.is_clipped:
            return f"{self.white:.0%} of the voxels white and {self.black:.0%} black"
        return f"the middle half of the voxels in {self.levels:.1f} of 256 grey levels"


def _sampled_voxels(source: LosslessSource, size_xyz: SizeXyz) -> NDArray[np.integer]:
    """[n] voxels of some boxes that show a slice: 0 is the margin."""
    voxels = np.concatenate([source.read(box).ravel() for box in _boxes(size_xyz)])
    return voxels[voxels > 0]


def _boxes(size_xyz: SizeXyz) -> Iterator[Box]:
    """Flat boxes, evenly spaced in a volume."""
    extent = (_BOX_PX, _BOX_PX, 1)
    starts = [
        sorted({(2 * i + 1) * max(size - side, 0) // (2 * _BOXES_A_SIDE) for i in range(_BOXES_A_SIDE)})
        for size, side in zip(size_xyz, extent, strict=True)
    ]
    for x, y, z in product(*starts):
        stop = [min(a + side, size) for a, side, size in zip((x, y, z), extent, size_xyz, strict=True)]
        yield (x, y, z), (stop[0], stop[1], stop[2])
