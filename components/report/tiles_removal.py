"""Removal of the aligned tiles, which nobody needs when the volume is whole."""

from __future__ import annotations

from components.shared.documents.plan import Plan
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.store import Stat, Store, join_uri
from components.shared.volume.tiles import METADATA_KEY
from components.shared.volume.volume import RAW_TILES_KEY, TILES_KEY
from components.shared.work.records import Output, read_record

_RECORDS = "records/tile/"


def remove_tiles(plan: Plan, process: Store) -> int:
    """Delete the files of the tile arrays that sealed records name; returns their number.

    No other file of the tmp folder is touched, and none outside the arrays, whatever a record says.
    """
    n_removed = 0
    found = in_parallel(lambda record: _tile_outputs(process, record), process.list(_RECORDS))
    outputs = [output for some in found for output in some]
    for key in (TILES_KEY, RAW_TILES_KEY):
        array = open_store(join_uri(plan.locations.tmp_uri, key))
        recorded = {output.key for output in outputs if output.uri == array.uri}
        in_parallel(array.delete, sorted(recorded - {METADATA_KEY}))
        if METADATA_KEY in recorded:  # last: an array that is only partly removed can still be read
            array.delete(METADATA_KEY)
        n_removed += len(recorded)
    return n_removed


def _tile_outputs(process: Store, found: Stat) -> tuple[Output, ...]:
    """Files that a slab's record names; none where the record does not verify."""
    record = read_record(process, "tile", found.key.removeprefix(_RECORDS).removesuffix(".json"))
    return record.outputs if record is not None else ()
