"""PNG: a file for each slice, with the size of a pixel."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from commands.export.formats.pictures import AboutPictures, Picture, SliceFormat
from components.pyramid.encode import encode_png

_END_OF_HEADER = 33
"""Bytes of the signature and of the first chunk, IHDR, behind which pHYs may stand."""
_M_NM = 1e9
_IN_METRES = 1
_MOST = 2**31 - 1


class PngSlices(SliceFormat):
    """A PNG for each slice.

    Source: PNG specification (ISO/IEC 15948), section 11.3.5.3, pHYs.
    """

    suffix = ".png"

    def encode(self, picture: Picture, about: AboutPictures) -> bytes:
        channels_first = picture if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
        data = encode_png(channels_first[..., np.newaxis, :])
        return data[:_END_OF_HEADER] + _physical_size(about) + data[_END_OF_HEADER:]


def _physical_size(about: AboutPictures) -> bytes:
    """The chunk that says how many pixels a metre has; nothing where there are more than it can hold."""
    x, y = (round(_M_NM / side) for side in about.voxel_nm[:2])
    if max(x, y) > _MOST:
        return b""
    content = b"pHYs" + struct.pack(">IIB", x, y, _IN_METRES)
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
