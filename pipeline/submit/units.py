"""The Workflow of one short pod that counts the units of a run on Argo, where its results lie on a volume."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from components.report.component import UNIT_COUNTS
from components.shared.documents import notification
from components.shared.errors import UserError

LONGEST_S = 300
"""Time that the pod gets, from when it is asked for."""
_STEP = "report"
"""The step whose image, account and machine the pod takes: it only reads what that reads."""
_OF_EVERY_POD = (
    *(
        "serviceAccountName",
        "automountServiceAccountToken",
        "executor",
        "securityContext",
        "imagePullSecrets",
    ),
    *("volumes", "podMetadata", "artifactRepositoryRef"),
    *("nodeSelector", "affinity", "tolerations", "schedulerName", "podPriorityClassName"),
    *("hostNetwork", "dnsPolicy", "dnsConfig", "hostAliases"),
)
"""Fields of a spec that say how pods are; others, such as that the run was stopped, are of the run alone."""
_OF_THE_WHOLE_STEP = ("inputs", "outputs", "activeDeadlineSeconds", "retryStrategy", "synchronization")
_MACHINE = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
_KEPT_S = 600


def units_workflow(run: Mapping[str, Any], output: str) -> dict[str, Any]:
    """The Workflow of the pod, made of what the run's own pods are.

    Args:
        run: The Workflow of the run, as the cluster has it.
        output: Folder of its results on the pods' volume.

    Raises:
        UserError: the run has no report to take it from.
    """
    metadata, status = run["metadata"], run.get("status") or {}
    spec = status.get("storedWorkflowTemplateSpec") or run["spec"]
    found = [t for t in spec.get("templates") or [] if t["name"] == _STEP and "container" in t]
    if not found:
        raise UserError(
            f"the run must have the step '{_STEP}', whose image counts the units; {metadata['name']} has "
            "none, or no controller has taken it up. Look with: fibstack doctor --target argo"
        )
    (report,) = found
    labels = {"app.kubernetes.io/name": "fibstack", "app.kubernetes.io/component": "units"}
    metadata_of_pod = report.get("metadata", {})
    template = {
        **{key: value for key, value in report.items() if key not in _OF_THE_WHOLE_STEP},
        "name": "units",
        "metadata": {**metadata_of_pod, "labels": metadata_of_pod.get("labels", {}) | labels},
        "container": {
            **report["container"],
            "command": [*UNIT_COUNTS, output],
            "envFrom": _without_notification(report["container"].get("envFrom", [])),
            "resources": _MACHINE,
        },
        "podSpecPatch": _without_resources(report.get("podSpecPatch", "{}")),
    }
    return {
        "apiVersion": run.get("apiVersion", "argoproj.io/v1alpha1"),
        "kind": "Workflow",
        "metadata": {"generateName": f"{metadata['name']}-units-", "labels": labels},
        "spec": {
            **{key: value for key, value in spec.items() if key in _OF_EVERY_POD},
            "podSpecPatch": _without_resources(spec.get("podSpecPatch", "{}")),
            "entrypoint": "units",
            "templates": [template],
            "activeDeadlineSeconds": LONGEST_S,
            "ttlStrategy": {"secondsAfterCompletion": _KEPT_S},
            # Else a cluster whose defaults remove pods at once takes the log away before it is read.
            "podGC": {"strategy": "OnPodSuccess", "deleteDelayDuration": f"{_KEPT_S}s"},
        },
    }


def _without_notification(sources: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The sources of variables without the Secret of notification, since this pod tells nobody."""
    return [source for source in sources if source.get("secretRef", {}).get("name") != notification.SECRET]


def _without_resources(patch: str) -> str:
    """The patch of a step's pods without the resources of its program: they grow with retries, and are many.

    Args:
        patch: Of a pod's spec, as JSON or YAML.
    """
    pod = yaml.safe_load(patch) or {}
    containers = [
        {key: value for key, value in container.items() if (container["name"], key) != ("main", "resources")}
        for container in pod.get("containers") or []
    ]
    return json.dumps({**pod, "containers": containers})
