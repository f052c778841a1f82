"""The OME-Zarr volume: metadata of its group and arrays, and the names of its shards.

Pure arithmetic, no I/O. Each level is a sharded Zarr v3 array `[z, y, x]`, or `[c, z, y, x]` where there are
several channels. A chunk is the same bytes as in a lossless precomputed volume, except at the border: Zarr's
chunks are never clipped. A shard is as wide and as high as a block of its level, but only two chunks deep: it
is finished, and forgotten by its writer, as soon as two layers of the block are.

Sources: OME-NGFF 0.5 ("multiscales" metadata); Zarr v3 core and its "sharding_indexed", "gzip" and "crc32c"
codecs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.shared.grid import SizeXyz, ceil_div
from components.shared.volume.volume import Volume, VolumeOutput

METADATA_KEY = "zarr.json"
OME_VERSION = "0.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeZarrScale:
    """One level of an OME-Zarr volume."""

    level: int
    first_level: int
    """Finest level that is written."""
    size_xyz: SizeXyz
    chunk: int
    """Side of a chunk in voxels."""
    shard_sides: SizeXyz
    """Sides of a shard in voxels, x, y, z."""
    n_channels: int

    @property
    def key(self) -> str:
        """Folder of the level: its number, counted from the finest that is written."""
        return str(self.level - self.first_level)

    @property
    def shards_prefix(self) -> str:
        """Beginning of the keys of all shards of the level."""
        return f"{self.key}/c/"

    @property
    def shard_grid_xyz(self) -> SizeXyz:
        """Shards along x, y and z."""
        x, y, z = (ceil_div(n, side) for n, side in zip(self.size_xyz, self.shard_sides, strict=True))
        return x, y, z

    @property
    def chunks_per_shard_zyx(self) -> SizeXyz:
        x, y, z = (side // self.chunk for side in self.shard_sides)
        return z, y, x

    def shard_key(self, shard_xyz: SizeXyz) -> str:
        """Key below the group of the shard at this position of the grid of shards."""
        x, y, z = shard_xyz
        channels = "" if self.n_channels == 1 else "0/"
        return f"{self.shards_prefix}{channels}{z}/{y}/{x}"

    def chunk_number(self, chunk_xyz: SizeXyz) -> int:
        """Number of a chunk within its shard: its place in the shard's index, C order."""
        (depth, height, width), (x, y, z) = self.chunks_per_shard_zyx, chunk_xyz
        return (z % depth * height + y % height) * width + x % width


def scale_at(volume: Volume, output: VolumeOutput, level: int) -> OmeZarrScale:
    """The scale of an output at a level."""
    pyramid_pass = volume.pass_at_level(level)
    width, height, depth = pyramid_pass.block_sides(level)
    return OmeZarrScale(
        level=level,
        first_level=output.levels.start,
        size_xyz=volume.size_at_level(level),
        chunk=pyramid_pass.chunk,
        shard_sides=(width, height, min(depth, output.shard_side)),
        n_channels=output.n_channels,
    )


def metadata_files(volume: Volume, output: VolumeOutput) -> dict[str, bytes]:
    """The metadata by key below the root, the same bytes for the same volume; the group's come last.

    A reader finds the volume by the group's: written last, they say that the volume is whole.
    """
    files = {
        f"{scale_at(volume, output, level).key}/{METADATA_KEY}": array_metadata(volume, output, level)
        for level in output.levels
    }
    files[METADATA_KEY] = group_metadata(volume, output)
    return {key: json.dumps(content, indent=1).encode() + b"\n" for key, content in files.items()}


def array_metadata(volume: Volume, output: VolumeOutput, level: int) -> dict[str, Any]:
    """The `zarr.json` of the array of a level."""
    scale = scale_at(volume, output, level)
    channels = [output.n_channels] if output.n_channels > 1 else []
    in_bytes: dict[str, Any] = {"name": "bytes"}
    if output.array.data_type == "uint16":
        in_bytes["configuration"] = {"endian": "little"}
    sharding = {
        "chunk_shape": [*channels, *[scale.chunk] * 3],
        "codecs": [in_bytes, {"name": "gzip", "configuration": {"level": 1}}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [*channels, *reversed(scale.size_xyz)],
        "data_type": output.array.data_type,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [*channels, *reversed(scale.shard_sides)]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": [*("c" for _ in channels), "z", "y", "x"],
        "attributes": {},
    }


def group_metadata(volume: Volume, output: VolumeOutput) -> dict[str, Any]:
    """The `zarr.json` of the group: the axes, and where the voxels of each level lie.

    Positions are in nm, those of voxel centres. The centre of a voxel that covers n voxels of level 0 lies
    (n - 1) / 2 of them further than the centre of the first, which lies at the volume's voxel offset, as in
    the precomputed volumes.
    """
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    if output.n_channels > 1:
        axes.insert(0, {"name": "c", "type": "channel"})
    multiscale = {
        "name": "aligned stack",
        "axes": axes,
        "datasets": [_dataset(volume, output, level) for level in output.levels],
        "type": "mean",
        "metadata": {"description": "Each level is the mean of the finer one, ties rounded to even."},
    }
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"ome": {"version": OME_VERSION, "multiscales": [multiscale]}},
    }


def _dataset(volume: Volume, output: VolumeOutput, level: int) -> dict[str, Any]:
    sides = volume.resolution_at_level(level)
    origins = zip(volume.resolution_nm, sides, volume.voxel_offset_xyz, strict=True)
    centres = [(side - finest) / 2 + first * finest for finest, side, first in origins]
    channels = output.n_channels > 1
    return {
        "path": scale_at(volume, output, level).key,
        "coordinateTransformations": [
            {"type": "scale", "scale": [1.0] * channels + [float(side) for side in reversed(sides)]},
            {"type": "translation", "translation": [0.0] * channels + centres[::-1]},
        ],
    }
