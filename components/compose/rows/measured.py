"""Shifts of rows as all pairs tell them, on rows of the volume."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from components.compose.rows.limits import JitterLimits
from components.compose.solve.pairs import Flags, Floats, Integers, Slices, Solution
from components.compose.solve.problem import SolveProblem
from components.shared.documents.align import PairRecord
from components.shared.row_shifts import SUPPORT, spline_weights, unpacked

N_HALVES = 2
"""Number of halves of the columns that tell shifts of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPairs:
    """The pairs whose slices are good and tell shifts of rows, in whole pictures at full resolution."""

    slot: Integers
    neighbour: Integers
    left_over: Floats
    """[m, 3, 3] slice from slice: what the solution leaves of each pair's transform."""
    coefficients: Floats
    """[m, 4, n] of splines, in px: x and y of the even stripes, then of the odd ones."""
    first_row_px: Floats
    """[m] place of the splines, see `RowShifts`."""
    knot_px: float

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFrame:
    """Rows of the volume at the middle of the slices: `row = scale y + start` of a slice's row y."""

    scale: Floats
    start: Floats
    """[n] each."""
    heights: Floats
    """[n] of the slices."""
    middle_x: float

    @classmethod
    def of(cls, stack: Slices, volume_from_slice: Floats) -> RowFrame:
        """The rows of slices that lie there."""
        middle_x = float(stack.sizes_xy[:, 0].max() - 1) / 2
        y_row = volume_from_slice[:, 1]
        return cls(
            scale=y_row[:, 1],
            start=y_row[:, 0] * middle_x + y_row[:, 2],
            heights=stack.sizes_xy[:, 1],
            middle_x=middle_x,
        )

    def slice_rows(self, slots: Integers, row: float) -> Floats:
        """[m] the row of each slice that lies at a row of the volume."""
        rows: Floats = (row - self.start[slots]) / self.scale[slots]
        return rows

    def shows(self, slots: Integers, row: float) -> Flags:
        """[m] True of the slices that reach to a row of the volume."""
        at = self.slice_rows(slots, row)
        return np.asarray((at >= 0) & (at <= self.heights[slots] - 1))

    def grid(self, spacing_px: float) -> Floats:
        """Rows of the volume from the first of all slices to the last."""
        last = self.scale * (self.heights - 1) + self.start
        grid: Floats = np.arange(np.floor(self.start.min()), last.max() + spacing_px, spacing_px)
        return grid


def kept_records(
    records: Iterable[PairRecord], problem: SolveProblem, solution: Solution, is_good: Flags
) -> dict[tuple[int, int], PairRecord]:
    """The records of the pairs that the solution keeps and whose slices are both good, by their slots."""
    kept, slot_of = problem.pairs.chosen(solution.kept), problem.stack.slot_of
    kept_pairs = set(zip(kept.slot.tolist(), kept.neighbour.tolist(), strict=True))
    by_slots = {(slot_of.get(r.z, -1), slot_of.get(r.neighbour_z, -1)): r for r in records}
    return {
        pair: record
        for pair, record in by_slots.items()
        if pair in kept_pairs and record.matrix is not None and is_good[pair[0]] and is_good[pair[1]]
    }


def left_over(solved: Floats, records: Iterable[PairRecord]) -> Floats:
    """[m, 3, 3] slice from slice: what the solution, [m, 3, 3] neighbour from slice, leaves of each pair."""
    theirs = np.array([record.matrix for record in records], np.float64)
    found: Floats = np.linalg.inv(solved) @ theirs
    return found


def row_pairs(
    records: Iterable[PairRecord],
    problem: SolveProblem,
    solution: Solution,
    is_good: Flags,
    limits: JitterLimits,
) -> RowPairs | None:
    """The pairs that tell shifts of rows; None where none does.

    Args:
        records: of all pairs.
        problem: the stack with its accepted pairs.
        solution: where its slices lie, and which pairs are kept.
        is_good: [n] slices that may tell.
        limits: of the room.
    """
    stack, volume_from_slice = problem.stack, solution.volume_from_slice
    told = {
        pair: record
        for pair, record in kept_records(records, problem, solution, is_good).items()
        if record.rows is not None
    }
    # Slices of other sizes have other splines; what most have is taken.
    lengths = [len(r.rows.shifts) for r in told.values() if r.rows is not None]
    if not lengths:
        return None
    usual = max(sorted(set(lengths)), key=lengths.count)
    chosen = sorted((p, r) for p, r in told.items() if r.rows is not None and len(r.rows.shifts) == usual)
    slot, neighbour = (np.array([pair[end] for pair, _ in chosen], np.int64) for end in (0, 1))
    solved = np.linalg.inv(volume_from_slice[neighbour]) @ volume_from_slice[slot]
    rows = [r.rows for _, r in chosen if r.rows is not None]
    knot_px = rows[0].knot_px
    half_width = (stack.sizes_xy[:, 0].max() - 1) / 2
    straight = np.abs(solved[:, 1, 0]) * half_width <= limits.most_turn_knots * knot_px
    pairs = RowPairs(
        slot=slot[straight],
        neighbour=neighbour[straight],
        left_over=left_over(solved, [record for _, record in chosen])[straight],
        coefficients=np.array([unpacked(r.shifts, 2 * N_HALVES) for r in rows])[straight],
        first_row_px=np.array([r.first_row_px for r in rows])[straight],
        knot_px=knot_px,
    )
    return pairs if len(pairs) else None


def told_at(pairs: RowPairs, frame: RowFrame, row: float) -> tuple[Integers, Floats]:
    """Pairs that show a row of the volume, and [m, 4] what they tell of it beyond the solution.

    A pair's shift v puts p at N (p + v) in the neighbour, where the solution puts it at S p: so it is
    `S^-1 N (p + v) - p`.
    """
    at = np.flatnonzero(frame.shows(pairs.slot, row) & frame.shows(pairs.neighbour, row))
    y = frame.slice_rows(pairs.slot[at], row)
    knots = (y - pairs.first_row_px[at]) / pairs.knot_px
    first, weights = spline_weights(knots, pairs.coefficients.shape[-1])
    four = first[:, np.newaxis] + np.arange(SUPPORT)
    shifts = np.einsum("mks,ms->mk", _taken(pairs.coefficients[at], four), weights)
    x_px = frame.middle_x + shifts[:, 0::2]
    y_px = y[:, np.newaxis] + shifts[:, 1::2]
    m = pairs.left_over[at][:, :, :, np.newaxis]
    x = m[:, 0, 0] * x_px + m[:, 0, 1] * y_px + m[:, 0, 2] - frame.middle_x
    y_left = m[:, 1, 0] * x_px + m[:, 1, 1] * y_px + m[:, 1, 2] - y[:, np.newaxis]
    return at, np.stack([x, y_left], axis=2).reshape(len(at), 2 * N_HALVES)


def _taken(coefficients: Floats, four: Integers) -> Floats:
    """[m, k, 4] the coefficients [m, k, n] of four splines of each pair."""
    taken: Floats = np.take_along_axis(coefficients, four[:, np.newaxis, :], axis=2)
    return taken
