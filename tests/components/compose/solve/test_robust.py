"""The robust solve against planted stacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from components.compose.solve.chain import chained, neighbours_of
from components.compose.solve.connectivity import connectivity
from components.compose.solve.pairs import Pairs, Slices, Solution, unknown_supports
from components.compose.solve.problem import SolveProblem
from components.compose.solve.robust import solve, upright
from components.compose.solve.ties import PoseFrame
from components.shared.geometry import rotation_about, rotation_deg, transform_points
from tests.components.compose.planted_stack import (
    Planted,
    about_center,
    errors_px,
    plant,
    step_errors_px,
    wandering,
)

WIDTH = 5000.0


def isolated_slots(planted: Planted, solution: Solution) -> NDArray[np.int64]:
    return np.flatnonzero(connectivity(planted.pairs.chosen(solution.kept), len(planted.stack)).isolated)


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt((values**2).mean()))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_solve_without_noise_is_the_planted_stack(k: int) -> None:
    planted = plant(60, k, noise=False)
    solution = planted.solve()
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH).max() < 0.05
    assert solution.kept.all()


def test_solve_drifts_and_jitters_less_than_the_product() -> None:
    planted = plant(2000, 4)
    n = len(planted.stack)
    product = chained(neighbours_of(planted.pairs), n).volume_from_slice
    solved = planted.solve().volume_from_slice
    assert errors_px(product, planted.truth, WIDTH).max() > 2 * errors_px(solved, planted.truth, WIDTH).max()
    assert rms(step_errors_px(product, planted.truth, WIDTH)) > 2 * rms(
        step_errors_px(solved, planted.truth, WIDTH)
    )
    assert errors_px(solved, planted.truth, WIDTH).max() < 2


@pytest.mark.parametrize("width", [500.0, 5000.0])
def test_noise_does_not_shrink_the_stack(width: float) -> None:
    scales = np.sqrt(np.linalg.det(plant(1000, 4, width=width).solve().volume_from_slice[:, :2, :2]))
    assert abs(scales.mean() - 1) < 20e-6


@pytest.mark.parametrize("seed", range(3))
def test_wrong_pairs_and_bad_slices_hurt_no_good_slice(seed: int) -> None:
    n = 400
    bad = np.sort(np.random.default_rng(seed + 100).choice(n, 5, replace=False))
    planted = plant(n, 4, wrong=0.05, bad=bad, seed=seed)
    solution = planted.solve()
    good = ~np.isin(np.arange(n), bad)
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH, good)[good].max() < 3
    assert isolated_slots(planted, solution).tolist() == bad.tolist()


@pytest.mark.parametrize("bad", [[0], [39], [0, 1], [20, 21, 22]])
def test_bad_slices_at_the_ends_and_in_a_row(bad: list[int]) -> None:
    planted = plant(40, 4, bad=bad)
    solution = planted.solve()
    good = ~np.isin(np.arange(40), bad)
    assert isolated_slots(planted, solution).tolist() == bad
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH, good)[good].max() < 1


def test_static_pattern_that_spoils_the_nearest_pairs_of_thirty_slices() -> None:
    """A curtain that does not move makes each z+1 pair of a run say that nothing moves."""
    planted = plant(200, 4)
    pairs = planted.pairs
    static = (pairs.slot >= 80) & (pairs.slot < 110) & (pairs.neighbour - pairs.slot == 1)
    pairs.neighbour_from_slice[static] = np.eye(3)
    solution = planted.solve()
    moved = np.linalg.norm(np.diff(planted.truth[:, :2, 2], axis=0), axis=1)[80:110]
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH).max() < 1.5
    assert not solution.kept[static][moved > 3].any()
    assert not isolated_slots(planted, solution).size


@pytest.mark.parametrize("n", [1, 2, 3])
def test_short_stacks(n: int) -> None:
    planted = plant(n, 4, noise=False)
    assert errors_px(planted.solve().volume_from_slice, planted.truth, WIDTH).max() < 0.01


def test_first_slice_stays_and_the_stack_stands_upright() -> None:
    truth = np.array([rotation_about((2500, 2500), a) for a in np.linspace(0.01, 0.03, 300)])
    solution = plant(300, 4, truth=truth, noise=False).solve()
    angles = [rotation_deg(m) for m in solution.volume_from_slice]
    assert abs(np.mean(angles)) < 1e-3
    first = transform_points(solution.volume_from_slice[0], [[2499.5, 2499.5]])
    assert np.allclose(first, 2499.5, atol=1e-6)


def test_upright_is_the_mean_rotation_whatever_the_sizes() -> None:
    """A slice of twice the scale turns the stack no more than the others."""
    frame = PoseFrame.of([[101, 101]])
    motions = [
        rotation_about((50, 50), a) @ about_center(1, 101, linear=(s - 1) * np.eye(2))[0]
        for a, s in ((0.1, 2.0), (-0.1, 0.5))
    ]
    poses = frame.poses(np.array(motions))
    np.testing.assert_allclose(upright(poses, frame), poses, atol=1e-9)


def test_slices_that_turn_far_leave_all_at_their_own_size() -> None:
    truth = np.array([rotation_about((2500, 2500), np.radians(20 * (z == 7))) for z in range(16)])
    found = plant(16, 4, truth=truth, noise=False).solve().volume_from_slice
    assert np.allclose(np.linalg.det(found[:, :2, :2]), 1, atol=1e-9)
    assert abs(np.mean([rotation_deg(m) for m in found])) < 0.03


def test_a_true_jump_and_turn_is_not_smeared() -> None:
    truth = wandering(np.random.default_rng(1), 100, WIDTH)
    truth[50:] = about_center(1, WIDTH, [500.0, -80.0])[0] @ rotation_about((2500, 2500), 0.01) @ truth[50:]
    planted = plant(100, 4, truth=truth)
    solution = planted.solve()
    assert solution.kept.all()
    assert step_errors_px(solution.volume_from_slice, truth, WIDTH).max() < 0.5


def turned(angles_px: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Slices that turn about their centre, as points at half the width move."""
    middle = (width - 1) / 2
    return np.array([rotation_about((middle, middle), a / (width / 2)) for a in angles_px])


def turns_px(found: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """How far each slice turns from the one before, in px at half the width."""
    return np.diff(np.radians([rotation_deg(m) for m in found])) * width / 2


@pytest.mark.parametrize(
    ("steps_px", "left"),
    [
        pytest.param(0.04 * np.sin(np.arange(79) / 4), 0.6, id="tissue that winds along z is left as it is"),
        pytest.param(np.full(79, 0.04), 1.0, id="a stage that turns evenly is followed"),
        pytest.param(
            np.random.default_rng(5).normal(0, 0.2, 79), 1.0, id="so is one that turns anew each time"
        ),
        pytest.param(0.5 * (np.arange(79) == 40), 1.0, id="and a single turn"),
    ],
)
def test_a_rotation_counts_as_far_as_it_changes_from_step_to_step(
    steps_px: NDArray[np.float64], left: float
) -> None:
    width = 400.0
    truth = turned(np.cumsum([0.0, *steps_px]), width)
    planted = plant(80, 4, truth=truth, width=width, noise=False)
    found_px = turns_px(planted.solve().volume_from_slice, width)
    share = float((found_px @ steps_px) / (steps_px @ steps_px))
    assert share < left if left < 1 else share == pytest.approx(1, abs=0.05)


def test_a_pair_binds_where_its_evidence_lies() -> None:
    """Evidence in a corner says little of the rotation, so a pair of the whole picture decides on it."""
    planted = plant(30, 4, noise=False)
    far = planted.pairs.neighbour - planted.pairs.slot > 1
    supports_px = np.tile([0.0, 0.0, WIDTH / 10, WIDTH / 10], (len(planted.pairs), 1))
    supports_px[far] = np.nan
    spoiled = planted.pairs.neighbour_from_slice.copy()
    near = np.flatnonzero(~far)
    spoiled[near] = rotation_about((WIDTH / 20, WIDTH / 20), 1e-4) @ spoiled[near]
    in_corners = replace(planted.pairs, neighbour_from_slice=spoiled, supports_px=supports_px)
    anywhere = replace(in_corners, supports_px=unknown_supports(len(planted.pairs)))
    errors = [
        step_errors_px(
            solve(SolveProblem.of(planted.stack, pairs)).volume_from_slice, planted.truth, WIDTH
        ).mean()
        for pairs in (in_corners, anywhere)
    ]
    assert errors[0] < 0.2 * errors[1]


def test_slices_of_different_size() -> None:
    planted = plant(60, 4, noise=False)
    sizes = np.where(np.arange(60)[:, None] % 7 == 3, [3100.0, 4000.0], [5000.0, 4700.0])
    solution = solve(SolveProblem.of(Slices(z=planted.stack.z, sizes_xy=sizes), planted.pairs))
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH).max() < 0.05


def test_missing_slices_leave_the_others_where_they_are() -> None:
    whole = plant(60, 5)
    keep = np.flatnonzero(~np.isin(np.arange(60), [20, 21, 40]))
    slot_of = np.full(60, -1)
    slot_of[keep] = np.arange(len(keep))
    there = np.isin(whole.pairs.slot, keep) & np.isin(whole.pairs.neighbour, keep)
    chosen = whole.pairs.chosen(there)
    pairs = Pairs(
        slot=slot_of[chosen.slot],
        neighbour=slot_of[chosen.neighbour],
        neighbour_from_slice=chosen.neighbour_from_slice,
        sigma_px=chosen.sigma_px,
        supports_px=unknown_supports(len(chosen)),
    )
    solution = solve(SolveProblem.of(Slices(z=keep, sizes_xy=np.full((len(keep), 2), WIDTH)), pairs))
    assert errors_px(solution.volume_from_slice, whole.truth[keep], WIDTH).max() < 1


def test_an_unconnected_part_continues_where_the_part_before_ends() -> None:
    planted = plant(40, 4, noise=False)
    across = (planted.pairs.slot < 20) & (planted.pairs.neighbour >= 20)
    solution = solve(SolveProblem.of(planted.stack, planted.pairs.chosen(~across)))
    corners = [[0, 0], [4999, 0], [2499.5, 2499.5]]
    before = transform_points(solution.volume_from_slice[19], corners)
    after = transform_points(solution.volume_from_slice[20], corners)
    assert np.abs(after - before).max() < 0.01
    second = planted.truth[20:]
    assert errors_px(solution.volume_from_slice[20:], second, WIDTH).max() < 0.05


def test_the_same_input_gives_the_same_bytes() -> None:
    first, second = (plant(150, 4, wrong=0.05).solve() for _ in range(2))
    assert first.volume_from_slice.tobytes() == second.volume_from_slice.tobytes()
    assert first.weight.tobytes() == second.weight.tobytes()


def test_tissue_that_disagrees_everywhere_is_still_believed() -> None:
    planted = plant(100, 4)
    rng = np.random.default_rng(9)
    planted.pairs.neighbour_from_slice[:, :2, 2] += rng.normal(0, 4, (len(planted.pairs), 2))
    assert planted.solve().kept.mean() > 0.9


@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_static_pattern_loses_against_the_far_pairs_that_see_the_tissue(seed: int, reach: int) -> None:
    """The near pairs of thirty slices say that nothing moves, and they agree with each other."""
    planted = plant(200, 4, wrong=0.05, seed=seed)
    pairs = planted.pairs
    static = (pairs.slot >= 80) & (pairs.neighbour < 110) & (pairs.neighbour - pairs.slot <= reach)
    pairs.neighbour_from_slice[static] = np.eye(3)
    solution = planted.solve()
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH).max() < 1.5
    assert not isolated_slots(planted, solution).size


def test_static_pattern_that_nothing_contradicts_stays_in_its_run() -> None:
    planted = plant(300, 4)
    pairs = planted.pairs
    static = (pairs.slot >= 80) & (pairs.neighbour < 110)
    pairs.neighbour_from_slice[static] = np.eye(3)
    solution = planted.solve()
    for outside in (slice(0, 80), slice(110, 300)):
        found, truth = solution.volume_from_slice[outside], planted.truth[outside]
        assert errors_px(found, truth, WIDTH).max() < 1.5


def test_a_stack_that_stands_still_is_believed() -> None:
    planted = plant(100, 4, truth=about_center(100, WIDTH))
    solution = planted.solve()
    assert solution.kept.all()
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH).max() < 0.5


LINEAR_CASES = {
    "turn left": [[0.0, 0.02], [-0.02, 0.0]],
    "turn right": [[0.0, -0.02], [0.02, 0.0]],
    "grow": [[0.01, 0.0], [0.0, 0.01]],
    "shrink": [[-0.01, 0.0], [0.0, -0.01]],
    "stretch y": [[0.0, 0.0], [0.0, 0.012]],
    "shear": [[0.0, 0.01], [0.01, 0.0]],
    "shear back": [[0.0, -0.01], [-0.01, 0.0]],
}


@pytest.mark.parametrize("corner", [False, True])
@pytest.mark.parametrize("kind", LINEAR_CASES)
def test_turns_scales_and_shears_of_either_sign_about_centre_and_corner(kind: str, corner: bool) -> None:
    """From one slice to the next, back and forth."""
    linear = np.array(LINEAR_CASES[kind]) * np.sin(np.arange(60) / 3)[:, None, None]
    truth = about_center(60, WIDTH, linear=linear)
    if corner:
        truth[:, :2, 2] = 0.0
    planted = plant(60, 4, truth=truth)
    solution = planted.solve()
    assert solution.kept.all()
    assert step_errors_px(solution.volume_from_slice, truth, WIDTH).max() < 0.6
    assert errors_px(solution.volume_from_slice, truth, WIDTH).max() < 1.5


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("bad", [0, -1])
def test_short_stacks_with_a_bad_end(n: int, bad: int) -> None:
    """Nothing can be told of so few slices; nothing may fail either."""
    planted = plant(n, 4, bad=[range(n)[bad]])
    matrices = planted.solve().volume_from_slice
    assert np.isfinite(matrices).all()
    assert np.allclose(matrices[0] @ [2499.5, 2499.5, 1], [2499.5, 2499.5, 1], atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_every_tenth_slice_bad(seed: int) -> None:
    n = 300
    bad = np.sort(np.random.default_rng(seed).choice(n, n // 10, replace=False))
    planted = plant(n, 4, wrong=0.02, bad=bad, seed=seed)
    solution = planted.solve()
    good = ~np.isin(np.arange(n), bad)
    assert errors_px(solution.volume_from_slice, planted.truth, WIDTH, good)[good].max() < 3
    assert np.isin(bad, isolated_slots(planted, solution)).all()
