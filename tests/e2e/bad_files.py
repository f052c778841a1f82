"""Image files that no step should see, made byte by byte where no library would write them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

PNG = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column, and steps between rows and columns, of each pass (PNG, section 8.1)."""


def png(image: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png_by_hand(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = GREY,
    interlace: int = 0,
    rows: bytes = b"",
    before: bytes = b"",
) -> bytes:
    """A PNG whose header says one thing and whose data may say another.

    Args:
        width: Of the header, as all of the next four.
        height: See there.
        depth: See there.
        colour: See there.
        interlace: See there.
        rows: Content of IDAT before compression; each row begins with its filter's number.
        before: Further chunks between the header and the data.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    data = png_chunk(b"IDAT", zlib.compress(rows))
    return PNG + png_chunk(b"IHDR", header) + before + data + png_chunk(b"IEND", b"")


def rows_of(image: NDArray[np.uint8]) -> bytes:
    """The rows of a picture for `png_by_hand`, without filter."""
    return b"".join(b"\0" + row.tobytes() for row in image)


def interlaced(image: NDArray[np.uint8]) -> bytes:
    height, width = image.shape
    rows = b"".join(rows_of(image[y::dy, x::dx]) for y, x, dy, dx in _ADAM7 if image[y::dy, x::dx].size)
    return png_by_hand(width, height, interlace=1, rows=rows)


def zeros_deflated(n_bytes: int) -> bytes:
    """So many zeros, a thousand times smaller; made without ever having them in memory."""
    packer, megabyte = zlib.compressobj(), bytes(1_000_000)
    parts = [packer.compress(megabyte) for _ in range(n_bytes // len(megabyte))]
    return b"".join([*parts, packer.compress(bytes(n_bytes % len(megabyte))), packer.flush()])


def black_png(width: int, height: int) -> bytes:
    """A sound PNG of one grey level, which is 1,000 times larger when it is decoded."""
    header = struct.pack(">IIBBBBB", width, height, 8, GREY, 0, 0, 0)
    data = png_chunk(b"IDAT", zeros_deflated((width + 1) * height))
    return PNG + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


def tiff(image: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def tiff_by_pillow(image: NDArray[Any], compression: str, **options: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "TIFF", compression=compression, **options)
    return file.getvalue()


def with_reduced_picture(image: NDArray[Any]) -> bytes:
    """A TIFF of a picture and a copy of a quarter of its size."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(image, photometric="minisblack")
        writer.write(image[::4, ::4], photometric="minisblack", subfiletype=1)
    return file.getvalue()


def with_tag(data: bytes, code: int, value: int) -> bytes:
    """A little-endian TIFF with another value of a tag that has one number.

    Args:
        data: As `tiff` writes it.
        code: Number of the tag.
        value: As LONG.
    """
    first = int.from_bytes(data[4:8], "little")
    changed = bytearray(data)
    for entry in range(first + 2, first + 2 + 12 * int.from_bytes(data[first : first + 2], "little"), 12):
        if int.from_bytes(data[entry : entry + 2], "little") == code:
            changed[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, value)
            return bytes(changed)
    raise KeyError(code)


WIDTH, LENGTH, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES, TILE_WIDTH, TILE_LENGTH = (
    256,
    257,
    273,
    278,
    279,
    322,
    323,
)


def with_size(data: bytes, width: int, height: int) -> bytes:
    return with_tag(with_tag(data, WIDTH, width), LENGTH, height)


def with_tiles(data: bytes, side: int) -> bytes:
    return with_tag(with_tag(data, TILE_WIDTH, side), TILE_LENGTH, side)


def tiff_bomb(image: NDArray[Any], n_bytes: int) -> bytes:
    """A small picture whose one strip becomes `n_bytes` when it is decompressed."""
    data, bomb = tiff(image, compression="zlib", rowsperstrip=len(image)), zeros_deflated(n_bytes)
    moved = with_tag(with_tag(data, STRIP_OFFSETS, len(data)), STRIP_BYTES, len(bomb))
    return moved + bomb


def tiff_in_a_circle(image: NDArray[Any]) -> bytes:
    """A TIFF whose only page says that it is followed by itself."""
    data = bytearray(tiff(image))
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[end : end + 4] = data[4:8]
    return bytes(data)


def jpeg(image: NDArray[Any], **options: int) -> bytes:
    flags = [value for name, n in options.items() for value in (getattr(cv2, f"IMWRITE_JPEG_{name}"), n)]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def jpeg_with_frame(data: bytes, *, depth: int = 8, width: int = 0, height: int = 0) -> bytes:
    """A JPEG with another depth or size in its frame header."""
    start = data.index(b"\xff\xc0") + 4
    changed = bytearray(data)
    changed[start] = depth
    if width:
        changed[start + 1 : start + 5] = struct.pack(">HH", height, width)
    return bytes(changed)


def cmyk_jpeg(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.merge("CMYK", [Image.fromarray(image)] * 4).save(file, "JPEG")
    return file.getvalue()
