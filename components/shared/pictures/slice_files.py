"""Reading slices: PNG, TIFF, JPEG and Janelia's `.dat`, grey or of several channels, as if from a stranger.

A header is checked before a decoder sees the file, and a decoded picture is checked against the plan. A
truncated or damaged file is refused with its name: it never becomes black rows.

What a file holds is compared with what was planned: by its checksum where the store knows one (buckets), else
by its size and the time when it was written (folders), where PNG's own checksums vouch for the content.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import cv2
import numpy as np

from components.shared.documents.plan import PixelType, Reading, SourceSlice
from components.shared.errors import UserError
from components.shared.pictures.formats import image_formats
from components.shared.pictures.formats.header import ImageHeader, Numbers, RefusedImageError
from components.shared.pictures.grey_levels import Picture, grey_levels
from components.shared.storage.store import READS, ObjectChangedError, ObjectMissingError, Store

MAX_SIDE_PX = 65_535
"""Longest side of a picture: the longest that JPEG has."""
MAX_AREA_PX = 2**30
"""Largest picture, 1 GiB at 8 bit: a damaged header shall not ask for more memory."""
MAX_PICTURE_BYTES = 2**32
"""Largest decoded file, all its channels together."""
MAX_RATIO = 1100
"""Decoded over stored bytes beyond which a file is refused: deflate reaches 1,032."""
MAX_RATIO_OF_TIFF = 40_000
"""Decoded over stored bytes beyond which a TIFF is refused: zstd packs blank strips of 4,096 x 4,096 px to a
7,000th, and more the larger they are."""
MAX_REST_BYTES = 64 * 2**20
"""Bytes that a file may hold beyond twice its decoded picture: tags, previews, text."""
_HEADER_BYTES = 4096
"""Bytes of one ranged read of a header; that of a PNG or a plain TIFF needs one."""
_ALPHA = 3
"""Index of the alpha channel, and number of the colours before it."""
_AS_IT_IS = Reading()
_COPY_ANEW = "Copy the slice again"
_PLAN_ANEW = "Run fibstack again, which plans anew"


def read_header(store: Store, key: str, size_bytes: int) -> ImageHeader:
    """Size and type of a slice, from a ranged read or two of its header.

    Args:
        store: The source.
        key: Name of the file below the source.
        size_bytes: Its size, as the listing tells.

    Raises:
        UserError: the file is no PNG, TIFF, JPEG or `.dat` that can be read, or it is too large.
    """
    for n_left in reversed(range(READS)):
        file = io.BufferedReader(RangedFile(store, key, size_bytes), _HEADER_BYTES)
        try:
            return _checked_header(cast("BinaryIO", file), size_bytes)
        except RefusedImageError as refusal:  # for what the file is, or for a byte damaged on its way
            if n_left == 0:
                raise _user_error(store, key, refusal) from None
    raise AssertionError("the last refusal is raised")


def read_slice(
    source: Store,
    entry: SourceSlice,
    pixel_type: PixelType,
    reading: Reading = _AS_IT_IS,
    note: Callable[[bytes], object] | None = None,
) -> Picture:
    """The picture of a slice that is aligned, `[y, x]` grey levels of the planned size and type.

    Of RGB it is the luminance (ITU-R BT.601, as JPEG's), of other channels the first.

    Args:
        source: Where the slice lies.
        entry: The slice.
        pixel_type: Type of its grey levels.
        reading: How the numbers in its file become grey levels.
        note: Told the bytes of the file.

    Raises:
        UserError: the file is not what was planned: it is gone, damaged, truncated, or of another size.
    """
    picture = _read_planned(source, _planned_files(entry, pixel_type)[0], reading, note)
    if is_colour(picture):
        to_grey = cv2.COLOR_RGB2GRAY if picture.shape[2] == 3 else cv2.COLOR_RGBA2GRAY
        return cast("Picture", cv2.cvtColor(picture, to_grey))
    return picture if picture.ndim == 2 else picture[:, :, 0].copy()


def read_channels(
    source: Store, entry: SourceSlice, pixel_type: PixelType, reading: Reading = _AS_IT_IS
) -> list[Picture]:
    """The picture of each file of a slice: `[y, x]`, or `[y, x, channel]` where it has several channels.

    Raises:
        UserError: a file is not what was planned.
    """
    return [_read_planned(source, planned, reading) for planned in _planned_files(entry, pixel_type)]


def read_further_channel(
    source: Store, entry: SourceSlice, index: int, pixel_type: PixelType, reading: Reading = _AS_IT_IS
) -> Picture:
    """The picture of one of the `more_channels` of a slice.

    Raises:
        UserError: the file is not what was planned.
    """
    return _read_planned(source, _planned_files(entry, pixel_type)[1 + index], reading)


def read_numbers(
    source: Store, entry: SourceSlice, index: int, pixel_type: PixelType, reading: Reading
) -> Numbers:
    """The used part of a file of a slice, `[y, x]` or `[y, x, channel]`, in the file's own numbers.

    Raises:
        UserError: the file is not what was planned.
    """
    return _read_used(source, _planned_files(entry, pixel_type)[index], reading)


def used_size(header: ImageHeader, reading: Reading) -> tuple[int, int] | None:
    """Width and height in px of the part of a picture that is used; None where it leaves the picture."""
    if reading.crop is None:
        return header.width_px, header.height_px
    x, y, width_px, height_px = reading.crop
    fits = x + width_px <= header.width_px and y + height_px <= header.height_px
    return (width_px, height_px) if fits else None


def is_colour(picture: Picture) -> bool:
    """True of a picture that is RGB, or RGB with alpha."""
    return picture.ndim == 3 and picture.shape[2] in (3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlannedFile:
    """A file of a slice as the plan describes it."""

    index: int
    """Place among the files of the slice, from 0."""
    key: str
    size_bytes: int
    crc32c: str | None
    modified_ns: int | None
    shape: tuple[int, ...]
    pixel_type: PixelType


def _planned_files(entry: SourceSlice, pixel_type: PixelType) -> list[_PlannedFile]:
    """The files of a slice, in the order of the volume's channels."""
    return [
        _PlannedFile(
            index=index,
            key=file.key,
            size_bytes=file.size_bytes,
            crc32c=file.crc32c,
            modified_ns=file.modified_ns,
            shape=(entry.width_px, entry.height_px, file.n_channels),
            pixel_type=pixel_type,
        )
        for index, file in enumerate(entry.files)
    ]


def _read_planned(
    source: Store, planned: _PlannedFile, reading: Reading, note: Callable[[bytes], object] | None = None
) -> Picture:
    numbers = _read_used(source, planned, reading, note)
    values = reading.values[planned.index] if reading.values else None
    picture = grey_levels(numbers, values, reading.fill_numbers(planned.index))
    if reading.invert and planned.index == 0:
        colours = picture[:, :, :_ALPHA] if is_colour(picture) else picture
        np.bitwise_not(colours, out=colours)
    return picture


def _read_used(
    source: Store, planned: _PlannedFile, reading: Reading, note: Callable[[bytes], object] | None = None
) -> Numbers:
    try:
        data = _read_unchanged(source, planned)
        if note is not None:
            note(data)
        header = _checked_header(io.BytesIO(data), len(data))
        size = used_size(header, reading) or (header.width_px, header.height_px)
        _check_planned(planned, (*size, header.n_channels), header.pixel_type)
        numbers = image_formats.decode(data, header.image_format)
    except RefusedImageError as refusal:
        raise _user_error(source, planned.key, refusal) from None
    shape = (header.height_px, header.width_px, header.n_channels)
    assert np.atleast_3d(numbers).shape == shape, "the decoder keeps to the header"
    if reading.crop is None:
        return numbers
    x, y, width_px, height_px = reading.crop
    return numbers[y : y + height_px, x : x + width_px].copy()


def _user_error(store: Store, key: str, refusal: RefusedImageError) -> UserError:
    return UserError(f"a slice {refusal.rule}; got {refusal.got} in {store.uri}/{key}. {refusal.remedy}.")


def _checked_header(file: BinaryIO, size_bytes: int) -> ImageHeader:
    """The header of a file, of a picture that fits into memory and into the file."""
    header = image_formats.header(file)
    check_size(header, size_bytes)
    if size_bytes > 2 * header.picture_bytes + MAX_REST_BYTES:
        got = f"{size_bytes:,} bytes for {header.width_px:,} x {header.height_px:,} px"
        raise RefusedImageError("must not hold far more than its picture", got, "Save the slice alone")
    return header


def check_size(header: ImageHeader, stored_bytes: int) -> None:
    """Refuse a picture that does not fit into memory, or not into the bytes that it is stored in.

    Raises:
        RefusedImageError: it does not.
    """
    width, height = header.width_px, header.height_px
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and width * height <= MAX_AREA_PX):
        rule = f"must have sides of 1 to {MAX_SIDE_PX:,} px and at most {MAX_AREA_PX:,} px in all"
        raise RefusedImageError(rule, f"{width:,} x {height:,} px", "Cut or downsample the slices")
    raw_bytes = header.picture_bytes
    if raw_bytes > MAX_PICTURE_BYTES:
        rule = f"must have at most {MAX_PICTURE_BYTES:,} bytes when it is decoded"
        raise RefusedImageError(rule, f"{raw_bytes:,}", "Cut the slices or save fewer channels")
    ratio = MAX_RATIO_OF_TIFF if header.image_format == "tiff" else MAX_RATIO
    if raw_bytes > ratio * stored_bytes:
        got = f"{stored_bytes:,} bytes for {width:,} x {height:,} px"
        raise RefusedImageError(f"must hold at least 1/{ratio:,} of its picture's bytes", got, _COPY_ANEW)


def _read_unchanged(source: Store, planned: _PlannedFile) -> bytes:
    """The bytes of a file that is as it was when it was planned.

    Raises:
        RefusedImageError: it is not.
    """
    try:
        data = source.read(planned.key, planned.crc32c)
    except ObjectChangedError as changed:
        rule = f"must keep its planned crc32c {planned.crc32c}"
        raise RefusedImageError(rule, changed.found_crc32c, _PLAN_ANEW) from None
    except ObjectMissingError:
        raise RefusedImageError("must stay as it was planned", "no file any more", _PLAN_ANEW) from None
    if len(data) != planned.size_bytes:
        rule = f"must keep its planned size of {planned.size_bytes:,} bytes"
        raise RefusedImageError(rule, f"{len(data):,} bytes", _PLAN_ANEW)
    if planned.modified_ns is not None:
        found = source.stat(planned.key)
        if found is None or found.modified_ns != planned.modified_ns:
            raise RefusedImageError(
                "must stay as it was planned", "a file that was written since", _PLAN_ANEW
            )
    return data


def _check_planned(planned: _PlannedFile, shape: tuple[int, ...], pixel_type: str) -> None:
    if (shape, pixel_type) != (planned.shape, planned.pixel_type):
        wanted, found = _described(planned.shape, planned.pixel_type), _described(shape, pixel_type)
        raise RefusedImageError(f"must be {wanted}, as planned", found, _PLAN_ANEW)


def _described(shape: tuple[int, ...], pixel_type: str) -> str:
    width_px, height_px, n_channels = shape
    channels = f", {n_channels} channels" if n_channels > 1 else ""
    return f"{width_px} x {height_px} px of {pixel_type}{channels}"


class RangedFile(io.RawIOBase):
    """An object of a store as a file that reads only what is asked for."""

    def __init__(self, store: Store, key: str, size_bytes: int) -> None:
        self._store, self._key, self._size_bytes = store, key, size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - a writable buffer, unnamed before Python 3.12
        stop = min(self._position + len(buffer), self._size_bytes)
        if stop <= self._position:
            return 0
        data = self._store.read_range(self._key, self._position, stop)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
