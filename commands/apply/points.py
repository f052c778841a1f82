"""Moves the points of a file as the slices of a run were moved, or back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import click
import numpy as np
from numpy.typing import NDArray

from commands.apply.point_files import NOTE, NewPlaces, PointFile, point_file
from components.shared.documents.plan import Plan
from components.shared.errors import ConfigError, UserError
from components.shared.pictures.stack_map import Frame, StackMap
from components.shared.storage.registry import open_store
from components.shared.text import count, product
from components.shared.work.completeness import check_blocks
from components.shared.work.verification import read_written_in
from components.shared.work.versions import blocks_as_written

Unit = Literal["px", "nm", "um"]
Centers = Literal["integers", "halves"]
_NM = {"nm": 1.0, "um": 1000.0}
_DIGITS = {"px": 4, "nm": 3, "um": 6}
"""Decimals that are written in a unit: less than a thousandth of a pixel."""
_NOTES_TOLD = 5


def move_points(
    output: str, points: str, new_points: str, frame: Frame, unit: Unit, centers: Centers
) -> None:
    """Move the points of a file, and say how many, by which convention, and which lie nowhere.

    Args:
        output: A run or an export.
        points: The file, a path or URI.
        new_points: The file that is written.
        frame: The frame that they are moved to.
        unit: Unit of the coordinates in both files.
        centers: Where the middle of the first pixel lies.

    Raises:
        UserError: the points cannot be read, or the new file is there.
        ConfigError: the files are of different kinds.
    """
    written = read_written_in(output)
    if check_blocks(blocks_as_written(written)):
        click.echo(
            f"note: the volume in {output} is not complete; points move as its transforms have it now.",
            err=True,
        )
    is_evened = any(entry.shown_z is not None for entry in written.transforms.slices)
    if is_evened and len(written.volume.arrays) > 1:
        click.echo(
            "note: steps along z are evened in the volume that is looked at, and so are these points; the "
            "volume of raw grey levels keeps each slice at its own number.",
            err=True,
        )
    (folder, name), (new_folder, new_name) = map(_split, (points, new_points))
    if new_name.lower()[-4:] != name.lower()[-4:]:
        raise ConfigError(
            f"the moved points must go to a file of the same kind; got {points} and {new_points}. Change the "
            f"second name."
        )
    target = open_store(new_folder)
    if target.stat(new_name) is not None:
        raise UserError(
            f"the moved points must go to a new file; got {new_points}, which is there. Give another name."
        )
    file = point_file(name, open_store(folder).read(name))
    stack = StackMap.of(written.plan, written.transforms)
    size, middle = _voxel(written.plan, file, unit, centers)
    moved = stack.moved(file.coordinates() / size - middle, frame)
    new = NewPlaces(
        xyz=(moved.xyz + middle) * size,
        digits=_DIGITS[unit],
        magnified=moved.magnified,
        note=moved.note.tolist(),
        notes=moved.notes,
    )
    target.write(new_name, "".join(file.lines(new)).encode("utf-8", "surrogateescape"))
    way = "from the raw slices to the volume" if frame == "volume" else "from the volume to the raw slices"
    click.echo(f"{count(len(moved.xyz), 'point')} moved {way}: {new_points}")
    click.echo(_convention(written.plan, unit, centers))
    for sentence in _told(moved.note, moved.notes):
        click.echo(f"note: {sentence}", err=True)


def _split(location: str) -> tuple[str, str]:
    """The folder of a file, and its name."""
    folder, slash, name = location.rpartition("/")
    return folder or slash or ".", name


def _voxel(
    plan: Plan, file: PointFile, unit: Unit, centers: Centers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[3] the size of a voxel in the file's numbers, and [3] the middle of the first in voxels."""
    size = np.ones(3) if unit == "px" else np.array(plan.resolution_nm) / _NM[unit]
    middle = np.full(3, 0.5 if centers == "halves" else 0.0)
    if file.z_counts_slices:
        size[2], middle[2] = 1, 0
    return size, middle


def _convention(plan: Plan, unit: Unit, centers: Centers) -> str:
    """The sentence on how places were read and written."""
    of_voxel = f", {product(plan.resolution_nm)} nm a voxel ({plan.voxel.source})" if unit != "px" else ""
    middle = "0" if centers == "integers" else "0.5"
    return f"Places are in {unit}{of_voxel}; the middle of the first pixel lies at {middle}."


def _told(note: NDArray[np.int32], notes: Sequence[str]) -> list[str]:
    """Sentences on the points that do not lie at ordinary places, those on most points first."""
    n_points = np.bincount(note, minlength=len(notes)).tolist()
    told = sorted(zip(n_points[1:], notes[1:], strict=True), key=lambda of_note: -of_note[0])
    sentences = [f"{count(n, 'point')}: {text}" for n, text in told[:_NOTES_TOLD]]
    if rest := told[_NOTES_TOLD:]:
        sentences.append(f"{count(sum(n for n, _ in rest), 'point')} more: see {NOTE} in the file")
    return sentences
