"""Sections across the stack, before and after alignment, made of one line per slice.

A stack that lies well shows smooth structures in its XZ and YZ sections; slices that jump show as a jagged
edge. The sections are sampled in one pass over the thumbnails they need, so that the memory is that of one
thumbnail and of the sections themselves, whatever the length of the stack.

Frames: a thumbnail is the slice resized by `thumbnail_scale`; a section's pixels along x or y are those of
the frame it shows, resized by the same scale. Pixel centres at integers, as in `geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from components.report.slice_table import column
from components.shared.documents.plan import Plan
from components.shared.documents.slices import SliceRow
from components.shared.documents.transforms import Transforms
from components.shared.geometry import Matrix, scaled_from_full, transform_points

MAX_ROWS = 1024
"""Most rows of a section. Each is one slice, never a mean: of a longer stack every second, third, ... one."""

Axis = Literal["x", "y"]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A straight line in a frame, along x or y, sampled at the thumbnails' scale."""

    axis: Axis
    across_px: float
    """Position on the other axis, at full resolution."""
    length_px: int
    """Extent along the axis, at full resolution."""
    scale: float

    @property
    def n_samples(self) -> int:
        return max(1, round(self.length_px * self.scale))

    def points_px(self) -> NDArray[np.float64]:
        """The samples in the frame's full-resolution pixels, `[n, 2]`."""
        along = (np.arange(self.n_samples) + 0.5) / self.scale - 0.5
        across = np.full_like(along, self.across_px)
        return np.column_stack([along, across] if self.axis == "x" else [across, along])


@dataclass(frozen=True, slots=True)
class Section:
    """A section under construction: rows run along z, `values` is `[n_rows, n_samples]`."""

    line: Line
    values: Picture
    known: NDArray[np.bool_]
    """False where no slice has a pixel."""

    @classmethod
    def empty(cls, line: Line, n_rows: int) -> Section:
        """A section without any pixel yet."""
        shape = (n_rows, line.n_samples)
        return cls(line, np.zeros(shape, np.uint8), np.zeros(shape, np.bool_))

    def set_row(self, row: int, thumbnail: Picture, frame_from_slice: Matrix) -> None:
        """Sample a slice along the line into a row.

        Args:
            row: Index of the row.
            thumbnail: `[y, x]`, the slice resized by the line's scale.
            frame_from_slice: Transform from the slice to the section's frame, at full resolution.
        """
        slice_from_frame: Matrix = np.linalg.inv(frame_from_slice).astype(np.float64)
        in_slice = transform_points(slice_from_frame, self.line.points_px())
        in_thumbnail = transform_points(scaled_from_full(self.line.scale), in_slice).astype(np.float32)
        x, y = in_thumbnail[:, :1].T, in_thumbnail[:, 1:].T
        height, width = thumbnail.shape
        self.values[row] = cv2.remap(thumbnail, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        self.known[row] = ((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))[0]


def rows_shown(n_slices: int, most: int = MAX_ROWS) -> range:
    """The z indices whose slices are rows of a section: all, or evenly spaced ones.

    Example:
        >>> len(rows_shown(60)), rows_shown(3000).step
        (60, 3)
    """
    return range(0, n_slices, -(-n_slices // most) if n_slices else 1)


def rows_around(z_index: int, n_slices: int, n_rows: int = 128) -> range:
    """Consecutive z indices around one, clipped to the stack.

    Example:
        >>> rows_around(5, 1000), rows_around(990, 1000)
        (range(0, 128), range(872, 1000))
    """
    first = max(0, min(z_index - n_rows // 2, n_slices - n_rows))
    return range(first, min(first + n_rows, n_slices))


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionPair:
    """A section before and after alignment."""

    title: str
    n_slices: int
    """Slices from the first row to the last, those between two rows included."""
    first_z: int
    """Number of the slice of the first row."""
    every: int
    """Slices from a row to the next."""
    before: Section
    after: Section


@dataclass(frozen=True, slots=True)
class _View:
    """A section before and after alignment, and the z indices of its rows."""

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
        plan: Plan of the run.
        transforms: Where the slices lie.
        rows: Rows of `slices.jsonl`; may be empty.
        thumbnails: Called once with the z of the slices that a row shows; gives the z and the picture
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
    pair = SectionPair(
        title=f"{axis.upper()}Z section{where}",
        n_slices=n_slices,
        first_z=transforms.slices[z_indices[0]].z if z_indices else 0,
        every=z_indices.step,
        before=before,
        after=after,
    )
    return _View(z_indices, pair)


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
