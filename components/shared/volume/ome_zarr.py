"""The OME-Zarr volume: metadata of its group and arrays, and the names of its shards.

Pure arithmetic, no I/O. Each level is a sharded Zarr v3 array `[z, y, x]`, or `[c, z, y, x]` where there are
several channels. A chunk is the same bytes as in a lossless precomputed volume, except at the border: Zarr's
chunks are never clipped. A shard is as wide and as high as a block of its level, but only two chunks deep: it
is finished, and forgotten by its writer, as soon as two layers of the block are.

Versions of OME-Zarr differ in the groups' metadata and in where the image lies, so each has a class in
`VERSIONS`. In 0.6 the image lies in a folder of its own, and the group above it is a scene: it says where the
raw slices lie. The image's group is as short as in 0.5, and a viewer reads no other.

Sources: OME-NGFF 0.5 ("multiscales" metadata); OME-Zarr 0.6 ("coordinateSystems", "scene" and "affine"); Zarr
v3 core and its "sharding_indexed", "gzip" and "crc32c" codecs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.grid import SizeXyz, ceil_div
from components.shared.volume.volume import Volume, VolumeOutput

METADATA_KEY = "zarr.json"
_INTRINSIC = "intrinsic"
"""Name of the coordinate system in nm that all levels of an image of version 0.6 share."""
_VOLUME = "volume"
"""Name of the same in a scene of version 0.6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeZarrScale:
    """One level of an OME-Zarr volume."""

    level: int
    first_level: int
    """Finest level that is written."""
    size_xyz: SizeXyz
    chunk: int
    """Side of a chunk in voxels."""
    shard_sides: SizeXyz
    """Sides of a shard in voxels, x, y, z."""
    n_channels: int
    image_folder: str = ""
    """Folder of the image below the root, with a slash behind it; empty where it is the root."""

    @property
    def key(self) -> str:
        """Folder of the level: its number, counted from the finest that is written, in that of the image."""
        return f"{self.image_folder}{self.level - self.first_level}"

    @property
    def shards_prefix(self) -> str:
        """Beginning of the keys of all shards of the level."""
        return f"{self.key}/c/"

    @property
    def shard_grid_xyz(self) -> SizeXyz:
        """Shards along x, y and z."""
        x, y, z = (ceil_div(n, side) for n, side in zip(self.size_xyz, self.shard_sides, strict=True))
        return x, y, z

    @property
    def chunks_per_shard_zyx(self) -> SizeXyz:
        x, y, z = (side // self.chunk for side in self.shard_sides)
        return z, y, x

    def shard_key(self, shard_xyz: SizeXyz) -> str:
        """Key below the group of the shard at this position of the grid of shards."""
        x, y, z = shard_xyz
        channels = "" if self.n_channels == 1 else "0/"
        return f"{self.shards_prefix}{channels}{z}/{y}/{x}"

    def chunk_number(self, chunk_xyz: SizeXyz) -> int:
        """Number of a chunk within its shard: its place in the shard's index, C order."""
        (depth, height, width), (x, y, z) = self.chunks_per_shard_zyx, chunk_xyz
        return (z % depth * height + y % height) * width + x % width


def scale_at(volume: Volume, output: VolumeOutput, level: int) -> OmeZarrScale:
    """The scale of an output at a level."""
    pyramid_pass = volume.pass_at_level(level)
    width, height, depth = pyramid_pass.block_sides(level)
    return OmeZarrScale(
        level=level,
        first_level=output.levels.start,
        size_xyz=volume.size_at_level(level),
        chunk=pyramid_pass.chunk,
        shard_sides=(width, height, min(depth, output.shard_side)),
        n_channels=output.n_channels,
        image_folder=VERSIONS[output.ome_zarr_version].image_folder,
    )


def metadata_files(volume: Volume, output: VolumeOutput) -> dict[str, bytes]:
    """The metadata by key below the root, the same bytes for the same volume; the image's group comes last.

    A reader finds the volume by that: written last, it says that the volume is whole.
    """
    arrays = dict(array_file(volume, output, level) for level in output.levels)
    return arrays | VERSIONS[output.ome_zarr_version].groups(volume, output)


def array_file(volume: Volume, output: VolumeOutput, level: int) -> tuple[str, bytes]:
    """Key and content of the metadata of the array of a level."""
    key = f"{scale_at(volume, output, level).key}/{METADATA_KEY}"
    return key, _file(array_metadata(volume, output, level))


def _file(content: dict[str, Any], *, is_long: bool = False) -> bytes:
    layout: dict[str, Any] = {"separators": (",", ":")} if is_long else {"indent": 1}
    return json.dumps(content, **layout).encode() + b"\n"


def array_metadata(volume: Volume, output: VolumeOutput, level: int) -> dict[str, Any]:
    """The `zarr.json` of the array of a level."""
    scale = scale_at(volume, output, level)
    channels = [output.n_channels] if output.n_channels > 1 else []
    in_bytes: dict[str, Any] = {"name": "bytes"}
    if output.array.data_type == "uint16":
        in_bytes["configuration"] = {"endian": "little"}
    sharding = {
        "chunk_shape": [*channels, *[scale.chunk] * 3],
        "codecs": [in_bytes, {"name": "gzip", "configuration": {"level": 1}}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [*channels, *reversed(scale.size_xyz)],
        "data_type": output.array.data_type,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [*channels, *reversed(scale.shard_sides)]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": [*("c" for _ in channels), "z", "y", "x"],
        "attributes": {},
    }


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    """The `zarr.json` of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _axes(output: VolumeOutput, names: str = "zyx", **of_space: str) -> list[dict[str, str]]:
    channels = [{"name": "c", "type": "channel"}] if output.n_channels > 1 else []
    return [*channels, *({"name": name, "type": "space", **of_space} for name in names)]


def _scale_and_translation(volume: Volume, output: VolumeOutput, level: int) -> list[dict[str, Any]]:
    """Where the voxels of a level lie: positions of their centres in nm.

    The centre of a voxel that covers n voxels of level 0 lies (n - 1) / 2 of them further than the centre of
    the first, which lies at the volume's voxel offset, as in the precomputed volumes.
    """
    sides = volume.resolution_at_level(level)
    origins = zip(volume.resolution_nm, sides, volume.voxel_offset_xyz, strict=True)
    centres = [(side - finest) / 2 + first * finest for finest, side, first in origins]
    channels = output.n_channels > 1
    return [
        {"type": "scale", "scale": [1.0] * channels + [float(side) for side in reversed(sides)]},
        {"type": "translation", "translation": [0.0] * channels + centres[::-1]},
    ]


_DOWNSAMPLING = {
    "type": "mean",
    "metadata": {"description": "Each level is the mean of the finer one, ties rounded to even."},
}


class _Version(Protocol):
    """A version of OME-Zarr: where the image lies below the root, and the metadata of the groups."""

    @property
    def image_folder(self) -> str:
        """Folder of the image below the root, with a slash behind it; empty where it is the root."""

    def groups(self, volume: Volume, output: VolumeOutput) -> dict[str, bytes]:
        """The metadata of the groups by key below the root; the image's comes last."""


@dataclass(frozen=True, slots=True)
class OmeZarr05:
    """Version 0.5: the root is the image, with its axes and two transformations for each level."""

    image_folder: str = ""

    def groups(self, volume: Volume, output: VolumeOutput) -> dict[str, bytes]:
        """The metadata of the one group."""
        multiscale = {
            "name": "aligned stack",
            "axes": _axes(output, unit="nanometer"),
            "datasets": [
                {
                    "path": str(level - output.levels.start),
                    "coordinateTransformations": _scale_and_translation(volume, output, level),
                }
                for level in output.levels
            ],
            **_DOWNSAMPLING,
        }
        return {METADATA_KEY: _file(_group({"ome": {"version": "0.5", "multiscales": [multiscale]}}))}


@dataclass(frozen=True, slots=True)
class OmeZarr06:
    """Version 0.6: the root is a scene that places the raw slices, the image lies below it.

    The slices stand in the scene and not in the image: they are some 330 bytes each, 4.5 MB of 13,696, which
    a viewer would load before it shows anything; and neuroglancer applies each transformation of an image.
    """

    image_folder: str = "volume/"

    def groups(self, volume: Volume, output: VolumeOutput) -> dict[str, bytes]:
        """The metadata of the scene, where slices are to be placed, and of the image."""
        files = {f"{self.image_folder}{METADATA_KEY}": _file(self._image(volume, output))}
        if volume.transforms is None:
            return files
        scene = _file(self._scene(volume, output, volume.transforms), is_long=True)
        return {METADATA_KEY: scene, **files}

    def _image(self, volume: Volume, output: VolumeOutput) -> dict[str, Any]:
        datasets = []
        for level in output.levels:
            path = str(level - output.levels.start)
            transformation = {
                "type": "sequence",
                "input": {"path": path},
                "output": {"name": _INTRINSIC},
                "transformations": _scale_and_translation(volume, output, level),
            }
            datasets.append({"path": path, "coordinateTransformations": [transformation]})
        multiscale = {
            "name": "aligned stack",
            "coordinateSystems": [{"name": _INTRINSIC, "axes": _axes(output, unit="nanometer")}],
            "datasets": datasets,
            **_DOWNSAMPLING,
        }
        ome = {"version": "0.6", "multiscales": [multiscale]}
        return _group({"ome": ome, "provenance": volume.provenance.as_layer(jpeg_quality=0)})

    def _scene(self, volume: Volume, output: VolumeOutput, transforms: Transforms) -> dict[str, Any]:
        """The metadata of the scene: a coordinate system for each slice that is shown, in px of its file.

        The first is the volume's, which viewers show by default. A slice that several planes show lies in the
        middle one, as in `fibstack apply`.
        """
        planes_of = transforms.planes_of()
        shown = [s for s in transforms.slices if s.action in ("keep", "invert") and s.z in planes_of]
        systems = [{"name": _VOLUME, "axes": _axes(output, unit="nanometer")}]
        image = {"name": _INTRINSIC, "path": self.image_folder.rstrip("/")}
        transformations: list[dict[str, Any]] = [
            {"type": "identity", "input": image, "output": {"name": _VOLUME}}
        ]
        for entry in shown:
            planes = planes_of[entry.z]
            name, plane = f"slice {entry.z}", planes[(len(planes) - 1) // 2]
            systems.append({"name": name, "axes": _axes(output, "yx")})
            transformations.append(
                {
                    "type": "affine",
                    "input": {"name": name},
                    "output": {"name": _VOLUME},
                    "affine": _volume_from_file(volume, output, transforms, entry, plane),
                }
            )
        scene = {"coordinateSystems": systems, "coordinateTransformations": transformations}
        return _group({"ome": {"version": "0.6", "scene": scene}, "left_out": _left_out(transforms, shown)})


def _volume_from_file(
    volume: Volume, output: VolumeOutput, transforms: Transforms, entry: SliceTransform, plane: int
) -> list[list[float]]:
    """The affine from pixels y, x of a slice's file to z, y, x of the volume in nm, channels before both.

    Args:
        volume: The volume.
        output: Its OME-Zarr volume.
        transforms: The transforms of its slices.
        entry: That of the slice.
        plane: Number z of the plane that shows it.
    """
    side_x, side_y, side_z = volume.resolution_nm
    offset_x, offset_y, offset_z = volume.voxel_offset_xyz
    corner_x, corner_y = transforms.slice_origin_xy_px
    (xx, xy, x0), (yx, yy, y0), _ = entry.matrix
    x0, y0 = x0 - xx * corner_x - xy * corner_y, y0 - yx * corner_x - yy * corner_y
    rows = [
        [0.0, 0.0, (plane - transforms.slices[0].z + offset_z) * side_z],
        [yy * side_y, yx * side_y, (y0 + offset_y) * side_y],
        [xy * side_x, xx * side_x, (x0 + offset_x) * side_x],
    ]
    if output.n_channels > 1:
        return [[1.0, 0.0, 0.0, 0.0], *([0.0, *row] for row in rows)]
    return rows


def _left_out(transforms: Transforms, shown: Sequence[SliceTransform]) -> list[str]:
    """Sentences on what an affine of each slice does not say of where its pixels lie."""
    counts = {
        "are not shown by the volume, and have no transformation": len(transforms.slices) - len(shown),
        "have rows that are shifted, too": sum(entry.rows is not None for entry in shown),
        "are softly warped, too": sum(entry.warp is not None for entry in shown),
    }
    told = [f"{n} of {len(transforms.slices)} slices {what}." for what, n in counts.items() if n]
    return [*told, "process/transforms.json of the run has all."] if told else []


VERSIONS: Mapping[str, _Version] = MappingProxyType({"0.5": OmeZarr05(), "0.6": OmeZarr06()})
"""The versions of OME-Zarr that can be written."""
