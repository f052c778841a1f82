"""Serial sections stretch from one to the next: the pairs say so, and the priors must not overrule them."""

from __future__ import annotations

import numpy as np

from commands.sample.accuracy import neighbour_errors
from components.compose.solve.pairs import Pairs, Slices, unknown_supports
from components.compose.solve.problem import SolveProblem
from components.compose.solve.robust import solve
from components.shared.geometry import grid_points, translation


def test_a_chain_of_stretching_pairs_is_believed() -> None:
    rng = np.random.default_rng(3)
    n, side = 12, 1000.0
    true = np.tile(np.eye(3), (n, 1, 1))
    true[:, :2, :2] += rng.normal(0, 0.01, (n, 2, 2))
    true[:, :2, 2] = rng.normal(0, 10, (n, 2))
    centre = translation(-(side - 1) / 2, -(side - 1) / 2)
    true = np.linalg.inv(centre) @ true @ centre
    slots = np.arange(n - 1)
    pairs = Pairs(
        slot=slots,
        neighbour=slots + 1,
        neighbour_from_slice=np.linalg.solve(true[1:], true[:-1]),
        sigma_px=np.full(n - 1, 0.4),
        supports_px=unknown_supports(n - 1),
    )
    solution = solve(SolveProblem.of(Slices(z=np.arange(n), sizes_xy=np.full((n, 2), side)), pairs))
    assert solution.kept.all()
    errors = neighbour_errors(solution.volume_from_slice, true, grid_points(side, side))
    assert errors.max() < 0.5
