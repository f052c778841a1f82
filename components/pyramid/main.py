"""`fibstack-pyramid`: write the shards of some blocks, every level of the pass."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import click

from components.pyramid.sources import Source, TileSource
from components.pyramid.writing import reuse_freed_memory, write_block
from components.shared.command import SpanType, StepCommand
from components.shared.cores import available_cores
from components.shared.errors import ConfigError, TransientError
from components.shared.grid import PyramidPass, Span
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from components.shared.stub.program import or_stub
from components.shared.volume.volume import TileArray, Volume
from components.shared.work import records
from components.shared.work.left import not_done
from components.shared.work.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TiledRun(Run):
    """A run whose tiles are made into blocks."""

    slabs_in_place: set[int] = field(default_factory=set)
    """Slabs whose records were found current; blocks beside each other need the same slabs."""

    @cached_property
    def stores(self) -> dict[str, Store]:
        """The store that each output is written to, by the URI of the output."""
        return {output.uri: open_store(output.uri) for output in self.volume.outputs}

    def finest(self, tiles: TileArray, block: int, n_threads: int) -> Source:
        """The aligned tiles of a block, once the records of its slabs say that they are current.

        Raises:
            TransientError: a slab of the block is missing or stale.
        """
        unseen = [slab for slab in self.volume.slabs_of_block(block) if slab not in self.slabs_in_place]
        missing = not_done(self.process, "tile", unseen, lambda slab: self.slab_hashes[slab])
        if missing:
            raise TransientError(
                f"block {block} must have all its slabs tiled with the current transforms; got no such slab "
                f"{', '.join(map(str, missing))} in {self.plan.locations.tmp_uri}. Give the same "
                f"command again."
            )
        self.slabs_in_place.update(unseen)
        tmp, first = open_store(self.plan.locations.tmp_uri), self.volume.slabs_of_block(block).first
        return TileSource(tmp, self.volume, tiles, n_threads, first, self._withdraw_slab)

    def _withdraw_slab(self, slab: int) -> None:
        records.withdraw(self.process, "tile", str(slab), self.slab_hashes[slab])


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option("--level", required=True, type=int, help="Finest level of the blocks: 0, 5 or 10.")
@click.option(
    "--blocks",
    required=True,
    type=SpanType(lambda error: ConfigError(f"--blocks: {error}. Change --blocks.")),
    help="Range of blocks, such as 0-3.",
)
@or_stub("pyramid")
def main(process_uri: str, level: int, blocks: Span) -> None:
    """Write the shards of some blocks: the given level and the four above it."""
    reuse_freed_memory()
    run = TiledRun.read(open_store(process_uri))
    pyramid_pass = _pass_from(run.volume, level)
    _check_blocks(pyramid_pass, blocks)
    to_do = [
        block
        for block in blocks
        if not records.is_done(run.process, f"pyramid/{level}", str(block), run.block_hash(level, block))
    ]
    if len(to_do) < len(blocks):
        logger.info(
            "level %d: %d of %d blocks are already done", level, len(blocks) - len(to_do), len(blocks)
        )
    n_threads = available_cores()
    with ThreadPoolExecutor(n_threads) as pool:
        for block in to_do:
            write_block(run, level, block, pool, n_threads)


def _pass_from(volume: Volume, level: int) -> PyramidPass:
    """The pass that starts at a level."""
    for pyramid_pass in volume.passes:
        if pyramid_pass.base_level == level:
            return pyramid_pass
    bases = ", ".join(str(p.base_level) for p in volume.passes)
    raise ConfigError(f"--level must be a level where a pass starts ({bases}); got {level}. Change --level.")


def _check_blocks(pyramid_pass: PyramidPass, blocks: Span) -> None:
    """Refuse blocks that the pass does not have."""
    if blocks.last >= pyramid_pass.n_blocks:
        raise ConfigError(
            f"--blocks must end below {pyramid_pass.n_blocks}, the number of blocks from level "
            f"{pyramid_pass.base_level}; got {blocks}. Change --blocks."
        )


if __name__ == "__main__":
    main()
