"""The `tile` step as KFP sees it."""

from kfp import dsl

from components.shared.steps import image_name


@dsl.container_component
def tile(process_uri: str, slabs: str) -> dsl.ContainerSpec:
    """Warp and contrast-normalise the slices of some slabs and write them as tiles.

    Args:
        process_uri: Where the records of the run lie.
        slabs: Range of slabs, such as 0-3.
    """
    return dsl.ContainerSpec(
        image=image_name("tile"),
        command=["python", "-m", "components.tile.main"],
        args=["--process-uri", process_uri, "--slabs", slabs],
    )
