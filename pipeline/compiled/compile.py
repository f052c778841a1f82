"""Compiles the pipeline to what is submitted; `manifests/` holds the results."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

import yaml
from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from pipeline.align_stack import align_stack
from pipeline.compiled.ir import read_pipeline, step_of
from pipeline.compiled.lint import problems
from pipeline.settings import Settings, Target

MANIFESTS: dict[Target, Path] = {
    "kfp": Path("manifests/align-stack.kfp.yaml"),
    "vertex": Path("manifests/align-stack.vertex.yaml"),
    "argo": Path("manifests/argo/align-stack.yaml"),
}
VERTEX_WINDOW_S = 3600
"""Longest time from the start of a task's first try in which Vertex AI tries again."""
KFP_PLAN_RETRIES = 1
"""Most retries of `plan` on KFP, which tries again after bad input too, since it loses exit codes."""

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


def compile_ir(settings: Settings) -> str:
    """The pipeline as KFP's IR, for this machine and for Argo, which know a longest pause between tries.

    It names no environment variables: programs here have this machine's, and Argo's pods get theirs from the
    settings.
    """
    return compile_pipeline(align_stack(settings.model_copy(update={"environment": {}})))


def compile_kfp(settings: Settings) -> str:
    """The pipeline as KFP's IR in YAML, and a second document of what is Kubernetes' own."""
    plan = settings.step("plan")
    few = plan.model_copy(update={"retries": min(plan.retries, KFP_PLAN_RETRIES)})
    known = settings.model_copy(update={"fan": settings.fan_on("kfp"), "plan": few})
    pipeline = align_stack(known)
    _set_windows_of_tries(pipeline, known)
    return compile_pipeline(pipeline)


def compile_kfp_objects(settings: Settings) -> str:
    """The pipeline as the Kubernetes objects `Pipeline` and `PipelineVersion`, which KFP 2.14 and newer read.

    KFP refuses to change a version, so its name ends in a hash of what it holds.
    """
    text = compile_kfp(settings)
    ir, platform = yaml.safe_load_all(text)
    info = ir["pipelineInfo"]
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    api, about = "pipelines.kubeflow.org/v2beta1", {"description": info["description"]}
    pipeline = {
        "apiVersion": api,
        "kind": "Pipeline",
        "metadata": {"name": info["name"]},
        "spec": {"displayName": info["displayName"], **about},
    }
    version = {
        "apiVersion": api,
        "kind": "PipelineVersion",
        "metadata": {"name": f"{info['name']}-{digest}"},
        "spec": {
            "displayName": f"{settings.tag} {digest}",
            **about,
            "pipelineName": info["name"],
            "pipelineSpec": ir,
            "platformSpec": platform,
        },
    }
    return yaml.safe_dump_all([pipeline, version], sort_keys=False, width=110, allow_unicode=True)


def compile_vertex(settings: Settings) -> str:
    """The pipeline as KFP's IR alone, since Vertex AI refuses a second document."""
    known = settings.model_copy(update={"fan": settings.fan_on("vertex")})
    pipeline = align_stack(known, on_kubernetes=False)
    _set_windows_of_tries(pipeline, known, most_s=VERTEX_WINDOW_S)
    return compile_pipeline(pipeline)


def compile_argo(settings: Settings) -> str:
    """The pipeline as an Argo WorkflowTemplate, and the ConfigMap of its limits."""
    from pipeline.argo.lowering import lower, to_yaml

    return _ARGO_HEADER + to_yaml(lower(read_pipeline(compile_ir(settings)), settings))


def _set_windows_of_tries(pipeline: BaseComponent, settings: Settings, most_s: int | None = None) -> None:
    """Give each task time for all its tries.

    What the IR calls `backoffMaxDuration` is no pause on KFP and Vertex AI: it begins with the first try, and
    when it is over, a try that runs is killed and none begins. It is set in the finished IR, since kfp cuts
    it to an hour.

    Args:
        pipeline: The pipeline, which is changed.
        settings: The settings that it was made with.
        most_s: Upper limit on the time; None for no limit.
    """
    spec = pipeline.pipeline_spec
    for dag in (spec.root.dag, *(component.dag for component in spec.components.values())):
        for name, task in dag.tasks.items():
            if not task.HasField("retry_policy"):
                continue
            machine, policy = settings.step(step_of(name)), task.retry_policy
            pause_s, factor = machine.uncapped_pauses
            pauses_s = sum(pause_s * factor**retry for retry in range(machine.retries))
            window_s = (machine.retries + 1) * machine.timeout_s + pauses_s
            policy.backoff_duration.seconds, policy.backoff_factor = pause_s, factor
            policy.backoff_max_duration.seconds = window_s if most_s is None else min(window_s, most_s)


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
