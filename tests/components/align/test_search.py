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
from components.align.search import broad_search, whole_frame_search
from components.shared.geometry import Matrix, transform_points, translation
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


@pytest.mark.parametrize("z", [9, 10, 19])
def test_neighbours_that_share_least_of_a_real_stack_are_found_and_their_turned_selves_are_not(
    z: int,
) -> None:
    a, b = real_pictures("sstem_isbi", (z, z + 1))
    found = match_pair(prepare(z, a, 1.0), prepare(z + 1, b, 1.0))
    assert (found.accepted, found.fallback) == (True, "whole_frame_alone")
    for turn in (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180):
        turned = prepare(z + 1, np.ascontiguousarray(cv2.rotate(b, turn)), 1.0)
        assert not match_pair(prepare(z, a, 1.0), turned).accepted
