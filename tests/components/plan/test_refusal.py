"""A refused input leaves its reason in the output, until a plan is made there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from components.plan.output import EXPORT_KEY
from components.shared.errors import UserError
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from components.shared.work.refusal import REFUSED_KEY, Refusal, settings_hash, standing_refusal
from tests.components.plan.plan_step import FIRST, LAST, files_below, refusal, run


def process_in(folder: Path) -> Store:
    return open_store(str(folder / "out/process"))


def settings_of(source: Path, **changes: object) -> str:
    flags = {"source": source, "image": "img.%05d.png", "minz": FIRST, "maxz": LAST}
    given = {**flags, "output": source.parent / "out", **changes}
    return settings_hash({key: str(value) for key, value in given.items()})


@pytest.mark.parametrize(
    ("change", "exit_code"), [({"image": "wrong.%05d.png"}, 65), ({"clip_limit": "nan"}, 78)]
)
def test_the_sentence_and_the_exit_code_are_left(
    source: Path, tmp_path: Path, change: dict[str, Any], exit_code: int
) -> None:
    said = refusal(run(source, **change), exit_code)
    found = standing_refusal(process_in(tmp_path), settings_of(source, **change))
    assert found == Refusal.model_validate_json(process_in(tmp_path).read(REFUSED_KEY))
    assert (f"error: {found.sentence}", found.exit_code, found.step) == (said, exit_code, "plan")
    before = files_below(tmp_path / "out")
    refusal(run(source, **change), exit_code)
    assert files_below(tmp_path / "out") == before


def test_the_next_refusal_takes_its_place_and_the_next_plan_takes_it_away(
    source: Path, tmp_path: Path
) -> None:
    refusal(run(source, image="wrong.%05d.png"), 65)
    sentence = refusal(run(source, maxz=LAST + 1), 65)
    found = standing_refusal(process_in(tmp_path))
    assert found is not None
    assert f"error: {found.sentence}" == sentence
    assert run(source).exit_code == 0
    assert process_in(tmp_path).stat(REFUSED_KEY) is None


def test_what_a_stub_has_left_does_not_hide_a_refusal(source: Path, tmp_path: Path) -> None:
    """Its clean-up was cut off, or it is still going on."""
    process_in(tmp_path).write("stub.1f00/stub.json", b"{}")
    refusal(run(source, image="wrong.%05d.png"), 65)
    assert standing_refusal(process_in(tmp_path)) is not None


def test_it_is_of_these_settings_however_the_run_is_named(source: Path, tmp_path: Path) -> None:
    refusal(run(source, image="wrong.%05d.png", email="me@example.org"), 65)
    process = process_in(tmp_path)
    assert standing_refusal(process, settings_of(source, image="wrong.%05d.png", id="other"))
    assert standing_refusal(process, settings_of(source)) is None


def deny(*_: object) -> NoReturn:
    raise UserError("permission denied. Grant storage.objects.delete")


def refused_once(source: Path, tmp_path: Path) -> Path:
    """A refusal for a slice that is lost; returns where the slice was and is put back."""
    slice_path = sorted(source.iterdir())[3]
    lost = slice_path.rename(tmp_path / "lost.png")
    refusal(run(source), 65)
    return lost.rename(slice_path)


@pytest.mark.parametrize("has_plan", [False, True])
def test_who_may_not_delete_overrules_a_refusal(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_plan: bool
) -> None:
    """Also where the plan of the same settings lay there before, and stays."""
    if has_plan:
        assert run(source).exit_code == 0
    refused_once(source, tmp_path)
    process = process_in(tmp_path)
    assert standing_refusal(process, settings_of(source))
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "delete", deny)
        assert run(source).exit_code == 0
    assert process.stat(REFUSED_KEY) is not None
    assert standing_refusal(process) is None
    refused_once(source, tmp_path)
    assert standing_refusal(process), "it is of a later try"


def test_a_refusal_that_can_neither_go_nor_be_overruled_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(source).exit_code == 0
    refused_once(source, tmp_path)
    for verb in ("delete", "write"):
        monkeypatch.setattr(FolderStore, verb, deny)
    assert run(source).exit_code == 0
    assert "refused.json stays, although the input is not refused any more: permission denied" in caplog.text


def test_a_refusal_that_cannot_be_written_changes_neither_sentence_nor_exit_code(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FolderStore, "write", deny)
    assert "wrong.%05d.png" in refusal(run(source, image="wrong.%05d.png"), 65)
    assert "the report cannot say why the input is refused: permission denied" in caplog.text


@pytest.mark.parametrize(
    ("change", "exit_code", "sentence"), [({}, 65, "exported volume"), ({"clip_limit": "nan"}, 78, "finite")]
)
def test_nothing_is_written_beside_what_is_no_run_s(
    source: Path, tmp_path: Path, change: dict[str, Any], exit_code: int, sentence: str
) -> None:
    process_in(tmp_path).write(EXPORT_KEY, b"{}")
    assert sentence in refusal(run(source, **change), exit_code)
    assert set(files_below(tmp_path / "out")) == {f"process/{EXPORT_KEY}"}


@pytest.mark.parametrize(("change", "exit_code"), [({}, 65), ({"clip_limit": "nan"}, 78)])
def test_nothing_is_written_among_the_slices(
    source: Path, tmp_path: Path, change: dict[str, Any], exit_code: int
) -> None:
    """Also where settings are refused before anybody knows where the slices lie."""
    slices = tmp_path / "out/process"
    slices.parent.mkdir()
    source.rename(slices)
    before = files_below(tmp_path)
    refusal(run(slices, output=tmp_path / "out", **change), exit_code)
    assert files_below(tmp_path) == before


def test_a_refusal_beside_an_earlier_run_changes_nothing_else(source: Path, tmp_path: Path) -> None:
    assert run(source).exit_code == 0
    before = files_below(tmp_path / "out")
    refusal(run(source, minz=FIRST + 1), 65)
    after = files_below(tmp_path / "out")
    assert set(after) - set(before) == {"process/refused.json"}
    assert before.items() <= after.items()
    assert standing_refusal(process_in(tmp_path), settings_of(source, minz=FIRST + 1))
    assert standing_refusal(process_in(tmp_path), settings_of(source)) is None
