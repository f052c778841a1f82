"""Runs elsewhere: what a target answers, which runs it can take, and how its errors are said.

A run is known by a reference that names its target; `fibstack status` and `fibstack logs` need nothing else:

    https://HOST/#/runs/details/ID      Kubeflow Pipelines: the run's page
    argo://NAMESPACE/NAME               Argo Workflows, in the cluster of kubectl's current context
    vertex://PROJECT/REGION/ID          Vertex AI Pipelines
"""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, FibstackError, TransientError, UserError
from components.shared.steps import STEPS, STUB
from components.shared.storage.schemes import scheme_of
from components.shared.web import AnswerError
from pipeline.settings import is_on_volume

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 60
"""A service that is not there is given up after the first, one whose answer is not whole after the second."""
LOG_TIMEOUT_S = 300
"""Longest that reading the log of one task may take."""
LOGIN_TIMEOUT_S = 600
"""Longest that logging in may take, for which a person may have to open a page."""

POLL_S = 1
NEW_RUN_S = 10
"""Time that a controller gets to take up a new run, which takes a second where it has little to do."""
TAKEN_UP_WITHIN_S = 60
"""Age of a run by which any controller that works has taken it up; most do within a second."""
NOT_TAKEN_UP = (
    "nobody has taken it up: Argo's controller does not run, does not watch this namespace, or is busy. "
    "Look with: kubectl get deployments --all-namespaces --field-selector metadata.name=workflow-controller"
)

TaskState = Literal["done", "running", "failed", "waiting"]
_TASK_STATES: Mapping[str, TaskState] = {
    "succeeded": "done",
    "skipped": "done",
    "omitted": "done",
    "not_triggered": "done",
    "running": "running",
    "failed": "failed",
    "error": "failed",
    "cancelled": "failed",
    "canceled": "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """A task of a run, as its target tells."""

    name: str
    step: str
    """Name of the step, as in `STEPS`; empty for a pod of the service's own."""
    state: TaskState
    message: str = ""
    """Why it has failed, or why it waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """The state of a run and of its tasks."""

    name: str
    state: str
    """State of the run in the target's own word."""
    message: str = ""
    output: str = ""
    """URI or folder that receives the results; empty where the target does not say."""
    tasks: tuple[RunTask, ...] = ()

    def counts(self) -> dict[str, Counter[TaskState]]:
        """Number of tasks in each state, for the steps that have any, in the order of the pipeline."""
        counts: dict[str, Counter[TaskState]] = {step: Counter() for step in STEPS}
        for task in self.tasks:
            if task.step:
                counts[task.step][task.state] += 1
        return {step: count for step, count in counts.items() if count}


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log of one task."""

    title: str
    text: str


def task_state(word: str) -> TaskState:
    """The state that a word of any target means; an unknown word counts as waiting.

    Example:
        >>> [task_state(word) for word in ("Succeeded", "FAILED", "Error", "PENDING")]
        ['done', 'failed', 'failed', 'waiting']
    """
    return _TASK_STATES.get(word.lower(), "waiting")


def is_begun_soon(is_begun: Callable[[], bool]) -> bool:
    """Whether a run that was just submitted begins within some seconds.

    A service that cannot be asked leaves it at that: the run is there.

    Args:
        is_begun: Asks the service.
    """
    until = time.monotonic() + NEW_RUN_S
    with suppress(FibstackError):
        while not is_begun():
            if time.monotonic() > until:
                return False
            time.sleep(POLL_S)
    return True


def says_why(message: str) -> bool:
    """Whether the message of a task that failed tells more than its exit code.

    Example:
        >>> [says_why(text) for text in ("", "main: Error (exit code 1)", "pod deleted")]
        [False, False, True]
    """
    return not re.fullmatch(r"((\w+: )?Error \(exit code \d+\))?", message.strip())


def not_taken_up(created_at: str, sentence: str = NOT_TAKEN_UP) -> str:
    """The sentence about a run that has been given no state; empty in its first minute.

    Args:
        created_at: When the run was made, as ISO 8601 has it; empty where that is not known.
        sentence: What is said then.
    """
    if not created_at:
        return ""
    age_s = (datetime.now(UTC) - datetime.fromisoformat(created_at)).total_seconds()
    return sentence if age_s >= TAKEN_UP_WITHIN_S else ""


def with_scheme(host: str) -> str:
    """The address of Kubeflow Pipelines as a browser would show it.

    Example:
        >>> with_scheme("kfp.example.org/"), with_scheme("localhost:8080")
        ('https://kfp.example.org', 'http://localhost:8080')
    """
    host = host.strip().split("/#/")[0].rstrip("/")
    if "://" in host:
        return host
    is_local = host.partition(":")[0] in ("localhost", "127.0.0.1")
    return f"{'http' if is_local else 'https'}://{host}"


def units_hint(reference: str, output: str) -> str:
    """How the units of work of a run are counted: a command, or why there is none.

    Args:
        reference: The run.
        output: URI or folder that receives the results.

    Example:
        >>> units_hint("argo://em/x7", "gs://em/out")
        'fibstack status gs://em/out'
    """
    if scheme_of(output).is_remote:
        return f"fibstack status {shlex.quote(output)}"
    if reference.startswith("argo://"):
        return f"fibstack status {shlex.quote(reference)} --units"
    return f"{output} is on a volume of the cluster, which cannot be looked at from here"


def require_reachable(config: RunConfig, mounts: Collection[str] = ()) -> None:
    """Refuse a run that would look for its data on this machine.

    Args:
        config: What is to run.
        mounts: Folders of a volume that every pod sees.

    Raises:
        ConfigError: a location is neither in a bucket nor on such a volume.
    """
    locations = {"source": config.source, "output": config.output, "overrides": config.overrides}
    for key, location in locations.items():
        if location and not scheme_of(location).is_remote and not is_on_volume(location, mounts):
            remedy = f", or a path on the pods' volume, below {' or '.join(mounts)}" if mounts else ""
            raise ConfigError(
                f"'{key}' must be in a bucket, since a cluster does not see this machine; got {location}. "
                f"Give a gs:// or s3:// URI{remedy}."
            )


def unknown_keys(spec: Mapping[str, Any]) -> list[str]:
    """The parameters of a run that a WorkflowTemplate does not know, since it is of another version.

    Args:
        spec: The spec of the template.
    """
    known = [parameter["name"] for parameter in spec.get("arguments", {}).get("parameters", [])]
    return sorted(key for key in (*RunConfig.model_fields, STUB) if key not in known)


def pod_mounts(spec: Mapping[str, Any]) -> list[str]:
    """The folders where every pod sees a PersistentVolumeClaim.

    Args:
        spec: The spec of a Workflow or of its template.
    """
    claims = {v["name"] for v in spec.get("volumes", []) if "persistentVolumeClaim" in v}
    containers = [t["container"] for t in spec.get("templates", []) if "container" in t]
    seen = [
        {mount["mountPath"] for mount in container.get("volumeMounts", []) if mount["name"] in claims}
        for container in containers
    ]
    return sorted(set.intersection(*seen)) if seen else []


def claims_of(spec: Mapping[str, Any]) -> list[str]:
    """The PersistentVolumeClaims of the volumes of every pod.

    Args:
        spec: The spec of a Workflow or of its template.
    """
    volumes = spec.get("volumes", [])
    return [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]


def refused(what: str, status: int, reason: str, remedies: Mapping[int, str]) -> FibstackError:
    """The error of a service that answered with an HTTP status of 400 or more.

    Args:
        what: What could not be done, such as "cannot submit to https://host".
        status: The HTTP status; 0 for no answer.
        reason: What the service says, of which the first line is shown.
        remedies: What to do about single statuses.

    Example:
        >>> refused("cannot submit to h", 404, "not found", {404: "Check --host."})
        UserError('cannot submit to h: not found (HTTP 404). Check --host.')
    """
    said = (reason.strip().splitlines() or ["no reason given"])[0][:300].rstrip(".")
    passes = status in (0, 408, 429) or status >= 500
    remedy = remedies.get(status, "Try again." if passes else "Correct it.")
    code = f" (HTTP {status})" if status else ""
    return (TransientError if passes else UserError)(f"{what}: {said}{code}. {remedy}")


def unreachable(what: str, error: Exception, remedy: str) -> TransientError:
    """The error of a service that cannot be reached or does not answer."""
    # Libraries wrap the reason: Outer(...): what they tried (Caused by Inner("...: [Errno 111] reason"))
    said = re.sub(r"[\"']\)*$", "", " ".join(str(error).split()).rpartition(": ")[2])
    said = re.sub(r"\[Errno -?\d+\] ", "", said)[:200].rstrip(". ")
    return TransientError(f"{what}: {said or type(error).__name__}. {remedy}")


def unexpected(what: str, service: str, error: Exception, remedy: str) -> UserError:
    """The error of a service that answered with something else, such as a page to log in."""
    said = str(error) if isinstance(error, AnswerError) else f"something else ({type(error).__name__})"
    return UserError(f"{what}: it must answer as {service} does; got {said}. {remedy}")


def raise_without_login(what: str, error: Exception) -> None:
    """Say in a sentence that Google's library found no credentials; other errors are left alone.

    Raises:
        UserError: that is what the error says.
    """
    if type(error).__module__.startswith("google.auth"):  # not imported: it may not be installed
        said = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"{what}: {said}. Log in with 'gcloud auth application-default login'.") from None
