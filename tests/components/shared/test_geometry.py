"""Frames connect as geometry.py says: pixel centres at integers, at every scale."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from components.shared.geometry import (
    Matrix,
    at_full_resolution,
    corner_points,
    grid_points,
    rotation_about,
    rotation_deg,
    scaled_from_full,
    transform_points,
    translation,
)

COORDINATE = st.floats(-1e4, 1e4)
ANGLE = st.floats(-math.pi, math.pi)
SCALE = st.floats(0.05, 1.0)


@st.composite
def affine(draw: st.DrawFn) -> Matrix:
    """A rotation, a mild stretch and shear, and a shift."""
    stretch = np.eye(3)
    stretch[:2, :2] += draw(st.tuples(*[st.floats(-0.2, 0.2)] * 4).map(lambda v: np.reshape(v, (2, 2))))
    turned = rotation_about(draw(st.tuples(COORDINATE, COORDINATE)), draw(ANGLE))
    return translation(draw(COORDINATE), draw(COORDINATE)) @ turned @ stretch


@given(ANGLE, COORDINATE, COORDINATE)
def test_a_rotation_keeps_its_centre_and_every_distance_to_it(angle: float, x: float, y: float) -> None:
    matrix = rotation_about((x, y), angle)
    np.testing.assert_allclose(transform_points(matrix, [[x, y]]), [[x, y]], atol=1e-6)
    moved = transform_points(matrix, [[x + 30, y + 40]]) - [x, y]
    assert math.hypot(*moved[0]) == pytest.approx(50, abs=1e-6)
    np.testing.assert_allclose(matrix @ rotation_about((x, y), -angle), np.eye(3), atol=1e-6)


def test_a_positive_rotation_turns_x_towards_y() -> None:
    np.testing.assert_allclose(
        transform_points(rotation_about((10, 10), math.pi / 2), [[11, 10]]), [[10, 11]], atol=1e-12
    )


@given(st.floats(-179.9, 179.9), st.floats(0.2, 5), COORDINATE, COORDINATE)
def test_the_rotation_is_read_back_whatever_scale_and_shift(
    degrees: float, scale: float, x: float, y: float
) -> None:
    matrix = translation(x, y) @ rotation_about((0, 0), math.radians(degrees)) @ np.diag([scale, scale, 1.0])
    assert rotation_deg(matrix) == pytest.approx(degrees, abs=1e-6)


@given(affine(), st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=5))
def test_the_inverse_brings_points_back(matrix: Matrix, points: list[tuple[float, float]]) -> None:
    there = transform_points(matrix, points)
    assert there.shape == (len(points), 2)
    np.testing.assert_allclose(transform_points(np.linalg.inv(matrix), there), points, atol=1e-5)


@given(affine(), affine(), COORDINATE, COORDINATE)
def test_matrices_compose_from_right_to_left(first: Matrix, second: Matrix, x: float, y: float) -> None:
    stepwise = transform_points(second, transform_points(first, [[x, y]]))
    np.testing.assert_allclose(transform_points(second @ first, [[x, y]]), stepwise, rtol=1e-9, atol=1e-5)


@given(SCALE, SCALE)
def test_scaling_twice_is_scaling_by_the_product(one: float, other: float) -> None:
    np.testing.assert_allclose(
        scaled_from_full(one) @ scaled_from_full(other), scaled_from_full(one * other), atol=1e-12
    )


@given(st.integers(1, 16), st.integers(1, 50))
def test_scaling_maps_the_edges_of_a_picture_to_its_edges(factor: int, size_px: int) -> None:
    """The edges of a picture of n px lie at -0.5 and n - 0.5."""
    full = factor * size_px
    edges = transform_points(scaled_from_full(1 / factor), [[-0.5, full - 0.5]])
    np.testing.assert_allclose(edges, [[-0.5, size_px - 0.5]], atol=1e-9)


@given(affine(), SCALE, COORDINATE, COORDINATE)
def test_a_matrix_at_scale_moves_the_same_points_at_full_resolution(
    matrix: Matrix, scale: float, x: float, y: float
) -> None:
    scaled = scaled_from_full(scale)
    through_scale = transform_points(np.linalg.inv(scaled) @ matrix @ scaled, [[x, y]])
    full = at_full_resolution(matrix, scale)
    np.testing.assert_allclose(transform_points(full, [[x, y]]), through_scale, rtol=1e-7, atol=1e-4)
    np.testing.assert_allclose(full[:2, :2], matrix[:2, :2], atol=1e-8)


def test_a_translation_grows_with_resolution() -> None:
    np.testing.assert_allclose(at_full_resolution(translation(3, -2), 0.25), translation(12, -8), atol=1e-12)


def test_area_averaging_moves_pixels_as_the_formula_says() -> None:
    """An independent judge: the centre of mass of a spot in a picture that OpenCV made smaller."""

    def centre(picture: NDArray[np.float64]) -> tuple[float, float]:
        y, x = np.indices(picture.shape)
        return float((x * picture).sum() / picture.sum()), float((y * picture).sum() / picture.sum())

    y, x = np.indices((256, 320))
    spot: NDArray[np.float64] = np.exp(-((x - 101.3) ** 2 + (y - 77.8) ** 2) / (2 * 9.0**2))
    small = np.asarray(cv2.resize(spot, (80, 64), interpolation=cv2.INTER_AREA), dtype=np.float64)
    expected = transform_points(scaled_from_full(0.25), [centre(spot)])
    np.testing.assert_allclose([centre(small)], expected, atol=1e-3)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(2, 7))
def test_grids_span_the_picture(width: int, height: int, per_side: int) -> None:
    points = grid_points(width, height, per_side)
    assert points.shape == (per_side**2, 2)
    corners = corner_points(width, height)
    np.testing.assert_allclose(points.min(axis=0), corners.min(axis=0))
    np.testing.assert_allclose(points.max(axis=0), corners.max(axis=0))
    assert corners.tolist() == [[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]]
