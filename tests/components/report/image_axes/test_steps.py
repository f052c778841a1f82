"""The unevenness of planes along an axis: none where they are even, what is planted where they are not."""

from __future__ import annotations

import numpy as np

from components.report.image_axes.steps import step_spread
from tests.components.compose.thickness.tissue import planes_at, planted_numbers


def test_even_planes_are_even_and_uneven_ones_are_told() -> None:
    even = [plane.astype(np.float32) for plane in planes_at(np.arange(0, 300, 2))]
    found = step_spread(even)
    assert found is not None
    assert found < 0.08
    uneven = [plane.astype(np.float32) for plane in planes_at(planted_numbers(150))]
    found = step_spread(uneven)
    assert found is not None
    assert 0.25 < found < 0.45


def test_planes_that_take_no_part_are_left_out() -> None:
    planes = [plane.astype(np.float32) for plane in planes_at(np.arange(0, 300, 2))]
    some = [None if number % 10 == 3 else plane for number, plane in enumerate(planes)]
    found = step_spread(some)
    assert found is not None
    assert found < 0.08


def test_planes_without_texture_tell_nothing() -> None:
    assert step_spread([np.zeros((64, 64), np.float32)] * 50) is None
    assert step_spread([]) is None
