"""Bytes and files that a run writes, and the encoded bytes that a worker of the pyramid holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.plan.rates import RATES
from components.plan.work import Work
from components.shared.documents.config import RunConfig
from components.shared.grid import PyramidPass
from components.shared.volume.compression import EQUALIZED, PLAIN, Ratios
from components.shared.volume.layout import scale_at
from components.shared.volume.volume import TileArray, Volume, VolumeOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEstimate:
    """Files and bytes of one volume that a run writes, all levels together."""

    uri: str
    encoding: str
    n_files: int
    """Shards, counting those that are all black, which are not written."""
    raw_bytes: int
    """Bytes of the voxels, before they are encoded."""
    size_bytes: int
    """Bytes of the files."""


def output_estimate(work: Work, output: VolumeOutput) -> OutputEstimate:
    """Files and bytes of an output, all levels."""
    volume = work.volume
    raw_bytes = sum(raw_bytes_at(volume, output, level) for level in output.levels)
    return OutputEstimate(
        uri=output.uri,
        encoding=output.encoding,
        n_files=sum(n_shards_at(volume, output, level) for level in output.levels),
        raw_bytes=raw_bytes,
        size_bytes=round(raw_bytes * _ratio_of_output(work.plan.config, output)),
    )


def n_shards_at(volume: Volume, output: VolumeOutput, level: int) -> int:
    """Shards of an output at a level."""
    return math.prod(scale_at(volume, output, level).shard_grid_xyz)


def raw_bytes_at(volume: Volume, output: VolumeOutput, level: int) -> int:
    """Bytes of an output at a level, before it is encoded."""
    bytes_per_channel = output.array.bytes_per_voxel // output.array.n_channels
    return math.prod(volume.size_at_level(level)) * output.n_channels * bytes_per_channel


def tiles_bytes(work: Work) -> int:
    """Bytes of the aligned tiles, encoded."""
    of_a_voxel = sum(
        array.bytes_per_voxel * _ratios_of_array(work.plan.config, array).tiles
        for array in work.volume.arrays
    )
    return round(math.prod(work.volume.size_xyz) * of_a_voxel)


def process_bytes(work: Work) -> int:
    """Bytes of the records, the thumbnails, and the exact blocks that coarse levels are made from."""
    plan, volume = work.plan, work.volume
    thumbnail = work.slice_px() * plan.thumbnail_scale**2
    exact_voxels = sum(math.prod(p.size_at_level(p.levels[-1])) for p in volume.passes[:-1])
    evidence = len(plan.slices) * (thumbnail + RATES.evidence_bytes_per_slice)
    return round(evidence + exact_voxels * work.tiles_bytes_per_px)


def encoded_once(volume: Volume, pyramid_pass: PyramidPass) -> list[tuple[VolumeOutput, int]]:
    """The pairs of an output and a level that a pass encodes.

    Outputs whose chunks have the same bytes are encoded once. The one with the deepest shards stands for
    them, since it holds its chunks longest.
    """
    deepest: dict[tuple[str, str, int], VolumeOutput] = {}
    for level in pyramid_pass.levels:
        for output in volume.outputs:
            if level in output.levels:
                key = (output.encoding, output.array.key, level)
                deepest[key] = max(output, deepest.get(key, output), key=lambda o: o.shard_side)
    return [(output, level) for (_, _, level), output in deepest.items()]


def held_bytes(work: Work, output: VolumeOutput, level: int) -> float:
    """Bytes of encoded chunks that a worker holds for an output at a level, until their shard is whole."""
    volume = work.volume
    x, y, z = volume.size_at_level(level)
    width, height, depth = volume.pass_at_level(level).block_sides(level)
    shard_depth = scale_at(volume, output, level).shard_sides[2]
    part = min(width, x) * min(height, y) * min(depth, shard_depth, z) / (x * y * z)
    return part * raw_bytes_at(volume, output, level) * _ratio_of_output(work.plan.config, output)


def _ratio_of_output(config: RunConfig, output: VolumeOutput) -> float:
    """Encoded over raw bytes of an output."""
    ratios = _ratios_of_array(config, output.array)
    if output.encoding == "jpeg":
        return ratios.jpeg(output.jpeg_quality)
    return ratios.png if output.encoding == "png" else ratios.gzip


def _ratios_of_array(config: RunConfig, array: TileArray) -> Ratios:
    """Compression ratios of an array of tiles; raw grey levels are never equalized."""
    return EQUALIZED if config.clip_limit > 0 and array.data_type == "uint8" else PLAIN
