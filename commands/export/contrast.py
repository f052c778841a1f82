"""Judges a contrast that is asked for, on voxels of the lossless volume, before an export is written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from commands.export.lossless import LosslessSource
from components.pyramid.sources import Box
from components.shared.errors import ConfigError
from components.shared.grid import SizeXyz
from components.shared.pictures.grey_levels import SHOWN, TAIL_PERCENTILES, levels_of_middle_half

_BOXES_A_SIDE = 4
"""Boxes along each axis, evenly spaced, from which voxels are taken."""
_BOX_PX = 64
"""Side of a box along x and y: that of a chunk."""


def check_contrast(
    text: str,
    contrast: tuple[float, float],
    run_range: tuple[float, float],
    source: LosslessSource,
    size_xyz: SizeXyz,
) -> None:
    """Refuse a contrast that leaves most voxels white or black, or the tissue a few grey levels.

    Args:
        text: The contrast as it was given.
        contrast: Grey levels of the lossless volume that become 0 and 255.
        run_range: Those that the run has shown.
        source: The lossless volume, as it is.
        size_xyz: Size of the part that is exported.

    Raises:
        ConfigError: the contrast does not fit the volume.
    """
    voxels = _sampled_voxels(source, size_xyz)
    found = _fault(voxels, contrast)
    if not found:
        return
    fitting = (math.floor(run_range[0]), math.ceil(run_range[1]))
    if _fault(voxels, fitting):
        low, high = np.percentile(voxels, TAIL_PERCENTILES)
        fitting = (math.floor(low), max(math.ceil(high), math.floor(low) + 1))
    low, high = (int(level) for level in np.percentile(voxels, TAIL_PERCENTILES))
    raise ConfigError(
        f"--contrast must lie about the grey levels of the volume, here {low} to {high}; got {text}, which "
        f"would show {found}. Write --contrast {fitting[0]}-{fitting[1]}."
    )


def _fault(voxels: NDArray[np.integer], contrast: tuple[float, float]) -> str:
    """What a contrast would spoil, as an object of 'show'; empty where it fits."""
    if not voxels.size:
        return ""
    black, white = contrast
    parts = {"white": float(np.mean(voxels > white)), "black": float(np.mean(voxels < black))}
    if sum(parts.values()) > SHOWN.most_clipped:
        return " and ".join(f"{part:.0%} of the voxels {name}" for name, part in parts.items() if part > 0)
    lower, upper = np.percentile(voxels, [25, 75])
    levels = float(levels_of_middle_half(lower, upper, contrast))
    if levels < min(SHOWN.fewest_levels, upper - lower):
        return f"the middle half of the voxels in {levels:.1f} of 256 grey levels"
    return ""


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
