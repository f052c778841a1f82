"""Errors of alignments whose answer is known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.sample.accuracy import compare, fit_rigid, neighbour_errors, position_errors
from components.shared.geometry import Matrix, grid_points, rotation_about, transform_points, translation

WIDTH, HEIGHT = 200, 120
POINTS = grid_points(WIDTH, HEIGHT)


def walk(n: int = 12) -> dict[int, Matrix]:
    rng = np.random.default_rng(7)
    return {
        z: translation(*rng.normal(0, 5, 2)) @ rotation_about((100, 60), rng.normal(0, 0.01))
        for z in range(n)
    }


@given(
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
    angle=st.floats(-math.pi, math.pi),
)
def test_no_error_in_any_rigid_frame(x: float, y: float, angle: float) -> None:
    truth = walk()
    gauge = translation(x, y) @ rotation_about((0, 0), angle)
    result = compare({z: gauge @ matrix for z, matrix in truth.items()}, truth, WIDTH, HEIGHT)
    assert result.max_px < 1e-6
    assert result.drift_px < 1e-6
    assert result.n_slices == len(truth)


def test_one_displaced_slice_spoils_both_its_pairs() -> None:
    truth = walk()
    recovered = dict(truth)
    recovered[5] = translation(3, 4) @ truth[5]
    matrices = np.stack(list(recovered.values()))
    errors = neighbour_errors(matrices, np.stack(list(truth.values())), POINTS)
    assert errors == pytest.approx([0, 0, 0, 0, 5, 5, 0, 0, 0, 0, 0], abs=1e-9)
    result = compare(recovered, truth, WIDTH, HEIGHT)
    assert (result.max_px, result.worst_z) == (pytest.approx(5), 4)
    assert result.mean_px == pytest.approx(10 / 11)
    assert result.drift_z == 5


def test_a_step_is_one_bad_pair_and_half_a_step_of_drift() -> None:
    truth = {z: np.eye(3) for z in range(10)}
    recovered = {z: translation(8 * (z >= 5), 0) for z in range(10)}
    result = compare(recovered, truth, WIDTH, HEIGHT)
    assert (result.max_px, result.worst_z) == (pytest.approx(8), 4)
    assert result.drift_px == pytest.approx(4)


def test_a_slow_lean_is_drift_but_hardly_neighbour_error() -> None:
    truth = {z: np.eye(3) for z in range(101)}
    recovered = {z: translation(0.1 * z, 0) for z in range(101)}
    result = compare(recovered, truth, WIDTH, HEIGHT)
    assert (result.mean_px, result.max_px) == (pytest.approx(0.1), pytest.approx(0.1))
    assert result.drift_px == pytest.approx(5)


def test_a_turned_slice_errs_by_its_mean_distance_from_the_centre() -> None:
    angle = 0.01
    center = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    true = np.stack([np.eye(3), np.eye(3)])
    turned = np.stack([np.eye(3), rotation_about(center, angle)])
    expected = 2 * math.sin(angle / 2) * np.linalg.norm(POINTS - center, axis=1).mean()
    assert neighbour_errors(turned, true, POINTS) == pytest.approx([expected])


def test_scale_is_an_error_and_not_fitted_away() -> None:
    truth = {z: np.eye(3) for z in range(4)}
    recovered = {z: np.diag([1.01, 1.01, 1.0]) for z in range(4)}
    assert compare(recovered, truth, WIDTH, HEIGHT).drift_px > 0.4
    errors = position_errors(np.stack(list(recovered.values())), np.stack(list(truth.values())), POINTS)
    assert errors == pytest.approx([0.01 * np.linalg.norm(POINTS - POINTS.mean(axis=0), axis=1).mean()] * 4)


def test_slices_that_one_side_lacks_are_left_out() -> None:
    truth = walk()
    recovered = {z: matrix for z, matrix in truth.items() if z not in (3, 4)}
    recovered[99] = np.eye(3)
    result = compare(recovered, truth, WIDTH, HEIGHT)
    assert result.n_slices == 10
    assert result.max_px == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("recovered", [{}, {0: np.eye(3)}, {7: np.eye(3), 8: np.eye(3)}])
def test_nothing_to_compare_is_refused(recovered: dict[int, Matrix]) -> None:
    with pytest.raises(ValueError, match="two slices or more"):
        compare(recovered, {0: np.eye(3), 1: np.eye(3)}, WIDTH, HEIGHT)


@given(angle=st.floats(-math.pi, math.pi), x=st.floats(-1e3, 1e3), y=st.floats(-1e3, 1e3))
def test_fit_rigid_finds_the_transform(angle: float, x: float, y: float) -> None:
    matrix = translation(x, y) @ rotation_about((10, 20), angle)
    assert fit_rigid(POINTS, transform_points(matrix, POINTS)) == pytest.approx(matrix, abs=1e-7)
