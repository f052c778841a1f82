"""Rows that lie beside their place are told, by each half of the columns, and others are not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from components.align.displacements import halves
from components.align.displacements.halves import Pictures
from components.align.displacements.rows import LIMITS, row_shifts
from components.align.normalise import PreparedPicture, detail_picture
from components.shared.geometry import rotation_about, translation
from components.shared.row_shifts import spline_values
from tests.components.align.planted_pair import MARGIN_PX, SIZE_PX, render, texture

ROWS = np.arange(SIZE_PX, dtype=np.float64)
INNER = slice(12, -12)
EVERYWHERE = np.ones((SIZE_PX, SIZE_PX), bool)


def detail(picture: NDArray[np.uint8]) -> PreparedPicture:
    return detail_picture(picture.astype(np.float32), np.ones(picture.shape, bool))


def jittered(shifts_px: NDArray[np.float64], seed: int = 2) -> NDArray[np.uint8]:
    """A slice of whose rows each shows what lies `shifts_px` [y, 2] before it."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX].astype(np.float64) + MARGIN_PX
    places = [y - shifts_px[:, 1:], x - shifts_px[:, :1]]
    grey = map_coordinates(texture(1), places, order=3, mode="mirror")
    noise = np.random.default_rng(seed).normal(0, 4, grey.shape)
    return np.clip(np.rint(grey + noise), 0, 255).astype(np.uint8)


def told(halves: NDArray[np.float64]) -> NDArray[np.float64]:
    """[half, y, 2]"""
    return spline_values(halves, ROWS / LIMITS.knot_px).transpose(0, 2, 1)


@pytest.mark.parametrize("amplitude_px", [0.3, 4.0])
def test_each_half_tells_the_shift_of_rows(amplitude_px: float) -> None:
    planted = amplitude_px * np.stack([np.sin(ROWS / 14), 0.2 * np.cos(ROWS / 25)], axis=1)
    found = row_shifts(
        Pictures(detail(render(texture(1), seed=1)), detail(jittered(planted)), np.eye(3), EVERYWHERE)
    )
    assert found.scale == 1
    for half in told(found.halves):
        assert np.abs(half - planted)[INNER].mean() < 0.03 + 0.02 * amplitude_px


def test_rows_in_their_places_are_left_there() -> None:
    truth = translation(2.3, -3.4) @ rotation_about((160, 160), math.radians(0.2))
    scene = texture(1)
    slice_, neighbour = detail(render(scene, seed=1)), detail(render(scene, truth, seed=2))
    found = row_shifts(Pictures(slice_, neighbour, truth, EVERYWHERE))
    assert np.abs(told(found.halves)[:, INNER]).mean() < 0.03


def test_halves_that_see_other_motions_disagree() -> None:
    """Structures that move by themselves: those of the even stripes of columns alone."""
    scene = texture(1)
    slice_, moved = render(scene, seed=1), render(scene, translation(1.0, 0.0), seed=2)
    stripe = np.arange(SIZE_PX) // (SIZE_PX // LIMITS.stripes)
    neighbour = np.where(stripe % 2 == 0, moved, render(scene, seed=2)).astype(np.uint8)
    even, odd = told(row_shifts(Pictures(detail(slice_), detail(neighbour), np.eye(3), EVERYWHERE)).halves)
    assert even[INNER, 0].mean() > 0.7
    assert odd[INNER, 0].mean() < 0.3


def test_nothing_that_may_be_compared_tells_no_shift() -> None:
    picture = detail(render(texture(1)))
    assert not row_shifts(Pictures(picture, picture, np.eye(3), ~EVERYWHERE)).halves.any()


def test_large_pictures_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = np.stack([2 * np.sin(ROWS / 30), 0 * ROWS], axis=1)
    monkeypatch.setattr(halves, "LIMITS", replace(halves.LIMITS, most_px=SIZE_PX))
    found = row_shifts(
        Pictures(detail(render(texture(1), seed=1)), detail(jittered(planted)), np.eye(3), EVERYWHERE)
    )
    assert found.scale == 0.5
    shifts = spline_values(found.halves, ((ROWS + 0.5) / 2 - 0.5) / LIMITS.knot_px) * 2
    assert np.abs(shifts.mean(axis=0).T - planted)[INNER].mean() < 0.1
