"""The image formats of slices: what their headers tell, and decoders that refuse damaged files.

Decoders that go on after an error are not used: libtiff's LZW, and JPEG without `strict`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from components.shared.documents import PixelType
from components.shared.errors import FibstackError

Picture = NDArray[np.uint8] | NDArray[np.uint16]
"""[y, x] grey levels, or [y, x, channel]: red, green, blue and alpha, or as many as there are."""
ImageFormat = Literal["png", "tiff", "jpeg"]

CONVERT = "Convert the slices to grey or RGB PNG or TIFF of 8 or 16 bit"
MAX_CHANNELS = 16
_COPY = "Copy the slice again"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_CHANNELS = {0: 1, 2: 3, 6: 4}
_PNG_REFUSED_TYPES = {3: "palette colours", 4: "grey with alpha"}
_TIFF_COMPRESSIONS = {
    tifffile.COMPRESSION.NONE,
    tifffile.COMPRESSION.ADOBE_DEFLATE,
    tifffile.COMPRESSION.DEFLATE,
}
_TIFF_PHOTOMETRICS = {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB}
_JPEG_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What the header of a slice tells."""

    width_px: int
    height_px: int
    pixel_type: PixelType
    image_format: ImageFormat
    n_channels: int = 1


class RefusedImageError(Exception):
    """Why a file is no slice, without its name: what it must be, what it is, what to do."""

    def __init__(self, rule: str, got: str, remedy: str) -> None:
        super().__init__(rule, got, remedy)
        self.rule, self.got, self.remedy = rule, got, remedy


def header(file: BinaryIO) -> ImageHeader:
    """Read and judge the header of an image file.

    Raises:
        RefusedImageError: the file is no grey or RGB PNG, TIFF or JPEG of 8 or 16 bit.
    """
    start = file.read(8)
    file.seek(0)
    if start == _PNG_SIGNATURE:
        return _png_header(file)
    if start.startswith(_TIFF_SIGNATURES):
        return _tiff_header(file)
    if start.startswith(_JPEG_SIGNATURE):
        return _jpeg_header(file)
    got = f"a file that starts with {start!r}" if start else "an empty file"
    raise RefusedImageError("must be a PNG, TIFF or JPEG file", got, _COPY)


def decode(data: bytes, image_format: ImageFormat) -> Picture:
    """The whole picture of a file whose `header` was read, `[y, x]`, or `[y, x, channel]` of several.

    Raises:
        RefusedImageError: the file is truncated or damaged.
    """
    decoders: dict[ImageFormat, Callable[[bytes], Picture]] = {
        "png": _decode_png,
        "tiff": _decode_tiff,
        "jpeg": _decode_jpeg,
    }
    return decoders[image_format](data)


def _header(
    width_px: int, height_px: int, depth_bits: int, image_format: ImageFormat, n_channels: int
) -> ImageHeader:
    if depth_bits not in (8, 16):
        raise RefusedImageError("must have 8 or 16 bit", f"{depth_bits} bit", CONVERT)
    pixel_type: PixelType = "uint8" if depth_bits == 8 else "uint16"
    return ImageHeader(
        width_px=width_px,
        height_px=height_px,
        pixel_type=pixel_type,
        image_format=image_format,
        n_channels=n_channels,
    )


def _truncated(got: str) -> RefusedImageError:
    return RefusedImageError("must be whole", got, _COPY)


# PNG: https://www.w3.org/TR/png-3/ sections 5 and 11.2.1


def _png_header(file: BinaryIO) -> ImageHeader:
    start = file.read(33)
    if len(start) < 33 or start[8:16] != b"\0\0\0\rIHDR":
        raise RefusedImageError("must begin with a PNG header", "a damaged one", _COPY)
    if zlib.crc32(start[12:29]) != int.from_bytes(start[29:33], "big"):
        raise RefusedImageError("must have a sound PNG header", "a wrong checksum", _COPY)
    width, height, depth, colour_type = struct.unpack(">IIBB", start[16:26])
    if colour_type not in _PNG_CHANNELS:
        got = _PNG_REFUSED_TYPES.get(colour_type, f"colour type {colour_type}")
        raise RefusedImageError("must be grey or RGB", got, CONVERT)
    return _header(width, height, depth, "png", _PNG_CHANNELS[colour_type])


def _decode_png(data: bytes) -> Picture:
    for name, body, stored_crc in _png_chunks(data):
        if zlib.crc32(body, zlib.crc32(name)) != stored_crc:
            raise RefusedImageError("must be undamaged", f"a wrong checksum of its {name!r} part", _COPY)
    picture: Picture | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[assignment]
    if picture is None:
        raise RefusedImageError("must hold a whole picture", "PNG data that do not decode", _COPY)
    if picture.ndim == 3:
        to_rgb = cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        cv2.cvtColor(picture, to_rgb, dst=picture)
    return picture


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Name, body and stored CRC of each chunk up to IEND."""
    view = memoryview(data)
    position, name = len(_PNG_SIGNATURE), b""
    while name != b"IEND":
        start = position + 8
        length, name = int.from_bytes(view[position : position + 4], "big"), bytes(view[position + 4 : start])
        position = start + length + 4
        if position > len(data):
            raise _truncated(f"a PNG that breaks off after {len(data):,} bytes")
        yield name, view[start : start + length], int.from_bytes(view[position - 4 : position], "big")


# TIFF: revision 6.0, and BigTIFF; tifffile finds the tags wherever they lie


def _tiff_header(file: BinaryIO) -> ImageHeader:
    page = _tiff_page(file)
    n_channels = page.samplesperpixel
    if page.photometric not in _TIFF_PHOTOMETRICS or not 1 <= n_channels <= MAX_CHANNELS:
        rule = f"must be RGB or grey with black as 0, of at most {MAX_CHANNELS} channels"
        got = f"a TIFF of {n_channels} channels, {_tag_name(page.photometric)}"
        raise RefusedImageError(rule, got, CONVERT)
    if page.sampleformat != tifffile.SAMPLEFORMAT.UINT:
        raise RefusedImageError("must hold unsigned integers", _tag_name(page.sampleformat), CONVERT)
    if page.compression not in _TIFF_COMPRESSIONS:
        rule = "must be a TIFF without compression or with deflate"
        raise RefusedImageError(rule, _tag_name(page.compression), "Save the slices so, or as PNG")
    return _header(page.imagewidth, page.imagelength, page.bitspersample, "tiff", n_channels)


def _decode_tiff(data: bytes) -> Picture:
    page = _tiff_page(io.BytesIO(data))
    if any(o + n > len(data) for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise _truncated(f"a TIFF that breaks off after {len(data):,} bytes")
    n_channels = page.samplesperpixel
    shape_yxc = (page.imagelength, page.imagewidth, n_channels)
    picture = np.empty(shape_yxc, np.dtype(f"u{page.bitspersample // 8}"))
    n_read = 0
    try:
        for part, (plane, _, row, column, _), shape in page.segments(maxworkers=1):
            _, height, width, n_samples = shape
            # tifffile hands out a missing part as None and a short one as it is.
            if part is not None and part.size == height * width * n_samples:
                # One plane for each channel, or all channels of a pixel together.
                inside = picture[row : row + height, column : column + width, plane : plane + n_samples]
                inside[:] = part.reshape(height, width, -1)[: inside.shape[0], : inside.shape[1]]
                n_read += inside.size
    except Exception as error:  # its decoders raise nearly anything on damaged data
        reason = str(error).partition("\n")[0]
        got = f"TIFF data that do not decode ({reason})"
        raise RefusedImageError("must hold a whole picture", got, _COPY) from None
    if n_read != picture.size:
        raise _truncated(f"{n_read // n_channels:,} of {picture.size // n_channels:,} px")
    return picture[:, :, 0] if n_channels == 1 else picture


def _tiff_page(file: BinaryIO) -> tifffile.TiffPage:
    """The only page of a TIFF, its tags read."""
    try:
        pages = tifffile.TiffFile(file).pages
        page, is_multipage = pages.first, pages.is_multipage
    except FibstackError:
        raise
    except Exception as error:  # tifffile raises nearly anything on damaged tags
        raise RefusedImageError("must be a sound TIFF file", f"damaged tags ({error})", _COPY) from None
    if is_multipage:
        remedy = "Save each slice as its own file"
        raise RefusedImageError("must hold one picture", "a TIFF of several pages", remedy)
    return page


def _tag_name(value: Any) -> str:  # noqa: ANN401 - an enumeration of tifffile's, or a number it does not know
    return str(getattr(value, "name", value))


# JPEG: ITU-T T.81 annex B


def _jpeg_header(file: BinaryIO) -> ImageHeader:
    """Walk the segments up to the frame header."""
    file.seek(2)
    while True:
        start = file.read(4)
        length = int.from_bytes(start[2:], "big")
        if len(start) < 4 or start[0] != 0xFF or length < 2:
            raise RefusedImageError("must be a sound JPEG file", "one without a frame header", _COPY)
        if start[1] in _JPEG_FRAME_MARKERS:
            break
        file.seek(length - 2, io.SEEK_CUR)
    frame = file.read(6)
    if len(frame) < 6:
        raise RefusedImageError("must be a sound JPEG file", "one without a frame header", _COPY)
    depth, height, width, channels = struct.unpack(">BHHB", frame)
    if channels not in (1, 3):
        raise RefusedImageError("must be grey or RGB", f"a JPEG of {channels} channels", CONVERT)
    return _header(width, height, depth, "jpeg", channels)


def _decode_jpeg(data: bytes) -> Picture:
    # The file's own colour space: asked for GRAY, the decoder would drop the colours of an RGB file.
    space = "GRAY" if header(io.BytesIO(data)).n_channels == 1 else "RGB"
    try:
        picture: Picture = simplejpeg.decode_jpeg(data, space, strict=True)
    except ValueError as error:
        got = f"JPEG data that do not decode ({error})"
        raise RefusedImageError("must hold a whole picture", got, _COPY) from None
    return picture[:, :, 0] if space == "GRAY" else picture
