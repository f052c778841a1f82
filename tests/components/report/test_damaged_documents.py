"""The report on documents that were damaged where they lie."""

from pathlib import Path

import pytest

from components.report.gather import gather
from components.shared.documents.plan import Plan
from components.shared.storage.store import Store
from components.shared.work.records import Record, commit, write_output
from tests.components.report.finished_run import finished_run


@pytest.fixture
def run(tmp_path: Path) -> tuple[Plan, Store]:
    plan, _, process = finished_run(tmp_path)
    rows = write_output(process, "slices.jsonl", process.read("slices.jsonl"))
    commit(process, Record(step="compose", unit="transforms", input_hash="h", outputs=(rows,)))
    return plan, process


def test_what_is_as_it_was_written_is_told(run: tuple[Plan, Store]) -> None:
    plan, process = run
    evidence = gather(process, plan)
    assert evidence.unreadable == []
    assert [row.z for row in evidence.rows] == [s.z for s in evidence.transforms.slices]


@pytest.mark.parametrize("key", ["slices.jsonl", "transforms.json", "align/0-7.json"])
def test_a_digit_that_has_changed_is_told_and_not_shown(run: tuple[Plan, Store], key: str) -> None:
    plan, process = run
    data = process.read(key)
    at = data.index(b"0.3") if b"0.3" in data else data.index(b"0.9")
    process.write(key, data[: at + 2] + b"7" + data[at + 3 :])
    evidence = gather(process, plan)
    (sentence,) = evidence.unreadable
    assert f"{process.uri}/{key}" in sentence
    if key == "slices.jsonl":
        assert evidence.rows == []
    if key == "transforms.json":
        assert evidence.transforms is None
