"""The conditions under which a transform is accepted."""

from __future__ import annotations

import math
from typing import get_args

import cv2
import numpy as np
import pytest

from components.align import gates
from components.align.gates import (
    Agreement,
    ComparedPicture,
    Reason,
    Refusal,
    agreement,
    agreement_as_they_lie,
    compared_picture,
    ncc,
)
from components.align.normalise import MatchingPicture
from components.shared.documents.align import REASONS
from components.shared.geometry import Matrix, rotation_about, translation


def picture_with(content: np.ndarray) -> MatchingPicture:
    return MatchingPicture(
        picture=np.full((80, 80), 128, np.uint8),
        shown=np.ones((80, 80), bool),
        content=content.astype(np.float32),
        reduced=np.full((80, 80), 128, np.float32),
    )


def reason_of(refusal: Refusal | None) -> str | None:
    return refusal.reason if refusal else None


def test_coverage_counts_cells_with_content_in_both() -> None:
    left_half = np.zeros((8, 8))
    left_half[:, :4] = 1
    half, full = picture_with(left_half), picture_with(np.ones((8, 8)))
    column = np.array([[5.0, 10 * row + 5.0] for row in range(8)])
    assert gates.coverage(column, full, full, np.eye(3)) == 8 / 64
    assert gates.coverage(column, half, full, np.eye(3)) == 8 / 32
    assert gates.coverage(column, full, half, np.eye(3)) == 8 / 32
    assert gates.coverage(column + np.array([40, 0]), full, half, translation(-40, 0)) == 8 / 32
    assert gates.coverage(column, full, full, translation(40, 0)) == 8 / 32
    assert gates.coverage(column, full, full, translation(500, 0)) == 0
    assert gates.coverage(column, picture_with(np.zeros((8, 8))), full, np.eye(3)) == 0


@pytest.mark.parametrize(("shift_px", "rows"), [(-4.25, 8), (-5.25, 7), (4.25, 8), (5.25, 7)])
def test_the_first_and_the_last_pixel_of_the_neighbour_are_shown(shift_px: float, rows: int) -> None:
    """The outermost cells' centres lie 4.5 px from the rim."""
    full, column = picture_with(np.ones((8, 8))), np.array([[35.0, 10 * row + 5.0] for row in range(8)])
    assert gates.coverage(column, full, full, translation(0, shift_px)) == rows / (8 * rows)
    assert gates.coverage(column, full, full, translation(shift_px, 0)) == 8 / (8 * rows)


def test_a_cell_of_just_enough_content_counts() -> None:
    content = np.zeros((8, 8))
    content[0, :2] = gates.LIMITS.min_content_of_cell, gates.LIMITS.min_content_of_cell - 0.01
    least = picture_with(content)
    assert gates.coverage(np.array([[5.0, 5.0], [15.0, 5.0]]), least, least, np.eye(3)) == 1
    assert gates.coverage(np.array([[15.0, 5.0]]), least, least, np.eye(3)) == 0


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.eye(3), None),
        (rotation_about((0, 0), math.radians(2.5)), None),
        (rotation_about((0, 0), math.radians(-6)), "rotation"),
        (np.diag([1.02, 1.02, 1]), "determinant"),
        (np.diag([0.98, 0.98, 1]), "determinant"),
        (np.diag([-1.0, 1, 1]), "determinant"),
        (np.diag([-1.0, -1, 1]), "rotation"),
    ],
)
def test_matrix_must_be_a_motion_of_neighbours(matrix: Matrix, reason: str | None) -> None:
    assert reason_of(gates.refusal_of_matrix(matrix)) == reason


@pytest.mark.parametrize(
    ("before", "after", "mirrored", "motion_px", "reason"),
    [
        (0.3, 0.9, 0.0, 20, None),
        (0.9, 0.9, 0.0, 20, "ncc_not_better"),
        (0.9, 0.89, 0.0, 0.5, None),
        (0.9, 0.8, 0.0, 0.5, "ncc_not_better"),
        (0.0, 0.08, -0.2, 20, "ncc_not_above_chance"),
        (0.0, 0.3, 0.25, 20, "ncc_not_above_chance"),
    ],
)
def test_pictures_must_agree(
    before: float, after: float, mirrored: float, motion_px: float, reason: str | None
) -> None:
    found = Agreement(moved=after, mirrored=mirrored)
    assert reason_of(gates.refusal_of_agreement(found, before, motion_px)) == reason


def test_windows_must_be_many_and_not_far_off() -> None:
    assert gates.refusal_of_windows(12, 30) is None
    assert reason_of(gates.refusal_of_windows(11, 11)) == "windows_disagree"
    assert reason_of(gates.refusal_of_windows(13, 49)) == "windows_disagree"
    assert gates.refusal_of_correction(1) is None
    assert reason_of(gates.refusal_of_correction(9)) == "windows_disagree"


def test_each_refusal_says_its_value_and_its_limit() -> None:
    low = Agreement(moved=0.31, mirrored=0.25)
    refusals = [
        gates.refusal_of_inliers(6),
        gates.refusal_of_coverage(0.12),
        gates.refusal_of_windows(7, 49),
        gates.refusal_of_spread(4.25),
        gates.refusal_of_correction(9.04),
        gates.refusal_of_bands(3.5),
        gates.refusal_of_matrix(np.diag([1.1, 1.1, 1])),
        gates.refusal_of_matrix(rotation_about((0, 0), math.radians(12))),
        gates.refusal_of_agreement(low, 0.4, 20),
        gates.refusal_of_agreement(low, 0.0, 20),
        gates.refusal_of_search(0.02),
    ]
    assert [refusal.found if refusal else "" for refusal in refusals] == [
        "6 points, at least 20",
        "12% of the tissue, at least 30%",
        "7 of 49 windows find their place, at least 15",
        "windows 4.2 px apart, at most 3",
        "corners 9.0 px off, at most 8",
        "corners 3.5 px apart, at most 3",
        "1.21 times the area, 0.97 to 1.03",
        "12.0 degrees, at most 5",
        "NCC 0.310, more than 0.400",
        "NCC 0.310, at least 0.350",
        "NCC 0.020 above chance, at least 0.1",
    ]
    assert gates.refusal_of_inliers(20) is None
    assert gates.refusal_of_coverage(0.3) is None
    assert gates.refusal_of_spread(3.0) is None
    assert gates.refusal_of_search(0.1) is None


def test_ncc_is_pearsons_where_inside() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 60, 60)).astype(np.float32)
    b += a
    inside = np.ones((60, 60), bool)
    inside[:10] = False
    assert ncc(a, b, inside) == pytest.approx(np.corrcoef(a[10:].ravel(), b[10:].ravel())[0, 1])
    assert ncc(a, np.zeros_like(a), inside) == 0
    assert ncc(a, b, np.zeros_like(inside)) == 0


def test_the_least_overlap_is_compared_and_one_pixel_less_is_not() -> None:
    picture = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    inside = np.zeros(picture.size, bool)
    inside[: gates.LIMITS.min_overlap_px] = True
    assert ncc(picture, picture, inside.reshape(60, 60)) == pytest.approx(1)
    inside[0] = False
    assert ncc(picture, picture, inside.reshape(60, 60)) == 0


@pytest.mark.parametrize(("apart_px", "reason"), [(1.0, None), (3.5, "bands_disagree")])
def test_two_bands_must_agree(apart_px: float, reason: str | None) -> None:
    assert reason_of(gates.refusal_of_bands(apart_px)) == reason


def test_chance_is_told_where_both_slices_show_something() -> None:
    """Beyond the neighbour lies black, which looks like the dark half of the mirrored slice."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(100, 156, (2, 80, 160)).astype(np.uint8)
    pictures[0, :, :80] -= 60
    pictures[0, :, 80:] += 60
    slice_, neighbour = (compared(picture, np.ones((80, 160), bool)) for picture in pictures)
    found = agreement(slice_, neighbour, translation(40, 0))
    assert abs(found.moved) < 0.2
    assert abs(found.mirrored) < 0.2


def test_pictures_as_they_lie_are_compared_where_the_slice_is_shown() -> None:
    rng = np.random.default_rng(2)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (80, 80)).astype(np.uint8), (0, 0), 2)
    other = picture.copy()
    other[:, :40] = cv2.GaussianBlur(rng.integers(0, 256, (80, 40)).astype(np.uint8), (0, 0), 2)
    shown = np.ones((80, 80), bool)
    right_half = shown.copy()
    right_half[:, :44] = False
    neighbour, part, whole = compared(other, shown), compared(picture, right_half), compared(picture, shown)
    assert agreement_as_they_lie(part, neighbour) == pytest.approx(
        agreement(part, neighbour, np.eye(3)).moved
    )
    assert agreement_as_they_lie(part, neighbour) > 0.95
    assert agreement_as_they_lie(whole, neighbour) < 0.8


def compared(picture: np.ndarray, shown: np.ndarray) -> ComparedPicture:
    return compared_picture(
        MatchingPicture(
            picture=picture,
            shown=shown,
            content=np.ones((8, 8), np.float32),
            reduced=picture.astype(np.float32),
        )
    )


@pytest.mark.parametrize("shift", [(0, 0), (7, -4), (-13, 10)])
def test_pictures_agree_where_the_motion_puts_them(shift: tuple[int, int]) -> None:
    """The motion is stated at the scale of matching, and the pictures that are correlated are smaller."""
    shape_yx = (160, 200)
    scene = np.random.default_rng(3).normal(size=(220, 260)).astype(np.float32)
    grey = np.clip(128 + 300 * cv2.GaussianBlur(scene, (0, 0), 2.5), 1, 255).astype(np.uint8)
    x, y = shift
    slice_, neighbour = (
        compared(np.ascontiguousarray(grey[top : top + 160, left : left + 200]), np.ones(shape_yx, bool))
        for left, top in ((30, 30), (30 - x, 30 - y))
    )
    assert agreement(slice_, neighbour, translation(x, y)).moved > 0.97
    assert agreement(slice_, neighbour, translation(x + 8, y)).moved < 0.5


@pytest.mark.parametrize(
    ("above_chance", "sigma_px"), [(0.02, 16), (0.03, 16), (0.04, 12), (0.08, 6), (0.16, 3), (0.3, 2), (1, 2)]
)
def test_a_search_that_stands_far_above_chance_is_told_as_better(
    above_chance: float, sigma_px: float
) -> None:
    assert gates.whole_frame_sigma_px(above_chance) == pytest.approx(sigma_px)


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(get_args(Reason))
