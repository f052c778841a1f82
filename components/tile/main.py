"""Warp and contrast-normalise the slices of some slabs and write them as tiles."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

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
from components.tile.contrast import blended, equalized, inverted, to_uint8
from components.tile.planes import planes_of_slices
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
    voxels = np.zeros((len(z_indices), height_px, width_px), np.uint8)
    planes_of = planes_of_slices(transforms, z_indices)
    blended_planes = {plane for plane, z in enumerate(z_indices) if transforms.slices[z].action == "blend"}
    half_done: set[int] = set()
    blending = Lock()

    def show(item: tuple[SliceTransform, list[int]]) -> None:
        shown, planes = item
        if shown.z not in entries:
            raise UserError(
                f"a plane of the volume must show a slice of the plan; got z {shown.z}, which is missing. "
                f"Run compose again."
            )
        picture = read_slice(source, entries[shown.z], plan.pixel_type)
        grey = to_uint8(picture, transforms.intensity_range)
        grey = equalized(inverted(grey) if shown.action == "invert" else grey, plan.config.clip_limit)
        whole = [plane for plane in planes if plane not in blended_planes]
        warped = voxels[whole[0]] if whole else np.empty((height_px, width_px), np.uint8)
        warp_slice(grey, np.array(shown.matrix), warped)
        voxels[whole[1:]] = warped
        for plane in blended_planes.intersection(planes):
            with blending:
                voxels[plane] = blended(voxels[plane], warped) if plane in half_done else warped
                half_done.add(plane)

    with ThreadPoolExecutor(min(_MAX_THREADS, len(os.sched_getaffinity(0)))) as executor:
        list(executor.map(show, planes_of))
    return voxels


if __name__ == "__main__":
    main()
