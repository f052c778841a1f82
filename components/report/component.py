"""The `report` step as KFP sees it."""

from kfp import dsl

from components.shared.container_images import image_name


@dsl.container_component
def report(
    output: str,
    email: str,
    webhook: str,
    pods: str,
    status: dsl.PipelineTaskFinalStatus,
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],  # noqa: ARG001 - it has no file, its figures go another way
) -> dsl.ContainerSpec:
    """Prove that the volume is complete, publish it, and say how the run went; also after a failure.

    Args:
        output: gs:// URI or folder that receives the results.
        email: Address that is told when the run ends.
        webhook: http(s) address that gets a JSON message when the run ends.
        pods: JSON of each step's image and machine.
        status: How the other steps ended, filled in by the pipeline.
        page: The report.
        summary: The verdict, and where to find the rest.
        metrics: Figures to compare runs by.
    """
    return dsl.ContainerSpec(
        image=image_name("report"),
        command=["python", "-m", "components.report.main"],
        args=[
            *("--output", output, "--email", email, "--webhook", webhook, "--pods", pods),
            *("--status", status),
            *("--page-out", page.path, "--markdown-out", summary.path),
            *("--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER),
        ],
    )
