"""Read what a writer has written through tensorstore and hold it against the exact levels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorstore as ts

from benchmarks.pyramid.stack import Stack
from benchmarks.pyramid.table import Checked

JPEG_DIFFERENCE = 8.0
"""A greater mean difference, in grey levels, is no loss of JPEG but wrong data."""
SLAB = 64


def check(stack: Stack, names: Sequence[str], exact: bool) -> Checked:
    """Compare every level of the volumes with the truth.

    Args:
        stack: what was written from.
        names: volumes below `stack.output`.
        exact: whether lossless volumes must equal the exact levels: halving differs from writer to writer.

    Raises:
        ValueError: a volume is not what it should be.
    """
    differences = [_differences(stack, name) for name in names]
    for name, levels in zip(names, differences, strict=True):
        jpeg = name.endswith("jpeg")
        goal = JPEG_DIFFERENCE if jpeg else 0.0 if exact else 0.6 * len(levels)
        if max(difference for difference, _ in levels) > goal:
            raise ValueError(f"{name} must hold what was written; the mean differences are {levels}")
    return Checked(
        difference=max(difference for levels in differences for difference, _ in levels),
        bias=differences[0][-1][1],
    )


def _differences(stack: Stack, name: str) -> list[tuple[float, float]]:
    """Mean absolute difference and mean difference of each level."""
    folder = stack.output / name
    n_levels = len(json.loads((folder / "info").read_text())["scales"])
    return [_difference(folder, index, path) for index, path in enumerate(stack.levels[:n_levels])]


def _difference(folder: Path, index: int, truth: Path) -> tuple[float, float]:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "scale_index": index,
    }
    array = ts.open(spec, read=True).result()[..., 0].T
    exact = np.load(truth, mmap_mode="r")
    if array.shape != exact.shape:
        raise ValueError(f"{folder} must have {exact.shape} voxels at level {index}; got {array.shape}")
    magnitude = signed = 0
    for z in range(0, len(exact), SLAB):
        found = array[z : z + SLAB].read(order="C").result()
        off = found.astype(np.int16) - exact[z : z + SLAB]
        magnitude += int(np.abs(off).sum(dtype=np.int64))
        signed += int(off.sum(dtype=np.int64))
    return magnitude / exact.size, signed / exact.size
