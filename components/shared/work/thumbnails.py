"""The thumbnails that `align` leaves: one archive for each chunk, read with little memory at any z."""

from __future__ import annotations

import io
import zipfile
import zlib
from functools import lru_cache

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from components.shared.documents.plan import Plan
from components.shared.errors import UserError
from components.shared.grid import Span
from components.shared.storage.store import ObjectMissingError, Store, join_uri
from components.shared.work.units import chunks

Thumbnail = NDArray[np.uint8]
"""[y, x], the slice resized by the plan's thumbnail scale, its grey levels stretched to 0..255."""

_ARCHIVES_KEPT = 3
"""Archives that are held, compressed, some 20 MB each: a replaced slice shows one of a chunk nearby."""


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
            return None if archive is None else archive[f"z{z}"]
        except (ValueError, OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            key = join_uri(self._process.uri, _key(chunk))
            raise UserError(
                f"{key} must hold the thumbnails of its slices; got: {error}. Remove the file and run again."
            ) from None

    def _open(self, chunk: Span) -> NpzFile | None:
        try:
            data = self._process.read(_key(chunk))
        except ObjectMissingError:
            return None
        archive: NpzFile = np.load(io.BytesIO(data), allow_pickle=False)
        return archive


def _key(chunk: Span) -> str:
    return f"align/{chunk}.npz"
