"""The `report` step as KFP sees it."""

from kfp import dsl

from components.shared.images import image_name


@dsl.container_component
def report(output: str, status: dsl.PipelineTaskFinalStatus) -> dsl.ContainerSpec:
    """Prove that the volume is complete, publish it, and say how the run went; also after a failure.

    Args:
        output: gs:// URI or folder that receives the results.
        status: How the other steps ended, filled in by the pipeline.
    """
    return dsl.ContainerSpec(
        image=image_name("report"),
        command=["python", "-m", "components.report.main"],
        args=["--output", output, "--status", status],
    )
