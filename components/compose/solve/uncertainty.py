"""Uncertainty of the solved poses: 1-sigma of positions, rotations, scales and steps.

The covariance of a least-squares solution is the inverse of its normal matrix. That inverse is full, but only
the blocks near its diagonal (components/shared/along_z/covariances.py) and one column are asked for.

The result is scaled by the observed misfits. It knows nothing of errors that all pairs share, such as slanted
tissue (drift.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.compose.solve.pairs import Floats, Integers, Solution
from components.compose.solve.problem import SolveProblem
from components.compose.solve.robust import CENTER
from components.compose.solve.system import POSE_SIZE, NormalEquations
from components.compose.solve.ties import CENTER_POINT
from components.shared.along_z.covariances import covariances

FORMS: Floats = np.array(
    [
        np.eye(POSE_SIZE)[CENTER[0]],
        np.eye(POSE_SIZE)[CENTER[1]],
        [0, -1 / 2, 0, 1 / 2, 0, 0],
        [1 / 2, 0, 0, 0, 1 / 2, 0],
    ]
)
"""x and y of the centre, rotation and scale as linear forms of a pose near upright, all in px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """1-sigma of each slice's pose against the middle slice of its part of the stack."""

    sigma_px: Floats
    """[n] 1-sigma of the centre along each axis."""
    step_sigma_px: Floats
    """[n] 1-sigma, along each axis, of the centre's step from the previous slot; 0 for the first."""
    rotation_sigma_px: Floats
    """[n] 1-sigma of the rotation, as it moves a point at half the longer side of the slice."""
    scale_sigma_px: Floats
    """[n] 1-sigma of the scale, as it moves a point at half the longer side of the slice."""


def unknown(n_slices: int) -> Uncertainty:
    """The uncertainty of a solution that states none: 0 for every slice."""
    zero = np.zeros(n_slices)
    return Uncertainty(sigma_px=zero, step_sigma_px=zero, rotation_sigma_px=zero, scale_sigma_px=zero)


def uncertainty(
    equations: NormalEquations, spread: float, parts: Sequence[Integers], n_slices: int
) -> Uncertainty:
    """The uncertainty of every slice of a solution.

    Args:
        equations: Normal equations at the solution.
        spread: Observed over expected misfit, see `observed_spread`.
        parts: Ascending slots of each part of the stack; slots of no part are compared with the first part.
        n_slices: Number of slots.
    """
    from scipy.linalg import cho_solve_banded, cholesky_banded  # here for the reason of system.py

    factor = cholesky_banded(equations.band, lower=True, check_finite=False)
    own, ahead = covariances(factor, FORMS)
    middle_of = np.full(n_slices, parts[0][len(parts[0]) // 2])
    for part in parts:
        middle_of[part] = part[len(part) // 2]
    variance = np.empty((n_slices, len(FORMS)))
    for middle in np.unique(middle_of):
        at = np.flatnonzero(middle_of == middle)
        for number, form in enumerate(FORMS):
            unit = np.zeros(factor.shape[1])
            unit[POSE_SIZE * middle : POSE_SIZE * (middle + 1)] = form
            column = cho_solve_banded((factor, True), unit, check_finite=False).reshape(-1, POSE_SIZE) @ form
            variance[at, number] = own[at, number] + own[middle, number] - 2 * column[at]
    step = np.zeros((n_slices, 2))
    step[1:] = (own[1:] + own[:-1] - 2 * ahead)[:, :2]
    return Uncertainty(
        sigma_px=_sigma(variance[:, :2], spread),
        step_sigma_px=_sigma(step, spread),
        rotation_sigma_px=_sigma(variance[:, 2:3], spread),
        scale_sigma_px=_sigma(variance[:, 3:], spread),
    )


def observed_spread(problem: SolveProblem, solution: Solution) -> float:
    """Observed over expected misfit of the kept pairs at the centre: 1 where their sigmas are right.

    The square root of chi squared over its degrees of freedom (the reduced chi squared of a weighted fit).
    Each pair gives two numbers, x and y of the misfit, and counts as its robust weight w does; n slices take
    2 (n - 1) of them, since the first slice's place is given. So `2 (sum w - (n - 1))` are left to tell: the
    pairs beyond a chain.
    """
    ties, weight = problem.ties, solution.weight
    misfits = ties.misfits(problem.frame.poses(solution.volume_from_slice))[:, CENTER_POINT]
    squares = float((weight * (misfits**2).sum(axis=1) / ties.sigma_px**2).sum())
    left_over = 2 * (float(weight.sum()) - (len(problem.stack) - 1))
    enough = left_over >= problem.limits.uncertainty.least_left_over
    return (squares / left_over) ** 0.5 if enough else 1.0


def _sigma(variance_xy: Floats, spread: float) -> Floats:
    sigma: Floats = spread * np.sqrt(np.maximum(variance_xy.mean(axis=1), 0.0))
    return sigma
