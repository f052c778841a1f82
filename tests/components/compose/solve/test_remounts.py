"""Samples that were turned, or recorded at another magnification, in the middle of a stack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.compose.solve.problem import Remounts
from components.shared.geometry import rotation_about, translation
from tests.components.compose.planted_stack import Planted, errors_px, plant
from tests.components.compose.solve.test_decisions_in_the_solve import FIRST_Z, N, placed
from tests.components.compose.test_compose_main import WIDTH

STEP = 25
"""Slot of the first slice that was turned or magnified."""


def remounted(planted: Planted, angle_deg: float, magnification: float) -> Planted:
    """The stack with its slices from STEP on turned and magnified about their middle; one pair holds them."""
    middle = (WIDTH - 1) / 2
    size = np.diag([magnification, magnification, 1.0])
    about = translation(middle, middle) @ size @ translation(-middle, -middle)
    similar = rotation_about((middle, middle), np.radians(angle_deg)) @ about
    new_from_old = np.tile(np.eye(3), (len(planted.stack), 1, 1))
    new_from_old[STEP:] = similar
    pairs = planted.pairs
    matrices = new_from_old[pairs.neighbour] @ pairs.neighbour_from_slice
    matrices = matrices @ np.linalg.inv(new_from_old[pairs.slot])
    across = (pairs.slot < STEP) & (pairs.neighbour >= STEP) & (pairs.neighbour - pairs.slot > 1)
    turned = replace(pairs, neighbour_from_slice=matrices).chosen(~across)
    return Planted(planted.truth @ np.linalg.inv(new_from_old), planted.stack, turned)


@pytest.mark.parametrize(
    ("angle_deg", "magnification"), [(7, 1.0), (90, 1.0), (180, 1.0), (0, 1.1), (0, 1 / 1.3), (-20, 1.2)]
)
def test_a_part_that_was_turned_or_magnified_is_placed_as_its_pairs_say(
    tmp_path: Path, angle_deg: float, magnification: float
) -> None:
    planted = remounted(plant(N, 4, width=WIDTH, noise=False), angle_deg, magnification)
    found = placed(tmp_path, planted)
    matrices = found.solution.volume_from_slice
    assert errors_px(matrices, planted.truth, WIDTH).max() < 0.05
    # The part with the most slices stands upright, at its own size.
    assert np.allclose(matrices[:STEP, :2, :2], np.eye(2), atol=1e-4)
    assert found.solution.kept.all()
    (told,) = (w for w in found.trends.warnings if "placed so" in w)
    assert told.startswith(f"slice {FIRST_Z + STEP} is ")
    assert (f"turned by {angle_deg:.1f} degrees" in told) == (angle_deg != 0)
    assert (f"magnified by {magnification:.2f}" in told) == (magnification != 1)


def test_no_prior_pulls_a_coarse_pair_back(tmp_path: Path) -> None:
    """One pair that is known to 5 px alone holds the part that stands on its head."""
    planted = remounted(plant(N, 4, width=WIDTH, noise=False), 180, 1.0)
    across = (planted.pairs.slot < STEP) & (planted.pairs.neighbour >= STEP)
    sigma_px = np.where(across, 5.0, planted.pairs.sigma_px)
    problem = replace(planted, pairs=replace(planted.pairs, sigma_px=sigma_px)).problem
    remounts = Remounts.of(problem)
    assert remounts is not None
    seen = remounts.turned_back(problem)
    solution = remounts.brought_back(replace(planted, stack=seen.stack, pairs=seen.pairs).solve())
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH).max() < 0.1


def test_a_slice_that_was_turned_alone_stands_as_those_around_it() -> None:
    planted = plant(12, 3, width=WIDTH, noise=False)
    turn = rotation_about(((WIDTH - 1) / 2,) * 2, np.pi / 2)
    frames = np.tile(np.eye(3), (12, 1, 1))
    frames[7] = turn
    pairs = planted.pairs
    matrices = frames[pairs.neighbour] @ pairs.neighbour_from_slice @ np.linalg.inv(frames[pairs.slot])
    problem = replace(planted, pairs=replace(pairs, neighbour_from_slice=matrices)).problem
    remounts = Remounts.of(problem)
    assert remounts is not None
    assert len(remounts.sentences(problem)) == 2
    others = np.arange(12) != 7
    assert np.allclose(remounts.frame_from_slice[others, :2, :2], np.eye(2), atol=1e-3)


def test_a_stack_without_remounts_is_solved_as_it_is() -> None:
    assert Remounts.of(plant(12, 3, width=WIDTH).problem) is None
