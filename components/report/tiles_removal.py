"""Removal of the aligned tiles, which nobody needs when the volume is whole."""

from __future__ import annotations

from components.shared.documents.plan import Plan
from components.shared.storage.folder import remove_empty_folders
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, join_uri
from components.shared.volume.tiles import METADATA_KEY, shard_key
from components.shared.volume.volume import RAW_TILES_KEY, TILES_KEY, Volume
from components.shared.work.superseded import recorded_files


def remove_tiles(plan: Plan, volume: Volume, process: Store) -> int:
    """Delete the files of the tile arrays that the volume or sealed records name; returns their number.

    No other file of the tmp folder is touched, and none outside the arrays, whatever a record says.
    """
    n_removed = 0
    recorded = recorded_files(process, plan.locations, ("tile",))
    for key in (TILES_KEY, RAW_TILES_KEY):
        store = open_store(join_uri(plan.locations.tmp_uri, key))
        named = {place.key for place in recorded if place.uri == store.uri}
        for array in volume.arrays:
            if array.key == key:
                named |= {METADATA_KEY, *(shard_key(slab, array) for slab in range(volume.n_slabs))}
        in_parallel(store.delete, sorted(named - {METADATA_KEY}))
        if METADATA_KEY in named:  # last: an array that is only partly removed can still be read
            store.delete(METADATA_KEY)
        remove_empty_folders(plan.locations.tmp_uri, (f"{key}/{name}" for name in named))
        n_removed += len(named)
    return n_removed
