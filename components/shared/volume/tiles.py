"""The aligned stack between `tile` and `pyramid`: a sharded Zarr v3 array, or two.

The first array is at 8 bit, to look at. Where the bits of 16-bit slices are kept, a second one has their raw
grey levels. An array of several channels is `[channel, z, y, x]`, of one `[z, y, x]`.

A slab of `slab_depth` slices is one shard, one object, with a chunk for each column of 1024 x 1024 tiles.
Every chunk is stored, a black one too, and readers do not fill in: what is missing is an error, never black.
"""

from __future__ import annotations

import json
from typing import Any

from components.shared.grid import TILE, ceil_div
from components.shared.storage.store import ObjectMissingError, Store
from components.shared.volume.volume import TileArray, Volume

METADATA_KEY = "zarr.json"
ZSTD_LEVEL = 1
"""Level at which tiles are compressed: they are read once, and soon."""


def shard_key(slab: int, array: TileArray) -> str:
    """Key of a slab below the array.

    Example:
        >>> shard_key(12, TileArray(key="aligned", data_type="uint8", n_channels=1))
        'c/12/0/0'
    """
    return f"c/{slab}/0/0" if array.n_channels == 1 else f"c/0/{slab}/0/0"


def array_metadata(volume: Volume, array: TileArray) -> dict[str, Any]:
    """The array's `zarr.json` (Zarr v3 core and the sharding-indexed codec)."""
    width, height, depth = volume.size_xyz
    channels = [] if array.n_channels == 1 else [array.n_channels]
    in_bytes: dict[str, Any] = {"name": "bytes"}
    if array.data_type == "uint16":
        in_bytes["configuration"] = {"endian": "little"}
    slab_shape = [*channels, volume.slab_depth, ceil_div(height, TILE) * TILE, ceil_div(width, TILE) * TILE]
    sharding = {
        "chunk_shape": [*channels, volume.slab_depth, TILE, TILE],
        "codecs": [
            in_bytes,
            {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
            {"name": "crc32c"},
        ],
        "index_codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [*channels, depth, height, width],
        "data_type": array.data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": slab_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": [*("channel" for _ in channels), "z", "y", "x"],
        "attributes": {},
    }


def metadata_bytes(volume: Volume, array: TileArray) -> bytes:
    """`zarr.json` as every writer writes it, the same bytes for the same volume."""
    return json.dumps(array_metadata(volume, array), indent=1).encode() + b"\n"


def tiles_in_the_way(store: Store, volume: Volume, array: TileArray) -> list[str]:
    """Keys of tiles of an earlier array with another number of axes: a file lies where a folder is to be.

    Args:
        store: Store of the array.
        volume: The volume of the run.
        array: The array as it is to be.
    """
    try:
        shape = json.loads(store.read(METADATA_KEY))["shape"]
    except (ObjectMissingError, ValueError, KeyError, TypeError):
        return []
    if not isinstance(shape, list) or len(shape) == len(array_metadata(volume, array)["shape"]):
        return []
    return [stat.key for stat in store.list("c/")]


def tile_array_spec(volume: Volume, array: TileArray, kvstore: dict[str, Any]) -> dict[str, Any]:
    """The tensorstore spec that opens the tile array; it fails where the stored array is another.

    Args:
        volume: The volume of the run.
        array: One of its arrays.
        kvstore: The array's folder, such as `open_store(tmp_uri).kvstore(array.key)`.
    """
    return {
        "driver": "zarr3",
        "kvstore": kvstore,
        "metadata": array_metadata(volume, array),
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
    }
