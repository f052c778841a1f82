"""Sources of a block's base level: the aligned tiles, or the exact last level of the finer pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any, Protocol

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from components.pyramid.downsample import Voxels, halve, halved_axes
from components.shared.errors import TransientError
from components.shared.grid import PyramidPass, SizeXyz, ceil_div
from components.shared.storage.parallel import in_parallel
from components.shared.storage.store import ObjectChangedError, ObjectMissingError, Store, join_uri
from components.shared.volume.layout import exact_key
from components.shared.volume.tensorstore_retry import finish, reason
from components.shared.volume.tiles import tile_array_spec
from components.shared.volume.volume import TileArray, Volume
from components.shared.work import records

DAMAGED = ("DATA_LOSS", "FAILED_PRECONDITION", "OUT_OF_RANGE")
"""Codes with which tensorstore's errors begin where a checksum is wrong or a file too short."""

_NO_SUCH_ARRAY = ("NOT_FOUND", "INVALID_ARGUMENT", *DAMAGED)
"""Codes with which they begin where an array's metadata are missing, damaged, or of another array."""

Box = tuple[SizeXyz, SizeXyz]
"""First voxel and end, each as x, y, z."""


class Source(Protocol):
    """A reader of the base level of a pass."""

    def read(self, box: Box) -> Voxels:
        """The voxels of a box inside the volume.

        Raises:
            TransientError: what the box needs is missing or damaged; never read as black.
        """


class TileSource:
    """Reads level 0: one array of the aligned tiles that `tile` has written."""

    def __init__(
        self,
        tmp: Store,
        volume: Volume,
        tiles: TileArray,
        n_threads: int,
        first_slab: int,
        withdraw_slab: Callable[[int], None],
    ) -> None:
        """Open the array.

        Args:
            tmp: store of the aligned tiles.
            volume: the volume of the run.
            tiles: the array that is read.
            n_threads: most threads that decode.
            first_slab: a slab that is read; `tile` mends the metadata whichever slab it makes.
            withdraw_slab: is told the number of a slab that is damaged or gone, so that it is made again.

        Raises:
            TransientError: the array cannot be opened, or is of another size.
        """
        self._withdraw_slab = withdraw_slab
        self._uri = join_uri(tmp.uri, tiles.key)
        self._tiles = tiles
        self._slab_depth = volume.slab_depth
        context = ts.Context(
            {
                "cache_pool": {"total_bytes_limit": 0},  # every tile is read once
                "data_copy_concurrency": {"limit": n_threads},
            }
        )
        spec = tile_array_spec(volume, tiles, tmp.kvstore(tiles.key))
        try:
            opening = partial(ts.open, spec, open=True, read=True, context=context)
            self._array = finish(opening(), opening)
        except ValueError as error:
            if not str(error).startswith(_NO_SUCH_ARRAY):
                raise TransientError(f"cannot open {self._uri}: {reason(error)}. Try again.") from error
            withdraw_slab(first_slab)
            raise TransientError(
                f"the aligned stack must be an array of this volume's size; cannot open {self._uri}: "
                f"{reason(error)}. Give the same command again."
            ) from error

    def read(self, box: Box) -> Voxels:
        (x0, y0, z0), (x1, y1, z1) = box
        voxels = empty_voxels(self._tiles, (z1 - z0, y1 - y0, x1 - x0))
        depth = self._slab_depth
        reads = []
        for slab in range(z0 // depth, ceil_div(z1, depth)):
            first, end = max(slab * depth, z0), min((slab + 1) * depth, z1)
            target = ts.array(voxels[..., first - z0 : end - z0, :, :])
            start = partial(target.write, self._array[..., first:end, y0:y1, x0:x1])
            reads.append((slab, start, start()))
        for slab, start, read in reads:
            try:
                finish(read, start)
            except (ValueError, IndexError) as error:
                raise self._unreadable(slab, error) from error
        return voxels

    def _unreadable(self, slab: int, error: Exception) -> TransientError:
        code = str(error).partition(":")[0]
        problem = {"NOT_FOUND": "is missing", **dict.fromkeys(DAMAGED, "is damaged")}.get(code)
        remedy = "Try again."
        if problem is not None:
            self._withdraw_slab(slab)
            record = records.record_key("tile", str(slab))
            remedy = f"Its record {record} counts no more: give the same command again."
        return TransientError(
            f"slab {slab} of the aligned stack must be whole; it {problem or 'could not be read'} in "
            f"{self._uri}: {reason(error)}. {remedy}"
        )


class ExactSource:
    """Reads the base level of a coarser pass: the exact last level of the finer pass's blocks, halved."""

    def __init__(
        self,
        process: Store,
        tiles: TileArray,
        finer: PyramidPass,
        coarser: PyramidPass,
        input_hash: Callable[[int], str],
        pool: Executor,
    ) -> None:
        """Read what `finer` wrote to `process`.

        Args:
            process: store with the exact blocks and their records.
            tiles: the array of tiles that they are made from.
            finer: the pass that was written first.
            coarser: the pass that reads.
            input_hash: the hash that a block of the finer pass must have in its record.
            pool: threads that do the halving.
        """
        self._process = process
        self._tiles = tiles
        self._finer = finer
        (self._axes,) = halved_axes((finer.halvings[-1], coarser.halvings[0]))
        self._input_hash = input_hash
        self._pool = pool

    def read(self, box: Box) -> Voxels:
        level = self._finer.levels[-1]
        corners = ([n << halved for n, halved in zip(corner, self._axes, strict=True)] for corner in box)
        start, stop = (np.minimum(corner, self._finer.size_at_level(level)) for corner in corners)
        # A box is as wide as its own block and a chunk deep, so it holds whole layers of the finer blocks.
        chunk = self._finer.chunk
        sides = (*self._finer.block_sides(level)[:2], chunk)
        cells = [range(a // side, ceil_div(b, side)) for a, b, side in zip(start, stop, sides, strict=True)]
        voxels = empty_voxels(self._tiles, (stop - start)[::-1])

        def place(cell: tuple[int, ...]) -> None:
            lower = np.multiply(cell, sides)
            upper = np.minimum(lower + sides, stop)
            x, y, z = (slice(a - s, b - s) for a, b, s in zip(lower, upper, start, strict=True))
            voxels[..., z, y, x] = self._read_layer(cell, upper - lower)

        in_parallel(place, product(*cells))
        return halve(voxels, self._pool, self._axes)

    def _read_layer(self, cell: tuple[int, ...], size_xyz: NDArray[np.int_]) -> Voxels:
        """The voxels of a layer of a block.

        Args:
            cell: x and y of the block, and the layer's number from z 0.
            size_xyz: size of the layer, clipped to the volume.
        """
        grid = self._finer.blocks_xyz
        z, layer = divmod(cell[2], self._finer.block_sides(self._finer.levels[-1])[2] // self._finer.chunk)
        number = cell[0] + grid[0] * (cell[1] + grid[1] * z)
        level = self._finer.base_level
        record = records.read_record(self._process, f"pyramid/{level}", str(number))
        key = exact_key(self._finer, self._tiles, number, layer)
        outputs = record.outputs if record and record.input_hash == self._input_hash(number) else ()
        recorded = next((output.crc32c for output in outputs if output.key == key), "none")
        try:
            data = self._process.read(key, recorded)
        except (ObjectMissingError, ObjectChangedError):
            records.withdraw(self._process, f"pyramid/{level}", str(number), self._input_hash(number))
            raise TransientError(
                f"block {number} of level {level} must be written before coarser levels; it is missing or "
                f"damaged in {join_uri(self._process.uri, key)}. Give the same command again."
            ) from None
        layer_voxels = empty_voxels(self._tiles, size_xyz[::-1])
        return np.frombuffer(data, dtype=layer_voxels.dtype).reshape(layer_voxels.shape)


def empty_voxels(tiles: TileArray, shape_zyx: Sequence[int] | NDArray[Any]) -> Voxels:
    """An array for voxels of an array of tiles: [z, y, x], or [channel, z, y, x] of several channels."""
    channels = [tiles.n_channels] if tiles.n_channels > 1 else []
    voxels: Voxels = np.empty([*channels, *shape_zyx], dtype=tiles.data_type)
    return voxels


def read_slabs(source: Source, boxes: Sequence[Box]) -> Iterator[Voxels]:
    """The voxels of each box, the next one read while the caller works on this one."""
    with ThreadPoolExecutor(1) as ahead:
        pending = ahead.submit(source.read, boxes[0])
        for box in boxes[1:]:
            voxels = pending.result()
            pending = ahead.submit(source.read, box)
            yield voxels
            del voxels  # or it would stay while the last is worked on
        yield pending.result()
