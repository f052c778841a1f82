"""Points go where the pixels of `tile` go, and come back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from components.shared.documents.transforms import RowShifts, WarpField
from components.shared.geometry import Matrix, rotation_about, translation
from components.shared.pictures.slice_map import SliceMap
from components.shared.row_shifts import n_splines, packed
from components.tile.warp import warp_slice

WIDTH, HEIGHT = 170, 140
MATRIX = translation(7.3, -4.6) @ rotation_about((80, 60), math.radians(2)) @ np.diag([1.02, 0.99, 1.0])


def random_rows(seed: int, height: int, most_px: float) -> RowShifts:
    """Shifts of rows between -`most_px` and `most_px`, with a knot at every 16th row."""
    shifts = np.random.default_rng(seed).uniform(-most_px, most_px, (2, n_splines(height, 16)))
    return RowShifts(first_row_px=0.0, knot_px=16.0, shifts=packed(shifts))


def random_warp(seed: int, size_px: tuple[int, int], most_px: float) -> WarpField:
    """Displacements between -`most_px` and `most_px`, with a knot at every 40 px."""
    n_x, n_y = (n_splines(side, 40) for side in size_px)
    of_splines = np.random.default_rng(seed).uniform(-most_px, most_px, (2, n_y, n_x))
    return WarpField(first_xy_px=(0.0, 0.0), knot_px=40.0, n_xy=(n_x, n_y), displacements=packed(of_splines))


ROWS, WARP = random_rows(3, HEIGHT, 1.5), random_warp(4, (WIDTH, HEIGHT), 3)
DISPLACED = {
    "a matrix": (None, None),
    "rows": (ROWS, None),
    "a soft warp": (None, WARP),
    "both": (ROWS, WARP),
}


def shown_places(
    matrix: Matrix, rows: RowShifts | None, warp: WarpField | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of a plane, and the places of the slice that `tile` shows there.

    The places are read off pictures whose grey levels are their own coordinates: a cubic spline keeps
    straight lines as they are.
    """
    steps = 256
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    coordinates = []
    for own in (x, y):
        plane = np.zeros((HEIGHT + 20, WIDTH + 20), np.uint16)
        warp_slice((steps * own).astype(np.uint16), matrix, plane, rows, warp)
        coordinates.append(plane / steps)
    places = np.stack(coordinates, axis=-1)
    inner = (places > 8).all(axis=-1) & (places < np.array([WIDTH, HEIGHT]) - 9).all(axis=-1)
    v, u = np.nonzero(inner)
    return np.column_stack([u, v]).astype(np.float64), places[inner]


@pytest.mark.parametrize("name", DISPLACED)
def test_points_of_a_plane_lie_where_the_pixels_of_tile_do(name: str) -> None:
    rows, warp = DISPLACED[name]
    points, places = shown_places(MATRIX, rows, warp)
    assert len(points) > 0.6 * WIDTH * HEIGHT
    slice_map = SliceMap(volume_from_slice=MATRIX, size_px=(WIDTH, HEIGHT), rows=rows, warp=warp)
    error_px = np.abs(slice_map.in_slice(points) - places)
    # Half a grey level, and what a displacement bends by along the pixels that are computed together.
    bend_px = 0.02 if warp else 0.005 if rows else 0.001
    assert error_px.max() < 1 / 512 + bend_px
    assert error_px.mean() < 0.0015


@pytest.mark.parametrize("name", DISPLACED)
def test_points_come_back(name: str) -> None:
    rows, warp = DISPLACED[name]
    slice_map = SliceMap(volume_from_slice=MATRIX, size_px=(WIDTH, HEIGHT), rows=rows, warp=warp)
    points = np.random.default_rng(0).uniform(-20, 200, (5000, 2))
    np.testing.assert_allclose(slice_map.in_slice(slice_map.in_volume(points)), points, atol=1e-3)
    np.testing.assert_allclose(slice_map.in_volume(slice_map.in_slice(points)), points, atol=2e-3)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows_px=st.floats(0, 4),
    warp_px=st.floats(0, 8),
    turn_deg=st.floats(-20, 20),
    growth=st.floats(0.7, 1.4),
)
def test_every_point_comes_back_where_displacements_do_not_fold(
    seed: int, rows_px: float, warp_px: float, turn_deg: float, growth: float
) -> None:
    """Splines between -a and a with knots k apart change by up to 2 a / k a pixel, here by half a pixel.

    A warp along x and along y changes over both axes, so by up to 0.8 px a pixel in all.
    """
    matrix = rotation_about((50, 40), math.radians(turn_deg)) @ np.diag([growth, growth, 1.0])
    slice_map = SliceMap(
        volume_from_slice=matrix,
        size_px=(WIDTH, HEIGHT),
        rows=random_rows(seed, HEIGHT, rows_px),
        warp=random_warp(seed + 1, (WIDTH, HEIGHT), warp_px),
    )
    points = np.random.default_rng(seed).uniform(-30, 200, (200, 2))
    error_px = np.abs(slice_map.in_slice(slice_map.in_volume(points)) - points)
    assert error_px.max() <= 0.01


def test_points_of_a_slice_that_is_folded_over_do_not_come_back() -> None:
    """The iteration ends where a warp folds the slice over, and the way back shows that it did."""
    folded = SliceMap(
        volume_from_slice=np.eye(3), size_px=(WIDTH, HEIGHT), warp=random_warp(1, (WIDTH, HEIGHT), 100)
    )
    points = np.random.default_rng(0).uniform(0, 140, (500, 2))
    error_px = np.abs(folded.in_slice(folded.in_volume(points)) - points).max(axis=1)
    assert (error_px > 1).any()


def test_no_points_are_no_points() -> None:
    slice_map = SliceMap(volume_from_slice=MATRIX, size_px=(WIDTH, HEIGHT), rows=ROWS, warp=WARP)
    none = np.empty((0, 2))
    assert slice_map.in_slice(none).shape == slice_map.in_volume(none).shape == (0, 2)
