"""What is written for a volume: its levels, its outputs, and where each block's work lies.

Follows from the plan and the transforms alone, so every step derives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.shared import grid
from components.shared.documents import Plan, Transforms
from components.shared.storage import join_uri

Encoding = Literal["jpeg", "raw"]
TILES_KEY = "aligned"
"""Folder of the Zarr v3 tile array below the tmp URI."""
LOSSLESS_SHARD = 512
"""Greatest side in voxels of a lossless shard: a worker holds four, not a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeOutput:
    """One precomputed volume that a run writes."""

    uri: str
    """Root of the volume, where its `info` lies."""
    encoding: Encoding
    levels: range
    """Levels that are written, finest first."""
    shard_side: int
    """Greatest side of a shard in voxels; a shard never leaves its block."""
    jpeg_quality: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The volume of a run."""

    size_xyz: grid.SizeXyz
    voxel_offset_xyz: grid.SizeXyz
    """`info`'s voxel_offset at level 0: the slice numbers where every level can hold them, else 0."""
    resolution_nm: tuple[float, float, float]
    slab_depth: int
    passes: tuple[grid.PyramidPass, ...]
    outputs: tuple[VolumeOutput, ...]

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
        return next(p for p in self.passes if p.base_level <= level < p.base_level + p.n_levels)

    def size_at_level(self, level: int) -> grid.SizeXyz:
        return grid.size_at_level(self.size_xyz, level)

    def resolution_at_level(self, level: int) -> tuple[float, float, float]:
        """Voxel size in nm at a level."""
        x, y, z = (side * 2**level for side in self.resolution_nm)
        return x, y, z


def volume_of(plan: Plan, transforms: Transforms) -> Volume:
    """The volume that a plan and its transforms ask for."""
    config = plan.config
    size = transforms.volume_size_xyz
    n_levels = grid.n_levels(size)
    first = min(config.output_level, n_levels - 1)
    z_origin = transforms.volume_origin_xyz_px[2]
    keeps_numbers = z_origin % 2 ** (n_levels - 1) == 0
    every_level = range(first, n_levels)
    outputs = [
        VolumeOutput(
            uri=join_uri(plan.locations.neuroglancer_uri, "jpeg"),
            encoding="jpeg",
            levels=every_level,
            shard_side=grid.BLOCK,
            jpeg_quality=config.jpeg_quality,
        ),
        VolumeOutput(
            uri=plan.locations.chunk_uri,
            encoding="raw",
            levels=range(first, first + 1),
            shard_side=LOSSLESS_SHARD,
        ),
    ]
    if config.raw_pyramid:
        outputs.append(
            VolumeOutput(
                uri=join_uri(plan.locations.neuroglancer_uri, "raw"),
                encoding="raw",
                levels=every_level,
                shard_side=LOSSLESS_SHARD,
            )
        )
    return Volume(
        size_xyz=size,
        voxel_offset_xyz=(0, 0, z_origin if keeps_numbers else 0),
        resolution_nm=config.resolution,
        slab_depth=grid.slab_depth(size[0], size[1]),
        passes=tuple(grid.pyramid_passes(size)),
        outputs=tuple(outputs),
    )
