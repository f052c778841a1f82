"""Makes a verified volume visible, withdraws one that is not whole, and clears the tiles away."""

from __future__ import annotations

import json
from collections.abc import Iterator

from components.shared.documents import Plan
from components.shared.precomputed import info
from components.shared.records import Output, read_record
from components.shared.storage import Store, join_uri, open_store
from components.shared.tiles import METADATA_KEY
from components.shared.volume import TILES_KEY, Volume

INFO_KEY = "info"


def publish(volume: Volume) -> None:
    """Write `info` of every output: from now on viewers find the volume."""
    for output in volume.outputs:
        body = json.dumps(info(volume, output), indent=1) + "\n"
        open_store(output.uri).write(INFO_KEY, body.encode())


def withdraw(volume: Volume) -> list[str]:
    """Remove each `info` of an earlier run; returns the URIs of the volumes that had one."""
    withdrawn = []
    for output in volume.outputs:
        store = open_store(output.uri)
        if store.stat(INFO_KEY) is not None:
            store.delete(INFO_KEY)
            withdrawn.append(output.uri)
    return withdrawn


def remove_tiles(plan: Plan, process: Store) -> int:
    """Delete the files of the tile array that sealed records name; returns their number.

    No other file of the tmp folder is touched, and none outside the array, whatever a record says.
    """
    array = open_store(join_uri(plan.locations.tmp_uri, TILES_KEY))
    recorded = {output.key for output in _tile_outputs(process) if output.uri == array.uri}
    # The metadata go last: an array that is only partly removed can still be read.
    for key in sorted(recorded, key=lambda key: (key == METADATA_KEY, key)):
        array.delete(key)
    return len(recorded)


def _tile_outputs(process: Store) -> Iterator[Output]:
    for found in process.list("records/tile/"):
        unit = found.key.removeprefix("records/tile/").removesuffix(".json")
        record = read_record(process, "tile", unit)
        if record is not None:
            yield from record.outputs
