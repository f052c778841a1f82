"""The lossless volume of an earlier output as the source of a block."""

from __future__ import annotations

from functools import partial

import numpy as np
import tensorstore as ts

from components.pyramid.downsample import Voxels
from components.pyramid.sources import Box
from components.shared.errors import UserError
from components.shared.grid import VOXEL_CHUNK
from components.shared.pictures.grey_levels import as_8_bit
from components.shared.storage.store import Store
from components.shared.volume.tensorstore_retry import check_may_not_pass, finish, reason
from components.shared.work.export import ShownPart

CACHE_BYTES = 128 * 2**20
"""Bytes of decoded chunks that are kept: two slabs, so that a chunk that is read in parts is decoded once."""


class LosslessSource:
    """Level 0 of an export: a part of a lossless precomputed volume, in other grey levels.

    A shard that is missing would be read as black, so look for them before.
    """

    def __init__(self, store: Store, export: ShownPart, shown_z_indices: list[int], n_threads: int) -> None:
        """Read the volume in `store`.

        Args:
            store: root of the precomputed volume.
            export: what is shown of it.
            shown_z_indices: the plane of the volume that each plane of the export shows.
            n_threads: threads that decode.
        """
        self._uri = store.uri
        self._shown_z_indices = shown_z_indices
        self._first_xy = export.crop_xyz[0][0], export.crop_xyz[1][0]
        reads_parts = bool(export.left_out) or export.crop_xyz[2][0] % VOXEL_CHUNK > 0
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": store.kvstore(""),
            "scale_index": 0,
            "context": {
                "cache_pool": {"total_bytes_limit": CACHE_BYTES if reads_parts else 0},
                "data_copy_concurrency": {"limit": n_threads},
            },
        }
        try:
            opening = partial(ts.open, spec, open=True, read=True)
            array = finish(opening(), opening)
        except ValueError as error:
            raise self._unreadable(error) from error
        array = array[ts.d["x", "y", "z"].translate_to[0]]
        self._array = array[..., 0].T if array.domain["channel"].size == 1 else array.T
        dtype = np.dtype(self._array.dtype.numpy_dtype)
        levels = np.arange(np.iinfo(dtype).max + 1.0)
        self._table = as_8_bit(levels, *export.contrast) if export.contrast else None

    def read(self, box: Box) -> Voxels:
        """The voxels of a box of the export."""
        (x0, y0, z0), (x1, y1, z1) = box
        x, y = self._first_xy
        shape = (*self._array.shape[:-3], z1 - z0, y1 - y0, x1 - x0)
        voxels = np.empty(shape, dtype=self._array.dtype.numpy_dtype)
        reads = []
        for start, planes in runs(self._shown_z_indices[z0:z1]):
            target = ts.array(voxels[..., start : start + planes.stop - planes.start, :, :])
            wanted = self._array[..., planes, y + y0 : y + y1, x + x0 : x + x1]
            read = partial(target.write, wanted)
            reads.append((read(), read))
        try:
            for started, read in reads:
                finish(started, read)
        except ValueError as error:
            raise self._unreadable(error) from error
        return voxels if self._table is None else self._table[voxels]

    def _unreadable(self, error: Exception) -> UserError:
        check_may_not_pass(f"cannot read {self._uri}", error)
        return UserError(
            f"the lossless volume must be whole; cannot read {self._uri}: {reason(error)}. "
            "Run 'fibstack verify'."
        )


def runs(z_indices: list[int]) -> list[tuple[int, slice]]:
    """Cut planes into runs of neighbours: where each begins in the list, and the planes.

    Example:
        >>> runs([4, 5, 5, 6])
        [(0, slice(4, 6, None)), (2, slice(5, 7, None))]
    """
    starts = [i for i, z in enumerate(z_indices) if i == 0 or z != z_indices[i - 1] + 1]
    ends = [*starts[1:], len(z_indices)]
    return [(a, slice(z_indices[a], z_indices[b - 1] + 1)) for a, b in zip(starts, ends, strict=True)]
