"""The files of an output, whatever its format: metadata, shards, and the shards that a block owns.

A block of a pass owns whole shards at every level, so that blocks are written independently of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from components.shared.grid import ceil_div
from components.shared.volume import ome_zarr, precomputed
from components.shared.volume.volume import Volume, VolumeOutput

Scale = precomputed.PrecomputedScale | ome_zarr.OmeZarrScale
"""A level of an output, in either format."""


def scale_at(volume: Volume, output: VolumeOutput, level: int) -> Scale:
    """The scale of an output at a level."""
    if output.format == "ome-zarr":
        return ome_zarr.scale_at(volume, output, level)
    return precomputed.scale_at(volume, output, level)


def metadata_files(volume: Volume, output: VolumeOutput) -> dict[str, bytes]:
    """The metadata of an output by key, in the order in which they are to be written.

    A reader finds the volume by the last: once that is there, the volume is published.
    """
    if output.format == "ome-zarr":
        return ome_zarr.metadata_files(volume, output)
    return precomputed.metadata_files(volume, output)


def shards_of_block(volume: Volume, output: VolumeOutput, base_level: int, block: int) -> list[str]:
    """Keys below the output of all shards that a block of a pass owns, an all-black one included.

    A shard that is absent is all black if the record of its block is committed, and missing otherwise.
    """
    return list(_shards_of_block(volume, output, base_level, block))


def _shards_of_block(volume: Volume, output: VolumeOutput, base_level: int, block: int) -> Iterator[str]:
    pyramid_pass = volume.pass_at_level(base_level)
    for level in pyramid_pass.levels:
        if level not in output.levels:
            continue
        scale = scale_at(volume, output, level)
        bounds = zip(*pyramid_pass.block_bounds(block, level), scale.shard_sides, strict=True)
        cells = [range(start // side, ceil_div(stop, side)) for start, stop, side in bounds]
        for z, y, x in product(*reversed(cells)):
            yield scale.shard_key((x, y, z))


def predicted_shards(volume: Volume, output: VolumeOutput) -> dict[str, frozenset[str]]:
    """The shard file names of every scale of an output, by the scale's key, finest first."""
    predicted = {}
    for level in output.levels:
        scale = scale_at(volume, output, level)
        cells = product(*(range(n) for n in scale.shard_grid_xyz))
        keys = (scale.shard_key((x, y, z)) for x, y, z in cells)
        predicted[scale.key] = frozenset(key.removeprefix(f"{scale.key}/") for key in keys)
    return predicted
