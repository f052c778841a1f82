"""What becomes of planted trends."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from components.compose.solve.drift import non_closure, trends_of
from components.compose.solve.limits import SOLVE
from components.compose.solve.pairs import Solution
from components.compose.solve.problem import SolveProblem
from components.compose.solve.ties import PoseFrame
from components.compose.solve.trend import (
    linear_parts,
    linear_tracks,
    slow_trend,
    with_trend_policy,
    without_jumps,
)
from components.shared.documents.transforms import Trends
from components.shared.geometry import rotation_about, rotation_deg
from tests.components.compose.planted_stack import Planted, about_center, errors_px, plant, step_errors_px

N, WIDTH = 1200, 1000.0
HALF = (WIDTH - 1) / 2


def settled(
    planted: Planted, trend: str, pins: Iterable[tuple[int, tuple[float, float]]] = ()
) -> tuple[Solution, Solution]:
    solution = planted.solution
    return solution, with_trend_policy(
        SolveProblem.of(planted.stack, planted.pairs, pins=dict(pins)), solution, trend
    )


def centers_of(solution: Solution) -> NDArray[np.float64]:
    return PoseFrame.of([[WIDTH, WIDTH]]).poses(solution.volume_from_slice)[:, :, 2]


@pytest.fixture(scope="module")
def magnified() -> Planted:
    """Grows by 1.2% and turns by a degree, evenly, while it slides by 120 px and jitters."""
    t = np.linspace(-0.5, 0.5, N)
    turn, grow = np.radians(1.0) * t, 0.012 * t
    linear = np.moveaxis(np.array([[grow, -turn], [turn, grow]]), -1, 0)
    shifts = np.random.default_rng(3).normal(0, 4, (N, 2)) + 120 * (t[:, None] + 0.5) * [1.0, 0.0]
    return plant(N, 4, width=WIDTH, truth=about_center(N, WIDTH, shifts - shifts[0], linear))


@pytest.mark.parametrize(
    "linear", [np.diag([1.2, 0.9]), np.array([[0.6, -0.8], [0.8, 0.6]]) @ [[1, 0.1], [0.1, 1]]]
)
def test_tracks_are_the_whole_linear_part(linear: NDArray[np.float64]) -> None:
    assert np.allclose(linear_parts(linear_tracks(linear[None])), linear)


@pytest.mark.parametrize("angle", [-3.0, 3.0])
def test_a_turned_picture_has_neither_scale_nor_shear(angle: float) -> None:
    tracks = linear_tracks(rotation_about((0, 0), angle)[None, :2, :2])
    assert np.allclose(tracks, [[angle, 0, 0, 0]])


def test_two_slices_have_no_slope() -> None:
    assert slow_trend(np.array([[1.0, 2.0, 5.0], [3.0, 6.0, 5.0]])).tolist() == [[2, 4, 5]] * 2


@pytest.mark.parametrize("n_slices", [3, 4, 500, 1000, 1001, 1002, 2500])
def test_a_trend_is_what_the_filter_of_savitzky_and_golay_gives(n_slices: int) -> None:
    from scipy.signal import savgol_filter

    tracks = np.random.default_rng(n_slices).normal(0, 0.01, (n_slices, 4)).cumsum(axis=0)
    window = min(1001, n_slices - 1 + n_slices % 2)
    expected = savgol_filter(without_jumps(tracks), window, 1, axis=0)
    assert np.abs(slow_trend(tracks) - expected).max() < 1e-14


def test_a_jump_is_no_trend() -> None:
    rng = np.random.default_rng(0)
    walk = rng.normal(0, 0.01, (N, 1)).cumsum(axis=0)
    jumped = walk + 5.0 * (np.arange(N) >= 500)[:, None]
    assert np.abs(without_jumps(jumped) - walk).max() < 0.1
    assert np.abs(np.diff(slow_trend(jumped), axis=0)).max() < 0.01


@pytest.mark.parametrize(("spreads", "is_jump"), [(12, True), (5, False)])
def test_the_least_jump_is_no_trend(spreads: int, is_jump: bool) -> None:
    rng = np.random.default_rng(1)
    steps = rng.normal(0, 0.01, (N, 1))
    steps[500] = spreads * 0.01
    calm = np.diff(without_jumps(np.cumsum(steps, axis=0)), axis=0)
    assert calm[499, 0] == pytest.approx(0.0 if is_jump else spreads * 0.01, abs=0.001)


def test_keep_leaves_the_solution_alone(magnified: Planted) -> None:
    solution, kept = settled(magnified, "keep")
    assert kept is solution


def test_hybrid_suppresses_slow_scale_and_rotation_and_leaves_the_slide(magnified: Planted) -> None:
    solution, hybrid = settled(magnified, "hybrid")
    scale = np.sqrt(np.linalg.det(hybrid.volume_from_slice[:, :2, :2]))
    assert np.ptp(np.sqrt(np.linalg.det(solution.volume_from_slice[:, :2, :2]))) > 4 * np.ptp(scale)
    assert np.ptp(scale) < 0.0015
    assert np.ptp([rotation_deg(m) for m in hybrid.volume_from_slice]) < 0.1
    slide = centers_of(hybrid)[-1] - centers_of(hybrid)[0]
    assert abs(slide[0] - (centers_of(solution)[-1] - centers_of(solution)[0])[0]) < 3


def test_slices_keep_their_size_where_a_long_stack_has_pins(magnified: Planted) -> None:
    """Pins fix the place of the stack, so that it is not brought upright afterwards."""
    _, pinned = settled(magnified, "hybrid", {0: (HALF, HALF)}.items())
    assert np.sqrt(np.linalg.det(pinned.volume_from_slice[:, :2, :2])) == pytest.approx(1, abs=0.01)


def test_steps_change_by_no_more_than_the_removed_slope(magnified: Planted) -> None:
    solution, hybrid = settled(magnified, "hybrid")
    slope = 2**0.5 * HALF * (0.012 + np.radians(1.0)) / N
    changed = step_errors_px(hybrid.volume_from_slice, solution.volume_from_slice, WIDTH)
    assert changed.max() < 1.2 * slope


def test_detrend_removes_the_slide_too(magnified: Planted) -> None:
    _, detrended = settled(magnified, "detrend")
    # What is left is the jitter: the slices lie where they did in the microscope, but for slow motions.
    assert np.abs(np.diff(slow_trend(centers_of(detrended))[[0, -1]], axis=0)).max() < 1


def test_straighten_brings_the_last_centre_above_the_first_and_nothing_else(magnified: Planted) -> None:
    solution, straight = settled(magnified, "straighten")
    assert np.allclose(centers_of(straight)[-1], centers_of(straight)[0], atol=1e-6)
    assert np.allclose(
        straight.volume_from_slice[:, :2, :2], solution.volume_from_slice[:, :2, :2], atol=1e-9
    )


def test_a_short_stack_keeps_its_walk() -> None:
    angles = np.radians(np.random.default_rng(5).normal(0, 0.1, 48).cumsum())
    truth = np.array([rotation_about((HALF, HALF), a) for a in angles - angles.mean()])
    planted = plant(48, 4, width=WIDTH, truth=truth)
    solution, hybrid = settled(planted, "hybrid")
    assert hybrid is solution
    assert errors_px(hybrid.volume_from_slice, truth, WIDTH).max() < 0.5


def test_a_true_turn_survives_hybrid() -> None:
    truth = np.tile(np.eye(3), (N, 1, 1))
    truth[N // 2 :] = rotation_about((HALF, HALF), np.radians(1.0))
    planted = plant(N, 4, width=WIDTH, truth=truth)
    _, hybrid = settled(planted, "hybrid")
    assert step_errors_px(hybrid.volume_from_slice, truth, WIDTH).max() < 0.3


@pytest.mark.parametrize("trend", ["keep", "anchor"])
def test_pins_hold_and_share_the_strain_between_them(trend: str) -> None:
    truth = about_center(60, WIDTH)
    planted = plant(60, 4, width=WIDTH, truth=truth, noise=False)
    _, pinned = settled(planted, trend, {10: (500.0, 400.0), 50: (540.0, 400.0)}.items())
    centers = centers_of(pinned)
    assert np.allclose(centers[[10, 50]], [[500, 400], [540, 400]], atol=1e-3)
    assert np.allclose(np.diff(centers[14:47, 0]), 1.0, atol=0.2)
    assert np.allclose(centers[:10], [500, 400], atol=1.5)
    assert np.allclose(centers[55:], [540, 400], atol=1.5)


def test_a_pin_is_the_centre_of_the_slice_itself() -> None:
    planted = plant(20, 4, width=WIDTH, noise=False)
    planted.stack.sizes_xy[7] = [600, 800]
    _, pinned = settled(planted, "keep", {7: (30.0, -40.0)}.items())
    assert np.allclose(pinned.volume_from_slice[7] @ [299.5, 399.5, 1], [30, -40, 1], atol=1e-3)


def described(planted: Planted, trend: str = "keep") -> Trends:
    solution, written = settled(planted, trend)
    held = np.ones(len(planted.stack), bool)
    return trends_of(planted.problem, solution, written, held, trend)


def test_the_diagnostics_name_what_drifts(magnified: Planted) -> None:
    trends = described(magnified)
    tracks = {track.parameter: track for track in trends.tracks}
    # The solve's weak pull to upright has taken some of the growth by itself.
    assert tracks["x"].net == pytest.approx(120, abs=8)
    assert tracks["rotation"].net == pytest.approx(1.0, abs=0.1)
    assert 6000 < tracks["scale_x"].net < 12000
    assert tracks["scale_x"].net > 3 * tracks["scale_x"].expected_net
    assert abs(tracks["y"].net) < 3 * tracks["y"].expected_net + 5
    assert "scale_x" in trends.suggestion
    assert any("scale_x should stay within 2,000 ppm" in warning for warning in trends.warnings)
    assert trends.box_growth > 1.1
    assert any("drift apart" in warning for warning in trends.warnings)
    assert not any("0.2%" in warning for warning in described(magnified, "hybrid").warnings)


def test_far_pairs_that_contradict_near_ones_are_named() -> None:
    planted = plant(SOLVE.trend.long_slices, 4, width=WIDTH)
    near = planted.pairs.neighbour - planted.pairs.slot == 1
    planted.pairs.neighbour_from_slice[near, 0, 2] -= 0.1
    track = described(planted).tracks[0]
    # Each near pair says 0.1 px more to the right than the far ones.
    assert track.non_closure == pytest.approx(
        -0.1 * (SOLVE.trend.long_slices - 1), abs=3 * track.non_closure_sigma
    )
    assert "Near and far pairs disagree on x" in described(planted).suggestion


def test_the_sigma_of_non_closure_is_the_size_of_what_chance_makes_it() -> None:
    found = []
    for seed in range(60):
        planted = plant(120, 4, width=WIDTH, seed=seed)
        frame = PoseFrame.of(planted.stack.sizes_xy)
        chance = non_closure(planted.pairs, 120, frame, SOLVE.drift)
        found.append(chance.mean / chance.sigma)
    # Chance makes both far pairs and chains err; only the chains share steps, so the sigma is a little wide.
    assert 0.6 < np.std(found) < 1.1


def test_slices_behind_a_static_pattern_are_warned_of() -> None:
    planted = plant(200, 4)
    pairs = planted.pairs
    static = (pairs.slot >= 80) & (pairs.neighbour < 110)
    pairs.neighbour_from_slice[static] = np.eye(3)
    found = [warning for warning in described(planted).warnings if "do not move" in warning]
    assert len(found) == 1
    assert not [warning for warning in described(plant(200, 4)).warnings if "do not move" in warning]


def test_one_slice_is_described() -> None:
    trends = described(plant(1, 4))
    assert all(track.net == 0 and track.non_closure is None for track in trends.tracks)


def test_oblong_slices_that_lie_still_fill_their_box() -> None:
    planted = plant(6, 2, width=WIDTH, truth=about_center(6, WIDTH), noise=False)
    planted.stack.sizes_xy[:] = [600, 800]
    assert described(planted).box_growth == pytest.approx(1, abs=0.01)
