"""The calls of programs in a Workflow, their tries and pods."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.submit.workflow import Call, Workflow, without_executor_lines, without_tries


def call_of(node: Any) -> Call:
    return Call("align", "align", without_tries(node["name"]))


def pod(number: int, phase: str = "Failed", second: int = 0) -> dict[str, Any]:
    return {
        "id": f"x7-{100 + number}",
        "name": f"x7.align({number})",
        "type": "Pod",
        "templateName": "align",
        "phase": phase,
        "startedAt": f"2026-11-22T10:00:{second:02}Z",
    }


def workflow(*nodes: dict[str, Any], phase: str = "Running", **annotations: str) -> Workflow:
    metadata = {"name": "x7", "namespace": "em", "annotations": annotations}
    return Workflow(
        {"metadata": metadata, "status": {"phase": phase, "nodes": {n["id"]: n for n in nodes}}}, call_of
    )


def retry(phase: str, message: str = "") -> dict[str, Any]:
    return {"id": "x7-1", "name": "x7.align", "type": "Retry", "phase": phase, "message": message}


def test_the_last_of_many_tries_that_began_in_one_second_counts() -> None:
    pods = [pod(n) for n in range(10)] + [pod(10, "Running")]
    (task,) = workflow(retry("Running"), *pods[::-1]).tasks()
    assert task.state == "running"
    assert [node["id"] for _, node in workflow(*pods[::-1]).pods()] == [node["id"] for node in pods]


@pytest.mark.parametrize(
    ("nodes", "phase", "state", "message"),
    [
        ([retry("Running")], "Running", "waiting", ""),
        ([retry("Pending", "Waiting for a lock")], "Running", "waiting", "Waiting for a lock"),
        ([retry("Running"), pod(0)], "Running", "waiting", "it is tried again, after a failure"),
        ([retry("Running"), pod(0)], "Failed", "failed", ""),
        ([retry("Running"), pod(0, "Pending")], "Failed", "failed", "it was stopped with the run"),
        ([retry("Failed", "No more retries left"), pod(0)], "Failed", "failed", "No more retries left"),
        ([retry("Running", "\n")], "Running", "waiting", ""),
        ([retry("Succeeded"), pod(0), pod(1, "Succeeded")], "Running", "done", ""),
    ],
)
def test_the_state_of_a_call(nodes: Any, phase: str, state: str, message: str) -> None:
    (task,) = workflow(*nodes, phase=phase).tasks()
    assert (task.state, task.message) == (state, message)


def test_a_pod_is_named_by_workflow_template_and_number_but_in_old_installations() -> None:
    assert workflow().pod_name(pod(3)) == "x7-align-103"
    assert workflow(**{"workflows.argoproj.io/pod-name-format": "v1"}).pod_name(pod(3)) == "x7-103"


def test_only_lines_of_the_executor_are_left_out() -> None:
    kept = "2026-11-22 10:00:00 INFO argo=true is no setting\nerror: no slice.\nError: exit status of ls\n"
    own = 'time="2026-11-22T10:00:05Z" level=info msg="sub-process exited" argo=true error="<nil>"\n'
    assert without_executor_lines(f"{own}{kept}Error: exit status 65\n") == kept
