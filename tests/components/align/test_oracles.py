"""What scikit-image finds in the same pictures: its estimators, correlation and matching."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import feature, measure, registration, transform
from skimage.filters import difference_of_gaussians

from components.align.features import MATCHING, extract_features, match_features
from components.align.gates import ncc
from components.align.models import PointPairs, fit_ladder
from components.align.normalise import band_passed, matching_picture, resized
from components.align.search import whole_frame_search
from components.shared.documents.align import Model
from components.shared.geometry import Matrix, rotation_about, transform_points, translation
from tests.components.align.planted_pair import SIZE_PX, error_px, render, texture

CENTER = ((SIZE_PX - 1) / 2, (SIZE_PX - 1) / 2)
EVERYWHERE = np.ones((SIZE_PX, SIZE_PX), bool)


def points_moved_by(truth: Matrix, noise_px: float) -> PointPairs:
    rng = np.random.default_rng(5)
    points = rng.uniform(0, SIZE_PX, (400, 2))
    return PointPairs(points, transform_points(truth, points) + rng.normal(scale=noise_px, size=points.shape))


@pytest.mark.parametrize(("model", "kind"), [("rigid", "euclidean"), ("affine", "affine")])
@pytest.mark.parametrize("noise_px", [0.0, 0.5])
def test_a_model_is_that_of_least_squares(model: Model, kind: str, noise_px: float) -> None:
    """Without outliers the weights hardly matter: the two are nearer to each other than to the truth."""
    truth = translation(4, -3) @ rotation_about(CENTER, math.radians(1.2))
    points = points_moved_by(truth, noise_px)
    theirs = transform.estimate_transform(kind, points.slice_px, points.neighbour_px).params
    ours = fit_ladder(points)[model].matrix
    assert error_px(ours, theirs) < (0.3 * error_px(theirs, truth) if noise_px else 1e-9)


def test_outliers_pull_less_than_in_least_squares() -> None:
    truth = translation(4, -3) @ rotation_about(CENTER, math.radians(1.2))
    points = points_moved_by(truth, 0.2)
    points.neighbour_px[:40] += 8
    theirs = transform.estimate_transform("euclidean", points.slice_px, points.neighbour_px).params
    ours = fit_ladder(points)["rigid"].matrix
    assert error_px(ours, truth) < 0.05 < 0.5 < error_px(theirs, truth)


def test_ncc_is_pearsons_coefficient() -> None:
    a, b = (render(texture(1), seed=seed, noise=20).astype(np.float32) for seed in (1, 2))
    inside = np.random.default_rng(0).random(a.shape) < 0.7
    expected, _ = measure.pearson_corr_coeff(a, b, inside)
    assert ncc(a, b, inside) == pytest.approx(expected, abs=1e-6)


def test_the_same_features_are_matched() -> None:
    truth = rotation_about(CENTER, math.radians(0.5)) @ translation(3, 2)
    pictures = [matching_picture(render(texture(1), m, seed=s).astype(np.float32)) for s, m in
                ((1, np.eye(3)), (2, truth))]  # fmt: skip
    a, b = (extract_features(picture.picture, picture.shown) for picture in pictures)
    theirs = feature.match_descriptors(
        a.descriptors.astype(float), b.descriptors.astype(float), cross_check=True, max_ratio=MATCHING.ratio
    )
    ours = match_features(a, b)
    assert len(ours) > 100
    np.testing.assert_array_equal(ours.slice_px, a.points_px[theirs[:, 0]])
    np.testing.assert_array_equal(ours.neighbour_px, b.points_px[theirs[:, 1]])


def test_the_search_finds_the_shift_of_masked_correlation() -> None:
    """Padfield's formula in full, with the means that the search leaves out."""
    truth = translation(15, -9)
    pictures = [
        matching_picture(render(texture(1), matrix, noise=60, seed=seed).astype(np.float32))
        for seed, matrix in ((1, np.eye(3)), (2, truth))
    ]
    shift_yx, *_ = registration.phase_cross_correlation(
        pictures[1].picture.astype(float),
        pictures[0].picture.astype(float),
        reference_mask=pictures[1].shown,
        moving_mask=pictures[0].shown,
        overlap_ratio=0.5,
    )
    assert np.abs(shift_yx - [-9, 15]).max() <= 1  # whole pixels are all it knows
    assert error_px(whole_frame_search(*pictures)[0].matrix, truth) < 1


def test_half_a_picture_is_the_mean_of_four_pixels() -> None:
    picture = render(texture(1)).astype(np.float32)
    np.testing.assert_allclose(
        resized(picture, 0.5), transform.downscale_local_mean(picture, (2, 2)), atol=1e-4
    )


def test_the_band_is_a_difference_of_gaussians() -> None:
    picture = render(texture(1)).astype(np.float32)
    theirs = difference_of_gaussians(picture, 1.5, 16, mode="reflect", truncate=4)
    ours = band_passed(picture, EVERYWHERE)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
