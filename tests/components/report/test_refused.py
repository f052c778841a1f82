"""The report of a run that `plan` or `compose` has refused: why, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

from components.plan.main import main as plan_main
from components.report.main import main
from components.shared.documents.plan import Plan
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.work.records import record_key
from components.shared.work.refusal import REFUSED_KEY, leave_refusal, settings_hash
from tests.builders import invoke
from tests.components.report.finished_run import finished_run, preview_of, write_preview
from tests.components.report.report_step import Page, read_page, report, run_json
from tests.components.report.test_by_records import KFP_FAILED, KFP_RUNNING

WORDS = (KFP_FAILED, KFP_RUNNING, "Failed")


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, Any]:
    """A run whose pattern no slice has, and which `plan` has refused."""
    (tmp_path / "in").mkdir()
    for z in range(3):
        cv2.imwrite(str(tmp_path / f"in/img.{z:05d}.png"), np.full((30, 40), z, np.uint8))
    given = {"source": tmp_path / "in", "image": "wrong.%05d.png", "minz": 0, "maxz": 2}
    given |= {"output": tmp_path / "out"}
    done = invoke(plan_main, process_uri_out=tmp_path / "uri", chunks_out=tmp_path / "chunks", **given)
    assert done.exit_code == 65
    return given


def console_report(flags: dict[str, Any], status: str, folder: Path) -> Result:
    """The report as KFP calls it."""
    return invoke(
        main,
        status=status,
        page_out=folder / "page",
        markdown_out=folder / "summary",
        executor_input=json.dumps({"outputs": {"outputFile": str(folder / "output.json")}}),
        **flags,
    )


@pytest.mark.parametrize("status", WORDS)
def test_the_reason_is_on_the_page_and_in_the_summary(
    flags: dict[str, Any], tmp_path: Path, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert console_report(flags, status, tmp_path / "kfp").exit_code == 0
    reason = "the source must hold slices 'wrong.%05d.png'"
    assert reason in caplog.text
    assert reason in (tmp_path / "kfp/summary").read_text()
    page = Page((tmp_path / "kfp/page").read_text())
    assert not page.open_elements
    assert reason in "".join(page.text)
    assert "&#39;wrong.%05d.png&#39;" in read_page(tmp_path / "out")
    assert not (tmp_path / "out/process/run.json").exists()
    (metrics,) = json.loads((tmp_path / "kfp/output.json").read_text())["artifacts"]["metrics"]["artifacts"]
    assert metrics["metadata"] == {"complete": 0}


def test_an_engine_that_says_nothing_shows_the_refusal_by_the_exit_code(flags: dict[str, Any]) -> None:
    result = invoke(main, status="{{workflow.status}}", **flags)
    assert result.exit_code == 65
    assert "error: the source must hold slices 'wrong.%05d.png'" in result.output


def test_the_refusal_of_other_settings_is_not_this_run_s(
    flags: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert invoke(main, status=KFP_FAILED, **(flags | {"maxz": 9})).exit_code == 0
    assert [message.partition(" in ")[0] for message in caplog.messages] == ["no plan"]


@pytest.mark.parametrize("status", [KFP_FAILED, KFP_RUNNING])
def test_a_run_that_never_had_a_plan_has_its_artifacts(tmp_path: Path, status: str) -> None:
    """No pod of `plan` has begun; a console would show links to nothing."""
    assert console_report({"output": tmp_path / "out"}, status, tmp_path / "kfp").exit_code == 0
    for name in ("page", "summary"):
        assert "The run failed before any work was done" in (tmp_path / "kfp" / name).read_text()
    assert not (tmp_path / "out").exists()


def refused_beside(plan: Plan, **changes: Any) -> dict[str, Any]:
    """The flags of a run that `plan` refuses in the output of another."""
    flags = {**plan.config.model_dump(mode="json"), **changes}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flags.items()}
    process = open_store(plan.locations.process_uri)
    leave_refusal(process, "plan", UserError("an output must hold one stack"), settings_hash(texts))
    return texts


def files_in(output: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(output).rglob("*") if path.is_file()}


@pytest.mark.parametrize("status", WORDS)
@pytest.mark.parametrize("changes", [{}, {"minz": 3}])
def test_the_report_of_the_volume_that_stands_there_stays(
    tmp_path: Path, status: str, changes: dict[str, Any]
) -> None:
    """The refusal is of the same settings, whose slices have gone, or of another run."""
    plan, _, _ = finished_run(tmp_path)
    assert report(plan.config.output).exit_code == 0
    flags = refused_beside(plan, **changes)
    before = files_in(plan.config.output)
    assert console_report(flags, status, tmp_path / "kfp").exit_code == 0
    assert files_in(plan.config.output) == before
    for name in ("page", "summary"):
        assert "an output must hold one stack" in (tmp_path / "kfp" / name).read_text()


@pytest.mark.parametrize("changes", [{}, {"minz": 3}])
def test_beside_a_volume_that_stands_too_an_engine_that_says_nothing_shows_the_refusal_by_the_exit_code(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    plan, _, _ = finished_run(tmp_path)
    assert report(plan.config.output).exit_code == 0
    result = invoke(main, status="{{workflow.status}}", **refused_beside(plan, **changes))
    assert result.exit_code == 65
    assert "error: an output must hold one stack" in result.output


def test_a_refusal_does_not_keep_a_whole_volume_back(tmp_path: Path) -> None:
    """It may be of an earlier try, where the identity of `plan` may not delete it."""
    plan, _, _ = finished_run(tmp_path)
    assert console_report(refused_beside(plan), KFP_RUNNING, tmp_path / "kfp").exit_code == 0
    assert run_json(plan.config.output)["complete"]
    assert Path(plan.config.output, "neuroglancer/jpeg/info").exists()


@pytest.mark.parametrize("status", WORDS)
def test_what_compose_has_refused_is_told(tmp_path: Path, status: str) -> None:
    plan, _, process = finished_run(tmp_path)
    process.delete(record_key("pyramid/0", "1"))
    leave_refusal(process, "compose", UserError("the folders of a volume must hold its own shards only"))
    assert report(plan.config.output, status).exit_code == 0
    document = run_json(plan.config.output)
    assert document["error"] == "the folders of a volume must hold its own shards only"
    assert document["error"] in read_page(plan.config.output)
    process.write("plan.json", plan.model_copy(update={"fan": 7}).to_json())
    report(plan.config.output, status)
    assert "shards only" not in read_page(plan.config.output), "it is of another plan"


def test_the_check_on_thumbnails_is_told_as_ever(tmp_path: Path) -> None:
    plan, _, process = finished_run(tmp_path)
    write_preview(process, preview_of(["3 of 9"]))
    leave_refusal(
        process, "compose", UserError("the check on thumbnails must pass before the volume is written")
    )
    assert report(plan.config.output, KFP_RUNNING).exit_code == 0
    assert run_json(plan.config.output)["summary"][0].startswith("The volume was not written: its slices")
    assert "The way on" in read_page(plan.config.output)


def test_a_refusal_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    plan, _, process = finished_run(tmp_path)
    process.write(REFUSED_KEY, b"{}")
    assert report(plan.config.output, KFP_FAILED).exit_code == 0
    assert run_json(plan.config.output)["complete"]
