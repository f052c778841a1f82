"""MRC2014: one file of all slices, as IMOD writes it.

Numbers of 8 bit are signed in MRC2014 (mode 0), so 128 less than the grey level is written; the flag by which
IMOD knows that makes its programs add it again. No reader takes bright for dark then. 16 bit are mode 6. Rows
run from the bottom up, so that programs that count y upwards show pictures as they were recorded.

The header of 1,024 bytes is written here: mrcfile, which makes 16 bit of 8 and reads the whole file again for
its statistics, is the reader of the tests.

Source: Cheng et al., J. Struct. Biol. 192:146-150 (2015), and ccpem.ac.uk/mrc_format/mrc2014.php; IMOD's
libcfshr/b3dutil.c (readBytesSigned) and "MRC file format" in its documentation.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from commands.export.formats.pictures import AboutPictures, GreyLevels, Picture, StackFormat

_HEADER_BYTES = 1024
_MODES = {"uint8": 0, "uint16": 6}
_SIGNED_FROM = 128
"""Grey level that is written as 0 in mode 0."""
_NM_ANGSTROM = 10.0
_VOLUME = 1
"""Space group of a volume; 0 are pictures that have nothing to do with each other."""
_VERSION = 20141
_IMOD_STAMP, _IMOD_SIGNED_BYTES = 1146047817, 1
_LITTLE_ENDIAN = b"DD\0\0"
_LABEL_BYTES, _N_LABELS = 80, 10


class MrcStack(StackFormat):
    """One MRC file of all slices."""

    takes_colours = False

    def begin(self, file: BinaryIO, about: AboutPictures) -> int:
        file.truncate(_HEADER_BYTES + about.size_xyz[2] * about.picture_bytes)
        return _HEADER_BYTES

    def stored(self, picture: Picture) -> bytes:
        bottom_up = picture[::-1]
        if picture.dtype == np.uint8:
            return (bottom_up ^ np.uint8(_SIGNED_FROM)).tobytes()
        return bottom_up.astype("<u2").tobytes()

    def finish(self, file: BinaryIO, about: AboutPictures, levels: GreyLevels) -> None:
        file.seek(0)
        file.write(_header(about, levels))


def _header(about: AboutPictures, levels: GreyLevels) -> bytes:
    size = about.size_xyz
    cell = [n * side * _NM_ANGSTROM for n, side in zip(size, about.voxel_nm, strict=True)]
    is_signed = about.data_type == "uint8"
    least, greatest, mean = (
        level - _SIGNED_FROM * is_signed for level in (levels.least, levels.greatest, levels.mean)
    )
    labels = [about.title, f"section 0 is slice {about.slice_numbers[0]}; rows run from the bottom up"]
    return b"".join(
        (
            struct.pack("<4i", *size, _MODES[about.data_type]),
            struct.pack("<6i", 0, 0, 0, *size),  # first voxel, and sampling of the cell
            struct.pack("<6f", *cell, 90, 90, 90),
            struct.pack("<3i", 1, 2, 3),  # columns are x, rows y, sections z
            struct.pack("<3f", least, greatest, mean),
            struct.pack("<2i", _VOLUME, 0),  # and no extended header
            struct.pack("<8x4xi40x", _VERSION),
            struct.pack("<2i", _IMOD_STAMP, _IMOD_SIGNED_BYTES * is_signed),
            struct.pack("<36x3f", 0, 0, 0),  # origin
            b"MAP " + _LITTLE_ENDIAN,
            struct.pack("<fi", levels.rms, len(labels)),
            *(label.encode("ascii").ljust(_LABEL_BYTES) for label in labels),
            bytes(_LABEL_BYTES * (_N_LABELS - len(labels))),
        )
    )
