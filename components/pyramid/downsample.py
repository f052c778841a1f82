"""Halve voxels exactly, and cascade a stream of slabs through the levels of a pyramid pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.grid import SizeXyz

Voxels = NDArray[Any]
"""Grey levels, uint8 or uint16: [z, y, x]; of several channels, [channel, z, y, x]."""
AxesXyz = tuple[bool, bool, bool]
"""Which of x, y and z are halved."""
STRIP_ROWS = 64
"""Rows of the result that are made at a time, so that what they need stays in the CPU's cache."""
_WIDER = {np.dtype(np.uint8): np.uint16, np.dtype(np.uint16): np.uint32}


@dataclass(frozen=True, slots=True)
class Slab:
    """One layer of chunks of a block at a level, clipped to the volume."""

    level: int
    layer: int
    """Number of the layer in the block, from 0."""
    voxels: Voxels


def halve(voxels: Voxels, pool: Executor, axes: AxesXyz = (True, True, True)) -> Voxels:
    """The mean of each 2 x 2 x 2 voxels, of those that exist at an odd edge; ties go to the even number.

    The same as tensorstore's `downsample` with method `mean`.

    Args:
        voxels: [z, y, x] or [channel, z, y, x] array, uint8 or uint16.
        pool: threads that share the slices.
        axes: which of x, y and z are halved; the mean is over these alone.

    Returns:
        Array with `ceil(n / 2)` voxels along each halved axis.
    """
    factors = [1 + halved for halved in reversed(axes)]
    odd = [n % factor for n, factor in zip(voxels.shape[-3:], factors, strict=True)]
    if any(odd):
        # An edge voxel that counts twice leaves the mean as it is, and every mean is then one of all.
        before = [(0, 0)] * (voxels.ndim - 3)
        voxels = np.pad(voxels, before + [(0, n) for n in odd], mode="edge")
    voxels = np.ascontiguousarray(voxels)
    sides = [n // factor for n, factor in zip(voxels.shape[-3:], factors, strict=True)]
    halved: Voxels = np.empty([*voxels.shape[:-3], *sides], dtype=voxels.dtype)
    depth, across, along = factors

    def mean_of_slices(cell: tuple[int, ...]) -> None:
        *channel, z = cell
        planes = voxels[tuple(channel)][depth * z : depth * (z + 1)]
        for y in range(0, halved.shape[-2], STRIP_ROWS):
            rows = planes[:, across * y : across * (y + STRIP_ROWS)]
            halved[cell][y : y + STRIP_ROWS] = _mean(rows, across == 2, along == 2)

    for _ in pool.map(mean_of_slices, np.ndindex(halved.shape[:-2])):
        pass
    return halved


def _mean(planes: Voxels, halves_y: bool, halves_x: bool) -> Voxels:
    """Means over one or two [y, x] slices and over pairs along y and x."""
    wider = _WIDER[planes[0].dtype]
    bits = 8 * planes[0].itemsize
    sums: Voxels = np.zeros(1, wider)
    for plane in planes:
        if halves_x:
            # Two neighbours in x are read as one number and taken apart: much faster than strided sums.
            pairs = plane.view(wider)
            sums = sums + (pairs & ((1 << bits) - 1)) + (pairs >> bits)
        else:
            sums = sums + plane
    means = sums[0::2] + sums[1::2] if halves_y else sums
    shift = (len(planes) - 1) + halves_y + halves_x
    if shift:
        means += (1 << (shift - 1)) - 1 + (means >> shift & 1)
        means >>= shift
    return means


def steps_of(halvings: Sequence[SizeXyz]) -> list[AxesXyz]:
    """Which axes are halved from each level to the next.

    Example:
        >>> steps_of([(0, 0, 0), (1, 1, 0), (2, 2, 1)])
        [(True, True, False), (True, True, True)]
    """
    return [
        (finer[0] < coarser[0], finer[1] < coarser[1], finer[2] < coarser[2])
        for finer, coarser in pairwise(halvings)
    ]


def cascade(
    slabs: Iterable[Voxels], base_level: int, steps: Sequence[AxesXyz], pool: Executor
) -> Iterator[Slab]:
    """Every level's slabs of a block, made from those of its base level in one pass.

    Each level is halved from the exact one before; a slab is yielded as soon as what it is made from is
    there, so no more than one slab and one half slab of a level is held.

    Args:
        slabs: the layers of the block at the base level, z ascending, each one chunk deep; the last may
            be thinner.
        base_level: level of `slabs`.
        steps: which axes are halved from each level to the next.
        pool: threads that do the work.
    """
    first_halves: list[Voxels | None] = [None] * (len(steps) + 1)
    n_layers = [0] * (len(steps) + 1)

    def rise(index: int, voxels: Voxels) -> Iterator[Slab]:
        yield Slab(base_level + index, n_layers[index], voxels)
        n_layers[index] += 1
        if index == len(steps):
            return
        coarser = halve(voxels, pool, steps[index])
        if steps[index][2]:
            yield from _meet(index + 1, coarser)
        else:
            yield from rise(index + 1, coarser)

    def _meet(index: int, half: Voxels) -> Iterator[Slab]:
        first = first_halves[index]
        first_halves[index] = half if first is None else None
        if first is not None:
            yield from rise(index, np.concatenate([first, half], axis=-3))

    for slab in slabs:
        yield from rise(0, slab)
    for index in range(1, len(first_halves)):
        rest, first_halves[index] = first_halves[index], None
        if rest is not None:
            yield from rise(index, rest)
