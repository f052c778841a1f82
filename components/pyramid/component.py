"""The `pyramid` step as KFP sees it."""

from kfp import dsl

from components.shared.steps import image_name


@dsl.container_component
def pyramid(process_uri: str, level: int, blocks: str) -> dsl.ContainerSpec:
    """Write the shards of some blocks: the given level and the four above it.

    Args:
        process_uri: Where the records of the run lie.
        level: Finest level of the blocks: 0, 5 or 10.
        blocks: Range of blocks, such as 0-3.
    """
    return dsl.ContainerSpec(
        image=image_name("pyramid"),
        command=["python", "-m", "components.pyramid.main"],
        args=["--process-uri", process_uri, "--level", level, "--blocks", blocks],
    )
