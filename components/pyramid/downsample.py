"""Coarser levels of a pyramid: means of voxels, made level by level while the slabs of a block stream by.

Every level is made from the exact finer one, never from decoded JPEG, so that errors do not add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.grid import SizeXyz
from components.shared.limits import limit

Voxels = NDArray[Any]
"""Grey levels, uint8 or uint16: [z, y, x]; of several channels, [channel, z, y, x]."""
AxesXyz = tuple[bool, bool, bool]
"""Which of x, y and z are halved."""
_WIDER = {np.dtype(np.uint8): np.uint16, np.dtype(np.uint16): np.uint32}
"""Type of twice the bits, in which eight voxels add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownsampleLimits:
    """Limits of the work on means at a time; no voxel depends on them."""

    strip_voxels: int = limit(
        2**16,
        unit="voxels of the coarser level",
        why="rows of about so many are made at a time, so that their sums stay in the CPU's cache",
        measured_on="level 1 of a block of 512^3: 19 CPU ms; 26 with 2^14, 20 with 2^15 and 2^17 (load 4)",
        too_small="calls cost more than what they compute",
        too_large="sums go through main memory",
    )
    task_voxels: int = limit(
        2**19,
        unit="voxels of the coarser level",
        why="a thread is handed slices of about so many: two of a block of 1024^3, eight of one of 512^3",
        measured_on="a block of 512^3: 0.61 CPU s, 0.65 with a slice at a time (load 10)",
        too_small="handing out work costs more than the work",
        too_large="threads wait for the last one",
    )


LIMITS = DownsampleLimits()


@dataclass(frozen=True, slots=True)
class Slab:
    """A layer of chunks of a block at a level, clipped to the volume."""

    level: int
    layer: int
    """Number of the layer in the block, from 0."""
    voxels: Voxels


def halve(voxels: Voxels, pool: Executor, axes: AxesXyz = (True, True, True)) -> Voxels:
    """The mean of each 2 x 2 x 2 voxels, of those that exist at an odd edge; ties go to the even number.

    tensorstore's `downsample` with method `mean` gives the same voxels; the tests compare the two.

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
        # An edge voxel that counts twice leaves the mean as it is: then every mean is over as many voxels.
        of_channels = [(0, 0)] * (voxels.ndim - 3)
        voxels = np.pad(voxels, of_channels + [(0, n) for n in odd], mode="edge")
    voxels = np.ascontiguousarray(voxels)
    sides = [n // factor for n, factor in zip(voxels.shape[-3:], factors, strict=True)]
    halved: Voxels = np.empty([*voxels.shape[:-3], *sides], dtype=voxels.dtype)
    depth, across, along = factors
    n_rows = max(1, LIMITS.strip_voxels // halved.shape[-1])

    def make_slices(cells: Iterable[tuple[int, ...]]) -> None:
        for cell in cells:
            *channel, z = cell
            planes = voxels[tuple(channel)][depth * z : depth * (z + 1)]
            for y in range(0, halved.shape[-2], n_rows):
                rows = planes[:, across * y : across * (y + n_rows)]
                halved[cell][y : y + n_rows] = _means(rows, across == 2, along == 2)

    every = list(np.ndindex(halved.shape[:-2]))
    n_at_once = max(1, LIMITS.task_voxels // math.prod(halved.shape[-2:]))
    for _ in pool.map(make_slices, (every[i : i + n_at_once] for i in range(0, len(every), n_at_once))):
        pass
    return halved


def _means(planes: Voxels, halves_y: bool, halves_x: bool) -> Voxels:
    """Means over one or two [y, x] planes and over pairs along y and x; ties go to the even number."""
    sums = _sums_along_x(planes[0], halves_x)
    for plane in planes[1:]:
        sums += _sums_along_x(plane, halves_x)
    means = sums[0::2] + sums[1::2] if halves_y else sums
    shift = (len(planes) - 1) + halves_y + halves_x
    if shift:
        # Division by 2^shift that rounds half to even: with half - 1 added, a tie is rounded down; with one
        # more where the quotient is odd (its last bit is set), it is rounded up, to the even number.
        rounding = means >> shift
        rounding &= 1
        rounding += (1 << (shift - 1)) - 1
        means += rounding
        means >>= shift
    return means


def _sums_along_x(plane: Voxels, in_pairs: bool) -> Voxels:
    """Pixels of a plane, or sums of two neighbours in x, in twice the bits."""
    wider = _WIDER[plane.dtype]
    if not in_pairs:
        return plane.astype(wider)
    # Two neighbours are read as one number and taken apart: much faster than strided sums.
    bits = 8 * plane.itemsize
    pairs: Voxels = plane.view(wider)
    sums = pairs & ((1 << bits) - 1)
    sums += pairs >> bits
    return sums


def halved_axes(halvings_of_levels: Sequence[SizeXyz]) -> list[AxesXyz]:
    """Which axes are halved from each level to the next.

    Example:
        >>> halved_axes([(0, 0, 0), (1, 1, 0), (2, 2, 1)])
        [(True, True, False), (True, True, True)]
    """
    return [
        (finer[0] < coarser[0], finer[1] < coarser[1], finer[2] < coarser[2])
        for finer, coarser in pairwise(halvings_of_levels)
    ]


def cascade(
    slabs: Iterable[Voxels], base_level: int, halvings: Sequence[AxesXyz], pool: Executor
) -> Iterator[Slab]:
    """Every level's slabs of a block, made from those of its base level in one pass.

    Each level is halved from the exact finer one; a slab is yielded as soon as what it is made from is
    there, so no more than one slab and one half slab of a level is held.

    Args:
        slabs: the layers of the block at the base level, z ascending, each one chunk deep; the last may
            be thinner.
        base_level: level of `slabs`.
        halvings: which axes are halved from each level to the next.
        pool: threads that do the work.
    """
    first_halves: list[Voxels | None] = [None] * (len(halvings) + 1)  # of each level's next slab
    n_layers = [0] * (len(halvings) + 1)

    def emit(index: int, voxels: Voxels) -> Iterator[Slab]:
        """A slab of a level, and those of coarser levels that it completes."""
        yield Slab(base_level + index, n_layers[index], voxels)
        n_layers[index] += 1
        if index == len(halvings):
            return
        coarser = halve(voxels, pool, halvings[index])
        if halvings[index][2]:
            yield from pair_with_earlier(index + 1, coarser)
        else:
            yield from emit(index + 1, coarser)

    def pair_with_earlier(index: int, half: Voxels) -> Iterator[Slab]:
        """Wait for the second half of a slab where z is halved; then emit the slab."""
        first = first_halves[index]
        first_halves[index] = half if first is None else None
        if first is not None:
            yield from emit(index, np.concatenate([first, half], axis=-3))

    for slab in slabs:
        yield from emit(0, slab)
    for index in range(1, len(first_halves)):
        rest, first_halves[index] = first_halves[index], None
        if rest is not None:
            yield from emit(index, rest)
