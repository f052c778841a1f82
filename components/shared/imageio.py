"""Reading slices: PNG, TIFF and JPEG of 8 or 16 bit, grey or of several channels, as if from a stranger.

A header is checked before a decoder sees the file, and a decoded picture is checked against the plan. A
truncated or damaged file is refused with its name: it never becomes black rows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import cv2

from components.shared import image_formats
from components.shared.documents import ChannelFile, PixelType, SourceSlice
from components.shared.errors import UserError
from components.shared.image_formats import ImageHeader, Picture, RefusedImageError
from components.shared.storage import Store, checksum

__all__ = [
    "ImageHeader",
    "Picture",
    "is_colour",
    "read_channels",
    "read_further_channel",
    "read_header",
    "read_slice",
]

MAX_SIDE_PX = 65_535
MAX_AREA_PX = 2**30
"""The largest picture that OpenCV decodes; 1 GiB at 8 bit."""
_HEADER_BYTES = 4096
"""Bytes of one ranged read of a header; that of a PNG or a plain TIFF needs one."""
_PLAN_ANEW = "Run fibstack again, which plans anew"


def read_header(store: Store, key: str, size_bytes: int) -> ImageHeader:
    """Size and type of a slice, from a ranged read or two of its header.

    Args:
        store: The source.
        key: Name of the file below the source.
        size_bytes: Its size, as the listing tells.

    Raises:
        UserError: the file is no grey or RGB PNG, TIFF or JPEG of 8 or 16 bit, or it is too large.
    """
    file = io.BufferedReader(_RangedFile(store, key, size_bytes), _HEADER_BYTES)
    try:
        return _checked_header(cast("BinaryIO", file))
    except RefusedImageError as refusal:
        raise _user_error(store, key, refusal) from None


def read_slice(source: Store, entry: SourceSlice, pixel_type: PixelType) -> Picture:
    """The picture of a slice that is aligned, `[y, x]` grey levels of the planned size and type.

    Of RGB it is the luminance (ITU-R BT.601, as JPEG's), of other channels the first.

    Raises:
        UserError: the file is not what was planned: it is gone, damaged, truncated, or of another size.
    """
    picture = _read_planned(source, _planned_files(entry, pixel_type)[0])
    if is_colour(picture):
        to_grey = cv2.COLOR_RGB2GRAY if picture.shape[2] == 3 else cv2.COLOR_RGBA2GRAY
        return cast("Picture", cv2.cvtColor(picture, to_grey))
    return picture if picture.ndim == 2 else picture[:, :, 0].copy()


def read_channels(source: Store, entry: SourceSlice, pixel_type: PixelType) -> list[Picture]:
    """All of a slice: of each of its files the picture, `[y, x]`, or `[y, x, channel]` of several.

    Raises:
        UserError: a file is not what was planned.
    """
    return [_read_planned(source, planned) for planned in _planned_files(entry, pixel_type)]


def read_further_channel(source: Store, entry: SourceSlice, index: int, pixel_type: PixelType) -> Picture:
    """The picture of one of the `more_channels` of a slice.

    Raises:
        UserError: the file is not what was planned.
    """
    return _read_planned(source, _planned_files(entry, pixel_type)[1 + index])


def is_colour(picture: Picture) -> bool:
    """Whether a picture is RGB, or RGB with alpha."""
    return picture.ndim == 3 and picture.shape[2] in (3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlannedFile:
    """What the plan says of a file."""

    key: str
    size_bytes: int
    crc32c: str | None
    shape: tuple[int, ...]
    pixel_type: PixelType


def _planned_files(entry: SourceSlice, pixel_type: PixelType) -> list[_PlannedFile]:
    """The files of a slice, in the order of the volume's channels."""
    files: tuple[SourceSlice | ChannelFile, ...] = (entry, *entry.more_channels)
    return [
        _PlannedFile(
            key=file.key,
            size_bytes=file.size_bytes,
            crc32c=file.crc32c,
            shape=(entry.width_px, entry.height_px, file.n_channels),
            pixel_type=pixel_type,
        )
        for file in files
    ]


def _read_planned(source: Store, planned: _PlannedFile) -> Picture:
    data = source.read(planned.key)
    try:
        _check_unchanged(data, planned)
        header = _checked_header(io.BytesIO(data))
        shape = (header.width_px, header.height_px, header.n_channels)
        _check_planned(planned, shape, header.pixel_type)
        picture = image_formats.decode(data, header.image_format)
        height_px, width_px, *channels = picture.shape
        _check_planned(planned, (width_px, height_px, *(channels or [1])), str(picture.dtype))
    except RefusedImageError as refusal:
        raise _user_error(source, planned.key, refusal) from None
    return picture


def _user_error(store: Store, key: str, refusal: RefusedImageError) -> UserError:
    return UserError(f"a slice {refusal.rule}; got {refusal.got} in {store.uri}/{key}. {refusal.remedy}.")


def _checked_header(file: BinaryIO) -> ImageHeader:
    header = image_formats.header(file)
    width, height = header.width_px, header.height_px
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and width * height <= MAX_AREA_PX):
        rule = f"must have sides of 1 to {MAX_SIDE_PX:,} px and at most {MAX_AREA_PX:,} px in all"
        raise RefusedImageError(rule, f"{width:,} x {height:,} px", "Cut or downsample the slices")
    return header


def _check_unchanged(data: bytes, planned: _PlannedFile) -> None:
    if len(data) != planned.size_bytes:
        rule = f"must keep its planned size of {planned.size_bytes:,} bytes"
        raise RefusedImageError(rule, f"{len(data):,} bytes", _PLAN_ANEW)
    if planned.crc32c is not None and checksum(data) != planned.crc32c:
        raise RefusedImageError(f"must keep its planned crc32c {planned.crc32c}", checksum(data), _PLAN_ANEW)


def _check_planned(planned: _PlannedFile, shape: tuple[int, ...], pixel_type: str) -> None:
    if (shape, pixel_type) != (planned.shape, planned.pixel_type):
        wanted, found = _described(planned.shape, planned.pixel_type), _described(shape, pixel_type)
        raise RefusedImageError(f"must be {wanted}, as planned", found, _PLAN_ANEW)


def _described(shape: tuple[int, ...], pixel_type: str) -> str:
    width_px, height_px, n_channels = shape
    channels = f", {n_channels} channels" if n_channels > 1 else ""
    return f"{width_px} x {height_px} px of {pixel_type}{channels}"


class _RangedFile(io.RawIOBase):
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
