"""A slab of aligned tiles: slices are read once, shown on the planes that the transforms name, and encoded.

*Blend*: a plane that is to be blended shows two slices. Each is put there as it comes, in any order, as the
mean with what the plane shows already; an untouched plane is black (0), and the mean with black is the other
picture alone. So neither slice waits for the other, and where one of them does not reach, the other is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import imagecodecs
import numpy as np

from components.shared.cores import available_cores
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.errors import UserError
from components.shared.grid import TILE, Span
from components.shared.limits import limit
from components.shared.pictures.grey_levels import Picture
from components.shared.volume.tiles import ZSTD_LEVEL
from components.shared.volume.volume import TILES_KEY, TileArray, Volume
from components.shared.volume.zarr_shard import assemble_zarr_shard, crc32c
from components.tile.contrast import blended, slice_channels
from components.tile.warp import warp_slice


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabLimits:
    """Limits of the slices that are in work at a time while a slab is filled."""

    max_threads: int = limit(
        4,
        unit="slices",
        why="a slice in work holds its file and its spline coefficients: 6 bytes a pixel, up to 11 of RGB",
        measured_on="benchmarks/end_to_end: 1,177 MiB at 8192 x 8192 px on 2 cores; the default pod has 4 GB",
        too_small="cores of larger machines wait",
        too_large="a pod of many cores is killed for its memory",
    )


LIMITS = SlabLimits()
ReadSlice = Callable[[SourceSlice], Sequence[Picture]]
"""Reads the pictures of a slice, one for each of its files."""


def make_slab(
    plan: Plan, transforms: Transforms, volume: Volume, slab: int, read: ReadSlice
) -> dict[TileArray, Picture]:
    """The voxels of a slab for each array of tiles, `[channel, z, y, x]`, clipped to the volume.

    Args:
        plan: The plan of the run.
        transforms: Where each slice lies, and what each plane shows.
        volume: The volume that they lead to.
        slab: Index of the slab.
        read: Reads the pictures of a slice.

    Raises:
        UserError: a slice cannot be read, or a plane shows a slice that the plan does not have.
    """
    z_indices = volume.slab_z_indices(slab)
    blends = {plane for plane, z in enumerate(z_indices) if transforms.plane(z).action == "blend"}
    width_px, height_px, _ = volume.size_xyz
    shape_zyx = (len(z_indices), height_px, width_px)
    arrays = {array: _SlabArray(array, shape_zyx, blends) for array in volume.arrays}
    entries = {entry.z: entry for entry in plan.slices}
    intensity_ranges = (transforms.intensity_range, *plan.more_intensity_ranges)

    planes_of = {array: planes_of_slices(transforms, z_indices, array) for array in volume.arrays}

    def show(shown: SliceTransform) -> None:
        if shown.z not in entries:
            raise UserError(
                f"a plane of the volume must show a slice of the plan; got z {shown.z}, which is missing. "
                f"Give the same command again."
            )
        files = read(entries[shown.z])
        for array, in_slab in arrays.items():
            planes = planes_of[array].get(shown.z)
            if planes:
                channels = slice_channels(array, files, intensity_ranges, plan.config.clip_limit, shown)
                in_slab.show(channels, shown, planes)

    with ThreadPoolExecutor(min(LIMITS.max_threads, available_cores())) as executor:
        list(executor.map(show, slices_of_planes(transforms, planes_of.values())))
    return {array: in_slab.voxels for array, in_slab in arrays.items()}


class _SlabArray:
    """The voxels of a slab in one array of tiles, while slices are shown on its planes by several threads."""

    def __init__(self, tiles: TileArray, shape_zyx: tuple[int, int, int], blends: set[int]) -> None:
        self.voxels: Picture = np.zeros((tiles.n_channels, *shape_zyx), tiles.data_type)
        self._blends = blends
        self._blending = Lock()

    def show(self, channels: Iterable[Picture], shown: SliceTransform, planes: list[int]) -> None:
        """Show the channels of a slice on planes of the slab; it is warped once."""
        for channel, planes_of_channel in zip(channels, self.voxels, strict=True):
            self._show_channel(channel, shown, planes_of_channel, planes)

    def _show_channel(self, channel: Picture, shown: SliceTransform, out: Picture, planes: list[int]) -> None:
        alone = [plane for plane in planes if plane not in self._blends]
        warped = out[alone[0]] if alone else np.empty(out.shape[1:], out.dtype)
        warp_slice(channel, np.array(shown.matrix), warped, shown.rows, shown.warp)
        out[alone[1:]] = warped
        for plane in self._blends.intersection(planes):
            with self._blending:
                out[plane] = blended(out[plane], warped)


def planes_of_slices(transforms: Transforms, z_indices: Span, array: TileArray) -> dict[int, list[int]]:
    """The planes of a slab that show each slice in an array of tiles, by the slice's z.

    A slice is read once, whether it shows itself, stands in for others or is half of a blend. A plane that is
    left blank shows none. Raw grey levels keep their slices where they are, also where steps are evened.
    """
    planes_of: dict[int, list[int]] = {}
    for plane, z_index in enumerate(z_indices):
        for z in transforms.plane(z_index, evened=array.key == TILES_KEY).shown_numbers:
            planes_of.setdefault(z, []).append(plane)
    return planes_of


def slices_of_planes(
    transforms: Transforms, planes_of: Iterable[Mapping[int, list[int]]]
) -> list[SliceTransform]:
    """Each slice that some plane shows, once."""
    first_z = transforms.slices[0].z
    shown = dict.fromkeys(z for planes in planes_of for z in planes)
    return [transforms.slices[z - first_z] for z in shown]


def shard_parts(volume: Volume, tiles: TileArray, voxels: Picture) -> list[bytes]:
    """The shard that holds a slab, in parts; the same voxels give the same bytes.

    Each column of tiles is a chunk, as deep as a whole slab and black where the volume ends.

    Args:
        volume: The volume of the run.
        tiles: One of its arrays.
        voxels: `[channel, z, y, x]`, the slab clipped to the volume.
    """
    _, _, height, width = voxels.shape
    corners = [(y, x) for y in range(0, height, TILE) for x in range(0, width, TILE)]

    def encode(corner: tuple[int, int]) -> bytes:
        y, x = corner
        column = voxels[:, :, y : y + TILE, x : x + TILE]
        chunk = np.zeros((tiles.n_channels, volume.slab_depth, TILE, TILE), voxels.dtype.newbyteorder("<"))
        chunk[:, : column.shape[1], : column.shape[2], : column.shape[3]] = column
        encoded = bytes(imagecodecs.zstd_encode(chunk.tobytes(), ZSTD_LEVEL))
        return encoded + crc32c(encoded)

    with ThreadPoolExecutor(min(LIMITS.max_threads, available_cores())) as executor:
        chunks = dict(enumerate(executor.map(encode, corners)))
    return assemble_zarr_shard(chunks, len(corners))
