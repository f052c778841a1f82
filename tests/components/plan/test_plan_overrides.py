"""The overrides file through the plan step: read from any storage, checked, and kept in the plan."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.documents.plan import Override
from components.shared.storage.registry import open_store
from components.shared.work import units
from tests.components.plan.plan_step import FIRST, nothing_but_a_refusal, plan_of, refusal, run

WriteDecisions = Callable[[str], Path]
"""Writes an overrides file with this text."""


@pytest.fixture
def decisions(tmp_path: Path) -> WriteDecisions:
    def write(text: str) -> Path:
        path = tmp_path / "decisions.yaml"
        path.write_text(text)
        return path

    return write


def test_decisions_are_kept_in_the_plan_and_leave_the_matching_alone(
    source: Path, tmp_path: Path, decisions: WriteDecisions
) -> None:
    assert run(source).exit_code == 0
    before = plan_of(tmp_path)
    text = f"# looked at on Monday\n- {{z: {FIRST + 1}, skip: true}}\n- {{z: {FIRST + 3}, pin: [3, 4.5]}}\n"
    assert run(source, overrides=decisions(text)).exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.overrides == (Override(z=FIRST + 1, skip=True), Override(z=FIRST + 3, pin=(3, 4.5)))
    assert plan.to_json() != before.to_json()
    assert [units.chunk_hash(plan, c) for c in units.chunks(plan)] == [
        units.chunk_hash(before, c) for c in units.chunks(before)
    ]


def test_an_edited_file_changes_the_plan(source: Path, tmp_path: Path, decisions: WriteDecisions) -> None:
    run(source, overrides=decisions(f"- {{z: {FIRST}, skip: true}}"))
    first = plan_of(tmp_path)
    run(source, overrides=decisions(f"- {{z: {FIRST}, keep: true}}"))
    assert plan_of(tmp_path).config == first.config
    assert plan_of(tmp_path).overrides != first.overrides


def test_an_empty_file_decides_nothing(source: Path, tmp_path: Path, decisions: WriteDecisions) -> None:
    assert run(source, overrides=decisions("# nothing yet\n")).exit_code == 0
    assert plan_of(tmp_path).overrides == ()


def test_a_file_in_a_bucket(source: Path, tmp_path: Path, bucket: str) -> None:
    open_store(f"gs://{bucket}").write("decisions.yaml", f"- {{z: {FIRST}, keep: true}}".encode())
    assert run(source, overrides=f"gs://{bucket}/decisions.yaml").exit_code == 0
    assert plan_of(tmp_path).overrides == (Override(z=FIRST, keep=True),)
    refusal(run(source, overrides=f"gs://{bucket}/other.yaml"), 78)


def test_numbers_in_decisions_are_decimal(source: Path, tmp_path: Path, decisions: WriteDecisions) -> None:
    text = f"- {{z: {FIRST + 3:05d}, skip: true}}\n- {{z: {FIRST + 4:05d}, replace: {FIRST + 2:05d}}}\n"
    assert run(source, overrides=decisions(text)).exit_code == 0
    assert plan_of(tmp_path).overrides == (
        Override(z=FIRST + 3, skip=True),
        Override(z=FIRST + 4, replace=FIRST + 2),
    )


def test_decisions_that_are_no_regular_file_are_refused_at_once(source: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        assert "regular file" in refusal(run(source, overrides=place), 78)


Z = FIRST + 2
WRONG = {
    f"- {{z: {Z}, skip: true, z: {Z + 1}}}": "'z' is given twice, again in line 1",
    "- {z: true, skip: true}": "must not be true or false",
    f"- {{z: {Z}, replace: true}}": "must not be true or false",
    f"- {{z: {Z}, pin: [true, 1]}}": "must not be true or false",
    f"- {{z: {Z}.5, skip: true}}": "valid integer",
    f"- {{z: {Z}, pin: [.nan, 1]}}": "finite",
    "[" * 3000: "levels",
    "- {z: " + "1" * 5000 + ", skip: true}": "number of 5,000 characters",
    f"- &a {{z: {Z}, skip: true}}\n- *a": "alias",
    "- {z: !!int abc, skip: true}": "no !!int",
    "--- []\n--- []": "second document",
    "x: \0": "special characters",
    f"- {{z: {FIRST - 1}, skip: true}}": "slice from 8 to 25",
    f"- {{z: {Z}, skip: true}}\n- {{z: {Z}, keep: true}}": "contradict",
    f"- {{z: {Z}, skip: true}}\n- {{z: {Z}, pin: [1, 2]}}": "contradict",
    f"- {{z: {Z}, keep: true}}\n- {{z: {Z}, keep: true}}": "twice",
    f"- {{z: {Z}, replace: {Z}}}": "another slice",
    f"- {{z: {Z}, replace: 99}}": "another slice",
    f"- {{z: {Z}, replace: 20}}\n- {{z: 20, skip: true}}": "not skipped",
    f"- {{z: {FIRST}, cut: true}}": "slice before it",
    f"- {{z: {Z}, skip: true, keep: true}}": "one thing",
    f"- {{z: {Z}, skipp: true}}": "skipp",
    f"- {{z: {Z}": "YAML",
    "z: 5": "wrong",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_gets_a_sentence(
    source: Path, tmp_path: Path, decisions: WriteDecisions, text: str
) -> None:
    sentence = refusal(run(source, overrides=decisions(text)), 78)
    assert WRONG[text] in sentence
    assert "decisions.yaml" in sentence
    assert nothing_but_a_refusal(tmp_path)


def test_a_file_that_is_not_there(source: Path, tmp_path: Path) -> None:
    sentence = refusal(run(source, overrides=tmp_path / "none.yaml"), 78)
    assert "none.yaml, which does not exist" in sentence
