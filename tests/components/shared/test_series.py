"""Robust statistics along a series: windows, unknown values, constants."""

from __future__ import annotations

import numpy as np

from components.shared.series import MEDIAN_OF_RAYLEIGH, SIGMA_OF_MAD, running_median, window_medians


def test_running_median_follows_the_stack() -> None:
    values = np.concatenate([np.full(100, 0.9), np.full(100, 0.3)])
    values[[10, 150]] = 0.0
    usual = running_median(values, 51)
    assert usual[10] == 0.9
    assert usual[150] == 0.3
    assert running_median(np.full(3, np.nan), 51).tolist() == [0, 0, 0]


def test_window_medians_are_numpys() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(80) < 0.3, np.nan, rng.normal(size=80))
    found = window_medians(values, 7, fewest=1)
    windows = np.lib.stride_tricks.sliding_window_view(values, 7)
    np.testing.assert_array_equal(found, np.nanmedian(windows, axis=1))


def test_a_window_with_too_few_values_says_nothing() -> None:
    values = np.array([1.0, np.nan, np.nan, 2.0, 3.0])
    assert np.isnan(window_medians(values, 3, fewest=2)).tolist() == [True, True, False]


def test_the_constants_are_those_of_a_normal_distribution() -> None:
    normal = np.random.default_rng(0).normal(size=(10**6, 2))
    assert abs(SIGMA_OF_MAD * np.median(np.abs(normal)) - 1) < 0.005
    assert abs(np.median(np.hypot(*normal.T)) / MEDIAN_OF_RAYLEIGH - 1) < 0.005
