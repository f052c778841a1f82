"""The volume of a run: its levels, its outputs, and the slabs and blocks that it is made of.

A volume follows from the plan and the transforms alone, so every step derives the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.shared import grid
from components.shared.documents.plan import PixelType, Plan
from components.shared.documents.transforms import Transforms
from components.shared.errors import ConfigError
from components.shared.storage.store import join_uri
from components.shared.volume.provenance import Provenance

Encoding = Literal["jpeg", "raw", "png"]
"""Encoding of a chunk; `raw` is its voxels as they are, in gzip."""
Format = Literal["precomputed", "ome-zarr"]
OmeZarrVersion = Literal["0.5", "0.6"]
TILES_KEY = "aligned"
"""Folder of the Zarr v3 tile array below the tmp URI."""
RAW_TILES_KEY = "aligned-uint16"
"""Folder of the array of raw grey levels below the tmp URI, where they are kept."""
LOSSLESS_SHARD = 512
"""Side in voxels of a lossless shard, at most: a worker holds four of them, not a block."""
WIDE_LOSSLESS_SHARD = 256
"""Side in voxels of a lossless shard of more than one byte a voxel, at most: a worker holds no more bytes."""
OME_ZARR_SHARD_DEPTH = 2 * grid.VOXEL_CHUNK
"""Depth in voxels of a shard of the OME-Zarr volume, half of it where a voxel has more than one byte; a shard
is as wide and as high as its block."""
MAX_PASSES = 3
"""Passes of a volume, at most: the pipeline has a loop for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileArray:
    """One array of aligned tiles, between `tile` and `pyramid`."""

    key: str
    """Folder of the array below the tmp URI."""
    data_type: PixelType
    n_channels: int

    @property
    def bytes_per_voxel(self) -> int:
        """Bytes of a voxel, all channels together."""
        return self.n_channels * (1 if self.data_type == "uint8" else 2)


GREY_TILES = TileArray(key=TILES_KEY, data_type="uint8", n_channels=1)
"""The one array of aligned tiles of a run on grey slices, unless bits are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeOutput:
    """One volume that a run writes."""

    uri: str
    """Root of the volume, where its `info` or its group's `zarr.json` lies."""
    format: Format = "precomputed"
    ome_zarr_version: OmeZarrVersion = "0.5"
    """Version of its metadata and names, where its format is OME-Zarr."""
    encoding: Encoding
    levels: range
    """Levels that are written, finest first."""
    shard_side: int
    """Side of a shard in voxels, at most, in OME-Zarr its depth; a shard never leaves its block."""
    jpeg_quality: int = 0
    array: TileArray = GREY_TILES
    """Array of aligned tiles that the volume is made from."""
    n_channels: int = 1
    """Number of channels written; they are the first ones of `array`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The volume of a run."""

    size_xyz: grid.SizeXyz
    voxel_offset_xyz: grid.SizeXyz
    """`info`'s voxel_offset at level 0: along each axis what viewers show for the first voxel, along z the
    number of the first slice, where every level can hold it, else 0."""
    resolution_nm: tuple[float, float, float]
    slab_depth: int
    passes: tuple[grid.PyramidPass, ...]
    outputs: tuple[VolumeOutput, ...]
    arrays: tuple[TileArray, ...] = (GREY_TILES,)
    """Arrays of aligned tiles: the first at 8 bit, to look at; a second with raw 16 bit, if they are kept."""
    transforms: Transforms | None = None
    """Places of the slices and what is shown of them; None where only the names of files matter."""
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def n_slabs(self) -> int:
        return grid.ceil_div(self.size_xyz[2], self.slab_depth)

    def slab_z_indices(self, slab: int) -> grid.Span:
        """The z indices of a slab, clipped to the volume."""
        first = slab * self.slab_depth
        return grid.Span(first, min(first + self.slab_depth, self.size_xyz[2]) - 1)

    def slabs_of_block(self, block: int) -> grid.Span:
        """The slabs that a block of the first pass reads."""
        side = self.passes[0].block
        first = self.passes[0].block_position(block)[2] * side
        last = min(first + side, self.size_xyz[2]) - 1
        return grid.Span(first // self.slab_depth, last // self.slab_depth)

    def pass_at_level(self, level: int) -> grid.PyramidPass:
        """The pass that writes a level."""
        return next(p for p in self.passes if level in p.levels)

    def halvings_at_level(self, level: int) -> grid.SizeXyz:
        """Number of halvings of each axis from level 0 to a level."""
        pyramid_pass = self.pass_at_level(level)
        return pyramid_pass.halvings[level - pyramid_pass.base_level]

    def size_at_level(self, level: int) -> grid.SizeXyz:
        return grid.halved(self.size_xyz, self.halvings_at_level(level))

    def resolution_at_level(self, level: int) -> tuple[float, float, float]:
        """Voxel size in nm at a level."""
        halvings = self.halvings_at_level(level)
        x, y, z = (side * 2**k for side, k in zip(self.resolution_nm, halvings, strict=True))
        return x, y, z

    def voxel_offset_at_level(self, level: int) -> grid.SizeXyz:
        """`info`'s voxel_offset at a level, exact at each."""
        halvings = self.halvings_at_level(level)
        x, y, z = (offset >> k for offset, k in zip(self.voxel_offset_xyz, halvings, strict=True))
        return x, y, z


def tile_arrays(plan: Plan) -> tuple[TileArray, ...]:
    """The arrays of aligned tiles that a plan asks for: one at 8 bit, and one at 16 where bits are kept."""
    n_channels = sum(plan.file_channels)
    arrays = [TileArray(key=TILES_KEY, data_type="uint8", n_channels=n_channels)]
    if plan.config.keep_bits and plan.pixel_type == "uint16":
        arrays.append(TileArray(key=RAW_TILES_KEY, data_type="uint16", n_channels=n_channels))
    return tuple(arrays)


def jpeg_channels(file_channels: tuple[int, ...]) -> int:
    """Number of channels of a JPEG volume, which are the first ones: JPEG holds one or three.

    All of them where that fits, else the colours of the first file without alpha, else its first channel.

    Example:
        >>> [jpeg_channels(files) for files in [(1,), (3,), (4,), (1, 1), (1, 1, 1), (3, 1)]]
        [1, 3, 3, 1, 3, 3]
    """
    n_channels = sum(file_channels)
    if n_channels in (1, 3):
        return n_channels
    return 3 if file_channels[0] in (3, 4) else 1


def volume_of(plan: Plan, transforms: Transforms) -> Volume:
    """The volume that a plan and its transforms ask for.

    Raises:
        ConfigError: it would have too many levels.
    """
    config = plan.config
    size = transforms.volume_size_xyz
    passes = _passes(size, plan.resolution_nm)
    n_levels = passes[-1].levels.stop
    first = min(config.output_level, n_levels - 1)
    firsts = zip(transforms.shown_xyz, passes[-1].halvings[-1], strict=True)
    x, y, z = (first if first % 2**k == 0 else 0 for first, k in firsts)
    every_level = range(first, n_levels)
    arrays = tile_arrays(plan)
    shown, exact = arrays[0], arrays[-1]
    is_wide = exact.bytes_per_voxel > 1
    lossless_shard = WIDE_LOSSLESS_SHARD if is_wide else LOSSLESS_SHARD
    outputs = [
        VolumeOutput(
            uri=join_uri(plan.locations.neuroglancer_uri, "jpeg"),
            encoding="jpeg",
            levels=every_level,
            shard_side=grid.BLOCK,
            jpeg_quality=config.jpeg_quality,
            array=shown,
            n_channels=jpeg_channels(plan.file_channels),
        ),
        VolumeOutput(
            uri=plan.locations.chunk_uri,
            encoding=config.lossless_encoding,
            levels=range(first, first + 1),
            shard_side=lossless_shard,
            array=exact,
            n_channels=exact.n_channels,
        ),
    ]
    if config.raw_pyramid:
        outputs.append(
            VolumeOutput(
                uri=join_uri(plan.locations.neuroglancer_uri, "raw"),
                encoding=config.lossless_encoding,
                levels=every_level,
                shard_side=lossless_shard,
                array=exact,
                n_channels=exact.n_channels,
            )
        )
    if config.ome_zarr:
        outputs.append(
            VolumeOutput(
                uri=plan.locations.ome_zarr_uri,
                format="ome-zarr",
                ome_zarr_version=config.ome_zarr_version,
                encoding="raw",
                levels=every_level,
                shard_side=OME_ZARR_SHARD_DEPTH // (1 + is_wide),
                array=exact,
                n_channels=exact.n_channels,
            )
        )
    return Volume(
        size_xyz=size,
        voxel_offset_xyz=(x, y, z),
        resolution_nm=plan.resolution_nm,
        slab_depth=grid.slab_depth(size[0], size[1], sum(array.bytes_per_voxel for array in arrays)),
        passes=passes,
        outputs=tuple(outputs),
        arrays=arrays,
        transforms=transforms,
        provenance=Provenance.of(plan, transforms),
    )


def _passes(size_xyz: grid.SizeXyz, resolution_nm: grid.VoxelXyz) -> tuple[grid.PyramidPass, ...]:
    passes = grid.pyramid_passes(size_xyz, resolution_nm)
    if len(passes) > MAX_PASSES:
        raise ConfigError(
            f"a volume must have at most {MAX_PASSES * grid.LEVELS_PER_PASS} levels; got "
            f"{passes[-1].levels.stop} for {size_xyz} voxels of {resolution_nm} nm. Change "
            "--set 'resolution=[X, Y, Z]'."
        )
    return passes
