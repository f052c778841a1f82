"""The `align` step as KFP sees it."""

from kfp import dsl

from components.shared.steps import image_name


@dsl.container_component
def align(process_uri: str, chunk: str) -> dsl.ContainerSpec:
    """Match the slices of one chunk with the slices that follow each of them.

    Args:
        process_uri: Where the records of the run lie.
        chunk: Range of slices, such as 0-15.
    """
    return dsl.ContainerSpec(
        image=image_name("align"),
        command=["python", "-m", "components.align.main"],
        args=["--process-uri", process_uri, "--chunk", chunk],
    )
