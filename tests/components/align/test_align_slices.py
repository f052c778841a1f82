"""What is computed of one slice: pictures, features, statistics, thumbnail."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.align.features import (
    DESCRIPTOR_NORM,
    cell_of,
    consensus,
    extract_features,
    inverted_features,
    match_features,
    spread_selection,
)
from components.align.models import PointPairs
from components.align.normalise import GREY, GREY_PER_STD, band_passed, matching_picture, resized, where_shown
from components.align.prepare import prepare
from components.align.statistics import Tissue, slice_statistics, streaks_along_y, thumbnail
from components.shared.geometry import rotation_about, scaled_from_full, transform_points
from tests.components.align.planted_pair import SIZE_PX, render, texture


@settings(max_examples=40)
@given(width=st.integers(40, 300), scale=st.floats(0.11, 0.99))
def test_resizing_moves_pixel_centres_as_the_convention_says(width: int, scale: float) -> None:
    assume(round(scale * width) < width)  # OpenCV copies a picture that keeps its size
    ramp = np.tile(np.arange(width, dtype=np.float32), (40, 1))
    small = resized(ramp, scale)
    columns = np.arange(1, small.shape[1] - 2)
    back = transform_points(np.linalg.inv(scaled_from_full(scale)), [[x, 0] for x in columns])
    error = small[0, columns] - back[:, 0]
    ends = np.stack([columns, columns + 1]) / scale
    # OpenCV leaves out a thousandth of a pixel.
    is_exact = (np.abs(ends - np.rint(ends)) > 2e-3).all(axis=0)
    # Pixels are flat inside: each end of an averaged window adds up to 1/8 of a pixel over its width.
    assert np.abs(error[is_exact]).max(initial=0) < 0.25 * scale
    assert abs(error.mean()) < 0.03


def test_matching_picture_ignores_gain_and_offset() -> None:
    picture = texture(1).astype(np.float32)
    a, b = matching_picture(picture).picture, matching_picture(500 + 91 * picture).picture
    assert np.abs(a.astype(int) - b).max() <= 1


def test_matching_picture_loses_curtains_and_keeps_tissue() -> None:
    tissue = texture(1).astype(np.float32)
    curtains = (15 * np.random.default_rng(0).normal(size=tissue.shape[1])).astype(np.float32)
    clean = matching_picture(tissue).picture.astype(float)
    cleaned = matching_picture(tissue + curtains).picture.astype(float)
    assert np.corrcoef(clean.ravel(), cleaned.ravel())[0, 1] > 0.97
    assert np.corrcoef(clean.ravel(), tissue.ravel())[0, 1] > 0.85


def test_empty_half_has_no_content() -> None:
    picture = texture(1).astype(np.float32)
    picture[:, picture.shape[1] // 2 :] = 128
    content = matching_picture(picture).content
    assert content[:, :3].min() > 0.9
    assert content[:, 6:].max() == 0


def test_band_of_a_flat_picture_is_flat() -> None:
    assert np.all(band_passed(np.full((50, 60), 9, np.float32), np.ones((50, 60), bool)) == 128)


def test_features_are_rounded_unit_vectors_in_a_fixed_order() -> None:
    picture = matching_picture(texture(1).astype(np.float32)).picture
    shown = np.ones(picture.shape, bool)
    features, again = extract_features(picture, shown), extract_features(picture, shown)
    lengths = np.linalg.norm(features.descriptors.astype(float), axis=1)
    assert lengths == pytest.approx(DESCRIPTOR_NORM, rel=0.01)
    assert np.array_equal(features.points_px, again.points_px)
    assert np.array_equal(features.descriptors, again.descriptors)


def test_features_of_an_inverted_picture_are_the_inverted_features() -> None:
    picture = matching_picture(texture(1).astype(np.float32)).picture
    shown = np.ones(picture.shape, bool)
    inverted = (256 - picture.astype(int)).astype(np.uint8)
    expected = match_features(extract_features(picture, shown), extract_features(inverted, shown))
    assert len(expected) < 30
    turned = inverted_features(extract_features(picture, shown))
    pairs = match_features(turned, extract_features(inverted, shown))
    assert len(pairs) > 0.9 * len(turned)
    assert np.abs(pairs.slice_px - pairs.neighbour_px).max() < 0.5


def test_resin_stays_calmer_than_tissue() -> None:
    picture = render(texture(1), noise=3).astype(np.float32)
    half = SIZE_PX // 2
    picture[:, half:] = np.random.default_rng(2).normal(120, 3, (SIZE_PX, half))
    spread = matching_picture(picture).picture.astype(float) - GREY
    tissue, resin = (
        spread[:, part].std() / GREY_PER_STD for part in (slice(half - 30), slice(half + 30, None))
    )
    assert 0.7 < tissue < 1.1
    assert 0.1 < resin < 0.6


def test_padding_and_its_edge_are_not_shown() -> None:
    picture = texture(1).astype(np.float32)
    picture[:, :40] = 0
    shown = where_shown(picture)
    assert not shown[:, :42].any()
    assert shown[:, 48:].all()
    prepared = matching_picture(picture)
    assert np.all(prepared.picture[:, :42] == 128)
    assert prepared.content[:, 0].max() < 0.25
    beyond = np.s_[:, 60:]
    plain = matching_picture(texture(1).astype(np.float32)).picture
    assert np.corrcoef(prepared.picture[beyond].ravel(), plain[beyond].ravel())[0, 1] > 0.98
    assert extract_features(prepared.picture, prepared.shown).points_px[:, 0].min() > 42


def test_selection_keeps_weak_features_of_quiet_cells() -> None:
    rng = np.random.default_rng(0)
    busy = rng.uniform(0, 40, (5000, 2))
    quiet = rng.uniform(0, 640, (300, 2))
    points = np.vstack([busy, quiet])
    responses = np.concatenate([rng.uniform(1, 2, 5000), rng.uniform(0, 0.1, 300)])
    chosen = spread_selection(points, responses, (640, 640), 512)
    assert len(chosen) == len(set(chosen.tolist())) == 512
    cells = set(cell_of(points, (640, 640), 16).tolist())
    assert set(cell_of(points[chosen], (640, 640), 16).tolist()) == cells
    assert chosen[responses[chosen] > 1].size >= 512 - 300


@given(st.integers(1, 400), st.integers(0, 5))
def test_selection_fills_the_limit_with_the_strongest(limit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, responses = rng.uniform(0, 100, (300, 2)), rng.uniform(size=300)
    chosen = spread_selection(points, responses, (100, 100), limit)
    assert len(chosen) == min(limit, 300)
    assert np.all(np.diff(chosen) > 0)
    assert int(responses.argmax()) in chosen


def test_matching_agrees_with_opencv() -> None:
    a, b = (
        extract_features(
            matching_picture(render(texture(1), m, seed=s).astype(np.float32)).picture,
            np.ones((SIZE_PX, SIZE_PX), bool),
        )
        for s, m in ((1, np.eye(3)), (2, rotation_about((160, 160), 0.02)))
    )
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    forward = matcher.knnMatch(a.descriptors.astype(np.float32), b.descriptors.astype(np.float32), 2)
    backward = matcher.match(b.descriptors.astype(np.float32), a.descriptors.astype(np.float32))
    best_of_b = {m.queryIdx: m.trainIdx for m in backward}
    want = [
        (m.queryIdx, m.trainIdx)
        for m, second in forward
        if m.distance < 0.8 * second.distance and best_of_b[m.trainIdx] == m.queryIdx
    ]
    pairs = match_features(a, b)
    assert len(want) > 100
    assert np.array_equal(pairs.slice_px, a.points_px[[i for i, _ in want]])
    assert np.array_equal(pairs.neighbour_px, b.points_px[[j for _, j in want]])


def test_consensus_finds_a_minority_that_agrees() -> None:
    rng = np.random.default_rng(0)
    slice_px, neighbour_px = rng.uniform(0, 500, (2, 300, 2))
    neighbour_px[:100] = transform_points(rotation_about((9, 9), 0.1), slice_px[:100])
    found = consensus(PointPairs(slice_px, neighbour_px))
    assert {tuple(p) for p in slice_px[:100]} <= {tuple(p) for p in found.slice_px}
    assert len(found) < 105


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_statistics_are_those_of_the_grey_levels(dtype: type) -> None:
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(10, top - 10, (70, 90)).astype(dtype)
    image[:7] = 0
    image[-14:] = top
    found = slice_statistics(
        3,
        Tissue.of(image),
        image.astype(np.float32),
        image.astype(np.float32),
        content=np.full((8, 8), 0.25, np.float32),
        n_features=17,
    )
    assert (found.z, found.content_fraction, found.n_features) == (3, 0.25, 17)
    assert found.mean == pytest.approx(image.mean())
    assert found.std == pytest.approx(image.std())
    assert (found.low, found.high) == (0, top)
    assert found.zero_fraction == pytest.approx(0.1)
    assert found.saturated_fraction == pytest.approx(0.2)


def test_sharpness_does_not_depend_on_contrast() -> None:
    picture = render(texture(1), noise=2)
    content = np.ones((8, 8), np.float32)
    loud, faint = (
        slice_statistics(0, Tissue.of(picture), fine, fine, content=content, n_features=1)
        for fine in (picture.astype(np.float32), picture.astype(np.float32) / 100)
    )
    assert faint.sharpness == pytest.approx(loud.sharpness, rel=1e-3)
    assert faint.contrast == pytest.approx(loud.contrast / 100, rel=1e-3)


def test_defocus_lowers_the_sharpness() -> None:
    sharp = render(texture(1), noise=2)
    defocused = cv2.GaussianBlur(sharp, (0, 0), 3)
    a, b = (prepare(0, picture, 1.0).statistics.sharpness for picture in (sharp, defocused))
    assert b < 0.5 * a


def test_thumbnail_is_an_area_average() -> None:
    image = np.array([[0, 100, 50, 50], [100, 200, 50, 50]], np.uint8)
    assert thumbnail(image, 0.5, 0, 0).tolist() == [[100, 50]]


def test_thumbnail_of_sixteen_bits_shows_the_percentiles() -> None:
    image = np.array([[0, 1000], [2000, 60_000]], np.uint16)
    assert thumbnail(image, 1, 1000, 2000).tolist() == [[0, 0], [255, 255]]


def test_prepared_slice_keeps_little() -> None:
    prepared = prepare(0, render(texture(1)), 0.5)
    assert prepared.matching.picture.shape == (SIZE_PX // 2, SIZE_PX // 2)
    assert prepared.band.shape == (SIZE_PX, SIZE_PX)
    assert prepared.size_xy == (SIZE_PX, SIZE_PX)
    assert prepared.statistics.content_fraction > 0.9


def test_statistics_tell_noise_streaks_and_where_content_lacks() -> None:
    rng = np.random.default_rng(0)
    noise = np.clip(np.rint(rng.normal(128, 6, (400, 400))), 0, 255).astype(np.uint8)
    half = render(texture(1), seed=3)
    half[160:] = 90
    assert prepare(1, noise, 1.0).statistics.noise == pytest.approx(6, rel=0.03)
    found = prepare(1, half, 1.0).statistics
    grid = np.reshape(found.content_grid, (8, 8))
    assert grid[:3].min() > 0.8
    assert grid[4:].max() == 0
    assert found.content_fraction == pytest.approx(grid.mean(), abs=0.001)
    four_levels = np.tile(np.array([10, 20, 30, 40], np.uint8), (60, 15))
    assert prepare(1, four_levels, 1.0).statistics.entropy_bits == pytest.approx(2)


def test_streaks_are_told_by_their_direction() -> None:
    tissue = texture(1).astype(np.float32)
    curtains = (25 * np.random.default_rng(0).normal(size=tissue.shape[1])).astype(np.float32)
    plain, streaked = streaks_along_y(tissue), streaks_along_y(tissue + curtains)
    assert plain < 0.2
    assert streaked > 3 * plain
    assert streaks_along_y(tissue + curtains[:, None]) < 0.2
    assert streaks_along_y(np.zeros((40, 40), np.float32)) == 0
    assert streaks_along_y(1e-4 * (tissue + curtains)) == pytest.approx(streaked)


def test_a_flat_picture_has_no_features() -> None:
    flat = np.full((200, 200), GREY, np.uint8)
    found = extract_features(flat, np.ones(flat.shape, bool))
    assert (len(found), found.points_px.shape, found.descriptors.shape) == (0, (0, 2), (0, 128))


def test_only_what_lies_near_a_fill_value_is_hidden() -> None:
    picture = texture(1).astype(np.float32)
    fill = np.zeros(picture.shape, bool)
    fill[:, :40] = True
    shown = matching_picture(picture, fill).shown
    assert not shown[:, :40].any()
    assert shown[:, 60:].all()


@pytest.mark.parametrize("match_scale", [1.0, 0.7, 0.3])
def test_fine_features_lie_where_the_features_of_matching_do(match_scale: float) -> None:
    prepared = prepare(0, render(texture(1), seed=1), match_scale)
    height, width = prepared.matching.picture.shape
    x, y = prepared.fine_features.points_px.T
    assert (x.min() < 0.2 * width, y.min() < 0.2 * height) == (True, True)
    assert 0.8 * width < x.max() < width
    assert 0.8 * height < y.max() < height
