"""Checks of a cluster: its service, the pipeline there, and the right to run it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

from commands.doctor.findings import Finding
from components.shared.web import ANSWER_BYTES, AnswerError, ask, json_object, reason_of
from pipeline.submit.runs import CONNECT_TIMEOUT_S

ARGO_AT_LEAST = (3, 6)
"""First release with several semaphores for a template, which limit how many pods a step has at a time."""
_DEADLINE_S = 30
"""Longest that a call of kubectl, or an answer of Kubeflow Pipelines, may take."""
_INSTALL_ARGO = (
    "kubectl create namespace argo; kubectl apply -n argo --server-side "
    "-f https://github.com/argoproj/argo-workflows/releases/download/v4.1.2/install.yaml"
)


def check_argo(namespace: str) -> Iterator[Finding]:
    """Check kubectl, its cluster, Argo Workflows there, the pipeline, and the right to run it."""
    if shutil.which("kubectl") is None:
        yield Finding("wrong", "kubectl is not on the PATH", "gcloud components install kubectl")
        return
    context = _kubectl("config", "current-context")
    if context is None:
        yield Finding(
            "wrong",
            "kubectl has no current context",
            "gcloud container clusters get-credentials NAME --region REGION",
        )
        return
    versions = _versions(_kubectl("version", "--output", "json") or "")
    if versions is None:
        yield Finding(
            "wrong", f"the cluster of kubectl's context {context} does not answer", "kubectl cluster-info"
        )
        return
    yield Finding(
        "ok",
        f"kubectl {versions[0]}, cluster {context}: Kubernetes {versions[1]}",
    )
    yield from _check_controller()
    where = ("--namespace", namespace) if namespace else ()
    flag = "".join(f" {word}" for word in where)
    if _kubectl("get", "workflowtemplate", "align-stack", *where) is None:
        yield Finding(
            "note",
            f"there is no WorkflowTemplate align-stack in {namespace or 'the namespace of the context'}; "
            "with --settings, 'fibstack submit' brings its own",
            "kubectl apply -k manifests/gke/spot",
        )
    else:
        yield Finding("ok", "the WorkflowTemplate align-stack is there")
    if _kubectl("auth", "can-i", "create", "workflows.argoproj.io", *where) is None:
        yield Finding(
            "wrong", "you may not create workflows there", f"kubectl auth can-i --list{flag}"
        )  # fmt: skip
    else:
        yield Finding("ok", "you may create workflows there")


def _check_controller() -> Iterator[Finding]:
    if _kubectl("get", "crd", "workflowtemplates.argoproj.io") is None:
        yield Finding("wrong", "the cluster has no Argo Workflows, or you may not see it", _INSTALL_ARGO)
        return
    images = _kubectl(
        *("get", "deployments", "--all-namespaces", "--field-selector", "metadata.name=workflow-controller"),
        *("--output", "jsonpath={.items[*].spec.template.spec.containers[*].image}"),
    )
    found = re.search(r":v(\d+)\.(\d+)", images or "")
    if found is None:
        yield Finding("note", "Argo Workflows is there; you may not see which version")
        return
    version = int(found[1]), int(found[2])
    text = f"Argo Workflows {version[0]}.{version[1]}"
    if version < ARGO_AT_LEAST:
        yield Finding(
            "wrong", f"{text} is too old; {'.'.join(map(str, ARGO_AT_LEAST))} is needed", _INSTALL_ARGO
        )
    else:
        yield Finding("ok", text)


def check_kfp(host: str) -> Iterator[Finding]:
    """Check the API of Kubeflow Pipelines, and its client on this machine."""
    yield _installed("kfp", "kfp", "submit")
    address = (host if "://" in host else f"http://{host}").rstrip("/") + "/apis/v2beta1/healthz"
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
    else:
        yield Finding("ok", f"Kubeflow Pipelines answers at {host}")


def check_vertex() -> Iterator[Finding]:
    """Check that the client of Vertex AI is on this machine."""
    yield _installed("google.cloud.aiplatform", "Vertex AI's client", "vertex")


def _installed(module: str, name: str, extra: str) -> Finding:
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        return Finding("wrong", f"{name} is not installed", f"pip install 'fibstack[submit,{extra}]'")
    return Finding("ok", f"{name} is installed")


def _kubectl(*words: str) -> str | None:
    """The output of kubectl; None where it fails or does not end. `version` prints before it fails."""
    # A file, since a pipe stays open as long as a program that kubectl started, such as one to log in.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                ["kubectl", f"--request-timeout={CONNECT_TIMEOUT_S}s", *words],
                stdout=output,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=_DEADLINE_S,
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode != 0 and words[0] != "version":
            return None
        output.seek(0)
        return output.read(ANSWER_BYTES).decode(errors="replace").strip()


def _versions(said: str) -> tuple[str, str] | None:
    """The versions of kubectl and of its cluster; None where either is not told."""
    try:
        both = json.loads(said)
        return str(both["clientVersion"]["gitVersion"]), str(both["serverVersion"]["gitVersion"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
