"""Jitter of rows is found and corrected; tissue, noise, and what only one half tells are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from components.compose.rows.held_out import Correction
from components.compose.rows.jitter import row_jitter
from components.compose.solve.pairs import Pairs, Slices, Solution, unknown_supports
from components.compose.solve.problem import SolveProblem
from components.shared.documents.align import PairRecord
from components.shared.documents.transforms import RowShifts
from components.shared.row_shifts import n_splines, packed, spline_values, unpacked

Floats = NDArray[np.float64]
SIDE, KNOT = 240, 12.0
ROWS = np.arange(SIDE, dtype=np.float64)
N = n_splines(SIDE, KNOT)


@dataclass(frozen=True)
class Planted:
    """[n, 2, splines] row shifts of each slice as halves of the columns see them, and where slices lie."""

    halves: tuple[Floats, Floats]
    steps_px: Floats

    def jitter(self, *, ordinary: set[int] | None = None, noise_px: float = 0.05) -> Correction[RowShifts]:
        n = len(self.steps_px)
        rng = np.random.default_rng(5)
        places = np.cumsum(self.steps_px, axis=0)
        matrices = np.tile(np.eye(3), (n, 1, 1))
        matrices[:, :2, 2] = places
        found = [(i, j) for i in range(n) for j in (i + 1, i + 2) if j < n]
        records = [self._record(i, j, matrices, noise_px, rng) for i, j in found]
        slot, neighbour = np.array(found).T
        pairs = Pairs(
            slot=slot,
            neighbour=neighbour,
            neighbour_from_slice=np.linalg.inv(matrices[neighbour]) @ matrices[slot],
            sigma_px=np.full(len(found), 0.1),
            supports_px=unknown_supports(len(found)),
        )
        stack = Slices(z=np.arange(n) + 7, sizes_xy=np.full((n, 2), float(SIDE)))
        solution = Solution(
            volume_from_slice=matrices, weight=np.ones(len(found)), residual_px=np.zeros(len(found))
        )
        wanted = ordinary if ordinary is not None else set(range(n))
        return row_jitter(records, SolveProblem.of(stack, pairs), solution, {z + 7 for z in wanted})

    def _record(
        self, i: int, j: int, matrices: Floats, noise_px: float, rng: np.random.Generator
    ) -> PairRecord:
        # Both slices are asked at the rows that show the same: at those of the first one.
        moved = matrices[i][1, 2] - matrices[j][1, 2]
        told = [
            _as_splines(spline_values(half[j], (ROWS + moved) / KNOT) - spline_values(half[i], ROWS / KNOT))
            + rng.normal(0, noise_px, (2, N))
            for half in self.halves
        ]
        shift = np.linalg.inv(matrices[j]) @ matrices[i]
        return PairRecord(
            z=i + 7, neighbour_z=j + 7, accepted=True, reason="", n_matches=9, n_inliers=9, coverage=1.0,
            model="rigid", residuals_px={}, matrix=shift.tolist(), sigma_px=0.1, n_windows=40, ncc_before=0.5,
            ncc_after=0.9, fallback="",
            rows=RowShifts(first_row_px=0.0, knot_px=KNOT, shifts=packed(np.array(told))),
        )  # fmt: skip


def _as_splines(values: Floats) -> Floats:
    """[2, splines] coefficients of the splines that come nearest to values [2, y]."""
    design = spline_values(np.eye(N), ROWS / KNOT).T
    return np.linalg.lstsq(design, values.T, rcond=None)[0].T


def smooth(rng: np.random.Generator, n: int, rms_px: float) -> Floats:
    """[n, 2, splines] shifts that change along y over some knots, x alone."""
    shifts = np.zeros((n, 2, N))
    white = rng.normal(size=(n, N + 4))
    shifts[:, 0] = sum(np.roll(white, k, axis=1)[:, 4:] for k in range(4)) / 2
    shifts[:, 0] -= shifts[:, 0].mean(axis=1, keepdims=True)
    return rms_px * shifts


def walk(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(0, 2, (n, 2))


def corrections(found: Correction[RowShifts], n: int) -> Floats:
    """[n, 2, y]"""
    shifts = np.zeros((n, 2, SIDE))
    for slot, rows in found.of_slots.items():
        shifts[slot] = spline_values(unpacked(rows.shifts, 2), (ROWS - rows.first_row_px) / rows.knot_px)
    return shifts


def rms_px(planted: Floats) -> float:
    return float(spline_values(planted[:, 0], ROWS / KNOT).std())


def test_jitter_that_both_halves_tell_is_corrected() -> None:
    rng = np.random.default_rng(1)
    planted = smooth(rng, 80, 1.5)
    found = Planted((planted, planted), walk(rng, 80)).jitter()
    assert found.is_corrected == (True, False)
    assert found.found_px[0] == pytest.approx(rms_px(planted), rel=0.15)
    assert len(found.of_slots) >= 76
    left = corrections(found, 80) - spline_values(planted, ROWS / KNOT)
    # At the ends of the stack less is known of what is tissue.
    steps = np.diff(left[:, 0], axis=0)[4:-4, 12:-12]
    assert steps.std() < 0.15


def test_tissue_that_winds_along_z_is_left_as_it_is() -> None:
    """Its steps are as large as those of jitter, and alike from slice to slice."""
    rng = np.random.default_rng(2)
    steps = smooth(rng, 60, 0.3)
    kernel = np.exp(-np.arange(60) / 10)
    tissue = np.cumsum(np.apply_along_axis(lambda s: np.convolve(s, kernel)[:60] / 2, 0, steps), axis=0)
    assert np.diff(tissue[:, 0], axis=0).std() > 0.2
    found = Planted((tissue, tissue), walk(rng, 60)).jitter()
    assert found.of_slots == {}


def test_what_one_half_tells_alone_is_left() -> None:
    rng = np.random.default_rng(3)
    found = Planted((smooth(rng, 40, 1.5), smooth(rng, 40, 1.5)), walk(rng, 40)).jitter()
    assert found.is_corrected == (False, False)
    assert found.of_slots == {}


def test_noise_is_left() -> None:
    still = np.zeros((40, 2, N))
    found = Planted((still, still), walk(np.random.default_rng(4), 40)).jitter(noise_px=0.5)
    assert found.of_slots == {}


def test_a_slice_that_is_not_good_neither_tells_nor_is_corrected() -> None:
    rng = np.random.default_rng(6)
    planted = smooth(rng, 40, 1.5)
    planted[20] += 40.0 * smooth(rng, 1, 1.0)[0]
    found = Planted((planted, planted), walk(rng, 40)).jitter(ordinary=set(range(40)) - {20})
    assert 20 not in found.of_slots
    assert found.found_px[0] == pytest.approx(rms_px(np.delete(planted, 20, axis=0)), rel=0.2)


def test_a_slice_whose_halves_contradict_each_other_is_left() -> None:
    rng = np.random.default_rng(7)
    even = smooth(rng, 40, 1.0)
    odd = even.copy()
    odd[20] = -even[20]
    found = Planted((even, odd), walk(rng, 40)).jitter()
    assert 20 not in found.of_slots
    assert len(found.of_slots) >= 35


def test_few_slices_tell_nothing() -> None:
    rng = np.random.default_rng(8)
    planted = smooth(rng, 8, 1.5)
    assert Planted((planted, planted), walk(rng, 8)).jitter() == Correction()
