"""The directories of a TIFF (revision 6.0) or BigTIFF, and their tags, read as if from a stranger.

A value is read when it is asked for, at most `MAX_VALUE_BYTES` of it. Every tag that fibstack looks at is a
constant of this module and says what is done with it: `make manifests` makes the table in docs/your-data.md
of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from components.shared.pictures.formats.header import COPY, RefusedImageError

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_VALUE_BYTES = 64 * 2**20
"""Longest value of a tag: the places of four million tiles of 16 x 16 px have 32 MiB."""
MAX_REDUCED = 64
"""Most reduced pictures and masks in a row: a pyramid has twenty levels at most."""
MAX_ENTRIES = 4096
"""Most tags of a directory."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of TIFF, and what is done with it."""

    code: int
    name: str
    treatment: str
    """Use that is made of its values, as a cell of the table in docs/your-data.md."""


NEW_SUBFILE_TYPE = Tag(
    254,
    "NewSubfileType",
    "reduced pictures and masks (bits 0 and 2) are skipped; a file that has no other page is refused",
)
SUBFILE_TYPE = Tag(255, "SubfileType", "2, a reduced picture, is skipped")
WIDTH = Tag(256, "ImageWidth", "applied; 1 to 65,535")
HEIGHT = Tag(257, "ImageLength", "applied; 1 to 65,535")
BITS = Tag(258, "BitsPerSample", "8, 16, 32, 64 applied; others refused, also a missing one, which means 1")
COMPRESSION = Tag(259, "Compression", "none, deflate, LZW, zstd, PackBits, JPEG applied; others refused")
PHOTOMETRIC = Tag(
    262,
    "PhotometricInterpretation",
    "missing means black is 0; white is 0: integers inverted, floating point refused; RGB; YCbCr in JPEG "
    "made RGB; a palette that is a ramp of greys; others refused (CMYK, CIELab, masks, colour filter arrays)",
)
FILL_ORDER = Tag(266, "FillOrder", "1; 2: the bits of each stored byte are reversed, but those of JPEG")
DESCRIPTION = Tag(
    270,
    "ImageDescription",
    "axes of ImageJ, OME-XML and tifffile: slices and channels applied; time and all other axes refused; "
    "ImageJ's unit and OME-XML's PhysicalSizeX: the size of a pixel",
)
STRIP_OFFSETS = Tag(273, "StripOffsets", "applied")
ORIENTATION = Tag(
    274, "Orientation", "1 to 8 applied: the picture is turned and mirrored until it stands upright"
)
CHANNELS = Tag(277, "SamplesPerPixel", "1 to 16 applied")
ROWS_PER_STRIP = Tag(278, "RowsPerStrip", "applied; missing means all rows")
STRIP_BYTES = Tag(279, "StripByteCounts", "applied; may be missing in files without compression")
_BY_ITSELF = "not looked at: the range of grey levels is taken from the slices"
LEAST_NUMBER = Tag(280, "MinSampleValue", _BY_ITSELF)
GREATEST_NUMBER = Tag(281, "MaxSampleValue", _BY_ITSELF)
X_RESOLUTION = Tag(
    282,
    "XResolution",
    "told as the size of a pixel where it is one of 0.1 to 1,000 nm, in inch, cm or ImageJ's unit",
)
Y_RESOLUTION = Tag(283, "YResolution", "as XResolution")
PLANAR = Tag(
    284, "PlanarConfiguration", "channels of a pixel together (1) or in planes (2) applied; others refused"
)
GREY_CURVE = Tag(291, "GrayResponseCurve", _BY_ITSELF)
RESOLUTION_UNIT = Tag(296, "ResolutionUnit", "inch (2) and cm (3) applied to the size of a pixel")
TRANSFER_FUNCTION = Tag(301, "TransferFunction", _BY_ITSELF)
SOFTWARE = Tag(305, "Software", "not looked at")
PREDICTOR = Tag(
    317,
    "Predictor",
    "none; 2, differences; 3, those of floating point: applied with deflate, LZW and zstd; refused elsewhere",
)
COLOR_MAP = Tag(
    320, "ColorMap", "a ramp of 256 greys, up to 65,535 or up to 255, is read as grey; others refused"
)
TILE_WIDTH = Tag(322, "TileWidth", "applied")
TILE_HEIGHT = Tag(323, "TileLength", "applied")
TILE_OFFSETS = Tag(324, "TileOffsets", "applied")
TILE_BYTES = Tag(325, "TileByteCounts", "applied")
SUB_IFDS = Tag(330, "SubIFDs", "not followed: they hold reduced pictures")
EXTRA_CHANNELS = Tag(
    338,
    "ExtraSamples",
    "alpha of RGB applied; where colours are multiplied with it, they are divided by it again; "
    "alpha of grey, and further channels beside RGB, refused",
)
SAMPLE_FORMAT = Tag(
    339, "SampleFormat", "unsigned, signed, floating point; 4 (undefined) is unsigned; others refused"
)
LEAST_FLOAT = Tag(340, "SMinSampleValue", _BY_ITSELF)
GREATEST_FLOAT = Tag(341, "SMaxSampleValue", _BY_ITSELF)
JPEG_TABLES = Tag(347, "JPEGTables", "applied")
YCBCR_COEFFICIENTS = Tag(529, "YCbCrCoefficients", "those of ITU-R BT.601; others refused")
REFERENCE_BLACK_WHITE = Tag(532, "ReferenceBlackWhite", "of YCbCr: the full range; others refused")
IMAGE_DEPTH = Tag(32997, "ImageDepth", "1; a volume in one page is refused")
METAMORPH = Tag(33629, "UIC2 of MetaMorph", "one plane; more planes in one page are refused")
ZEISS_LSM = Tag(34412, "LSM info of Zeiss", "slices and channels applied; time and other axes refused")

COLOUR_PROFILE = Tag(34675, "ICC profile", "not looked at")
NO_DATA = Tag(42113, "GDAL_NODATA", "not looked at")
ZEISS_SEM = Tag(34118, "SEM metadata of Zeiss", "the size of a pixel: Image Pixel Size, else Pixel Size")
FEI_SFEG = Tag(34680, "metadata of FEI", "the size of a pixel: PixelWidth and PixelHeight")
FEI_HELIOS = Tag(
    34682, "metadata of FEI and Thermo Fisher", "the size of a pixel: PixelWidth and PixelHeight"
)
TESCAN = Tag(50431, "metadata of TESCAN", "the size of a pixel: PixelSizeX and PixelSizeY")


def all_tags() -> list[Tag]:
    """Every tag that this module names, by its code."""
    return sorted((value for value in globals().values() if isinstance(value, Tag)), key=lambda tag: tag.code)


_TYPES = {
    1: "u1", 2: "S1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4", 11: "f4",
    12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8",
}  # fmt: skip
"""NumPy's name of each type of a value."""
_REDUCED_OR_MASK = 0b101
"""Bits of NewSubfileType: a reduced copy of another page, and a mask of its transparent parts."""
_OLD_REDUCED = 2
"""Value of SubfileType that says a reduced copy."""
_MAX_OFFSET = 2**62
"""Beyond this a place in a file is none that a program can seek."""
_RATIONALS = (5, 10)
"""Types of a value that is two numbers, one over the other."""


def damaged(reason: str) -> RefusedImageError:
    """The error of a TIFF whose tags cannot be."""
    return RefusedImageError("must be a sound TIFF file", f"damaged tags ({reason})", COPY)


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    start: int
    """Place in the file of its value."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How the numbers of a directory lie, as `struct` writes it."""

    byte_order: Literal["<", ">"]
    is_big: bool

    @property
    def offset(self) -> str:
        """The place of a directory or a value."""
        return self.byte_order + ("Q" if self.is_big else "I")

    @property
    def n_entries(self) -> str:
        return self.byte_order + ("Q" if self.is_big else "H")

    @property
    def entry(self) -> str:
        """Code, type, count, and the value or its place."""
        return self.byte_order + ("HHQ8s" if self.is_big else "HHI4s")


class Directory:
    """The tags of one page of a TIFF."""

    def __init__(self, file: BinaryIO, form: _Format, offset: int) -> None:
        self.offset = offset
        """Place of the directory in the file."""
        self._file, self._format = file, form
        self._entries: dict[int, _Entry] = {}
        self._again: dict[int, list[_Entry]] = {}
        n_bytes = struct.calcsize(form.n_entries)
        (n_entries,) = struct.unpack(form.n_entries, _read(file, offset, n_bytes, "a page"))
        if not 1 <= n_entries <= MAX_ENTRIES:
            raise damaged(f"a page of {n_entries:,} tags")
        entry_bytes, inline = struct.calcsize(form.entry), struct.calcsize(form.offset)
        table = _read(file, offset + n_bytes, n_entries * entry_bytes + inline, "a page")
        for index in range(n_entries):
            code, kind, count, value = struct.unpack_from(form.entry, table, index * entry_bytes)
            if kind not in _TYPES:
                continue  # TIFF 6.0, section 2: readers should skip fields of an unexpected type
            start = offset + n_bytes + (index + 1) * entry_bytes - inline
            if count * _value_bytes(kind) > inline:
                (start,) = struct.unpack(form.offset, value)
            found = _Entry(kind, count, start)
            if self._entries.setdefault(code, found) is not found:
                self._again.setdefault(code, []).append(found)
        (self.next_offset,) = struct.unpack(form.offset, table[-inline:])

    @property
    def byte_order(self) -> Literal["<", ">"]:
        """Byte order of the tags and of the pixels."""
        return self._format.byte_order

    def at(self, offset: int) -> Directory:
        """The directory at another place of the same file."""
        return Directory(self._file, self._format, offset)

    def __contains__(self, tag: Tag) -> bool:
        return tag.code in self._entries

    def count(self, tag: Tag) -> int:
        """How many values a tag has; 0 without it."""
        entry = self._entries.get(tag.code)
        return entry.count if entry else 0

    def data(self, tag: Tag) -> bytes:
        """The value of a tag as it lies in the file, of the first of several; empty without it.

        Raises:
            RefusedImageError: it lies beyond the end of the file, or it is too long.
        """
        entry = self._entries.get(tag.code)
        return b"" if entry is None else self._value(tag, entry)

    def _value(self, tag: Tag, entry: _Entry) -> bytes:
        size = entry.count * _value_bytes(entry.kind)
        if size > MAX_VALUE_BYTES:
            raise damaged(f"{tag.name} has {size:,} bytes")
        return _read(self._file, entry.start, size, tag.name)

    def array(self, tag: Tag) -> NDArray[Any]:
        """The numbers of a tag; none without it. Of a rational each number is the quotient.

        Raises:
            RefusedImageError: it holds no numbers, or lies beyond the end of the file.
        """
        entry = self._entries.get(tag.code)
        if entry is None:
            return np.empty(0, np.int64)
        if _TYPES[entry.kind] == "S1":
            raise damaged(f"{tag.name} is a text")
        if tag.code in self._again:
            raise damaged(f"{tag.name} stands there twice")
        values = np.frombuffer(self.data(tag), np.dtype(_TYPES[entry.kind]).newbyteorder(self.byte_order))
        if entry.kind in _RATIONALS:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(values[::2] / values[1::2], np.float64)
        return values

    def integers(self, tag: Tag, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The integers of a tag; the default without it.

        Raises:
            RefusedImageError: it holds no integers, or lies beyond the end of the file.
        """
        if tag not in self:
            return default
        values = self.array(tag)
        if values.dtype.kind not in "iu":
            raise damaged(f"{tag.name} is no integer")
        return tuple(int(value) for value in values)

    def integer(self, tag: Tag, default: int | None = None) -> int:
        """The one integer of a tag; the default without it.

        Raises:
            RefusedImageError: it is missing without a default, or it is no integer.
        """
        if tag not in self and default is not None:
            return default
        if self.count(tag) != 1:
            raise damaged(
                f"{tag.name} has {self.count(tag):,} values" if tag in self else f"{tag.name} is missing"
            )
        return self.integers(tag)[0]

    def texts(self, tag: Tag, most_bytes: int = MAX_VALUE_BYTES) -> list[str]:
        """The texts of a tag that stands there any number of times, as programs do that add theirs.

        Each ends at its first null, and is UTF-8 or else Latin-1; one that is too long is left out.
        """
        entries = [self._entries[tag.code], *self._again.get(tag.code, [])] if tag in self else []
        values = [self._value(tag, entry) for entry in entries if entry.count <= most_bytes]
        return [_decoded(value.partition(b"\0")[0]) for value in values]


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def directories(file: BinaryIO) -> Iterator[Directory]:
    """The directories of a TIFF one behind the other, each a page.

    Raises:
        RefusedImageError: the file is cut, or a directory leads back to an earlier one.
    """
    start = _read(file, 0, 8, "the header")
    form = _Format("<" if start[:2] == b"II" else ">", start[2:4] in (b"+\0", b"\0+"))
    if form.is_big and start[4:8] != struct.pack(f"{form.byte_order}HH", 8, 0):
        raise damaged("BigTIFF with offsets of another size")
    position = 8 if form.is_big else 4
    (offset,) = struct.unpack(form.offset, _read(file, position, position, "the header"))
    if offset == 0:
        raise damaged("no page")
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise damaged("a page leads back to an earlier one")
        seen.add(offset)
        page = Directory(file, form, offset)
        yield page
        offset = page.next_offset


def full_pages(file: BinaryIO) -> Iterator[Directory]:
    """The pages of a TIFF that hold its pictures: not their reduced copies, and not their masks.

    Raises:
        RefusedImageError: the file is cut, a directory leads back to an earlier one, or none holds a picture.
    """
    n_full = n_in_a_row = 0
    for page in directories(file):
        kind = page.integer(NEW_SUBFILE_TYPE, 0)
        if not kind & _REDUCED_OR_MASK and page.integer(SUBFILE_TYPE, 1) != _OLD_REDUCED:
            n_full, n_in_a_row = n_full + 1, 0
            yield page
            continue
        n_in_a_row += 1
        if n_in_a_row > MAX_REDUCED:
            break
    if not n_full or n_in_a_row > MAX_REDUCED:
        rule = f"must hold a picture in full size, and at most {MAX_REDUCED} reduced ones behind it"
        got = f"a TIFF with {n_full:,} pictures in full size, {n_in_a_row:,} reduced ones or masks"
        raise RefusedImageError(rule, got, "Save the slices without reduced pictures")


def _value_bytes(kind: int) -> int:
    return np.dtype(_TYPES[kind]).itemsize * (2 if kind in _RATIONALS else 1)


def _read(file: BinaryIO, start: int, n_bytes: int, name: str) -> bytes:
    """Bytes of a file.

    Raises:
        RefusedImageError: it ends before them.
    """
    if start < _MAX_OFFSET:
        file.seek(start)
        data = file.read(n_bytes)
        if len(data) == n_bytes:
            return data
    raise damaged(f"{name} lies beyond the end of the file")
