"""What the shards of an output must be, by its records and the listing of its folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.storage.store import Stat
from components.shared.volume.layout import predicted_shards
from components.shared.volume.volume import volume_of
from components.shared.work.completeness import (
    Block,
    check_blocks,
    check_output,
    check_overwritten,
    shards_of,
    summary_of,
)
from components.shared.work.records import Output, Record
from tests.builders import plan_of, transforms_of

Shards = dict[str, Output]
Listing = dict[str, Stat]
PLAN = plan_of(0, 9)
VOLUME = volume_of(PLAN, transforms_of(PLAN))
OUTPUT = VOLUME.outputs[0]
KEYS = [f"{scale}/{name}" for scale, names in predicted_shards(VOLUME, OUTPUT).items() for name in names]


def output_of(key: str, size_bytes: int = 10) -> Output:
    return Output(uri=OUTPUT.uri, key=key, size_bytes=size_bytes, crc32c="00000001")


FOREIGN = output_of("1_1_1/other.shard", 7)


def written() -> tuple[Shards, Listing]:
    """Records and the listing of a whole output."""
    shards = {key: output_of(key) for key in KEYS}
    return shards, {key: Stat(key=key, size_bytes=10, crc32c="00000001") for key in KEYS}


def is_lost(shards: Shards, listing: Listing) -> None:
    del listing[KEYS[0]]


def is_cut(shards: Shards, listing: Listing) -> None:
    listing[KEYS[0]] = Stat(key=KEYS[0], size_bytes=9, crc32c="00000001")


def is_changed(shards: Shards, listing: Listing) -> None:
    listing[KEYS[0]] = Stat(key=KEYS[0], size_bytes=10, crc32c="00000002")


def is_not_recorded(shards: Shards, listing: Listing) -> None:
    del shards[KEYS[0]]


def is_foreign(shards: Shards, listing: Listing) -> None:
    listing[FOREIGN.key] = Stat(key=FOREIGN.key, size_bytes=7, crc32c="00000001")


def is_black(shards: Shards, listing: Listing) -> None:
    del shards[KEYS[0]], listing[KEYS[0]]


def has_no_checksum_in_the_listing(shards: Shards, listing: Listing) -> None:
    listing[KEYS[0]] = Stat(key=KEYS[0], size_bytes=10, crc32c=None)


@pytest.mark.parametrize("change", [is_black, has_no_checksum_in_the_listing])
def test_an_output_as_it_is_recorded_is_whole(change: Callable[[Shards, Listing], None]) -> None:
    shards, listing = written()
    assert check_output(VOLUME, OUTPUT, shards, listing) == []
    change(shards, listing)
    assert check_output(VOLUME, OUTPUT, shards, listing) == []


@pytest.mark.parametrize(
    ("change", "sentence", "cured_by_retry"),
    [
        (is_lost, "1 shards are missing", True),
        (is_cut, "1 shards differ from their record in size or checksum", True),
        (is_changed, "1 shards differ from their record in size or checksum", True),
        (is_not_recorded, "1 files belong to no block of this run", False),
        (is_foreign, "1 files belong to no block of this run", False),
    ],
)
def test_each_fault_of_a_shard_is_named(
    change: Callable[[Shards, Listing], None], sentence: str, cured_by_retry: bool
) -> None:
    shards, listing = written()
    change(shards, listing)
    (fault,) = check_output(VOLUME, OUTPUT, shards, listing)
    assert fault.sentence.startswith(f"{sentence} in {OUTPUT.uri}: ")
    assert (fault.cured_by_retry, fault.is_undone) == (cured_by_retry, False)


def test_a_record_of_what_is_no_part_of_the_volume_is_named() -> None:
    shards, listing = written()
    shards[FOREIGN.key] = FOREIGN
    listing[FOREIGN.key] = Stat(key=FOREIGN.key, size_bytes=7, crc32c="00000001")
    foreign, unforeseen = check_output(VOLUME, OUTPUT, shards, listing)
    assert foreign.sentence.startswith("1 files belong to no block")
    assert unforeseen.sentence.startswith("1 recorded shards are not part of the volume")
    assert not unforeseen.cured_by_retry


def test_blocks_are_done_by_a_record_of_this_run_alone() -> None:
    record = Record(step="pyramid", unit="0-0", input_hash="now", outputs=(FOREIGN,))
    done = Block(0, 0, record, "now")
    blocks = [done, Block(0, 1, record, "before"), Block(1, 0, None, "now")]
    assert [block.is_done for block in blocks] == [True, False, False]
    assert check_blocks([done]) == []
    (fault,) = check_blocks(blocks)
    assert fault.sentence == "2 of 3 blocks have no valid record: 1 of level 0, 0 of level 1"
    assert (fault.cured_by_retry, fault.is_undone) == (True, True)


def test_files_that_were_written_over_are_named() -> None:
    assert check_overwritten([Block(0, 0, None, "now")]) == []
    (fault,) = check_overwritten([Block(0, 0, None, "now", overwritten=(FOREIGN,))])
    assert fault.sentence.startswith(f"1 files were written over since their record: {FOREIGN.uri}/")
    assert (fault.cured_by_retry, fault.is_undone) == (True, False)


def test_shards_are_those_of_one_output_and_black_ones_are_counted(tmp_path: Path) -> None:
    other = FOREIGN.model_copy(update={"uri": str(tmp_path)})
    outputs = (output_of(KEYS[0]), other)
    blocks = [
        Block(0, 0, Record(step="pyramid", unit="0-0", input_hash="now", outputs=outputs), "now"),
        Block(0, 1, None, "now"),
    ]
    assert shards_of(blocks, OUTPUT.uri) == {KEYS[0]: outputs[0]}
    summary = summary_of(VOLUME, OUTPUT, shards_of(blocks, OUTPUT.uri))
    assert (summary.n_shards, summary.n_black_shards, summary.size_bytes) == (1, len(KEYS) - 1, 10)
