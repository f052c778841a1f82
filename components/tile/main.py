"""Warp and contrast-normalise the slices of some slabs and write them as tiles."""

from __future__ import annotations

import logging
from itertools import count

import click
import cv2

from components.shared.command import SpanType, StepCommand
from components.shared.documents.plan import SourceSlice
from components.shared.errors import ConfigError
from components.shared.grid import Span
from components.shared.pictures.grey_levels import Picture
from components.shared.pictures.slice_files import read_channels
from components.shared.storage.folder import remove_empty_folders
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, checksum, join_uri
from components.shared.stub.program import or_stub
from components.shared.volume import tiles
from components.shared.volume.volume import TileArray, Volume
from components.shared.work import records
from components.shared.work.run import Run
from components.tile.slab import make_slab, planes_of_slices, shard_parts, slices_of_planes

log = logging.getLogger(__name__)


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option(
    "--slabs",
    required=True,
    type=SpanType(lambda error: ConfigError(f"'--slabs': {error}. Give two numbers.")),
    help="Range of slabs, such as 0-3.",
)
@or_stub("tile")
def main(process_uri: str, slabs: Span) -> None:
    """Warp and contrast-normalise the slices of some slabs and write them as tiles."""
    cv2.setNumThreads(1)
    process = open_store(process_uri)
    run = Run.read(process)
    _check_slabs(slabs, run.volume)
    tmp_uri = run.plan.locations.tmp_uri
    stores = {array: open_store(join_uri(tmp_uri, array.key)) for array in run.volume.arrays}
    metadata = [_write_metadata(store, run.volume, array) for array, store in stores.items()]
    for slab in slabs:
        unit, expected_hash = str(slab), run.slab_hash(slab)
        if records.is_done(process, "tile", unit, expected_hash):
            log.info("slab %d is done", slab)
            continue
        written = _write_slab(stores, slab, run)
        outputs = (*metadata, *written)
        record = records.Record(step="tile", unit=unit, input_hash=expected_hash, outputs=outputs)
        records.commit(process, record)
        log.info("slab %d written, %.1f MB", slab, sum(output.size_bytes for output in written) / 1e6)


def _check_slabs(slabs: Span, volume: Volume) -> None:
    if slabs.last >= volume.n_slabs:
        raise ConfigError(f"'--slabs' must lie in 0-{volume.n_slabs - 1}; got {slabs}. Give other numbers.")


def _write_metadata(store: Store, volume: Volume, array: TileArray) -> records.Output:
    """Write `zarr.json`, the same in every call; not again, since a bucket limits writes of one object."""
    key, data = tiles.METADATA_KEY, tiles.metadata_bytes(volume, array)
    if store.stat(key) is None or store.read(key) != data:
        in_the_way = tiles.tiles_in_the_way(store, volume, array)
        for other in in_the_way:
            store.delete(other)
        remove_empty_folders(store.uri, in_the_way, keep_root=True)
        return records.write_output(store, key, data)
    return records.Output(uri=store.uri, key=key, size_bytes=len(data), crc32c=checksum(data))


def _write_slab(stores: dict[TileArray, Store], slab: int, run: Run) -> list[records.Output]:
    """Make a slab and write its shard in each array."""
    plan = run.plan
    source = open_store(plan.locations.source_uri)
    z_indices = run.volume.slab_z_indices(slab)
    planes_of = [planes_of_slices(run.transforms, z_indices, array) for array in run.volume.arrays]
    n_slices = len(slices_of_planes(run.transforms, planes_of))
    numbers = count(1)  # of slices that several threads read

    def read(entry: SourceSlice) -> list[Picture]:
        pictures = read_channels(source, entry, plan.pixel_type, plan.reading)
        log.info("slab %d: slice %d read, %d of %d", slab, entry.z, next(numbers), n_slices)
        return pictures

    voxels = make_slab(plan, run.transforms, run.volume, slab, read)
    written = []
    for array, store in stores.items():
        parts = shard_parts(run.volume, array, voxels.pop(array))
        written.append(records.write_output(store, tiles.shard_key(slab, array), *parts))
    return written


if __name__ == "__main__":
    main()
