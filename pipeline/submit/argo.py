"""Runs on Argo Workflows, in the cluster of kubectl's current context."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

import kubernetes
import urllib3
import yaml
from kubernetes.client import ApiException
from kubernetes.config import ConfigException

from components.shared.documents.config import RunConfig
from components.shared.errors import (
    FINAL_EXIT_CODES,
    ConfigError,
    FibstackError,
    TransientError,
    UserError,
)
from components.shared.steps import STEPS, STUB
from components.shared.web import AnswerError, BoundedPool, within
from pipeline.argo.pod import UNIT_LABEL
from pipeline.compiled.compile import compile_argo
from pipeline.compiled.ir import to_text
from pipeline.settings import Settings
from pipeline.submit.runs import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    LOG_TIMEOUT_S,
    LOGIN_TIMEOUT_S,
    NOT_TAKEN_UP,
    POLL_S,
    Log,
    RunState,
    is_begun_soon,
    not_taken_up,
    pod_mounts,
    refused,
    require_reachable,
    unexpected,
    unknown_keys,
    unreachable,
)
from pipeline.submit.units import LONGEST_S, units_workflow
from pipeline.submit.workflow import Call, Node, Workflow, without_executor_lines, without_tries

SCHEME = "argo://"
TEMPLATE = "align-stack"
_API = ("argoproj.io", "v1alpha1")
_TIMEOUT = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
_LABELS = {"app.kubernetes.io/name": "fibstack"}
_DOCTOR = "Look with: fibstack doctor --target argo"
_NO_LOG = "no log: "
_NO_CONTENT = 204
"""HTTP status of the log of a pod that is on no node yet."""
_FINAL = {str(code) for code in FINAL_EXIT_CODES}


def is_reference(text: str) -> bool:
    """Whether a text is the reference of a run on Argo."""
    return text.startswith(SCHEME)


def submit(config: RunConfig, settings: Settings | None, namespace: str = "", stub: str = "") -> str:
    """Start a run, or a stub; returns its reference.

    Args:
        config: What is to run.
        settings: What the pipeline is compiled with, for this run alone; None runs the WorkflowTemplate that
            lies in the namespace, with whatever an overlay has added to it.
        namespace: Where the pods run; empty for that of kubectl's context.
        stub: Name of a stub; empty for a run.

    Raises:
        ConfigError: there is no context, or the configuration cannot run in a cluster.
        UserError: the cluster refuses the run, or the template is missing or of another version.
        TransientError: the cluster cannot be reached.
    """
    cluster = _Cluster(namespace)
    if settings is None:
        template = cluster.template()
        spec: dict[str, Any] = {"workflowTemplateRef": {"name": TEMPLATE}}
    else:
        limits, template = yaml.safe_load_all(compile_argo(settings))
        spec = template["spec"]
    with cluster.failures(f"read the WorkflowTemplate '{TEMPLATE}'", ""):
        # The version first: an old template has its volume where nobody looks now.
        _check_parameters(template["spec"], cluster.namespace)
        require_reachable(config, pod_mounts(template["spec"]))
    if settings is not None:
        cluster.create_limits(limits)
    values = config.model_dump(mode="json") | {STUB: stub}
    parameters = [{"name": key, "value": to_text(value)} for key, value in values.items()]
    name = cluster.create(
        {
            "apiVersion": "/".join(_API),
            "kind": "Workflow",
            "metadata": {"generateName": f"{TEMPLATE}-", "namespace": cluster.namespace, "labels": _LABELS},
            "spec": {**spec, "arguments": {"parameters": parameters}},
        }
    )
    return f"{SCHEME}{cluster.namespace}/{name}"


def is_taken_up(reference: str) -> bool:
    """Whether Argo's controller begins with a run that was just submitted."""
    cluster, name = _parts(reference)

    def is_begun() -> bool:
        manifest = cluster.workflow(name)
        with cluster.failures(f"read the workflow '{name}'", ""):
            return bool(Workflow(manifest, _call_of).phase)

    return is_begun_soon(is_begun)


def stop(reference: str, *, at_once: bool = False) -> None:
    """Ask Argo's controller to end a run."""
    cluster, name = _parts(reference)
    cluster.shut_down(name, "Terminate" if at_once else "Stop")


def state(reference: str) -> RunState:
    """The state of a run and of its tasks."""
    cluster, name = _parts(reference)
    manifest = cluster.workflow(name)
    with cluster.failures(f"read the workflow '{name}'", ""):
        workflow = Workflow(manifest, _call_of)
        return RunState(
            name=name,
            state=workflow.phase or "Pending",
            message=_message(workflow, manifest, cluster.namespace),
            output=_arguments(manifest).get("output", ""),
            tasks=tuple(workflow.tasks()),
        )


def _message(workflow: Workflow, manifest: Mapping[str, Any], namespace: str) -> str:
    """The message of a run as a whole: Argo's own words, or why its tasks are not seen or do not begin."""
    if workflow.message.strip():
        return workflow.message
    if not workflow.phase:
        return not_taken_up(workflow.created_at)
    if workflow.is_offloaded:
        return (
            "its tasks are kept in a database, which Argo's server alone reads: "
            f"argo get --argo-server HOST:2746 --namespace {namespace} {workflow.name}"
        )
    if (manifest.get("spec") or {}).get("suspend") and not workflow.has_ended:
        resume = f"argo resume --namespace {namespace} {workflow.name}"
        return f"it is suspended, so no further task begins; go on with: {resume}"
    return ""


def logs(reference: str, step: str = "") -> Iterator[Log]:
    """The logs of the pods of a run, of one step or of all; finished pods vanish after a while."""
    cluster, name = _parts(reference)
    cluster.workflow(name)
    for pod in cluster.pods(name, step):
        labels = pod.metadata.labels or {}
        unit = labels.get(UNIT_LABEL, "")
        title = " ".join(word for word in (labels.get("app.kubernetes.io/component", ""), unit) if word)
        log = without_executor_lines(cluster.pod_log(pod.metadata.name))
        yield Log(title=f"{title}: {pod.metadata.name}", text=log)


def count_units(reference: str) -> str:
    """The lines of a pod in the run's cluster, which counts the units of work that each step has done.

    Raises:
        UserError: the pod refuses, such as for a run that has not begun.
        TransientError: it has not ended in its time, was lost, or its log was.
    """
    cluster, name = _parts(reference)
    run = cluster.workflow(name)
    with cluster.failures(f"read the workflow '{name}'", ""):
        wanted = units_workflow(run, _arguments(run).get("output", ""))
    counting = cluster.create(wanted)
    try:
        return _ended_log(cluster, counting)
    finally:
        with suppress(FibstackError):  # who may not delete it leaves it to Argo, which does so soon
            cluster.delete(counting)


def _ended_log(cluster: _Cluster, name: str) -> str:
    """The log of the only pod of a workflow, when it has ended well."""
    until = time.monotonic() + LONGEST_S
    while True:
        manifest = cluster.workflow(name)
        with cluster.failures(f"read the workflow '{name}'", ""):
            workflow = Workflow(manifest, lambda _: Call("units", "", "units"))
            reason = next((task.message for task in workflow.tasks() if task.message), workflow.message)
            exit_codes = [node.get("outputs", {}).get("exitCode") for _, node in workflow.pods()]
        if workflow.has_ended:
            pods = cluster.pods(name, "")
            log = without_executor_lines(cluster.pod_log(pods[0].metadata.name)) if pods else ""
            if log.startswith(_NO_LOG):
                log = ""
            if workflow.phase != "Succeeded":
                said = (log.strip().splitlines() or [reason])[-1].removeprefix("error: ")
                if all(code in _FINAL for code in exit_codes):  # without a pod, the cluster has refused it
                    raise UserError(f"the pod that counts the units failed: {said}")
                raise TransientError(f"the pod that counts the units failed: {said}")
            if not log:
                raise TransientError("the log of the pod that counts the units is gone. Try again.")
            return log
        if time.monotonic() > until:
            waits_for = reason or ("it works" if workflow.phase else NOT_TAKEN_UP)
            raise TransientError(
                f"the pod that counts the units has not ended within {LONGEST_S} s: {waits_for}. Try again."
            )
        time.sleep(POLL_S)


class _Cluster:
    """A namespace of the cluster of kubectl's current context."""

    def __init__(self, namespace: str) -> None:
        configuration = kubernetes.client.Configuration()
        try:
            # It runs the program that logs in to the cluster.
            within(
                LOGIN_TIMEOUT_S,
                lambda: kubernetes.config.load_kube_config(client_configuration=configuration),
            )
            _, context = kubernetes.config.list_kube_config_contexts()
        except (ConfigException, OSError, yaml.YAMLError) as error:
            said = str(error).splitlines()[0].rstrip(".")
            raise ConfigError(
                f"kubectl must have a current context that names the cluster; got: {said}. "
                "Choose one with 'kubectl config use-context NAME'."
            ) from None
        configuration.retries = False
        client = kubernetes.client.ApiClient(configuration)
        client.rest_client.pool_manager = BoundedPool(client.rest_client.pool_manager)
        self.namespace = namespace or context["context"].get("namespace") or "default"
        self._host = configuration.host
        self._objects = kubernetes.client.CustomObjectsApi(client)
        self._core = kubernetes.client.CoreV1Api(client)

    def template(self) -> dict[str, Any]:
        """The WorkflowTemplate of the namespace."""
        with self.failures(
            f"find the WorkflowTemplate '{TEMPLATE}'",
            f"Install it, or give --settings to do without. {_DOCTOR}",
        ):
            return self._get("workflowtemplates", TEMPLATE)

    def workflow(self, name: str) -> dict[str, Any]:
        with self.failures(f"find the workflow '{name}'", "Check the reference and kubectl's context."):
            return self._get("workflows", name)

    def create(self, workflow: Mapping[str, Any]) -> str:
        """Create a workflow; returns the name that the cluster gives it."""
        with self.failures("create a workflow", f"Does the namespace exist? {_DOCTOR}"):
            made = self._objects.create_namespaced_custom_object(
                *_API, self.namespace, "workflows", workflow, _request_timeout=_TIMEOUT
            )
            return str(made["metadata"]["name"])

    def delete(self, workflow: str) -> None:
        with self.failures("delete a workflow", ""):
            self._objects.delete_namespaced_custom_object(
                *_API, self.namespace, "workflows", workflow, _request_timeout=_TIMEOUT
            )

    def shut_down(self, workflow: str, strategy: Literal["Stop", "Terminate"]) -> None:
        """End a workflow: `Stop` still runs what runs whatever happens, `Terminate` does not."""
        with self.failures(f"stop the workflow '{workflow}'", "Check the reference and kubectl's context."):
            self._objects.patch_namespaced_custom_object(
                *_API,
                self.namespace,
                "workflows",
                workflow,
                {"spec": {"shutdown": strategy}},
                _request_timeout=_TIMEOUT,
            )

    def create_limits(self, config_map: Mapping[str, Any]) -> None:
        """Create the ConfigMap of the semaphores; one that is there stays, since operators change it."""
        with self.failures("create the ConfigMap of the limits", f"Does the namespace exist? {_DOCTOR}"):
            try:
                self._core.create_namespaced_config_map(self.namespace, config_map, _request_timeout=_TIMEOUT)
            except ApiException as error:
                if error.status != 409:
                    raise

    def pods(self, workflow: str, step: str) -> list[Any]:
        selector = f"workflows.argoproj.io/workflow={workflow}"
        if step:
            selector += f",app.kubernetes.io/component={step}"
        with self.failures("list the pods", ""):
            found = self._core.list_namespaced_pod(
                self.namespace, label_selector=selector, _request_timeout=_TIMEOUT
            )
            return sorted(found.items, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))

    def pod_log(self, pod: str) -> str:
        """The log of a pod's program; for a pod that waits or is gone, why there is none."""
        with self.failures(f"read the log of {pod}", ""):
            try:
                # Some releases of the client give the text of Python's bytes.
                answer = self._core.read_namespaced_pod_log(
                    pod,
                    self.namespace,
                    container="main",
                    _preload_content=False,
                    _request_timeout=(CONNECT_TIMEOUT_S, LOG_TIMEOUT_S),
                )
                if answer.status == _NO_CONTENT:
                    return f"{_NO_LOG}the pod waits for a machine"
                return bytes(answer.data).decode(errors="replace")
            except ApiException as error:
                if error.status not in (400, 404):
                    raise
                return f"{_NO_LOG}{_reason(error)}"
            except AnswerError as error:
                return f"{_NO_LOG}{error}"

    def _get(self, plural: str, name: str) -> dict[str, Any]:
        found = self._objects.get_namespaced_custom_object(
            *_API, self.namespace, plural, name, _request_timeout=_TIMEOUT
        )
        if not isinstance(found, dict):
            raise AnswerError("no object in JSON")
        return found

    @contextmanager
    def failures(self, verb: str, remedy: str) -> Iterator[None]:
        """Say what the libraries raise in a sentence."""
        what = f"cannot {verb} in namespace '{self.namespace}' of {self._host}"
        context = "Check kubectl's context: 'kubectl config current-context'."
        try:
            yield
        except FibstackError:
            raise
        except ApiException as error:
            remedies = {
                401: "Log in to the cluster; 'kubectl get pods' must work.",
                403: "Ask for a role in the namespace that may do so.",
                404: remedy if _names_object(error) else f"The cluster has no Argo Workflows. {_DOCTOR}",
            }
            raise refused(what, error.status or 0, _reason(error), remedies) from None
        except AnswerError as error:
            raise unexpected(what, "Kubernetes", error, context) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(
                what, error, "Check kubectl's context and the network, and try again."
            ) from None
        except Exception as error:
            # The client takes any JSON, which fails where it is read.
            raise unexpected(what, "Kubernetes", error, context) from error


def _check_parameters(spec: Mapping[str, Any], namespace: str) -> None:
    """Refuse a template of another version, which would not see a key of the configuration."""
    missing = unknown_keys(spec)
    if missing:
        raise UserError(
            f"the WorkflowTemplate '{TEMPLATE}' in namespace '{namespace}' must be of this version; "
            f"it does not know {', '.join(missing[:3])}. Install it anew, or give --settings to do without."
        )


def _arguments(workflow: Mapping[str, Any]) -> dict[str, str]:
    parameters = workflow.get("spec", {}).get("arguments", {}).get("parameters", [])
    return {parameter["name"]: str(parameter.get("value", "")) for parameter in parameters}


def _call_of(node: Node) -> Call | None:
    """The call of a step: Argo names a step's template after it."""
    step = node.get("templateName", "")
    name = without_tries(node.get("displayName") or step)
    return Call(name, step, without_tries(node["name"])) if step in STEPS else None


def _parts(reference: str) -> tuple[_Cluster, str]:
    namespace, _, name = reference.removeprefix(SCHEME).strip("/").partition("/")
    if not (namespace and name):
        raise ConfigError(
            f"a run on Argo must be named argo://NAMESPACE/NAME; got '{reference}'. "
            "'kubectl get workflows' shows the names."
        )
    return _Cluster(namespace), name


def _names_object(error: ApiException) -> bool:
    """Whether the cluster says which object is missing; of a kind that it does not know, it says nothing."""
    try:
        return bool(json.loads(error.body)["details"]["name"])
    except (TypeError, ValueError, KeyError):
        return False


def _reason(error: ApiException) -> str:
    """The reason that the cluster gives."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason or "")
