"""A Kubernetes on loopback whose Argo runs what is submitted, pods in this process, by Argo's rules."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.pipeline.argo.argo_interpreter import Workflow
from tests.pipeline.submit.loopback import Answer, Loopback, Request

API = "/apis/argoproj.io/v1alpha1/namespaces/em"
NAME = "align-stack-x7"


@dataclass
class ArgoServer:
    """The cluster; a workflow runs to its end, pod after pod, when it is created."""

    loopback: Loopback
    objects: list[dict[str, Any]]
    """The installed WorkflowTemplate and its limits."""
    folder: Path
    before_pod: Callable[[str], str] = lambda step: ""
    """Called with the step of a pod before it runs; a text is why Kubernetes never starts it."""
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    phase: str = ""
    shutdowns: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loopback.on("GET", f"{API}/workflowtemplates/align-stack", self.objects[-1])
        self.loopback.on("POST", f"{API}/workflows", self._run)
        self.loopback.on("GET", f"{API}/workflows/{NAME}", lambda *_: self._workflow())
        self.loopback.on("PATCH", f"{API}/workflows/{NAME}", self._shut_down)

    def _run(self, request: Request) -> Answer:
        given = {p["name"]: p["value"] for p in request.body["spec"]["arguments"]["parameters"]}
        assert request.body["spec"]["workflowTemplateRef"] == {"name": "align-stack"}
        self.given = given
        workflow = Workflow(self.objects, self.folder, program=self._pod, message_of=lambda _: self.said)
        status = workflow.run(**given)
        self.phase = "Running" if any(n["phase"] == "Pending" for n in self.nodes.values()) else status
        return Answer({**request.body, "metadata": {**request.body["metadata"], "name": NAME}}, 201)

    def _pod(self, words: list[str], folder: Path) -> int:
        step = words[2].split(".")[1]
        waits = self.before_pod(step)
        code, self.said = (1, waits) if waits else self._called(words)
        phase = "Pending" if waits else "Failed" if code else "Succeeded"
        number = f"x-{len(self.nodes)}"
        self.nodes[number] = {
            "id": number,
            "name": f"{NAME}.{step}({len(self.nodes)}:item)",
            "type": "Pod",
            "displayName": step,
            "templateName": step,
            "phase": phase,
            "message": self.said,
        }
        return 65 if waits else code

    def _called(self, words: list[str]) -> tuple[int, str]:
        result = CliRunner().invoke(importlib.import_module(words[2]).main, words[3:])
        assert result.exit_code != 1, result.exc_info
        sentences = [line for line in result.output.splitlines() if line.startswith("error: ")]
        code = result.exit_code
        return code, f"Error (exit code {code}): {sentences[-1][7:]}" if code else ""

    def _workflow(self) -> dict[str, Any]:
        status = {"phase": self.phase, "nodes": self.nodes}
        if self.phase != "Running":
            status["finishedAt"] = "2026-11-22T10:00:00Z"
        return {"metadata": {"name": NAME, "namespace": "em"}, "spec": {}, "status": status}

    def _shut_down(self, request: Request) -> dict[str, Any]:
        # A custom object takes no strategic patch, which some releases of the client send.
        assert request.headers["content-type"] == "application/merge-patch+json"
        self.shutdowns.append(request.body["spec"]["shutdown"])
        self.phase = "Failed"
        return self._workflow()
