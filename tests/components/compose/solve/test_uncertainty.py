"""1-sigma against the dense inverse, and against the errors that are made."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import cholesky_banded

from components.compose.solve.pairs import Solution
from components.compose.solve.robust import normal_equations
from components.compose.solve.ties import PoseFrame
from components.compose.solve.uncertainty import FORMS, observed_spread, uncertainty
from components.shared.along_z.covariances import covariances
from tests.components.compose.planted_stack import Planted, plant


def dense(band: NDArray[np.float64]) -> NDArray[np.float64]:
    size = band.shape[1]
    matrix = np.zeros((size, size))
    for below, diagonal in enumerate(band[:size]):
        matrix += np.diag(diagonal[: size - below], -below)
    return np.linalg.inv(matrix + np.tril(matrix, -1).T)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ([0, 0, 1, 0, 0, 0], [1, 0, 0, 0]),
        ([0, 0, 0, 0, 0, 1], [0, 1, 0, 0]),
        ([0, -1, 0, 1, 0, 0], [0, 0, 1, 0]),
        ([1, 0, 0, 0, 1, 0], [0, 0, 0, 1]),
        ([1, 0, 0, 0, -1, 0], [0, 0, 0, 0]),
        ([0, 1, 0, 1, 0, 0], [0, 0, 0, 0]),
    ],
    ids=["x", "y", "rotation", "scale", "stretch", "shear"],
)
def test_the_forms_tell_place_rotation_and_scale_apart(change: list[float], told: list[float]) -> None:
    assert (FORMS @ change).tolist() == told


def test_a_frozen_number_of_a_pose_stays() -> None:
    planted = plant(12, 4)
    equations = normal_equations(planted.problem, planted.solve())
    for slot in range(12):
        equations.hold(slot, number=4, weight=1e6, target=0.0)
        equations.hold(slot, number=5, weight=1e6, target=0.0)
    before = PoseFrame.of(planted.stack.sizes_xy).poses(planted.solve().volume_from_slice)
    equations.freeze(4)
    found = equations.solve()
    assert np.allclose(found[:, 1, 1], before[:, 1, 1], rtol=1e-3)
    assert np.abs(found[:, 1, 2]).max() < 1


@pytest.mark.parametrize(("n", "k"), [(1, 4), (2, 4), (3, 1), (12, 4), (9, 2)])
def test_blocks_of_the_inverse_are_those_of_the_dense_one(n: int, k: int) -> None:
    planted = plant(n, k)
    equations = normal_equations(planted.problem, planted.solve())
    inverse = dense(equations.band)
    own, ahead = covariances(cholesky_banded(equations.band, lower=True), FORMS)
    blocks = [np.kron(np.eye(n), form) @ inverse @ np.kron(np.eye(n), form).T for form in FORMS]
    for number, block in enumerate(blocks):
        assert np.allclose(own[:, number], np.diag(block), rtol=1e-6)
        assert np.allclose(ahead[:, number], np.diag(block, 1), rtol=1e-6)
    found = uncertainty(equations, 2.0, [np.arange(n)], n)
    middle = n // 2
    for slot in range(n):
        difference = np.zeros(n)
        difference[slot] += 1
        difference[middle] -= 1
        x, y, rotation, scale = (difference @ block @ difference for block in blocks)
        for sigma_px, variance in (
            (found.sigma_px[slot], (x + y) / 2),
            (found.rotation_sigma_px[slot], rotation),
            (found.scale_sigma_px[slot], scale),
        ):
            assert sigma_px == pytest.approx(2 * variance**0.5, rel=1e-5, abs=1e-5)
    assert found.step_sigma_px[0] == 0


def test_sigma_is_the_size_of_the_errors() -> None:
    n, steps, ends, turns = 300, [], [], []
    for seed in range(12):
        planted = plant(n, 4, seed=seed)
        solution = planted.solve()
        spread = observed_spread(planted.problem, solution)
        equations = normal_equations(planted.problem, solution)
        known = uncertainty(equations, spread, [np.arange(n)], n)
        frame = PoseFrame.of(planted.stack.sizes_xy)
        poses = frame.poses(solution.volume_from_slice) - frame.poses(planted.truth)
        turn = (poses[:, 1, 0] - poses[:, 0, 1]) / 2
        turns.append((turn[[0, -1]] - turn[n // 2]) / known.rotation_sigma_px[[0, -1]])
        error = poses[:, :, 2]
        steps.append(np.diff(error, axis=0) / known.step_sigma_px[1:, None])
        ends.append((error[[0, -1]] - error[n // 2]) / known.sigma_px[[0, -1], None])
    assert 0.85 < np.std(steps) < 1.15
    assert 0.6 < np.std(ends) < 1.4
    assert 0.6 < np.std(turns) < 1.4


def test_a_long_stack_stays_exact() -> None:
    """Round-off in the recursion must not grow: the two ends of a stack are alike."""
    n = 8000
    planted = plant(n, 2)
    m = len(planted.pairs)
    at_truth = Solution(volume_from_slice=planted.truth, weight=np.ones(m), residual_px=np.zeros(m))
    equations = normal_equations(planted.problem, at_truth)
    known = uncertainty(equations, 1.0, [np.arange(n)], n)
    assert known.sigma_px[0] == pytest.approx(known.sigma_px[-1], rel=0.02)
    assert np.ptp(known.step_sigma_px[10:-10]) < 0.05 * known.step_sigma_px[n // 2]


def test_a_slice_of_fewer_pairs_is_less_sure() -> None:
    planted = plant(60, 4)
    lone = ((planted.pairs.slot == 30) | (planted.pairs.neighbour == 30)) & (
        planted.pairs.neighbour - planted.pairs.slot > 1
    )
    pairs = planted.pairs.chosen(~lone)
    fewer = Planted(planted.truth, planted.stack, pairs)
    equations = normal_equations(fewer.problem, fewer.solve())
    step = uncertainty(equations, 1.0, [np.arange(60)], 60).step_sigma_px
    assert step[30] > 1.1 * step[20]
