"""Write a volume block by block: the shards of every level of a pass, the record of the block last."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

from components.pyramid.block import BlockEncoder, ShardFile
from components.pyramid.downsample import cascade, steps_of
from components.pyramid.sources import Box, ExactSource, Source, exact_key, last_level, read_slabs
from components.shared.grid import PyramidPass
from components.shared.storage.store import Store
from components.shared.volume.volume import TileArray, Volume
from components.shared.work import records
from components.shared.work.records import Output, Record

logger = logging.getLogger(__name__)

MALLOC_ARENA_MAX, MALLOC_MMAP_THRESHOLD, MALLOC_TRIM_THRESHOLD = -8, -3, -1
"""M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc's malloc.h."""
LARGEST_SLAB_BYTES = 2**29


class Job(Protocol):
    """A volume that is written block by block: by a run, or by an export."""

    @property
    def process(self) -> Store:
        """Where the records lie."""

    @property
    def volume(self) -> Volume: ...

    @property
    def stores(self) -> Mapping[str, Store]:
        """Where each output goes, by its URI."""

    def block_hash(self, level: int, block: int) -> str:
        """Input hash of a block of the pass that starts at `level`."""

    def finest(self, tiles: TileArray, block: int, n_threads: int) -> Source:
        """What a block of the first pass is made from, for the outputs of one array of tiles.

        Raises:
            TransientError: it is missing or stale.
        """


def write_block(job: Job, base_level: int, block: int, pool: Executor, n_threads: int) -> Record:
    """Write every shard of a block, and its exact last level if a coarser pass follows; then its record.

    Raises:
        TransientError: what the block is made from is missing, stale or damaged.
    """
    started = time.monotonic()
    pyramid_pass = job.volume.pass_at_level(base_level)
    outputs: list[Output] = []
    n_black = 0
    for tiles in job.volume.arrays:
        written, black = _write_from(tiles, job, pyramid_pass, block, pool, n_threads)
        outputs += written
        n_black += black
    record = Record(
        step=f"pyramid/{base_level}",
        unit=str(block),
        input_hash=job.block_hash(base_level, block),
        outputs=tuple(outputs),
    )
    records.commit(job.process, record)
    logger.info(
        "level %d, block %d of %d: %d files, %.1f MB, %d shards all black, %.1f s",
        base_level,
        block,
        pyramid_pass.n_blocks,
        len(outputs),
        sum(output.size_bytes for output in outputs) / 1e6,
        n_black,
        time.monotonic() - started,
    )
    return record


def _write_from(
    tiles: TileArray, job: Job, pyramid_pass: PyramidPass, block: int, pool: Executor, n_threads: int
) -> tuple[list[Output], int]:
    """Write what is made from one array of tiles; returns the files and how many shards are all black."""
    base_level = pyramid_pass.base_level
    coarsest = max((o.levels[-1] for o in job.volume.outputs if o.array == tiles), default=-1)
    if coarsest < base_level:
        return [], 0
    source = _source(tiles, job, pyramid_pass, block, pool, n_threads)
    slabs = read_slabs(source, _slab_boxes(pyramid_pass, block))
    encoder = BlockEncoder(job.volume, tiles, base_level, block, pool)
    feeds_coarser = coarsest > last_level(pyramid_pass)
    steps = steps_of(pyramid_pass.halvings)[: coarsest - base_level]
    outputs: list[Output] = []
    n_black = 0
    for slab in cascade(slabs, base_level, steps, pool):
        for shard in encoder.add(slab):
            written = _write_shard(job.stores[shard.uri], shard)
            outputs += written
            n_black += not written
        if feeds_coarser and slab.level == last_level(pyramid_pass):
            key = exact_key(pyramid_pass, tiles, block, slab.layer)
            outputs.append(records.write_output(job.process, key, slab.voxels.tobytes()))
    return outputs, n_black


def _write_shard(store: Store, shard: ShardFile) -> list[Output]:
    """Write a shard; an all-black one must not be there, so one of an earlier run is removed."""
    if shard.parts:
        return [records.write_output(store, shard.key, *shard.parts)]
    if store.stat(shard.key) is not None:
        store.delete(shard.key)
    return []


def _slab_boxes(pyramid_pass: PyramidPass, block: int) -> Sequence[Box]:
    """The layers of chunks of a block at its base level."""
    (x0, y0, z0), (x1, y1, z1) = pyramid_pass.block_bounds(block, pyramid_pass.base_level)
    depth = pyramid_pass.chunk
    return [((x0, y0, z), (x1, y1, min(z + depth, z1))) for z in range(z0, z1, depth)]


def _source(
    tiles: TileArray, job: Job, pyramid_pass: PyramidPass, block: int, pool: Executor, n_threads: int
) -> Source:
    """What a block is made from."""
    if pyramid_pass.base_level == 0:
        return job.finest(tiles, block, n_threads)
    finer = job.volume.pass_at_level(pyramid_pass.base_level - 1)
    return ExactSource(
        job.process, tiles, finer, pyramid_pass, lambda b: job.block_hash(finer.base_level, b), pool
    )


def reuse_freed_memory() -> None:
    """Have the C library keep what is freed, for whichever thread asks next.

    By default glibc keeps freed tiles for each thread apart: a sixth more memory. And it gives a slab's
    memory back to the system, which fills the next slab's with zeros first: a tenth more CPU time. Both
    measured.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MALLOC_ARENA_MAX, 2)
        mallopt(MALLOC_MMAP_THRESHOLD, LARGEST_SLAB_BYTES)
        mallopt(MALLOC_TRIM_THRESHOLD, LARGEST_SLAB_BYTES)
