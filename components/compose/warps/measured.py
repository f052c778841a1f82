"""Displacements as all pairs tell them, at points of the volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from components.compose.rows.held_out import Waves
from components.compose.rows.measured import N_HALVES, kept_records, left_over
from components.compose.solve.pairs import Flags, Floats, Integers, Slices, Solution
from components.compose.solve.problem import SolveProblem
from components.shared.documents.align import PairRecord
from components.shared.documents.transforms import RowShifts, WarpField
from components.shared.row_shifts import SUPPORT, grid_weights, spline_values, spline_weights, unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpPairs:
    """The pairs whose slices are good and tell displacements, in whole pictures at full resolution."""

    slot: Integers
    neighbour: Integers
    left_over: Floats
    """[m, 3, 3] slice from slice: what the solution leaves of each pair's transform."""
    coefficients: Waves
    """[m, 4, n_y, n_x] of splines, in px: x and y of the black cells, then of the white ones."""
    first_xy_px: Floats
    """[m, 2] place of the splines, see `WarpField`."""
    knot_px: float


def warp_pairs(
    records: Iterable[PairRecord], problem: SolveProblem, solution: Solution, is_good: Flags
) -> WarpPairs | None:
    """The pairs that tell displacements; None where none does.

    Args:
        records: of all pairs.
        problem: the stack with its accepted pairs.
        solution: where its slices lie, and which pairs are kept.
        is_good: [n] slices that may tell.
    """
    told = [
        (pair, record, record.warp)
        for pair, record in sorted(kept_records(records, problem, solution, is_good).items())
        if record.warp is not None
    ]
    if not told:
        return None
    # Slices of other sizes have other splines; what most have is taken.
    shapes = [_shape(warp) for _, _, warp in told]
    usual = max(sorted(set(shapes)), key=shapes.count)
    chosen = [row for row, shape in zip(told, shapes, strict=True) if shape == usual]
    slot, neighbour = (np.array([pair[end] for pair, _, _ in chosen], np.int64) for end in (0, 1))
    lies = solution.volume_from_slice
    (n_x, n_y), knot_px = usual
    coefficients: Waves = np.empty((len(chosen), 2 * N_HALVES, n_y, n_x), np.float32)
    for index, (_, _, warp) in enumerate(chosen):
        coefficients[index] = unpacked(warp.displacements, 2 * N_HALVES).reshape(-1, n_y, n_x)
    return WarpPairs(
        slot=slot,
        neighbour=neighbour,
        left_over=left_over(np.linalg.inv(lies[neighbour]) @ lies[slot], [r for _, r, _ in chosen]),
        coefficients=coefficients,
        first_xy_px=np.array([warp.first_xy_px for _, _, warp in chosen]),
        knot_px=knot_px,
    )


def _shape(warp: WarpField) -> tuple[tuple[int, int], float]:
    return warp.n_xy, warp.knot_px


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpFrame:
    """A grid of points of the volume, and where they lie in slices."""

    columns: Floats
    rows: Floats
    """Rows and columns of the volume, in px."""
    spacing_px: float
    slice_from_volume: Floats
    """[n, 3, 3]"""
    sizes_xy: Floats
    """[n, 2] of the slices."""

    @classmethod
    def of(cls, stack: Slices, volume_from_slice: Floats, spacing_px: float) -> WarpFrame:
        """The grid over slices that lie there."""
        far = stack.sizes_xy - 1
        corners = [np.stack([x * far[:, 0], y * far[:, 1]], axis=1) for x in (0, 1) for y in (0, 1)]
        placed = np.concatenate([_moved(volume_from_slice, at) for at in corners])
        (left, top), (right, bottom) = np.floor(placed.min(axis=0)), placed.max(axis=0)
        return cls(
            columns=np.arange(left, right + spacing_px, spacing_px),
            rows=np.arange(top, bottom + spacing_px, spacing_px),
            spacing_px=spacing_px,
            slice_from_volume=np.linalg.inv(volume_from_slice).astype(np.float64, copy=False),
            sizes_xy=stack.sizes_xy,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), len(self.columns)

    def points(self) -> Iterable[Floats]:
        """Each point (x, y), row by row."""
        return (np.array([x, y]) for y in self.rows.tolist() for x in self.columns.tolist())

    def slice_points(self, point: Floats) -> tuple[Floats, Flags]:
        """[n, 2] the place in each slice nearest to a point, and [n] whether the slice shows the point."""
        at = _moved(self.slice_from_volume, point)
        inside = np.clip(at, 0, self.sizes_xy - 1)
        return inside, np.asarray(np.abs(at - inside).max(axis=1) <= self.spacing_px / 2)


def _moved(matrices: Floats, points: Floats) -> Floats:
    """[n, 2] points, or one point, each by its matrix."""
    moved: Floats = (
        matrices[:, :2, 0] * points[..., :1] + matrices[:, :2, 1] * points[..., 1:] + matrices[:, :2, 2]
    )
    return moved


def told_at(pairs: WarpPairs, frame: WarpFrame, point: Floats, rows: Floats) -> tuple[Integers, Floats]:
    """Pairs that show a point of the volume, and [m, 4] what they tell of it beyond solution and rows.

    A pair's displacement v puts p at N (p + v) in the neighbour, where the solution puts it at S p: so it is
    `S^-1 N (p + v) - p`.

    Args:
        pairs: that tell.
        frame: points of the volume.
        point: one of them.
        rows: [n, 2, n_y] what splines hold of the shifts of each slice's rows, which are moved back anyway.
    """
    places, shows = frame.slice_points(point)
    at = np.flatnonzero(shows[pairs.slot] & shows[pairs.neighbour])
    p = places[pairs.slot[at]]
    knots = (p - pairs.first_xy_px[at]) / pairs.knot_px
    first, weights = grid_weights(knots[:, 0], knots[:, 1], *pairs.coefficients.shape[-2:])
    of_pairs = pairs.coefficients.reshape(*pairs.coefficients.shape[:2], -1)
    near = of_pairs[
        at[:, np.newaxis, np.newaxis], np.arange(2 * N_HALVES)[:, np.newaxis], first[:, np.newaxis]
    ]
    v = np.einsum("mks,ms->mk", near, weights)
    x_px, y_px = p[:, :1] + v[:, 0::2], p[:, 1:] + v[:, 1::2]
    m = pairs.left_over[at][:, :, :, np.newaxis]
    told = np.stack(
        [
            m[:, axis, 0] * x_px + m[:, axis, 1] * y_px + m[:, axis, 2] - p[:, axis, np.newaxis]
            for axis in (0, 1)
        ],
        axis=2,
    )
    first_y, y_weights = spline_weights(places[:, 1] / pairs.knot_px, rows.shape[-1])
    four = first_y[:, np.newaxis, np.newaxis] + np.arange(SUPPORT)
    shifts = (np.take_along_axis(rows, four, axis=2) * y_weights[:, np.newaxis]).sum(axis=2)
    told -= (shifts[pairs.neighbour[at]] - shifts[pairs.slot[at]])[:, np.newaxis]
    return at, told.reshape(len(at), 2 * N_HALVES)


def smooth_rows(
    shifts: Mapping[int, RowShifts], n_slices: int, height: float, knot_px: float, n_y: int
) -> Floats:
    """[n, 2, n_y] what splines so far apart hold of the shifts of rows, of the slices that have such."""
    y = np.arange(0, height, max(knot_px / 16, 1.0))
    first, weights = spline_weights(y / knot_px, n_y)
    design = np.zeros((len(y), n_y))
    np.add.at(design, (np.arange(len(y))[:, np.newaxis], first[:, np.newaxis] + np.arange(SUPPORT)), weights)
    fit = np.linalg.pinv(design).T
    found: Floats = np.zeros((n_slices, 2, n_y))
    for slot, rows in shifts.items():
        found[slot] = spline_values(unpacked(rows.shifts, 2), (y - rows.first_row_px) / rows.knot_px) @ fit
    return found
