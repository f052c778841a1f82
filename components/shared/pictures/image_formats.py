"""The image formats of slices: their headers, and decoders that refuse damaged files.

Decoders that go on after an error are not used: libtiff's, and JPEG without `strict`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

import imagecodecs
import numpy as np
import simplejpeg

from components.shared.documents.plan import PixelSize
from components.shared.pictures import janelia_dat, tiff
from components.shared.pictures.header import (
    CONVERT,
    COPY,
    ImageFormat,
    ImageHeader,
    Numbers,
    RefusedImageError,
    truncated,
)
from components.shared.pictures.pixel_size import per_pixel

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_MRC_STAMP, _MRC_STAMP_BYTE = b"MAP ", 208
_START_BYTES = 212
_PNG_CHANNELS = {0: 1, 2: 3, 6: 4}
_PNG_REFUSED_TYPES = {3: "palette colours", 4: "grey with alpha"}
_MOST_CHUNKS = 32
"""Chunks before the picture that are looked at."""
_PER_METRE = 1
"""Unit of a pHYs chunk that is one: the other is none, an aspect ratio alone."""
_JPEG_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def header(file: BinaryIO) -> ImageHeader:
    """Read and judge the header of an image file.

    Raises:
        RefusedImageError: the file is no PNG, TIFF, JPEG or `.dat` that can be read.
    """
    start = file.read(_START_BYTES)
    file.seek(0)
    if start.startswith(_PNG_SIGNATURE):
        return _png_header(file)
    if start.startswith(tiff.TIFF_SIGNATURES):
        return tiff.tiff_header(file)
    if start.startswith(_JPEG_SIGNATURE):
        return _jpeg_header(file)
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
        "jpeg": _decode_jpeg,
        "dat": janelia_dat.decode_dat,
    }
    return decoders[image_format](data)


def _header(
    width_px: int, height_px: int, depth_bits: int, image_format: ImageFormat, n_channels: int
) -> ImageHeader:
    """The header of a file that holds unsigned integers."""
    if depth_bits not in (8, 16):
        raise RefusedImageError("must have 8 or 16 bit", f"{depth_bits} bit", CONVERT)
    return ImageHeader(
        width_px=width_px,
        height_px=height_px,
        sample_type="uint8" if depth_bits == 8 else "uint16",
        image_format=image_format,
        n_channels=n_channels,
    )


# PNG: https://www.w3.org/TR/png-3/ sections 5 and 11.2.1


def _png_header(file: BinaryIO) -> ImageHeader:
    start = file.read(33)
    if len(start) < 33 or start[8:16] != b"\0\0\0\rIHDR":
        raise RefusedImageError("must begin with a PNG header", "a damaged one", COPY)
    if zlib.crc32(start[12:29]) != int.from_bytes(start[29:33], "big"):
        raise RefusedImageError("must have a sound PNG header", "a wrong checksum", COPY)
    width, height, depth, colour_type = struct.unpack(">IIBB", start[16:26])
    if colour_type not in _PNG_CHANNELS:
        got = _PNG_REFUSED_TYPES.get(colour_type, f"colour type {colour_type}")
        raise RefusedImageError("must be grey or RGB", got, CONVERT)
    found = _header(width, height, depth, "png", _PNG_CHANNELS[colour_type])
    return replace(found, pixel_size=_png_pixel_size(file))


def _png_pixel_size(file: BinaryIO) -> PixelSize | None:
    """The size of a pixel of the pHYs chunk, which stands before the picture; the file is behind IHDR."""
    for _ in range(_MOST_CHUNKS):
        start = file.read(8)
        if len(start) < 8 or start[4:] in (b"IDAT", b"IEND"):
            return None
        length = int.from_bytes(start[:4], "big")
        if start[4:] == b"pHYs":
            data = file.read(9)
            if length != 9 or len(data) != 9 or data[8] != _PER_METRE:
                return None
            per_metre_xy = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
            return per_pixel(1e9, per_metre_xy, "PNG's pHYs")
        file.seek(length + 4, io.SEEK_CUR)
    return None


def _decode_png(data: bytes) -> Numbers:
    _check_png_chunks(data)
    try:
        picture: Numbers = imagecodecs.png_decode(data)
    except Exception:  # its own error, or that of a message that it has freed before it is read
        raise RefusedImageError("must hold a whole picture", "PNG data that do not decode", COPY) from None
    if picture.ndim == 2:
        return picture
    n_channels = header(io.BytesIO(data)).n_channels
    # A transparent colour (tRNS) comes as one channel more than the header tells.
    used = picture[:, :, 0] if n_channels == 1 else picture[:, :, :n_channels]
    return np.ascontiguousarray(used)


def _check_png_chunks(data: bytes) -> None:
    """Compare every chunk up to IEND with its CRC.

    The decoder itself warns of a chunk beside the picture and never looks at the last; and each file that it
    refuses costs the interpreter a reference to None (imagecodecs 2026.3.6).

    Raises:
        RefusedImageError: the file is truncated or damaged.
    """
    view = memoryview(data)
    position, name = len(_PNG_SIGNATURE), b""
    while name != b"IEND":
        start = position + 8
        length, name = int.from_bytes(view[position : position + 4], "big"), bytes(view[position + 4 : start])
        position = start + length + 4
        if position > len(data):
            raise truncated(f"a PNG that breaks off after {len(data):,} bytes")
        stored_crc = int.from_bytes(view[position - 4 : position], "big")
        if zlib.crc32(view[start - 4 : position - 4]) != stored_crc:
            part = name.decode("latin-1")
            raise RefusedImageError("must be undamaged", f"a wrong checksum of its {part} part", COPY)


# JPEG: ITU-T T.81 annex B


def _jpeg_header(file: BinaryIO) -> ImageHeader:
    """Walk the segments up to the frame header."""
    file.seek(2)
    while True:
        start = file.read(4)
        length = int.from_bytes(start[2:], "big")
        if len(start) < 4 or start[0] != 0xFF or length < 2:
            raise RefusedImageError("must be a sound JPEG file", "one without a frame header", COPY)
        if start[1] in _JPEG_FRAME_MARKERS:
            break
        file.seek(length - 2, io.SEEK_CUR)
    frame = file.read(6)
    if len(frame) < 6:
        raise RefusedImageError("must be a sound JPEG file", "one without a frame header", COPY)
    depth, height, width, channels = struct.unpack(">BHHB", frame)
    if channels not in (1, 3):
        raise RefusedImageError("must be grey or RGB", f"a JPEG of {channels} channels", CONVERT)
    return _header(width, height, depth, "jpeg", channels)


def _decode_jpeg(data: bytes) -> Numbers:
    # The file's own colour space: asked for GRAY, the decoder would drop the colours of an RGB file.
    space = "GRAY" if header(io.BytesIO(data)).n_channels == 1 else "RGB"
    try:
        picture: Numbers = simplejpeg.decode_jpeg(data, space, strict=True)
    except ValueError as error:
        got = f"JPEG data that do not decode ({error})"
        raise RefusedImageError("must hold a whole picture", got, COPY) from None
    return picture[:, :, 0] if space == "GRAY" else picture
