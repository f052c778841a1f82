"""Runs of a real Kubeflow Pipelines 2.17, as its server told of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import cli
from tests.pipeline.submit.loopback import Answer, Loopback
from tests.pipeline.submit.test_submit_kfp import kfp, no_settings_of_this_machine

__all__ = ["kfp", "no_settings_of_this_machine"]

ANSWERS = Path(__file__).parents[4] / "shared/cases/kfp-2.17"


def told(server: Loopback, run: str, workflow: str) -> str:
    """Let a server tell of a recorded run; returns the reference."""
    if not ANSWERS.exists():
        pytest.skip("needs answers of a real Kubeflow in ../shared/cases/kfp-2.17")
    answer = json.loads((ANSWERS / f"{run}.json").read_text())
    server.on("GET", f"/apis/v2beta1/runs/{answer['run_id']}", answer)
    manifest: Any = Answer({"code": 12, "message": "Not Implemented"}, 501)
    if workflow:
        text = (ANSWERS / f"{workflow}.json").read_text()
        manifest = {"pipeline_runtime": {"workflow_manifest": text}}
    server.on("GET", f"/apis/v1beta1/runs/{answer['run_id']}", manifest)
    return f"{server.url}/#/runs/details/{answer['run_id']}"


@pytest.mark.parametrize(
    ("run", "workflow", "lines"),
    [
        (
            "run_succeeded",
            "workflow_succeeded",
            [
                "plan            1        0        0        0",
                "align           2        0        0        0",
                "compose         1        0        0        0",
                "tile            1        0        0        0",
                "pyramid         1        0        0        0",
                "report          1        0        0        0",
            ],
        ),
        (
            "run_running",
            "",
            [
                "plan            1        0        0        0",
                "align           2        0        0        0",
                "compose         0        1        0        0",
            ],
        ),
        (
            "run_refused_input",
            "workflow_refused_input",
            [
                "plan            0        0        1        0",
                "report          1        0        0        0",
                "plan failed: main: Error (exit code 1)",
            ],
        ),
    ],
)
def test_status(
    kfp: Loopback, monkeypatch: pytest.MonkeyPatch, run: str, workflow: str, lines: list[str]
) -> None:
    monkeypatch.setattr("commands.status._REFUSAL_S", 0.1)  # the buckets of these runs are gone
    result = cli("status", told(kfp, run, workflow))
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[2:-1] == lines


def test_logs_name_each_try(kfp: Loopback) -> None:
    result = cli("logs", told(kfp, "run_refused_input", "workflow_refused_input"), "plan")
    assert result.exit_code == 0, result.output
    assert result.output.count("==> plan: align-stack-g8wr7-metadata-0-2-retry-system-container-impl-") == 4
