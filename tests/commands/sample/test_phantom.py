"""The phantom is one function of position, whatever the transform, the tile or the order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from commands.sample.microscope import optical
from commands.sample.neurites import arms_near
from commands.sample.phantom import Phantom, phantom
from commands.sample.plane import Image, Tile, random_field
from components.shared.geometry import Matrix, rotation_about, translation

SIDE = 96


@pytest.fixture(scope="module")
def tissue() -> Phantom:
    return phantom(3)


def tile(matrix: Matrix | None = None, z: float = 10, x: int = 0, y: int = 0, side: int = SIDE) -> Tile:
    lies = np.eye(3) if matrix is None else matrix
    return Tile(world_from_slice=lies, z=z, x_px=x, y_px=y, width_px=side, height_px=side)


def ncc(a: Image, b: Image) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_an_integer_shift_shows_the_shifted_picture_exactly(tissue: Phantom) -> None:
    shifted = optical(tissue, tile(translation(17, -23)))
    assert np.array_equal(shifted, optical(tissue, tile(x=17, y=-23)))
    whole = optical(tissue, tile(x=0, y=-23, side=SIDE + 17))
    np.testing.assert_allclose(whole[:SIDE, 17:], shifted, atol=0.2)


def test_a_quarter_turn_turns_the_picture(tissue: Phantom) -> None:
    turn = rotation_about(((SIDE - 1) / 2, (SIDE - 1) / 2), math.pi / 2)
    upright, turned = tissue.grey(tile()), tissue.grey(tile(turn))
    difference = np.abs(turned - np.rot90(upright, 1))
    assert np.quantile(difference, 0.995) < 0.1


def test_a_field_is_the_same_function_at_every_transform() -> None:
    field = random_field(np.random.default_rng(1), 20, 60, 32)
    matrix = translation(5.25, -3.5) @ rotation_about((40, 40), 0.3)
    turned = tile(matrix, z=7)
    x, y = turned.world_xy()
    phase = np.einsum("k,khw->khw", field.wave_vectors[:, 0], np.broadcast_to(x, (32, *x.shape)))
    phase = phase + field.wave_vectors[:, 1, None, None] * y + 7 * field.wave_vectors[:, 2, None, None]
    direct = np.sin(phase + field.phases[:, None, None]).sum(axis=0) * math.sqrt(2 / 32)
    np.testing.assert_allclose(field.on(turned), direct, atol=1e-5)


def test_tiles_join_to_the_whole(tissue: Phantom) -> None:
    whole = optical(tissue, tile())
    parts = [
        [optical(tissue, tile(x=x, y=y, side=SIDE // 2)) for x in (0, SIDE // 2)] for y in (0, SIDE // 2)
    ]
    difference = np.abs(np.block(parts) - whole)
    assert np.quantile(difference, 0.999) < 0.05
    assert difference.max() < 10


def test_slices_decorrelate_like_8_nm_tissue(tissue: Phantom) -> None:
    first = optical(tissue, tile(side=256))
    near = [ncc(first, optical(tissue, tile(z=10 + d, side=256))) for d in (0.001, 1, 4, 30)]
    assert near[0] > 0.9999
    assert 0.93 < near[1] < 0.99
    assert near[1] > near[2] > near[3]
    assert near[3] < 0.5


def test_the_world_has_no_edge_and_no_repeats(tissue: Phantom) -> None:
    here, there = tissue.grey(tile()), tissue.grey(tile(z=90_000, x=-70_000, y=50_000))
    assert abs(ncc(here, there)) < 0.4
    for picture in (here, there):
        assert picture.min() > 45
        assert picture.max() < 230
        assert picture.std() > 15


def test_another_seed_is_another_world(tissue: Phantom) -> None:
    assert np.array_equal(tissue.grey(tile(side=64)), phantom(3).grey(tile(side=64)))
    assert abs(ncc(tissue.grey(tile()), phantom(4).grey(tile()))) < 0.4


def test_arms_of_a_part_are_among_those_of_the_whole() -> None:
    part = arms_near(1, np.array([50.0, 50, 5]), np.array([80.0, 80, 5]))
    whole = arms_near(1, np.array([0.0, 0, 0]), np.array([200.0, 200, 20]))
    rows = {tuple(start) + tuple(axis) for start, axis in zip(whole.start, whole.frame[:, 0], strict=True)}
    assert len(part.start) > 20
    assert {tuple(s) + tuple(a) for s, a in zip(part.start, part.frame[:, 0], strict=True)} <= rows
