"""What a Kubeflow Pipelines server of release 2.17 answers about a run, of nodes of Argo that a test gives.

The API v2beta1 names the children of a task by Argo's node IDs and fills neither a task's own pod nor its
error; the Workflow, with messages and names, comes from the API v1beta1 alone. A new run is PENDING and has
no Workflow there, only what it was made as; once the persistence agent has told of it, it has a Workflow, and
no state before Argo's controller has given one.
"""

import base64
import gzip
import json
import re
import zlib
from dataclasses import dataclass, replace
from typing import Any

import kfp_server_api as api

from tests.pipeline.submit.loopback import Answer, Loopback

WORKFLOW = "align-stack-q7w2z"
RUN_ID = "run-1"
BEGIN = "2026-11-22T10:00:00Z"
NOT_TAKEN_UP: dict[str, Any] = {"startedAt": None, "finishedAt": None}
"""Status of a Workflow before Argo's controller has taken it up."""
_STATES = {
    "Succeeded": "SUCCEEDED",
    "Running": "RUNNING",
    "Pending": "PENDING",
    "Failed": "FAILED",
    "Error": "FAILED",
    "Skipped": "SKIPPED",
}
"""State of a task by phase of its node; one that was omitted has none."""


@dataclass(frozen=True)
class Node:
    """A node of the Workflow; its name holds those of the nodes above it."""

    name: str
    type: str = "Pod"
    phase: str = "Succeeded"
    message: str = ""
    template: str = "metadata-0-2-retry-system-container-impl"
    second: int = 0
    children: tuple[str, ...] = ()

    @property
    def node_id(self) -> str:
        return node_id(self.name)

    def as_argo(self) -> dict[str, Any]:
        found = {
            "id": self.node_id,
            "name": WORKFLOW + self.name,
            "displayName": self.display_name,
            "type": self.type,
            "templateName": self.template,
            "phase": self.phase,
            "message": self.message,
            "startedAt": f"2026-11-22T10:00:{self.second:02}Z",
            "children": [node_id(child) for child in self.children],
        }
        return {key: value for key, value in found.items() if value}

    @property
    def display_name(self) -> str:
        return self.name.rpartition(".")[2] or WORKFLOW

    def as_task(self) -> api.V2beta1PipelineTaskDetail:
        children = [api.PipelineTaskDetailChildTask(pod_name=node_id(child)) for child in self.children]
        return api.V2beta1PipelineTaskDetail(
            run_id=RUN_ID,
            task_id=f"task-{number(self.name)}",
            display_name=self.display_name,
            create_time=BEGIN,
            start_time=f"2026-11-22T10:00:{self.second:02}Z",
            state=_STATES.get(self.phase),
            child_tasks=children or None,
        )


def number(name: str) -> int:
    """The number that ends the node's ID and the name of its pod."""
    return zlib.crc32(name.encode())


def node_id(name: str) -> str:
    return f"{WORKFLOW}-{number(name)}"


def pod_of(name: str, template: str = "metadata-0-2-retry-system-container-impl") -> str:
    return f"{WORKFLOW}-{template}-{number(name)}"


def call(path: str, *tries: str, retry: str = "", about: str = "", second: int = 1) -> list[Node]:
    """The nodes of a program's call: driver, task, executor, tries ('Phase' or 'Phase: message')."""
    words = [text.partition(": ") for text in tries]
    pods = [
        Node(f"{path}.executor({n})", phase=phase, message=message, second=second + n)
        for n, (phase, _, message) in enumerate(words)
    ]
    phase = retry or (pods[-1].phase if pods else "Pending")
    above = Node(
        f"{path}.executor",
        "Retry",
        phase,
        about,
        second=second,
        children=tuple(pod.name for pod in pods),
    )
    task = Node(
        path, "DAG", phase, template="metadata-0-2-retry-system-container-executor", children=(above.name,)
    )
    return [Node(f"{path}-driver", template="system-container-driver", children=(path,)), task, above, *pods]


def all_tried_again(nodes: list[Node]) -> list[Node]:
    """The nodes where the installation lets Argo try every pod and group again, as that of release 2.17 does.

    Each part of a name is then followed by the number of its try; each node stands below one of all tries.
    """
    found = []
    for node in nodes:
        above, dot, own = node.name.rpartition(".")
        above = re.sub(r"\.([^.]+)", r".\1(0)", above)
        if node.type == "Skipped" or re.search(r"executor(\(\d+\))?$", own):
            found.append(replace(node, name=f"{above}{dot}{own}", children=()))
            continue
        name = f"{above}{dot}{own}"
        found.append(replace(node, name=name, type="Retry", children=(f"{name}(0)",)))
        found.append(replace(node, name=f"{name}(0)", children=()))
    return found


def answer(
    loopback: Loopback,
    nodes: list[Node],
    state: str | None = "RUNNING",
    phase: str = "Running",
    output: str = "gs://em/out",
) -> None:
    """Let a server tell of a run with these nodes, as one of a single user does."""
    run = api.V2beta1Run(
        run_id=RUN_ID,
        display_name="007 2026-11-22",
        state=state,
        created_at=BEGIN,
        pipeline_spec={},
        runtime_config=api.V2beta1RuntimeConfig(parameters={"output": output}),
        run_details=api.V2beta1RunDetails(task_details=[node.as_task() for node in nodes][::-1]),
    )
    loopback.on("GET", f"/apis/v2beta1/runs/{RUN_ID}", api.ApiClient().sanitize_for_serialization(run))
    by_id = {node.node_id: node.as_argo() for node in nodes}
    answer_workflow(loopback, {"phase": phase, "nodes": by_id} if phase else NOT_TAKEN_UP)
    loopback.on("GET", f"/apis/v1alpha1/runs/{RUN_ID}/nodes/([^/]+)/log", no_such_key)


def answer_workflow(loopback: Loopback, status: dict[str, Any] | None) -> None:
    """Let it tell the Workflow with a status; with None, as long as no agent has told of it."""
    metadata = {"name": WORKFLOW, "namespace": "kubeflow", "labels": {"pipeline/runid": RUN_ID}}
    made = {"metadata": metadata, "spec": {}, "status": NOT_TAKEN_UP}
    runtime = {"pipeline_manifest": json.dumps(made)}
    if status is not None:
        runtime["workflow_manifest"] = json.dumps(made | {"status": status})
    body = {"run": {"id": RUN_ID}, "pipeline_runtime": runtime}
    loopback.on("GET", f"/apis/v1beta1/runs/{RUN_ID}", body)


def refusal(code: int, reason: str, trail: str) -> dict[str, Any]:
    """The body by which it refuses a request: a reason behind the names of functions, and once more alone."""
    kind = "type.googleapis.com/google.rpc.Status"
    details = [{"@type": kind, "code": code, "message": reason}]
    return {"code": code, "message": f"{trail}: {reason}", "details": details}


def compressed(status: dict[str, Any]) -> dict[str, Any]:
    """A status as Argo keeps it where its nodes are many."""
    packed = base64.b64encode(gzip.compress(json.dumps(status["nodes"]).encode())).decode()
    return {"phase": status["phase"], "compressedNodes": packed}


def no_such_key(_: object, pod: str) -> Answer:
    """The log of a pod: a server of a single user looks for its archive, and there is none."""
    key = f"/artifacts/{WORKFLOW}/{pod}/main.log"
    return Answer(json.dumps({"error_message": f"NoSuchKey: {key}", "error_details": "at line 1"}))
