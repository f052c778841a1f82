"""Fill values are found whatever they are, and the extremes of what a picture shows are none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from components.shared.pictures.fill_values import (
    fill_levels,
    parts_at_sides,
    sampled_tissue,
    where_one_of,
)

SIDE_PX = 256


def tissue(low: float, high: float, seed: int = 0) -> NDArray[np.float64]:
    """[y, x] texture with grain between two grey levels, nearly all of it."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(SIDE_PX, SIDE_PX)), 2)
    field = field / field.std() + rng.normal(scale=0.2, size=field.shape)
    return np.clip(low + (high - low) * (0.5 + field / 6.5), low, high)


def levels(low: float, high: float, dtype: str = "uint16") -> NDArray[Any]:
    return np.rint(tissue(low, high)).astype(dtype)


def bordered(picture: NDArray[Any], number: float, width_px: int = 10, sides: str = "tblr") -> NDArray[Any]:
    result = picture.copy()
    for side in sides:
        place = {"t": np.s_[:width_px], "b": np.s_[-width_px:]}.get(side)
        result[place or {"l": np.s_[:, :width_px], "r": np.s_[:, -width_px:]}[side]] = number
    return result


def found_in(picture: NDArray[Any]) -> dict[int, bool]:
    """Whether each fill value of a slice is padding, by grey level."""
    counts = np.bincount(picture.ravel(), minlength=np.iinfo(picture.dtype).max + 1)
    return {fill.level: fill.is_padding for fill in fill_levels(picture, counts)}


@pytest.mark.parametrize(
    ("picture", "fill"),
    [
        pytest.param(bordered(levels(30_000, 33_000), 0), {0}, id="black border"),
        pytest.param(bordered(levels(30_000, 33_000), 65_535), {65_535}, id="white border"),
        pytest.param(
            bordered(bordered(levels(30_000, 33_000), 0, sides="tl"), 65_535, sides="br"),
            {0, 65_535},
            id="black and white borders",
        ),
        pytest.param(
            bordered(bordered(levels(30_000, 33_000), 0, 40, "tl"), 1, 40, "br"),
            {0, 1},
            id="two that are near",
        ),
        pytest.param(bordered(levels(30_000, 33_000), 0, 1, "t"), {0}, id="one row"),
        pytest.param(bordered(levels(30_000, 33_000), 0, 118), {0}, id="next to no tissue"),
        pytest.param(bordered(levels(100, 150, "uint8"), 255), {255}, id="8 bit, white"),
        pytest.param(bordered(levels(150, 200, "uint8"), 0), {0}, id="8 bit, black"),
        pytest.param(bordered(levels(32_268, 32_568), 32_768), {32_768}, id="0 among signed numbers"),
    ],
)
def test_a_border_of_one_far_number_is_padding(picture: NDArray[Any], fill: set[int]) -> None:
    assert found_in(picture) == dict.fromkeys(fill, True)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(levels(30_000, 33_000), id="tissue alone"),
        pytest.param(levels(0, 255, "uint8"), id="the whole range"),
        pytest.param(np.clip(tissue(-60, 200), 0, 255).astype(np.uint8), id="dark resin, cut off at 0"),
        pytest.param(np.clip(tissue(40, 330), 0, 255).astype(np.uint8), id="saturated detector"),
        pytest.param(np.clip(tissue(20_000, 75_000), 0, 65_535).astype(np.uint16), id="saturated, 16 bit"),
        pytest.param(np.where(tissue(0, 1) > 0.5, 255, 0).astype(np.uint8), id="labels of two levels"),
        pytest.param(np.full((SIDE_PX, SIDE_PX), 7, np.uint8), id="blank"),
        pytest.param(np.zeros((3, 3), np.uint16), id="nine pixels"),
    ],
)
def test_the_ends_of_what_a_picture_shows_are_no_fill_values(picture: NDArray[Any]) -> None:
    assert found_in(picture) == {}


def test_few_odd_pixels_are_no_fill_value() -> None:
    picture = levels(30_000, 33_000)
    picture.ravel()[:20] = 65_535
    assert found_in(picture) == {}


def test_saturated_structures_take_no_part_in_ranges_and_are_no_padding() -> None:
    blobs = ndimage.gaussian_filter(tissue(0, 1, seed=1), 6)
    picture = np.where(blobs > np.quantile(blobs, 0.8), 65_535, levels(20_000, 40_000)).astype(np.uint16)
    assert found_in(picture) == {65_535: False}


@pytest.mark.parametrize("interpolation", [cv2.INTER_NEAREST, cv2.INTER_LINEAR])
def test_wedges_beside_a_rotated_slice_are_padding(interpolation: int) -> None:
    turn = cv2.getRotationMatrix2D((SIDE_PX / 2, SIDE_PX / 2), 3, 1)
    for outside in (0, 65_535):
        picture = cv2.warpAffine(
            levels(30_000, 33_000), turn, (SIDE_PX, SIDE_PX), flags=interpolation, borderValue=outside
        )
        assert found_in(picture) == {outside: True}


@pytest.mark.parametrize("number", [-9999.0, -3.4028234663852886e38, 3.4028234663852886e38, 2.0])
def test_numbers_without_their_fill_value_are_those_of_the_tissue(number: float) -> None:
    picture = bordered(tissue(0, 1).astype(np.float32), number)
    numbers, fill = sampled_tissue(picture, 4)
    assert list(fill) == [number]
    assert fill[number] == pytest.approx(np.mean(picture[::4, ::4] == number))
    assert (numbers.min(), numbers.max()) == pytest.approx((0, 1), abs=0.02)


def test_what_is_not_finite_is_left_out_with_its_edge() -> None:
    smeared = ndimage.uniform_filter(bordered(tissue(0, 1), 1000.0), 3)
    picture = bordered(bordered(smeared, np.nan, 10), np.inf, 5, "tl")
    numbers, fill = sampled_tissue(picture, 1)
    assert fill == {}
    assert numbers.max() <= 1


def test_a_colour_is_a_fill_value_where_all_three_have_it() -> None:
    picture = np.zeros((1, 3, 4), np.uint8)
    picture[0, :, :3] = [[255, 255, 255], [255, 255, 0], [0, 0, 0]]
    assert where_one_of(picture, [255]).tolist() == [[True, False, False]]


def test_spots_of_the_number_of_the_padding_are_no_padding() -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[:, :9] = mask[30:40, 30:40] = True
    found = parts_at_sides(mask)
    assert found[:, :9].all()
    assert not found[:, 9:].any()


@pytest.mark.parametrize("side", [np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]])
def test_a_part_is_at_a_side_where_it_has_its_outermost_pixels(side: Any) -> None:
    at_side, inside = np.zeros((2, 60, 80), np.bool_)
    at_side[side] = True
    inside[1:-1, 1:-1] = True
    assert np.array_equal(parts_at_sides(at_side), at_side)
    assert not parts_at_sides(inside).any()


def test_a_hot_pixel_hides_no_border() -> None:
    picture = bordered(levels(13_000, 17_000), 0)
    picture[100, 100] = 65_535
    assert found_in(picture) == {0: True}


def test_a_channel_of_one_number_takes_nothing_from_the_others() -> None:
    picture = np.stack([tissue(1000, 2000), np.zeros((SIDE_PX, SIDE_PX))], axis=2).astype(np.float32)
    numbers, fill = sampled_tissue(picture, 4)
    assert fill == {}
    assert numbers.max() > 1900
    opaque = np.dstack([levels(5000, 20_000)] * 3 + [np.full((SIDE_PX, SIDE_PX), 65_535, np.uint16)])
    assert sampled_tissue(opaque, 4)[0].size == opaque.size // 16
