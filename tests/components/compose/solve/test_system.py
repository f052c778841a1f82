"""The normal equations of ties are those of their points, summed one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from components.compose.solve.limits import SOLVE
from components.compose.solve.pairs import Floats
from components.compose.solve.system import POSE_SIZE, NormalEquations
from components.compose.solve.ties import POINT_WEIGHTS, PoseFrame, Ties
from tests.components.compose import planted_stack as planting

RNG = np.random.default_rng(4)
N = 7


@pytest.fixture
def frame() -> PoseFrame:
    return PoseFrame.of(np.full((N, 2), (600, 400)))


@pytest.fixture
def ties(frame: PoseFrame) -> Ties:
    planted = planting.plant(N, 3, seed=2, width=600)
    return Ties.of(planted.pairs, planted.stack, frame, SOLVE)


@pytest.fixture
def poses(frame: PoseFrame) -> Floats:
    return frame.identities(N) * (1 + 0.05 * RNG.normal(size=(N, 2, 3)))


def test_residuals_are_those_of_the_points(ties: Ties, poses: Floats) -> None:
    squares = (ties.misfits(poses) ** 2).sum(axis=2)
    assert ties.residuals_px(poses) == pytest.approx(np.sqrt(squares @ POINT_WEIGHTS), rel=1e-9)


def test_poses_that_agree_leave_no_misfit(ties: Ties, frame: PoseFrame) -> None:
    still = dataclasses.replace(ties, neighbour_from_own=np.repeat(np.eye(3)[:, :, None], len(ties.slot), 2))
    assert not still.residuals_px(frame.identities(N)).any()


def test_ties_weigh_as_their_points_do(ties: Ties, poses: Floats) -> None:
    weights = RNG.uniform(0.5, 2, len(ties.slot))
    equations = NormalEquations(poses, ties.reach)
    equations.add_ties(ties, weights)
    matrix, gradient = np.zeros((poses.size, poses.size)), np.zeros(poses.size)
    misfits = ties.misfits(poses)
    for m, (i, j) in enumerate(zip(ties.slot, ties.neighbour, strict=True)):
        for u, misfit, share in zip(ties.own_points[m], misfits[m], POINT_WEIGHTS, strict=True):
            (a, b), at = poses[j, :, :2], poses[j, :, 2]
            q = np.append(np.linalg.inv([a, b]) @ (poses[i] @ u - at), 1.0)
            for row in (0, 1):
                form = np.zeros(poses.size)
                form[POSE_SIZE * i + 3 * row :][:3] = u
                form[POSE_SIZE * j + 3 * row :][:3] = -q
                matrix += weights[m] * share * np.outer(form, form)
                gradient += weights[m] * share * misfit[row] * form
    band = np.array([np.append(np.diag(matrix, -k), np.zeros(k)) for k in range(len(equations.band))])
    assert equations.band == pytest.approx(band, rel=1e-9, abs=1e-9)
    held = NormalEquations(poses, ties.reach)
    held.add_ties(ties, weights)
    for number in range(POSE_SIZE):
        held.hold(0, number, 1.0, float(poses[0].ravel()[number]))
        matrix[number, number] += 1.0
    step = np.linalg.solve(matrix, -gradient)
    assert held.solve().ravel() == pytest.approx(poses.ravel() + step, rel=1e-6)
