"""Runs on Vertex AI Pipelines, through Google's client, which is an extra."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, FibstackError, install_command
from components.shared.steps import STUB
from components.shared.storage.run_buckets import part_uri
from components.shared.web import AnswerError, ask, json_object, within
from pipeline.compiled.compile import compile_vertex
from pipeline.compiled.ir import step_of
from pipeline.settings import Settings
from pipeline.submit.runs import (
    ANSWER_TIMEOUT_S,
    LOG_TIMEOUT_S,
    LOGIN_TIMEOUT_S,
    Log,
    RunState,
    RunTask,
    raise_without_login,
    refused,
    require_reachable,
    task_state,
    unexpected,
    unreachable,
)

SCHEME = "vertex://"
LABELS = {"app": "fibstack"}
LOGGING_URL = "https://logging.googleapis.com"
_CHECK_REGION = "Check the project and the region."
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def is_reference(text: str) -> bool:
    """Whether a text is the reference of a run on Vertex AI."""
    return text.startswith(SCHEME)


def is_taken_up(reference: str) -> bool:  # noqa: ARG001 - every target's signature
    """True: Google takes up what it has accepted."""
    return True


def endpoint(region: str) -> str:
    """The address of Vertex AI in a region."""
    return f"{region}-aiplatform.googleapis.com"


def link(reference: str) -> str:
    """The page of a run in Google's console."""
    project, region, job_id = _parts(reference)
    return f"https://console.cloud.google.com/vertex-ai/locations/{region}/pipelines/runs/{job_id}?project={project}"


def submit(
    config: RunConfig,
    settings: Settings,
    project: str,
    region: str,
    pipeline_root: str = "",
    service_account: str = "",
    stub: str = "",
) -> str:
    """Start a run, or a stub; returns its reference.

    Args:
        config: What is to run.
        settings: What is fixed when the pipeline is compiled.
        project: ID of the Google Cloud project.
        region: Where the machines run, such as europe-west4.
        pipeline_root: Where Vertex AI keeps what steps hand to each other; empty for a folder of the records.
        service_account: E-mail of the account of the machines; empty for the project's default.
        stub: Name of a stub; empty for a run.

    Raises:
        ConfigError: the configuration cannot run there, or the client is not installed.
        UserError: Vertex AI refuses the run.
        TransientError: it cannot be reached.
    """
    require_reachable(config)
    _check_registry(settings)
    job_id = f"align-stack-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
    job = {
        "display_name": config.id or job_id,
        "labels": LABELS,
        "pipeline_spec": yaml.safe_load(compile_vertex(settings)),
        "runtime_config": {
            "gcs_output_directory": pipeline_root or f"{part_uri(config.output, 'process')}/vertex",
            "parameter_values": config.model_dump(mode="json") | {STUB: stub},
        },
        "service_account": service_account,
    }
    with _failures("cannot submit to", region):
        client = within(LOGIN_TIMEOUT_S, lambda: _client(region))
        within(
            ANSWER_TIMEOUT_S,
            lambda: client.create_pipeline_job(
                parent=f"projects/{project}/locations/{region}",
                pipeline_job=job,
                pipeline_job_id=job_id,
                timeout=ANSWER_TIMEOUT_S,
                retry=None,
            ),
        )
    return f"{SCHEME}{project}/{region}/{job_id}"


def stop(reference: str, *, at_once: bool = False) -> None:  # noqa: ARG001 - every target's signature
    """Ask Vertex AI to cancel a run, all tasks at once."""
    project, region, job_id = _parts(reference)
    name = f"projects/{project}/locations/{region}/pipelineJobs/{job_id}"
    with _failures("cannot stop a run in", region):
        client = within(LOGIN_TIMEOUT_S, lambda: _client(region))
        within(
            ANSWER_TIMEOUT_S,
            lambda: client.cancel_pipeline_job(name=name, timeout=ANSWER_TIMEOUT_S, retry=None),
        )


def state(reference: str) -> RunState:
    """The state of a run and of its tasks."""
    job = _job(reference)
    return RunState(
        name=job.display_name,
        state=job.state.name.removeprefix("PIPELINE_STATE_"),
        message=job.error.message,
        output=dict(job.runtime_config.parameter_values).get("output", ""),
        tasks=tuple(
            RunTask(
                name=detail.task_name,
                step=step_of(detail.task_name),
                state=task_state(detail.state.name),
                message=detail.error.message,
            )
            for detail in _machines(job)
        ),
    )


def logs(reference: str, step: str = "") -> Iterator[Log]:
    """The logs of the machines of a run, of one step or of all; Cloud Logging keeps them for 30 days."""
    project, region, _ = _parts(reference)
    session = _session(project)
    for detail in _machines(_job(reference)):
        container = detail.executor_detail.container_detail
        jobs = [*container.failed_main_jobs, *([container.main_job] if container.main_job else [])]
        if step in ("", step_of(detail.task_name)):
            for job in jobs:
                number = job.rpartition("/")[2]
                with _failures("cannot read logs of", region):
                    yield Log(
                        title=f"{detail.task_name}: custom job {number}",
                        text=_read_log(session, project, number),
                    )


def _read_log(session: Any, project: str, job: str) -> str:  # noqa: ANN401 - a session of google-auth
    """The log of a machine, oldest line first."""
    request: dict[str, Any] = {
        "resourceNames": [f"projects/{project}"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job}"',
        "orderBy": "timestamp asc",
        "pageSize": 1000,
    }
    lines: list[str] = []
    until = time.monotonic() + LOG_TIMEOUT_S
    while True:
        address = f"{LOGGING_URL}/v2/entries:list"
        answer = ask("POST", address, deadline_s=ANSWER_TIMEOUT_S, session=session, json=request)
        if answer.status >= 400:
            raise _refused(f"cannot read the logs of project {project}", answer.status, answer.reason)
        page = json_object(answer.body)
        lines += [_line(entry) for entry in page.get("entries", [])]
        if time.monotonic() > until:
            return "\n".join([*lines, f"(cut: no whole log within {LOG_TIMEOUT_S} s)"])
        if not page.get("nextPageToken"):
            return "\n".join(lines)
        request["pageToken"] = page["nextPageToken"]


def _line(entry: dict[str, Any]) -> str:
    payload = entry.get("jsonPayload", {})
    return str(entry.get("textPayload") or payload.get("message") or payload).rstrip("\n")


def _client(region: str) -> Any:  # noqa: ANN401 - an optional library
    """Google's client for Vertex AI Pipelines.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        # Imported here: it is an extra, and heavy.
        import google.cloud.aiplatform_v1 as vertex
    except ModuleNotFoundError:
        raise ConfigError(
            "Vertex AI needs the package google-cloud-aiplatform, which is not installed. "
            f"Install it with: {install_command('vertex')}"
        ) from None
    return vertex.PipelineServiceClient(transport="rest", client_options={"api_endpoint": endpoint(region)})


def _session(project: str) -> Any:  # noqa: ANN401 - an optional library
    with _failures("cannot log in to", project):
        import google.auth
        from google.auth.transport.requests import AuthorizedSession

        credentials, _ = within(LOGIN_TIMEOUT_S, lambda: google.auth.default(scopes=[_SCOPE]))
        return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]


def _job(reference: str) -> Any:  # noqa: ANN401 - a message of an optional library
    project, region, job_id = _parts(reference)
    name = f"projects/{project}/locations/{region}/pipelineJobs/{job_id}"
    with _failures("cannot look at a run in", region):
        client = within(LOGIN_TIMEOUT_S, lambda: _client(region))
        return within(
            ANSWER_TIMEOUT_S, lambda: client.get_pipeline_job(name=name, timeout=ANSWER_TIMEOUT_S, retry=None)
        )


def _machines(job: Any) -> Iterator[Any]:  # noqa: ANN401 - a message of an optional library
    """The tasks of steps, each a machine; a loop and its iterations are tasks too."""
    for detail in job.job_detail.task_details:
        if step_of(detail.task_name) and "container_detail" in detail.executor_detail:
            yield detail


def _check_registry(settings: Settings) -> None:
    """Refuse images that lie on this machine only."""
    host = settings.registry.partition("/")[0]
    if "." not in host:
        raise ConfigError(
            f"Vertex AI must be able to pull the images; got {settings.image('plan')}, which names no "
            "registry. Run 'make push REGISTRY=...' and give --settings images/pushed.toml."
        )


def _parts(reference: str) -> tuple[str, str, str]:
    parts = reference.removeprefix(SCHEME).strip("/").split("/")
    if len(parts) != 3 or not all(parts):
        raise ConfigError(
            f"a run on Vertex AI must be named vertex://PROJECT/REGION/ID; got '{reference}'. "
            "'fibstack submit' prints it."
        )
    return parts[0], parts[1], parts[2]


@contextmanager
def _failures(verb: str, region: str) -> Iterator[None]:
    """Say what the libraries raise in a sentence."""
    what = f"{verb} Vertex AI in {region}"
    try:
        yield
    except FibstackError:
        raise
    except AnswerError as error:
        raise unexpected(what, "Google's API", error, _CHECK_REGION) from None
    except OSError as error:  # among them those of requests
        raise unreachable(what, error, "Check the region and the network, and try again.") from None
    except Exception as error:
        raise_without_login(what, error)
        if type(error).__module__.startswith("google.api_core"):
            raise _refused(
                what, int(getattr(error, "code", None) or 0), str(getattr(error, "message", error))
            ) from None
        # Google's client takes any JSON, and fails where it is read.
        raise unexpected(what, "Google's API", error, _CHECK_REGION) from error


def _refused(what: str, status: int, reason: str) -> FibstackError:
    remedies = {
        401: "Log in with 'gcloud auth application-default login'.",
        403: "Ask for the roles Vertex AI User and Service Account User in the project, and Logs Viewer.",
        404: "Check the project, the region and the run.",
    }
    return refused(what, status, reason, remedies)
