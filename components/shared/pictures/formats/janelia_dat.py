"""Raw images of Janelia's FIB-SEM microscopes, `.dat`: a header of 1,024 bytes, then the pixels.

Five fields of the header say how the pixels lie; they are at the same place in all its versions. A sixth, the
size of a pixel in nm, has moved once. Numbers are big-endian, the channels of a pixel stand together, and
something of any length may follow the last row. Nothing in the file vouches for its pixels.

Source: the tables of github.com/clbarnes/jeiss-specs, versions 1 to 9.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from components.shared.documents.plan import PixelSize
from components.shared.pictures.formats.header import (
    COPY,
    MAX_CHANNELS,
    ImageHeader,
    Numbers,
    RefusedImageError,
)
from components.shared.pictures.pixel_size import sized

DAT_SIGNATURE = b"\xd3\xed\xf5\xf2"
_HEADER_BYTES = 1024
_VERSIONS = range(1, 10)
_VERSION, _CHANNELS, _SIZE = 4, 32, 100
"""Bytes at which fields start."""
_PIXEL_SIZE: Mapping[int, tuple[str, int]] = MappingProxyType(
    dict.fromkeys((1, 2), (">d", 416)) | dict.fromkeys(range(3, 10), (">f", 464))
)
"""Type and first byte of the size of a pixel, by version."""


def dat_header(file: BinaryIO) -> ImageHeader:
    """Read and judge the header of a `.dat` file.

    Raises:
        RefusedImageError: the file is cut, or of another version.
    """
    start = file.read(_HEADER_BYTES)
    if len(start) < _HEADER_BYTES:
        raise RefusedImageError("must begin with a whole .dat header", f"{len(start):,} bytes", COPY)
    (version,) = struct.unpack_from(">H", start, _VERSION)
    n_channels, is_8_bit = struct.unpack_from(">BB", start, _CHANNELS)
    width_px, height_px = struct.unpack_from(">II", start, _SIZE)
    if version not in _VERSIONS:
        remedy = "Export TIFF with the microscope's program"
        raise RefusedImageError("must have a .dat header of version 1 to 9", f"version {version}", remedy)
    if not 1 <= n_channels <= MAX_CHANNELS:
        rule = f"must have 1 to {MAX_CHANNELS} channels"
        raise RefusedImageError(rule, f"a .dat header of {n_channels}", COPY)
    header = ImageHeader(
        width_px=width_px,
        height_px=height_px,
        sample_type="uint8" if is_8_bit else "int16",
        image_format="dat",
        n_channels=n_channels,
        pixel_size=_pixel_size(start, version),
    )
    n_bytes = file.seek(0, io.SEEK_END) - _HEADER_BYTES
    if n_bytes < header.picture_bytes:
        got = f"a .dat file with {n_bytes:,} of {header.picture_bytes:,} bytes of pixels"
        raise RefusedImageError("must be whole", got, COPY)
    return header


def _pixel_size(header: bytes, version: int) -> PixelSize | None:
    (side_nm,) = struct.unpack_from(_PIXEL_SIZE[version][0], header, _PIXEL_SIZE[version][1])
    return sized(side_nm, side_nm, "header of the .dat file, PixelSize")


def decode_dat(data: bytes) -> Numbers:
    """The picture of a file whose header was read, `[y, x]`, or `[y, x, channel]` of several."""
    header = dat_header(io.BytesIO(data))
    shape = (header.height_px, header.width_px, header.n_channels)
    stored = np.dtype(header.sample_type).newbyteorder(">")
    numbers = np.frombuffer(data, stored, shape[0] * shape[1] * shape[2], _HEADER_BYTES)
    picture: Numbers = numbers.reshape(shape).astype(header.sample_type)
    return picture[:, :, 0] if header.n_channels == 1 else picture
