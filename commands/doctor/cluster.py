"""Checks of a cluster: its service, the pipeline there, and the right to run it."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from commands.doctor.findings import Finding
from commands.doctor.kubectl import Said, at, kubectl
from components.shared.errors import install_command
from components.shared.web import AnswerError, ask, json_object, reason_of
from pipeline.submit.runs import unknown_keys, with_scheme

ARGO_AT_LEAST = (3, 6)
"""First release with several semaphores for a template, which limit how many pods a step has at a time."""
TEMPLATE = "align-stack"
_DEADLINE_S = 30
"""Longest that an answer of Kubeflow Pipelines may take."""
_INSTALL_ARGO = (
    "kubectl create namespace argo; kubectl apply -n argo --server-side "
    "-f https://github.com/argoproj/argo-workflows/releases/download/v4.1.2/install.yaml"
)
KUBEFLOW = "kubeflow"
"""Namespace that Kubeflow Pipelines is installed in."""
_AGENT = "ml-pipeline-persistenceagent"
_CONFIG_MAP = "workflow-controller-configmap"
_ARGOS_OWN_POLICY = "OnFailure"
"""Policy of retries where neither they nor the controller's defaults name one."""
_OF_PODS = "lastRetry.message != ''"
"""Expression by which pods are tried again and groups are not, which fail without a message of their own."""


def namespace_of(namespace: str) -> str:
    """The namespace that is meant: the given one, or that of kubectl's context."""
    found = kubectl("config", "view", "--minify", "--output", "jsonpath={..namespace}")
    return namespace or found.text or "default"


def installed_template(namespace: str) -> dict[str, Any]:
    """The WorkflowTemplate of the pipeline in a namespace; empty where none can be seen."""
    if shutil.which("kubectl") is None:
        return {}
    where = ("--namespace", namespace_of(namespace))
    return kubectl("get", "workflowtemplate", TEMPLATE, *where, "--output", "json").as_object()


def is_of_this_version(template: dict[str, Any]) -> bool:
    """Whether a WorkflowTemplate knows every key of the configuration."""
    try:
        return not unknown_keys(template["spec"])
    except (AttributeError, LookupError, TypeError):
        return False


def check_argo(namespace: str, *, on_volume: bool = False) -> Iterator[Finding]:
    """Check kubectl, its cluster, Argo Workflows there, the pipeline, and the right to run it.

    Args:
        namespace: Where the pods run; empty for that of kubectl's context.
        on_volume: Slices or results lie on a volume of the pods.
    """
    if shutil.which("kubectl") is None:
        yield Finding("wrong", "kubectl is not on the PATH", "gcloud components install kubectl")
        return
    context = kubectl("config", "current-context")
    if not context.worked:
        yield Finding(
            "wrong",
            "kubectl has no current context",
            "gcloud container clusters get-credentials NAME --region REGION",
        )
        return
    versions = _versions()
    if versions is None:
        yield Finding(
            "wrong",
            f"the cluster of kubectl's context {context.text} does not answer",
            "kubectl cluster-info",
        )
        return
    yield Finding("ok", f"kubectl {versions[0]}, cluster {context.text}: Kubernetes {versions[1]}")
    kinds = kubectl(*_KINDS)
    has_argo = f"workflowtemplates.{_GROUP}" in kinds.text
    if has_argo:
        yield from _check_controllers(at_least=ARGO_AT_LEAST)
    elif not kinds.worked:
        yield Finding(
            "wrong",
            "the cluster does not tell whether it has Argo Workflows",
            f"kubectl {' '.join(_KINDS)}",
        )
    else:
        yield Finding("wrong", "the cluster has no Argo Workflows: it knows no workflows", _INSTALL_ARGO)
    namespace = namespace_of(namespace)
    overlay = "local-volume" if on_volume or "-gke." not in versions[1] else "spot"
    own = f"kubectl apply --namespace {namespace} -k manifests/argo"
    install = f"kubectl apply -k manifests/gke/{overlay}" if namespace == "fibstack" else own
    if kubectl("get", "namespace", namespace).is_missing:
        makes = install if namespace == "fibstack" else f"kubectl create namespace {namespace}"
        yield Finding("wrong", f"there is no namespace {namespace} in the cluster", makes)
    elif has_argo:
        yield _template(namespace, install)
        yield _right(namespace)


_GROUP = "argoproj.io"
# Every user may ask which kinds there are; few may look at the CRDs.
_KINDS = ("api-resources", "--api-group", _GROUP, "--output", "name")


def _template(namespace: str, install: str) -> Finding:
    found = kubectl("get", "workflowtemplate", TEMPLATE, "--namespace", namespace, "--output", "json")
    without = "with --settings, 'fibstack submit' brings its own"
    if found.worked:
        if is_of_this_version(found.as_object()):
            return Finding("ok", f"the WorkflowTemplate {TEMPLATE} is there")
        text = f"the WorkflowTemplate {TEMPLATE} in {namespace} is of another version"
        return Finding("note", f"{text}; {without}", install)
    if found.is_missing:
        text = f"there is no WorkflowTemplate {TEMPLATE} in {namespace}"
        return Finding("note", f"{text}; {without}", install)
    text = f"you may not see whether the WorkflowTemplate {TEMPLATE} is in {namespace}"
    return Finding("note", text, f"kubectl auth can-i --list --namespace {namespace}")


def _right(namespace: str) -> Finding:
    where = ("--namespace", namespace)
    if kubectl("auth", "can-i", "create", f"workflows.{_GROUP}", *where).worked:
        return Finding("ok", "you may create workflows there")
    return Finding(
        "wrong", "you may not create workflows there", f"kubectl auth can-i --list {' '.join(where)}"
    )


def _check_controllers(namespace: str = "", at_least: tuple[int, int] = (0, 0)) -> Iterator[Finding]:
    """Check that a controller of Argo works, of a release that is new enough.

    Args:
        namespace: Where to look; empty for everywhere.
        at_least: The oldest release that will do.
    """
    where = ("--namespace", namespace) if namespace else ("--all-namespaces",)
    named = ("--field-selector", "metadata.name=workflow-controller", "--output", "json")
    answer = kubectl("get", "deployments", *where, *named)
    items = at(answer.as_object(), "items")
    found = [item for item in items if at(item, "metadata", "name")] if isinstance(items, list) else []
    if not found:
        unseen = (
            "you may not see its controller"
            if answer.is_forbidden
            else "no deployment workflow-controller tells whether its controller works"
        )
        yield Finding("note", f"Argo Workflows is there; {unseen}, nor which version")
        return
    working = [item for item in found if at(item, "status", "availableReplicas")]
    if not working:
        name, place = at(found[0], "metadata", "name"), at(found[0], "metadata", "namespace")
        replicas = at(found[0], "spec", "replicas")
        wanted = 1 if replicas is None else replicas
        yield Finding(
            "wrong",
            "no controller of Argo Workflows works, so nobody takes up a run: "
            f"{place}/{name} has 0 of {wanted} pods",
            f"kubectl describe deployment {name} --namespace {place}"
            if wanted
            else f"kubectl scale deployment {name} --namespace {place} --replicas 1",
        )
        return
    versions = [_release(item) for item in working]
    known = [version for version in versions if version is not None]
    if not known:
        yield Finding("ok", "Argo Workflows works, of a version that its image does not tell")
    elif max(known) < at_least:
        least = ".".join(map(str, at_least))
        text = f"Argo Workflows {'.'.join(map(str, max(known)))} is too old; {least} is needed"
        yield Finding("wrong", text, _INSTALL_ARGO)
    else:
        yield Finding("ok", f"Argo Workflows {'.'.join(map(str, max(known)))}, and its controller works")


def _release(deployment: dict[str, Any]) -> tuple[int, int] | None:
    image = at(deployment, "spec", "template", "spec", "containers", 0, "image")
    found = re.search(r":v(\d+)\.(\d+)", str(image))
    return (int(found[1]), int(found[2])) if found else None


def check_claim(claim: str, namespace: str) -> Iterator[Finding]:
    """Check a PersistentVolumeClaim on which slices and results lie; nothing where it cannot be seen."""
    if shutil.which("kubectl") is None:
        return
    found = kubectl("get", "pvc", claim, "--namespace", namespace, "--output", "json")
    phase = at(found.as_object(), "status", "phase")
    if found.is_missing:
        text = f"there is no PersistentVolumeClaim {claim} in {namespace}, so no pod can start"
        yield Finding("wrong", text, f"kubectl get pvc --namespace {namespace}")
    elif phase == "Bound":
        yield Finding("ok", f"the PersistentVolumeClaim {claim} has a volume")
    elif phase:
        yield Finding(
            "note",
            f"the PersistentVolumeClaim {claim} has no volume: none fits, or it gets one with the first pod",
            f"kubectl describe pvc {claim} --namespace {namespace}",
        )


def check_secrets(secrets: Mapping[str, Mapping[str, str]], namespace: str) -> Iterator[Finding]:
    """Check the Secrets that pods take variables from; nothing where they cannot be seen.

    Args:
        secrets: The key of each variable, by the name of the Secret.
        namespace: Where the pods run.
    """
    if shutil.which("kubectl") is None:
        return
    keys_alone = "go-template={{range $key, $value := .data}}{{$key}} {{end}}"  # no value leaves the cluster
    for name, variables in secrets.items():
        found = kubectl("get", "secret", name, "--namespace", namespace, "--output", keys_alone)
        lacking = sorted(set(variables.values()) - set(found.text.split()))
        if found.is_missing:
            text = f"there is no Secret {name} in {namespace}, so no pod can start"
            yield Finding("wrong", text, f"kubectl get secrets --namespace {namespace}")
        elif found.worked and lacking:
            text = f"the Secret {name} has no {' and no '.join(lacking)}, so no pod can start"
            yield Finding("wrong", text, f"kubectl describe secret {name} --namespace {namespace}")
        elif found.worked:
            yield Finding("ok", f"the Secret {name} has what the pods take from it")


def check_kfp(host: str) -> Iterator[Finding]:
    """Check the API of Kubeflow Pipelines, its client on this machine, and the controller behind it."""
    yield _installed("kfp", "kfp", "submit")
    address = with_scheme(host) + "/apis/v2beta1/healthz"
    forward = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"
    try:
        answer = ask("GET", address, deadline_s=_DEADLINE_S)
        if answer.status < 400:
            json_object(answer.body)
    except AnswerError as error:
        yield Finding("wrong", f"{host} is no Kubeflow Pipelines 2: it answered {error}", forward)
        return
    except Exception as error:
        # Also what a library raises about an address or an answer that no standard allows.
        yield Finding("wrong", f"no Kubeflow Pipelines answers at {host} ({reason_of(error)})", forward)
        return
    if answer.status >= 400:
        yield Finding(
            "wrong", f"{host} is no Kubeflow Pipelines 2 that lets you in (HTTP {answer.status})", forward
        )
        return
    yield Finding("ok", f"Kubeflow Pipelines answers at {host}")
    yield from _check_kubeflow()


def sees_kubeflow() -> bool:
    """Whether kubectl's context shows the controller of a Kubeflow."""
    return shutil.which("kubectl") is not None and _kubeflow_config().worked


def _kubeflow_config() -> Said:
    return kubectl("get", "configmap", _CONFIG_MAP, "--namespace", KUBEFLOW, "--output", "json")


def _check_kubeflow() -> Iterator[Finding]:
    """Check the controller that runs Kubeflow's tasks, where kubectl's cluster has Kubeflow."""
    if shutil.which("kubectl") is None:
        return
    config = _kubeflow_config()
    if not config.worked:
        yield Finding(
            "note",
            "kubectl's context does not show the controller of this Kubeflow: "
            "whether it works, and tries failed programs again, is not known",
            f"kubectl get configmap {_CONFIG_MAP} --namespace {KUBEFLOW}",
        )
        return
    yield from _check_controllers(KUBEFLOW)
    yield from _check_agent()
    policy, expression = _retries(config.as_object().get("data") or {})
    if policy == "Always" and expression == _OF_PODS:
        return
    if policy == "Always":
        tried = "a group of tasks again with all that is in it, so that one failure is tried dozens of times"
    elif policy == _ARGOS_OWN_POLICY:
        tried = "programs that failed again, but no pod that was lost, as with a spot machine"
    else:
        tried = "lost pods again, but no program that failed"
    yield Finding(
        "note",
        f"this Kubeflow tries {tried}, whatever 'retries' says: in the retryStrategy of its controller's "
        f"defaults, retryPolicy is {policy}, which should be Always with the expression {_OF_PODS}",
        f"kubectl edit configmap {_CONFIG_MAP} --namespace {KUBEFLOW}",
    )


def _check_agent() -> Iterator[Finding]:
    """Check the agent that tells Kubeflow's server how runs go; nothing where it cannot be seen."""
    agent = kubectl("get", "deployment", _AGENT, "--namespace", KUBEFLOW, "--output", "json").as_object()
    if at(agent, "metadata", "name") and not at(agent, "status", "availableReplicas"):
        yield Finding(
            "wrong",
            "Kubeflow's persistence agent does not work, so its server hears nothing of how runs go",
            f"kubectl describe deployment {_AGENT} --namespace {KUBEFLOW}",
        )


def _retries(data: dict[str, Any]) -> tuple[str, str]:
    """The policy, and the expression, that a controller gives to retries which name none.

    Args:
        data: Its ConfigMap: a text for each key, or one that holds them all.
    """
    import yaml

    try:
        whole = yaml.safe_load(data.get("config") or "{}")
        defaults = yaml.safe_load(data.get("workflowDefaults") or "{}") or whole.get("workflowDefaults") or {}
        strategy = defaults["spec"]["templateDefaults"]["retryStrategy"]
        return str(strategy.get("retryPolicy") or _ARGOS_OWN_POLICY), str(strategy.get("expression") or "")
    except (yaml.YAMLError, AttributeError, LookupError, TypeError):
        return _ARGOS_OWN_POLICY, ""


def check_vertex() -> Iterator[Finding]:
    """Check that the client of Vertex AI is on this machine."""
    yield _installed("google.cloud.aiplatform", "Vertex AI's client", "vertex")


def _installed(module: str, name: str, extra: str) -> Finding:
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        return Finding("wrong", f"{name} is not installed", install_command("submit", extra))
    return Finding("ok", f"{name} is installed")


def _versions() -> tuple[str, str] | None:
    """The versions of kubectl and of its cluster; None where either is not told."""
    both = kubectl("version", "--output", "json").as_object()
    try:
        return str(both["clientVersion"]["gitVersion"]), str(both["serverVersion"]["gitVersion"])
    except (LookupError, TypeError):
        return None
