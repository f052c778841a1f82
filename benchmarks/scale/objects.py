"""Bytes of what the services keep of a run: parameters, and on Argo the workflow object with its status."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from components.plan.estimate import StepEstimate
from components.shared.documents.config import RunConfig
from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings

LARGEST_PARAMETER_BYTES = 256 * 1024
"""Argo: of an output of a task (github.com/argoproj/argo-workflows/issues/765)."""
LARGEST_OBJECT_BYTES = 2**20
"""Kubernetes: of an object, which etcd keeps."""
LARGEST_RUN_PARAMETERS_BYTES = 10_000
"""Kubeflow: of all parameters of a run together."""

Loops = Mapping[str, Sequence[str]]
"""The items of each loop, by the name of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSizes:
    """What counts against the services' limits."""

    parameter_bytes: int
    """The largest: the items of a loop."""
    run_parameters_bytes: int
    template_bytes: int
    """The WorkflowTemplate as it is submitted."""
    object_bytes: int
    """The workflow at its end: its specification twice, as Argo stores it, and its status."""
    status_bytes: int
    """Its nodes, compressed as Argo does."""


def object_sizes(config: RunConfig, steps: Sequence[StepEstimate], settings: Settings) -> ObjectSizes:
    """The sizes for a run in which nothing is done yet."""
    loops = {step.title: step.items for step in steps if step.items}
    _, template = yaml.safe_load_all(compile_argo(settings))
    template_bytes = len(json.dumps(template))
    status_bytes = len(base64.b64encode(gzip.compress(json.dumps(status_nodes(loops)).encode(), mtime=0)))
    return ObjectSizes(
        parameter_bytes=max(len(json.dumps(items)) for items in loops.values()),
        run_parameters_bytes=len(config.model_dump_json()),
        template_bytes=template_bytes,
        object_bytes=2 * template_bytes + status_bytes,
        status_bytes=status_bytes,
    )


def status_nodes(loops: Loops) -> dict[str, dict[str, Any]]:
    """The status of a run as the controller keeps it: a node of each pod and one of its retries."""
    number = random.Random(0).randrange  # noqa: S311 - names that do not compress
    found = {}
    for step, items in loops.items():
        for index, item in enumerate(items):
            retries, pod = (f"align-stack-x7k2p-{number(2**32)}" for _ in range(2))
            name = f"align-stack-x7k2p.{step}({index}:{item})"
            both = {
                "boundaryID": "align-stack-x7k2p-3012345678",
                "phase": "Succeeded",
                "progress": "1/1",
                "startedAt": "2026-11-22T17:00:00Z",
                "finishedAt": f"2026-11-22T17:{number(60):02}:{number(60):02}Z",
                "resourcesDuration": {"cpu": number(3000), "memory": number(9000)},
                "templateName": step,
                "templateScope": "local/align-stack",
                "inputs": {
                    "parameters": [
                        {"name": "process_uri", "value": "gs://bucket/volume/process"},
                        {"name": "unit", "value": item},
                    ]
                },
                "outputs": {"exitCode": "0"},
            }
            found[retries] = {"id": retries, "name": name, "type": "Retry", "children": [pod], **both}
            host = f"gke-fibstack-spot-{number(2**48):012x}"
            found[pod] = {"id": pod, "name": f"{name}(0)", "type": "Pod", "hostNodeName": host, **both}
    return found
