"""Work that is left: the units without a valid record, and files in the way of a volume.

`plan` and `compose` list only what is missing. Tiles that are gone are made again only where a block still
needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from components.shared.documents.plan import Plan
from components.shared.errors import UserError
from components.shared.grid import PyramidPass, Span
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from components.shared.volume.volume import MAX_PASSES, Volume
from components.shared.work.completeness import Fault, check_predicted
from components.shared.work.records import is_done
from components.shared.work.run import Run
from components.shared.work.superseded import Place, files_of_volume, note_superseded
from components.shared.work.units import chunk_hash, chunks
from components.shared.work.verification import list_scales

_Unit = TypeVar("_Unit", Span, int)


@dataclass(frozen=True, slots=True)
class WorkLeft:
    """The units that follow `compose` and are not done."""

    slabs: list[int]
    blocks: list[list[int]]
    """Numbers of blocks, for each pass that the pipeline has; empty for a pass that the volume has not."""


def work_left(run: Run, superseded: Collection[Place] = ()) -> WorkLeft:
    """The slabs and blocks of a run that are still to be written.

    A pass is read from the one before, so all its blocks are listed when any of the finer pass is.

    Args:
        run: the run.
        superseded: files of earlier runs, which go when the volume is whole.

    Raises:
        UserError: other files lie among the volume's.
    """
    in_the_way = files_in_the_way(run.volume, superseded)
    if in_the_way:
        raise UserError(
            f"the folders of a volume must hold its own shards only; {in_the_way[0].sentence}. "
            "Remove them, or choose another output."
        )
    blocks: list[list[int]] = [[] for _ in range(MAX_PASSES)]
    for index, pyramid_pass in enumerate(run.volume.passes):
        if index and blocks[index - 1]:
            blocks[index] = list(range(pyramid_pass.n_blocks))
        else:
            blocks[index] = blocks_to_do(run, pyramid_pass)
    return WorkLeft(slabs_to_do(run, blocks[0]), blocks)


def note_before_work(run: Run, left: WorkLeft, superseded: Collection[Place]) -> None:
    """Have `superseded.json` name the superseded files and, where work is left, all that the volume may have.

    A block that is stopped between its shards and its record leaves files that no record names. If the next
    volume is another one, the note tells that they are of a run; if it is the same, it keeps them.
    """
    begun = files_of_volume(run.volume, run.plan.locations) if left.slabs or any(left.blocks) else set()
    note_superseded(run.process, {*superseded, *begun})


def chunks_to_do(plan: Plan, process: Store) -> list[Span]:
    """The chunks without a valid record."""
    return not_done(process, "align", chunks(plan), lambda chunk: chunk_hash(plan, chunk))


def blocks_to_do(run: Run, pyramid_pass: PyramidPass) -> list[int]:
    """The blocks of a pass without a valid record."""
    level, every = pyramid_pass.base_level, range(pyramid_pass.n_blocks)
    return not_done(run.process, f"pyramid/{level}", every, lambda block: run.block_hash(level, block))


def slabs_to_do(run: Run, blocks: Iterable[int]) -> list[int]:
    """The slabs that some blocks of the first pass need and that are not in place."""
    needed = sorted({slab for block in blocks for slab in run.volume.slabs_of_block(block)})
    return not_done(run.process, "tile", needed, run.slab_hash)


def not_done(
    process: Store, step: str, units: Iterable[_Unit], expected_hash: Callable[[_Unit], str]
) -> list[_Unit]:
    """The units without a valid record."""

    def left(unit: _Unit) -> list[_Unit]:
        return [] if is_done(process, step, str(unit), expected_hash(unit)) else [unit]

    return [unit for some in in_parallel(left, units) for unit in some]


def files_in_the_way(volume: Volume, superseded: Collection[Place] = ()) -> list[Fault]:
    """Complaints about files in the folders of shards that no block of this volume will write over.

    Found before the work begins, they cost nothing. Those of earlier runs are in nobody's way.
    """
    problems = []
    for output in volume.outputs:
        store = open_store(output.uri)
        if not store.exists():  # a bucket that the run is to make
            continue
        foreign = [key for key in list_scales(volume, output, store) if (store.uri, key) not in superseded]
        problems += check_predicted(volume, output, foreign)
    return problems
