"""JPEG (ITU-T T.81, annex B), as a file and in the parts of a TIFF: headers, and a decoder that is strict.

The decoder reads baseline and progressive files of 8 bit; the other processes of T.81 are refused by name.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import simplejpeg

from components.shared.pictures.formats.header import CONVERT, COPY, ImageHeader, Numbers, RefusedImageError
from components.shared.pictures.formats.orientation import UPRIGHT, exif_orientation, swaps_sides, upright

JPEG_SIGNATURE = b"\xff\xd8\xff"
_SOI = b"\xff\xd8"
_FILL = 0xFF
_EOI, _SOS = 0xD9, 0xDA
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
"""Markers that stand alone: TEM, RST and SOI."""
_FRAMES = {0xC0, 0xC1, 0xC2}
_REFUSED_FRAMES = {
    **dict.fromkeys((0xC9, 0xCA), "arithmetic coding"),
    **dict.fromkeys((0xC3, 0xCB), "lossless coding"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical coding"),
    0xF7: "the coding of JPEG-LS",
}
_EXIF = b"Exif\0\0"
_RESAVE = "Save the slices as baseline or progressive JPEG, or as PNG"
_MAX_FILL_BYTES = 4096
"""Most fill bytes in front of a marker: programs that align their segments write less than a sector."""
_MAX_SEGMENTS = 4096
"""Most segments in front of the scan: ICC profiles and EXIF of large files have some hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Size, type and orientation of a JPEG, from the segments in front of its first scan."""

    width_px: int
    height_px: int
    depth_bits: int
    n_channels: int
    orientation: int


def jpeg_header(file: BinaryIO) -> ImageHeader:
    """Read and judge the segments of a JPEG file up to its first scan.

    Raises:
        RefusedImageError: no step can use it.
    """
    return _header(_frame(file))


def decode_jpeg(data: bytes) -> Numbers:
    """The whole picture of a file whose header was read, upright: `[y, x]`, or `[y, x, channel]` of RGB.

    Raises:
        RefusedImageError: the file is truncated or damaged.
    """
    frame = _frame(io.BytesIO(data))
    return upright(_decoded(data, _header(frame).n_channels), frame.orientation)


def decode_part(part: bytes, tables: bytes, shape: tuple[int, int, int], *, is_ycbcr: bool) -> Numbers:
    """The pixels of a strip or tile of a TIFF, `[y, x, channel]`.

    A TIFF says in its own tags what its channels are; a marker of Adobe's tells the decoder so.

    Args:
        part: The strip or tile, a JPEG with or without tables of its own.
        tables: Tables that the parts have in common: a JPEG without a picture; empty without them.
        shape: Rows, columns and channels of a whole part; the last one may have fewer rows.
        is_ycbcr: True where three channels are YCbCr, which become RGB.

    Raises:
        RefusedImageError: the part is of another size or coding, truncated or damaged.
    """
    frame = _frame(io.BytesIO(part))
    found = (frame.height_px, frame.width_px, frame.n_channels)
    if frame.depth_bits != 8 or found[1:] != shape[1:] or not 0 < found[0] <= shape[0]:
        got = f"a JPEG of {found[1]:,} x {found[0]:,} px, {found[2]} channels of {frame.depth_bits} bit"
        wanted = f"a part of {shape[1]:,} x {shape[0]:,} px, {shape[2]} channels"
        raise RefusedImageError("must hold a whole picture", f"{got} in {wanted}", COPY)
    adobe = struct.pack(">BBH5sHHHB", _FILL, _APP14, 14, b"Adobe", 100, 0, 0, int(is_ycbcr))
    common = _without_application_data(tables) if tables else b""
    return np.atleast_3d(
        _decoded(b"".join([_SOI, adobe, common, _without_application_data(part)]), frame.n_channels)
    )


def _header(frame: _Frame) -> ImageHeader:
    if frame.n_channels not in (1, 3):
        got = f"a JPEG of {frame.n_channels} channels"
        raise RefusedImageError("must be grey or RGB", got, CONVERT)
    if frame.depth_bits != 8:
        raise RefusedImageError("must have 8 or 16 bit", f"{frame.depth_bits} bit", CONVERT)
    width_px, height_px = frame.width_px, frame.height_px
    if swaps_sides(frame.orientation):
        width_px, height_px = height_px, width_px
    return ImageHeader(
        width_px=width_px,
        height_px=height_px,
        sample_type="uint8",
        image_format="jpeg",
        n_channels=frame.n_channels,
        orientation=frame.orientation,
    )


def _decoded(data: bytes, n_channels: int) -> Numbers:
    # The file's own colour space: asked for GRAY, the decoder would drop the colours of an RGB file.
    space = "GRAY" if n_channels == 1 else "RGB"
    try:
        picture: Numbers = simplejpeg.decode_jpeg(data, space, strict=True)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        got = f"JPEG data that do not decode ({reason})"
        raise RefusedImageError("must hold a whole picture", got, COPY) from None
    return picture[:, :, 0] if space == "GRAY" else picture


def _frame(file: BinaryIO) -> _Frame:
    """The frame header of a JPEG, and the orientation in its EXIF tags."""
    frame, orientation = b"", UPRIGHT
    for marker, start, length in _segments(file):
        if marker in _REFUSED_FRAMES:
            raise RefusedImageError(
                "must be a baseline or progressive JPEG", _REFUSED_FRAMES[marker], _RESAVE
            )
        if marker in _FRAMES:
            file.seek(start)
            frame = file.read(6)
        elif marker == _APP1:
            file.seek(start)
            exif = file.read(length)
            if exif.startswith(_EXIF):
                orientation = exif_orientation(exif[len(_EXIF) :])
    if len(frame) < 6:
        raise _no_frame()
    depth_bits, height_px, width_px, n_channels = struct.unpack(">BHHB", frame)
    if height_px == 0:
        raise RefusedImageError("must have its height in the header", "a JPEG of 0 rows", _RESAVE)
    return _Frame(
        width_px=width_px,
        height_px=height_px,
        depth_bits=depth_bits,
        n_channels=n_channels,
        orientation=orientation,
    )


def _segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Marker, place and length of each segment up to the first scan, or to the end of a JPEG without one.

    Any number of bytes 255 may stand in front of a marker (T.81, B.1.1.2).

    Raises:
        RefusedImageError: something else stands there, or the file ends.
    """
    position = len(_SOI)
    for _ in range(_MAX_SEGMENTS):
        file.seek(position)
        if file.read(1) != b"\xff":
            raise _no_frame()
        for _ in range(_MAX_FILL_BYTES):
            marker = int.from_bytes(file.read(1), "big")
            if marker != _FILL:
                break
        else:
            raise _no_frame()
        start = file.tell()
        if marker in (0, _EOI):  # 0 is the end of the file, or a byte of a scan
            return
        if marker in _WITHOUT_LENGTH:
            position = start
            continue
        length = int.from_bytes(file.read(2), "big")
        if length < 2:
            raise _no_frame()
        yield marker, start + 2, length - 2
        if marker == _SOS:
            return
        position = start + length
    raise _no_frame()


def _without_application_data(data: bytes) -> bytes:
    """A JPEG without its first two bytes, and without what JFIF and Adobe say of its colours.

    The end marker of tables is left out, that of a picture stays.
    """
    kept = []
    for marker, start, length in _segments(io.BytesIO(data)):
        if marker not in (_APP0, _APP14):
            stop = len(data) if marker == _SOS else start + length
            kept.append(bytes([_FILL, marker]) + data[start - 2 : stop])
    return b"".join(kept)


def _no_frame() -> RefusedImageError:
    return RefusedImageError("must be a sound JPEG file", "one without a frame header", COPY)
