"""Soft warps are found and corrected; tissue, noise, rows, and what only one half tells are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from components.compose.rows.held_out import Correction
from components.compose.solve.pairs import Pairs, Slices, Solution, unknown_supports
from components.compose.solve.problem import SolveProblem
from components.compose.warps.soft import soft_warps
from components.shared.documents.align import PairRecord
from components.shared.documents.transforms import RowShifts, WarpField
from components.shared.row_shifts import grid_values, n_splines, packed, spline_values, unpacked

Floats = NDArray[np.float64]
WIDTH, HEIGHT, KNOT = 400, 320, 80.0
N_X, N_Y = n_splines(WIDTH, KNOT), n_splines(HEIGHT, KNOT)
N_SLICES = 40
X, Y = (
    of_axis.ravel() for of_axis in np.meshgrid(np.linspace(0, WIDTH - 1, 17), np.linspace(0, HEIGHT - 1, 13))
)


@dataclass(frozen=True)
class Planted:
    """[n, 2, N_Y, N_X] warps of each slice as halves of the cells see them, and where slices lie."""

    halves: tuple[Floats, Floats]
    rows: Mapping[int, RowShifts] = field(default_factory=dict)

    def found(self, *, ordinary: set[int] | None = None, noise_px: float = 0.05) -> Correction[WarpField]:
        n = len(self.halves[0])
        rng = np.random.default_rng(5)
        matrices = np.tile(np.eye(3), (n, 1, 1))
        matrices[:, :2, 2] = np.cumsum(rng.normal(0, 2, (n, 2)), axis=0)
        slots = [(i, j) for i in range(n) for j in (i + 1, i + 2) if j < n]
        records = [self._record(i, j, matrices, noise_px, rng) for i, j in slots]
        slot, neighbour = np.array(slots).T
        pairs = Pairs(
            slot=slot,
            neighbour=neighbour,
            neighbour_from_slice=np.linalg.inv(matrices[neighbour]) @ matrices[slot],
            sigma_px=np.full(len(slots), 0.1),
            supports_px=unknown_supports(len(slots)),
        )
        stack = Slices(z=np.arange(n) + 7, sizes_xy=np.tile([float(WIDTH), float(HEIGHT)], (n, 1)))
        solution = Solution(
            volume_from_slice=matrices, weight=np.ones(len(slots)), residual_px=np.zeros(len(slots))
        )
        wanted = ordinary if ordinary is not None else set(range(n))
        return soft_warps(
            records, SolveProblem.of(stack, pairs), solution, {z + 7 for z in wanted}, self.rows
        )

    def _record(
        self, i: int, j: int, matrices: Floats, noise_px: float, rng: np.random.Generator
    ) -> PairRecord:
        # Both slices are asked at the places that show the same: at those of the first one.
        moved_x, moved_y = matrices[i][:2, 2] - matrices[j][:2, 2]
        told = [
            _as_splines(
                grid_values(half[j], (X + moved_x) / KNOT, (Y + moved_y) / KNOT)
                - grid_values(half[i], X / KNOT, Y / KNOT)
            )
            + rng.normal(0, noise_px, (2, N_Y, N_X))
            for half in self.halves
        ]
        shift = np.linalg.inv(matrices[j]) @ matrices[i]
        return PairRecord(
            z=i + 7, neighbour_z=j + 7, accepted=True, reason="", n_matches=9, n_inliers=9, coverage=1.0,
            model="rigid", residuals_px={}, matrix=shift.tolist(), sigma_px=0.1, n_windows=40, ncc_before=0.5,
            ncc_after=0.9, fallback="",
            warp=WarpField(
                first_xy_px=(0.0, 0.0), knot_px=KNOT, n_xy=(N_X, N_Y), displacements=packed(np.array(told))
            ),
        )  # fmt: skip


def _as_splines(values: Floats) -> Floats:
    """[2, N_Y, N_X] coefficients of the splines that come nearest to values [2, places]."""
    of_each = np.eye(N_X * N_Y).reshape(-1, N_Y, N_X)
    design = grid_values(of_each, X / KNOT, Y / KNOT).T
    return np.linalg.lstsq(design, values.T, rcond=None)[0].T.reshape(2, N_Y, N_X)


def white(rng: np.random.Generator, rms_px: float, n: int = N_SLICES) -> Floats:
    return rng.normal(0, rms_px, (n, 2, N_Y, N_X))


def left(planted: Floats, found: Correction[WarpField]) -> Floats:
    """[n, 2, places] the planted warp less the correction."""
    result = np.stack([grid_values(of_slice, X / KNOT, Y / KNOT) for of_slice in planted])
    for slot, warp in found.of_slots.items():
        n_x, n_y = warp.n_xy
        of_splines = unpacked(warp.displacements, 2).reshape(2, n_y, n_x)
        result[slot] -= grid_values(of_splines, X / warp.knot_px, Y / warp.knot_px)
    return result


def test_warps_that_both_halves_tell_are_corrected() -> None:
    planted = white(np.random.default_rng(1), 2.0)
    found = Planted((planted, planted)).found()
    assert found.is_corrected == (True, True)
    assert len(found.of_slots) >= N_SLICES - 2
    before, after = left(planted, Correction()), left(planted, found)
    assert found.found_px == pytest.approx(before.std(axis=(0, 2)).tolist(), rel=0.25)
    # What slices at the ends of the stack have of their own, and what of it is tissue, is less known.
    assert np.diff(after, axis=0)[4:-4].std() < 0.25 * np.diff(before, axis=0)[4:-4].std()


def test_tissue_that_winds_along_z_is_left_as_it_is() -> None:
    """Its steps are as large as those of warps, and alike from slice to slice."""
    steps = white(np.random.default_rng(2), 0.3)
    for index in range(1, N_SLICES):
        steps[index] = 0.9 * steps[index - 1] + 0.43 * steps[index]
    tissue = np.cumsum(steps, axis=0)
    found = Planted((tissue, tissue)).found()
    assert found.is_corrected == (False, False)
    assert not found.of_slots


def test_what_one_half_alone_tells_is_left_as_it_is() -> None:
    rng = np.random.default_rng(3)
    found = Planted((white(rng, 1.0), white(rng, 1.0))).found()
    assert found.is_corrected == (False, False)
    assert not found.of_slots


def test_what_rows_explain_is_not_corrected_twice() -> None:
    """Displacements that all of a row share, of rows that are moved back already."""
    rng, planted = np.random.default_rng(4), np.zeros((N_SLICES, 2, N_Y, N_X))
    planted[:, 0] = rng.normal(0, 1.5, (N_SLICES, N_Y, 1))
    rows = {
        slot: RowShifts(first_row_px=0.0, knot_px=KNOT, shifts=packed(of_slice[:, :, 0]))
        for slot, of_slice in enumerate(planted)
    }
    assert spline_values(planted[0, :, :, 0], Y / KNOT).std() > 0.3
    assert Planted((planted, planted)).found().is_corrected == (True, False)
    assert not Planted((planted, planted), rows).found().of_slots


def test_slices_that_are_not_ordinary_neither_tell_nor_are_straightened() -> None:
    planted = white(np.random.default_rng(6), 2.0)
    found = Planted((planted, planted)).found(ordinary=set(range(N_SLICES)) - {3, 20})
    assert len(found.of_slots) >= N_SLICES - 5
    assert not {3, 20} & set(found.of_slots)


def test_short_stacks_and_pairs_that_tell_nothing_have_no_warps() -> None:
    planted = white(np.random.default_rng(7), 2.0, n=10)
    assert Planted((planted, planted)).found() == Correction()
    problem = SolveProblem.of(
        Slices(z=np.arange(2), sizes_xy=np.full((2, 2), 100.0)),
        Pairs(
            slot=np.array([0]),
            neighbour=np.array([1]),
            neighbour_from_slice=np.eye(3)[np.newaxis],
            sigma_px=np.ones(1),
            supports_px=unknown_supports(1),
        ),
    )
    solution = Solution(
        volume_from_slice=np.tile(np.eye(3), (2, 1, 1)), weight=np.ones(1), residual_px=np.zeros(1)
    )
    assert soft_warps([], problem, solution, {0, 1}, {}) == Correction()
