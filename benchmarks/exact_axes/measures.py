"""A method's answer against the exact truth, by measures that no method minimises."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from benchmarks.alignment.method import Found, PointGrid
from benchmarks.exact_axes.cases import Planted
from components.shared.geometry import Points, grid_points, transform_points
from components.shared.row_shifts import grid_values, spline_values, unpacked

POINTS_A_SIDE = 24


class Row(BaseModel):
    """One line of the table; lengths in px."""

    planes: str
    case: str
    method: str
    mean_px: float | None = None
    """Error of the next slice against a slice, about the constant part: its mean over the pairs."""
    worst_px: float | None = None
    """Error of the worst pair."""
    constant_px: float | None = None
    """Length of the mean error a slice: what tissue that runs obliquely looks like, to every method."""
    by_distance_px: tuple[float, ...] = ()
    """Mean error about the constant part of slices 1, 2, 3, 4 apart."""
    rows_px: float | None = None
    """RMS over the rows of the error along x that all of a row share."""
    warp_px: float | None = None
    """RMS of what no affine transform explains of the error."""
    levels_before: float | None = None
    """RMS error of the good slices' grey levels as they came, about what all have in common."""
    levels_after: float | None = None
    """RMS error of the good slices' grey levels as they are shown, about what all have in common."""
    levels_step: float | None = None
    """RMS of the difference of that error, mean over the picture, from a good slice to the next."""
    levels_further: float | None = None
    """Most grey levels by which a slice is further from its truth than it came."""
    n_unplaced: int = 0
    """Good slices without an answer."""
    false_alarms: int = 0
    """Good slices with a verdict."""
    s_per_slice: float
    stopped: str = ""


def score(name: str, case: str, method: str, planted: Planted, found: Found) -> Row:
    """Compare each good slice with the next ones, over a dense grid of points."""
    good = [z for z in planted.good if z in found.matrices and z not in found.unplaced]
    row = Row(
        planes=name,
        case=case,
        method=method,
        n_unplaced=len(planted.good) - len(good),
        false_alarms=len(set(planted.good) & {z for z, v in found.verdicts.items() if v != "step"}),
        s_per_slice=found.cpu_s / max(len(found.matrices), 1),
        stopped=found.stopped,
    )
    if len(good) < 6:
        return row
    points = grid_points(*planted.size_xy, per_side=POINTS_A_SIDE)
    pairs = list(itertools.pairwise(good))
    errors = _errors(planted, found, pairs, points)
    steps = np.array([b - a for a, b in pairs], np.float64)[:, None, None]
    constant = (errors / steps).mean(axis=(0, 1))
    about = np.linalg.norm(errors - steps * constant, axis=2).mean(axis=1)
    return row.model_copy(
        update={
            "mean_px": float(about.mean()),
            "worst_px": float(about.max()),
            "constant_px": float(np.linalg.norm(constant)),
            "by_distance_px": tuple(_about(planted, found, good, points, d) for d in range(1, 5)),
            "rows_px": _rows_px(errors),
            "warp_px": _beyond_affine_px(errors, points),
        }
    )


def _about(planted: Planted, found: Found, good: list[int], points: Points, distance: int) -> float:
    errors = _errors(planted, found, [(a, a + distance) for a in good if a + distance in good], points)
    about = np.linalg.norm(errors - errors.mean(axis=(0, 1)), axis=2)
    return float(about.mean())


def _errors(
    planted: Planted, found: Found, pairs: list[tuple[int, int]], points: Points
) -> NDArray[np.float64]:
    """[pairs, points, 2] how far each point of a slice misses its true place in the other one."""
    errors = []
    for a, b in pairs:
        true = planted.slices[b].slice_points(planted.slices[a].world(points))
        errors.append(_in_slice(found, b, _in_volume(found, a, points)) - true)
    return np.array(errors)


def _in_volume(found: Found, z: int, points: Points) -> Points:
    """[n, 2] points of a slice in the volume."""
    if z in found.grids:
        return points + _grid_displacements(found.grids[z], points)
    return transform_points(np.array(found.matrices[z]), _without_displacements(found, z, points))


def _in_slice(found: Found, z: int, points: Points) -> Points:
    """[n, 2] points of the volume in a slice."""
    if z in found.grids:
        in_slice = points
        for _ in range(30):  # a step leaves a tenth of the error where the mesh turns by a tenth
            in_slice = points - _grid_displacements(found.grids[z], in_slice)
        return in_slice
    in_slice = transform_points(np.linalg.inv(np.array(found.matrices[z])), points)
    return in_slice + _displacements(found, z, in_slice)


def _grid_displacements(grid: PointGrid, points: Points) -> Points:
    """[n, 2] how far points of a slice are moved, bilinearly between the points of a grid and beyond it."""
    n_x, n_y = grid.n_xy
    nodes = np.array(grid.first_xy_px) + np.array(grid.step_xy_px) * np.indices((n_x, n_y)).T.reshape(-1, 2)
    moves = (np.array(grid.volume_xy_px) - nodes).reshape(n_y, n_x, 2)
    at = (points - grid.first_xy_px) / grid.step_xy_px
    column, row = np.clip(np.floor(at).astype(int), 0, np.array([n_x, n_y]) - 2).T
    x, y = (at - np.column_stack([column, row])).T[:, :, None]
    upper = moves[row, column] * (1 - x) + moves[row, column + 1] * x
    lower = moves[row + 1, column] * (1 - x) + moves[row + 1, column + 1] * x
    displacements: Points = upper * (1 - y) + lower * y
    return displacements


def _displacements(found: Found, z: int, points: Points) -> Points:
    """[n, 2] how much further points lie in a slice than its matrix says, where a method has found such."""
    displaced = points
    if z in found.warps:
        warp = found.warps[z]
        n_x, n_y = warp.n_xy
        columns, rows = ((points - warp.first_xy_px) / warp.knot_px).T
        of_splines = unpacked(warp.displacements, 2).reshape(2, n_y, n_x)
        displaced = displaced + grid_values(of_splines, columns, rows).T
    if z in found.rows:
        shifts = found.rows[z]
        at = (displaced[:, 1] - shifts.first_row_px) / shifts.knot_px
        displaced = displaced + spline_values(unpacked(shifts.shifts, 2), at).T
    return displaced - points


def _without_displacements(found: Found, z: int, points: Points) -> Points:
    """[n, 2] points of a slice as its matrix has them: points + displacements are those given."""
    undone = points
    for _ in range(8):  # displacements change by a tenth of a pixel from row to row
        undone = points - _displacements(found, z, undone)
    return undone


def _rows_px(errors: NDArray[np.float64]) -> float:
    along_rows = errors.reshape(len(errors), POINTS_A_SIDE, POINTS_A_SIDE, 2)[..., 0].mean(axis=2)
    return float((along_rows - along_rows.mean(axis=1, keepdims=True)).std())


def _beyond_affine_px(errors: NDArray[np.float64], points: Points) -> float:
    design = np.column_stack([points - points.mean(axis=0), np.ones(len(points))])
    left = [e - design @ np.linalg.lstsq(design, e, rcond=None)[0] for e in errors]
    return float(np.sqrt(np.square(left).sum(axis=2).mean()))
