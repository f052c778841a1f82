"""Writes a volume block by block: the shards of every level of a pass, and the record of the block last."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import ClassVar, Protocol

from components.pyramid.block import BlockEncoder, ShardFile
from components.pyramid.downsample import cascade, halved_axes
from components.pyramid.sources import Box, ExactSource, Source, read_slabs
from components.shared.grid import PyramidPass
from components.shared.limits import limit
from components.shared.storage.store import Store
from components.shared.volume.layout import exact_key
from components.shared.volume.volume import TileArray, Volume
from components.shared.work import records
from components.shared.work.records import Output, Record

logger = logging.getLogger(__name__)

MALLOC = {"M_ARENA_MAX": -8, "M_MMAP_THRESHOLD": -3, "M_TRIM_THRESHOLD": -1}
"""Parameters of `mallopt`, as glibc's malloc.h numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """Limits of the freed memory that the C library keeps; no byte that is written depends on them."""

    largest_slab_bytes: int = limit(
        2**29,
        unit="bytes",
        why="freed memory of up to this size is kept: a slab has 64 MiB a channel and byte",
        measured_on="blocks of 1024^3: a tenth less CPU time, as the system need not clear pages anew",
        too_small="the next slab's memory is filled with zeros by the system first",
        too_large="freed memory stays with the process, up to its peak",
    )
    malloc_arenas: int = limit(
        2,
        unit="arenas",
        why="threads share what any of them has freed",
        measured_on="blocks of 1024^3: a sixth less memory than with an arena for each thread",
        too_small="threads wait for each other to allocate",
        too_large="freed tiles are kept for each thread apart",
    )
    kept_bytes: int = limit(
        2**28,
        unit="bytes",
        why="freed memory beyond this is given back before the next block, whose pieces do not fit into it",
        measured_on="four blocks of 1024 x 1024 x 160: 572 MiB if all is kept, 429 so, 448 for one alone; "
        "eight of 512^3: a tenth less CPU time than if nothing is kept",
        too_small="small blocks wait for the system, which fills their memory with zeros",
        too_large="the program grows from block to block",
    )


LIMITS = MemoryLimits()


class Job(Protocol):
    """A volume that is written block by block: by a run, or by an export."""

    @property
    def process(self) -> Store:
        """The store of the records."""

    @property
    def volume(self) -> Volume: ...

    @property
    def stores(self) -> Mapping[str, Store]:
        """The store that each output is written to, by the URI of the output."""

    def block_hash(self, level: int, block: int) -> str:
        """Input hash of a block of the pass that starts at `level`."""

    def finest(self, tiles: TileArray, block: int, n_threads: int) -> Source:
        """The source of level 0 of a block, for the outputs that are made from one array of tiles.

        Raises:
            TransientError: what it reads is missing or stale.
        """


def write_block(job: Job, base_level: int, block: int, pool: Executor, n_threads: int) -> Record:
    """Write every shard of a block, its exact last level where a coarser pass follows, and then its record.

    Raises:
        TransientError: what the block is made from is missing, stale or damaged.
    """
    started = time.monotonic()
    _give_freed_memory_back()
    pyramid_pass = job.volume.pass_at_level(base_level)
    outputs: list[Output] = []
    n_black = 0
    for tiles in job.volume.arrays:
        written, black = _write_array(tiles, job, pyramid_pass, block, pool, n_threads)
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


def _write_array(
    tiles: TileArray, job: Job, pyramid_pass: PyramidPass, block: int, pool: Executor, n_threads: int
) -> tuple[list[Output], int]:
    """Write the shards that are made from one array of tiles.

    Returns:
        The files that were written, and the number of shards that are all black.
    """
    base_level = pyramid_pass.base_level
    coarsest = max((o.levels[-1] for o in job.volume.outputs if o.array == tiles), default=-1)
    if coarsest < base_level:
        return [], 0
    source = _source_of_base(tiles, job, pyramid_pass, block, pool, n_threads)
    slabs = read_slabs(source, _slab_boxes(pyramid_pass, block))
    encoder = BlockEncoder(job.volume, tiles, base_level, block, pool)
    feeds_coarser = coarsest > pyramid_pass.levels[-1]
    halvings = halved_axes(pyramid_pass.halvings)[: coarsest - base_level]
    outputs: list[Output] = []
    n_black = 0
    for slab in cascade(slabs, base_level, halvings, pool):
        for shard in encoder.add(slab):
            written = _write_shard(job.stores[shard.uri], shard)
            outputs += written
            n_black += not written
        if feeds_coarser and slab.level == pyramid_pass.levels[-1]:
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


def _source_of_base(
    tiles: TileArray, job: Job, pyramid_pass: PyramidPass, block: int, pool: Executor, n_threads: int
) -> Source:
    """The source of a block's base level."""
    if pyramid_pass.base_level == 0:
        return job.finest(tiles, block, n_threads)
    finer = job.volume.pass_at_level(pyramid_pass.base_level - 1)
    return ExactSource(
        job.process, tiles, finer, pyramid_pass, lambda b: job.block_hash(finer.base_level, b), pool
    )


def reuse_freed_memory() -> None:
    """Have the C library keep freed memory, for whichever thread asks next.

    By default glibc keeps freed tiles for each thread apart, and gives a slab's memory back to the system,
    which fills the next slab's with zeros first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MALLOC["M_ARENA_MAX"], LIMITS.malloc_arenas)
        mallopt(MALLOC["M_MMAP_THRESHOLD"], LIMITS.largest_slab_bytes)
        mallopt(MALLOC["M_TRIM_THRESHOLD"], LIMITS.largest_slab_bytes)


class _Mallinfo2(ctypes.Structure):
    """Counts of allocations, as mallinfo2 of glibc's malloc.h has them: of ten, the ninth is needed."""

    _fields_: ClassVar = [
        ("others", ctypes.c_size_t * 8),
        ("free_bytes", ctypes.c_size_t),
        ("on_top", ctypes.c_size_t),
    ]


def _give_freed_memory_back() -> None:
    """Have the C library give back what earlier blocks have freed, where that is much.

    The slabs and chunks of this block would not fit into its pieces. Little is kept: the system fills what it
    gives anew with zeros.
    """
    libc = ctypes.CDLL(None)
    malloc_trim, mallinfo2 = getattr(libc, "malloc_trim", None), getattr(libc, "mallinfo2", None)
    if malloc_trim is None:
        return
    if mallinfo2 is not None:  # glibc has it since 2.33
        mallinfo2.restype = _Mallinfo2
        if mallinfo2().free_bytes <= LIMITS.kept_bytes:
            return
    malloc_trim(0)
