"""The pipeline: plan -> align -> compose -> tile -> pyramid, and report whatever happens."""

import inspect
from collections.abc import Mapping
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.pipeline_channel import PipelineChannel

from components.align.component import align
from components.compose.component import compose
from components.plan.component import plan
from components.pyramid.component import pyramid
from components.report.component import report
from components.shared.documents import notification
from components.shared.documents.config import described, parameters
from components.shared.steps import MEMORY_OUTPUTS, STEPS, STUB, STUB_DESCRIPTION, Step
from components.tile.component import tile
from pipeline.settings import Settings, pod_labels

COMPONENTS: Mapping[str, Any] = {
    "plan": plan,
    "align": align,
    "compose": compose,
    "tile": tile,
    "pyramid": pyramid,
    "report": report,
}
"""The KFP component of each step, by name."""
_NAME_OF_STUB = inspect.Parameter(STUB, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str, default="")


def align_stack(settings: Settings, *, on_kubernetes: bool = True) -> BaseComponent:
    """The pipeline with its settings fixed; its parameters are the keys of `RunConfig`, and a stub's name.

    Args:
        settings: What is fixed when the pipeline is compiled.
        on_kubernetes: Say where pods run and how long, which KFP takes and Vertex AI refuses.
    """
    taken = inspect.Signature([*parameters(), _NAME_OF_STUB])

    def pipeline(*channels: PipelineChannel) -> None:
        values = dict(zip(taken.parameters, channels, strict=True))
        values |= {"fan": settings.fan, "pods": settings.pods}

        def task_of(step: Step, **others: object) -> dsl.PipelineTask:
            """A task of a step: its inputs are the values of their names."""
            component, known = COMPONENTS[step.name], {**values, **others}
            task = component(**{key: known[key] for key in component.component_spec.inputs if key in known})
            if on_kubernetes:
                _set_pod(task, step.name, settings)
            _set_machine(task, step.name, settings)
            if on_kubernetes and step.name in MEMORY_OUTPUTS:
                _ask_for_memory(task, values[MEMORY_OUTPUTS[step.name]])
            return task

        (last,) = (step for step in STEPS.values() if step.is_last)
        with dsl.ExitHandler(task_of(last)):
            before: dsl.PipelineTask | None = None
            for step in STEPS.values():
                if step.is_last:
                    continue
                for loop in step.loops:
                    with dsl.ParallelFor(
                        values[loop.items], parallelism=settings.step(step.name).parallelism
                    ) as item:
                        task = task_of(step, **{loop.item: item}, **loop.constants)
                        task.after(*([before] if before else []))
                        if loop.title:
                            task.set_display_name(f"{step.name}, {loop.title}")
                    before = task
                if not step.loops:
                    task = task_of(step)
                    before = task.after(*([before] if before else []))
                    values |= task.outputs

    # kfp reads the parameters from the signature, and their descriptions from the docstring.
    pipeline.__signature__ = taken  # type: ignore[attr-defined]
    pipeline.__doc__ = described("Align a stack.", {STUB: STUB_DESCRIPTION})
    return dsl.pipeline(
        name="align-stack",
        display_name="Align a FIB-SEM stack",
        description="Aligns a stack of FIB-SEM slices and writes it as a sharded neuroglancer volume.",
    )(pipeline)


def _set_machine(task: dsl.PipelineTask, step: str, settings: Settings) -> None:
    """Give a task its image, machine and retries; steps know themselves what is done, so no caching."""
    wanted = settings.step(step)
    task.set_container_image(settings.image(step))
    task.set_cpu_request(wanted.cpu).set_cpu_limit(wanted.most_cpu)
    task.set_memory_request(wanted.memory).set_memory_limit(wanted.most_memory)
    task.set_retry(
        wanted.retries,
        backoff_duration=f"{wanted.backoff_s}s",
        backoff_factor=2.0,
        backoff_max_duration=f"{wanted.backoff_max_s}s",
    )
    for name, value in settings.environment.items():
        task.set_env_variable(name, value)
    task.set_caching_options(False)


def _ask_for_memory(task: dsl.PipelineTask, memory: PipelineChannel) -> None:
    """Let a task's pods ask for the memory that `plan` gives out; Vertex AI knows limits alone.

    A loop hands on what is registered; kfp forgets what a machine alone is made of.
    """
    task.register_pipeline_channels([memory])
    task.set_memory_request(memory)


def _set_pod(task: dsl.PipelineTask, step: str, settings: Settings) -> None:
    """Say what of a pod is Kubernetes' own; it lands in a second document beside the IR."""
    wanted = settings.step(step)
    kubernetes.set_timeout(task, wanted.timeout_s)
    kubernetes.set_security_context(task, run_as_non_root=True)
    for key, value in pod_labels(step, wanted, settings.queue).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in wanted.nodes.items():
        kubernetes.add_node_selector(task, key, value)
    for taint in wanted.taints:
        kubernetes.add_toleration(task, taint.key, taint.operator, taint.value or None, taint.effect)
    if settings.volume:
        kubernetes.mount_pvc(task, settings.volume.claim, settings.volume.path)
    for secret, variables in settings.secrets.items():
        for variable, key in variables.items():
            kubernetes.use_secret_as_env(task, secret, {key: variable})
    if step == "report":
        names = {name: name for name in notification.VARIABLES}
        kubernetes.use_secret_as_env(task, notification.SECRET, names, optional=True)
