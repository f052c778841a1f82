"""Reading slices: grey PNG, TIFF and JPEG of 8 or 16 bit, as if they came from a stranger.

A header is checked before a decoder sees the file, and a decoded picture is checked against the plan. A
truncated or damaged file is refused with its name: it never becomes black rows.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from components.shared import image_formats
from components.shared.documents import PixelType, SourceSlice
from components.shared.errors import UserError
from components.shared.image_formats import ImageHeader, Picture, RefusedImageError
from components.shared.storage import Store, checksum

__all__ = ["ImageHeader", "Picture", "read_header", "read_slice"]

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
        UserError: the file is no grey PNG, TIFF or JPEG of 8 or 16 bit, or it is too large.
    """
    file = io.BufferedReader(_RangedFile(store, key, size_bytes), _HEADER_BYTES)
    try:
        return _checked_header(cast("BinaryIO", file))
    except RefusedImageError as refusal:
        raise _user_error(store, key, refusal) from None


def read_slice(source: Store, entry: SourceSlice, pixel_type: PixelType) -> Picture:
    """The picture of a slice, `[y, x]` grey levels of the planned size and type.

    Raises:
        UserError: the file is not what was planned: it is gone, damaged, truncated, or of another size.
    """
    data = source.read(entry.key)
    planned = (entry.width_px, entry.height_px, pixel_type)
    try:
        _check_unchanged(data, entry)
        header = _checked_header(io.BytesIO(data))
        _check_planned(planned, (header.width_px, header.height_px, header.pixel_type))
        picture = image_formats.decode(data, header.image_format)
        if picture.ndim != 2:
            raise RefusedImageError("must be grey", f"{picture.shape[2]} channels", image_formats.CONVERT)
        height_px, width_px = picture.shape
        _check_planned(planned, (width_px, height_px, str(picture.dtype)))
    except RefusedImageError as refusal:
        raise _user_error(source, entry.key, refusal) from None
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


def _check_unchanged(data: bytes, entry: SourceSlice) -> None:
    if len(data) != entry.size_bytes:
        rule = f"must keep its planned size of {entry.size_bytes:,} bytes"
        raise RefusedImageError(rule, f"{len(data):,} bytes", _PLAN_ANEW)
    if entry.crc32c is not None and checksum(data) != entry.crc32c:
        raise RefusedImageError(f"must keep its planned crc32c {entry.crc32c}", checksum(data), _PLAN_ANEW)


def _check_planned(planned: tuple[int, int, str], got: tuple[int, int, str]) -> None:
    if got != planned:
        wanted, found = (f"{width} x {height} px of {kind}" for width, height, kind in (planned, got))
        raise RefusedImageError(f"must be {wanted}, as planned", found, _PLAN_ANEW)


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
