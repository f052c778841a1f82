"""Runs on Kubeflow Pipelines, through its API v2beta1.

What that leaves out, the messages of tasks and the names of their pods, stands in the Workflow of Argo behind
a run, which the API v1beta1 hands out.
"""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import kfp
import kfp_server_api as api
import urllib3
import yaml

from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, FibstackError, UserError
from components.shared.steps import STUB
from components.shared.web import AnswerError, BoundedPool, json_object, within
from pipeline.compiled.compile import compile_kfp
from pipeline.compiled.ir import step_of
from pipeline.settings import Settings
from pipeline.submit.runs import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    LOG_TIMEOUT_S,
    LOGIN_TIMEOUT_S,
    NOT_TAKEN_UP,
    Log,
    RunState,
    RunTask,
    is_begun_soon,
    not_taken_up,
    raise_without_login,
    refused,
    require_reachable,
    task_state,
    unexpected,
    unreachable,
    with_scheme,
)
from pipeline.submit.workflow import Call, Node, Workflow, without_executor_lines, without_tries

EXPERIMENT = "fibstack"
MAX_PARAMETER_BYTES = 10_000
"""Limit of the API server on all parameters of a run together."""
_PAGE = "/#/runs/details/"
_CHECK_HOST = "Check --host, and docs/submit.md on how to log in."
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_NOT_SERVED = (404, 405, 500, 501)
"""Answers of a server that serves no logs, or has none of a pod."""
_PASSING = (408, 429, 502, 503, 504)
"""Answers that say nothing of what a server has."""
_NO_LOG = "no log: this server keeps none of it. While the pod is there, run"
_NOT_TOLD = (
    "Kubeflow has heard nothing of it: its persistence agent does not run, or does not reach the API server. "
    "Look with: kubectl get deployments --namespace kubeflow ml-pipeline-persistenceagent"
)
_NOT_AGAIN = "retryStrategy.expression evaluated to false"
"""Argo's message about a failed run where an installation says which failures are tried again: no reason."""
_TIMEOUT = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)


def is_reference(text: str) -> bool:
    """Whether a text is the link of a run's page."""
    return text.startswith(("http://", "https://")) and _PAGE in text


def submit(
    config: RunConfig,
    settings: Settings,
    host: str,
    namespace: str = "",
    service_account: str = "",
    stub: str = "",
) -> str:
    """Start a run, or a stub; returns the link of its page.

    Args:
        config: What is to run.
        settings: What is fixed when the pipeline is compiled.
        host: Address of Kubeflow Pipelines, the one that shows its pages.
        namespace: Profile of the user, where the installation has several.
        service_account: Kubernetes service account of the pods; empty for the installation's own.
        stub: Name of a stub; empty for a run.

    Raises:
        ConfigError: the configuration cannot run in a cluster.
        UserError: the installation refuses the run.
        TransientError: it cannot be reached.
    """
    require_reachable(config, settings.mounts)
    parameters = config.model_dump(mode="json") | {STUB: stub}
    _check_size(parameters)
    pipeline_spec, platform_spec = yaml.safe_load_all(compile_kfp(settings))
    host = with_scheme(host)
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


def is_taken_up(reference: str) -> bool:
    """Whether Argo's controller behind Kubeflow begins with a run that was just submitted."""
    host, run_id = _parts(reference)
    with suppress(FibstackError):
        client = _connected(host)
        return is_begun_soon(lambda: _run(client, host, run_id).state not in (None, "PENDING"))
    return True


def stop(reference: str, *, at_once: bool = False) -> None:  # noqa: ARG001 - every target's signature
    """Ask Kubeflow to end a run, all tasks at once."""
    host, run_id = _parts(reference)
    client = _connected(host)
    with _failures("cannot stop a run on", host):
        client.runs.run_service_terminate_run(run_id=run_id, _request_timeout=_TIMEOUT)


def state(reference: str) -> RunState:
    """The state of a run and of its tasks."""
    host, run_id = _parts(reference)
    client, run = _connected_to_run(reference)
    manifest = client.workflow_manifest(run_id, host)
    with _failures("cannot look at a run on", host):
        return _state_of(run, manifest)


def _state_of(run: Any, manifest: Mapping[str, Any] | None) -> RunState:  # noqa: ANN401 - a model of kfp_server_api
    """The state of a run, of what the API of today tells and of the Workflow behind the run.

    Args:
        run: The run as the API tells it; of its tasks, it knows no message and no pod.
        manifest: The Workflow; None where the server gives none, empty where it has not been told of it.
    """
    runtime = run.runtime_config
    workflow = Workflow(manifest or {}, _call_of, has_ended=run.state in _ENDED)
    said = "" if workflow.message == _NOT_AGAIN else workflow.message
    message = (run.error.message if run.error else "") or said
    if manifest is not None and not workflow.phase and run.state not in _ENDED:
        created_at = run.created_at.isoformat() if run.created_at else ""
        message = message or not_taken_up(created_at, NOT_TAKEN_UP if manifest else _NOT_TOLD)
    return RunState(
        name=run.display_name or run.run_id,
        state=run.state or "PENDING",
        message=message,
        output=str((runtime.parameters or {}).get("output", "") if runtime else ""),
        tasks=tuple(_tasks(run) if not workflow.phase or workflow.is_offloaded else workflow.tasks()),
    )


def _tasks(run: Any) -> Iterator[RunTask]:  # noqa: ANN401 - a model of kfp_server_api
    """The calls of programs as the API tells them: one that waits for a machine is running there."""
    for task in (run.run_details.task_details if run.run_details else None) or []:
        name = task.display_name or ""
        if step_of(name) and "(" not in name and task.state:  # neither one try of several nor left out
            yield RunTask(name=name, step=step_of(name), state=task_state(task.state))


def logs(reference: str, step: str = "") -> Iterator[Log]:
    """The logs of the pods of a run, of one step or of all."""
    host, run_id = _parts(reference)
    client, run = _connected_to_run(reference)
    manifest = client.workflow_manifest(run_id, host)
    with _failures("cannot look at a run on", host):
        workflow = Workflow(manifest or {}, _call_of)
        has_begun = any(step in ("", task.step) for task in _tasks(run))
        pods = [
            (call, node, workflow.pod_name(node)) for call, node in workflow.pods() if step in ("", call.step)
        ]
    if has_begun and not manifest:
        raise UserError(
            f"{host} must tell the names of a run's pods, for their logs; it does not (it has no API "
            f"v1beta1). Read them with: kubectl logs --namespace NAMESPACE --container main --prefix "
            f"--tail -1 --selector pipeline/runid={run_id}"
        )
    for call, node, pod in pods:
        title = f"{call.name}: {pod}"
        if task_state(node.get("phase", "")) == "waiting":
            yield Log(title=title, text=f"no log: the pod waits. {node.get('message', '')}".strip())
            continue
        with _failures("cannot read logs from", host):
            text = client.pod_log(run_id, pod)
        kubectl = f"kubectl logs --namespace {workflow.namespace} {pod} --container main"
        yield Log(title=title, text=text if text is not None else f"{_NO_LOG}: {kubectl}")


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

    def workflow_manifest(self, run_id: str, host: str) -> dict[str, Any] | None:
        """The Workflow behind a run, which only the API v1beta1 tells.

        It is None where the server does not tell it, and empty as long as the agent that watches the cluster
        has not told the server of it.
        """
        with _failures("cannot look at a run on", host):
            try:
                answer = self._get(f"/apis/v1beta1/runs/{run_id}", ANSWER_TIMEOUT_S)
                runtime = json_object(answer).get("pipeline_runtime") or {}
                return json_object((runtime.get("workflow_manifest") or "{}").encode())
            except AnswerError:
                return None
            except api.ApiException as error:
                if error.status in _PASSING:
                    raise
                return None

    def pod_log(self, run_id: str, pod: str) -> str | None:
        """The log of a pod, or of its archive; None where the server has none. Only an old API has it."""
        try:
            answer = self._get(f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", LOG_TIMEOUT_S)
        except AnswerError as error:
            return f"no log: {error}"
        except api.ApiException as error:
            if error.status in _NOT_SERVED:
                return None
            raise
        text = answer.decode(errors="replace")
        # It answers 200 before it looks, and writes the error into the body.
        return None if text.startswith('{"error_message"') else without_executor_lines(text)

    def _get(self, path: str, timeout_s: int) -> bytes:
        """The answer of an address of an old API, of which the library has no model."""
        answer = self._run_api.api_client.call_api(
            path,
            "GET",
            response_type="str",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
            _preload_content=False,
            _request_timeout=(CONNECT_TIMEOUT_S, timeout_s),
        )
        return bytes(answer.data)


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


def _connected_to_run(reference: str) -> tuple[_Client, Any]:
    """A client, and the run as the API tells it."""
    host, run_id = _parts(reference)
    client = _connected(host)
    return client, _run(client, host, run_id)


def _run(client: _Client, host: str, run_id: str) -> Any:  # noqa: ANN401 - a model of kfp_server_api
    with _failures("cannot look at a run on", host):
        run = client.runs.run_service_get_run(run_id=run_id, _request_timeout=_TIMEOUT)
    _present(run.run_id, host)
    return run


def _call_of(node: Node) -> Call | None:
    """The call that a node of a run's Workflow belongs to.

    A program runs in the node `executor` below that of its task, after a pod `TASK-driver` beside that; the
    node's name holds those of all nodes above it, such as `x.root.for-loop-2.iteration(0:0).align.executor`.
    """
    path, _, leaf = without_tries(node["name"]).rpartition(".")
    if leaf != "executor":
        task, is_driver, _ = leaf.rpartition("-driver")
        if not is_driver:
            return None
        path = f"{path}.{task}"
    task = path.rpartition(".")[2]
    iterations = re.findall(r"\((\d+):", path)
    name = f"{task}({iterations[-1]})" if iterations and step_of(task) else task
    if leaf == "executor":
        return Call(name, step_of(task), path)
    return Call(name if step_of(task) else leaf, step_of(task), path, is_driver=True)


def _parts(reference: str) -> tuple[str, str]:
    host, _, run_id = reference.partition(_PAGE)
    return host, run_id.strip("/")


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
    """The reason that the API server gives; its details have it without the trail of functions before it."""
    try:
        said = json.loads(error.body)
        details = [detail.get("message") for detail in said.get("details") or []]
        return str(
            next(filter(None, details), None) or said.get("message") or said.get("error") or error.reason
        )
    except (TypeError, ValueError, AttributeError):
        return str(error.reason or "")
