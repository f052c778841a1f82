"""The pipeline: plan -> align -> compose -> tile -> pyramid, and report whatever happens."""

import inspect

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
from components.tile.component import tile
from pipeline.settings import SPOT_LABEL, Settings, Step, StepSettings, pod_labels

_LEVELS = {0: "levels 0 to 4", 5: "levels 5 to 9", 10: "levels 10 and above"}


def align_stack(settings: Settings, *, on_kubernetes: bool = True) -> BaseComponent:
    """The pipeline with its settings fixed; its parameters are the fields of `RunConfig`.

    Args:
        settings: What is fixed when the pipeline is compiled.
        on_kubernetes: Say where pods run and how long, which KFP takes and Vertex AI refuses.
    """

    def on(step: Step, task: dsl.PipelineTask) -> dsl.PipelineTask:
        """Give a task its image, machine and retries; steps know themselves what is done, so no caching."""
        wanted = settings.step(step)
        if on_kubernetes:
            _set_pod(task, step, wanted)
        task.set_container_image(settings.image(step))
        task.set_cpu_request(wanted.cpu).set_cpu_limit(wanted.most_cpu)
        task.set_memory_request(wanted.memory).set_memory_limit(wanted.most_memory)
        task.set_retry(
            wanted.retries,
            backoff_duration=f"{wanted.backoff_s}s",
            backoff_factor=2.0,
            backoff_max_duration=f"{wanted.backoff_max_s}s",
        )
        return task.set_caching_options(False)

    def pipeline(*channels: PipelineChannel) -> None:
        keys = dict(zip((parameter.name for parameter in parameters()), channels, strict=True))
        reported = on(
            "report", report(**{key: keys[key] for key in ("output", "email", "webhook")}, pods=settings.pods)
        )
        with dsl.ExitHandler(reported):
            planned = on("plan", plan(**keys, fan=settings.fan, pods=settings.pods))
            process_uri = planned.outputs["process_uri"]

            with dsl.ParallelFor(planned.outputs["chunks"], parallelism=settings.align.parallelism) as chunk:
                aligned = on("align", align(process_uri=process_uri, chunk=chunk))

            composed = on("compose", compose(process_uri=process_uri)).after(aligned)

            with dsl.ParallelFor(composed.outputs["slabs"], parallelism=settings.tile.parallelism) as slabs:
                tiled = on("tile", tile(process_uri=process_uri, slabs=slabs))

            # Each pass reads what the one before it left behind; a small volume's later loops are empty.
            before = tiled
            for level, blocks_out in ((0, "blocks"), (5, "coarse_blocks"), (10, "top_blocks")):
                with dsl.ParallelFor(
                    composed.outputs[blocks_out], parallelism=settings.pyramid.parallelism
                ) as blocks:
                    written = on("pyramid", pyramid(process_uri=process_uri, level=level, blocks=blocks))
                    written.after(before).set_display_name(f"pyramid, {_LEVELS[level]}")
                before = written

    # kfp reads the parameters from the signature, and their descriptions from the docstring.
    pipeline.__signature__ = inspect.Signature(parameters())  # type: ignore[attr-defined]
    pipeline.__doc__ = described("Align a stack.")
    return dsl.pipeline(
        name="align-stack",
        display_name="Align a FIB-SEM stack",
        description="Aligns a stack of FIB-SEM slices and writes it as a sharded neuroglancer volume.",
    )(pipeline)


def _set_pod(task: dsl.PipelineTask, step: Step, wanted: StepSettings) -> None:
    """Say what of a pod is Kubernetes' own; it lands in a second document beside the IR."""
    kubernetes.set_timeout(task, wanted.timeout_s)
    kubernetes.set_security_context(task, run_as_non_root=True)
    for key, value in pod_labels(step, wanted).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in wanted.nodes.items():
        kubernetes.add_node_selector(task, key, value)
    if step == "report":
        names = {name: name for name in notification.VARIABLES}
        kubernetes.use_secret_as_env(task, notification.SECRET, names, optional=True)
    if wanted.spot:
        kubernetes.add_toleration(task, SPOT_LABEL, "Equal", "true", "NoSchedule")
