"""The aligned stack between `tile` and `pyramid`: one sharded Zarr v3 array.

A slab of `slab_depth` slices is one shard, one object, with a chunk for each column of 1024 x 1024 tiles.
Every chunk is stored, a black one too, and readers do not fill in: what is missing is an error, never black.
"""

from __future__ import annotations

import json
from typing import Any

from components.shared.grid import TILE, ceil_div
from components.shared.volume import Volume

METADATA_KEY = "zarr.json"


def shard_key(slab: int) -> str:
    """Key of a slab below the array.

    Example:
        >>> shard_key(12)
        'c/12/0/0'
    """
    return f"c/{slab}/0/0"


def array_metadata(volume: Volume) -> dict[str, Any]:
    """The array's `zarr.json`: uint8 `[z, y, x]` (Zarr v3 core and the sharding-indexed codec)."""
    width, height, depth = volume.size_xyz
    slab_shape = [volume.slab_depth, ceil_div(height, TILE) * TILE, ceil_div(width, TILE) * TILE]
    sharding = {
        "chunk_shape": [volume.slab_depth, TILE, TILE],
        "codecs": [
            {"name": "bytes"},
            {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
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
        "shape": [depth, height, width],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": slab_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": ["z", "y", "x"],
        "attributes": {},
    }


def metadata_bytes(volume: Volume) -> bytes:
    """`zarr.json` as every writer writes it, the same bytes for the same volume."""
    return json.dumps(array_metadata(volume), indent=1).encode() + b"\n"


def tile_array_spec(volume: Volume, kvstore: dict[str, Any]) -> dict[str, Any]:
    """The tensorstore spec that opens the tile array; it fails where the stored array is another.

    Args:
        volume: The volume of the run.
        kvstore: The array's folder, such as `open_store(tmp_uri).kvstore(TILES_KEY)`.
    """
    return {
        "driver": "zarr3",
        "kvstore": kvstore,
        "metadata": array_metadata(volume),
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
    }
