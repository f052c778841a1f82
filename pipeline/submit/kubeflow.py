"""Runs on Kubeflow Pipelines, through its v2beta1 API."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import kfp
import kfp_server_api as api
import urllib3
import yaml

from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, FibstackError, UserError
from components.shared.web import AnswerError, BoundedPool, json_object, within
from pipeline.compiled.compile import compile_kfp
from pipeline.compiled.ir import step_of
from pipeline.settings import Settings
from pipeline.submit.runs import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
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

EXPERIMENT = "fibstack"
MAX_PARAMETER_BYTES = 10_000
"""Limit of the API server on all parameters of a run together."""
_PAGE = "/#/runs/details/"
_CHECK_HOST = "Check --host, and docs/submit.md on how to log in."
_TIMEOUT = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)


def is_reference(text: str) -> bool:
    """Whether a text is the link of a run's page."""
    return text.startswith(("http://", "https://")) and _PAGE in text


def submit(
    config: RunConfig, settings: Settings, host: str, namespace: str = "", service_account: str = ""
) -> str:
    """Start a run; returns the link of its page.

    Args:
        config: What is to run.
        settings: What is fixed when the pipeline is compiled.
        host: Address of Kubeflow Pipelines, the one that shows its pages.
        namespace: Profile of the user, where the installation has several.
        service_account: Kubernetes service account of the pods; empty for the installation's own.

    Raises:
        ConfigError: the configuration cannot run in a cluster.
        UserError: the installation refuses the run.
        TransientError: it cannot be reached.
    """
    require_reachable(config)
    parameters = config.model_dump(mode="json")
    _check_size(parameters)
    pipeline_spec, platform_spec = yaml.safe_load_all(compile_kfp(settings))
    host = _with_scheme(host)
    with _failures("cannot submit to", host):
        client = within(LOGIN_TIMEOUT_S, lambda: _Client(host))
        profile = namespace or client.get_user_namespace() or None
        run = client.runs.run_service_create_run(
            run=api.V2beta1Run(
                experiment_id=_experiment(client, profile, host),
                display_name=f"{config.id or 'align-stack'} {time.strftime('%Y-%m-%d %H:%M:%S')}",
                pipeline_spec={"pipeline_spec": pipeline_spec, "platform_spec": platform_spec},
                runtime_config=api.V2beta1RuntimeConfig(parameters=parameters),
                service_account=service_account or None,
            ),
            _request_timeout=_TIMEOUT,
        )
    return f"{host}{_PAGE}{_present(run.run_id, host)}"


def state(reference: str) -> RunState:
    """The state of a run and of its tasks."""
    run = _run(reference)
    with _failures("cannot look at a run on", _parts(reference)[0]):
        return _state_of(run)


def _state_of(run: Any) -> RunState:  # noqa: ANN401 - a model of kfp_server_api
    runtime = run.runtime_config
    error = run.error.message if run.error else ""
    return RunState(
        name=run.display_name or run.run_id,
        state=run.state or "PENDING",
        message=error or "",
        output=str((runtime.parameters or {}).get("output", "") if runtime else ""),
        tasks=tuple(
            RunTask(
                name=executor.step,
                step=executor.step,
                state=task_state(executor.task.state or ""),
                message=(executor.task.error.message if executor.task.error else "") or "",
            )
            for executor in _executors(run)
            if not executor.is_try
        ),
    )


def logs(reference: str, step: str = "") -> Iterator[Log]:
    """The logs of the pods of a run, of one step or of all."""
    host, run_id = _parts(reference)
    run = _run(reference)
    client = _connected(host)
    with _failures("cannot look at a run on", host):
        executors = _executors(run)
    for executor in executors:
        if executor.is_pod and step in ("", executor.step):
            pod = executor.task.pod_name
            with _failures("cannot read logs from", host):
                yield Log(title=f"{executor.step}: {pod}", text=client.pod_log(run_id, pod))


class _Client(kfp.Client):  # type: ignore[misc]
    """The client of kfp, for its ways to log in; it asks once, and has an end."""

    def __init__(self, host: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            super().__init__(host=host)
        self._bound()

    def _load_config(self, *args: Any, **kwargs: Any) -> api.Configuration:  # noqa: ANN401 - kfp's signature
        config = super()._load_config(*args, **kwargs)
        config.retries = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=3)
        return config

    def _bound(self) -> None:
        """Let every call end; the constructor of kfp makes the first of them."""
        rest = self._healthz_api.api_client.rest_client  # all its APIs share this one
        if not isinstance(rest.pool_manager, BoundedPool):
            rest.pool_manager = BoundedPool(rest.pool_manager)

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:  # noqa: ANN401, ARG002 - kfp's signature
        self._bound()
        return self._healthz_api.healthz_service_get_healthz(_request_timeout=_TIMEOUT)

    def pod_log(self, run_id: str, pod: str) -> str:
        """The log of a pod, or of its archive; only this address of an old API has it."""
        try:
            answer = self._run_api.api_client.call_api(
                "/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log",
                "GET",
                path_params={"run_id": run_id, "pod": pod},
                response_type="str",
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=(CONNECT_TIMEOUT_S, LOG_TIMEOUT_S),
            )
        except AnswerError as error:
            return f"no log: {error}"
        text: str = answer.data.decode(errors="replace")
        # It answers 200 before it looks, and writes the error into the body.
        if text.startswith('{"error_message"'):
            with suppress(AnswerError):
                return f"no log: {json_object(answer.data).get('error_message')}"
        return text


def _connected(host: str) -> _Client:
    with _failures("cannot reach", host):
        return within(LOGIN_TIMEOUT_S, lambda: _Client(host))


def _experiment(client: _Client, namespace: str | None, host: str) -> str:
    """The ID of the experiment that holds the runs, which is made where there is none."""
    named = {"operation": "EQUALS", "key": "display_name", "stringValue": EXPERIMENT}
    found = client.experiments.experiment_service_list_experiments(
        filter=json.dumps({"predicates": [named]}),
        **({"namespace": namespace} if namespace else {}),
        _request_timeout=_TIMEOUT,
    )
    if found.experiments:
        return str(found.experiments[0].experiment_id)
    experiment = api.V2beta1Experiment(display_name=EXPERIMENT, namespace=namespace)
    made = client.experiments.experiment_service_create_experiment(
        experiment=experiment, _request_timeout=_TIMEOUT
    )
    return _present(made.experiment_id, host)


def _run(reference: str) -> Any:  # noqa: ANN401 - a model of kfp_server_api
    host, run_id = _parts(reference)
    with _failures("cannot look at a run on", host):
        run = _connected(host).runs.run_service_get_run(run_id=run_id, _request_timeout=_TIMEOUT)
    _present(run.run_id, host)
    return run


@dataclass(frozen=True, slots=True)
class _Executor:
    """A task that runs the program of a step."""

    step: str
    task: Any
    """A model of kfp_server_api."""
    is_try: bool
    """The task is one try of another task, which stands for all its tries."""
    is_pod: bool


def _executors(run: Any) -> list[_Executor]:  # noqa: ANN401 - a model of kfp_server_api
    """The tasks that run programs, oldest first; of the nodes that Kubeflow lists, few are pods of a step.

    A step is a graph of a driver and of `executor`, which has the children `executor(0)` and so on where it
    may be tried again. Other children of a node are what waits for it. A child is named by its node's ID, a
    task by its pod; both end in the same number.
    """
    tasks = (run.run_details.task_details if run.run_details else None) or []
    parents = {_number(child): task for task in tasks for child in task.child_tasks or []}
    inside = {_number(task) for task in tasks if _is_executor(task)}
    found = []
    for task in tasks:
        above = parents.get(_number(task))
        is_try = _is_executor(above)
        graph = parents.get(_number(above)) if is_try else above
        step = step_of(graph.display_name or "") if graph else ""
        if step and _is_executor(task):
            has_tries = any(_number(child) in inside for child in task.child_tasks or [])
            found.append(_Executor(step, task, is_try, is_pod=not has_tries))
    return sorted(found, key=lambda executor: (str(executor.task.start_time), executor.task.pod_name))


def _is_executor(task: Any) -> bool:  # noqa: ANN401 - a model of kfp_server_api
    return task is not None and (task.display_name or "").partition("(")[0] == "executor"


def _number(task: Any) -> str:  # noqa: ANN401 - a model of kfp_server_api
    return (task.pod_name or "").rpartition("-")[2]


def _parts(reference: str) -> tuple[str, str]:
    host, _, run_id = reference.partition(_PAGE)
    return host, run_id.strip("/")


def _with_scheme(host: str) -> str:
    """The address as a browser would show it.

    Example:
        >>> _with_scheme("kfp.example.org/"), _with_scheme("localhost:8080")
        ('https://kfp.example.org', 'http://localhost:8080')
    """
    host = host.strip().split("/#/")[0].rstrip("/")
    if "://" in host:
        return host
    is_local = host.partition(":")[0] in ("localhost", "127.0.0.1")
    return f"{'http' if is_local else 'https'}://{host}"


def _check_size(parameters: Mapping[str, Any]) -> None:
    n_bytes = len(json.dumps(parameters).encode())
    if n_bytes > MAX_PARAMETER_BYTES:
        raise ConfigError(
            f"the configuration must have at most {MAX_PARAMETER_BYTES:,} bytes; got {n_bytes:,}. "
            "Shorten the name patterns of 'more_channels'."
        )


def _present(identifier: str | None, host: str) -> str:
    """An ID of an answer; a page to log in is an answer without any."""
    if not identifier:
        raise UserError(
            f"{host} must answer as Kubeflow Pipelines does; got something else, such as a page to log in. "
            f"{_CHECK_HOST}"
        )
    return identifier


@contextmanager
def _failures(verb: str, host: str) -> Iterator[None]:
    """Say what the libraries raise in a sentence."""
    what = f"{verb} {host}"
    log_in = "Log in, or ask for the right to run pipelines there; see docs/submit.md."
    try:
        yield
    except FibstackError:
        raise
    except api.ApiException as error:
        remedies = {401: log_in, 403: log_in, 404: "Check the address and the run."}
        raise refused(what, error.status or 0, _reason(error), remedies) from None
    except AnswerError as error:
        raise unexpected(what, "Kubeflow Pipelines", error, _CHECK_HOST) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(what, error, "Check the address and the network, and try again.") from None
    except Exception as error:
        raise_without_login(what, error)
        # The models of the client take any JSON, and fail where they are read.
        raise unexpected(what, "Kubeflow Pipelines", error, _CHECK_HOST) from error


def _reason(error: api.ApiException) -> str:
    """The reason that the API server gives, without the trail of its functions."""
    try:
        said = json.loads(error.body)
        return str(said.get("message") or said.get("error") or error.reason)
    except (TypeError, ValueError, AttributeError):
        return str(error.reason or "")
