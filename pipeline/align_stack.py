"""The pipeline: plan -> align -> compose -> tile -> pyramid, and report whatever happens."""

from kfp import dsl, kubernetes
from kfp.dsl.base_component import BaseComponent

from components.align.component import align
from components.compose.component import compose
from components.plan.component import plan
from components.pyramid.component import pyramid
from components.report.component import report
from components.shared.documents import notification
from components.shared.documents.config import RunConfig
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

    def pipeline(
        source: str,
        image: str,
        minz: int,
        maxz: int,
        output: str,
        id: str = "",  # noqa: A002 - the key of the configuration
        project: str = "",
        email: str = "",
        webhook: str = "",
        more_channels: list = [],  # type: ignore[type-arg]  # noqa: B006 - read once, when compiled
        crop: list = [],  # type: ignore[type-arg]  # noqa: B006 - read once, when compiled
        invert: bool = False,
        resolution: list = [8.0, 8.0, 8.0],  # type: ignore[type-arg]  # noqa: B006 - read once, when compiled
        downsample_factor: float = 0.0,
        match_size: int = 1280,
        neighbours: int = 4,
        solver: str = "robust",
        skip_align: bool = False,
        allow_gaps: bool = False,
        overrides: str = "",
        trend: str = "hybrid",
        replace_with: str = "nearest",
        max_replaced: int = 3,
        force: bool = False,
        clip_limit: float = 0.02,
        jpeg_quality: int = 80,
        raw_pyramid: bool = False,
        keep_bits: bool = False,
        lossless_encoding: str = "raw",
        ome_zarr: bool = False,
        output_level: int = 0,
        keep_tiles: bool = False,
    ) -> None:
        reported = on("report", report(output=output, email=email, webhook=webhook, pods=settings.pods))
        with dsl.ExitHandler(reported):
            planned = on(
                "plan",
                plan(
                    source=source,
                    image=image,
                    minz=minz,
                    maxz=maxz,
                    output=output,
                    id=id,
                    project=project,
                    email=email,
                    webhook=webhook,
                    more_channels=more_channels,
                    crop=crop,
                    invert=invert,
                    resolution=resolution,
                    downsample_factor=downsample_factor,
                    match_size=match_size,
                    neighbours=neighbours,
                    solver=solver,
                    skip_align=skip_align,
                    allow_gaps=allow_gaps,
                    overrides=overrides,
                    trend=trend,
                    replace_with=replace_with,
                    max_replaced=max_replaced,
                    force=force,
                    clip_limit=clip_limit,
                    jpeg_quality=jpeg_quality,
                    raw_pyramid=raw_pyramid,
                    keep_bits=keep_bits,
                    lossless_encoding=lossless_encoding,
                    ome_zarr=ome_zarr,
                    output_level=output_level,
                    keep_tiles=keep_tiles,
                    fan=settings.fan,
                    pods=settings.pods,
                ),
            )
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

    # kfp takes the description of each parameter from here.
    pipeline.__doc__ = "Align a stack.\n\nArgs:\n" + "\n".join(
        f"    {key}: {field.description}" for key, field in RunConfig.model_fields.items()
    )
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
