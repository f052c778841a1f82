"""Compares what a volume must consist of with the records of its blocks and the listing of its folders.

A shard that no record names although its block is sealed holds nothing but black; such shards are not
written. So the rule is, for every output:

1. every block of every pass has a sealed record with the hash that the plan and the transforms give;
2. every shard that a record names lies there with the recorded size (and checksum, where the store knows it);
3. nothing else lies in the folders of the scales.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from components.shared.documents.sealed import Document
from components.shared.storage.store import Stat
from components.shared.text import listed
from components.shared.volume.layout import predicted_shards
from components.shared.volume.volume import Volume, VolumeOutput
from components.shared.work.records import Output, Record

_NAMED = 3
"""Shards or blocks that a sentence names of those that it is about."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a pass, and its record if there is a sealed one."""

    level: int
    index: int
    record: Record | None
    expected_hash: str
    overwritten: tuple[Output, ...] = ()
    """Files of the block that have been changed since it was sealed."""

    @property
    def is_done(self) -> bool:
        return self.record is not None and self.record.input_hash == self.expected_hash


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a written volume: a part that is missing, changed or foreign."""

    sentence: str
    cured_by_retry: bool
    """The fault is mended when the same run is started again."""
    is_undone: bool = False
    """A unit of the run has not been done, so a task of the run has failed; nothing was damaged since."""


class OutputSummary(Document):
    """Counts and size of a volume that the run wrote."""

    uri: str
    encoding: str
    n_shards: int
    n_black_shards: int
    """Number of shards that are black all over, which are not written."""
    size_bytes: int


def check_blocks(blocks: Sequence[Block]) -> list[Fault]:
    """A complaint about blocks that are not done, if there are any."""
    undone = [f"{block.index} of level {block.level}" for block in blocks if not block.is_done]
    if not undone:
        return []
    sentence = f"{len(undone)} of {len(blocks)} blocks have no valid record: {listed(undone, _NAMED)}"
    return [Fault(sentence, cured_by_retry=True, is_undone=True)]


def check_overwritten(blocks: Sequence[Block]) -> list[Fault]:
    """A complaint about files that were changed since they were written, if there are any."""
    files = [f"{output.uri}/{output.key}" for block in blocks for output in block.overwritten]
    if not files:
        return []
    return [Fault(f"{len(files)} files were written over since their record: {listed(files, _NAMED)}", True)]


def shards_of(blocks: Sequence[Block], root: str) -> dict[str, Output]:
    """Files below an output's root that the records of its blocks name, by key."""
    outputs = [output for block in blocks if block.record for output in block.record.outputs]
    return {output.key: output for output in outputs if output.uri == root}


def check_predicted(volume: Volume, output: VolumeOutput, listed: Collection[str]) -> list[Fault]:
    """A complaint about files among an output's shards that are none of them, if there are any."""
    scales = predicted_shards(volume, output)
    predicted = {f"{scale}/{name}" for scale, names in scales.items() for name in names}
    return _complaints(output, sorted(set(listed) - predicted), "files belong to no block of this run", False)


def check_output(
    volume: Volume,
    output: VolumeOutput,
    recorded: Mapping[str, Output],
    listed: Mapping[str, Stat],
) -> list[Fault]:
    """Complaints about the shards of one output.

    Args:
        volume: the volume of the run.
        output: one of its outputs.
        recorded: files below the output that the blocks' records name, by key.
        listed: files in the folders of its scales, by key.
    """
    scales = predicted_shards(volume, output)
    predicted = {f"{scale}/{name}" for scale, names in scales.items() for name in names}
    missing = [key for key in recorded if key not in listed]
    wrong = [key for key in recorded if key in listed and _differs(recorded[key], listed[key])]
    unexpected = [key for key in listed if key not in recorded or key not in predicted]
    unforeseen = [key for key in recorded if key not in predicted]
    return [
        *_complaints(output, missing, "shards are missing", True),
        *_complaints(output, wrong, "shards differ from their record in size or checksum", True),
        *_complaints(output, unexpected, "files belong to no block of this run", False),
        *_complaints(output, unforeseen, "recorded shards are not part of the volume", False),
    ]


def summary_of(volume: Volume, output: VolumeOutput, recorded: Mapping[str, Output]) -> OutputSummary:
    """Counts and size of one output."""
    n_predicted = sum(len(names) for names in predicted_shards(volume, output).values())
    return OutputSummary(
        uri=output.uri,
        encoding=output.encoding,
        n_shards=len(recorded),
        n_black_shards=n_predicted - len(recorded),
        size_bytes=sum(shard.size_bytes for shard in recorded.values()),
    )


def _complaints(output: VolumeOutput, keys: Sequence[str], rule: str, cured_by_retry: bool) -> list[Fault]:
    """One complaint about some keys; no complaint where there are no keys."""
    if not keys:
        return []
    return [Fault(f"{len(keys)} {rule} in {output.uri}: {listed(sorted(keys), _NAMED)}", cured_by_retry)]


def _differs(output: Output, found: Stat) -> bool:
    if found.size_bytes != output.size_bytes:
        return True
    return found.crc32c is not None and found.crc32c != output.crc32c
