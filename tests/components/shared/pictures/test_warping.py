"""Warped pictures: against a reference of NumPy's own, with each kind of border."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from components.shared.geometry import rotation_about, translation
from components.shared.pictures.warping import warped, warped_and_extended, warped_mask


def textured(height: int = 40, width: int = 50) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(height, width))
    return (128 + 40 * ndimage.gaussian_filter(noise, 2) * 5).clip(0, 255).astype(np.float32)


def test_a_turned_picture_is_that_of_scipy() -> None:
    picture, matrix = textured(), rotation_about((20, 20), 0.1) @ translation(3.25, -2.5)
    found = warped(picture, matrix, (30, 35), outside=-1)
    at = np.indices((30, 35))[::-1].reshape(2, -1)
    x, y = matrix[:2, :2] @ at + matrix[:2, 2:]
    expected = ndimage.map_coordinates(picture, [y, x], order=1, mode="grid-constant", cval=-1)
    np.testing.assert_allclose(found.ravel(), expected, atol=0.5)


def test_the_type_is_kept_and_the_outside_is_as_asked() -> None:
    picture = np.full((4, 4), 9, np.uint8)
    found = warped(picture, translation(-3, 0), (4, 8), outside=128)
    assert found.dtype == np.uint8
    assert found[0].tolist() == [128, 128, 128, 9, 9, 9, 9, 128]
    assert warped(picture, translation(-3, 0), (4, 8))[0].tolist() == [0, 0, 0, 9, 9, 9, 9, 0]
    lost = warped(picture.astype(np.float32), translation(-1, 0), (1, 2), outside=np.nan)
    assert np.isnan(lost[0]).tolist() == [True, False]


def test_an_extended_picture_goes_on_with_its_rim() -> None:
    picture = np.array([[1, 2, 3]], np.uint8)
    assert warped_and_extended(picture, translation(-2, 0), (1, 7))[0].tolist() == [1, 1, 1, 2, 3, 3, 3]


def test_a_mask_is_taken_from_the_nearest_pixel() -> None:
    mask = np.array([[True, False, True]])
    assert warped_mask(mask, translation(0.4, 0), (1, 4))[0].tolist() == [True, False, True, False]
