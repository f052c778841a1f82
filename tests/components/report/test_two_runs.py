"""Two runs with other settings on one output: none of them says that it is complete of the other's volume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from components.report import main as report_step
from components.report.main import main
from components.shared.documents.config import RunConfig
from components.shared.work.superseded import Place, note_superseded
from tests.builders import invoke
from tests.components.report.finished_run import finished_run
from tests.components.report.report_step import FAILED, run_json


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def report_of(started_with: RunConfig, status: str = "Succeeded", **changes: Any) -> Result:
    """The report of a run that was started with a configuration, called as a pipeline does."""
    return invoke(main, status=status, **{**started_with.model_dump(mode="json"), **changes})


def test_a_run_is_complete_whose_plan_is_still_there(tmp_path: Path) -> None:
    plan, _, _ = finished_run(tmp_path)
    assert report_of(plan.config, email="", id="another-name").exit_code == 0
    assert run_json(plan.config.output)["complete"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("clip_limit", 0.5, "got clip_limit 0.02 for 0.5"),
        ("maxz", 10, "got maxz 19 for 10"),
        ("overrides", "mine.yaml", 'got overrides "" for "mine.yaml"'),
        ("resolution", [4, 4, 4], "for [4.0, 4.0, 4.0]"),
    ],
)
def test_a_run_never_calls_the_volume_of_another_complete(
    tmp_path: Path, key: str, value: object, said: str
) -> None:
    plan, _, _ = finished_run(tmp_path)
    before = files_below(tmp_path / "out")
    result = report_of(plan.config, **{key: value})
    assert result.exit_code == 65
    assert said in result.output
    assert "Another run writes to this output" in result.output
    assert "complete" not in result.output
    assert files_below(tmp_path / "out") == before


def test_a_run_that_failed_beside_another_leaves_its_report_alone(tmp_path: Path) -> None:
    plan, _, _ = finished_run(tmp_path)
    assert report_of(plan.config).exit_code == 0
    before = files_below(tmp_path / "out")
    assert report_of(plan.config, FAILED, clip_limit=0.5).exit_code == 0
    assert files_below(tmp_path / "out") == before


def test_slices_in_the_folder_raw_are_of_the_same_run(tmp_path: Path) -> None:
    plan, _, _ = finished_run(tmp_path, image="raw/img.%05d.png")
    assert report_of(plan.config, image="img.%05d.png").exit_code == 0


def test_a_plan_that_is_written_while_the_report_is_made_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _, process = finished_run(tmp_path)
    note_superseded(process, [Place(process.uri, "pyramid/level-9/0.raw")])
    process.write("pyramid/level-9/0.raw", b"earlier")
    look_at = report_step.look_at

    def beside(*given: Any) -> Any:
        document = json.loads(process.read("plan.json")) | {"crc32c": "", "fan": 7}
        process.write("plan.json", json.dumps(document).encode())
        return look_at(*given)

    monkeypatch.setattr(report_step, "look_at", beside)
    result = report_of(plan.config)
    assert result.exit_code == 65
    assert process.stat("pyramid/level-9/0.raw") is not None
    assert not (tmp_path / "out/process/run.json").exists()
    assert not (tmp_path / "out/neuroglancer/jpeg/info").exists()
