"""Sections: answers known by construction."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from components.report.page.sections import (
    MAX_ROWS,
    Axis,
    Line,
    Section,
    make_sections,
    rows_around,
    rows_shown,
)
from components.shared.documents.slices import known_row
from components.shared.geometry import rotation_about, translation
from tests.components.report.finished_run import make_plan, make_transforms

SIDE = 200
SCALE = 0.5


def ramp(center_px: float, width_px: float = 40.0) -> NDArray[np.uint8]:
    """A thumbnail that rises linearly along x around `center_px` (full resolution): 128 lies there."""
    x_px = (np.arange(int(SIDE * SCALE)) + 0.5) / SCALE - 0.5
    row = np.clip(128 + 100 * (x_px - center_px) / width_px, 0, 255)
    return np.tile(np.round(row), (int(SIDE * SCALE), 1)).astype(np.uint8)


def crossing_px(row: NDArray[np.uint8], known: NDArray[np.bool_]) -> float:
    """Where a section's row passes 128, at full resolution."""
    assert known.all()
    index = np.flatnonzero((row[:-1] < 128) & (row[1:] >= 128))[0]
    fraction = (128 - float(row[index])) / (float(row[index + 1]) - float(row[index]))
    return (index + fraction + 0.5) / SCALE - 0.5


def test_a_tilted_plane_becomes_straight() -> None:
    """The edge moves 2.5 px a slice in the pictures and stands still after the transforms."""
    n = 20
    plan = make_plan("out", n, (SIDE, SIDE), SCALE)
    shift_px = [2.5 * (z - n / 2) for z in range(n)]
    matrices = [translation(30 - shift, 0) for shift in shift_px]
    transforms = make_transforms(plan, matrices, (SIDE + 60, SIDE, n))
    thumbnails = [(z, ramp(100 + shift)) for z, shift in enumerate(shift_px)]
    xz, _ = make_sections(plan, transforms, [], lambda _: thumbnails)
    inside = slice(30, 100)
    before = [crossing_px(row, np.ones(1, bool)) for row in xz.before.values]
    np.testing.assert_allclose(before, [100 + shift for shift in shift_px], atol=0.5)
    offset_px = inside.start / SCALE
    after = [
        crossing_px(row[inside], known[inside]) + offset_px
        for row, known in zip(xz.after.values, xz.after.known, strict=True)
    ]
    np.testing.assert_allclose(after, 130, atol=0.5)


def test_a_rotated_slice_is_turned_back() -> None:
    center = ((SIDE - 1) / 2,) * 2
    turned = rotation_about(center, math.radians(90))
    section = Section.empty(Line(axis="y", across_px=center[0], length_px=SIDE, scale=SCALE), 1)
    section.set_row(0, ramp(100), turned)
    upright = Section.empty(Line(axis="x", across_px=center[1], length_px=SIDE, scale=SCALE), 1)
    upright.set_row(0, ramp(100), np.eye(3))
    np.testing.assert_allclose(section.values, upright.values, atol=1)


def test_nothing_is_known_outside_the_slice() -> None:
    section = Section.empty(Line(axis="x", across_px=10, length_px=SIDE, scale=SCALE), 1)
    section.set_row(0, ramp(100), translation(50, 0))
    first_known = int(np.flatnonzero(section.known[0])[0])
    assert first_known == 25
    assert section.known[0, first_known:].all()
    section.set_row(0, ramp(100), translation(0, 50))
    assert not section.known.any()


def test_a_replaced_slice_shows_its_neighbour_where_the_neighbour_lies() -> None:
    plan = make_plan("out", 3, (SIDE, SIDE), SCALE, missing=(1,))
    matrices = [translation(20, 0), translation(-90, 0), np.eye(3)]
    transforms = make_transforms(plan, matrices, (SIDE, SIDE, 3), replaced={1: 0})
    xz, _ = make_sections(plan, transforms, [], lambda _: [(2, ramp(60)), (0, ramp(100))])
    np.testing.assert_array_equal(xz.after.values[1], xz.after.values[0])
    assert not (xz.after.values[1] == xz.after.values[2]).all()
    assert xz.before.known.any(axis=1).tolist() == [True, False, True]


def test_a_long_stack_is_thinned_out_and_shown_closer_at_its_worst_slice() -> None:
    n = 2 * MAX_ROWS + 1
    plan = make_plan("out", n, (8, 8), SCALE)
    transforms = make_transforms(plan, [np.eye(3)] * n, (8, 8, n))
    rows = [known_row(z=z, ncc_after=0.5 if z == 1500 else 0.9) for z in range(n)]
    thumbnails = ((z, np.full((4, 4), z % 251, np.uint8)) for z in range(n))
    xz, _, closer, _ = make_sections(plan, transforms, rows, lambda _: thumbnails)
    np.testing.assert_array_equal(xz.after.values[:, 0], np.arange(0, n, 3) % 251)
    assert closer.title == "XZ section, z 1436 to 1563"
    assert (xz.n_slices, closer.n_slices) == (n - 2, 128)  # every third slice
    np.testing.assert_array_equal(closer.before.values[:, 2], np.arange(1436, 1564) % 251)


@given(n=st.integers(1, 40_000))
def test_the_rows_of_a_section_are_few_and_even(n: int) -> None:
    rows = rows_shown(n)
    assert 1 <= len(rows) <= MAX_ROWS
    assert rows[0] == 0
    assert n - rows[-1] <= rows.step


@given(n=st.integers(1, 5000), fraction=st.floats(0, 1, exclude_max=True))
def test_the_closer_rows_hold_the_slice(n: int, fraction: float) -> None:
    index = int(n * fraction)
    rows = rows_around(index, n)
    assert index in rows
    assert len(rows) == min(n, 128)
    assert 0 <= rows[0] <= rows[-1] < n


@pytest.mark.parametrize("axis", ["x", "y"])
def test_samples_sit_at_pixel_centres(axis: Axis) -> None:
    points = Line(axis=axis, across_px=7, length_px=8, scale=0.25).points_px()
    along, across = (0, 1) if axis == "x" else (1, 0)
    assert points[:, along].tolist() == [1.5, 5.5]
    assert points[:, across].tolist() == [7, 7]
