"""The integer arithmetic of a run: ranges of slices, slabs, levels and blocks.

Everything here follows from a few numbers of the plan and the size of the volume, so no document stores it.

* chunk: consecutive slices that one call of `align` matches.
* slab: `slab_depth` consecutive slices, one shard of the tile array, written by `tile`.
* block: 1024^3 voxels at the base level of a pyramid pass, exactly one shard per level.
* z index: counts from the first slice of the volume, `z - minz`; z itself is the number in the file name.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

VOXEL_CHUNK = 64
"""Side of a precomputed chunk in voxels."""
LEVELS_PER_PASS = 5
"""A pyramid pass writes this many levels from one reading of its base level."""
BLOCK = VOXEL_CHUNK << (LEVELS_PER_PASS - 1)
"""Side of a pyramid block in voxels of the pass's base level (1024)."""
TILE = 1024
"""Side of a tile of the aligned stack in px."""
MAX_SLAB_DEPTH = 16
MAX_SLAB_BYTES = 512 * 2**20

SizeXyz = tuple[int, int, int]
VoxelXyz = tuple[float, float, float]
ISOTROPIC: VoxelXyz = (1, 1, 1)


def ceil_div(a: int, b: int) -> int:
    """The least integer not below a / b.

    Example:
        >>> ceil_div(65, 64)
        2
    """
    return -(-a // b)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The integers first..last, both included: a range of slices, slabs or blocks.

    Example:
        >>> str(Span.parse("8-15")), len(Span(8, 15))
        ('8-15', 8)
    """

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"a span must run from 0 or more upwards; got {self.first}-{self.last}")

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __contains__(self, item: object) -> bool:
        return isinstance(item, SupportsIndex) and self.first <= operator.index(item) <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `"8-15"`.

        Raises:
            ValueError: the text is not two integers in order.
        """
        first, dash, last = text.partition("-")
        if not (dash and first.isdecimal() and last.isdecimal()):
            raise ValueError(f"a span must look like 8-15; got {text!r}")
        return cls(int(first), int(last))


def spans(first: int, last: int, length: int) -> list[Span]:
    """Cut first..last into spans of `length`; the last may be shorter.

    Example:
        >>> [str(span) for span in spans(0, 9, 4)]
        ['0-3', '4-7', '8-9']
    """
    return [Span(start, min(start + length - 1, last)) for start in range(first, last + 1, length)]


def group(indices: Sequence[int], fan: int) -> list[Span]:
    """Pack ascending indices into at most `fan` spans, for a loop's items.

    A span holds consecutive indices. Only where they are too scattered for that does it reach over gaps: the
    units there are done, and so skipped.

    Example:
        >>> [str(span) for span in group([0, 1, 2, 3, 7], fan=3)]
        ['0-1', '2-3', '7-7']
        >>> [str(span) for span in group([0, 2, 4, 6, 8], fan=3)]
        ['0-2', '4-6', '8-8']
    """
    length = max(1, ceil_div(len(indices), fan))
    packed: list[Span] = []
    for index in indices:
        if packed and index == packed[-1].last + 1 and len(packed[-1]) < length:
            packed[-1] = Span(packed[-1].first, index)
        else:
            packed.append(Span(index, index))
    if len(packed) <= fan:
        return packed
    parts = (indices[start : start + length] for start in range(0, len(indices), length))
    return [Span(part[0], part[-1]) for part in parts]


def slab_depth(width_px: int, height_px: int, bytes_per_px: int = 1) -> int:
    """Slices per slab: the largest power of two <= 16 whose slab stays below 512 MiB.

    Example:
        >>> slab_depth(5000, 5000), slab_depth(10_000, 10_000)
        (16, 4)
    """
    depth = MAX_SLAB_DEPTH
    while depth > 1 and depth * width_px * height_px * bytes_per_px > MAX_SLAB_BYTES:
        depth //= 2
    return depth


def halved(size_xyz: SizeXyz, halvings_xyz: SizeXyz) -> SizeXyz:
    """Size of a volume whose axes are halved: `ceil(N / 2^k)` after k halvings, without padding.

    Example:
        >>> halved((1000, 65, 1), (3, 3, 0))
        (125, 9, 1)
    """
    x, y, z = (ceil_div(n, 1 << k) for n, k in zip(size_xyz, halvings_xyz, strict=True))
    return x, y, z


def halvings_of_levels(
    size_xyz: SizeXyz, voxel_xyz: VoxelXyz = ISOTROPIC, chunk: int = VOXEL_CHUNK
) -> tuple[SizeXyz, ...]:
    """Number of halvings of each axis from level 0 to each level, until one chunk holds the volume.

    From a level to the next, an axis is halved unless its side of a voxel is at least twice the shortest one.
    So the finer axes alone are halved until no side is twice another, and all of them from there on. An axis
    that one chunk holds is not waited for: the shortest side is that of the others.

    Args:
        size_xyz: size of the volume at level 0.
        voxel_xyz: sides of its voxels, in any unit.
        chunk: side of a chunk in voxels.

    Example:
        >>> halvings_of_levels((4000, 500, 100), (4, 4, 16))
        ((0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 3, 1), (4, 4, 2), (5, 5, 3), (6, 6, 4))
    """
    levels: list[SizeXyz] = [(0, 0, 0)]
    while max(halved(size_xyz, levels[-1])) > chunk:
        size = halved(size_xyz, levels[-1])
        sides = [side * 2.0**k for side, k in zip(voxel_xyz, levels[-1], strict=True)]
        shortest = min(side for side, n in zip(sides, size, strict=True) if n > chunk)
        x, y, z = (k + (side < 2 * shortest) for side, k in zip(sides, levels[-1], strict=True))
        levels.append((x, y, z))
    return tuple(levels)


@dataclass(frozen=True, slots=True)
class PyramidPass:
    """A pass over blocks, which reads the finest of some levels and writes all of them."""

    base_level: int
    size_xyz: SizeXyz
    """Size of the volume at `base_level`."""
    halvings: tuple[SizeXyz, ...]
    """Number of halvings of each axis from level 0 to each level of the pass, the base level first."""
    chunk: int = VOXEL_CHUNK
    levels_per_pass: int = LEVELS_PER_PASS

    @property
    def n_levels(self) -> int:
        return len(self.halvings)

    @property
    def levels(self) -> range:
        """The levels that this pass writes."""
        return range(self.base_level, self.base_level + self.n_levels)

    @property
    def block(self) -> int:
        """Side of a block in voxels of the base level."""
        return self.chunk << (self.levels_per_pass - 1)

    @property
    def blocks_xyz(self) -> SizeXyz:
        """Number of blocks along x, y and z."""
        x, y, z = (ceil_div(n, self.block) for n in self.size_xyz)
        return x, y, z

    @property
    def n_blocks(self) -> int:
        x, y, z = self.blocks_xyz
        return x * y * z

    def block_position(self, index: int) -> SizeXyz:
        """Position of block number `index`; x runs fastest."""
        x, y, _ = self.blocks_xyz
        return index % x, index // x % y, index // (x * y)

    def block_sides(self, level: int) -> SizeXyz:
        """Sides of a block in voxels of a level of the pass: whole chunks, along every axis."""
        x, y, z = (self.block >> k for k in self._halvings_from_base(level))
        return x, y, z

    def size_at_level(self, level: int) -> SizeXyz:
        """Size of the volume at a level of the pass."""
        return halved(self.size_xyz, self._halvings_from_base(level))

    def block_bounds(self, index: int, level: int) -> tuple[SizeXyz, SizeXyz]:
        """First voxel of a block at a level of the pass, and the end, clipped to the volume.

        Example:
            >>> pyramid_passes((3000, 500, 70))[0].block_bounds(2, level=1)
            ((1024, 0, 0), (1500, 250, 35))
        """
        sides, size = self.block_sides(level), self.size_at_level(level)
        x, y, z = (position * side for position, side in zip(self.block_position(index), sides, strict=True))
        return (x, y, z), (min(x + sides[0], size[0]), min(y + sides[1], size[1]), min(z + sides[2], size[2]))

    def _halvings_from_base(self, level: int) -> SizeXyz:
        base, here = self.halvings[0], self.halvings[level - self.base_level]
        x, y, z = (b - a for a, b in zip(base, here, strict=True))
        return x, y, z


def pyramid_passes(
    size_xyz: SizeXyz,
    voxel_xyz: VoxelXyz = ISOTROPIC,
    chunk: int = VOXEL_CHUNK,
    levels_per_pass: int = LEVELS_PER_PASS,
) -> tuple[PyramidPass, ...]:
    """The passes that write every level of a volume, finest first.

    Args:
        size_xyz: size of the volume at level 0.
        voxel_xyz: sides of its voxels, in any unit.
        chunk: side of a chunk in voxels.
        levels_per_pass: most levels of a pass; it gives the side of a block.

    Example:
        >>> [(p.base_level, p.n_levels, p.n_blocks) for p in pyramid_passes((5000, 5000, 70))]
        [(0, 5, 25), (5, 3, 1)]
    """
    halvings = halvings_of_levels(size_xyz, voxel_xyz, chunk)
    return tuple(
        PyramidPass(
            base,
            halved(size_xyz, halvings[base]),
            halvings[base : base + levels_per_pass],
            chunk,
            levels_per_pass,
        )
        for base in range(0, len(halvings), levels_per_pass)
    )
