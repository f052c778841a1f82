"""Chooses the sections of the report and fills them in one pass over the thumbnails they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.report.page.reslice import Axis, Line, Picture, Section, rows_around, rows_shown
from components.report.slice_table import column
from components.shared.documents.plan import Plan
from components.shared.documents.slices import SliceRow
from components.shared.documents.transforms import Transforms
from components.shared.geometry import Matrix


@dataclass(frozen=True, slots=True)
class SectionPair:
    """The same section before and after alignment."""

    title: str
    n_slices: int
    """From the first row to the last."""
    before: Section
    after: Section


@dataclass(frozen=True, slots=True)
class _View:
    """A section before and after, and the z indices of its rows."""

    z_indices: range
    pair: SectionPair


def make_sections(
    plan: Plan,
    transforms: Transforms,
    rows: Sequence[SliceRow],
    thumbnails: Callable[[frozenset[int]], Iterable[tuple[int, Picture]]],
) -> list[SectionPair]:
    """XZ and YZ sections through the stack, and closer ones at its worst slice where these leave some out.

    Args:
        plan: the plan of the run.
        transforms: where the slices lie.
        rows: the slice table; may be empty.
        thumbnails: called once with the z of the slices that a row shows; gives the z and the picture
            `[y, x]`, at the plan's thumbnail scale, of those that are there, in any order.
    """
    n_slices = len(transforms.slices)
    whole = rows_shown(n_slices)
    step = "" if whole.step == 1 else f", every {whole.step}th slice"
    views = [_view(plan, transforms, axis, whole, step) for axis in ("x", "y")]
    if whole.step > 1:
        closer = rows_around(_worst_index(rows), n_slices)
        first, last = transforms.slices[closer[0]].z, transforms.slices[closer[-1]].z
        views += [_view(plan, transforms, axis, closer, f", z {first} to {last}") for axis in ("x", "y")]
    needed = frozenset(
        z
        for index in {index for view in views for index in view.z_indices}
        for z in (transforms.slices[index].z, transforms.slices[index].source_z)
    )
    _fill(views, transforms, thumbnails(needed))
    return [view.pair for view in views]


def _view(plan: Plan, transforms: Transforms, axis: Axis, z_indices: range, where: str) -> _View:
    """Empty sections through the slices' common middle."""
    width, height = plan.largest_xy
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    matrices = np.array([s.matrix for s in transforms.slices])
    center_in_volume = np.median(matrices[:, :2, :2] @ center + matrices[:, :2, 2], axis=0)
    along, across = (0, 1) if axis == "x" else (1, 0)

    def empty(middle: NDArray[np.float64], size_xy: tuple[int, int]) -> Section:
        line = Line(
            axis=axis,
            across_px=float(middle[across]),
            length_px=size_xy[along],
            scale=plan.thumbnail_scale,
        )
        return Section.empty(line, len(z_indices))

    before = empty(center, (width, height))
    n_slices = z_indices[-1] - z_indices[0] + 1 if z_indices else 0
    after = empty(center_in_volume, transforms.volume_size_xyz[:2])
    return _View(z_indices, SectionPair(f"{axis.upper()}Z section{where}", n_slices, before, after))


def _worst_index(rows: Sequence[SliceRow]) -> int:
    """Index of the slice that correlates least with its neighbour."""
    ncc = column(rows, "ncc_after")
    return int(np.nanargmin(ncc)) if np.isfinite(ncc).any() else 0


def _fill(
    views: Sequence[_View],
    transforms: Transforms,
    thumbnails: Iterable[tuple[int, Picture]],
) -> None:
    """Sample each thumbnail into the rows that show its slice, one thumbnail at a time."""
    matrices: dict[int, Matrix] = {s.z: np.array(s.matrix) for s in transforms.slices}
    index_of = {s.z: index for index, s in enumerate(transforms.slices)}
    shown_at: dict[int, list[int]] = {}
    for index, s in enumerate(transforms.slices):
        shown_at.setdefault(s.source_z, []).append(index)
    as_it_lies = np.eye(3)
    for z, thumbnail in thumbnails:
        for view in views:
            if index_of.get(z, -1) in view.z_indices:
                view.pair.before.set_row(view.z_indices.index(index_of[z]), thumbnail, as_it_lies)
            for index in shown_at.get(z, ()):
                if index in view.z_indices:
                    view.pair.after.set_row(view.z_indices.index(index), thumbnail, matrices[z])
