"""The levels of a precomputed volume, from its `info`: chunks, shards and bytes, and what blocks share.

The `info` may be one of fibstack or of any other program.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from components.shared.errors import UserError
from components.shared.grid import BLOCK, LEVELS_PER_PASS, SizeXyz, ceil_div
from components.shared.volume.compression import EM_RATIOS

_VOXEL_BYTES = {
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint32": 4,
    "int32": 4,
    "float32": 4,
    "uint64": 8,
}

Sharing = Literal["own", "shared", "scattered"]
"""Whose chunks a file holds: of one block, of several neighbours, or of blocks all over the volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRow:
    """One level of a precomputed volume."""

    level: int
    size_xyz: SizeXyz
    resolution_nm: tuple[float, ...]
    encoding: str
    """Encoding of its chunks, such as jpeg, png or raw+gzip."""
    chunk_xyz: SizeXyz
    grid_xyz: SizeXyz
    """Chunks along x, y and z."""
    bits: tuple[int, int, int] | None
    """preshift, minishard and shard bits; None where each chunk is a file."""
    shard_xyz: SizeXyz | None
    """Sides of the box that a shard holds, clipped to the volume; None where its chunks lie all over it."""
    block_xyz: tuple[float, float, float]
    """Sides of a block in voxels of this level."""
    n_files: int
    raw_bytes: int
    encoded_bytes: int | None
    """Estimated; None for an encoding without a ratio."""

    @property
    def sharing(self) -> Sharing:
        """Whose chunks a file holds; the writers of blocks would race for one that is not a block's own."""
        if self.shard_xyz is None:
            return "scattered"
        sides = zip(self.shard_xyz, self.block_xyz, self.size_xyz, strict=True)
        return "own" if all(block >= n or block % shard == 0 for shard, block, n in sides) else "shared"


def rows_of(info: dict[str, Any]) -> list[ScaleRow]:
    """The levels of a precomputed volume. Blocks are of 1024^3 voxels at every fifth level.

    Raises:
        UserError: the `info` does not describe a precomputed volume.

    Example:
        >>> scale = {"size": [2048, 2048, 64], "resolution": [8, 8, 8], "chunk_sizes": [[64, 64, 64]],
        ...     "encoding": "raw", "key": "8"}
        >>> row = rows_of({"data_type": "uint8", "num_channels": 1, "scales": [scale]})[0]
        >>> row.n_files, row.sharing
        (1024, 'own')
    """
    try:
        scales = info["scales"]
        voxel_bytes = _VOXEL_BYTES[info["data_type"]] * info["num_channels"]
        return [
            _scale_row(level, scale, scales[level - level % LEVELS_PER_PASS], voxel_bytes)
            for level, scale in enumerate(scales)
        ]
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise UserError(
            f"an info must describe a precomputed volume; got a fault at {error}. Name another."
        ) from None


def _scale_row(level: int, scale: dict[str, Any], base: dict[str, Any], voxel_bytes: int) -> ScaleRow:
    """A level, from its scale in the `info` and from the scale at which its pass starts."""
    size, chunk = _sides(scale["size"]), _sides(scale["chunk_sizes"][0])
    nx, ny, nz = (ceil_div(n, c) for n, c in zip(size, chunk, strict=True))
    factors = [here / there for here, there in zip(scale["resolution"], base["resolution"], strict=True)]
    sharding = scale.get("sharding")
    encoding = scale["encoding"]
    if encoding == "raw" and sharding and sharding.get("data_encoding") == "gzip":
        encoding = "raw+gzip"
    raw_bytes = math.prod(size) * voxel_bytes
    ratio = 1.0 if encoding == "raw" else EM_RATIOS.get(encoding)
    bx, by, bz = (BLOCK / factor for factor in factors)
    row = {
        "level": level,
        "size_xyz": size,
        "resolution_nm": tuple(scale["resolution"]),
        "encoding": encoding,
        "chunk_xyz": chunk,
        "grid_xyz": (nx, ny, nz),
        "block_xyz": (bx, by, bz),
        "raw_bytes": raw_bytes,
        "encoded_bytes": None if ratio is None else round(raw_bytes * ratio),
    }
    if sharding is None:
        return ScaleRow(bits=None, shard_xyz=chunk, n_files=nx * ny * nz, **row)
    bits = (sharding["preshift_bits"], sharding["minishard_bits"], sharding["shard_bits"])
    cells = None
    if sharding["hash"] == "identity":
        cells = shard_cells((nx, ny, nz), bits[0] + bits[1], bits[2])
    if cells is None:
        # A hash, or too few bits: any shard may hold any chunk.
        return ScaleRow(bits=bits, shard_xyz=None, n_files=min(2 ** bits[2], nx * ny * nz), **row)
    x, y, z = (c * side for c, side in zip(cells, chunk, strict=True))
    files = math.prod(ceil_div(n, c) for n, c in zip((nx, ny, nz), cells, strict=True))
    return ScaleRow(bits=bits, shard_xyz=(x, y, z), n_files=files, **row)


def shard_cells(grid_xyz: SizeXyz, low_bits: int, shard_bits: int) -> SizeXyz | None:
    """Sides, in chunks, of the box that a shard holds; None where a shard holds several boxes.

    The compressed Morton code takes a bit of x, of y and of z in turn, and none of a dimension that has no
    more: the low bits of a chunk's number are its position in the box.

    Args:
        grid_xyz: chunks along x, y and z.
        low_bits: preshift and minishard bits.
        shard_bits: the bits above, which name the shard.

    Example:
        >>> shard_cells((79, 79, 2), 9, 6), shard_cells((79, 79, 2), 12, 3), shard_cells((79, 79, 2), 9, 5)
        ((16, 16, 2), (64, 32, 2), None)
    """
    n_bits = [(n - 1).bit_length() for n in grid_xyz]
    if low_bits + shard_bits < sum(n_bits):
        return None
    cells = [1, 1, 1]
    left = low_bits
    for bit in range(max(n_bits)):
        for axis in range(3):
            if bit < n_bits[axis] and left > 0:
                cells[axis] *= 2
                left -= 1
    x, y, z = cells
    return x, y, z


def _sides(numbers: list[int]) -> SizeXyz:
    """Three sides, each of at least 1."""
    x, y, z = (int(n) for n in numbers)
    if min(x, y, z) < 1:
        raise ValueError(f"{numbers}, which must be above 0")
    return x, y, z
