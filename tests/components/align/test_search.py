"""Neighbours that share little: their motion is told by two searches, of two bands of the same pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from components.align import gates
from components.align.pair import match_pair
from components.align.prepare import PreparedSlice, prepare
from components.align.search import broad_search, turned_search, whole_frame_search
from components.shared.geometry import Matrix, rotation_about, transform_points, translation
from tests.components.align.planted_pair import error_px, render
from tests.real_slices import real_pictures

SIDE_PX = 480
CENTER = [[(SIDE_PX - 1) / 2, (SIDE_PX - 1) / 2]]
TRUTH = translation(11.0, -6.0)


def section(
    z: int, *, large: int, shared: float, matrix: Matrix | None = None, scale: float = 1.0
) -> PreparedSlice:
    """A section with large structures of a seed; of its small ones a part is the same in all sections."""
    small = shared * structures(4, 4) + (1 - shared**2) ** 0.5 * structures(100 + z, 4)
    scene = 128 + 25 * structures(large, 24) + 20 * small
    return prepare(z, render(scene, matrix, seed=z, shape_yx=(SIDE_PX, SIDE_PX)), scale)


def structures(seed: int, sigma_px: float) -> NDArray[np.float64]:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(600, 600)), sigma_px)
    return np.asarray(field / field.std())


def test_what_small_structures_hardly_tell_is_believed_where_large_ones_tell_the_same() -> None:
    a, b = section(2, large=1, shared=0.3), section(3, large=1, shared=0.3, matrix=TRUTH)
    found, _ = whole_frame_search(a.matching, b.matching)
    assert found.above_chance < gates.LIMITS.min_above_chance_alone
    pair = match_pair(a, b)
    assert (pair.accepted, pair.fallback) == (True, "whole_frame_alone")
    assert error_px(pair.matrix, TRUTH) < pair.sigma_px


def test_what_small_structures_hardly_tell_is_refused_where_large_ones_differ() -> None:
    a, b = section(2, large=1, shared=0.5), section(3, large=7, shared=0.5, matrix=TRUTH)
    found, _ = whole_frame_search(a.matching, b.matching)
    assert found.above_chance > gates.LIMITS.min_above_chance_confirmed
    assert not match_pair(a, b).accepted


def test_large_structures_alone_hold_no_pair() -> None:
    a, b = section(2, large=1, shared=0.0), section(3, large=1, shared=0.0, matrix=TRUTH)
    assert broad_search(a.matching, b.matching).above_chance > 2 * gates.LIMITS.min_above_chance_broad
    assert not match_pair(a, b).accepted


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("cut", [slice(None), slice(0, 360)])
def test_the_largest_structures_are_found_where_they_lie(scale: float, cut: slice) -> None:
    """To a pixel of the small pictures, also between slices of different size."""
    a, b = (
        section(z, large=1, shared=0.0, matrix=m, scale=scale)
        for z, m in ((2, translation(-20, 0)), (3, translation(20, 30)))
    )
    whole = render(128 + 25 * structures(1, 24), translation(20, 30), shape_yx=(SIDE_PX, SIDE_PX))
    b = prepare(3, whole[cut], scale)
    found = broad_search(a.matching, b.matching)
    apart_px = transform_points(found.coarse, [[150 * scale, 150 * scale]]) / scale - [[190, 180]]
    assert np.abs(apart_px).max() < 1.5 * SIDE_PX / 64


def test_the_largest_structures_ignore_padding() -> None:
    """A border that stands still agrees with no motion; the structures lie elsewhere."""
    pictures = [
        render(128 + 25 * structures(1, 24), m, shape_yx=(SIDE_PX, SIDE_PX))
        for m in (np.eye(3), translation(30, 45))
    ]
    for picture in pictures:
        picture[:, :100], picture[:60] = 255, 0
    a, b = (prepare(z, picture, 1.0) for z, picture in enumerate(pictures))
    found = broad_search(a.matching, b.matching)
    assert np.abs(transform_points(found.coarse, CENTER) - CENTER - [[30, 45]]).max() < 10


def similar(angle_deg: float, magnification: float) -> Matrix:
    """A motion about the middle of a section, and a shift."""
    (x, y), linear = CENTER[0], np.diag([magnification, magnification, 1.0])
    about = translation(x, y) @ linear @ translation(-x, -y)
    return np.asarray(rotation_about((x, y), np.radians(angle_deg)) @ about @ translation(8, -5))


@pytest.mark.parametrize(
    ("angle_deg", "magnification"),
    [(12, 1.0), (-90, 1.0), (180, 1.0), (0, 1.1), (0, 0.8), (25, 0.75)],
)
def test_a_section_that_was_turned_or_magnified_is_found_where_features_find_nothing(
    angle_deg: float, magnification: float
) -> None:
    truth = similar(angle_deg, magnification)
    pair = match_pair(section(2, large=1, shared=0.6), section(3, large=1, shared=0.6, matrix=truth))
    assert (pair.accepted, pair.fallback) == (True, "turned")
    assert pair.n_inliers < gates.LIMITS.min_inliers
    assert error_px(pair.matrix, truth) < 4


def test_a_section_that_is_not_found_again_when_turned_back_is_told_with_its_motion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = similar(12, 1.0)
    a, b = section(2, large=1, shared=0.6), section(3, large=1, shared=0.6, matrix=truth)
    monkeypatch.setattr("components.align.pair._turned_back", lambda *_: None)
    pair = match_pair(a, b)
    assert (pair.accepted, pair.matrix, pair.reason) == (False, None, "rotation")
    assert "degrees, at most 5" in pair.refused_motion
    assert error_px(pair.refused_matrix, truth) < 8


def test_different_tissue_has_no_motion_however_it_is_turned() -> None:
    for large, shared in ((1, 0.0), (7, 0.0), (7, 0.3)):
        a, b = section(2, large=1, shared=shared), section(3, large=large, shared=shared)
        b = section(3, large=large, shared=0.0, matrix=similar(90, 1.0)) if large == 1 else b
        assert turned_search(a.matching, b.matching) is None, (large, shared)


def test_only_the_next_section_is_looked_at_from_all_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search takes as long as all others together; one further away turns with those between."""

    def asked(*_: object) -> None:
        pytest.fail("a section further away is not turned by itself")

    monkeypatch.setattr("components.align.pair.turned_search", asked)
    a, b = section(2, large=1, shared=0.0), section(4, large=7, shared=0.0)
    assert match_pair(a, b).refused_matrix is None


@pytest.mark.parametrize("z", [9, 10, 19])
def test_neighbours_that_share_least_of_a_real_stack_are_found_and_turned_by_nothing_else_than_they_are(
    z: int,
) -> None:
    a, b = real_pictures("sstem_isbi", (z, z + 1))
    found = match_pair(prepare(z, a, 1.0), prepare(z + 1, b, 1.0))
    assert (found.accepted, found.fallback) == (True, "whole_frame_alone")
    for turn, angle_deg in ((cv2.ROTATE_90_CLOCKWISE, 90), (cv2.ROTATE_180, 180)):
        turned = prepare(z + 1, np.ascontiguousarray(cv2.rotate(b, turn)), 1.0)
        pair = match_pair(prepare(z, a, 1.0), turned)
        whole = rotation_about(((b.shape[1] - 1) / 2,) * 2, np.radians(angle_deg)) @ np.array(found.matrix)
        assert not pair.accepted or error_px(pair.matrix, whole) < 15
    mirrored = prepare(z + 1, np.ascontiguousarray(cv2.flip(b, 1)), 1.0)
    assert not match_pair(prepare(z, a, 1.0), mirrored).accepted
