"""Known pictures land where the matrix says, to a few thousandths of a pixel."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from components.shared.documents.transforms import RowShifts, WarpField
from components.shared.errors import UserError
from components.shared.geometry import Matrix, rotation_about, transform_points, translation
from components.shared.row_shifts import grid_values, n_splines, packed, spline_values, unpacked
from components.tile.warp import warp_slice

SIDE = 160


def wave(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return 128 + 100 * np.sin(x / 5.0) * np.cos(y / 6.0)


def grid(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return x, y


def smooth_slice() -> NDArray[np.uint8]:
    return np.rint(wave(*grid(SIDE, SIDE))).astype(np.uint8)


def warped(
    picture: NDArray[np.uint8], matrix: Matrix, height: int = SIDE, width: int = SIDE
) -> NDArray[np.uint8]:
    out = np.full((height, width), 77, np.uint8)
    warp_slice(picture, matrix, out)
    return out


def expected_wave(matrix: Matrix, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The wave seen through a matrix, and how deep each pixel lies inside the slice, in px; < 0 outside."""
    x, y = grid(height, width)
    points = transform_points(np.linalg.inv(matrix), np.column_stack([x.ravel(), y.ravel()]))
    u, v = points[:, 0].reshape(x.shape), points[:, 1].reshape(x.shape)
    return wave(u, v), np.minimum.reduce([u, v, SIDE - 1 - u, SIDE - 1 - v])


MATRICES = {
    "shift": translation(0.3, -2.7),
    "rotation": rotation_about((80, 80), math.radians(3)),
    "rotation away": translation(40.25, 30.5) @ rotation_about((0, 0), math.radians(-10)),
    "stretch": np.array([[1.0, 0.0, 0.0], [0.0, 1.05, 3.0], [0.0, 0.0, 1.0]]),
    "shear": np.array([[1.01, 0.03, -8.0], [-0.02, 0.98, 5.0], [0.0, 0.0, 1.0]]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_wave_lands_where_the_matrix_says_and_the_outside_is_black(name: str) -> None:
    matrix = MATRICES[name]
    out = warped(smooth_slice(), matrix, 300, 220)  # more rows than a band, another shape than the slice
    expected, depth_px = expected_wave(matrix, 300, 220)
    error = np.abs(out - expected)
    assert (depth_px > 4).any()
    assert (depth_px < -1e-9).any()
    np.testing.assert_array_equal(out[depth_px < -1e-9], 0)
    assert error[depth_px > 4].max() < 1.5  # rounded twice: the picture, and the result
    assert error[depth_px > 1e-9].max() < 6  # the spline's border
    assert error[depth_px > 1e-9].mean() < 0.5


@pytest.mark.parametrize("shift_px", [0.1, 0.26, 0.3, 0.5, 0.515, -0.7])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_shift_is_neither_quantised_nor_biased(shift_px: float, axis: int) -> None:
    """OpenCV's cubic warp errs by 0.054 px at a shift of 0.26 px."""
    side = 400
    x, y = grid(side, side)
    noise = np.random.default_rng(5).uniform(-2, 2, x.shape)  # lets the rounding to 8 bit average out
    shifted_wave = wave(x - shift_px, y) if axis == 0 else wave(x, y - shift_px)
    further = wave(x - shift_px - 1e-4, y) if axis == 0 else wave(x, y - shift_px - 1e-4)
    slope = (further - shifted_wave) / 1e-4

    matrix = translation(shift_px, 0) if axis == 0 else translation(0, shift_px)
    out = warped(np.rint(wave(x, y) + noise).astype(np.uint8), matrix, side, side)
    inner = (slice(10, -10), slice(10, -10))
    error_px = ((out - shifted_wave) * slope)[inner].sum() / (slope**2)[inner].sum()
    assert error_px == pytest.approx(0, abs=0.003)


@given(
    x=st.integers(-40, 40),
    y=st.integers(-40, 40),
    jitter=st.floats(-5e-6, 5e-6),
    seed=st.integers(0, 2**31),
)
def test_whole_pixels_are_copied_exactly(x: int, y: int, jitter: float, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (23, 31)).astype(np.uint8)
    matrix = translation(x, y)
    matrix[0, 1] += jitter
    out = warped(picture, matrix, 29, 37)
    canvas = np.zeros((29 + 200, 37 + 200), np.uint8)
    canvas[100 + y : 123 + y, 100 + x : 131 + x] = picture
    np.testing.assert_array_equal(out, canvas[100:129, 100:137])


def test_a_point_lands_where_the_matrix_says() -> None:
    matrix = translation(11.4, -3.2) @ rotation_about((50, 70), math.radians(25))
    x, y = grid(SIDE, SIDE)
    for point in ((60.0, 80.0), (75.3, 101.6)):
        blob = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * 2.0**2))
        out = warped(np.rint(blob).astype(np.uint8), matrix).astype(np.float64)
        found = np.array([(out * x).sum(), (out * y).sum()]) / out.sum()
        np.testing.assert_allclose(found, transform_points(matrix, [point])[0], atol=0.02)


def test_white_never_wraps_to_black() -> None:
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[::7, :], picture[:, 40:80] = 255, 255
    out = warped(picture, translation(0.4, 0.4))
    assert out[10:150, 45:75].min() > 200


def test_a_slice_outside_the_volume_leaves_black() -> None:
    assert not warped(smooth_slice(), translation(500, 0)).any()
    assert not warped(smooth_slice(), translation(500.5, 0)).any()


def test_16_bit_keeps_its_fine_grey_levels_when_it_is_moved() -> None:
    x, y = grid(SIDE, SIDE)
    deep = np.rint(wave(x, y) * 250).astype(np.uint16)
    out = np.zeros((SIDE, SIDE), np.uint16)
    warp_slice(deep, translation(0.3, -0.4), out)
    inside = (slice(8, -8), slice(8, -8))
    expected = 250 * wave(x - 0.3, y + 0.4)
    assert np.abs(out[inside] - expected[inside]).max() < 12  # of 50,000: the error of the spline


def test_an_overshoot_at_16_bit_is_clipped_not_wrapped() -> None:
    edge = np.zeros((40, 40), np.uint16)
    edge[:, 20:] = 65_535
    out = np.full((40, 40), 7, np.uint16)
    warp_slice(edge, translation(0.5, 0), out)
    assert out[20, :18].max() < 10_000
    assert out[20, 23:].min() > 55_000


@pytest.mark.parametrize("shape", [(2000, 4), (4, 2000)])
def test_a_slow_turn_of_a_long_slice_is_no_shift(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    still = warped(picture, rotation_about((0, 0), 1e-8), *shape)
    np.testing.assert_array_equal(still, picture)
    turned = warped(picture, rotation_about((0, 0), 1e-4), *shape)
    assert (turned != picture).any()


@pytest.mark.parametrize(
    "matrix",
    [
        np.array([[1.0, 2.0, 0.3], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[0.0, 0.0, 0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[1e200, 0.0, 0.3], [0.0, 1e200, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[np.nan, 0.0, 0.3], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    ],
)
def test_a_transform_without_an_inverse_is_an_error(matrix: Matrix) -> None:
    with pytest.raises(
        UserError, match=r"must have an inverse; got .* in transforms\.json\. Give the same command again"
    ):
        warped(smooth_slice(), matrix)


def test_rows_are_shifted_by_the_row_that_the_matrix_names() -> None:
    matrix = translation(2.3, -4.6) @ rotation_about((80, 80), math.radians(0.5))
    rows = np.arange(SIDE, dtype=np.float64)
    knots, knot_px = np.arange(-1, 12), 16.0
    shifts = RowShifts(
        first_row_px=0.0,
        knot_px=knot_px,
        shifts=packed(np.stack([3 * np.sin(knots / 2), 0.5 * np.cos(knots)])),
    )
    out = np.full((SIDE, SIDE), 77, np.uint8)
    warp_slice(smooth_slice(), matrix, out, shifts)

    x, y = grid(SIDE, SIDE)
    points = transform_points(np.linalg.inv(matrix), np.column_stack([x.ravel(), y.ravel()]))
    of_rows = spline_values(unpacked(shifts.shifts, 2), rows / knot_px)
    places = points + np.stack([np.interp(points[:, 1], rows, of_row) for of_row in of_rows], axis=1)
    u, v = places[:, 0].reshape(x.shape), places[:, 1].reshape(x.shape)
    depth = np.minimum.reduce([u, v, SIDE - 1 - u, SIDE - 1 - v])
    assert np.abs(out - wave(u, v))[depth > 4].max() < 1.5
    assert not out[depth < 0].any()


def test_shifts_of_nothing_give_the_same_bytes() -> None:
    for matrix in MATRICES.values():
        out = np.full((SIDE, SIDE), 77, np.uint8)
        nothing = RowShifts(first_row_px=0.0, knot_px=16.0, shifts=packed(np.zeros((2, 13))))
        warp_slice(smooth_slice(), matrix, out, nothing)
        assert np.array_equal(out, warped(smooth_slice(), matrix))


def soft(
    displacement: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> WarpField:
    """A soft warp with these coefficients (x and y) at knots (x, y), over the whole slice."""
    knot_px, n = 40.0, n_splines(SIDE, 40.0)
    knots = np.arange(-1, n - 1, dtype=np.float64)
    x, y = np.meshgrid(knots, knots)
    return WarpField(
        first_xy_px=(0.0, 0.0), knot_px=knot_px, n_xy=(n, n), displacements=packed(displacement(x, y))
    )


def test_a_soft_warp_moves_places_and_rows_are_shifted_there() -> None:
    matrix = translation(2.3, -4.6) @ rotation_about((80, 80), math.radians(0.5))
    warp = soft(lambda x, y: np.stack([3 * np.sin(x + 0.5 * y), 2 * np.cos(y - x)]))
    rows = np.arange(SIDE, dtype=np.float64)
    shifts = RowShifts(
        first_row_px=0.0,
        knot_px=16.0,
        shifts=packed(np.stack([np.sin(np.arange(-1, 12)), np.zeros(13)])),
    )
    x, y = grid(SIDE, SIDE)
    points = transform_points(np.linalg.inv(matrix), np.column_stack([x.ravel(), y.ravel()]))
    n_x, n_y = warp.n_xy
    of_splines = unpacked(warp.displacements, 2).reshape(2, n_y, n_x)
    moved = points + grid_values(of_splines, points[:, 0] / warp.knot_px, points[:, 1] / warp.knot_px).T
    along_x = spline_values(unpacked(shifts.shifts, 2)[0], rows / 16)
    shifted = moved + np.stack([np.interp(moved[:, 1], rows, along_x), np.zeros(len(moved))], axis=1)
    for places, of_rows in ((moved, None), (shifted, shifts)):
        out = np.full((SIDE, SIDE), 77, np.uint8)
        warp_slice(smooth_slice(), matrix, out, of_rows, warp)
        u, v = places[:, 0].reshape(x.shape), places[:, 1].reshape(x.shape)
        depth = np.minimum.reduce([u, v, SIDE - 1 - u, SIDE - 1 - v])
        assert np.abs(out - wave(u, v))[depth > 4].max() < 1.5
        assert not out[depth < -0.05].any()


def test_a_soft_warp_of_nothing_gives_the_same_bytes() -> None:
    for matrix in MATRICES.values():
        out = np.full((SIDE, SIDE), 77, np.uint8)
        warp_slice(smooth_slice(), matrix, out, None, soft(lambda x, y: np.zeros((2, *x.shape))))
        assert np.array_equal(out, warped(smooth_slice(), matrix))


def test_a_soft_warp_is_straight_enough_between_nodes() -> None:
    """Each pixel shows the place that the splines name, within what a hundredth of a pixel changes."""
    warp = soft(lambda x, y: np.stack([3 * np.sin(x), 3 * np.sin(y)]))
    ramp = np.tile((np.arange(SIDE) * 200).astype(np.uint16), (SIDE, 1))
    out = np.zeros_like(ramp)
    warp_slice(ramp, translation(0.25, 0.0), out, None, warp)
    x, y = grid(SIDE, SIDE)
    of_splines = unpacked(warp.displacements, 2).reshape(2, *reversed(warp.n_xy))
    displaced = grid_values(of_splines, (x.ravel() - 0.25) / warp.knot_px, y.ravel() / warp.knot_px)[0]
    places = x - 0.25 + displaced.reshape(x.shape)
    inner = np.s_[16:-16, 16:-16]
    assert np.abs(out[inner] / 200 - places[inner]).max() < 0.015
