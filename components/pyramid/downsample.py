"""Halve voxels exactly, and cascade a stream of slabs through the levels of a pyramid pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Voxels = NDArray[np.uint8]
"""[z, y, x] grey levels."""


@dataclass(frozen=True, slots=True)
class Slab:
    """One layer of chunks of a block at a level, clipped to the volume."""

    level: int
    layer: int
    """Number of the layer in the block, from 0."""
    voxels: Voxels


def halve(voxels: Voxels, pool: Executor) -> Voxels:
    """The mean of each 2 x 2 x 2 voxels, of those that exist at an odd edge; ties go to the even number.

    The same as tensorstore's `downsample` with method `mean`.

    Args:
        voxels: [z, y, x] array.
        pool: threads that share the pairs of slices.

    Returns:
        [ceil(z / 2), ceil(y / 2), ceil(x / 2)] array.
    """
    if any(n % 2 for n in voxels.shape):
        # An edge voxel that counts twice leaves the mean as it is, and every mean is then one of eight.
        voxels = np.pad(voxels, [(0, n % 2) for n in voxels.shape], mode="edge")
    voxels = np.ascontiguousarray(voxels)
    halved: Voxels = np.empty([n // 2 for n in voxels.shape], dtype=np.uint8)

    def halve_pair(z: int) -> None:
        halved[z] = _mean_of_eight(voxels[2 * z], voxels[2 * z + 1])

    for _ in pool.map(halve_pair, range(len(halved))):
        pass
    return halved


def _mean_of_eight(upper: Voxels, lower: Voxels) -> NDArray[np.uint16]:
    """Means over 2 x 2 of two [y, x] slices with even sides; a slice at a time stays in the CPU's cache."""
    # Two neighbours in x are read as one 16-bit number and taken apart: much faster than strided sums.
    above, below = upper.view(np.uint16), lower.view(np.uint16)
    fours = (above & 0xFF) + (above >> 8) + (below & 0xFF) + (below >> 8)
    eights: NDArray[np.uint16] = fours[0::2] + fours[1::2]
    eights += 3 + (eights >> 3 & 1)
    eights >>= 3
    return eights


def cascade(slabs: Iterable[Voxels], base_level: int, n_levels: int, pool: Executor) -> Iterator[Slab]:
    """Every level's slabs of a block, made from those of its base level in one pass.

    Each level is halved from the exact one before; a slab is yielded as soon as its two halves are there,
    so no more than one slab and one half slab of a level is held.

    Args:
        slabs: the layers of the block at the base level, z ascending, each one chunk deep; the last may
            be thinner.
        base_level: level of `slabs`.
        n_levels: number of levels to make, the base level included.
        pool: threads that do the work.
    """
    first_halves: list[Voxels | None] = [None] * n_levels
    n_layers = [0] * n_levels

    def rise(index: int, voxels: Voxels) -> Iterator[Slab]:
        yield Slab(base_level + index, n_layers[index], voxels)
        n_layers[index] += 1
        if index + 1 < n_levels:
            yield from _meet(index + 1, halve(voxels, pool))

    def _meet(index: int, half: Voxels) -> Iterator[Slab]:
        first = first_halves[index]
        first_halves[index] = half if first is None else None
        if first is not None:
            yield from rise(index, np.concatenate([first, half]))

    for slab in slabs:
        yield from rise(0, slab)
    for index in range(1, n_levels):
        rest, first_halves[index] = first_halves[index], None
        if rest is not None:
            yield from rise(index, rest)
