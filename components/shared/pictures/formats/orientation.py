"""The orientation of a picture: a number from 1 to 8, in TIFF and EXIF, that says where its first pixel is.

TIFF 6.0, section 8; EXIF 2.32, section 4.6.4, which JPEG and PNG (chunk eXIf) can hold.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from components.shared.documents.plan import PixelSize
from components.shared.pictures.formats.header import Numbers, RefusedImageError
from components.shared.pictures.formats.tiff_tags import ORIENTATION, TIFF_SIGNATURES, directories

UPRIGHT = 1
_FIRST_OF_TURNED = 5
"""From this number on rows of the file are columns of the picture."""
ORIENTATIONS: Mapping[int, str] = MappingProxyType(
    {
        2: "mirrored left to right",
        3: "turned by 180 degrees",
        4: "mirrored top to bottom",
        5: "mirrored and turned by 90 degrees",
        6: "turned by 90 degrees clockwise",
        7: "mirrored and turned by 90 degrees",
        8: "turned by 90 degrees counterclockwise",
    }
)
"""Words for what an orientation makes of a picture (TIFF 6.0, tag 274)."""


def swaps_sides(orientation: int) -> bool:
    """True where the rows of the file are the columns of the picture."""
    return orientation >= _FIRST_OF_TURNED


def turned_size(stored: PixelSize, orientation: int) -> PixelSize:
    """The size of a pixel of an upright picture, of the size of one as it is stored."""
    if not swaps_sides(orientation):
        return stored
    return stored.model_copy(update={"x_nm": stored.y_nm, "y_nm": stored.x_nm})


def upright(stored: Numbers, orientation: int) -> Numbers:
    """The picture as it is meant to be seen, of `[y, x]` or `[y, x, channel]` as they are stored.

    Example:
        >>> stored = np.array([[1, 2, 3], [4, 5, 6]])
        >>> upright(stored, 3).tolist()
        [[6, 5, 4], [3, 2, 1]]
        >>> upright(stored, 6).tolist()
        [[4, 1], [5, 2], [6, 3]]
    """
    if swaps_sides(orientation):
        stored = stored.swapaxes(0, 1)
    # The corner of the first pixel goes round clockwise from the upper left, twice: 1 to 4, and 5 to 8.
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return np.ascontiguousarray(stored)


def checked_orientation(orientation: int) -> int:
    """An orientation that is one.

    Raises:
        RefusedImageError: it is none.
    """
    if not UPRIGHT <= orientation <= 8:
        remedy = "Save the slices upright, with orientation 1"
        raise RefusedImageError("must have an orientation of 1 to 8", str(orientation), remedy)
    return orientation


def exif_orientation(exif: bytes) -> int:
    """The orientation that EXIF tags tell, which are a TIFF without pixels.

    Raises:
        RefusedImageError: they are damaged, or the orientation is none.
    """
    try:
        if not exif.startswith(TIFF_SIGNATURES):
            raise RefusedImageError("must begin as TIFF does", repr(exif[:4]), "")
        orientation = next(directories(io.BytesIO(exif))).integer(ORIENTATION, UPRIGHT)
    except RefusedImageError as refusal:
        remedy = "Save the slices without EXIF"
        raise RefusedImageError("must have sound EXIF tags", refusal.got, remedy) from None
    return checked_orientation(orientation)
