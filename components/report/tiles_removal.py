"""Clears the aligned tiles away when the volume is whole."""

from __future__ import annotations

from collections.abc import Iterator

from components.shared.documents import Plan
from components.shared.records import Output, read_record
from components.shared.storage import Store, join_uri, open_store
from components.shared.tiles import METADATA_KEY
from components.shared.volume import RAW_TILES_KEY, TILES_KEY


def remove_tiles(plan: Plan, process: Store) -> int:
    """Delete the files of the tile arrays that sealed records name; returns their number.

    No other file of the tmp folder is touched, and none outside the arrays, whatever a record says.
    """
    outputs = list(_tile_outputs(process))
    n_removed = 0
    for key in (TILES_KEY, RAW_TILES_KEY):
        array = open_store(join_uri(plan.locations.tmp_uri, key))
        recorded = {output.key for output in outputs if output.uri == array.uri}
        # The metadata go last: an array that is only partly removed can still be read.
        for file in sorted(recorded, key=lambda file: (file == METADATA_KEY, file)):
            array.delete(file)
        n_removed += len(recorded)
    return n_removed


def _tile_outputs(process: Store) -> Iterator[Output]:
    for found in process.list("records/tile/"):
        unit = found.key.removeprefix("records/tile/").removesuffix(".json")
        record = read_record(process, "tile", unit)
        if record is not None:
            yield from record.outputs
