"""Warp and contrast-normalise the slices of some slabs and write them as tiles."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared import records, tiles, units
from components.shared.command import StepCommand
from components.shared.documents import PLAN_KEY, TRANSFORMS_KEY, Plan, SliceTransform, Transforms
from components.shared.errors import ConfigError, UserError
from components.shared.grid import Span
from components.shared.imageio import read_slice
from components.shared.reading import read_document
from components.shared.storage import Store, checksum, join_uri, open_store
from components.shared.volume import TILES_KEY, Volume, volume_of
from components.tile.contrast import equalized, to_uint8
from components.tile.shard import shard_bytes
from components.tile.warp import warp_slice

_MAX_THREADS = 4
"""Each holds a slice and its spline coefficients: six bytes a pixel and the file."""
log = logging.getLogger(__name__)


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option("--slabs", required=True, help="Range of slabs, such as 0-3.")
def main(process_uri: str, slabs: str) -> None:
    """Warp and contrast-normalise the slices of some slabs and write them as tiles."""
    cv2.setNumThreads(1)
    process = open_store(process_uri)
    plan = read_document(process, PLAN_KEY, Plan)
    transforms = read_document(process, TRANSFORMS_KEY, Transforms)
    volume = volume_of(plan, transforms)
    array_store = open_store(join_uri(plan.locations.tmp_uri, TILES_KEY))
    wanted = _parse_slabs(slabs, volume)
    metadata = _write_metadata(array_store, volume)
    for slab in wanted:
        unit, expected_hash = str(slab), units.slab_hash(plan, transforms, volume, slab)
        if records.is_done(process, "tile", unit, expected_hash):
            log.info("slab %d is done", slab)
            continue
        written = _write_slab(array_store, slab, plan, transforms)
        outputs = (metadata, written)
        record = records.Record(step="tile", unit=unit, input_hash=expected_hash, outputs=outputs)
        records.commit(process, record)
        log.info("slab %d written, %.1f MB", slab, written.size_bytes / 1e6)


def _parse_slabs(text: str, volume: Volume) -> Span:
    try:
        slabs = Span.parse(text)
    except ValueError as error:
        raise ConfigError(f"'--slabs': {error}. Give two numbers.") from None
    if slabs.last >= volume.n_slabs:
        raise ConfigError(f"'--slabs' must lie in 0-{volume.n_slabs - 1}; got {text}. Give other numbers.")
    return slabs


def _write_metadata(array_store: Store, volume: Volume) -> records.Output:
    """Write `zarr.json`, the same in every call; not again, since a bucket limits writes of one object."""
    key, data = tiles.METADATA_KEY, tiles.metadata_bytes(volume)
    if array_store.stat(key) is None or array_store.read(key) != data:
        return records.write_output(array_store, key, data)
    return records.Output(uri=array_store.uri, key=key, size_bytes=len(data), crc32c=checksum(data))


def _write_slab(array_store: Store, slab: int, plan: Plan, transforms: Transforms) -> records.Output:
    volume = volume_of(plan, transforms)
    shard = shard_bytes(volume, slab, make_slab(plan, transforms, slab))
    return records.write_output(array_store, tiles.shard_key(slab), shard)


def make_slab(plan: Plan, transforms: Transforms, slab: int) -> NDArray[np.uint8]:
    """The voxels of a slab, `[z, y, x]`, clipped to the volume.

    Raises:
        UserError: a slice cannot be read, or a plane has no slice to show.
    """
    volume = volume_of(plan, transforms)
    source = open_store(plan.locations.source_uri)
    entries = {entry.z: entry for entry in plan.slices}
    z_indices = volume.slab_z_indices(slab)
    width_px, height_px, _ = volume.size_xyz
    voxels = np.empty((len(z_indices), height_px, width_px), np.uint8)

    def show(item: tuple[SliceTransform, list[int]]) -> None:
        shown, planes = item
        if shown.z not in entries:
            raise UserError(
                f"a plane of the volume must show a slice of the plan; got z {shown.z}, which is missing. "
                f"Run compose again."
            )
        picture = read_slice(source, entries[shown.z], plan.pixel_type)
        grey = equalized(to_uint8(picture, transforms.intensity_range), plan.config.clip_limit)
        warp_slice(grey, np.array(shown.matrix), voxels[planes[0]])
        voxels[planes[1:]] = voxels[planes[0]]

    with ThreadPoolExecutor(min(_MAX_THREADS, len(os.sched_getaffinity(0)))) as executor:
        list(executor.map(show, _planes_of_slices(transforms, z_indices)))
    return voxels


def _planes_of_slices(transforms: Transforms, z_indices: Span) -> list[tuple[SliceTransform, list[int]]]:
    """Each slice that a slab shows, with the planes of the slab that show it: its own, or replaced ones."""
    first_z = transforms.slices[0].z
    planes_of: dict[int, list[int]] = {}
    for plane, z_index in enumerate(z_indices):
        entry = transforms.slices[z_index]
        shown_z = entry.z
        if entry.action == "replace" and entry.replaced_from is not None:
            shown_z = entry.replaced_from
        planes_of.setdefault(shown_z, []).append(plane)
    return [(transforms.slices[z - first_z], planes) for z, planes in planes_of.items()]


if __name__ == "__main__":
    main()
