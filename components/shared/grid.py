"""The integer arithmetic of a run: ranges of slices, slabs, levels and blocks.

Everything here follows from a few numbers of the plan and the size of the volume, so no document stores it.

* chunk: consecutive slices that one call of `align` matches.
* slab: `slab_depth` consecutive slices, one shard of the tile array, written by `tile`.
* block: 1024^3 voxels at the base level of a pyramid pass, exactly one shard per level.
* z index: counts from the first slice of the volume, `z - minz`; z itself is the number in the file name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
        return isinstance(item, int) and self.first <= item <= self.last

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
    """Pack ascending indices into at most about `fan` spans of consecutive indices, for a loop's items.

    Example:
        >>> [str(span) for span in group([0, 1, 2, 3, 7], fan=3)]
        ['0-1', '2-3', '7-7']
    """
    length = max(1, ceil_div(len(indices), fan))
    packed: list[Span] = []
    for index in indices:
        if packed and index == packed[-1].last + 1 and len(packed[-1]) < length:
            packed[-1] = Span(packed[-1].first, index)
        else:
            packed.append(Span(index, index))
    return packed


def slab_depth(width_px: int, height_px: int) -> int:
    """Slices per slab: the largest power of two <= 16 whose slab stays below 512 MiB.

    Example:
        >>> slab_depth(5000, 5000), slab_depth(10_000, 10_000)
        (16, 4)
    """
    depth = MAX_SLAB_DEPTH
    while depth > 1 and depth * width_px * height_px > MAX_SLAB_BYTES:
        depth //= 2
    return depth


def size_at_level(size_xyz: SizeXyz, level: int) -> SizeXyz:
    """Size of the volume at a level: `ceil(N / 2^level)`, no padding.

    Example:
        >>> size_at_level((1000, 65, 1), 3)
        (125, 9, 1)
    """
    x, y, z = (ceil_div(n, 1 << level) for n in size_xyz)
    return x, y, z


def n_levels(size_xyz: SizeXyz, chunk: int = VOXEL_CHUNK) -> int:
    """Number of levels until one chunk holds the volume.

    Example:
        >>> n_levels((10_000, 10_000, 10_000)), n_levels((64, 64, 64))
        (9, 1)
    """
    return 1 + max((ceil_div(n, chunk) - 1).bit_length() for n in size_xyz)


@dataclass(frozen=True, slots=True)
class PyramidPass:
    """One pass over blocks that writes `levels` from a reading of level `base_level`."""

    base_level: int
    size_xyz: SizeXyz
    """Size of the volume at `base_level`."""
    n_levels: int
    """Levels that this pass writes: base_level .. base_level + n_levels - 1."""
    chunk: int = VOXEL_CHUNK
    levels_per_pass: int = LEVELS_PER_PASS

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

    def block_bounds(self, index: int, level: int) -> tuple[SizeXyz, SizeXyz]:
        """First voxel of a block at a level of the pass, and the end, clipped to the volume.

        Example:
            >>> PyramidPass(0, (3000, 500, 70), 5).block_bounds(2, level=1)
            ((1024, 0, 0), (1500, 250, 35))
        """
        side = self.block >> (level - self.base_level)
        size = size_at_level(self.size_xyz, level - self.base_level)
        x, y, z = (position * side for position in self.block_position(index))
        return (x, y, z), (min(x + side, size[0]), min(y + side, size[1]), min(z + side, size[2]))


def pyramid_passes(
    size_xyz: SizeXyz, chunk: int = VOXEL_CHUNK, levels_per_pass: int = LEVELS_PER_PASS
) -> list[PyramidPass]:
    """The passes that write every level of a volume, finest first.

    Example:
        >>> [(p.base_level, p.n_levels, p.n_blocks) for p in pyramid_passes((5000, 5000, 70))]
        [(0, 5, 25), (5, 3, 1)]
    """
    total = n_levels(size_xyz, chunk)
    return [
        PyramidPass(
            base, size_at_level(size_xyz, base), min(levels_per_pass, total - base), chunk, levels_per_pass
        )
        for base in range(0, total, levels_per_pass)
    ]
