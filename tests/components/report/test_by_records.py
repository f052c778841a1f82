"""The records decide whether a run is complete; what its engine says of it words what is missing.

Kubeflow says FAILED of a run whose tasks all went well, one of them at the second try, and RUNNING of a run
without any failure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from components.report.main import main
from components.shared.documents.plan import Plan
from components.shared.storage.registry import open_store
from components.shared.work.records import record_key
from tests.builders import invoke
from tests.components.report.finished_run import (
    FinishedRun,
    finished_run,
    preview_of,
    write_plan,
    write_preview,
)
from tests.components.report.report_step import read_page, report, run_json

KFP_FAILED, KFP_RUNNING, KFP_SUCCEEDED = (
    json.dumps({"state": state, "error": {}, "pipelineJobResourceName": "run", "pipelineTaskName": "run"})
    for state in ("FAILED", "RUNNING", "SUCCEEDED")
)
"""Words of KFP 2.17 for the state of a run, as its server fills them in: the error is always empty."""
NO_PROOF = (KFP_FAILED, KFP_RUNNING, "Failed", "{{workflow.status}}")
"""Words that may stand for any end of a run."""


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    return finished_run(tmp_path)


def has_info(output: str) -> bool:
    return Path(output, "neuroglancer/jpeg/info").exists() and Path(output, "chunk/info").exists()


def planned_anew(run: FinishedRun, **settings: Any) -> str:
    """The plan of a second run in the output, with other settings; returns the output."""
    plan, _, process = run
    write_plan(process, plan.model_copy(update={"config": plan.config.model_copy(update=settings)}))
    return plan.config.output


@pytest.mark.parametrize("status", NO_PROOF)
def test_a_whole_volume_is_published_whatever_the_engine_says(run: FinishedRun, status: str) -> None:
    output = run[0].config.output
    assert report(output, status).exit_code == 0
    assert has_info(output)
    document = run_json(output)
    assert (document["complete"], document["state"], document["error"]) == (True, "succeeded", "")
    assert document["summary"][0] == "The volume is complete: every shard was found and opened."
    assert "The stack is aligned and the volume is complete." in read_page(output)


@pytest.mark.parametrize("status", [KFP_FAILED, "Failed"])
def test_a_failed_task_of_a_run_that_has_nothing_to_do_changes_nothing(run: FinishedRun, status: str) -> None:
    output = Path(run[0].config.output)
    assert report(output).exit_code == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert report(output, status).exit_code == 0
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert run_json(output)["complete"]


@pytest.mark.parametrize("status", NO_PROOF[:3])
@pytest.mark.parametrize("change", [{"neighbours": 3}, {"match_size": 640}, {"trend": "straighten"}])
def test_the_volume_of_an_earlier_run_is_not_that_of_one_that_failed_before_compose(
    run: FinishedRun, status: str, change: dict[str, Any]
) -> None:
    """No hash of a block depends on these settings: the blocks that lie there would do for this run's."""
    assert report(run[0].config.output).exit_code == 0
    output = planned_anew(run, **change)
    assert report(output, status).exit_code == 0
    document = run_json(output)
    assert not document["complete"]
    assert document["volume_size_xyz"] is None
    assert "transforms.json is of an earlier run" in " ".join(document["problems"])
    assert has_info(output), "the earlier volume is whole, and stays published"


@pytest.mark.parametrize("status", NO_PROOF[:3])
def test_blocks_of_other_settings_are_not_those_of_a_run_that_failed(run: FinishedRun, status: str) -> None:
    assert report(run[0].config.output).exit_code == 0
    output = planned_anew(run, clip_limit=0.5)
    assert report(output, status).exit_code == 0
    document = run_json(output)
    assert not document["complete"]
    assert "3 of 3 blocks have no valid record" in document["problems"][0]
    assert has_info(output)


@pytest.mark.parametrize("status", [KFP_FAILED, KFP_RUNNING])
def test_a_run_that_the_check_on_thumbnails_stopped_is_told_by_its_records(
    run: FinishedRun, status: str
) -> None:
    plan, _, process = run
    write_preview(process, preview_of(["3 of 9 neighbours correlate far less"]))
    for key in ("pyramid/0", "pyramid/5"):
        process.delete(record_key(key, "0"))
    assert report(plan.config.output, status).exit_code == 0
    document = run_json(plan.config.output)
    assert document["state"] == "failed"
    assert document["summary"][0].startswith("The volume was not written: its slices do not pass")
    assert not has_info(plan.config.output)


@pytest.mark.parametrize("status", [KFP_FAILED, KFP_RUNNING, "Failed"])
def test_the_check_on_thumbnails_holds_for_a_volume_that_was_forced_before(
    run: FinishedRun, status: str
) -> None:
    plan, _, process = run
    write_preview(process, preview_of(["3 of 9"], enforced=False))
    assert report(plan.config.output).exit_code == 0
    planned_anew(run, match_size=plan.config.match_size, email="somebody@example.org")
    write_preview(process, preview_of(["3 of 9"]))
    assert report(plan.config.output, status).exit_code == 0
    assert not run_json(plan.config.output)["complete"]
    assert has_info(plan.config.output), "what was published before stays"


def test_a_check_of_an_earlier_run_stops_none(run: FinishedRun) -> None:
    process = run[2]
    write_preview(process, preview_of(["3 of 9"]))
    output = planned_anew(run, force=True)
    assert report(output, KFP_FAILED).exit_code == 0
    assert run_json(output)["complete"]
    assert "preview.json is of an earlier run" in " ".join(run_json(output)["problems"])
    assert process.stat("preview.json")


@pytest.mark.parametrize("status", NO_PROOF)
@pytest.mark.parametrize("key", ["preview.json", "records/compose/preview.json"])
def test_a_volume_that_the_check_has_not_seen_is_not_complete(
    run: FinishedRun, status: str, key: str
) -> None:
    """Its run ended within `compose`; an earlier one, which was forced, has written the same blocks."""
    plan, _, process = run
    process.delete(key)
    assert report(plan.config.output, status).exit_code == (75 if status == NO_PROOF[-1] else 0)
    document = run_json(plan.config.output)
    assert not document["complete"]
    assert "the check on thumbnails has not been made of these slices" in document["problems"]
    assert not has_info(plan.config.output)
    assert report(planned_anew(run, force=True), status).exit_code == 0
    assert run_json(plan.config.output)["complete"], "nothing that the check finds would hold it back"


@pytest.mark.parametrize("key", ["transforms.json", "preview.json"])
def test_documents_of_another_run_that_ended_before_their_record_are_not_this_run_s(
    run: FinishedRun, key: str
) -> None:
    """The record is still that of this run's `compose`, which has been repeated since for other settings."""
    plan, transforms, process = run
    others = {
        "transforms.json": transforms.model_copy(update={"volume_origin_xyz_px": (1, 0, 0)}),
        "preview.json": preview_of(n_worst=1),
    }
    process.write(key, others[key].to_json())
    report(plan.config.output, KFP_FAILED)
    assert not run_json(plan.config.output)["complete"]
    assert not has_info(plan.config.output)


@pytest.mark.parametrize(
    "key", ["align/8-15.json", "records/align/8-15.json", "records/compose/transforms.json"]
)
def test_what_no_record_vouches_for_is_no_proof(run: FinishedRun, key: str) -> None:
    plan, _, process = run
    process.delete(key)
    report(plan.config.output, KFP_FAILED)
    assert not run_json(plan.config.output)["complete"]
    assert report(plan.config.output, KFP_SUCCEEDED).exit_code == 0
    assert run_json(plan.config.output)["complete"]


def console_report(plan: Plan, status: str, folder: Path) -> Result:
    """The report of a run as KFP calls it."""
    return invoke(
        main,
        *("--output", plan.config.output, "--status", status),
        *("--page-out", folder / "page", "--markdown-out", folder / "summary"),
        *("--executor-input", json.dumps({"outputs": {"outputFile": str(folder / "output.json")}})),
    )


@pytest.mark.parametrize("status", [KFP_FAILED, KFP_RUNNING])
def test_on_kfp_a_report_that_no_retry_can_mend_ends_well_so_that_its_page_arrives(
    run: FinishedRun, tmp_path: Path, status: str
) -> None:
    plan, _, process = run
    process.delete(record_key("pyramid/0", "1"))
    result = console_report(plan, status, tmp_path / "kfp")
    assert result.exit_code == 0, result.output
    assert not has_info(plan.config.output)
    assert "1 of 3 blocks have no valid record" in " ".join(run_json(plan.config.output)["problems"])
    assert (tmp_path / "kfp/page").read_text() == read_page(plan.config.output)
    assert "1 of 3 blocks" in (tmp_path / "kfp/page").read_text()
    assert (tmp_path / "kfp/summary").read_text().startswith("# The ")
    (metrics,) = json.loads((tmp_path / "kfp/output.json").read_text())["artifacts"]["metrics"]["artifacts"]
    assert metrics["metadata"]["complete"] == 0


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(KFP_SUCCEEDED, 75), ("Succeeded", 75), ("{{workflow.status}}", 75), ("Failed", 0)],
)
def test_elsewhere_a_run_with_holes_does_not_look_complete(
    run: FinishedRun, status: str, exit_code: int
) -> None:
    """Argo shows the run of a task that failed as failed; of any other, only the report's own end tells."""
    plan, _, process = run
    process.delete(record_key("pyramid/0", "1"))
    assert report(plan.config.output, status).exit_code == exit_code


@pytest.mark.parametrize("status", [KFP_FAILED, KFP_RUNNING, KFP_SUCCEEDED])
@pytest.mark.parametrize(("damage", "exit_code"), [("missing", 75), ("foreign", 65)])
def test_on_kfp_a_volume_that_was_damaged_after_its_tasks_went_well_is_a_failure(
    run: FinishedRun, status: str, damage: str, exit_code: int
) -> None:
    """All tasks went well, so the run would be shown as a success."""
    jpeg = open_store(str(Path(run[0].config.output, "neuroglancer/jpeg/16x16x16")))
    if damage == "missing":
        jpeg.delete("1.shard")
    else:
        jpeg.write("7.shard", b"?")
    assert report(run[0].config.output, status).exit_code == exit_code
    assert not run_json(run[0].config.output)["complete"]
    assert not has_info(run[0].config.output)


@pytest.mark.parametrize("status", [KFP_FAILED, KFP_RUNNING])
@pytest.mark.parametrize(
    ("key", "exit_code"),
    [("transforms.json", 75), ("align/8-15.json", 75), ("records/align/8-15.json", 0)],
)
def test_on_kfp_a_lost_document_of_a_task_that_went_well_is_a_failure(
    run: FinishedRun, status: str, key: str, exit_code: int
) -> None:
    """Its record says that its task went well; without a record, a task has failed."""
    plan, _, process = run
    process.delete(key)
    result = report(plan.config.output, status)
    assert result.exit_code == exit_code
    assert ("the slices have no transforms" in result.output) == (exit_code == 75)
    assert not run_json(plan.config.output)["complete"]


@pytest.mark.parametrize("status", [KFP_FAILED, KFP_RUNNING])
def test_on_kfp_a_run_beside_another_is_a_failure(run: FinishedRun, status: str) -> None:
    """Its own tasks may all have gone well before the other run took their place."""
    plan, _, _ = run
    result = invoke(main, status=status, **{**plan.config.model_dump(mode="json"), "clip_limit": 0.5})
    assert result.exit_code == 65
    assert "Another run writes to this output" in result.output
    assert not has_info(plan.config.output)
