"""The ladder of motion models, its robustness, and the choice between its rungs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.align.models import LADDER, Fit, PointPairs, choose, fit_ladder, motion_rms_px
from components.shared.geometry import Matrix, corner_points, grid_points, transform_points

SIZE_XY = (1000, 800)


def affine(linear: np.ndarray, x: float, y: float) -> Matrix:
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = x, y
    return matrix


def pairs_under(matrix: Matrix, sigma: float = 0.0, seed: int = 0, n: int = 200) -> PointPairs:
    rng = np.random.default_rng(seed)
    points = rng.uniform((0, 0), SIZE_XY, (n, 2))
    return PointPairs(points, transform_points(matrix, points) + rng.normal(0, sigma, (n, 2)))


def chosen(pairs: PointPairs, scale: float = 1.0, n_independent: float = 200) -> Fit:
    return choose(fit_ladder(pairs), pairs, SIZE_XY, scale, n_independent)


def rotation(angle_rad: float) -> np.ndarray:
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s], [s, c]])


@settings(max_examples=30)
@given(
    angle=st.floats(-0.1, 0.1),
    stretch=st.floats(0.97, 1.03),
    shear=st.floats(-0.02, 0.02),
    x=st.floats(-100, 100),
    y=st.floats(-100, 100),
)
def test_each_model_finds_its_own_motions_exactly(
    angle: float, stretch: float, shear: float, x: float, y: float
) -> None:
    linear = {
        "translation": np.eye(2),
        "rigid": rotation(angle),
        "rigid_stretch": rotation(angle) @ np.diag([1, stretch]),
        "affine": rotation(angle) @ np.array([[1, shear], [0, stretch]]),
    }
    for model in LADDER:
        truth = affine(linear[model], x, y)
        fit = fit_ladder(pairs_under(truth, n=30))[model]
        assert motion_rms_px(fit.matrix, truth, corner_points(*SIZE_XY)) < 1e-6


def test_outliers_weigh_nothing() -> None:
    truth = affine(rotation(0.01), 5, -3)
    pairs = pairs_under(truth, 0.3)
    pairs.neighbour_px[:40] += [9, 7]
    fit = fit_ladder(pairs)["rigid"]
    assert np.all(fit.weights[:40] == 0)
    assert motion_rms_px(fit.matrix, truth, corner_points(*SIZE_XY)) < 0.15
    assert fit.sigma_px == pytest.approx(0.35, abs=0.1)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("model", "linear"),
    [
        ("rigid", lambda _: np.eye(2)),
        ("rigid", lambda s: rotation(0.004 * s)),
        ("rigid_stretch", lambda s: np.diag([1, 1 + 0.004 * s])),
        ("affine", lambda s: np.diag([1 + 0.004 * s, 1])),
        ("affine", lambda s: np.eye(2) * (1 + 0.004 * s)),
        ("affine", lambda s: np.array([[1, 0.005 * s], [0, 1]])),
    ],
)
def test_choice_is_the_simplest_that_explains_either_sign(model: str, linear: object, sign: int) -> None:
    truth = affine(linear(sign), 12, -7)  # type: ignore[operator]
    assert chosen(pairs_under(truth, 0.4)).model == model


@pytest.mark.parametrize(("stretch_px", "model"), [(0.3, "rigid"), (0.9, "rigid_stretch")])
def test_shape_below_half_a_pixel_is_left_to_the_tissue(stretch_px: float, model: str) -> None:
    y = grid_points(*SIZE_XY)[:, 1]
    stretch = stretch_px / np.std(y)
    truth = affine(rotation(0.003) @ np.diag([1, 1 + stretch]), 0, 0)
    assert chosen(pairs_under(truth, 0.02)).model == model


def test_tau_counts_at_full_resolution() -> None:
    y = grid_points(*SIZE_XY)[:, 1]
    truth = affine(np.diag([1, 1 + 0.3 / np.std(y)]), 0, 0)
    pairs = pairs_under(truth, 0.02)
    assert chosen(pairs).model == "rigid"
    assert chosen(pairs, scale=0.5).model == "rigid_stretch"


@pytest.mark.parametrize("motion_px", [0.01, 0.07, 0.15])
def test_an_angle_is_kept_however_small(motion_px: float) -> None:
    """The solve, which sees all pairs, says how much of it counts."""
    center = (np.array(SIZE_XY) - 1) / 2
    from_center = grid_points(*SIZE_XY) - center
    linear = rotation(motion_px / math.sqrt(np.mean(np.sum(np.square(from_center), axis=1))))
    truth = affine(linear, *(center - linear @ center))
    fit = chosen(pairs_under(truth, 0.1, n=2000))
    assert fit.model == "rigid"
    assert motion_rms_px(fit.matrix, truth, from_center + center) < 0.01


@pytest.mark.parametrize(("side_px", "model"), [(20.0, "translation"), (400.0, "rigid")])
def test_points_in_one_spot_tell_no_angle(side_px: float, model: str) -> None:
    """With errors of 1 px, 20 points in 20 x 20 px tell an angle to 14 px at the side, in 400 px to 0.7."""
    rng = np.random.default_rng(0)
    points = 400 + rng.uniform(0, side_px, (20, 2))
    pairs = PointPairs(points, points + rng.normal(0, 1.0, (20, 2)))
    assert chosen(pairs, n_independent=20).model == model


@pytest.mark.parametrize(("n_independent", "model"), [(2.0, "rigid"), (3.3, "rigid"), (24.0, "affine")])
def test_the_fit_of_few_points_by_many_parameters_tells_no_error(n_independent: float, model: str) -> None:
    """Three points far apart lie on any affine, whatever their own errors are."""
    y = grid_points(*SIZE_XY)[:, 1]
    truth = affine(np.array([[1, 1 / np.std(y)], [0, 1]]), 0, 0)
    assert chosen(pairs_under(truth, 0.3, n=48), n_independent=n_independent).model == model
