"""The thumbnails that `align` leaves: one archive for each chunk, read with little memory at any z."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from components.shared.documents.plan import Plan
from components.shared.errors import UserError
from components.shared.grid import Span
from components.shared.storage.store import ObjectMissingError, Store, join_uri
from components.shared.work.units import chunks

Thumbnail = NDArray[np.uint8]
"""[y, x], the slice resized by the plan's thumbnail scale, its grey levels stretched to 0..255."""
ReadThumbnail = Callable[[int], Thumbnail | None]
"""The thumbnail of a slice by its z; None where there is none."""

_ARCHIVES_KEPT = 3
"""Archives that are held, compressed, some 20 MB each: a replaced slice shows one of a chunk nearby."""


_DAMAGED = (ValueError, OSError, KeyError, struct.error, zipfile.BadZipFile, isal_zlib.error)
"""Exceptions that reading an archive raises which is not whole."""


class Thumbnails:
    """The thumbnails of a run. Slices asked for in the order of z cost one read of each archive."""

    def __init__(self, plan: Plan, process: Store) -> None:
        self._process = process
        self._chunk_of = {z: chunk for chunk in chunks(plan) for z in chunk}
        self._present = frozenset(s.z for s in plan.slices)
        self._archive = lru_cache(_ARCHIVES_KEPT)(self._open)

    def picture(self, z: int) -> Thumbnail | None:
        """The thumbnail of a slice; None where the slice or its whole archive is missing.

        Raises:
            UserError: the archive is there and cannot be read.
        """
        if z not in self._present:
            return None
        chunk = self._chunk_of[z]
        try:
            archive = self._archive(chunk)
            return None if archive is None else archive.picture(z)
        except _DAMAGED as error:  # type: ignore[misc]  # isal's stub says that its error is an object
            key = join_uri(self._process.uri, _key(chunk))
            raise UserError(
                f"{key} must hold the thumbnails of its slices; got: {error}. Remove the file and run again."
            ) from None

    def _open(self, chunk: Span) -> _Archive | None:
        try:
            return _Archive(self._process.read(_key(chunk)))
        except ObjectMissingError:
            return None


class _Archive:
    """A NumPy archive of thumbnails, as it lies in storage.

    Those of earlier releases are deflated.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._entries = {entry.filename: entry for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()}

    def picture(self, z: int) -> Thumbnail:
        """The thumbnail of a slice.

        Raises:
            KeyError: there is none.
            ValueError: it is damaged, as `BadZipFile` and `isal_zlib.error` tell too.
        """
        entry = self._entries[f"z{z}.npy"]
        # The header is 30 bytes, the last four the lengths of its name and of what is added to that.
        start = entry.header_offset + 30
        start += sum(struct.unpack("<HH", self._data[start - 4 : start]))
        content = self._data[start : start + entry.compress_size]
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            content = memoryview(isal_zlib.decompress(content, -zlib.MAX_WBITS, entry.file_size))
        # By ISA-L, in a tenth of the time of zlib.
        if isal_zlib.crc32(content) != entry.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {entry.filename!r}")
        start = 10 + int.from_bytes(content[8:10], "little")  # NEP 1: the length of the head
        shape = _shape(bytes(content[:start]))
        picture: Thumbnail = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
        return picture


@lru_cache
def _shape(head: bytes) -> tuple[int, ...]:
    """The shape of the array behind the head of an entry: the same for nearly all, and slow to read."""
    file = io.BytesIO(head)
    np.lib.format.read_magic(file)
    shape, is_transposed, kind = np.lib.format.read_array_header_1_0(file)
    if is_transposed or kind != np.uint8:
        raise ValueError(f"a thumbnail must be 8 bit, row by row; got {kind}")
    return shape


def _key(chunk: Span) -> str:
    return f"align/{chunk}.npz"
