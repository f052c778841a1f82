"""Raw `.dat` images, made by the published tables of their header."""

import struct
from typing import Any

from numpy.typing import NDArray

FOOTER = b"what the microscope writes behind the last row"


def dat(picture: NDArray[Any], version: int = 8, **fields: int) -> bytes:
    """A `.dat` file of a picture `[y, x, channel]`.

    The other fields are those of a file from a microscope: the date of its software and the sampling time.
    """
    height, width, n_channels = picture.shape
    given = {
        "channels": n_channels,
        "is_8_bit": picture.dtype.itemsize == 1,
        "width": width,
        "height": height,
    }
    given |= fields
    header = bytearray(1024)
    struct.pack_into(">IHH10s", header, 0, 3_555_587_570, version, 1, b"21/11/2021")
    struct.pack_into(">dBB", header, 24, 4e-8, given["channels"], given["is_8_bit"])
    struct.pack_into(">II", header, 100, given["width"], given["height"])
    header[1020:] = b"\xff" * 4  # of other fields nothing is looked at
    return bytes(header) + picture.astype(picture.dtype.newbyteorder(">")).tobytes() + FOOTER
