"""Warp and contrast-normalise the slices of some slabs and write them as tiles."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import click
import cv2
import numpy as np

from components.shared.command import StepCommand
from components.shared.cores import available_cores
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, SliceTransform, Transforms
from components.shared.errors import ConfigError, UserError
from components.shared.geometry import Matrix
from components.shared.grid import Span
from components.shared.pictures.slice_files import Picture, read_channels
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, checksum, join_uri
from components.shared.volume import tiles
from components.shared.volume.volume import TileArray, Volume, volume_of
from components.shared.work import records, units
from components.tile.channels import slice_channels
from components.tile.contrast import blended
from components.tile.planes import planes_of_slices
from components.tile.shard import shard_bytes
from components.tile.warp import warp_slice

_MAX_THREADS = 4
"""Each holds a slice and its spline coefficients: six bytes a pixel and the file, up to eleven of RGB."""
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
    wanted = _parse_slabs(slabs, volume)
    stores = {array: open_store(join_uri(plan.locations.tmp_uri, array.key)) for array in volume.arrays}
    metadata = [_write_metadata(store, volume, array) for array, store in stores.items()]
    for slab in wanted:
        unit, expected_hash = str(slab), units.slab_hash(plan, transforms, volume, slab)
        if records.is_done(process, "tile", unit, expected_hash):
            log.info("slab %d is done", slab)
            continue
        written = _write_slab(stores, slab, plan, transforms)
        outputs = (*metadata, *written)
        record = records.Record(step="tile", unit=unit, input_hash=expected_hash, outputs=outputs)
        records.commit(process, record)
        log.info("slab %d written, %.1f MB", slab, sum(output.size_bytes for output in written) / 1e6)


def _parse_slabs(text: str, volume: Volume) -> Span:
    try:
        slabs = Span.parse(text)
    except ValueError as error:
        raise ConfigError(f"'--slabs': {error}. Give two numbers.") from None
    if slabs.last >= volume.n_slabs:
        raise ConfigError(f"'--slabs' must lie in 0-{volume.n_slabs - 1}; got {text}. Give other numbers.")
    return slabs


def _write_metadata(store: Store, volume: Volume, array: TileArray) -> records.Output:
    """Write `zarr.json`, the same in every call; not again, since a bucket limits writes of one object."""
    key, data = tiles.METADATA_KEY, tiles.metadata_bytes(volume, array)
    if store.stat(key) is None or store.read(key) != data:
        return records.write_output(store, key, data)
    return records.Output(uri=store.uri, key=key, size_bytes=len(data), crc32c=checksum(data))


def _write_slab(
    stores: dict[TileArray, Store], slab: int, plan: Plan, transforms: Transforms
) -> list[records.Output]:
    volume = volume_of(plan, transforms)
    voxels = make_slab(plan, transforms, slab)
    written = []
    for array, store in stores.items():
        shard = shard_bytes(volume, array, slab, voxels.pop(array))
        written.append(records.write_output(store, tiles.shard_key(slab, array), shard))
    return written


def make_slab(plan: Plan, transforms: Transforms, slab: int) -> dict[TileArray, Picture]:
    """The voxels of a slab for each array of tiles, `[channel, z, y, x]`, clipped to the volume.

    Raises:
        UserError: a slice cannot be read, or a plane has no slice to show.
    """
    volume = volume_of(plan, transforms)
    source = open_store(plan.locations.source_uri)
    entries = {entry.z: entry for entry in plan.slices}
    z_indices = volume.slab_z_indices(slab)
    width_px, height_px, _ = volume.size_xyz
    shape_zyx = (len(z_indices), height_px, width_px)
    voxels: dict[TileArray, Picture] = {
        array: np.zeros((array.n_channels, *shape_zyx), array.data_type) for array in volume.arrays
    }
    intensity_ranges = (transforms.intensity_range, *plan.more_intensity_ranges)
    blended_planes = {plane for plane, z in enumerate(z_indices) if transforms.slices[z].action == "blend"}
    blending = Lock()

    def show(item: tuple[SliceTransform, list[int]]) -> None:
        shown, planes = item
        if shown.z not in entries:
            raise UserError(
                f"a plane of the volume must show a slice of the plan; got z {shown.z}, which is missing. "
                f"Run compose again."
            )
        files = read_channels(source, entries[shown.z], plan.pixel_type, plan.reading)
        for array, slab_voxels in voxels.items():
            channels = slice_channels(array, files, intensity_ranges, plan.config.clip_limit, shown.action)
            for channel, channel_voxels in zip(channels, slab_voxels, strict=True):
                show_channel(channel, np.array(shown.matrix), channel_voxels, planes)

    def show_channel(channel: Picture, matrix: Matrix, out: Picture, planes: list[int]) -> None:
        whole = [plane for plane in planes if plane not in blended_planes]
        warped = out[whole[0]] if whole else np.empty((height_px, width_px), out.dtype)
        warp_slice(channel, matrix, warped)
        out[whole[1:]] = warped
        for plane in blended_planes.intersection(planes):
            with blending:
                # An untouched plane is black, and a blend with black is the other one alone.
                out[plane] = blended(out[plane], warped)

    with ThreadPoolExecutor(min(_MAX_THREADS, available_cores())) as executor:
        list(executor.map(show, planes_of_slices(transforms, z_indices)))
    return voxels


if __name__ == "__main__":
    main()
