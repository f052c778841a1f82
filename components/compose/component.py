"""The `compose` step as KFP sees it."""

from kfp import dsl

from components.shared.steps import image_name


@dsl.container_component
def compose(
    process_uri: str,
    slabs: dsl.OutputPath(list),  # type: ignore[valid-type]
    blocks: dsl.OutputPath(list),  # type: ignore[valid-type]
    coarse_blocks: dsl.OutputPath(list),  # type: ignore[valid-type]
    top_blocks: dsl.OutputPath(list),  # type: ignore[valid-type]
) -> dsl.ContainerSpec:
    """Solve for the transform of every slice and judge the result before the costly steps.

    Args:
        process_uri: Where the records of the run lie.
        slabs: Ranges of slabs whose tiles are still to be written.
        blocks: Ranges of blocks still to be written, levels 0 to 4.
        coarse_blocks: Ranges of blocks still to be written, levels 5 to 9.
        top_blocks: Ranges of blocks still to be written, levels 10 and above.
    """
    return dsl.ContainerSpec(
        image=image_name("compose"),
        command=["python", "-m", "components.compose.main"],
        args=[
            *("--process-uri", process_uri),
            *("--slabs-out", slabs),
            *("--blocks-out", blocks),
            *("--coarse-blocks-out", coarse_blocks),
            *("--top-blocks-out", top_blocks),
        ],
    )
