"""The files of an output, whatever its format: metadata, shards, and the shards that a block owns.

A block of a pass owns whole shards at every level, so that blocks are written independently of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import PurePosixPath

from components.shared.grid import PyramidPass, ceil_div
from components.shared.volume import ome_zarr, precomputed
from components.shared.volume.provenance import PROVENANCE_KEY
from components.shared.volume.volume import TileArray, Volume, VolumeOutput

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


def level_metadata(volume: Volume, output: VolumeOutput, level: int) -> tuple[str, bytes]:
    """Key and content of the file that says how the chunks of a level are stored."""
    if output.format == "ome-zarr":
        return ome_zarr.array_file(volume, output, level)
    return precomputed.INFO_KEY, precomputed.info_file(volume, output)


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


def metadata_beside(key: str) -> tuple[str, ...]:
    """Keys of the metadata by which readers find a file of an output or of the aligned tiles.

    Example:
        >>> metadata_beside("8x8x8/0.shard"), metadata_beside("2/c/0/0/0"), metadata_beside("c/3/0/0")
        (('info', 'provenance'), ('2/zarr.json', 'zarr.json'), ('zarr.json',))
        >>> metadata_beside("volume/2/c/0/0/0")
        ('volume/2/zarr.json', 'volume/zarr.json', 'zarr.json')
    """
    if key.endswith(".shard"):
        return (precomputed.INFO_KEY, PROVENANCE_KEY)
    array, is_ome_zarr, _ = key.partition("/c/")
    if is_ome_zarr:
        nodes = [PurePosixPath(array), *PurePosixPath(array).parents]
        return tuple(str(node / ome_zarr.METADATA_KEY) for node in nodes)
    return (ome_zarr.METADATA_KEY,) if key.startswith("c/") else ()


def is_metadata(key: str) -> bool:
    """Whether a key is that of a file by which readers find a volume.

    Example:
        >>> is_metadata("info"), is_metadata("jpeg/info"), is_metadata("2/zarr.json"), is_metadata("a_info")
        (True, True, True, False)
    """
    return key.rpartition("/")[2] in (precomputed.INFO_KEY, PROVENANCE_KEY, ome_zarr.METADATA_KEY)


def exact_key(pyramid_pass: PyramidPass, tiles: TileArray, block: int, layer: int) -> str:
    """Key below the process URI of a layer of chunks of a block's exact last level.

    C-order, [z, y, x] or [channel, z, y, x], clipped to the volume; what the next pass starts from. There is
    one layer where z was halved at each level of the pass, more where it was not.

    Example:
        >>> from components.shared.volume.volume import GREY_TILES
        >>> exact_key(PyramidPass(0, (9, 9, 9), ((0, 0, 0),)), GREY_TILES, 7, 0)
        'pyramid/level-0/7.raw'
    """
    name = f"{block}.raw" if layer == 0 else f"{block}.{layer}.raw"
    bits = "" if tiles.data_type == "uint8" else f"-{tiles.data_type}"
    return f"pyramid/level-{pyramid_pass.levels[-1]}{bits}/{name}"


def exact_keys(volume: Volume, pyramid_pass: PyramidPass, block: int) -> Iterator[str]:
    """Keys below the process URI of what a block of a pass leaves for the next one."""
    last = pyramid_pass.levels[-1]
    (_, _, start), (_, _, stop) = pyramid_pass.block_bounds(block, last)
    for tiles in volume.arrays:
        if any(output.levels[-1] > last for output in volume.outputs if output.array == tiles):
            for layer in range(ceil_div(stop - start, pyramid_pass.chunk)):
                yield exact_key(pyramid_pass, tiles, block, layer)
