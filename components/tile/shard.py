"""The bytes of one slab of a tile array."""

from __future__ import annotations

import tensorstore

from components.shared.pictures.slice_files import Picture
from components.shared.volume.tiles import shard_key, tile_array_spec
from components.shared.volume.volume import TileArray, Volume


def shard_bytes(volume: Volume, tiles: TileArray, slab: int, voxels: Picture) -> bytes:
    """The shard that holds a slab, built in memory, the same bytes for the same voxels.

    Args:
        volume: The volume of the run.
        tiles: One of its arrays.
        slab: Index of the slab.
        voxels: `[channel, z, y, x]`, the slab clipped to the volume.
    """
    context = tensorstore.Context({"data_copy_concurrency": {"limit": 2}})
    memory = tensorstore.KvStore.open({"driver": "memory"}, context=context).result()
    spec = tile_array_spec(volume, tiles, {"driver": "memory"})
    array = tensorstore.open(spec, create=True, context=context).result()
    z_indices = volume.slab_z_indices(slab)
    planes = array[..., z_indices.first : z_indices.last + 1, :, :]
    planes.write(voxels.reshape(planes.shape), can_reference_source_data_indefinitely=True).result()
    del voxels, planes, array  # a caller that keeps no slab frees up to 512 MiB before the bytes are copied
    data: bytes = memory[shard_key(slab, tiles)]
    return data
