"""The picture of a page of a TIFF (revision 6.0) or BigTIFF, and a decoder that refuses damaged files.

One rule for every tag that says how a picture is to be shown: it is applied, or the file is refused and the
tag named. `tiff_tags` says which is done.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO, cast, get_args

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import PixelSize
from components.shared.pictures.formats import tiff_tags as tags
from components.shared.pictures.formats.header import (
    CONVERT,
    COPY,
    MAX_CHANNELS,
    ImageHeader,
    Numbers,
    RefusedImageError,
    truncated,
)
from components.shared.pictures.formats.jpeg import decode_part
from components.shared.pictures.formats.orientation import (
    checked_orientation,
    swaps_sides,
    turned_size,
    upright,
)
from components.shared.pictures.formats.tiff_axes import n_behind_each_other
from components.shared.pictures.formats.tiff_tags import Directory, damaged, full_pages
from components.shared.pictures.grey_levels import SampleType
from components.shared.pictures.pixel_size import told_in_tiff

_Unpacked = bytes | bytearray
ReadBytes = Callable[[int, int], bytes]
"""Reads the bytes of a file from a place up to another; fewer where it ends."""

MAX_TILE_PX = 2**22
"""Largest tile accepted in a file whose picture is smaller than one tile."""
MAX_PARTS = 2**18
"""Most strips or tiles of a picture: the largest picture in tiles of 64 x 64 px has as many."""
MIN_TILE_SIDE_PX = 16
"""Least side of a tile: TIFF 6.0, section 15, asks for multiples of it."""

_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_PHOTOMETRIC_NAMES = {
    0: "MINISWHITE", 1: "MINISBLACK", 2: "RGB", 3: "PALETTE", 4: "MASK", 5: "SEPARATED", 6: "YCBCR",
    8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "CFA", 32844: "LOGL", 32845: "LOGLUV",
    34892: "LINEAR_RAW", 51177: "DEPTH_MAP",
}  # fmt: skip
_NO_COMPRESSION, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _ZSTD = 1, 5, 7, 8, 32946, 32773, 50000
_COMPRESSION_NAMES = {
    2: "CCITTRLE", 3: "CCITT_T4", 4: "CCITT_T6", 6: "OJPEG", 34712: "JPEG2000", 34887: "LERC",
    34892: "LOSSY_JPEG", 34925: "LZMA", 50001: "WEBP", 50002: "JPEGXL",
}  # fmt: skip
_KINDS = {1: "uint", 2: "int", 3: "float", 4: "uint"}
"""Kind of number of each SampleFormat; 4 is data of no defined format, which TIFF 6.0 reads as unsigned."""
_KIND_NAMES = {5: "COMPLEXINT", 6: "COMPLEXIEEEFP"}
_TOGETHER, _IN_PLANES = 1, 2
_PREDICTABLE = (_LZW, _DEFLATE, _OLD_DEFLATE, _ZSTD)
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_MULTIPLIED, _ALPHA = 1, 2
"""Values of ExtraSamples: alpha with which the colours are multiplied, and alpha alone."""
_N_COLOURS = 3
_BT_601 = (0.299, 0.587, 0.114)
_FULL_RANGE = ((0, 255, 128, 255, 128, 255), (0, 255, 127, 255, 127, 255))
"""ReferenceBlackWhite of JPEG's YCbCr, as its middle is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffPicture:
    """The picture of a page, its tags judged; its pixels are still in the file."""

    page: Directory
    header: ImageHeader
    rows: int
    columns: int
    """Size as it is stored, before it is turned upright."""
    part_rows: int
    part_columns: int
    """Size of a strip or tile."""
    is_tiled: bool
    n_planes: int
    compression: int
    predictor: int
    photometric: int
    orientation: int
    has_reversed_bits: bool
    has_multiplied_colours: bool

    @property
    def n_together(self) -> int:
        """Channels whose numbers stand together in a part."""
        return self.header.n_channels // self.n_planes

    @property
    def part_bytes(self) -> int:
        """Bytes of a whole part, unpacked."""
        return self.part_rows * self.part_columns * self.n_together * self._dtype.itemsize

    @property
    def is_compressed(self) -> bool:
        return self.compression != _NO_COMPRESSION

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.header.sample_type)

    def pixel_size(self) -> PixelSize | None:
        """The size of a pixel of the upright picture that the tags tell; None where they tell none."""
        stored = told_in_tiff(self.page)
        return turned_size(stored, self.orientation) if stored else None

    def places(self, file_bytes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Place and number of bytes of each part.

        Raises:
            RefusedImageError: they do not hold the picture, or lie beyond the end of the file.
        """
        offset_tag, count_tag = (
            (tags.TILE_OFFSETS, tags.TILE_BYTES) if self.is_tiled else (tags.STRIP_OFFSETS, tags.STRIP_BYTES)
        )
        n_down, n_across = -(-self.rows // self.part_rows), -(-self.columns // self.part_columns)
        n_parts = n_down * n_across * self.n_planes
        if n_parts > MAX_PARTS:
            got = f"{n_parts:,}"
            raise RefusedImageError(f"must have at most {MAX_PARTS:,} strips or tiles", got, CONVERT)
        offsets = self.page.array(offset_tag)
        if count_tag in self.page or self.is_compressed:
            counts = self.page.array(count_tag)
        else:
            row_bytes = self.columns * self.n_together * self._dtype.itemsize
            rows = np.minimum(self.part_rows, self.rows - self.part_rows * np.arange(n_down))
            counts = np.tile(rows * row_bytes, self.n_planes)
        if {offsets.dtype.kind, counts.dtype.kind} - {"i", "u"}:
            raise damaged(f"{offset_tag.name} holds no integers")
        if len(offsets) < n_parts or len(counts) < n_parts:
            raise truncated(f"{min(len(offsets), len(counts)):,} of {n_parts:,} parts")
        # What is too large for 63 bits becomes negative; a sum might be too large, too.
        starts, sizes = offsets[:n_parts].astype(np.int64), counts[:n_parts].astype(np.int64)
        if min(starts.min(), sizes.min()) < 0 or (sizes > file_bytes - starts).any():
            raise truncated(f"a TIFF that breaks off after {file_bytes:,} bytes")
        return starts, sizes

    def decode(self, read: ReadBytes, file_bytes: int) -> Numbers:
        """The whole picture, upright: `[y, x]`, or `[y, x, channel]` of several.

        Args:
            read: Reads bytes of the file.
            file_bytes: How many it has.

        Raises:
            RefusedImageError: the file is truncated or damaged.
        """
        starts, sizes = self.places(file_bytes)
        n_channels = self.header.n_channels
        picture: Numbers = np.empty((self.rows, self.columns, n_channels), self._dtype)
        n_read = 0
        for (plane, row, column), start, size in zip(self._corners(), starts, sizes, strict=True):
            if size == 0:
                continue
            channels = slice(plane * self.n_together, (plane + 1) * self.n_together)
            place = picture[row : row + self.part_rows, column : column + self.part_columns, channels]
            n_rows = self.part_rows if self.is_tiled else len(place)
            part = self._part(read(int(start), int(start + size)), n_rows)
            if part is not None:
                place[:] = part[: len(place), : place.shape[1]]
                n_read += place.size
        if n_read != picture.size:
            raise truncated(f"{n_read // n_channels:,} of {picture.size // n_channels:,} px")
        if self.photometric == _WHITE_IS_0:
            np.bitwise_not(picture, out=picture)
        if self.has_multiplied_colours:
            _divide_by_alpha(picture)
        return upright(picture[:, :, 0] if n_channels == 1 else picture, self.orientation)

    def _corners(self) -> Iterator[tuple[int, int, int]]:
        """Plane, row and column of the upper left pixel of each part."""
        for plane in range(self.n_planes):
            for row in range(0, self.rows, self.part_rows):
                for column in range(0, self.columns, self.part_columns):
                    yield plane, row, column

    def _part(self, data: bytes, n_rows: int) -> Numbers | None:
        """The numbers of a strip or tile, `[y, x, channel]`; None where it holds too few."""
        shape = (n_rows, self.part_columns, self.n_together)
        if self.compression == _JPEG:
            whole = (self.part_rows, *shape[1:])
            tables = self.page.data(tags.JPEG_TABLES)
            pixels = decode_part(data, tables, whole, is_ycbcr=self.photometric == _YCBCR)
            return pixels[:n_rows] if len(pixels) >= n_rows else None
        if self.has_reversed_bits:
            data = bytes(imagecodecs.bitorder_decode(data))
        try:
            unpacked: _Unpacked = _UNPACK[self.compression](data, self.part_bytes)
        except Exception as error:  # the decoders raise nearly anything on damaged data
            got = f"TIFF data that do not decode ({_reason(error)})"
            raise RefusedImageError("must hold a whole picture", got, COPY) from None
        n_numbers = shape[0] * shape[1] * shape[2]
        if len(unpacked) < n_numbers * self._dtype.itemsize:
            return None
        if self.predictor == _FLOAT_DIFFERENCES:
            return _sum_of_float_differences(unpacked, shape, self._dtype)
        stored = self._dtype.newbyteorder(self.page.byte_order)
        numbers = np.frombuffer(unpacked, stored, n_numbers).reshape(shape)
        if self.predictor == _DIFFERENCES:
            # The bits of a number are summed as those of an unsigned integer, which may overflow.
            bits = numbers.astype(self._dtype).view(f"u{self._dtype.itemsize}")
            return np.cumsum(bits, axis=1, dtype=bits.dtype).view(self._dtype)
        return numbers


def tiff_header(file: BinaryIO) -> ImageHeader:
    """Read and judge the tags of a TIFF of one picture.

    Raises:
        RefusedImageError: no step can use it.
    """
    picture = tiff_picture(_only_page(file))
    return replace(picture.header, pixel_size=picture.pixel_size())


def decode_tiff(data: bytes) -> Numbers:
    """The whole picture of a file whose header was read, `[y, x]`, or `[y, x, channel]` of several.

    Raises:
        RefusedImageError: the file is truncated or damaged.
    """
    picture = tiff_picture(_only_page(io.BytesIO(data)))
    return picture.decode(lambda start, stop: data[start:stop], len(data))


def tiff_picture(page: Directory) -> TiffPicture:
    """Judge the tags of a page: each is applied by the decoder, or refused here.

    Raises:
        RefusedImageError: no step can use the page.
    """
    if page.integer(tags.IMAGE_DEPTH, 1) != 1:
        got = f"a volume of depth {page.integer(tags.IMAGE_DEPTH):,} in a page"
        raise RefusedImageError("must hold one picture", got, "Save each slice as a page")
    columns, rows = page.integer(tags.WIDTH), page.integer(tags.HEIGHT)
    n_channels = page.integer(tags.CHANNELS, 1)
    photometric = _photometric(page, n_channels)
    sample_type = _sample_type(page, n_channels)
    if photometric == _WHITE_IS_0 and sample_type.startswith("float"):
        raise RefusedImageError("must have black as 0", f"a TIFF of {sample_type} with white as 0", CONVERT)
    planar = page.integer(tags.PLANAR, _TOGETHER) if n_channels > 1 else _TOGETHER
    if planar not in (_TOGETHER, _IN_PLANES):
        raise RefusedImageError(
            "must have channels together or in planes", f"PlanarConfiguration {planar}", CONVERT
        )
    n_planes = n_channels if planar == _IN_PLANES else 1
    compression = _compression(page, photometric, sample_type, n_channels // n_planes)
    fill_order = page.integer(tags.FILL_ORDER, 1)
    if fill_order not in (1, 2):
        raise RefusedImageError("must have a FillOrder of 1 or 2", str(fill_order), CONVERT)
    orientation = checked_orientation(page.integer(tags.ORIENTATION, 1))
    is_tiled, part_rows, part_columns = _part_size(page, rows, columns)
    width_px, height_px = (rows, columns) if swaps_sides(orientation) else (columns, rows)
    return TiffPicture(
        page=page,
        header=ImageHeader(
            width_px=width_px,
            height_px=height_px,
            sample_type=sample_type,
            image_format="tiff",
            n_channels=n_channels,
            orientation=orientation,
            is_inverted=photometric == _WHITE_IS_0,
        ),
        rows=rows,
        columns=columns,
        part_rows=part_rows,
        part_columns=part_columns,
        is_tiled=is_tiled,
        n_planes=n_planes,
        compression=compression,
        predictor=_predictor(page, compression, sample_type),
        photometric=photometric,
        orientation=orientation,
        has_reversed_bits=fill_order == 2,
        has_multiplied_colours=_has_multiplied_colours(page, photometric, n_channels, sample_type),
    )


def _only_page(file: BinaryIO) -> Directory:
    """The one page of a TIFF that holds its picture."""
    first, *more = islice(full_pages(file), 2)
    if more or n_behind_each_other(first, file) > 1:
        remedy = "Make a file of each page with 'fibstack data split'"
        raise RefusedImageError("must hold one picture", "a TIFF of several pages", remedy)
    return first


def _photometric(page: Directory, n_channels: int) -> int:
    """Meaning of the numbers of a page: its PhotometricInterpretation; without one 0 is black."""
    photometric = page.integer(tags.PHOTOMETRIC, _BLACK_IS_0)
    n_known = {
        _WHITE_IS_0: range(1, MAX_CHANNELS + 1),
        _BLACK_IS_0: range(1, MAX_CHANNELS + 1),
        _RGB: range(_N_COLOURS, MAX_CHANNELS + 1),
        _YCBCR: range(_N_COLOURS, _N_COLOURS + 1),
        _PALETTE: range(1, 2) if photometric == _PALETTE and _has_grey_palette(page) else (),
    }
    if n_channels not in n_known.get(photometric, ()):
        rule = f"must be RGB or grey, of at most {MAX_CHANNELS} channels"
        name = _PHOTOMETRIC_NAMES.get(photometric, f"PhotometricInterpretation {photometric}")
        if photometric == _PALETTE and tags.COLOR_MAP not in page:
            name = f"{name} without a ColorMap"
        raise RefusedImageError(rule, f"a TIFF of {n_channels} channels, {name}", CONVERT)
    return photometric


def _has_grey_palette(page: Directory) -> bool:
    """True of a picture whose palette shows each number as the grey of that level, as microscopes do.

    Some programs write the 256 levels up to 65,535, as TIFF has them, others up to 255.
    """
    if page.count(tags.COLOR_MAP) != 3 * 256:
        return False
    levels = page.array(tags.COLOR_MAP).reshape(3, 256)
    if levels.dtype.kind not in "iu":
        return False
    return any((shown == np.arange(256)).all() for shown in (levels, levels >> 8))


def _sample_type(page: Directory, n_channels: int) -> SampleType:
    """The type of the numbers, which is the same in every channel."""
    bits = _of_all_channels(page, tags.BITS, n_channels)
    number_format = _of_all_channels(page, tags.SAMPLE_FORMAT, n_channels)
    kind = _KINDS.get(number_format, "")
    if f"{kind}{bits}" not in get_args(SampleType):
        rule = "must hold integers of 8, 16 or 32 bit, or floating point of 32 or 64"
        name = kind or _KIND_NAMES.get(number_format, f"SampleFormat {number_format}")
        raise RefusedImageError(rule, f"{name} of {bits} bit", CONVERT)
    return cast("SampleType", f"{kind}{bits}")


def _of_all_channels(page: Directory, tag: tags.Tag, n_channels: int) -> int:
    """The number of a tag that has one for all channels, or the same for each; 1 without it."""
    values = page.integers(tag, (1,))
    if not values or (1 < len(values) < n_channels):
        raise damaged(f"{tag.name} has {len(values):,} values for {n_channels:,} channels")
    if len(set(values[:n_channels])) > 1:
        got = f"{tag.name} {', '.join(map(str, values[:n_channels]))}"
        raise RefusedImageError("must have channels of one type", got, CONVERT)
    return values[0]


def _compression(page: Directory, photometric: int, sample_type: str, n_together: int) -> int:
    compression = page.integer(tags.COMPRESSION, _NO_COMPRESSION)
    if compression not in (*_UNPACK, _JPEG):
        rule = "must be a TIFF without compression or with deflate, LZW, zstd, PackBits or JPEG"
        name = _COMPRESSION_NAMES.get(compression, f"compression {compression}")
        raise RefusedImageError(rule, name, "Save the slices so, or as PNG")
    if compression == _JPEG and (sample_type != "uint8" or n_together not in (1, _N_COLOURS)):
        got = f"JPEG of {n_together} channels together, {sample_type}"
        raise RefusedImageError("must be JPEG of 8 bit, grey or RGB", got, CONVERT)
    if photometric == _YCBCR:
        if compression != _JPEG or n_together != _N_COLOURS:
            raise RefusedImageError("must be RGB or grey", "YCbCr without JPEG", CONVERT)
        coefficients = page.array(tags.YCBCR_COEFFICIENTS)
        if tags.YCBCR_COEFFICIENTS in page and not _are(coefficients, _BT_601):
            got = f"YCbCrCoefficients {', '.join(f'{value:.4g}' for value in coefficients[:3])}"
            raise RefusedImageError("must have the YCbCr of ITU-R BT.601", got, CONVERT)
        ends = page.array(tags.REFERENCE_BLACK_WHITE)
        if tags.REFERENCE_BLACK_WHITE in page and not any(_are(ends, known) for known in _FULL_RANGE):
            got = f"ReferenceBlackWhite {', '.join(f'{value:.4g}' for value in ends[:6])}"
            raise RefusedImageError("must have YCbCr of the full range", got, CONVERT)
    return compression


def _are(values: NDArray[Any], wanted: tuple[float, ...]) -> bool:
    return len(values) == len(wanted) and bool(np.allclose(values, wanted, atol=1e-3))


def _predictor(page: Directory, compression: int, sample_type: str) -> int:
    """How neighbours are subtracted from each other before they are compressed."""
    predictor = page.integer(tags.PREDICTOR, 1)
    known = {1: True, _DIFFERENCES: True, _FLOAT_DIFFERENCES: sample_type.startswith("float")}
    if not known.get(predictor) or (predictor != 1 and compression not in _PREDICTABLE):
        rule = "must have a Predictor of 1, or with deflate, LZW or zstd of 2, or 3 for floating point"
        name = "no compression" if compression == _NO_COMPRESSION else f"compression {compression}"
        raise RefusedImageError(rule, f"{predictor} of {sample_type}, {name}", CONVERT)
    return predictor


def _part_size(page: Directory, rows: int, columns: int) -> tuple[bool, int, int]:
    """True of tiles, and rows and columns of a strip or tile."""
    if tags.TILE_WIDTH in page or tags.TILE_OFFSETS in page:
        part_rows, part_columns = page.integer(tags.TILE_HEIGHT), page.integer(tags.TILE_WIDTH)
        if part_rows * part_columns > max(MAX_TILE_PX, rows * columns):
            got = f"tiles of {part_columns:,} x {part_rows:,} px"
            raise RefusedImageError("must have tiles that are no larger than the picture", got, CONVERT)
        if min(part_rows, part_columns) < MIN_TILE_SIDE_PX:
            raise damaged(f"tiles of {part_columns:,} x {part_rows:,} px")
        return True, part_rows, part_columns
    if page.count(tags.ROWS_PER_STRIP) > 1:
        raise damaged("strips of unequal height")
    part_rows = min(page.integer(tags.ROWS_PER_STRIP, rows), rows)
    if part_rows < 1 and rows > 0:
        raise damaged(f"strips of {part_rows:,} rows")
    return False, part_rows, columns


def _has_multiplied_colours(page: Directory, photometric: int, n_channels: int, sample_type: str) -> bool:
    """Judge the channels beside grey or RGB: True where the colours are multiplied with alpha."""
    n_more = n_channels - (_N_COLOURS if photometric in (_RGB, _YCBCR) else 1)
    more = page.integers(tags.EXTRA_CHANNELS)[:n_more]
    if photometric != _RGB:
        if _ALPHA in more or _MULTIPLIED in more:
            raise RefusedImageError("must be grey or RGB", "grey with alpha", CONVERT)
        return False
    if n_more > 1 or (n_more == 1 and more not in ((), (_ALPHA,), (_MULTIPLIED,))):
        got = f"RGB with {n_more} more, ExtraSamples {', '.join(map(str, more)) or 'missing'}"
        raise RefusedImageError("must have no channel beside RGB but alpha", got, CONVERT)
    if more == (_MULTIPLIED,) and sample_type not in ("uint8", "uint16"):
        got = f"colours of {sample_type} that are multiplied with it"
        raise RefusedImageError("must have alpha beside its colours", got, CONVERT)
    return more == (_MULTIPLIED,)


def _divide_by_alpha(picture: Numbers) -> None:
    """Undo the multiplication of colours with alpha; where alpha is 0 no colour is left."""
    greatest = np.iinfo(picture.dtype).max
    for row in picture:  # little memory
        alpha = row[:, _N_COLOURS:].astype(np.uint32)
        colours = row[:, :_N_COLOURS] * np.uint32(greatest) // np.maximum(alpha, 1)
        row[:, :_N_COLOURS] = np.minimum(colours, greatest)


def _sum_of_float_differences(
    unpacked: _Unpacked, shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> Numbers:
    """Numbers of which each row holds first all highest bytes, then the next, as differences.

    Adobe Photoshop TIFF Technical Note 3, Predictor 3.
    """
    rows, columns, n_together = shape
    n_bytes = rows * columns * n_together * dtype.itemsize
    differences = np.frombuffer(unpacked, np.uint8, n_bytes).reshape(rows, -1, n_together)
    by_significance = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, -1)
    big_endian = np.ascontiguousarray(by_significance.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    return big_endian.reshape(shape)


def _inflated(part: bytes, most_bytes: int) -> _Unpacked:
    """A deflated part unpacked, up to a byte more than it may hold."""
    stream = zlib.decompressobj()
    data = stream.decompress(part, most_bytes + 1)
    if not stream.eof and len(data) <= most_bytes:
        raise ValueError("a part is cut")
    return _checked(data, most_bytes)


def _unpacked_lzw(part: bytes, most_bytes: int) -> _Unpacked:
    return _checked(imagecodecs.lzw_decode(part, out=most_bytes + 1), most_bytes)


def _unpacked_zstd(part: bytes, most_bytes: int) -> _Unpacked:
    return _checked(imagecodecs.zstd_decode(part, out=most_bytes + 1), most_bytes)


def _unpacked_packbits(part: bytes, most_bytes: int) -> _Unpacked:
    return _checked(imagecodecs.packbits_decode(part, out=most_bytes + 1), most_bytes)


def _checked(data: _Unpacked, most_bytes: int) -> _Unpacked:
    """An unpacked part that is not too long; one that is too short is found by its number of pixels."""
    if len(data) > most_bytes:
        raise ValueError("a part holds more than its pixels")
    return data


_UNPACK: dict[int, Callable[[bytes, int], _Unpacked]] = {
    _NO_COMPRESSION: lambda part, _: part,
    _DEFLATE: _inflated,
    _OLD_DEFLATE: _inflated,
    _LZW: _unpacked_lzw,
    _ZSTD: _unpacked_zstd,
    _PACKBITS: _unpacked_packbits,
}


def _reason(error: Exception) -> str:
    """The first line of what a library says, or its name where that says nothing."""
    line = str(error).partition("\n")[0]
    return line if " " in line else type(error).__name__
