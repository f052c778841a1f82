"""`fibstack-pyramid`: write the shards of some blocks, every level of the pass."""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import click

from components.pyramid.block import BlockEncoder, ShardFile
from components.pyramid.downsample import cascade
from components.pyramid.sources import Box, ExactSource, Source, TileSource, exact_key, last_level, read_slabs
from components.shared import records, units
from components.shared.command import StepCommand
from components.shared.documents import PLAN_KEY, TRANSFORMS_KEY, Plan, Transforms
from components.shared.errors import ConfigError, TransientError
from components.shared.grid import PyramidPass, Span
from components.shared.reading import read_document
from components.shared.records import Output, Record
from components.shared.storage import Store, open_store
from components.shared.volume import Volume, volume_of

logger = logging.getLogger(__name__)

MALLOC_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What every block of a run needs to know."""

    process: Store
    plan: Plan
    transforms: Transforms
    volume: Volume
    slab_hashes: list[str]
    """Input hash of every slab."""
    stores: dict[str, Store]
    """Where each output goes, by its URI."""

    @classmethod
    def of(cls, process: Store, plan: Plan, transforms: Transforms, volume: Volume) -> Run:
        """The run whose documents these are."""
        return cls(
            process=process,
            plan=plan,
            transforms=transforms,
            volume=volume,
            slab_hashes=units.slab_hashes(plan, transforms, volume),
            stores={output.uri: open_store(output.uri) for output in volume.outputs},
        )

    def block_hash(self, level: int, block: int) -> str:
        """Input hash of a block of the pass that starts at `level`."""
        return units.block_hash(self.plan, self.volume, level, block, self.slab_hashes)


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option("--level", required=True, type=int, help="Finest level of the blocks: 0, 5 or 10.")
@click.option("--blocks", required=True, help="Range of blocks, such as 0-3.")
def main(process_uri: str, level: int, blocks: str) -> None:
    """Write the shards of some blocks: the given level and the four above it."""
    return_freed_memory()
    run = open_run(open_store(process_uri))
    pyramid_pass = _pass_from(run.volume, level)
    span = _blocks_of(pyramid_pass, blocks)
    to_do = [
        block
        for block in span
        if not records.is_done(run.process, f"pyramid/{level}", str(block), run.block_hash(level, block))
    ]
    if len(to_do) < len(span):
        logger.info("level %d: %d of %d blocks are already done", level, len(span) - len(to_do), len(span))
    n_threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(n_threads) as pool:
        for block in to_do:
            write_block(run, level, block, pool, n_threads)


def return_freed_memory() -> None:
    """Have the C library give back pieces above 1 MiB as soon as they are free.

    By default glibc comes to keep pieces of up to 32 MiB, between which a block's slabs and encoded chunks
    leave gaps: a quarter more memory, measured.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MALLOC_MMAP_THRESHOLD, 2**20)


def open_run(process: Store) -> Run:
    """Read the documents of a run.

    Raises:
        UserError: a document is missing or not one of this version.
    """
    plan = read_document(process, PLAN_KEY, Plan)
    transforms = read_document(process, TRANSFORMS_KEY, Transforms)
    return Run.of(process, plan, transforms, volume_of(plan, transforms))


def write_block(run: Run, base_level: int, block: int, pool: Executor, n_threads: int) -> Record:
    """Write every shard of a block, and its exact last level if a coarser pass follows; then its record.

    Raises:
        TransientError: what the block is made from is missing, stale or damaged.
    """
    started = time.monotonic()
    pyramid_pass = run.volume.pass_at_level(base_level)
    source = _source(run, pyramid_pass, block, pool, n_threads)
    slabs = read_slabs(source, _slab_boxes(pyramid_pass, block))
    encoder = BlockEncoder(run.volume, base_level, block, pool)
    feeds_coarser = pyramid_pass != run.volume.passes[-1]
    outputs: list[Output] = []
    n_black = 0
    for slab in cascade(slabs, base_level, pyramid_pass.n_levels, pool):
        for shard in encoder.add(slab):
            written = _write_shard(run.stores[shard.uri], shard)
            outputs += written
            n_black += not written
        if feeds_coarser and slab.level == last_level(pyramid_pass):
            key = exact_key(pyramid_pass, block)
            outputs.append(records.write_output(run.process, key, slab.voxels.tobytes()))
    record = Record(
        step=f"pyramid/{base_level}",
        unit=str(block),
        input_hash=run.block_hash(base_level, block),
        outputs=tuple(outputs),
    )
    records.commit(run.process, record)
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


def _write_shard(store: Store, shard: ShardFile) -> list[Output]:
    """Write a shard; an all-black one must not be there, so one of an earlier run is removed."""
    if shard.data is not None:
        return [records.write_output(store, shard.key, shard.data)]
    if store.stat(shard.key) is not None:
        store.delete(shard.key)
    return []


def _slab_boxes(pyramid_pass: PyramidPass, block: int) -> Sequence[Box]:
    """The layers of chunks of a block at its base level."""
    (x0, y0, z0), (x1, y1, z1) = pyramid_pass.block_bounds(block, pyramid_pass.base_level)
    depth = pyramid_pass.chunk
    return [((x0, y0, z), (x1, y1, min(z + depth, z1))) for z in range(z0, z1, depth)]


def _source(run: Run, pyramid_pass: PyramidPass, block: int, pool: Executor, n_threads: int) -> Source:
    """What a block is made from, after a look at the records that say that it is there and current."""
    if pyramid_pass.base_level > 0:
        finer = run.volume.pass_at_level(pyramid_pass.base_level - 1)
        return ExactSource(run.process, finer, lambda b: run.block_hash(finer.base_level, b), pool)
    missing = [
        slab
        for slab in run.volume.slabs_of_block(block)
        if not records.is_done(run.process, "tile", str(slab), run.slab_hashes[slab])
    ]
    if missing:
        raise TransientError(
            f"block {block} must have all its slabs tiled with the current transforms; got no such slab "
            f"{', '.join(map(str, missing))} in {run.plan.locations.tmp_uri}. Run tile again."
        )
    return TileSource(open_store(run.plan.locations.tmp_uri), run.volume, n_threads)


def _pass_from(volume: Volume, level: int) -> PyramidPass:
    for pyramid_pass in volume.passes:
        if pyramid_pass.base_level == level:
            return pyramid_pass
    bases = ", ".join(str(p.base_level) for p in volume.passes)
    raise ConfigError(f"--level must be a level where a pass starts ({bases}); got {level}. Change --level.")


def _blocks_of(pyramid_pass: PyramidPass, text: str) -> Span:
    try:
        span = Span.parse(text)
    except ValueError as error:
        raise ConfigError(f"--blocks: {error}. Change --blocks.") from None
    if span.last >= pyramid_pass.n_blocks:
        raise ConfigError(
            f"--blocks must end below {pyramid_pass.n_blocks}, the number of blocks from level "
            f"{pyramid_pass.base_level}; got {text}. Change --blocks."
        )
    return span


if __name__ == "__main__":
    main()
