"""What the closures of a stack say of its pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.compose.solve.chain import sigmas_by_distance
from components.compose.solve.limits import SOLVE
from components.compose.solve.pairs import Pairs, Slices, unknown_supports
from components.compose.solve.problem import SolveProblem
from components.compose.solve.robust import solve
from tests.components.compose.planted_stack import MATCH_SIGMA_PX, MATCHES, about_center, all_pairs, plant

WIDTH = 1000.0
LIMITS = SOLVE.closures


def test_independent_errors_grow_with_the_square_root() -> None:
    planted = plant(600, 4, width=WIDTH)
    found = sigmas_by_distance(planted.pairs, planted.stack, LIMITS)
    # RMS over the slice of a noisy affine: two axes, each three times the variance of its centre.
    expected = MATCH_SIGMA_PX / np.sqrt(MATCHES) * np.sqrt(6)
    for d in (1, 2, 3, 4):
        assert found[d] == pytest.approx(expected * np.sqrt(d), rel=0.2)


def test_wrong_pairs_do_not_change_what_is_found() -> None:
    clean, spoiled = (plant(600, 4, width=WIDTH, wrong=wrong) for wrong in (0.0, 0.05))
    right = sigmas_by_distance(clean.pairs, clean.stack, LIMITS)
    found = sigmas_by_distance(spoiled.pairs, spoiled.stack, LIMITS)
    assert found == pytest.approx(right, rel=0.35)


def changing_tissue(n: int, k: int, growth: float = 2.0, near_px: float = 0.02) -> tuple[Pairs, Slices]:
    """Pairs that err by `near_px` times a power of their distance."""
    rng = np.random.default_rng(5)
    i, j = all_pairs(n, k)
    distance = (j - i).astype(np.float64)
    shifts = rng.normal(0, 1, (len(i), 2)) * (near_px * distance**growth)[:, None]
    pairs = Pairs(
        slot=i,
        neighbour=j,
        neighbour_from_slice=about_center(len(i), WIDTH, shifts),
        sigma_px=np.full(len(i), 0.05),
        supports_px=unknown_supports(len(i)),
    )
    return pairs, Slices(z=np.arange(n), sizes_xy=np.full((n, 2), WIDTH))


def test_far_pairs_of_changing_tissue_are_trusted_much_less() -> None:
    found = sigmas_by_distance(*changing_tissue(100, 4), LIMITS)
    assert list(found) == [1, 2, 3, 4]
    assert found[4] / found[2] > 3
    assert found[2] / found[1] > 3


def test_growth_beyond_the_steepest_is_not_carried_on_to_neighbours() -> None:
    """Far pairs that grow worse with the cube of the distance are wrong pairs, not tissue."""
    found = sigmas_by_distance(*changing_tissue(200, 4, growth=3.0), LIMITS)
    assert found[4] / found[2] > 2**2.5
    assert found[2] / found[1] == pytest.approx(2**LIMITS.steepest_growth)


def test_growth_below_that_of_independent_errors_is_not_carried_on_to_neighbours() -> None:
    """Exact neighbours below far pairs that are all equally bad."""
    pairs, stack = changing_tissue(200, 4, growth=0.0, near_px=0.5)
    pairs.neighbour_from_slice[pairs.neighbour - pairs.slot == 1] = np.eye(3)
    found = sigmas_by_distance(pairs, stack, LIMITS)
    assert found[2] / found[1] == pytest.approx(2**LIMITS.slowest_growth)


def test_before_the_stack_is_looked_at_independent_errors_are_expected() -> None:
    """The vote of a pair four slices apart counts as one that is half as good as that of neighbours."""
    planted = plant(60, 4, width=WIDTH)
    exact = replace(planted.pairs, sigma_px=np.zeros(len(planted.pairs)))
    ties = SolveProblem.of(planted.stack, exact).ties
    distance = ties.neighbour - ties.slot
    near, far = ties.vote_sigma_px[distance == 1], ties.vote_sigma_px[distance == 4]
    assert np.allclose(near, SOLVE.ties.model_sigma_px)
    assert np.allclose(far, 2 * near[0])


def test_a_few_slices_tell_nothing() -> None:
    planted = plant(8, 4, width=WIDTH)
    assert sigmas_by_distance(planted.pairs, planted.stack, LIMITS) == {}


def test_neighbours_alone_tell_nothing() -> None:
    planted = plant(100, 1, width=WIDTH)
    assert sigmas_by_distance(planted.pairs, planted.stack, LIMITS) == {}


def test_one_further_distance_is_enough() -> None:
    planted = plant(100, 2, width=WIDTH)
    found = sigmas_by_distance(planted.pairs, planted.stack, LIMITS)
    assert found[2] == pytest.approx(found[1] * 2**0.5)


def test_exact_pairs_keep_the_least_spread_and_its_growth() -> None:
    planted = plant(60, 4, width=WIDTH, noise=False)
    found = sigmas_by_distance(planted.pairs, planted.stack, LIMITS)
    assert found == pytest.approx({d: LIMITS.least_sigma_px * d**0.5 for d in (1, 2, 3, 4)})


def test_missing_slices_are_no_steps() -> None:
    """Numbers that are missing leave distances in z, not in slots."""
    planted = plant(60, 4, width=WIDTH)
    gap = replace(planted.stack, z=planted.stack.z + (planted.stack.z >= 30))
    found = sigmas_by_distance(planted.pairs, gap, LIMITS)
    assert set(found) >= {1, 2, 3, 4}
    assert found == pytest.approx(sigmas_by_distance(planted.pairs, planted.stack, LIMITS) | found, rel=0.3)


def test_the_pairs_of_a_stack_are_weighed_so() -> None:
    """Where far pairs err most, good neighbours decide."""
    pairs, stack = changing_tissue(100, 4)
    solved = solve(SolveProblem.of(stack, pairs)).volume_from_slice[:, :2, 2]
    steps = np.linalg.norm(np.diff(solved, axis=0), axis=1)
    near = pairs.neighbour - pairs.slot == 1
    told = np.linalg.norm(pairs.neighbour_from_slice[near, :2, 2], axis=1)
    assert steps.mean() < 1.2 * told.mean()


def test_coarse_far_pairs_say_nothing_of_fine_neighbours() -> None:
    """Sections two apart that are known to 6 px do not make neighbours, known to 0.5 px, count as coarse."""
    rng = np.random.default_rng(8)
    i, j = all_pairs(40, 2)
    sigma_px = np.where(j - i == 1, 0.5, 6.0)
    pairs = Pairs(
        slot=i,
        neighbour=j,
        neighbour_from_slice=about_center(len(i), WIDTH, rng.normal(0, 1, (len(i), 2)) * sigma_px[:, None]),
        sigma_px=sigma_px,
        supports_px=unknown_supports(len(i)),
    )
    stack = Slices(z=np.arange(40), sizes_xy=np.full((40, 2), WIDTH))
    assert 2 in sigmas_by_distance(pairs, stack, LIMITS)
    ties = SolveProblem.of(stack, pairs).ties
    near = j - i == 1
    assert np.array_equal(ties.sigma_px[near], ties.vote_sigma_px[near])
    solution = solve(SolveProblem.of(stack, pairs))
    steps = np.diff(solution.volume_from_slice[:, :2, 2], axis=0)
    # Each neighbour's own error, hardly changed by the coarse pairs beside it.
    assert np.abs(steps + pairs.neighbour_from_slice[j - i == 1][:, :2, 2]).max() < 0.5


def test_where_closures_are_too_few_neighbours_decide() -> None:
    """A short stack of changing tissue: far pairs that miss weigh as the square of their distance has it."""
    planted = plant(8, 3, width=WIDTH)
    ties = SolveProblem.of(planted.stack, planted.pairs).ties
    distance = ties.neighbour - ties.slot
    assert np.allclose(ties.sigma_px / ties.vote_sigma_px, distance**2.0)


def test_a_pair_that_bridges_keeps_its_own_sigma() -> None:
    """Neighbours say nothing of slice 4: the pairs across it are all that there is, whatever the numbers."""
    planted = plant(8, 3, width=WIDTH)
    alone = (planted.pairs.slot == 4) | (planted.pairs.neighbour == 4)
    ties = SolveProblem.of(planted.stack, planted.pairs.chosen(~alone)).ties
    bridges = (ties.slot < 4) & (ties.neighbour > 4)
    assert bridges.any()
    assert np.array_equal(ties.sigma_px[bridges], ties.vote_sigma_px[bridges])
    gap = replace(planted.stack, z=planted.stack.z + 10 * (planted.stack.z >= 4))
    ties = SolveProblem.of(gap, planted.pairs).ties
    across = (ties.slot < 4) & (ties.neighbour >= 4)
    assert np.array_equal(ties.sigma_px[across], ties.vote_sigma_px[across])
