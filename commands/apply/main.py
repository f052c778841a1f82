"""`fibstack apply`: what a run has found, used on something else: on points."""

from __future__ import annotations

from typing import Literal

import click

from components.shared.command import StepCommand
from components.shared.errors import ConfigError


@click.command(
    cls=StepCommand,
    epilog="\b\nExamples:\n  fibstack apply aligned points.csv moved.csv --unit px\n"
    "  fibstack apply aligned neuron.swc neuron-raw.swc --unit nm --to slices",
)
@click.argument("output")
@click.argument("points")
@click.argument("new_points")
@click.option(
    "--unit",
    type=click.Choice(["px", "nm", "um"]),
    help="Unit of x, y and z in both files, which must be given; px are pixels of the slices and voxels of "
    "the volume, at full resolution.",
)
@click.option(
    "--to",
    "frame",
    type=click.Choice(["volume", "slices"]),
    default="volume",
    show_default=True,
    help="volume: from the raw slices to the volume; slices: from the volume back to the raw slices.",
)
@click.option(
    "--pixel-centers",
    "centers",
    type=click.Choice(["integers", "halves"]),
    default="integers",
    show_default=True,
    help="Where the middle of the first pixel lies: at 0, as in NumPy and napari, or at 0.5, as in "
    "neuroglancer and Fiji.",
)
def main(
    output: str,
    points: str,
    new_points: str,
    unit: Literal["px", "nm", "um"] | None,
    frame: Literal["volume", "slices"],
    centers: Literal["integers", "halves"],
) -> None:
    """Move points from the raw slices to the volume in OUTPUT, or back, as its slices were moved.

    POINTS is a table that ends in .csv, whose first line names x, y, and z or slice, or a traced neuron that
    ends in .swc. NEW_POINTS gets the same lines with other places; all else in them stays as it is, but for
    the radii of a neuron, which grow as the slices do. The map is the one that the volume was written with,
    with shifts of rows and soft warps.

    x and y count from the corner of the whole picture in a raw slice, and from the first voxel in the volume,
    in a part that 'fibstack export' has cut out from that of the whole volume.
    z counts the numbers in the files' names in both: slice 45 lies at 45, or at 45 times the size of a voxel.
    A column 'slice' has that number, whatever the unit.

    No point is dropped. Where one lies outside, or its slice is missing or not shown, the column
    fibstack_note says so (in SWC a comment at the end), and it is counted here.
    """
    if unit is None:
        raise ConfigError(
            "the unit of the points must be given, since their file tells none; got no --unit. Add "
            "--unit px, --unit nm or --unit um."
        )
    from commands.apply.points import move_points  # here, since the help needs no NumPy

    move_points(output, points, new_points, frame, unit, centers)


if __name__ == "__main__":
    main()
