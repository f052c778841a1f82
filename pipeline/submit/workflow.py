"""The Workflow by which Argo, and Kubeflow on it, runs the pipeline: calls of programs, tries, pods."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.shared.web import ANSWER_BYTES, AnswerError
from pipeline.submit.runs import RunTask, TaskState, task_state

Node = Mapping[str, Any]
"""A node of a Workflow's status: a pod, the pods of one call that is tried again, or a group."""

_TRY = re.compile(r"\(\d+\)")
"""Number of a try in a node's name; the number of a loop's item is followed by a colon and the item."""
_WITH_EXIT_CODE = re.compile(r"(?:\w+: )?\w+ \(exit code \d+\): (.+)", re.DOTALL)
_EXECUTOR_LINE = re.compile(r"time=.* argo=true( .*)?|Error: exit status \d+")
_ENDED = ("Succeeded", "Failed", "Error")


@dataclass(frozen=True, slots=True)
class Call:
    """The call of a program that a node belongs to."""

    name: str
    step: str
    """The step whose program is called; empty for a pod of the service's own, which has none."""
    path: str
    """Name that all nodes of the call share."""
    is_driver: bool = False
    """The pod makes the call ready and runs no program."""


CallOf = Callable[[Node], Call | None]
"""The call that a pod, or the node of a call that is tried again, belongs to; None for other nodes."""


class Workflow:
    """A Workflow as Argo's controller keeps it.

    Args:
        manifest: The object of the Kubernetes API.
        call_of: Says which call a node belongs to.
        has_ended: The run is known to have ended, whatever the manifest says.
    """

    def __init__(self, manifest: Mapping[str, Any], call_of: CallOf, *, has_ended: bool = False) -> None:
        metadata, status = manifest.get("metadata") or {}, manifest.get("status") or {}
        self.name = str(metadata.get("name", ""))
        self.namespace = str(metadata.get("namespace", ""))
        self.created_at = str(metadata.get("creationTimestamp", ""))
        self.phase = str(status.get("phase") or "")
        self.message = str(status.get("message") or "")
        self._has_long_names = _pod_name_format(metadata) != "v1"
        self.has_ended = has_ended or bool(status.get("finishedAt")) or self.phase in _ENDED
        nodes = _nodes(status)
        self.is_offloaded = not nodes and bool(status.get("offloadNodeStatusVersion"))
        """The nodes lie in a database of the controller, which Kubernetes does not show."""
        self._calls: dict[str, list[tuple[Call, Node]]] = {}
        for node in nodes.values():
            call = call_of(node) if node["type"] in ("Pod", "Retry") else None
            if call:
                self._calls.setdefault(call.path, []).append((call, node))

    def tasks(self) -> Iterator[RunTask]:
        """The calls of programs, one for all tries; and other pods that have failed, or wait for a reason."""
        for members in self._calls.values():
            call = members[0][0]
            state, message = self._state(members)
            if call.step or state == "failed" or message:
                yield RunTask(name=call.name, step=call.step, state=state, message=message)

    def pods(self) -> Iterator[tuple[Call, Node]]:
        """The pods that run programs, oldest first."""
        members = [member for group in self._calls.values() for member in group]
        pods = [(call, node) for call, node in members if node["type"] == "Pod" and not call.is_driver]
        yield from sorted(pods, key=lambda pod: _age(pod[1]))

    def pod_name(self, node: Node) -> str:
        """Name of a node's pod: of the workflow, the template and the number that ends the node's ID."""
        number = node["id"].rpartition("-")[2]
        return f"{self.name}-{node['templateName']}-{number}" if self._has_long_names else str(node["id"])

    def _state(self, members: list[tuple[Call, Node]]) -> tuple[TaskState, str]:
        """State and message of a call: those of its last try."""
        own = [node for call, node in members if not call.is_driver]
        nodes = own or [node for _, node in members]
        pods = sorted((node for node in nodes if node["type"] == "Pod"), key=_age)
        retry = max((node for node in nodes if node["type"] == "Retry"), key=_age, default={})
        last = pods[-1] if pods else retry
        state = task_state(last.get("phase", ""))
        message = reason_of_failure(last.get("message", ""))
        about_tries = str(retry.get("message", "")).strip()
        if state == "failed" and not self.has_ended and retry.get("phase") in ("Running", "Pending"):
            return "waiting", f"{about_tries or 'it is tried again'}, after {message or 'a failure'}"
        if state == "failed" and "duration limit" in about_tries:
            return state, f"{message}; {about_tries}"
        is_only_ready = state == "done" and not own and bool(members[0][0].step)
        if self.has_ended and (state in ("running", "waiting") or is_only_ready):
            return "failed", message or "it was stopped with the run"
        if state == "running" and not pods:
            return "waiting", about_tries
        if not own and state != "failed":  # a driver is no program yet
            return "waiting", message
        return state, message or (about_tries if state == "failed" else "")


def _pod_name_format(metadata: Mapping[str, Any]) -> str:
    return str((metadata.get("annotations") or {}).get("workflows.argoproj.io/pod-name-format", ""))


def _age(node: Node) -> tuple[str, int, str]:
    """Sorts nodes by their begin; of tries in one second, the tenth comes after the ninth."""
    return str(node.get("startedAt") or ""), len(node["name"]), node["name"]


def without_tries(name: str) -> str:
    """The name of a node without the numbers of tries, so that it is the same for all of them.

    Example:
        >>> without_tries("x7.align(0:0-7)(2)")
        'x7.align(0:0-7)'
    """
    return _TRY.sub("", name)


def reason_of_failure(message: str) -> str:
    """A pod's message: the program's own sentence, where Argo has put an exit code before it.

    Example:
        >>> reason_of_failure("main: Error (exit code 65): no slice matches 'a.png'. Change 'image'.")
        "no slice matches 'a.png'. Change 'image'."
        >>> reason_of_failure("main: OOMKilled (exit code 137)")
        'main: OOMKilled (exit code 137)'
    """
    found = _WITH_EXIT_CODE.fullmatch(message.strip())
    return found[1].strip() if found else message.strip()


def without_executor_lines(log: str) -> str:
    """A pod's log without the lines that Argo's executor writes between those of the program."""
    lines = log.splitlines(keepends=True)
    return "".join(line for line in lines if not _EXECUTOR_LINE.fullmatch(line.rstrip()))


def _nodes(status: Mapping[str, Any]) -> dict[str, Any]:
    """The nodes of a workflow, which Argo compresses where they are many."""
    compressed = status.get("compressedNodes")
    nodes: dict[str, Any] = status.get("nodes") or {}
    if compressed:
        with gzip.open(io.BytesIO(base64.b64decode(compressed))) as file:
            try:
                nodes = json.loads(file.read(ANSWER_BYTES))
            except gzip.BadGzipFile:
                raise AnswerError("nodes that cannot be unpacked") from None
    return nodes
