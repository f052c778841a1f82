"""The neuroglancer precomputed format: `info`, compressed Morton code, sharding and shard file names.

Pure arithmetic, no I/O. A block of a pyramid pass owns whole shards at every level, so that blocks are
written independently of each other. This holds because the shard bits follow from the size of the volume::

    G_d       chunks along dimension d at the level            b_d = bits of G_d - 1
    k         log2 of a shard's side in chunks (4 for a block at its base level, one less at each coarser)
    preshift_bits + minishard_bits = sum_d min(b_d, k)         position inside an aligned cube of 2^k chunks
    shard_bits                     = sum_d max(b_d - k, 0)     position of that cube

(The usual fixed 9 or 12 bits are wrong on thin volumes: a shard then covers parts of several blocks.)

Source: "Neuroglancer precomputed volume" and "sharded format" specifications in the neuroglancer repository.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.shared.grid import SizeXyz, ceil_div
from components.shared.volume.provenance import PROVENANCE_KEY, provenance_file
from components.shared.volume.volume import Volume, VolumeOutput

INFO_KEY = "info"
MAX_MINISHARD_CHUNK_BITS = 12
"""Bits of a chunk's number within its minishard, at most: 2^12 chunks have 98 KB of index, 10 KB as gzip."""


def compressed_morton(position_xyz: SizeXyz, grid_xyz: SizeXyz) -> int:
    """The number of a cell: the bits of x, y and z interleaved, x lowest, without bits that are always 0.

    Bit i of a dimension is kept where 2^i is below that dimension's number of cells.

    Example:
        >>> compressed_morton((1, 1, 1), (2, 2, 2)), compressed_morton((5, 0, 1), (6, 1, 2))
        (7, 11)
    """
    code = 0
    n_bits = 0
    for bit in range(max(grid_xyz).bit_length()):
        for position, n_cells in zip(position_xyz, grid_xyz, strict=True):
            if 1 << bit < n_cells:
                code |= (position >> bit & 1) << n_bits
                n_bits += 1
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """The bits of a chunk number that name its shard, its minishard, and the chunk in that, top to bottom."""

    shard_bits: int
    minishard_bits: int
    preshift_bits: int

    @classmethod
    def of(cls, grid_xyz: SizeXyz, cube_bits: int) -> Sharding:
        """The sharding of a grid of chunks whose shards are cubes of 2^cube_bits chunks a side.

        Example:
            >>> Sharding.of((79, 79, 2), cube_bits=4)
            Sharding(shard_bits=6, minishard_bits=0, preshift_bits=9)
        """
        bits = [(n - 1).bit_length() for n in grid_xyz]
        inside = sum(min(b, cube_bits) for b in bits)
        preshift = min(inside, MAX_MINISHARD_CHUNK_BITS)
        return cls(shard_bits=sum(bits) - inside, minishard_bits=inside - preshift, preshift_bits=preshift)

    def shard_of(self, chunk_number: int) -> int:
        """Number of the shard that holds a chunk."""
        return chunk_number >> (self.preshift_bits + self.minishard_bits)

    def minishard_of(self, chunk_number: int) -> int:
        """Number of the chunk's minishard within its shard."""
        return (chunk_number >> self.preshift_bits) & ((1 << self.minishard_bits) - 1)

    def file_name(self, shard: int) -> str:
        """File name of a shard: its number in hexadecimal, as wide as the greatest.

        Example:
            >>> Sharding(shard_bits=6, minishard_bits=0, preshift_bits=9).file_name(10)
            '0a.shard'
        """
        return f"{shard:0{max(1, ceil_div(self.shard_bits, 4))}x}.shard"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecomputedScale:
    """One level of a precomputed volume."""

    level: int
    size_xyz: SizeXyz
    resolution_nm: tuple[float, float, float]
    chunk: int
    """Side of a chunk in voxels."""
    shard: int
    """Side of a shard in voxels."""

    @property
    def key(self) -> str:
        """Folder of the level, such as `8x8x8`: the voxel's size in nm."""
        return "x".join(str(float(side)).removesuffix(".0") for side in self.resolution_nm)

    @property
    def shards_prefix(self) -> str:
        """Beginning of the keys of all shards of the level."""
        return f"{self.key}/"

    @property
    def grid_xyz(self) -> SizeXyz:
        """Chunks along x, y and z."""
        x, y, z = (ceil_div(n, self.chunk) for n in self.size_xyz)
        return x, y, z

    @property
    def shard_sides(self) -> SizeXyz:
        """Sides of a shard in voxels, x, y, z."""
        return self.shard, self.shard, self.shard

    @property
    def shard_grid_xyz(self) -> SizeXyz:
        """Shards along x, y and z."""
        x, y, z = (ceil_div(n, self.shard) for n in self.size_xyz)
        return x, y, z

    @property
    def sharding(self) -> Sharding:
        return Sharding.of(self.grid_xyz, cube_bits=(self.shard // self.chunk).bit_length() - 1)

    def chunk_number(self, chunk_xyz: SizeXyz) -> int:
        """Number of the chunk at this position of the grid."""
        return compressed_morton(chunk_xyz, self.grid_xyz)

    def shard_key(self, shard_xyz: SizeXyz) -> str:
        """Key below the volume of the shard at this position of the grid of shards."""
        number = compressed_morton(shard_xyz, self.shard_grid_xyz)
        return f"{self.key}/{self.sharding.file_name(number)}"


def scale_at(volume: Volume, output: VolumeOutput, level: int) -> PrecomputedScale:
    """The scale of an output at a level."""
    pyramid_pass = volume.pass_at_level(level)
    return PrecomputedScale(
        level=level,
        size_xyz=volume.size_at_level(level),
        resolution_nm=volume.resolution_at_level(level),
        chunk=pyramid_pass.chunk,
        shard=min(output.shard_side, *pyramid_pass.block_sides(level)),
    )


def metadata_files(volume: Volume, output: VolumeOutput) -> dict[str, bytes]:
    """The metadata of an output by key; `info`, by which a reader finds the volume, comes last."""
    return {
        PROVENANCE_KEY: provenance_file(volume.provenance, jpeg_quality=output.jpeg_quality),
        INFO_KEY: info_file(volume, output),
    }


def info_file(volume: Volume, output: VolumeOutput) -> bytes:
    """An output's `info` file."""
    return (json.dumps(info(volume, output), indent=1) + "\n").encode()


def info(volume: Volume, output: VolumeOutput) -> dict[str, Any]:
    """The content of an output's `info` file."""
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": "image",
        "data_type": output.array.data_type,
        "num_channels": output.n_channels,
        "scales": [_scale_json(volume, output, level) for level in output.levels],
    }


def _scale_json(volume: Volume, output: VolumeOutput, level: int) -> dict[str, Any]:
    scale = scale_at(volume, output, level)
    quality = {"jpeg_quality": output.jpeg_quality} if output.encoding == "jpeg" else {}
    return {
        "key": scale.key,
        "size": list(scale.size_xyz),
        "voxel_offset": list(volume.voxel_offset_at_level(level)),
        "resolution": list(scale.resolution_nm),
        "chunk_sizes": [[scale.chunk] * 3],
        "encoding": output.encoding,
        **quality,
        "sharding": {
            "@type": "neuroglancer_uint64_sharded_v1",
            "hash": "identity",
            "preshift_bits": scale.sharding.preshift_bits,
            "minishard_bits": scale.sharding.minishard_bits,
            "shard_bits": scale.sharding.shard_bits,
            "minishard_index_encoding": "gzip",
            "data_encoding": "gzip" if output.encoding == "raw" else "raw",
        },
    }
