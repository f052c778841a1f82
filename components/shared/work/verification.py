"""Looks at a written volume: its blocks' records, its folders, and each of its shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import Transforms
from components.shared.errors import UserError
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Stat, Store
from components.shared.volume.layout import Scale, scale_at
from components.shared.volume.tensorstore_retry import check_may_not_pass, finish
from components.shared.volume.volume import Volume, VolumeOutput
from components.shared.work.completeness import (
    Block,
    Fault,
    OutputSummary,
    check_blocks,
    check_output,
    check_overwritten,
    shards_of,
    summary_of,
)
from components.shared.work.export import EXPORT_KEY, Export, export_hash, exported_volume
from components.shared.work.records import (
    input_hash,
    outputs_present,
    overwritten,
    read_record,
)
from components.shared.work.run import Run

_SHARDS_AT_A_TIME = 64
"""Shards that tensorstore opens together; they cost no threads."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Faults and figures of a written volume."""

    problems: tuple[Fault, ...]
    outputs: tuple[OutputSummary, ...]
    volume_hash: str = ""
    """Hash of all that the volume depends on."""


@dataclass(frozen=True, slots=True)
class Written:
    """A volume that a run or an export has written, as the documents and records of its output tell."""

    plan: Plan
    transforms: Transforms
    volume: Volume
    blocks: list[Block]


def read_written(process: Store) -> Written:
    """The volume that a run or an export has written, with the records of its blocks, where it lies now.

    Raises:
        UserError: a document of it is missing or not of this version.
    """
    run = Run.read(process)
    if process.stat(EXPORT_KEY) is None:
        return Written(run.plan, run.transforms, run.volume, read_blocks(run))
    export = read_document(process, EXPORT_KEY, Export)
    volume = exported_volume(export, run.plan, run.transforms)
    blocks = blocks_with(volume, process, partial(export_hash, export))
    return Written(run.plan, run.transforms, volume, blocks)


def read_written_in(output: str) -> Written:
    """The volume that a run or an export has written to an output.

    Raises:
        UserError: a document of it is missing or not of this version, or pictures of a volume lie there.
    """
    process = open_store(part_uri(output, "process"))
    if process.stat(PLAN_KEY) is None and process.stat(EXPORT_KEY) is not None:
        raise UserError(
            f"a volume must lie in {output}; got pictures that 'fibstack export' has written from one. Name "
            f"the output of that volume: 'source' in {output}/process/export.json says it."
        )
    return read_written(process)


def read_blocks(run: Run) -> list[Block]:
    """Every block of every pass of a run with its record."""
    return blocks_with(run.volume, run.process, run.block_hash)


def blocks_with(volume: Volume, process: Store, expected: Callable[[int, int], str]) -> list[Block]:
    """Every block of every pass with its record.

    Args:
        volume: the volume that the blocks make up.
        process: store of the records.
        expected: the input hash of a block, given its base level and number.
    """

    def block(level_and_index: tuple[int, int]) -> Block:
        level, index = level_and_index
        record = read_record(process, f"pyramid/{level}", str(index))
        return Block(
            level=level,
            index=index,
            record=record,
            expected_hash=expected(level, index),
            overwritten=tuple(overwritten(process, record)) if record is not None else (),
        )

    every = [(p.base_level, index) for p in volume.passes for index in range(p.n_blocks)]
    return in_parallel(block, every)


def verify(volume: Volume, blocks: list[Block], *, has_opened: bool = False) -> Verification:
    """Check records and folders, and, where these agree, that every shard opens.

    Args:
        volume: what must be there.
        blocks: its blocks with their records.
        has_opened: whether the shards have been seen to open, so that no data need be read.
    """
    problems = check_blocks(blocks) + check_overwritten(blocks)
    shards = {output.uri: shards_of(blocks, open_store(output.uri).uri) for output in volume.outputs}
    if not problems:
        problems += _check_other_outputs(volume, blocks)
        for output in volume.outputs:
            problems += check_listing(volume, output, blocks)
    if not problems and not has_opened:
        for output in volume.outputs:
            problems += open_shards(volume, output, shards[output.uri].keys())
    summaries = (summary_of(volume, output, shards[output.uri]) for output in volume.outputs)
    return Verification(tuple(problems), tuple(summaries), hash_of(blocks))


def check_listing(volume: Volume, output: VolumeOutput, blocks: list[Block]) -> list[Fault]:
    """Compare the folders of an output with the records of all blocks."""
    store = open_store(output.uri)
    listed = list_scales(volume, output, store)
    return check_output(volume, output, shards_of(blocks, store.uri), listed)


def _check_other_outputs(volume: Volume, blocks: list[Block]) -> list[Fault]:
    """A complaint about exact levels that blocks leave for the next pass, if some are missing or changed."""
    roots = {open_store(output.uri).uri for output in volume.outputs}
    others = [
        output
        for block in blocks
        if block.record
        for output in block.record.outputs
        if output.uri not in roots
    ]
    if outputs_present(others):
        return []
    return [Fault(f"intermediate blocks are missing or differ from their record in {others[0].uri}", True)]


def list_scales(volume: Volume, output: VolumeOutput, store: Store) -> dict[str, Stat]:
    """Everything in the folders of an output's shards, by key."""
    scales = [scale_at(volume, output, level) for level in output.levels]
    return {found.key: found for scale in scales for found in store.list(scale.shards_prefix)}


def open_shards(volume: Volume, output: VolumeOutput, keys: Iterable[str]) -> list[Fault]:
    """Read one voxel of every shard through tensorstore, with the metadata that are about to be published.

    This proves, with two or three small reads a shard, that the metadata are valid, that the shard lies under
    the name a reader looks for, that its index decodes, and that its middle chunk (if it is not black)
    decodes. It does not decode the other chunks: their bytes are vouched for by the recorded size, and by
    the checksum where the store keeps one.
    """
    # Imported here: what is left to do, and a volume that has been seen to open, are told without it.
    import tensorstore as ts

    from components.shared.volume.open_level import open_level

    context = ts.Context({"cache_pool": {"total_bytes_limit": 0}})
    wanted = set(keys)
    broken: list[str] = []
    for level in output.levels:
        scale = scale_at(volume, output, level)
        array = open_level(volume, output, level, context)
        shards = [(key, at) for key, at in _middles(scale) if key in wanted]
        for start in range(0, len(shards), _SHARDS_AT_A_TIME):
            some = shards[start : start + _SHARDS_AT_A_TIME]
            reads = [(key, read(), read) for key, read in ((key, array[..., *at].read) for key, at in some)]
            broken += [key for key, started, read in reads if not _finishes(started, read)]
    if not broken:
        return []
    sentence = f"{len(broken)} shards cannot be opened in {output.uri}: {', '.join(broken[:3])}"
    return [Fault(sentence, False)]


def _finishes(started: Any, read: Callable[[], Any]) -> bool:  # noqa: ANN401 - tensorstore has no types
    """Whether a read ends well.

    Raises:
        TransientError: storage failed, which says nothing of what is read.
    """
    try:
        finish(started, read)
    except (ValueError, IndexError, OSError) as error:
        check_may_not_pass("cannot read a shard of the volume", error)
        return False
    return True


def _middles(scale: Scale) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """The key of every shard with the voxel in its middle, z, y, x, counted from the volume's first voxel."""
    for shard in product(*(range(n) for n in scale.shard_grid_xyz)):
        x, y, z = (
            (position * side + min((position + 1) * side, size)) // 2
            for position, side, size in zip(shard, scale.shard_sides, scale.size_xyz, strict=True)
        )
        sx, sy, sz = shard
        yield scale.shard_key((sx, sy, sz)), (z, y, x)


def hash_of(blocks: Sequence[Block]) -> str:
    """A hash of all that a volume depends on."""
    return input_hash(*(block.expected_hash for block in blocks))


def is_untouched(blocks: list[Block], earlier_hash: str = "") -> bool:
    """True where this run has touched nothing of an earlier volume.

    All that the blocks' records name is in place then, as it was written, and this run has made no block.
    Where all records together are those of another, earlier volume, a block that both share is that one's.

    Args:
        blocks: the blocks of this run's volume with their records.
        earlier_hash: hash of all that the earlier volume depends on; empty where it is not known.
    """
    if any(block.overwritten for block in blocks):
        return False
    records = [block.record for block in blocks if block.record is not None]
    is_earlier = input_hash(*(record.input_hash for record in records)) == earlier_hash != hash_of(blocks)
    if any(block.is_done for block in blocks) and not is_earlier:
        return False
    return all(outputs_present(record.outputs) for record in records)
