"""How many bytes a run writes, and how many of them a worker of the pyramid holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.plan.rates import RATES
from components.plan.work import Work
from components.shared.documents.config import RunConfig
from components.shared.grid import PyramidPass
from components.shared.volume.compression import EQUALIZED, PLAIN, Ratios
from components.shared.volume.formats import scale_at
from components.shared.volume.volume import TileArray, Volume, VolumeOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEstimate:
    """One volume."""

    uri: str
    encoding: str
    n_files: int
    """Shards of all levels, those that hold nothing but black included."""
    raw_bytes: int
    size_bytes: int


def output_estimate(work: Work, output: VolumeOutput) -> OutputEstimate:
    """Files and bytes of an output, all levels."""
    volume = work.volume
    raw_bytes = sum(raw_bytes_at(volume, output, level) for level in output.levels)
    return OutputEstimate(
        uri=output.uri,
        encoding=output.encoding,
        n_files=sum(n_shards_at(volume, output, level) for level in output.levels),
        raw_bytes=raw_bytes,
        size_bytes=round(raw_bytes * _ratio(work.plan.config, output)),
    )


def n_shards_at(volume: Volume, output: VolumeOutput, level: int) -> int:
    """Shards of an output at a level."""
    return math.prod(scale_at(volume, output, level).shard_grid_xyz)


def raw_bytes_at(volume: Volume, output: VolumeOutput, level: int) -> int:
    """Bytes of an output at a level, before it is encoded."""
    bytes_per_channel = output.array.bytes_per_voxel // output.array.n_channels
    return math.prod(volume.size_at_level(level)) * output.n_channels * bytes_per_channel


def tiles_bytes(work: Work) -> int:
    """The aligned tiles."""
    of_a_voxel = sum(
        array.bytes_per_voxel * _ratios(work.plan.config, array).tiles for array in work.volume.arrays
    )
    return round(math.prod(work.volume.size_xyz) * of_a_voxel)


def process_bytes(work: Work) -> int:
    """Records, thumbnails, and the exact blocks that coarse levels are made from."""
    plan, volume = work.plan, work.volume
    thumbnail = work.slice_px() * plan.thumbnail_scale**2 * RATES.thumbnail_ratio
    exact_voxels = sum(math.prod(p.size_at_level(p.levels[-1])) for p in volume.passes[:-1])
    evidence = len(plan.slices) * (thumbnail + RATES.evidence_bytes_per_slice)
    return round(evidence + exact_voxels * work.tiles_bytes_per_px)


def encoded_once(volume: Volume, pyramid_pass: PyramidPass) -> list[tuple[VolumeOutput, int]]:
    """The outputs of a pass at each level; of those with the same chunks, that of the deepest shards."""
    deepest: dict[tuple[str, str, int], VolumeOutput] = {}
    for level in pyramid_pass.levels:
        for output in volume.outputs:
            if level in output.levels:
                key = (output.encoding, output.array.key, level)
                deepest[key] = max(output, deepest.get(key, output), key=lambda o: o.shard_side)
    return [(output, level) for (_, _, level), output in deepest.items()]


def held_bytes(work: Work, output: VolumeOutput, level: int) -> float:
    """Encoded chunks of an output that a worker holds at a level: of a block as deep as a shard."""
    volume = work.volume
    x, y, z = volume.size_at_level(level)
    width, height, depth = volume.pass_at_level(level).block_sides(level)
    shard_depth = scale_at(volume, output, level).shard_sides[2]
    part = min(width, x) * min(height, y) * min(depth, shard_depth, z) / (x * y * z)
    return part * raw_bytes_at(volume, output, level) * _ratio(work.plan.config, output)


def _ratio(config: RunConfig, output: VolumeOutput) -> float:
    ratios = _ratios(config, output.array)
    if output.encoding == "jpeg":
        return ratios.jpeg(output.jpeg_quality)
    return ratios.png if output.encoding == "png" else ratios.gzip


def _ratios(config: RunConfig, array: TileArray) -> Ratios:
    """Of an array of tiles; the raw grey levels are never equalized."""
    return EQUALIZED if config.clip_limit > 0 and array.data_type == "uint8" else PLAIN
