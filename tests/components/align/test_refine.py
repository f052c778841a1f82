"""Sub-pixel refinement: windows that tell nothing, and the last correction over the whole picture."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from components.align import refine as refinement
from components.align.models import PointPairs
from components.align.normalise import band_passed, detail_picture
from components.align.refine import corrected
from components.shared.geometry import Matrix, rotation_about, translation
from tests.components.align.planted_pair import SIZE_PX, error_px, render, texture

CENTER = ((SIZE_PX - 1) / 2, (SIZE_PX - 1) / 2)
EVERYWHERE = np.ones((SIZE_PX, SIZE_PX), bool)


def detail(picture: np.ndarray) -> np.ndarray:
    return detail_picture(picture.astype(np.float32), np.ones(picture.shape, bool))


def pair(truth: Matrix, noise: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    scene = texture(1)
    return detail(render(scene, seed=1)), detail(render(scene, truth, noise=noise, seed=2))


@pytest.mark.parametrize("angle_deg", [0.3, -0.3])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.3, -7.6)])
def test_it_takes_a_transform_from_near_to_exact(angle_deg: float, shift: tuple[float, float]) -> None:
    truth = translation(*shift) @ rotation_about(CENTER, math.radians(angle_deg))
    start = translation(0.6, -0.4) @ truth @ rotation_about(CENTER, 0.001)
    found = corrected(*pair(truth), start, "rigid", EVERYWHERE)
    assert error_px(found, truth) < 0.03


def test_a_translation_stays_one() -> None:
    found = corrected(*pair(rotation_about(CENTER, 0.002)), translation(0.5, 0.5), "translation", EVERYWHERE)
    assert np.allclose(found[:2, :2], np.eye(2))
    assert np.hypot(*found[:2, 2]) < 0.1


def test_stretch_and_shear_stay_as_they_are() -> None:
    shape = translation(*CENTER) @ np.diag([1.0, 1.004, 1.0]) @ translation(-CENTER[0], -CENTER[1])
    found = corrected(*pair(shape), translation(0.4, 0.3) @ shape, "rigid_stretch", EVERYWHERE)
    assert error_px(found, shape) < 0.05
    assert np.linalg.svd(found[:2, :2], compute_uv=False) == pytest.approx([1.004, 1.0], abs=1e-6)


def test_what_is_not_trusted_has_no_say() -> None:
    """The lower half has stayed behind, as under a slip in mid-scan."""
    truth = translation(2.0, 1.0)
    slice_, neighbour = pair(truth)
    neighbour[SIZE_PX // 2 :] = slice_[SIZE_PX // 2 :]
    upper = EVERYWHERE.copy()
    upper[SIZE_PX // 2 - 8 :] = False
    found = corrected(slice_, neighbour, translation(1.7, 1.2), "translation", upper)
    assert error_px(found, truth) < 0.03


def test_pictures_without_structure_leave_the_transform() -> None:
    empty = np.full((SIZE_PX, SIZE_PX), 128, np.uint8)
    start = translation(3, 4)
    assert np.array_equal(corrected(empty, empty, start, "rigid", EVERYWHERE), start)


def test_dirt_that_stands_still_pulls_less_than_in_the_plain_picture() -> None:
    """A speck of many times the contrast weighs no more than the tissue beside it."""
    truth = translation(2.4, -1.6)
    scene = texture(1)
    pictures = [render(scene, seed=1), render(scene, truth, seed=2)]
    rng = np.random.default_rng(3)
    for x, y in rng.integers(20, SIZE_PX - 20, (12, 2)):
        for picture in pictures:
            picture[y - 3 : y + 4, x - 3 : x + 4] = 0
    plain = [band_passed(picture.astype(np.float32), EVERYWHERE) for picture in pictures]
    pulled = corrected(plain[0], plain[1], truth, "translation", EVERYWHERE)
    found = corrected(*map(detail, pictures), truth, "translation", EVERYWHERE)
    assert error_px(found, truth) < 0.6 * error_px(pulled, truth)


@pytest.mark.parametrize(
    ("is_rigid", "motion"), [(False, cv2.MOTION_TRANSLATION), (True, cv2.MOTION_EUCLIDEAN)]
)
def test_it_settles_where_the_ecc_of_opencv_does(is_rigid: bool, motion: int) -> None:
    """Also where grey levels have another gain and offset, and where part of the picture does not count."""
    truth = translation(0.4, -0.3) @ rotation_about(CENTER, 0.003 if is_rigid else 0.0)
    slice_, neighbour = pair(truth, noise=12)
    neighbour = np.rint(40 + 0.7 * neighbour).astype(np.uint8)
    trusted = EVERYWHERE.copy()
    trusted[100:200, 60:90] = False
    found = refinement._settled(slice_, neighbour, trusted, is_rigid=is_rigid)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-7)
    start, mask = np.eye(2, 3, dtype=np.float32), trusted.astype(np.uint8)
    # OpenCV masks the picture that it moves, so that the roles are the other way round.
    _, theirs = cv2.findTransformECC(neighbour, slice_, start, motion, criteria, mask, 1)
    expected = np.linalg.inv(np.vstack([theirs, [0, 0, 1]]))
    assert found is not None
    assert error_px(found, expected) < 0.01
    assert error_px(found, truth) < 0.04


def test_pictures_that_agree_nowhere_do_not_settle() -> None:
    slice_, _ = pair(np.eye(3))
    assert refinement._settled(slice_, 255 - slice_, EVERYWHERE, is_rigid=True) is None


def grating(shift_xy: tuple[float, float] = (0, 0), period_px: float = 12) -> np.ndarray:
    """A periodic texture: moved by a period it is the same."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] * (2 * math.pi / period_px)
    dx, dy = np.array(shift_xy) * (2 * math.pi / period_px)
    waves = np.sin(x - dx) * np.sin(y - dy)
    noise = np.random.default_rng(3).normal(scale=0.05, size=waves.shape)
    return np.clip(np.rint(128 + 60 * (waves + noise)), 1, 255).astype(np.uint8)


def test_windows_of_a_grating_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = grating(), grating((1.5, 0.5))
    assert len(refinement.refine(*pictures, np.eye(3)).pairs) == 0
    heedless = replace(refinement.WINDOWS, max_second_peak=2.0)
    monkeypatch.setattr(refinement, "WINDOWS", heedless)
    assert len(refinement.refine(*pictures, np.eye(3)).pairs) > 30


def windows_moved_by(truth: Matrix, other: int = 1) -> refinement.Refinement:
    """The windows of a slice and of another that shows the same texture moved, or another texture."""
    scenes = render(texture(1), seed=1), render(texture(other), truth, seed=2)
    pictures = (band_passed(scene.astype(np.float32), EVERYWHERE) for scene in scenes)
    return refinement.refine(*pictures, np.eye(3))


@pytest.mark.parametrize("shift_px", [(0, 0), (30, 20), (-30, -20)])
def test_windows_lie_evenly_in_what_both_slices_show(shift_px: tuple[int, int]) -> None:
    picture = detail(render(texture(1), seed=1))
    found = refinement.refine(picture, picture, translation(*shift_px))
    first, last = found.corners_px.min(axis=0), found.corners_px.max(axis=0) + found.side_px
    shown_first = np.maximum(0, -np.array(shift_px))
    shown_last = SIZE_PX - 1 - np.maximum(0, shift_px)
    assert (first - shown_first).tolist() == (shown_last - last).tolist()
    assert (first - shown_first).min() >= refinement.WINDOWS.search_px


def test_windows_of_other_tissue_say_nothing() -> None:
    found = windows_moved_by(np.eye(3), other=2)
    assert np.count_nonzero(found.kept) <= 5


def test_the_template_alone_is_good_to_a_tenth_of_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement.cv2, "findTransformECC", lambda _a, _b, start, *_: (1.0, start))
    found = windows_moved_by(translation(2.4, -1.7)).pairs
    moved = np.median(found.neighbour_px - found.slice_px, axis=0)
    assert moved == pytest.approx([2.4, -1.7], abs=0.1)


@pytest.mark.parametrize(("error_px", "n_kept"), [(0.8, 49), (1.2, 0)])
def test_a_window_where_template_and_ecc_disagree_says_nothing(
    monkeypatch: pytest.MonkeyPatch, error_px: float, n_kept: int
) -> None:
    def astray(_a: object, _b: object, start: np.ndarray, *_: object) -> tuple[float, np.ndarray]:
        return 1.0, start + np.array([[0, 0, error_px], [0, 0, 0]], np.float32)

    monkeypatch.setattr(refinement.cv2, "findTransformECC", astray)
    assert np.count_nonzero(windows_moved_by(np.eye(3)).kept) == n_kept


@pytest.mark.parametrize(("spacing_px", "n_independent"), [(1000, 49), (50, (400 / 180) ** 2)])
def test_windows_that_share_structures_count_as_one(spacing_px: float, n_independent: float) -> None:
    centers = np.stack(np.meshgrid(np.arange(7.0), np.arange(7.0)), axis=-1).reshape(-1, 2) * spacing_px
    pairs = PointPairs(centers, centers)
    found = refinement.Refinement(pairs, np.zeros((49, 2), np.int64), np.ones(49, bool), 100)
    assert found.n_independent == pytest.approx(n_independent)


def test_no_window_is_no_independent_point() -> None:
    none = np.zeros((0, 2))
    found = refinement.Refinement(PointPairs(none, none), none.astype(np.int64), np.zeros(0, bool), 100)
    assert found.n_independent == 0


def test_pixels_of_outlier_windows_are_not_trusted_but_where_another_window_agrees() -> None:
    corners = np.array([[0, 0], [5, 0], [30, 0]])
    kept = np.array([True, True, False])
    centers = corners[kept] + 4.5
    found = refinement.Refinement(PointPairs(centers, centers), corners, kept, 10)
    trusted = found.trusted(np.array([0.0, 0.9]), (12, 50))
    assert not trusted[:10, :5].any()
    assert trusted[:10, 5:30].all()
    assert not trusted[:10, 30:40].any()
    assert trusted[10:].all()


@pytest.mark.parametrize("second_yx", [(4, 16), (16, 4), (28, 16), (16, 28)])
def test_a_window_that_fits_at_two_places_says_nothing(second_yx: tuple[int, int]) -> None:
    scores = np.zeros((33, 33), np.float32)
    scores[16, 16] = 1
    assert refinement._template_peak(scores) == (16, 16)
    scores[second_yx] = 0.99
    assert refinement._template_peak(scores) is None
