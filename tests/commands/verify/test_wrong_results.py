"""The list of wrong results: tied to the result versions, and told to who has an old volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands.main import main
from commands.verify import wrong_results as module
from commands.verify.wrong_results import WrongResult, concerning, wrong_results
from components.shared.documents.plan import Plan
from components.shared.steps import RESULT_VERSIONS
from components.shared.storage.store import Store
from components.shared.work.publication import publish
from components.shared.work.records import Record, commit
from components.shared.work.units import chunk_hash, chunks, compose_hash
from components.shared.work.verification import read_written
from components.shared.work.versions import versions_of
from pipeline.settings import STEPS
from tests.builders import cli
from tests.components.report.finished_run import finished_run

MENDED = WrongResult(
    id="planted",
    made_by=("tile",),
    wrong="Bright is dark.",
    affected="all stacks",
    notice="Look.",
    mend="Run again.",
    right_from={"tile": RESULT_VERSIONS["tile"] + 1},
)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[tuple[Plan, Store]]:
    """A published volume with sealed evidence and transforms, all of the present versions."""
    plan, _, process = finished_run(tmp_path)
    for chunk in chunks(plan):
        commit(process, Record(step="align", unit=str(chunk), input_hash=chunk_hash(plan, chunk), outputs=()))
    evidence = [process.read(f"align/{chunk}.json") for chunk in chunks(plan)]
    solved = compose_hash(plan, evidence)
    commit(process, Record(step="compose", unit="transforms", input_hash=solved, outputs=()))
    publish(read_written(process).volume)
    return plan, process


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[WrongResult], None]:
    return lambda result: monkeypatch.setattr(module, "wrong_results", lambda: (result,))


def test_every_later_version_of_a_step_has_a_row_that_says_why() -> None:
    told = {(step, version) for result in wrong_results() for step, version in result.right_from.items()}
    raised = {(step, v) for step, last in RESULT_VERSIONS.items() for v in range(2, last + 1)}
    assert told == raised


def test_rows_name_steps_and_commands_that_exist() -> None:
    known = {*STEPS, *main.commands}
    assert [(result.id, name) for result in wrong_results() for name in {*result.made_by} - known] == []
    assert [
        result.id for result in wrong_results() if not result.right_from.keys() <= {*result.made_by}
    ] == []


def test_a_result_is_mended_by_a_version_or_without_one() -> None:
    assert MENDED.is_mended
    without = MENDED.model_copy(update={"right_from": {}})
    assert not without.is_mended
    assert without.model_copy(update={"mended": True}).is_mended


def test_rows_have_names_of_their_own() -> None:
    names = [result.id for result in wrong_results()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("step", sorted(RESULT_VERSIONS))
def test_the_version_that_wrote_a_volume_is_found(
    step: str, written: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dict(RESULT_VERSIONS)
    monkeypatch.setitem(RESULT_VERSIONS, step, now[step] + 2)
    assert versions_of(read_written(written[1])) == now


def test_an_old_volume_is_told_what_was_wrong_in_it(
    written: tuple[Plan, Store],
    planted: Callable[[WrongResult], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted(MENDED)
    monkeypatch.setitem(RESULT_VERSIONS, "tile", RESULT_VERSIONS["tile"] + 1)
    result = cli("verify", written[0].config.output)
    assert result.stderr.splitlines()[0] == (
        "note: this volume was written before a result was mended ('planted' in docs/correctness.md). "
        "Bright is dark. It concerns all stacks. Run again."
    )


def test_a_volume_of_the_right_version_is_told_nothing(
    written: tuple[Plan, Store], planted: Callable[[WrongResult], None]
) -> None:
    planted(MENDED.model_copy(update={"right_from": {"tile": RESULT_VERSIONS["tile"]}}))
    assert list(concerning(read_written(written[1]))) == []


def test_results_that_are_not_mended_are_left_to_the_page(
    written: tuple[Plan, Store], planted: Callable[[WrongResult], None]
) -> None:
    planted(MENDED.model_copy(update={"right_from": {}}))
    assert list(concerning(read_written(written[1]))) == []
