"""The map between a raw slice and the plane that shows it: for the pixels of `tile`, and for points.

A place p of the plane shows the slice at a place that follows in three steps::

    matrix      q = slice_from_volume p                 the inverse of transforms.json's `matrix`
    soft warp   q' = q + displacement(q)                linear between nodes, LIMITS.nodes_a_knot to a knot
    rows        p_slice = q' + shift(row of q')         linear between the centres of rows

Beyond the nodes and rows of the slice the nearest count. `bspline.c` computes the same for every pixel, of
the same nodes and shifts (`place` in it). Frames are those of geometry.py: pixel centres at integers, and the
slice begins at the corner of `crop`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.transforms import RowShifts, SliceTransform, WarpField
from components.shared.errors import UserError
from components.shared.geometry import Matrix, Points, transform_points
from components.shared.limits import limit
from components.shared.row_shifts import grid_values, spline_values, unpacked

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceMapLimits:
    """Limits that decide how finely a soft warp is followed, and when a displacement counts as undone."""

    nodes_a_knot: int = limit(
        16,
        unit="nodes from a knot of a soft warp to the next",
        why="between nodes, and along twice as many pixels, a displacement is taken for straight",
        measured_on="test_warp: a displacement of 3 px is met within 0.01 px",
        too_small="displacements are off",
        too_large="time",
    )
    undone_px: float = limit(
        1e-3,
        unit="px that a point still moves in a step",
        why="each step leaves as much of an error as a displacement changes over it, a tenth of it or less",
        measured_on="test_slice_map: points come back within 0.001 px",
        too_small="time",
        too_large="points do not come back to where they were",
    )
    most_steps: int = limit(
        60,
        unit="steps",
        why="a displacement that changes by 0.8 px over a pixel needs 35; those of stacks need less than 10",
        measured_on="test_slice_map",
        too_small="points where a slice is warped strongly stay beside their places",
        too_large="time, where a displacement folds a slice over and no place is right",
    )


LIMITS = SliceMapLimits()


@dataclass(frozen=True, slots=True)
class Nodes:
    """A displacement at places of a picture, between which it is interpolated linearly."""

    displacements_px: Floats
    """[n_y, n_x, 2] how much further along x and y; the first node lies at pixel 0, 0."""
    spacing_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceMap:
    """The map between a raw slice and the plane that shows it, for points."""

    volume_from_slice: Matrix
    size_px: tuple[int, int]
    """Width and height of the slice."""
    rows: RowShifts | None = None
    warp: WarpField | None = None

    @classmethod
    def of(cls, entry: SliceTransform, size_px: tuple[int, int]) -> Self:
        """The map of a slice that is shown.

        Args:
            entry: Its row of transforms.json.
            size_px: Its width and height.
        """
        return cls(
            volume_from_slice=np.array(entry.matrix), size_px=size_px, rows=entry.rows, warp=entry.warp
        )

    def in_slice(self, points_in_volume: Points) -> Points:
        """[n, 2] places in the slice that the volume shows at `points_in_volume`, [n, 2] of its plane."""
        places = transform_points(inverse(self.volume_from_slice), points_in_volume)
        for displacement in self._displacements():
            places = places + displacement(places)
        return places

    def in_volume(self, points_in_slice: Points) -> Points:
        """[n, 2] places in the plane that show the places `points_in_slice`, [n, 2].

        What a displacement has moved is moved back by fixed-point iteration: a place plus its displacement is
        the point, so the place is the point minus the displacement there. Banach's theorem has it converge
        where a displacement changes by less than a pixel from a pixel to the next; elsewhere the slice is
        folded over, and `in_slice` does not lead back.
        """
        places = np.asarray(points_in_slice, np.float64)
        for displacement in reversed(self._displacements()):
            places = _moved_back(places, displacement)
        return transform_points(self.volume_from_slice, places)

    def _displacements(self) -> list[Callable[[Points], Points]]:
        """The functions that move a place of the slice, in this order."""
        width_px, height_px = self.size_px
        found: list[Callable[[Points], Points]] = []
        if self.warp is not None:
            found.append(_warp_at(self.warp, (height_px, width_px)))
        if self.rows is not None:
            shifts_px = shifts_of_rows(self.rows, height_px)
            found.append(lambda places: _linear_along(shifts_px, places[:, 1]))
        return found


def shifts_of_rows(rows: RowShifts, height: int) -> Floats:
    """[y, 2] shift of each row of a slice, along x and y."""
    knots = (np.arange(height) - rows.first_row_px) / rows.knot_px
    shifts: Floats = spline_values(unpacked(rows.shifts, 2), knots).T
    return shifts


def nodes_of(warp: WarpField, shape_yx: tuple[int, ...]) -> Nodes:
    """The soft warp of a slice at places so near each other that it is straight between them."""
    spacing_px = warp.knot_px / LIMITS.nodes_a_knot
    y_px, x_px = (np.arange(0, side - 1 + spacing_px, spacing_px) for side in shape_yx)
    values = _warp_values(warp, *np.meshgrid(x_px, y_px))
    return Nodes(values.T.reshape(len(y_px), len(x_px), 2), spacing_px)


def inverse(matrix: Matrix) -> Matrix:
    """The inverse of an affine matrix, the same bits on every machine; LAPACK's depend on the processor.

    Example:
        >>> inverse(np.array([[0.0, -2.0, 3.0], [2.0, 0.0, 4.0], [0.0, 0.0, 1.0]])).tolist()
        [[0.0, 0.5, -2.0], [-0.5, 0.0, 1.5], [0.0, 0.0, 1.0]]
    """
    (a, b, x), (c, d, y) = ((float(value) for value in row) for row in matrix[:2])
    determinant = a * d - b * c
    if determinant == 0 or not math.isfinite(determinant):
        raise UserError(
            f"the transform of a slice must have an inverse; got {matrix.tolist()} in transforms.json. "
            f"Give the same command again."
        )
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y], [0.0, 0.0, 1.0]])


def _warp_values(warp: WarpField, x_px: NDArray[np.floating], y_px: NDArray[np.floating]) -> Floats:
    """[2, n] displacement along x and y at places of the slice, of any shape with n of them."""
    (first_x, first_y), (n_x, n_y) = warp.first_xy_px, warp.n_xy
    columns, rows = (x_px - first_x) / warp.knot_px, (y_px - first_y) / warp.knot_px
    of_splines = unpacked(warp.displacements, 2).reshape(2, n_y, n_x)
    return grid_values(of_splines, columns.ravel(), rows.ravel())


def _warp_at(warp: WarpField, shape_yx: tuple[int, int]) -> Callable[[Points], Points]:
    """The displacement of a soft warp as `Nodes` have it, from the four nodes around each place alone."""
    spacing_px = warp.knot_px / LIMITS.nodes_a_knot
    n_y, n_x = (len(np.arange(0, side - 1 + spacing_px, spacing_px)) for side in shape_yx)

    def displacement(places: Points) -> Points:
        left, right, beside = _around(places[:, 0] / spacing_px, n_x)
        above, below, under = _around(places[:, 1] / spacing_px, n_y)
        x, y = np.stack([left, right, left, right]), np.stack([above, above, below, below])
        of_nodes = _warp_values(warp, x * spacing_px, y * spacing_px).reshape(2, 4, -1)
        upper = of_nodes[:, 0] + beside * (of_nodes[:, 1] - of_nodes[:, 0])
        lower = of_nodes[:, 2] + beside * (of_nodes[:, 3] - of_nodes[:, 2])
        moved: Points = (upper + under * (lower - upper)).T
        return moved

    return displacement


def _linear_along(values: Floats, places: Floats) -> Floats:
    """[m, k] values at `places`, linear between `values`, [n, k] at 0, 1, ...; beyond them the nearest."""
    before, after, share = _around(places, len(values))
    return values[before] + share[:, np.newaxis] * (values[after] - values[before])


def _around(places: Floats, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """The numbers of n samples on both sides of places, and how far beyond the first of the two they lie."""
    within = np.clip(places, 0, n - 1)
    before = within.astype(np.int64)
    return before, np.minimum(before + 1, n - 1), within - before


def _moved_back(points: Points, displacement: Callable[[Points], Points]) -> Points:
    """Places that a displacement moves to `points`, see `SliceMap.in_volume`."""
    places = points.copy()
    moving = np.arange(len(points))
    for _ in range(LIMITS.most_steps):
        now = points[moving] - displacement(places[moving])
        steps_px = np.abs(now - places[moving]).max(axis=1, initial=0)
        places[moving] = now
        moving = moving[steps_px > LIMITS.undone_px]
        if not moving.size:
            break
    return places
