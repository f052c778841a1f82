"""Where a block reads its base level from: the aligned tiles, or the exact last level of the pass before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import product
from typing import Any, Protocol

import numpy as np
import tensorstore as ts

from components.pyramid.downsample import Voxels, halve
from components.shared import records
from components.shared.errors import TransientError
from components.shared.grid import PyramidPass, SizeXyz, ceil_div
from components.shared.storage import ObjectMissingError, Store, checksum, join_uri
from components.shared.tiles import tile_array_spec
from components.shared.volume import TILES_KEY, Volume

READ_CONCURRENCY = 16
"""Exact blocks that are read at a time; each is small, so that latency decides."""

DAMAGED = ("DATA_LOSS", "FAILED_PRECONDITION", "OUT_OF_RANGE")
"""tensorstore's codes for a checksum that is wrong and a file that is too short."""

Box = tuple[SizeXyz, SizeXyz]
"""First voxel and end, x, y, z."""


class Source(Protocol):
    """The base level of a pass."""

    def read(self, box: Box) -> Voxels:
        """The voxels of a box inside the volume.

        Raises:
            TransientError: what the box needs is missing or damaged; never read as black.
        """


class TileSource:
    """Level 0: the aligned stack that `tile` has written."""

    def __init__(self, tmp: Store, volume: Volume, n_threads: int) -> None:
        self._uri = join_uri(tmp.uri, TILES_KEY)
        self._slab_depth = volume.slab_depth
        context = ts.Context(
            {
                "cache_pool": {"total_bytes_limit": 0},  # every tile is read once
                "data_copy_concurrency": {"limit": n_threads},
            }
        )
        spec = tile_array_spec(volume, tmp.kvstore(TILES_KEY))
        try:
            # tensorstore has no types.
            self._array: Any = ts.open(spec, open=True, read=True, context=context).result()
        except ValueError as error:
            raise TransientError(
                f"the aligned stack must be an array of this volume's size; cannot open {self._uri}: "
                f"{_reason(error)}. Run tile again."
            ) from error

    def read(self, box: Box) -> Voxels:
        (x0, y0, z0), (x1, y1, z1) = box
        voxels = np.empty((z1 - z0, y1 - y0, x1 - x0), dtype=np.uint8)
        depth = self._slab_depth
        reads = []
        for slab in range(z0 // depth, ceil_div(z1, depth)):
            first, end = max(slab * depth, z0), min((slab + 1) * depth, z1)
            target = ts.array(voxels[first - z0 : end - z0])
            reads.append((slab, target.write(self._array[first:end, y0:y1, x0:x1])))
        for slab, read in reads:
            try:
                read.result()
            except (ValueError, IndexError) as error:
                raise self._unreadable(slab, error) from error
        return voxels

    def _unreadable(self, slab: int, error: Exception) -> TransientError:
        code = str(error).partition(":")[0]
        problem = {"NOT_FOUND": "is missing", **dict.fromkeys(DAMAGED, "is damaged")}.get(code)
        remedy = "Try again."
        if problem is not None:
            record = records.record_key("tile", str(slab))
            remedy = f"Delete {record} in the process folder and run tile again."
        return TransientError(
            f"slab {slab} of the aligned stack must be whole; it {problem or 'could not be read'} in "
            f"{self._uri}: {_reason(error)}. {remedy}"
        )


class ExactSource:
    """The base level of a coarse pass: the blocks' exact last level of the pass before, halved."""

    def __init__(
        self, process: Store, finer: PyramidPass, input_hash: Callable[[int], str], pool: Executor
    ) -> None:
        """Read what `finer` wrote to `process`.

        Args:
            process: store with the exact blocks and their records.
            finer: the pass before.
            input_hash: the hash that a block of that pass must have in its record.
            pool: threads that do the halving.
        """
        self._process = process
        self._finer = finer
        self._input_hash = input_hash
        self._pool = pool

    def read(self, box: Box) -> Voxels:
        side = self._finer.chunk
        level = last_level(self._finer)
        start, stop = (tuple(2 * n for n in corner) for corner in box)
        grid = self._finer.blocks_xyz
        cells = [
            range(a // side, min(ceil_div(b, side), n)) for a, b, n in zip(start, stop, grid, strict=True)
        ]
        numbers = [x + grid[0] * (y + grid[1] * z) for z, y, x in product(*reversed(cells))]
        bounds = [self._finer.block_bounds(number, level) for number in numbers]
        end = np.max([upper for _, upper in bounds], axis=0)
        voxels = np.empty((end - start)[::-1], dtype=np.uint8)
        with ThreadPoolExecutor(READ_CONCURRENCY) as readers:
            blocks = readers.map(self._read_block, numbers, bounds)
            for (lower, upper), block in zip(bounds, blocks, strict=True):
                x, y, z = (slice(a - s, b - s) for a, b, s in zip(lower, upper, start, strict=True))
                voxels[z, y, x] = block
        return halve(voxels, self._pool)

    def _read_block(self, number: int, bounds: Box) -> Voxels:
        level = self._finer.base_level
        record = records.read_record(self._process, f"pyramid/{level}", str(number))
        key = exact_key(self._finer, number)
        outputs = record.outputs if record and record.input_hash == self._input_hash(number) else ()
        recorded = next((output.crc32c for output in outputs if output.key == key), None)
        try:
            data = self._process.read(key)
        except ObjectMissingError:
            data = b""
        if recorded != checksum(data):
            raise TransientError(
                f"block {number} of level {level} must be written before coarser levels; it is missing or "
                f"damaged in {join_uri(self._process.uri, key)}. Run pyramid --level {level} --blocks "
                f"{number}-{number} again."
            )
        (x0, y0, z0), (x1, y1, z1) = bounds
        return np.frombuffer(data, dtype=np.uint8).reshape(z1 - z0, y1 - y0, x1 - x0)


def last_level(pyramid_pass: PyramidPass) -> int:
    """Coarsest level of a pass."""
    return pyramid_pass.base_level + pyramid_pass.n_levels - 1


def exact_key(pyramid_pass: PyramidPass, block: int) -> str:
    """Key below the process URI of a block's exact last level.

    C-order uint8, [z, y, x] as `block_bounds(block, last level)` says; what the next pass starts from.
    """
    return f"pyramid/level-{last_level(pyramid_pass)}/{block}.raw"


def read_slabs(source: Source, boxes: Sequence[Box]) -> Iterator[Voxels]:
    """The voxels of each box, the next one read while the caller works on this one."""
    with ThreadPoolExecutor(1) as ahead:
        pending = ahead.submit(source.read, boxes[0])
        for box in boxes[1:]:
            voxels = pending.result()
            pending = ahead.submit(source.read, box)
            yield voxels
        yield pending.result()


def _reason(error: Exception) -> str:
    """What tensorstore says, without the specification that it appends."""
    return str(error).partition(" [tensorstore_spec=")[0]
