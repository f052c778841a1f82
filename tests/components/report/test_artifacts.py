"""What the console of KFP and Vertex AI gets: a page, a few lines, and figures."""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.report.main import main
from tests.builders import invoke
from tests.components.report.finished_run import finished_run, preview_of


@pytest.fixture
def collected(tmp_path: Path) -> tuple[Path, str]:
    """The files that KFP collects, with the run's output folder."""
    plan, _, process = finished_run(tmp_path)
    process.write("preview.json", preview_of().to_json())
    kfp = tmp_path / "kfp"
    done = invoke(
        main,
        *("--output", plan.config.output, "--status", '{"state":"SUCCEEDED"}'),
        *("--page-out", kfp / "page", "--markdown-out", kfp / "summary"),
        *("--executor-input", json.dumps({"outputs": {"outputFile": str(kfp / "meta/output.json")}})),
    )
    assert done.exit_code == 0, done.output
    return kfp, plan.config.output


def test_the_page_is_the_report(collected: tuple[Path, str]) -> None:
    kfp, output = collected
    report = Path(output, "process/report/index.html")
    assert (kfp / "page").read_text() == report.read_text()


def test_the_lines_begin_with_the_verdict_and_say_where_the_rest_is(collected: tuple[Path, str]) -> None:
    kfp, output = collected
    lines = (kfp / "summary").read_text().splitlines()
    assert lines[0] == "# The stack is aligned and the volume is complete. 1 slice of 20 stands out."
    assert f"Report: `{output}/process/report/index.html`" in lines
    assert f"Look at it: `fibstack view {output}`" in lines


def test_the_figures_are_what_kfp_reads(collected: tuple[Path, str]) -> None:
    kfp, _ = collected
    text = (kfp / "meta/output.json").read_text()
    # The launcher refuses a key that it does not know, and so does this.
    read = json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())
    (artifact,) = read.artifacts["metrics"].artifacts
    figures = dict(artifact.metadata)
    assert 8 <= len(figures) <= 12
    assert figures["complete"] == 1
    assert figures["slices"] == 20
    assert figures["slices replaced"] == 1
    assert figures["pairs refused"] == 2
    assert 0.8 < figures["median NCC after"] < 1


def test_a_run_without_a_volume_has_its_figures_too(tmp_path: Path) -> None:
    plan, _, process = finished_run(tmp_path)
    process.delete("transforms.json")
    done = invoke(
        main,
        *("--output", plan.config.output, "--status", "Failed", "--markdown-out", tmp_path / "md"),
        *("--executor-input", json.dumps({"outputs": {"outputFile": str(tmp_path / "output.json")}})),
    )
    assert done.exit_code == 0, done.output
    (artifact,) = json.loads((tmp_path / "output.json").read_text())["artifacts"]["metrics"]["artifacts"]
    assert artifact["metadata"]["complete"] == 0
    assert "Look at it" not in (tmp_path / "md").read_text()
