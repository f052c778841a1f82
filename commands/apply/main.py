"""`fibstack apply`: what a run has found, used on something else: on points, or on another stack."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

import click

from components.shared.command import StepCommand
from components.shared.errors import ConfigError

_SUFFIXES = (".csv", ".swc")
"""Suffixes of files of points."""


@click.command(
    cls=StepCommand,
    epilog="\b\nExamples:\n  fibstack apply aligned points.csv moved.csv --unit px\n"
    "  fibstack apply aligned neuron.swc neuron-raw.swc --unit nm --to slices\n"
    "  fibstack apply aligned backscatter backscatter-aligned",
)
@click.argument("output")
@click.argument("what", metavar="POINTS|FOLDER")
@click.argument("new")
@click.option(
    "--unit",
    type=click.Choice(["px", "nm", "um"]),
    help="Of POINTS, the unit of x, y and z in both files, which must be given; px are pixels of the slices "
    "and voxels of the volume, at full resolution.",
)
@click.option(
    "--to",
    "frame",
    type=click.Choice(["volume", "slices"]),
    default="volume",
    show_default=True,
    help="Of POINTS. volume: from the raw slices to the volume; slices: from the volume back to the raw "
    "slices.",
)
@click.option(
    "--pixel-centers",
    "centers",
    type=click.Choice(["integers", "halves"]),
    default="integers",
    show_default=True,
    help="Of POINTS, where the middle of the first pixel lies: at 0, as in NumPy and napari, or at 0.5, as "
    "in neuroglancer and Fiji.",
)
@click.option("--image", help="Of FOLDER, the name pattern of its slices.  [default: as their names tell]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of FOLDER, a key to change, such as clip_limit=0; repeatable.  [default: as in OUTPUT]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Of FOLDER, most processes at a time.  [default: number of cores]",
)
def main(
    output: str,
    what: str,
    new: str,
    unit: Literal["px", "nm", "um"] | None,
    frame: Literal["volume", "slices"],
    centers: Literal["integers", "halves"],
    image: str | None,
    settings: tuple[str, ...],
    jobs: int | None,
) -> None:
    """Move points, or place another stack, as the slices of OUTPUT were moved.

    POINTS is a table that ends in .csv, whose first line names x, y, and z or slice, or a traced neuron that
    ends in .swc. NEW gets the same lines with other places; all else in them stays as it is, but for the
    radii of a neuron, which grow as the slices do. The map is the one that the volume was written with, with
    shifts of rows and soft warps.

    x and y count from the corner of the whole picture in a raw slice, and from the first voxel in the volume,
    in a part that 'fibstack export' has cut out from that of the whole volume.
    z counts the numbers in the files' names in both: slice 45 lies at 45, or at 45 times the size of a voxel.
    A column 'slice' has that number, whatever the unit. No point is dropped. Where one lies outside, or its
    slice is missing or not shown, the column fibstack_note says so (in SWC a comment at the end), and it is
    counted here.

    FOLDER holds the same slices as another detector shows them, of the same sizes and numbers; NEW becomes
    the output of a run of them. They are not matched: each is placed, straightened and replaced as that of
    OUTPUT is. What follows from grey levels is their own: contrast, flicker, streaks. A run that was stopped
    goes on with the same command.
    """
    if PurePosixPath(what).suffix.lower() not in _SUFFIXES and not Path(what).is_file():
        if unit is not None:
            raise ConfigError(
                f"--unit must be given with points, in a file that ends in .csv or .swc; got {what}. Leave "
                f"--unit out, or name that file."
            )
        from commands.apply.second_stack import place_stack  # here, since the help needs no storage

        place_stack(output, what, new, image, settings, jobs)
        return
    if unit is None:
        raise ConfigError(
            "the unit of the points must be given, since their file tells none; got no --unit. Add "
            "--unit px, --unit nm or --unit um."
        )
    from commands.apply.points import move_points  # here, since the help needs no NumPy

    move_points(output, what, new, frame, unit, centers)


if __name__ == "__main__":
    main()
