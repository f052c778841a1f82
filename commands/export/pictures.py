"""The pictures of an export for other programs: read from the lossless volume, layer by layer, and binned."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.export.exported import shown_z_indices, transforms_of_export
from commands.export.formats.pictures import AboutPictures
from commands.export.lossless import LosslessSource
from components.pyramid.downsample import AxesXyz, halve, halved_axes
from components.shared.documents.plan import PixelType
from components.shared.errors import ConfigError
from components.shared.grid import VOXEL_CHUNK, SizeXyz, Span
from components.shared.limits import limit
from components.shared.storage.registry import open_store
from components.shared.volume.volume import VolumeOutput, volume_of
from components.shared.work.export import ShownPart
from components.shared.work.records import input_hash
from components.shared.work.verification import Written

_COLOURS = (3, 4)
"""Numbers of channels of a file that are red, green and blue, and alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLimits:
    """Limits of what is held of pictures; no byte of a file depends on them."""

    layer_bytes: int = limit(
        2**31,
        unit="bytes of pictures",
        why="all processes hold no more: fewer run where layers are large, and less of a layer is read at a "
        "time where one is larger",
        measured_on="64 slices of 2048 x 2048 px of 8 bit, a layer of 256 MiB: 640 MiB at the peak",
        too_small="chunks are decoded several times",
        too_large="a laptop runs out of memory",
    )
    strip_rows: int = limit(
        512,
        unit="rows of voxels",
        why="so many are read at a time and binned, so that pictures alone are held whole; eight chunks",
        measured_on="not measured",
        too_small="chunks at the edges of a part that is cut out are decoded several times",
        too_large="what is binned takes more memory than pictures",
    )


LIMITS = PictureLimits()


class PicturesExport(ShownPart):
    """`process/export.json` of an export for other programs: what its pictures show."""

    kind: str
    """Option that says the format: `tiff`, `mrc` or `png`."""
    bin: int
    """Voxels of the source along x and y that are one of the pictures."""
    channel: int | None
    """Channel of the source that is written; None for all that it has."""
    size_xyz: SizeXyz
    """Width, height and number of the pictures."""
    voxel_nm: tuple[float, float, float]
    data_type: PixelType
    slice_numbers: tuple[int, int]
    """Numbers of the first and of the last picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures of an export."""

    about: AboutPictures
    document: PicturesExport
    chunk_uri: str
    """The lossless volume that they are read from."""
    source_z_indices: tuple[int, ...]
    """The plane of the source that each plane of the export shows."""
    halvings: tuple[AxesXyz, ...]
    """Which axes are halved, from each level of the pyramid to the next, down to the one that is written."""

    @property
    def slices_per_picture(self) -> int:
        return 1 << sum(z for _, _, z in self.halvings)

    def layers(self) -> list[Span]:
        """The pictures that are read together: those of a layer of chunks, or of a part of one."""
        held_bytes = self.about.picture_bytes
        depth = max(1, VOXEL_CHUNK // self.slices_per_picture)
        while depth > 1 and depth * held_bytes > LIMITS.layer_bytes:
            depth //= 2
        first_z = self.document.crop_xyz[2][0] // self.slices_per_picture
        n = self.about.size_xyz[2]
        edges = [0, *range(depth - first_z % depth, n, depth), n]
        return [Span(start, stop - 1) for start, stop in pairwise(edges)]

    def processes(self, jobs: int) -> int:
        """How many processes may read a layer each."""
        layers = self.layers()
        largest = max(len(layer) for layer in layers) * self.about.picture_bytes
        return max(1, min(jobs, len(layers), LIMITS.layer_bytes // largest))

    def read(self, layer: Span, n_threads: int) -> NDArray[Any]:
        """The pictures of a layer: [picture, y, x], or [picture, y, x, channel] of colours."""
        source = LosslessSource(
            open_store(self.chunk_uri), self.document, list(self.source_z_indices), n_threads
        )
        (x0, x1), (y0, y1), (z0, z1) = self.document.crop_xyz
        first = layer.first * self.slices_per_picture
        stop = min((layer.last + 1) * self.slices_per_picture, z1 - z0)
        rows = max(LIMITS.strip_rows, 1 << sum(y for _, y, _ in self.halvings))
        pictures = np.empty((len(layer), *self.about.shape[1:]), self.about.data_type)
        done = 0
        with ThreadPoolExecutor(n_threads) as pool:
            for y in range(0, y1 - y0, rows):
                voxels = source.read(((0, y, first), (x1 - x0, min(y + rows, y1 - y0), stop)))
                if self.document.channel is not None:
                    voxels = voxels[self.document.channel]
                for axes in self.halvings:
                    voxels = halve(voxels, pool, axes)
                n_rows = voxels.shape[-2]
                pictures[:, done : done + n_rows] = np.moveaxis(voxels, 0, -1) if voxels.ndim > 3 else voxels
                done += n_rows
        return pictures


def pictures_of(
    shown: ShownPart, kind: str, written: Written, source: VolumeOutput, *, bin_: int, channel: int | None
) -> Pictures:
    """The pictures of an export.

    Args:
        shown: The part of the source.
        kind: Option that says the format.
        written: The run, or export, that the source is of.
        source: The lossless volume.
        bin_: Voxels along x and y that become one.
        channel: Channel that is written; None for all.

    Raises:
        ConfigError: there is no such level or channel, or channels must be chosen from.
    """
    transforms = transforms_of_export(written.transforms, shown)
    volume = volume_of(written.plan, transforms)
    level = bin_.bit_length() - 1
    n_levels = volume.passes[-1].levels.stop
    if bin_ != 1 << level or level >= n_levels:
        most = 1 << (n_levels - 1)
        raise ConfigError(
            f"--bin must be a power of 2 from 1 to {most}, by the levels of this volume; got {bin_}. "
            f"Change --bin."
        )
    _check_channel(channel, written, source)
    n_channels = source.n_channels if channel is None else 1
    halvings = [halved for one in volume.passes for halved in one.halvings][: level + 1]
    size, step = volume.size_at_level(level), 1 << halvings[-1][2]
    first_z = transforms.slices[0].z
    numbers = tuple(first_z + step * index for index in range(size[2]))
    data_type: PixelType = "uint8" if shown.contrast else source.array.data_type
    document = PicturesExport(
        **shown.model_dump(exclude={"crc32c"}),
        kind=kind,
        bin=bin_,
        channel=channel,
        size_xyz=size,
        voxel_nm=volume.resolution_at_level(level),
        data_type=data_type,
        slice_numbers=(numbers[0], numbers[-1]),
    )
    return Pictures(
        about=AboutPictures(
            size_xyz=size,
            voxel_nm=document.voxel_nm,
            data_type=data_type,
            n_channels=n_channels,
            identity=input_hash(document.model_dump_json()),
            slice_numbers=numbers,
        ),
        document=document,
        chunk_uri=source.uri,
        source_z_indices=tuple(shown_z_indices(shown, written.transforms.slices[0].z)),
        halvings=tuple(halved_axes(halvings)),
    )


def _check_channel(channel: int | None, written: Written, source: VolumeOutput) -> None:
    n = source.n_channels
    if channel is not None and channel >= n:
        raise ConfigError(f"--channel must be from 0 to {n - 1}; got {channel}. Change --channel.")
    if channel is None and n > 1 and written.plan.file_channels not in tuple((n,) for n in _COLOURS):
        raise ConfigError(
            f"pictures must be grey or in colours; got {n} channels. Choose one, from 0 to {n - 1}, such as "
            f"--channel 0."
        )
