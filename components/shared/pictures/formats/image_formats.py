"""The image formats of slices: their headers, and decoders that refuse damaged files.

Decoders that go on after an error are not used: libtiff's, and JPEG without `strict`. What a file says of how
its picture is to be shown (orientation, palette, several pictures) is applied, or the file is refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import imagecodecs

from components.shared.documents.plan import PixelSize
from components.shared.pictures.formats import janelia_dat, jpeg, tiff
from components.shared.pictures.formats.header import (
    CONVERT,
    COPY,
    ImageFormat,
    ImageHeader,
    Numbers,
    RefusedImageError,
    truncated,
)
from components.shared.pictures.formats.orientation import (
    UPRIGHT,
    exif_orientation,
    swaps_sides,
    turned_size,
    upright,
)
from components.shared.pictures.formats.tiff_tags import TIFF_SIGNATURES
from components.shared.pictures.pixel_size import per_pixel

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MRC_STAMP, _MRC_STAMP_BYTE = b"MAP ", 208
_START_BYTES = 212
_PNG_CHANNELS = {0: 1, 2: 3, 6: 4}
_PNG_PALETTE = 3
_PNG_REFUSED_TYPES = {_PNG_PALETTE: "palette colours", 4: "grey with alpha"}
_PNG_GREY_PALETTE = bytes(level for level in range(256) for _ in range(3))
_PER_METRE = 1
"""Unit of a pHYs chunk that is one: the other is none, an aspect ratio alone."""
_PNG_MAX_CHUNKS = 4096
"""Most chunks in front of the picture: texts and a colour profile are some tens."""
_PNG_MAX_CHUNK_BYTES = 2**20
"""Longest palette or EXIF chunk that is read: EXIF of a preview picture has up to 64 KiB."""


def header(file: BinaryIO) -> ImageHeader:
    """Read and judge the header of an image file.

    Raises:
        RefusedImageError: the file is no PNG, TIFF, JPEG or `.dat` that can be read.
    """
    start = file.read(_START_BYTES)
    file.seek(0)
    if start.startswith(_PNG_SIGNATURE):
        return _png_header(file)
    if start.startswith(TIFF_SIGNATURES):
        return tiff.tiff_header(file)
    if start.startswith(jpeg.JPEG_SIGNATURE):
        return jpeg.jpeg_header(file)
    if start.startswith(janelia_dat.DAT_SIGNATURE):
        return janelia_dat.dat_header(file)
    rule = "must be a PNG, TIFF, JPEG or Janelia .dat file"
    if not start:
        raise RefusedImageError(rule, "an empty file", COPY)
    if start[_MRC_STAMP_BYTE:] == _MRC_STAMP:
        raise RefusedImageError(rule, "an MRC file", "Make a TIFF of each slice with 'fibstack data split'")
    remedy = "Export the slices as one of these, or copy this one again"
    raise RefusedImageError(rule, f"a file that starts with {start[:8]!r}", remedy)


def decode(data: bytes, image_format: ImageFormat) -> Numbers:
    """The whole picture of a file whose `header` was read, `[y, x]`, or `[y, x, channel]` of several.

    Raises:
        RefusedImageError: the file is truncated or damaged.
    """
    decoders: dict[ImageFormat, Callable[[bytes], Numbers]] = {
        "png": _decode_png,
        "tiff": tiff.decode_tiff,
        "jpeg": jpeg.decode_jpeg,
        "dat": janelia_dat.decode_dat,
    }
    return decoders[image_format](data)


# PNG: https://www.w3.org/TR/png-3/ sections 5 and 11


@dataclass(frozen=True, slots=True)
class _PngStart:
    """Header and orientation of a PNG, from the chunks in front of its picture."""

    header: ImageHeader
    orientation: int


def _png_header(file: BinaryIO) -> ImageHeader:
    return _png_start(file).header


def _png_start(file: BinaryIO) -> _PngStart:
    start = file.read(33)
    if len(start) < 33 or start[8:16] != b"\0\0\0\rIHDR":
        raise RefusedImageError("must begin with a PNG header", "a damaged one", COPY)
    if zlib.crc32(start[12:29]) != int.from_bytes(start[29:33], "big"):
        raise RefusedImageError("must have a sound PNG header", "a wrong checksum", COPY)
    width, height, depth, colour_type = struct.unpack(">IIBB", start[16:26])
    chunks = _png_chunks_before_picture(file)
    palette = chunks.get(b"PLTE", b"") if colour_type == _PNG_PALETTE else b""
    has_grey_palette = bool(palette) and _PNG_GREY_PALETTE.startswith(palette)
    if colour_type not in _PNG_CHANNELS and not has_grey_palette:
        got = _PNG_REFUSED_TYPES.get(colour_type, f"colour type {colour_type}")
        raise RefusedImageError("must be grey or RGB", got, CONVERT)
    if depth not in (8, 16):
        raise RefusedImageError("must have 8 or 16 bit", f"{depth} bit", CONVERT)
    n_pictures = int.from_bytes(chunks.get(b"acTL", b"")[:4], "big")
    if n_pictures > 1:
        remedy = "Save each picture as a file"
        raise RefusedImageError("must hold one picture", f"an animated PNG of {n_pictures:,}", remedy)
    orientation = exif_orientation(chunks[b"eXIf"]) if b"eXIf" in chunks else UPRIGHT
    pixel_size = _png_pixel_size(chunks.get(b"pHYs", b""))
    header = ImageHeader(
        width_px=height if swaps_sides(orientation) else width,
        height_px=width if swaps_sides(orientation) else height,
        sample_type="uint8" if depth == 8 else "uint16",
        image_format="png",
        n_channels=_PNG_CHANNELS.get(colour_type, 1),
        pixel_size=turned_size(pixel_size, orientation) if pixel_size else None,
        orientation=orientation,
    )
    return _PngStart(header, orientation)


def _png_pixel_size(physical: bytes) -> PixelSize | None:
    """The size of a pixel that a pHYs chunk tells; None without one, or one of another unit."""
    if len(physical) != 9 or physical[8] != _PER_METRE:
        return None
    per_metre_xy = int.from_bytes(physical[:4], "big"), int.from_bytes(physical[4:8], "big")
    return per_pixel(1e9, per_metre_xy, "PNG's pHYs")


def _png_chunks_before_picture(file: BinaryIO) -> dict[bytes, bytes]:
    """Those chunks between header and picture that say how it is to be shown; none that is damaged."""
    found: dict[bytes, bytes] = {}
    for _ in range(_PNG_MAX_CHUNKS):
        start = file.read(8)
        length, name = int.from_bytes(start[:4], "big"), start[4:]
        if len(start) < 8 or name in (b"IDAT", b"IEND"):
            return found
        if name in (b"PLTE", b"eXIf", b"acTL", b"pHYs"):
            data, crc = file.read(length) if length <= _PNG_MAX_CHUNK_BYTES else b"", file.read(4)
            if len(data) != length or zlib.crc32(name + data) != int.from_bytes(crc, "big"):
                part = name.decode()
                raise RefusedImageError("must be undamaged", f"a wrong checksum of its {part} part", COPY)
            found.setdefault(name, data)
        else:
            file.seek(length + 4, io.SEEK_CUR)
    got = f"more than {_PNG_MAX_CHUNKS:,} chunks in front of it"
    raise RefusedImageError("must hold a picture", got, "Save the slice alone")


def _decode_png(data: bytes) -> Numbers:
    _check_png_chunks(data)
    start = _png_start(io.BytesIO(data))
    try:
        picture: Numbers = imagecodecs.png_decode(data)
    except Exception:  # its own error, or that of a message that it has freed before it is read
        raise RefusedImageError("must hold a whole picture", "PNG data that do not decode", COPY) from None
    if picture.ndim == 3:
        # A transparent colour (tRNS) comes as one channel more than the header tells, a palette as colours.
        n_channels = start.header.n_channels
        picture = picture[:, :, 0] if n_channels == 1 else picture[:, :, :n_channels]
    return upright(picture, start.orientation)


def _check_png_chunks(data: bytes) -> None:
    """Compare every chunk up to IEND with its CRC.

    The decoder itself warns of a chunk beside the picture and never looks at the last; and each file that it
    refuses costs the interpreter a reference to None (imagecodecs 2026.3.6).

    Raises:
        RefusedImageError: the file is truncated or damaged.
    """
    view = memoryview(data)
    position, name, is_behind = len(_PNG_SIGNATURE), b"", False
    while name != b"IEND":
        start = position + 8
        length, name = int.from_bytes(view[position : position + 4], "big"), bytes(view[position + 4 : start])
        position = start + length + 4
        if position > len(data):
            raise truncated(f"a PNG that breaks off after {len(data):,} bytes")
        stored_crc = int.from_bytes(view[position - 4 : position], "big")
        if zlib.crc32(view[start - 4 : position - 4]) != stored_crc:
            part = name.decode() if name.isalpha() else repr(name)
            raise RefusedImageError("must be undamaged", f"a wrong checksum of its {part} part", COPY)
        is_behind = is_behind or name == b"IDAT"
        if is_behind and name == b"eXIf" and exif_orientation(bytes(view[start : position - 4])) != UPRIGHT:
            got = "an orientation behind the picture (eXIf)"
            remedy = "Save the slices upright, with orientation 1"
            raise RefusedImageError("must have its orientation in front of the picture", got, remedy)
