"""Streaks are told from tissue by its lack of an axis, and taken away where that is worth it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.documents.transforms import StreakAxis
from components.shared.pictures.streaks import STREAKS, is_worth_filtering, streak_figures, without_streaks

HEIGHT, WIDTH = 600, 520


def tissue() -> NDArray[np.float64]:
    """Texture of membranes' width that has no axis, 34 grey levels."""
    noise = np.random.default_rng(0).standard_normal((HEIGHT, WIDTH))
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray(128 + 34 * blurred / blurred.std(), np.float64)


def with_curtains(rms: float, axis: StreakAxis = "y") -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).standard_normal((HEIGHT, WIDTH))
    sigma_x, sigma_y = (1, 300) if axis == "y" else (300, 1)
    curtains = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y)
    return np.clip(np.rint(tissue() + rms * curtains / curtains.std()), 0, 255).astype(np.uint8)


def error(picture: NDArray[Any]) -> float:
    return float(np.sqrt(np.square(picture.astype(np.float64) - tissue()).mean()))


@pytest.mark.parametrize("axis", ["x", "y"])
def test_strong_curtains_are_worth_a_filter_which_leaves_less(axis: StreakAxis) -> None:
    picture = with_curtains(6, axis)
    figures = streak_figures(picture)
    assert figures.axis == axis
    assert is_worth_filtering(figures.gain, figures.damage)
    assert error(without_streaks(picture, axis)) < 0.7 * error(picture)


@pytest.mark.parametrize("rms", [0, 2])
def test_weak_curtains_are_left_alone(rms: float) -> None:
    figures = streak_figures(with_curtains(rms))
    assert not is_worth_filtering(figures.gain, figures.damage)


def test_the_damage_is_what_a_filter_takes_from_clean_tissue() -> None:
    taken = error(without_streaks(with_curtains(0), "y"))
    assert streak_figures(with_curtains(6)).damage == pytest.approx(taken, rel=0.3)


def test_strips_change_no_result() -> None:
    picture = with_curtains(6)
    whole = without_streaks(picture, "y", replace(STREAKS, strip_px=WIDTH))
    np.testing.assert_array_equal(without_streaks(picture, "y", replace(STREAKS, strip_px=37)), whole)


def test_sixteen_bits_are_filtered_as_eight() -> None:
    picture = with_curtains(6)
    deep = without_streaks(np.asarray(picture.astype(np.uint16) * 200, np.uint16), "y")
    assert deep.dtype == np.uint16
    assert np.abs(np.clip(deep / 200, 0, 255) - without_streaks(picture, "y")).max() < 0.6


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (9, 3)])
def test_any_size_is_filtered(shape: tuple[int, int]) -> None:
    picture = with_curtains(6)[: shape[0], : shape[1]].copy()
    assert without_streaks(picture, "x").shape == shape
    assert streak_figures(picture).gain >= 0
