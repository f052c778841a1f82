"""Looks at a written volume: its blocks' records, its folders, and each of its shards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import tensorstore as ts

from components.report.completeness import (
    Block,
    OutputSummary,
    Problem,
    check_blocks,
    check_output,
    shards_of,
    summary_of,
)
from components.shared.documents import Plan, Transforms
from components.shared.precomputed import Scale, info, scale_at
from components.shared.records import outputs_present, read_record
from components.shared.storage import Stat, Store, open_store
from components.shared.units import block_hash, slab_hashes
from components.shared.volume import Volume, VolumeOutput

_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Verification:
    """What looking at the volume brought to light."""

    problems: tuple[Problem, ...]
    outputs: tuple[OutputSummary, ...]


def read_blocks(plan: Plan, transforms: Transforms, volume: Volume, process: Store) -> list[Block]:
    """Every block of every pass with its record."""
    hashes = slab_hashes(plan, transforms, volume)
    return [
        Block(
            level=pyramid_pass.base_level,
            index=index,
            record=read_record(process, f"pyramid/{pyramid_pass.base_level}", str(index)),
            expected_hash=block_hash(plan, volume, pyramid_pass.base_level, index, hashes),
        )
        for pyramid_pass in volume.passes
        for index in range(pyramid_pass.n_blocks)
    ]


def verify(volume: Volume, blocks: list[Block]) -> Verification:
    """Check records and folders, and, where these agree, that every shard opens."""
    problems = check_blocks(blocks)
    shards = {output.uri: shards_of(blocks, open_store(output.uri).uri) for output in volume.outputs}
    if not problems:
        problems += _check_other_outputs(volume, blocks)
        for output in volume.outputs:
            listed = list_scales(volume, output, open_store(output.uri))
            problems += check_output(volume, output, shards[output.uri], listed)
    if not problems:
        for output in volume.outputs:
            problems += open_shards(volume, output, shards[output.uri].keys())
    summaries = (summary_of(volume, output, shards[output.uri]) for output in volume.outputs)
    return Verification(tuple(problems), tuple(summaries))


def _check_other_outputs(volume: Volume, blocks: list[Block]) -> list[Problem]:
    """The complaint about what blocks leave behind for the next pass."""
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
    return [Problem(f"intermediate blocks are missing or differ from their record in {others[0].uri}", True)]


def list_scales(volume: Volume, output: VolumeOutput, store: Store) -> dict[str, Stat]:
    """Everything in the folders of an output's scales, by key."""
    scales = [scale_at(volume, output, level) for level in output.levels]
    return {found.key: found for scale in scales for found in store.list(f"{scale.key}/")}


def open_shards(volume: Volume, output: VolumeOutput, keys: Iterable[str]) -> list[Problem]:
    """Read one voxel of every shard through tensorstore, with the `info` that is about to be published.

    This proves, with three small reads a shard, that `info` is valid, that the shard lies under the name a
    reader looks for, that its index and minishard index decode, and that its middle chunk (if it is not
    black) decodes. It does not decode the other chunks: their bytes are vouched for by the recorded size, and
    by the checksum where the store keeps one.
    """
    context = ts.Context({"cache_pool": {"total_bytes_limit": 0}})
    ts.KvStore.open({"driver": "memory"}, context=context).result()["info"] = json.dumps(
        info(volume, output)
    ).encode()
    wanted = set(keys)
    broken: list[str] = []
    for level in output.levels:
        scale = scale_at(volume, output, level)
        array = _open_scale(output, scale, context)
        shards = [(key, at) for key, at in _middles(scale) if key in wanted]
        for start in range(0, len(shards), _IN_FLIGHT):
            reads = [(key, array[at].read()) for key, at in shards[start : start + _IN_FLIGHT]]
            broken += [key for key, read in reads if read.exception() is not None]
    if not broken:
        return []
    sentence = f"{len(broken)} shards cannot be opened in {output.uri}: {', '.join(broken[:3])}"
    return [Problem(sentence, False)]


def _open_scale(output: VolumeOutput, scale: Scale, context: ts.Context) -> Any:  # noqa: ANN401 - untyped
    candidate = {"exact": "info", "base": {"driver": "memory", "path": "info"}}
    layers = [{"base": open_store(output.uri).kvstore("")}, candidate]
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "kvstack", "layers": layers},
        "scale_metadata": {"key": scale.key},
    }
    array = ts.open(spec, context=context, open=True, read=True).result()
    return array[ts.d["channel"][0]][ts.d["x", "y", "z"].translate_to[0]]


def _middles(scale: Scale) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """The key of every shard with the voxel in its middle, counted from the volume's first voxel."""
    for shard in product(*(range(n) for n in scale.shard_grid_xyz)):
        x, y, z = (
            (position * scale.shard + min((position + 1) * scale.shard, size)) // 2
            for position, size in zip(shard, scale.size_xyz, strict=True)
        )
        sx, sy, sz = shard
        yield scale.shard_key((sx, sy, sz)), (x, y, z)


def is_untouched(blocks: list[Block]) -> bool:
    """Whether everything that the blocks' records name is in place, and no block is of this run's making.

    True means that an earlier volume has not been touched.
    """
    records = [block.record for block in blocks if block.record is not None]
    begun = any(block.is_done for block in blocks)
    return not begun and all(outputs_present(record.outputs) for record in records)
