"""The `polish` step as KFP sees it."""

from kfp import dsl

from components.shared.steps import image_name


@dsl.container_component
def polish(process_uri: str, chunk: str) -> dsl.ContainerSpec:
    """Write a colour for each chunk.

    Args:
        process_uri: Where the records of the run lie.
        chunk: Range of slices, such as 0-15.
    """
    return dsl.ContainerSpec(
        image=image_name("polish"),
        command=["python", "-m", "components.polish.main"],
        args=["--process-uri", process_uri, "--chunk", chunk],
    )
