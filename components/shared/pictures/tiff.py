"""TIFF (revision 6.0) and BigTIFF: their tags, and a decoder that refuses damaged files.

tifffile finds the tags wherever they lie.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast, get_args

import imagecodecs
import numpy as np
import tifffile

from components.shared.documents.plan import PixelSize
from components.shared.errors import FibstackError
from components.shared.pictures.grey_levels import SampleType
from components.shared.pictures.header import (
    CONVERT,
    COPY,
    MAX_CHANNELS,
    ImageHeader,
    Numbers,
    RefusedImageError,
    truncated,
)
from components.shared.pictures.pixel_size import told_in_tiff
from components.shared.pictures.tiff_tags import full_pages

_Unpacked = bytes | bytearray

MAX_TILE_PX = 2**22
"""Largest tile accepted in a file whose picture is smaller than one tile."""
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_PHOTOMETRICS = {
    tifffile.PHOTOMETRIC.MINISWHITE,
    tifffile.PHOTOMETRIC.MINISBLACK,
    tifffile.PHOTOMETRIC.RGB,
}
_TIFF_KINDS: dict[int, str] = {
    tifffile.SAMPLEFORMAT.UINT: "uint",
    tifffile.SAMPLEFORMAT.INT: "int",
    tifffile.SAMPLEFORMAT.IEEEFP: "float",
}


def tiff_header(file: BinaryIO) -> ImageHeader:
    """Read and judge the tags of a TIFF of one page.

    Raises:
        RefusedImageError: no step can use it.
    """
    page = _tiff_page(file)
    n_channels = page.samplesperpixel
    if (
        not (page.photometric in _TIFF_PHOTOMETRICS or _has_grey_palette(page))
        or not 1 <= n_channels <= MAX_CHANNELS
    ):
        rule = f"must be RGB or grey, of at most {MAX_CHANNELS} channels"
        got = f"a TIFF of {n_channels} channels, {_tag_name(page.photometric)}"
        raise RefusedImageError(rule, got, CONVERT)
    sample_type = f"{_TIFF_KINDS.get(page.sampleformat, '')}{page.bitspersample}"
    if sample_type not in get_args(SampleType):
        rule = "must hold integers of 8, 16 or 32 bit, or floating point of 32 or 64"
        kind = _TIFF_KINDS.get(page.sampleformat) or _tag_name(page.sampleformat)
        raise RefusedImageError(rule, f"{kind} of {page.bitspersample} bit", CONVERT)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and sample_type.startswith("float"):
        raise RefusedImageError("must have black as 0", f"a TIFF of {sample_type} with white as 0", CONVERT)
    if page.compression not in _UNPACK:
        rule = "must be a TIFF without compression or with deflate, LZW or zstd"
        raise RefusedImageError(rule, _tag_name(page.compression), "Save the slices so, or as PNG")
    if page.is_tiled and _largest_part_px(page) > max(MAX_TILE_PX, page.imagewidth * page.imagelength):
        got = f"tiles of {page.tilewidth:,} x {page.tilelength:,} px"
        raise RefusedImageError("must have tiles that are no larger than the picture", got, CONVERT)
    return ImageHeader(
        width_px=page.imagewidth,
        height_px=page.imagelength,
        sample_type=cast("SampleType", sample_type),
        image_format="tiff",
        n_channels=n_channels,
        pixel_size=_pixel_size(file),
    )


def _pixel_size(file: BinaryIO) -> PixelSize | None:
    try:
        return told_in_tiff(next(full_pages(file)))
    except (RefusedImageError, StopIteration):
        return None


def _has_grey_palette(page: tifffile.TiffPage) -> bool:
    """True of a picture whose palette shows each number as the grey of that level, as microscopes do."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.bitspersample != 8:
        return False
    levels = np.asarray(page.colormap) >> 8
    return levels.shape == (3, 256) and bool((levels == np.arange(256)).all())


def decode_tiff(data: bytes) -> Numbers:
    """The whole picture, `[y, x]`, or `[y, x, channel]` of several.

    Raises:
        RefusedImageError: the file is truncated or damaged.
    """
    page = _tiff_page(io.BytesIO(data))
    if any(o + n > len(data) for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise truncated(f"a TIFF that breaks off after {len(data):,} bytes")
    n_channels = page.samplesperpixel
    shape_yxc = (page.imagelength, page.imagewidth, n_channels)
    picture = np.empty(shape_yxc, page.dtype)
    n_read = 0
    try:
        for part, (plane, _, row, column, _), shape in _tiff_parts(page):
            _, height, width, n_samples = shape
            # tifffile hands out a missing part as None and a short one as it is.
            if part is not None and part.size == height * width * n_samples:
                # One plane for each channel, or all channels of a pixel together.
                inside = picture[row : row + height, column : column + width, plane : plane + n_samples]
                inside[:] = part.reshape(height, width, -1)[: inside.shape[0], : inside.shape[1]]
                n_read += inside.size
    except Exception as error:  # its decoders raise nearly anything on damaged data
        got = f"TIFF data that do not decode ({_reason(error)})"
        raise RefusedImageError("must hold a whole picture", got, COPY) from None
    if n_read != picture.size:
        raise truncated(f"{n_read // n_channels:,} of {picture.size // n_channels:,} px")
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        np.bitwise_not(picture, out=picture)
    return picture[:, :, 0] if n_channels == 1 else picture


def _tiff_parts(page: tifffile.TiffPage) -> Iterator[Any]:
    """The strips or tiles of a TIFF, unpacked, each with its place and shape.

    tifffile would unpack them without a bound on memory.
    """
    unpack = _UNPACK[page.compression]
    page.compression = tifffile.COMPRESSION.NONE
    most_bytes = _largest_part_px(page) * page.samplesperpixel * page.bitspersample // 8
    n_parts = math.prod(page.chunked)
    file = page.parent.filehandle
    parts: Iterator[Any] = file.read_segments(page.dataoffsets, page.databytecounts, length=n_parts)
    for part, index in parts:
        yield page.decode(unpack(part, most_bytes) if part else part, index)


def _largest_part_px(page: tifffile.TiffPage) -> int:
    if page.is_tiled:
        return int(page.tilelength * page.tilewidth)
    return int(min(page.rowsperstrip, page.imagelength) * page.imagewidth)


def _inflated(part: bytes, most_bytes: int) -> _Unpacked:
    """A deflated part unpacked, up to a byte more than it may hold."""
    stream = zlib.decompressobj()
    data = stream.decompress(part, most_bytes + 1)
    if not stream.eof and len(data) <= most_bytes:
        raise ValueError("a part is cut")
    return _checked(data, most_bytes)


def _unpacked_lzw(part: bytes, most_bytes: int) -> _Unpacked:
    return _checked(imagecodecs.lzw_decode(part, out=most_bytes + 1), most_bytes)


def _unpacked_zstd(part: bytes, most_bytes: int) -> _Unpacked:
    return _checked(imagecodecs.zstd_decode(part, out=most_bytes + 1), most_bytes)


def _checked(data: _Unpacked, most_bytes: int) -> _Unpacked:
    """An unpacked part that is not too long; one that is too short is found by its number of pixels."""
    if len(data) > most_bytes:
        raise ValueError("a part holds more than its pixels")
    return data


_UNPACK: dict[int, Callable[[bytes, int], _Unpacked]] = {
    tifffile.COMPRESSION.NONE: lambda part, _: part,
    tifffile.COMPRESSION.ADOBE_DEFLATE: _inflated,
    tifffile.COMPRESSION.DEFLATE: _inflated,
    tifffile.COMPRESSION.LZW: _unpacked_lzw,
    tifffile.COMPRESSION.ZSTD: _unpacked_zstd,
}


def _tiff_page(file: BinaryIO) -> tifffile.TiffPage:
    """The only page of a TIFF, its tags read."""
    try:
        pages = tifffile.TiffFile(file).pages
        page, is_multipage = pages.first, pages.is_multipage
        _check_numbers(page)
    except FibstackError:
        raise
    except Exception as error:  # tifffile raises nearly anything on damaged tags
        raise RefusedImageError(
            "must be a sound TIFF file", f"damaged tags ({_reason(error)})", COPY
        ) from None
    if is_multipage:
        remedy = "Make a file of each page with 'fibstack data split'"
        raise RefusedImageError("must hold one picture", "a TIFF of several pages", remedy)
    return page


def _check_numbers(page: tifffile.TiffPage) -> None:
    """Refuse tags of another type than they must have, which tifffile passes on.

    Raises:
        TypeError: there is one.
    """
    sides = (page.imagewidth, page.imagelength, page.rowsperstrip, page.tilewidth, page.tilelength)
    numbers = (*sides, page.bitspersample, page.samplesperpixel, *page.dataoffsets, *page.databytecounts)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise TypeError("a tag that must be a number is none")


def _reason(error: Exception) -> str:
    """The first line of what a library says, or its name where that says nothing."""
    line = str(error).partition("\n")[0]
    return line if " " in line else type(error).__name__


def _tag_name(value: Any) -> str:  # noqa: ANN401 - an enumeration of tifffile's, or a number it does not know
    return str(getattr(value, "name", value))
