"""TIFF: a file for each slice, or one of all, with the size of a voxel as ImageJ or OME-XML write it.

ImageJ's form, which tifffile and Bio-Formats read too: pixels in a nm as the resolution, the unit and the
distance of slices in the description, the slices' numbers as labels. It is the same in a BigTIFF, which a
stack of more than 4 GiB is; Fiji opens that through Bio-Formats.

Source: TIFF 6.0; BigTIFF; ImageJ's TiffDecoder; OME-XML 2016-06, all of them as tifffile writes them.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import tifffile

from commands.export.formats.pictures import AboutPictures, GreyLevels, Picture, SliceFormat, StackFormat
from components.shared.limits import limit

_CM_NM = 10_000_000
_WITHOUT_UNIT = 1
"""ResolutionUnit of a TIFF whose unit stands in the description."""
_N_COLOURS = 3
_MOST_DENOMINATOR = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffLimits:
    """Limits of the files of slices."""

    classic_bytes: int = limit(
        2**32 - 2**25,
        unit="bytes of voxels",
        why="the most that a classic TIFF holds beside its tags: its places are numbers of 32 bits",
        measured_on="not measured: the format says so; tifffile leaves as much for tags",
        too_small="ImageJ opens a BigTIFF through Bio-Formats alone, a classic TIFF itself",
        too_large="places beyond 4 GiB cannot be written",
    )


LIMITS = TiffLimits()


class TiffSlices(SliceFormat):
    """A TIFF for each slice."""

    suffix = ".tif"

    def encode(self, picture: Picture, about: AboutPictures) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, picture, **_layout(about), **_imagej(about, picture.shape, {}))
        return file.getvalue()


class TiffStack(StackFormat):
    """One TIFF of all slices, a BigTIFF where it must be."""

    takes_colours = True

    def begin(self, file: BinaryIO, about: AboutPictures) -> int:
        labels = {"Labels": [str(number) for number in about.slice_numbers]}
        is_big = about.size_xyz[2] * about.picture_bytes > LIMITS.classic_bytes
        return _begin(file, about, bigtiff=is_big, **_imagej(about, about.shape, labels))

    def stored(self, picture: Picture) -> bytes:
        return _little_endian(picture)

    def finish(self, file: BinaryIO, about: AboutPictures, levels: GreyLevels) -> None:
        """Nothing: all is known before."""


class OmeTiffStack(TiffStack):
    """One BigTIFF of all slices with OME-XML."""

    def begin(self, file: BinaryIO, about: AboutPictures) -> int:
        sizes: dict[str, Any] = {}
        for axis, size in zip("XYZ", about.voxel_nm, strict=True):
            sizes |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
        described = {
            "axes": "ZYXS" if about.is_colour else "ZYX",
            "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, about.identity)),
            "Name": about.title,
            **sizes,
        }
        options = {**_in_cm(about), "metadata": described, "ome": True}
        return _begin(file, about, bigtiff=True, **options)


def _begin(file: BinaryIO, about: AboutPictures, **options: Any) -> int:  # noqa: ANN401 - those of tifffile
    """Write a file whose voxels are 0, one behind the other; returns the first one's byte."""
    place: tuple[int, int] | None = tifffile.imwrite(
        file, shape=about.shape, dtype=about.data_type, returnoffset=True, **_layout(about), **options
    )
    assert place is not None, "without compression, voxels lie in one piece"
    return place[0]


def _layout(about: AboutPictures) -> dict[str, Any]:
    """The layout that all files have in common."""
    has_alpha = about.n_channels > _N_COLOURS
    return {
        "byteorder": "<",
        "photometric": "rgb" if about.is_colour else "minisblack",
        "planarconfig": "contig" if about.is_colour else None,
        "extrasamples": ["unassalpha"] if has_alpha else None,
        "software": "fibstack",
    }


def _imagej(about: AboutPictures, shape: tuple[int, ...], further: dict[str, Any]) -> dict[str, Any]:
    """Size of a voxel and further entries as ImageJ writes them; it has no colours of 16 bit, nor alpha."""
    if about.is_colour and (about.n_channels > _N_COLOURS or about.data_type != "uint8"):
        return {**_in_cm(about), "metadata": None}
    axes = "ZYXS"[-len(shape) :] if about.is_colour else "ZYX"[-len(shape) :]
    described = tifffile.imagej_description(
        shape, axes, rgb=about.is_colour, unit="nm", spacing=about.voxel_nm[2]
    )
    return {
        "description": described,
        "extratags": tifffile.imagej_metadata_tag(further, "<") if further else (),
        "resolution": tuple(_per_unit(side, 1) for side in about.voxel_nm[:2]),
        "resolutionunit": _WITHOUT_UNIT,
        "metadata": None,
    }


def _in_cm(about: AboutPictures) -> dict[str, Any]:
    """Size of a pixel by the tags that all programs know."""
    return {
        "resolution": tuple(_per_unit(side, _CM_NM) for side in about.voxel_nm[:2]),
        "resolutionunit": "CENTIMETER",
    }


def _per_unit(side_nm: float, unit_nm: int) -> tuple[int, int]:
    """Pixels in a unit as a fraction, the exact one where the size has few digits.

    Example:
        >>> _per_unit(7.5, 1)
        (2, 15)
    """
    pixels = (unit_nm / Fraction(str(side_nm))).limit_denominator(_MOST_DENOMINATOR)
    return pixels.numerator, pixels.denominator


def _little_endian(picture: Picture) -> bytes:
    return picture.astype(np.dtype(picture.dtype).newbyteorder("<"), copy=False).tobytes()
