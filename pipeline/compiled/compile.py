"""Compiles the pipeline to what is submitted; `manifests/` holds the results."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Literal

import yaml
from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from pipeline.align_stack import align_stack
from pipeline.compiled.ir import read_pipeline
from pipeline.compiled.lint import problems
from pipeline.settings import Settings

Target = Literal["kfp", "vertex", "argo"]
MANIFESTS: dict[Target, Path] = {
    "kfp": Path("manifests/align-stack.kfp.yaml"),
    "vertex": Path("manifests/align-stack.vertex.yaml"),
    "argo": Path("manifests/argo/align-stack.yaml"),
}
VERTEX_FAN = 100
"""Upper limit on the items in a loop on Vertex AI, where each is a machine that has to start."""

_ARGO_HEADER = """\
# Made by 'fibstack compile --target argo'. Once for a namespace: kubectl create -f FILE
# For each run, with all parameters that have no value here (all of them: spec.arguments):
#   argo submit --from workflowtemplate/align-stack -p source=gs://BUCKET/raw -p image=img.%05d.png \\
#     -p minz=0 -p maxz=59 -p output=gs://BUCKET/volume
# Pods of a step: kubectl get pods -L fibstack/unit \\
#     -l app.kubernetes.io/component=tile,app.kubernetes.io/instance=RUN
# Most pods of a step at a time, over all runs: kubectl edit configmap align-stack-limits
"""


def compile_target(target: Target, settings: Settings) -> str:
    """The pipeline for one of the services that can run it, the same bytes for the same settings."""
    match target:
        case "kfp":
            return compile_kfp(settings)
        case "vertex":
            return compile_vertex(settings)
        case "argo":
            return compile_argo(settings)


def compile_kfp(settings: Settings) -> str:
    """The pipeline as KFP's IR in YAML, and a second document of what is Kubernetes' own."""
    return compile_pipeline(align_stack(settings))


def compile_vertex(settings: Settings) -> str:
    """The pipeline as KFP's IR alone, since Vertex AI refuses a second document."""
    fan = min(settings.fan, VERTEX_FAN)
    return compile_pipeline(align_stack(settings.model_copy(update={"fan": fan}), on_kubernetes=False))


def compile_argo(settings: Settings) -> str:
    """The pipeline as an Argo WorkflowTemplate, and the ConfigMap of its limits."""
    from pipeline.argo.lowering import lower, to_yaml

    return _ARGO_HEADER + to_yaml(lower(read_pipeline(compile_kfp(settings)), settings))


def compile_pipeline(pipeline: BaseComponent) -> str:
    """Compile a pipeline to IR that passes the lint and does not name the version of kfp that made it.

    Raises:
        ValueError: the compiled pipeline breaks a rule of `pipeline.compiled.lint`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        Compiler().compile(pipeline, str(path))
        text = path.read_text()
    text = re.sub(r"^sdkVersion: .*$", "sdkVersion: ''", text, flags=re.MULTILINE)
    found = problems(next(yaml.safe_load_all(text)))
    if found:
        raise ValueError("the compiled pipeline is broken:\n" + "\n".join(found))
    return text
