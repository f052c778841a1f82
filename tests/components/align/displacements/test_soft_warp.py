"""A smooth displacement is told by each half of the cells, and what is in its place is left there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from components.align.displacements import halves
from components.align.displacements.halves import Pictures
from components.align.displacements.soft_warp import LIMITS, soft_warp
from components.align.normalise import PreparedPicture, detail_picture
from components.shared.geometry import Matrix, rotation_about, translation
from components.shared.row_shifts import grid_values
from tests.components.align.planted_pair import MARGIN_PX, SIZE_PX, render, texture

Floats = NDArray[np.float64]
AT = np.arange(16, SIZE_PX - 16, 8, dtype=np.float64)
X, Y = (of_axis.ravel() for of_axis in np.meshgrid(AT, AT))
EVERYWHERE = np.ones((SIZE_PX, SIZE_PX), bool)


def detail(picture: NDArray[np.uint8]) -> PreparedPicture:
    return detail_picture(picture.astype(np.float32), np.ones(picture.shape, bool))


def planted(amplitude_px: float, x: Floats, y: Floats) -> Floats:
    """[2, ...] x and y of a warp that varies over 100 px."""
    return amplitude_px * np.stack([np.sin(x / 100 + y / 120), 0.7 * np.cos(x / 110 - y / 90)])


def warped(amplitude_px: float, seed: int = 2) -> NDArray[np.uint8]:
    """A slice each of whose pixels shows what lies before it by the warp there."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX].astype(np.float64)
    along_x, along_y = planted(amplitude_px, x, y)
    grey = map_coordinates(
        texture(1), [y + MARGIN_PX - along_y, x + MARGIN_PX - along_x], order=3, mode="mirror"
    )
    noise = np.random.default_rng(seed).normal(0, 4, grey.shape)
    return np.clip(np.rint(grey + noise), 0, 255).astype(np.uint8)


def told(halves: Floats, scale: float = 1.0) -> Floats:
    """[half, 2, places]"""
    columns, rows = (((of_axis + 0.5) * scale - 0.5) / LIMITS.knot_px for of_axis in (X, Y))
    return np.stack([grid_values(half, columns, rows) for half in halves]) / scale


@pytest.mark.parametrize("amplitude_px", [0.5, 3.0])
def test_each_half_tells_the_displacement(amplitude_px: float) -> None:
    found = soft_warp(
        Pictures(detail(render(texture(1), seed=1)), detail(warped(amplitude_px)), np.eye(3), EVERYWHERE)
    )
    assert found.scale == 1
    for half in told(found.halves):
        assert np.abs(half - planted(amplitude_px, X, Y)).mean() < 0.05 + 0.03 * amplitude_px


def test_slices_that_a_transform_explains_have_no_warp() -> None:
    truth: Matrix = translation(2.3, -3.4) @ rotation_about((160, 160), math.radians(0.2))
    scene = texture(1)
    slice_, neighbour = detail(render(scene, seed=1)), detail(render(scene, truth, seed=2))
    assert np.abs(told(soft_warp(Pictures(slice_, neighbour, truth, EVERYWHERE)).halves)).mean() < 0.05


def test_halves_that_see_other_motions_disagree() -> None:
    """Structures that move by themselves: those of the black cells alone."""
    scene = texture(1)
    slice_, moved = render(scene, seed=1), render(scene, translation(1.0, 0.0), seed=2)
    cell = np.arange(SIZE_PX) // (SIZE_PX // LIMITS.block_px // LIMITS.cells * LIMITS.block_px)
    is_black = (cell[:, np.newaxis] + cell) % 2 == 0
    neighbour = np.where(is_black, moved, render(scene, seed=2)).astype(np.uint8)
    black, white = told(soft_warp(Pictures(detail(slice_), detail(neighbour), np.eye(3), EVERYWHERE)).halves)
    assert black[0].mean() > 0.7
    assert white[0].mean() < 0.3


def test_nothing_that_may_be_compared_tells_no_displacement() -> None:
    picture = detail(render(texture(1)))
    assert not soft_warp(Pictures(picture, picture, np.eye(3), ~EVERYWHERE)).halves.any()


def test_large_pictures_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "LIMITS", replace(halves.LIMITS, most_px=SIZE_PX))
    found = soft_warp(
        Pictures(detail(render(texture(1), seed=1)), detail(warped(2.0)), np.eye(3), EVERYWHERE)
    )
    assert found.scale == 0.5
    assert np.abs(told(found.halves, 0.5).mean(axis=0) - planted(2.0, X, Y)).mean() < 0.15
