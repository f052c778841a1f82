"""The ladder of motion models, its robustness, and the choice between its rungs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.align.models import LADDER, PointPairs, choose, fit_ladder, motion_rms_px
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
        ("translation", lambda _: np.eye(2)),
        ("rigid", lambda s: rotation(0.004 * s)),
        ("rigid_stretch", lambda s: np.diag([1, 1 + 0.004 * s])),
        ("affine", lambda s: np.diag([1 + 0.004 * s, 1])),
        ("affine", lambda s: np.eye(2) * (1 + 0.004 * s)),
        ("affine", lambda s: np.array([[1, 0.005 * s], [0, 1]])),
    ],
)
def test_choice_is_the_simplest_that_explains_either_sign(model: str, linear: object, sign: int) -> None:
    truth = affine(linear(sign), 12, -7)  # type: ignore[operator]
    fits = fit_ladder(pairs_under(truth, 0.4))
    assert choose(fits, SIZE_XY, 1.0, 200).model == model


@pytest.mark.parametrize(("stretch_px", "model"), [(0.3, "rigid"), (0.9, "rigid_stretch")])
def test_shape_below_half_a_pixel_is_left_to_the_tissue(stretch_px: float, model: str) -> None:
    y = grid_points(*SIZE_XY)[:, 1]
    stretch = stretch_px / np.std(y)
    truth = affine(rotation(0.003) @ np.diag([1, 1 + stretch]), 0, 0)
    assert choose(fit_ladder(pairs_under(truth, 0.02)), SIZE_XY, 1.0, 200).model == model


def test_tau_counts_at_full_resolution() -> None:
    y = grid_points(*SIZE_XY)[:, 1]
    truth = affine(np.diag([1, 1 + 0.3 / np.std(y)]), 0, 0)
    fits = fit_ladder(pairs_under(truth, 0.02))
    assert choose(fits, SIZE_XY, 1.0, 200).model in ("translation", "rigid")
    assert choose(fits, SIZE_XY, 0.5, 200).model == "rigid_stretch"


def turned_by(motion_px: float) -> Matrix:
    """A rotation about the middle that moves the picture by so much, RMS."""
    center = (np.array(SIZE_XY) - 1) / 2
    from_center = grid_points(*SIZE_XY) - center
    linear = rotation(motion_px / math.sqrt(np.mean(np.sum(np.square(from_center), axis=1))))
    return affine(linear, *(center - linear @ center))


@pytest.mark.parametrize(("motion_px", "model"), [(0.07, "translation"), (0.15, "rigid")])
def test_an_angle_of_a_tenth_of_a_pixel_is_a_rotation(motion_px: float, model: str) -> None:
    fits = fit_ladder(pairs_under(turned_by(motion_px), 0.005))
    assert choose(fits, SIZE_XY, 1.0, 200).model == model


@pytest.mark.parametrize(("motion_sigmas", "model"), [(0.22, "translation"), (0.31, "rigid")])
def test_an_angle_must_explain_more_than_its_number_costs(motion_sigmas: float, model: str) -> None:
    """The criterion's balance is at 0.27 sigma: 200 independent points, log 400 for the angle."""
    fits = fit_ladder(pairs_under(turned_by(motion_sigmas), 1.0, n=20_000))
    assert choose(fits, SIZE_XY, 1.0, 200).model == model
