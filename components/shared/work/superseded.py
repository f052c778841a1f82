"""Files that earlier runs on an output have written and that its present volume has no use for.

Another resolution, crop or set of outputs leaves shards, levels and whole volumes behind, and the records
that name them are written over one by one. So `compose`, before the first is, notes in `superseded.json` what
the records name and the new volume does not, and all that the new one may write, for a block that is stopped
before its record. `report` removes what the present volume has not when all its blocks are there. What
`align` has found stays: it holds for its slices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Literal, NamedTuple

from components.shared.documents.locations import Locations
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import SealedDocument
from components.shared.storage.folder import remove_empty_folders
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, join_uri
from components.shared.volume import tiles
from components.shared.volume.layout import (
    exact_keys,
    is_metadata,
    metadata_beside,
    metadata_files,
    predicted_shards,
)
from components.shared.volume.volume import RAW_TILES_KEY, TILES_KEY, Volume
from components.shared.work.places import place_at, place_name
from components.shared.work.records import Record, is_record_key, record_at, record_key, record_keys
from components.shared.work.run import Run

SUPERSEDED_KEY = "superseded.json"
"""Key below the process URI."""


class Place(NamedTuple):
    """An object, by the root that it lies below and its key."""

    uri: str
    key: str


class Superseded(SealedDocument):
    """`process/superseded.json`: files that go when the volume is whole, unless it has them."""

    schema_version: Literal[1] = 1
    files: Mapping[str, tuple[str, ...]]
    """Keys, ascending, by the place that they lie below: its name, by `work.places`, or its URI."""


def files_of_volume(volume: Volume, locations: Locations) -> set[Place]:
    """All files that the units of a volume may write, their records included, and the volume's metadata."""
    places: set[Place] = set()
    for output in volume.outputs:
        uri = open_store(output.uri).uri
        shards = predicted_shards(volume, output)
        places |= {Place(uri, f"{scale}/{name}") for scale, names in shards.items() for name in names}
        places |= {Place(uri, key) for key in metadata_files(volume, output)}
    for array in volume.arrays:
        uri = open_store(join_uri(locations.tmp_uri, array.key)).uri
        places |= {Place(uri, tiles.shard_key(slab, array)) for slab in range(volume.n_slabs)}
        places.add(Place(uri, tiles.METADATA_KEY))
    process = open_store(locations.process_uri).uri
    places |= {Place(process, record_key("tile", str(slab))) for slab in range(volume.n_slabs)}
    for pyramid_pass in volume.passes:
        for block in range(pyramid_pass.n_blocks):
            places.add(Place(process, record_key(f"pyramid/{pyramid_pass.base_level}", str(block))))
            places |= {Place(process, key) for key in exact_keys(volume, pyramid_pass, block)}
    return places


def recorded_files(
    process: Store, locations: Locations, steps: Iterable[str] = ("tile", "pyramid")
) -> set[Place]:
    """The records of steps that write a volume, what those that verify name, and the metadata beside it.

    A record that names a place where no run on this output writes is not believed.
    """
    keys = [key for step in steps for key in record_keys(process, step)]
    places = {Place(process.uri, key) for key in keys}
    for record in in_parallel(lambda key: record_at(process, key), keys):
        places |= files_of_record(record) if record is not None else set()
    return _written_by_runs(places, locations)


def files_of_record(record: Record) -> set[Place]:
    """The files that a record names, and the metadata beside them."""
    return {
        Place(output.uri, key)
        for output in record.outputs
        for key in (output.key, *metadata_beside(output.key))
    }


def noted_files(process: Store, locations: Locations) -> set[Place]:
    """The files that `superseded.json` names; none where there is no such document.

    Raises:
        UserError: it is damaged, or not of this version.
    """
    return _written_by_runs(noted_places(process), locations)


def noted_places(process: Store) -> set[Place]:
    """The files that `superseded.json` names, where they lie now; also those where no run would write.

    Raises:
        UserError: it is damaged, or not of this version.
    """
    if process.stat(SUPERSEDED_KEY) is None:
        return set()
    noted = read_document(process, SUPERSEDED_KEY, Superseded).files
    by_uri = [(place_at(name, process.uri), keys) for name, keys in noted.items()]
    return {Place(uri, key) for uri, keys in by_uri for key in keys}


def superseded_files(run: Run) -> set[Place]:
    """The files in an output that an earlier run has written and this one will not.

    Raises:
        UserError: `superseded.json` is damaged, or not of this version.
    """
    locations = run.plan.locations
    found = noted_files(run.process, locations) | recorded_files(run.process, locations)
    return found - files_of_volume(run.volume, locations) if found else found


def note_superseded(process: Store, superseded: Collection[Place]) -> None:
    """Have `superseded.json` name these files; it is written where it is to name others than it does."""
    there = process.stat(SUPERSEDED_KEY) is not None
    named = ((place_name(uri, process.uri), keys) for uri, keys in _by_uri(superseded))
    data = Superseded(files=dict(sorted(named))).to_json()
    if (there and process.read(SUPERSEDED_KEY) != data) or (superseded and not there):
        process.write(SUPERSEDED_KEY, data)


def note_all(process: Store, locations: Locations) -> None:
    """Have `superseded.json` name all that records name: call it before records are removed.

    `compose` takes back what the new volume needs.
    """
    note_superseded(process, noted_files(process, locations) | recorded_files(process, locations))


def waiting_files(run: Run) -> set[Place]:
    """The files that `superseded.json` names and the present volume has not."""
    locations = run.plan.locations
    return noted_files(run.process, locations) - files_of_volume(run.volume, locations)


def remove_superseded(run: Run) -> int:
    """Remove the files that `superseded.json` names, and then itself; returns their number.

    Call it when every block is of the present volume. Metadata go first, so that nobody sees half a volume.
    """
    if run.process.stat(SUPERSEDED_KEY) is None:
        return 0
    superseded = waiting_files(run)
    metadata = {place for place in superseded if is_metadata(place.key)}
    records = {place for place in superseded if is_record_key(place.key)}
    for some in (metadata, superseded - metadata - records, records):
        for uri, keys in _by_uri(some):
            in_parallel(open_store(uri).delete, keys)
            remove_empty_folders(uri, keys)
    run.process.delete(SUPERSEDED_KEY)
    return len(superseded)


def _written_by_runs(places: Iterable[Place], locations: Locations) -> set[Place]:
    """Those of some places where a run on this output writes parts of a volume."""
    arrays = [join_uri(locations.tmp_uri, key) for key in (TILES_KEY, RAW_TILES_KEY)]
    browsed = [join_uri(locations.neuroglancer_uri, name) for name in ("jpeg", "raw")]
    roots = {open_store(uri).uri for uri in (*browsed, locations.chunk_uri, locations.ome_zarr_uri, *arrays)}
    process = open_store(locations.process_uri).uri
    return {
        place
        for place in places
        if place.uri in roots or (place.uri == process and place.key.startswith(("records/", "pyramid/")))
    }


def _by_uri(places: Iterable[Place]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for uri, some in groupby(sorted(places), key=lambda place: place.uri):
        yield uri, tuple(place.key for place in some)
