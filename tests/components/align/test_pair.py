"""The transform between two slices, against motions known by construction."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from components.align import gates, search
from components.align.models import PointPairs
from components.align.normalise import MatchingPicture, inverted_picture
from components.align.pair import PairFit, PreparedPair, _by_whole_frame_alone, match_pair
from components.align.prepare import PreparedSlice, prepare
from components.align.search import FrameMatch, whole_frame_search
from components.shared.documents.align import PairRecord
from components.shared.geometry import Matrix, rotation_about, transform_points, translation
from tests.components.align.planted_pair import SIZE_PX, error_px, render, texture
from tests.real_slices import real_pictures

CENTER = ((SIZE_PX - 1) / 2, (SIZE_PX - 1) / 2)


def pair_of(a: np.ndarray, b: np.ndarray, match_scale: float = 1.0) -> PairRecord:
    return match_pair(prepare(4, a, match_scale), prepare(5, b, match_scale))


def about_center(linear: list[list[float]]) -> Matrix:
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    return translation(*CENTER) @ matrix @ translation(-CENTER[0], -CENTER[1])


@pytest.fixture(scope="module")
def still() -> PreparedSlice:
    return prepare(4, render(texture(1), seed=1), 1.0)


def moved(truth: Matrix, noise: float = 4.0) -> PreparedSlice:
    return prepare(5, render(texture(1), truth, noise=noise, seed=2), 1.0)


@pytest.mark.parametrize(
    ("model", "truth"),
    [
        ("rigid", translation(0, 0)),
        ("rigid", translation(0.37, -0.61)),
        ("rigid", translation(-17.25, 9.5)),
        ("rigid", rotation_about(CENTER, math.radians(0.8))),
        ("rigid", rotation_about(CENTER, math.radians(-0.8))),
        ("rigid", rotation_about((0, 0), math.radians(0.8))),
        ("rigid", rotation_about((0, 0), math.radians(-0.8))),
        ("rigid", rotation_about((SIZE_PX, 0), math.radians(2.0))),
        ("rigid_stretch", about_center([[1, 0], [0, 1.008]])),
        ("rigid_stretch", about_center([[1, 0], [0, 0.992]])),
        ("affine", about_center([[1.008, 0], [0, 1.008]])),
        ("affine", about_center([[0.992, 0], [0, 0.992]])),
        ("affine", about_center([[1, 0.01], [0, 1]])),
        ("affine", about_center([[1, -0.01], [0, 1]])),
        ("affine", about_center([[1, 0], [0.01, 1]])),
        ("affine", np.diag([1.008, 1.008, 1.0])),
        ("affine", np.array([[1.0, 0.01, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])),
    ],
)
def test_known_motion_is_recovered_by_the_simplest_model(
    still: PreparedSlice, model: str, truth: Matrix
) -> None:
    pair = match_pair(still, moved(truth))
    assert (pair.z, pair.neighbour_z, pair.accepted, pair.reason) == (4, 5, True, "")
    assert pair.model == model
    assert pair.fallback == ""
    assert error_px(pair.matrix, truth) < 0.05
    assert pair.n_windows >= 30
    assert pair.sigma_px < 0.05
    assert pair.ncc_after > 0.9
    assert list(pair.residuals_px) == ["translation", "rigid", "rigid_stretch", "affine"]


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("n_independent", [4, 100])
def test_sigma_falls_with_the_root_of_the_independent_points(scale: float, n_independent: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, SIZE_PX * scale, (3000, 2))
    moved_points = points + rng.normal(scale=0.6, size=points.shape)
    fit = PairFit.of(PointPairs(points, moved_points), (SIZE_PX, SIZE_PX), scale, n_independent)
    assert fit.model == "rigid"
    assert fit.spread_px == pytest.approx(0.6 / scale, rel=0.05)
    # RMS distances in full pixels: of two axes together.
    assert list(fit.residuals_px.values()) == pytest.approx([2**0.5 * 0.6 / scale] * 4, rel=0.05)
    effective = n_independent * fit.weights.mean()
    assert fit.sigma_px == pytest.approx(fit.spread_px / effective**0.5)
    assert 0.7 < fit.weights.mean() < 1


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_support_is_the_rectangle_with_the_mean_and_variance_of_the_points(scale: float) -> None:
    x, y = np.meshgrid(np.arange(40.0, 140.0), np.arange(100.0, 120.0))
    points = np.column_stack([x.ravel(), y.ravel()])
    fit = PairFit.of(PointPairs(points, points + 3), (SIZE_PX, SIZE_PX), scale, 50)
    left, top, right, bottom = (float((edge + 0.5) / scale) for edge in (39.5, 99.5, 139.5, 119.5))
    assert fit.support_px == pytest.approx([left - 0.5, top - 0.5, right - 0.5, bottom - 0.5], abs=0.1)


def test_a_pair_is_supported_where_its_slice_shows_something(still: PreparedSlice) -> None:
    half = render(texture(1), translation(3.0, -2.0), seed=2)
    half[:, SIZE_PX // 2 :] = 0
    whole, part = match_pair(still, moved(translation(3.0, -2.0))), match_pair(prepare(5, half, 1.0), still)
    assert whole.support_px == pytest.approx([0, 0, SIZE_PX - 1, SIZE_PX - 1], abs=0.06 * SIZE_PX)
    assert part.support_px == pytest.approx([0, 0, SIZE_PX / 2, SIZE_PX - 1], abs=0.06 * SIZE_PX)


def test_residuals_fall_from_rung_to_rung(still: PreparedSlice) -> None:
    pair = match_pair(still, moved(rotation_about(CENTER, math.radians(1))))
    assert pair.residuals_px["translation"] > 1
    assert pair.residuals_px["rigid"] < 0.15


@pytest.mark.parametrize("scale", [0.5, 0.61])
def test_pair_matched_at_a_reduced_scale_is_stated_at_full_resolution(scale: float) -> None:
    side = 760
    truth = translation(9.3, -5.6)
    a, b = (
        render(texture(2, side + 120), m, seed=s, shape_yx=(side, side))
        for s, m in ((1, np.eye(3)), (2, truth))
    )
    pair = pair_of(a, b, scale)
    assert pair.accepted
    assert error_px(pair.matrix, truth) < 0.05


def test_slices_of_different_sizes() -> None:
    truth = rotation_about((10, 20), math.radians(-0.5)) @ translation(6.4, -3.2)
    small = render(texture(1), truth, seed=2, shape_yx=(250, 290))
    for record, want in (
        (pair_of(render(texture(1), seed=1), small), truth),
        (pair_of(small, render(texture(1), seed=1)), np.linalg.inv(truth)),
    ):
        assert record.accepted
        assert error_px(record.matrix, want) < 0.08


def test_brightness_and_contrast_do_not_matter(still: PreparedSlice) -> None:
    truth = translation(4.5, 3.25)
    picture = render(texture(1), truth, noise=2, seed=2).astype(np.float64)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] / SIZE_PX
    shaded = np.clip(np.rint(20 + picture * (0.25 + 0.3 * x) + 40 * y), 0, 255).astype(np.uint8)
    pair = match_pair(still, prepare(5, shaded, 1.0))
    assert pair.accepted
    assert error_px(pair.matrix, truth) < 0.1


@pytest.mark.parametrize(("gate", "figure"), [("min_inliers", "n_inliers"), ("min_coverage", "coverage")])
def test_features_that_just_reach_a_gate_pass_it(
    still: PreparedSlice, monkeypatch: pytest.MonkeyPatch, gate: str, figure: str
) -> None:
    other = moved(translation(3.0, -2.0))
    reached = getattr(match_pair(still, other), figure)
    monkeypatch.setattr(gates, "LIMITS", replace(gates.LIMITS, **{gate: reached}))
    passed = match_pair(still, other)
    assert (passed.fallback, getattr(passed, figure)) == ("", reached)


def test_sixteen_bits_tell_the_same_as_eight() -> None:
    truth = rotation_about(CENTER, math.radians(0.6)) @ translation(3.3, 1.7)
    eight = render(texture(1), seed=1), render(texture(1), truth, seed=2)
    sixteen = [(10_000 + 37 * picture.astype(np.uint16)).astype(np.uint16) for picture in eight]
    a, b = pair_of(*eight), pair_of(*sixteen)
    assert a.matrix is not None
    assert a.model == b.model
    assert error_px(b.matrix, np.array(a.matrix)) < 0.01


def test_curtains_that_stay_in_place_do_not_hold_the_tissue(still: PreparedSlice) -> None:
    curtains = 12 * np.random.default_rng(7).normal(size=SIZE_PX)
    truth = translation(5.4, 0.8)
    pictures = [render(texture(1), m, seed=s) for s, m in ((1, np.eye(3)), (2, truth))]
    a, b = (np.clip(picture + curtains, 0, 255).astype(np.uint8) for picture in pictures)
    pair = pair_of(a, b)
    assert pair.accepted
    assert error_px(pair.matrix, truth) < 0.15


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_slices_that_show_different_things_are_refused(still: PreparedSlice, seed: int) -> None:
    pair = match_pair(still, prepare(5, render(texture(seed), seed=seed), 1.0))
    assert not pair.accepted
    assert pair.reason == "too_few_inliers"
    assert (pair.matrix, pair.model, pair.sigma_px) == (None, None, 0)
    assert pair.ncc_after == pair.ncc_before


@pytest.mark.parametrize("flip", [(0,), (1,)])
def test_mirrored_slice_is_refused(still: PreparedSlice, flip: tuple[int, ...]) -> None:
    mirrored = np.ascontiguousarray(np.flip(render(texture(1), seed=2), flip))
    assert not match_pair(still, prepare(5, mirrored, 1.0)).accepted


def test_blank_slices_are_refused(still: PreparedSlice) -> None:
    rng = np.random.default_rng(0)
    black = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    noise = np.clip(np.rint(rng.normal(100, 3, black.shape)), 0, 255).astype(np.uint8)
    assert match_pair(still, prepare(5, black, 1.0)).reason == "no_content"
    assert pair_of(black, black).reason == "no_content"
    assert match_pair(still, prepare(5, noise, 1.0)).reason == "too_few_inliers"


def test_slices_too_small_for_windows_are_judged_by_features_alone() -> None:
    truth = translation(2.0, -1.0)
    a, b = (render(texture(1), m, seed=s, shape_yx=(80, 80)) for s, m in ((1, np.eye(3)), (2, truth)))
    pair = pair_of(a, b)
    assert pair.accepted
    assert pair.n_windows == 0
    middle = [[39.5, 39.5]]
    assert transform_points(np.array(pair.matrix), middle) == pytest.approx(
        transform_points(truth, middle), abs=0.2
    )


def test_tiny_slices_are_refused_and_do_not_fail() -> None:
    a = render(texture(1), shape_yx=(9, 5))
    assert not pair_of(a, a).accepted


def test_whole_frame_search_steps_in_where_features_drown_in_noise() -> None:
    truth = translation(11.0, -6.0)
    a, b = (render(texture(1), m, noise=90, seed=s) for s, m in ((1, np.eye(3)), (2, truth)))
    pair = pair_of(a, b)
    assert pair.accepted
    assert pair.fallback == "whole_frame"
    assert pair.coverage == 0  # of matched features, and there are none
    assert error_px(pair.matrix, truth) < 0.5


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_whole_frame_alone_is_as_coarse_as_its_pictures(scale: float) -> None:
    truth = translation(11.0, -6.0)
    slice_, neighbour = (
        prepare(z, render(texture(1), m, seed=z), scale) for z, m in ((4, np.eye(3)), (5, truth))
    )
    fit = _by_whole_frame_alone(PreparedPair(slice_, neighbour)).fit
    assert fit is not None
    assert error_px(fit.matrix, truth) < 1.5 / scale
    assert fit.sigma_px == fit.spread_px == gates.LIMITS.settled_sigma_px / scale
    assert fit.weights.size == 0  # no point speaks for it


def test_the_whole_frame_alone_is_supported_where_both_slices_show_tissue() -> None:
    """Tissue in the middle of resin says little of a rotation: the rectangle tells where it lies."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - (SIZE_PX - 1) / 2
    resin = np.hypot(x, y) > SIZE_PX / 5
    pictures = [render(texture(1), m, seed=z) for z, m in ((4, np.eye(3)), (5, translation(3.0, -2.0)))]
    for picture in pictures:
        picture[resin] = (120 + rng.normal(0, 2, picture.shape))[resin].astype(np.uint8)
    fit = _by_whole_frame_alone(PreparedPair(*(prepare(z, p, 1.0) for z, p in enumerate(pictures)))).fit
    assert fit is not None
    assert fit.support_px is not None
    left, top, right, bottom = fit.support_px
    assert 0.2 * SIZE_PX < left < right < 0.8 * SIZE_PX
    assert 0.2 * SIZE_PX < top < bottom < 0.8 * SIZE_PX


def test_a_pair_that_coarse_features_explain_asks_for_nothing_more(
    still: PreparedSlice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        pytest.fail("the dearer attempts are for pairs that the first one refuses")

    monkeypatch.setattr(PreparedSlice, "fine_features", property(asked))
    monkeypatch.setattr("components.align.pair.whole_frame_search", asked)
    assert match_pair(still, moved(translation(3.0, -2.0))).accepted


def test_fine_structures_are_matched_where_nothing_coarser_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grain that half of the resolution hardly shows, and a search of the whole frame that is cut short."""
    monkeypatch.setattr(search, "LIMITS", replace(search.LIMITS, min_overlap=2.0))
    grain = gaussian_filter(np.random.default_rng(8).normal(size=(400, 400)), 0.8)
    scene, truth = 128 + 30 * grain / grain.std(), translation(6.3, -4.6)
    a, b = (render(scene, m, noise=2, seed=s, shape_yx=(280, 280)) for s, m in ((1, np.eye(3)), (2, truth)))
    pair = pair_of(a, b)
    assert (pair.accepted, pair.fallback) == (True, "fine")
    assert error_px(pair.matrix, truth) < 0.05


@pytest.mark.parametrize("sides", [(160, 48), (48, 160)])
def test_whole_frame_search_finds_nothing_in_less_than_a_tenth_of_a_slice(sides: tuple[int, int]) -> None:
    content = np.zeros((8, 8), np.float32)
    slice_, small = (
        MatchingPicture(
            picture=np.full((side, side), 128, np.uint8),
            shown=np.ones((side, side), bool),
            content=content,
            reduced=np.full((side, side), 128, np.float32),
        )
        for side in sides
    )
    for found in whole_frame_search(slice_, small):
        assert (found.ncc, found.chance) == (-1, -1)
        assert np.array_equal(found.matrix, np.eye(3))


@pytest.mark.parametrize("blank", [slice(None, SIZE_PX // 2), slice(SIZE_PX // 2 - 20, None)])
@pytest.mark.parametrize("is_first", [True, False])
def test_half_a_picture_is_found_in_a_whole_one(blank: slice, is_first: bool) -> None:
    """The two share all of the half picture, and less than half of the whole one."""
    truth = translation(11.0, -6.0)
    a, b = (render(texture(1), m, noise=90, seed=s) for s, m in ((1, np.eye(3)), (2, truth)))
    (a if is_first else b)[blank] = 0
    pair = pair_of(a, b)
    assert pair.accepted
    assert error_px(pair.matrix, truth) < 1.5


@pytest.mark.parametrize(
    "truth",
    [
        *(rotation_about(CENTER, math.radians(angle_deg)) for angle_deg in (7, 20, -90, 180)),
        about_center([[1.1, 0], [0, 1.1]]),
        about_center([[0.8, 0], [0, 0.8]]) @ rotation_about(CENTER, math.radians(45)),
    ],
)
def test_a_sample_that_was_turned_or_magnified_is_matched_as_one_that_was_not(
    still: PreparedSlice, truth: Matrix
) -> None:
    pair = match_pair(still, moved(truth))
    assert (pair.accepted, pair.fallback, pair.refused_matrix) == (True, "turned", None)
    assert pair.n_windows > 0
    assert error_px(pair.matrix, truth) < 0.3


def test_a_motion_that_no_remount_has_is_refused_and_told(still: PreparedSlice) -> None:
    truth = about_center([[1.5, 0], [0, 1.5]])
    pair = match_pair(still, moved(truth))
    assert (pair.accepted, pair.matrix) == (False, None)
    assert pair.refused_motion == "has 2.25 times the area, 0.97 to 1.03 are accepted"
    assert error_px(pair.refused_matrix, truth) < 1


def test_a_pair_without_matches_has_no_motion(still: PreparedSlice) -> None:
    pair = match_pair(still, prepare(5, render(texture(2), seed=2), 1.0))
    assert (pair.refused_motion, pair.refused_matrix) == ("", None)


def test_whole_frame_search_turns_the_picture() -> None:
    truth = rotation_about(CENTER, math.radians(-3.4)) @ translation(11.0, -6.0)
    a, b = (render(texture(1), m, noise=90, seed=s) for s, m in ((1, np.eye(3)), (2, truth)))
    pair = pair_of(a, b)
    assert pair.fallback == "whole_frame"
    assert error_px(pair.matrix, truth) < 0.8


def test_the_whole_frame_is_searched_once_for_each_pair(
    still: PreparedSlice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by every attempt: one search serves those that see the neighbour as it is, and inverted."""
    searched = []

    def counting(slice_: MatchingPicture, neighbour: MatchingPicture) -> tuple[FrameMatch, FrameMatch]:
        searched.append((slice_, neighbour))
        return whole_frame_search(slice_, neighbour)

    monkeypatch.setattr("components.align.pair.whole_frame_search", counting)
    other = prepare(5, render(texture(2), seed=2), 1.0)
    assert match_pair(still, other).reason == "too_few_inliers"
    assert searched == [(still.matching, other.matching)]


def test_one_search_finds_an_inverted_neighbour_where_it_finds_the_neighbour(still: PreparedSlice) -> None:
    truth = rotation_about(CENTER, math.radians(-3.0)) @ translation(11.0, -6.0)
    other = moved(truth, noise=60).matching
    negative = replace(other, picture=inverted_picture(other.picture))
    for found, found_inverted in (
        (whole_frame_search(still.matching, other)[0], whole_frame_search(still.matching, negative)[1]),
        (whole_frame_search(still.matching, negative)[0], whole_frame_search(still.matching, other)[1]),
    ):
        assert found_inverted.ncc == pytest.approx(found.ncc, abs=1e-4)
        assert found_inverted.chance == pytest.approx(found.chance, abs=1e-4)
        assert np.array_equal(found_inverted.coarse, found.coarse)
    upright, inverted = whole_frame_search(still.matching, other)
    assert upright.ncc > upright.chance + 0.2
    assert inverted.ncc < inverted.chance + 0.1
    assert error_px(upright.matrix, truth) < 1


def test_the_whole_frame_is_settled_in_small_pictures_and_in_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time of a pair must not depend on how large its pictures are, nor on whether they converge."""
    asked = []
    settle = cv2.findTransformECC

    def counting(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, *rest: Any) -> Any:
        asked.append((fixed.shape, moving.shape, rest[1]))
        return settle(fixed, moving, start, *rest)

    monkeypatch.setattr(cv2, "findTransformECC", counting)
    big = render(texture(1), shape_yx=(600, 1100), seed=1)
    slice_ = prepare(4, big, 1.0).matching
    found, _ = whole_frame_search(slice_, slice_)
    assert asked == []  # only what stands above chance is worth it
    assert np.array_equal(found.matrix, found.matrix)
    ((fixed_yx, moving_yx, (ends, n_steps, _)),) = asked
    assert max(*fixed_yx, *moving_yx) == 512
    assert (ends, n_steps) == (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100)


def test_inverted_slice_is_matched_and_marked(still: PreparedSlice) -> None:
    truth = rotation_about(CENTER, math.radians(0.4)) @ translation(5.5, -3.25)
    negative = 255 - render(texture(1), truth, seed=2)
    pair = match_pair(still, prepare(5, negative, 1.0))
    assert (pair.accepted, pair.fallback) == (True, "inverted")
    assert error_px(pair.matrix, truth) < 0.06
    assert pair.ncc_before < 0
    assert pair.ncc_after > 0.9
    both = pair_of(255 - render(texture(1), seed=1), negative)
    assert (both.accepted, both.fallback) == (True, "")


@pytest.mark.parametrize("shift", [(9.5, -4.25), (2.5, 1.5)])
def test_static_pattern_does_not_hold_the_tissue(shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    pattern = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    for _ in range(70):
        x, y = (int(v) for v in rng.integers(0, SIZE_PX, 2))
        cv2.circle(pattern, (x, y), int(rng.integers(2, 7)), int(rng.choice([1, 2])), -1)
    cv2.putText(pattern, "HV 2 kV  InLens", (10, 300), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 2, 2)
    truth = translation(*shift)
    pictures = []
    for seed, matrix in ((1, np.eye(3)), (2, truth)):
        picture = render(texture(1), matrix, seed=seed)
        picture[pattern > 0] = np.where(pattern[pattern > 0] == 1, 20, 235)
        pictures.append(picture)
    pair = pair_of(*pictures)
    assert pair.accepted
    assert error_px(pair.matrix, truth) < 0.2
    if shift == (2.5, 1.5):  # further apart, the tissue outvotes this pattern without help
        assert pair.fallback == "static_pattern"


def test_border_of_the_acquisition_does_not_hold_the_tissue() -> None:
    truth = translation(14.5, -6.25)
    pictures = []
    for seed, matrix in ((1, np.eye(3)), (2, truth)):
        picture = render(texture(1), matrix, noise=12, seed=seed)
        picture[:50] = picture[:, -70:] = 0
        pictures.append(picture)
    pair = pair_of(*pictures)
    assert pair.accepted
    assert pair.fallback == ""
    assert error_px(pair.matrix, truth) < 0.15


def test_copy_differs_by_nothing_and_a_neighbour_by_its_noise(still: PreparedSlice) -> None:
    assert pair_of(render(texture(1), seed=1), render(texture(1), seed=1)).difference == 0
    apart = match_pair(still, moved(np.eye(3))).difference
    assert apart is not None
    assert apart > 0.02


def test_record_repeats_to_the_bit(still: PreparedSlice) -> None:
    truth = rotation_about(CENTER, math.radians(0.4))
    assert match_pair(still, moved(truth)) == match_pair(
        prepare(4, render(texture(1), seed=1), 1.0), moved(truth)
    )


@pytest.mark.parametrize("angle_deg", [0.9, -0.9])
def test_real_neighbours_with_planted_motion(angle_deg: float) -> None:
    a, b = real_pictures("fibsem_medulla", (20, 21))
    planted = rotation_about((259.5, 259.5), math.radians(angle_deg)) @ translation(4.3, -7.8)
    warped = cv2.warpAffine(b, planted[:2], (520, 520), flags=cv2.INTER_LINEAR)
    crop = translation(-60, -60)
    as_they_lie = pair_of(a[60:460, 60:460], b[60:460, 60:460])
    pair = pair_of(a[60:460, 60:460], np.ascontiguousarray(warped[60:460, 60:460]))
    assert as_they_lie.matrix is not None
    truth = crop @ planted @ np.linalg.inv(crop)
    assert error_px(pair.matrix, truth) < 0.5  # the tissue itself moves by 0.3 px
    assert error_px(pair.matrix, truth @ np.array(as_they_lie.matrix)) < 0.2


def test_real_slices_far_apart_are_refused() -> None:
    a, b = real_pictures("fibsem_medulla", (0, 59))
    assert not pair_of(a, b).accepted


def test_the_next_but_one_serial_section_is_found_roughly_and_its_mirror_is_not() -> None:
    """Published as aligned, to 2 to 8 px; no window of the two sections agrees."""
    a, b = real_pictures("sstem_vnc", (6, 8))
    found = pair_of(a, b)
    assert (found.accepted, found.fallback, found.n_windows) == (True, "whole_frame_alone", 0)
    assert found.sigma_px > gates.LIMITS.settled_sigma_px
    corners = [[0, 0], [1023, 0], [0, 1023], [1023, 1023]]
    assert np.abs(transform_points(np.array(found.matrix), corners) - corners).max() < 15
    assert not pair_of(a, np.ascontiguousarray(np.fliplr(b))).accepted


def test_record_does_not_depend_on_the_number_of_threads() -> None:
    program = (
        "from tests.components.align.planted_pair import *; from components.align.pair import match_pair; "
        "from components.align.prepare import prepare; "
        "from components.shared.geometry import rotation_about; "
        "turned = [rotation_about((9, 9), angle) for angle in (0, 0.01)]; "
        "a, b = (prepare(z, render(texture(1), turned[z], seed=z), 1.0) for z in (0, 1)); "
        "print(match_pair(a, b).model_dump_json())"
    )
    root = str(Path(__file__).parents[3])
    records = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in ("1", "4")
    }
    assert len(records) == 1
    assert '"accepted":true' in records.pop()
