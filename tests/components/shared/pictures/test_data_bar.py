"""Data bars are found by their place, and nothing else that stands still is called one."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.documents.plan import DataBar, part_without
from components.shared.pictures.data_bar import find_data_bars
from tests.components.shared.pictures.planted_bar import BAR_PX, SIDE_PX, Grey, bar, soft_tissue, with_bar
from tests.real_slices import real_pictures

Y, X = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)
PLACES = {
    "bottom": (0, SIDE_PX - BAR_PX, SIDE_PX, BAR_PX),
    "top": (0, 0, SIDE_PX, BAR_PX),
    "left": (0, 0, BAR_PX, SIDE_PX),
    "right": (SIDE_PX - BAR_PX, 0, BAR_PX, SIDE_PX),
    "inside": (12, 200, 160, BAR_PX),
}


@pytest.fixture(scope="module")
def tissue() -> list[Grey]:
    return soft_tissue(9)[0]


def found(pictures: list[Grey] | list[NDArray[np.uint16]]) -> list[tuple[int, int, int, int]]:
    return [(b.x, b.y, b.width_px, b.height_px) for b in find_data_bars(pictures)]


def as_jpeg(picture: Grey) -> Grey:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def as_grey(levels: NDArray[np.floating]) -> Grey:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("digits", [False, True])
def test_a_bar_is_found_where_it_lies_also_where_its_digits_change(
    tissue: list[Grey], place: str, digits: bool
) -> None:
    width = 160 if place == "inside" else SIDE_PX
    painted = [with_bar(p, bar(width, i if digits else None), place) for i, p in enumerate(tissue)]
    assert found(painted) == [PLACES[place]]


@pytest.mark.parametrize(("ground", "text"), [(255, 0), (90, 200), (128, 255)])
def test_the_colours_of_a_bar_do_not_matter(tissue: list[Grey], ground: int, text: int) -> None:
    assert found([with_bar(p, bar(SIDE_PX, ground=ground, text=text)) for p in tissue]) == [PLACES["bottom"]]


@pytest.mark.parametrize("height_px", range(BAR_PX, BAR_PX + 8))
def test_rows_that_jpeg_has_mixed_with_tissue_belong_to_the_bar(tissue: list[Grey], height_px: int) -> None:
    def painted(picture: Grey) -> Grey:
        below = with_bar(picture, bar(SIDE_PX))
        below[-height_px:-BAR_PX] = 0
        return as_jpeg(below)

    ((x, y, width, height),) = found([painted(p) for p in tissue])
    assert (x, width, y + height) == (0, SIDE_PX, SIDE_PX)
    assert 0 <= height - height_px <= 1


def test_bars_of_two_edges_are_two(tissue: list[Grey]) -> None:
    both = [with_bar(with_bar(p, bar(SIDE_PX)), bar(SIDE_PX, i), "top") for i, p in enumerate(tissue)]
    assert found(both) == [PLACES["top"], PLACES["bottom"]]


@pytest.mark.parametrize("having", [range(3), range(5, 9), range(0, 9, 2)])
def test_a_bar_in_a_third_of_the_pictures_is_found(tissue: list[Grey], having: range) -> None:
    painted = [with_bar(p, bar(SIDE_PX, i)) if i in having else p for i, p in enumerate(tissue)]
    assert found(painted) == [PLACES["bottom"]]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_pictures_suffice(tissue: list[Grey], n: int) -> None:
    assert found([with_bar(p, bar(SIDE_PX)) for p in tissue[:n]]) == [PLACES["bottom"]]
    assert found(tissue[:n]) == found(tissue[:1]) == found([]) == []


def test_blank_pictures_and_brightness_that_changes_hide_no_bar(tissue: list[Grey]) -> None:
    painted = [with_bar(as_grey(p + 8.0 * (i % 3)), bar(SIDE_PX)) for i, p in enumerate(tissue)]
    painted[4] = np.zeros_like(painted[4])
    assert found(painted) == [PLACES["bottom"]]


def test_a_bar_of_eight_bit_in_pictures_of_sixteen_is_found(tissue: list[Grey]) -> None:
    wide = [(30_000 + 20 * p.astype(np.uint16)).astype(np.uint16) for p in tissue]
    for picture in wide:
        picture[-BAR_PX:] = bar(SIDE_PX)
    assert found(wide) == [PLACES["bottom"]]


def test_in_large_pictures_the_tissue_beside_a_bar_that_is_lost_is_below_two_reduced_pixels() -> None:
    pictures = [cv2.resize(p, (2500, 2500)) for p in soft_tissue(3)[0]]
    for picture in pictures:
        picture[-271:] = cv2.resize(bar(SIDE_PX), (2500, 271))
    ((x, y, width, height),) = found(pictures)
    assert (x, width, y + height) == (0, 2500, 2500)
    assert 271 <= height <= 271 + 6


def test_a_bar_keeps_to_its_edges_in_pictures_of_another_size(tissue: list[Grey]) -> None:
    painted = [with_bar(p[: SIDE_PX - 20 * (i % 4 == 1)], bar(SIDE_PX)) for i, p in enumerate(tissue)]
    (below,) = find_data_bars(painted)
    assert below.sides_in((SIDE_PX, SIDE_PX - 20)) == ((0, SIDE_PX), (SIDE_PX - 20 - BAR_PX, SIDE_PX - 20))


RADIUS2 = (np.square(X - SIDE_PX / 2) + np.square(Y - SIDE_PX / 2)) / (SIDE_PX / 2) ** 2
RESIN = Y > SIDE_PX - 40
NO_BARS = {
    "vignette": lambda p, _: p * np.clip(1.2 - 0.6 * RADIUS2, 0, 1),
    "black corners": lambda p, _: np.where(RADIUS2 > 1, 0, p),
    "charging edge": lambda p, _: p + 250 * np.exp(-Y / 10),
    "burnt out edge": lambda p, _: p + 600 * np.exp(-Y / 10),
    "burnt out side": lambda p, _: np.where(X < 20, 0.3 * p + 200, p),
    "plain resin": lambda p, _: np.where(RESIN, 150, p),
    "resin": lambda p, rng: np.where(RESIN, 150 + rng.normal(0, 2, p.shape), p),
    "faint resin": lambda p, rng: np.where(RESIN, 150 + rng.normal(0, 0.3, p.shape), p),
    "noise that is always the same": lambda p, _: np.where(
        RESIN, 150 + np.random.default_rng(9).normal(0, 2, p.shape), p
    ),
    "curtains in resin": lambda p, _: np.where(RESIN, 150 + 9 * np.sin(X * 1.7), p),
    "padding": lambda p, _: np.where((X < 20) | (Y < 15) | (Y > SIDE_PX - 30), 0, p),
    "ragged padding": lambda p, _: np.where(Y - 9 * np.sin(X / 15) < 30, 0, p),
    "text on the tissue": lambda p, _: cv2.putText(as_grey(p), "A 17", (9, 240), 0, 0.8, (255,), 2),
}


@pytest.mark.parametrize("what", NO_BARS)
@pytest.mark.parametrize("softness_px", [3.0, 7.0])
def test_what_only_stands_still_is_no_bar(what: str, softness_px: float) -> None:
    rng = np.random.default_rng(0)
    pictures = soft_tissue(9, seed=3, softness_px=softness_px)[0]
    assert found([as_grey(NO_BARS[what](p.astype(np.float32), rng)) for p in pictures]) == []


@pytest.mark.parametrize("shape", [(1, 65_535), (65_535, 1), (1, 1), (7, 7), (12, 5000)])
def test_pictures_without_room_for_a_bar_have_none(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    assert found([rng.integers(0, 256, shape, np.uint8) for _ in range(3)]) == []


def test_slices_that_hardly_move_or_are_there_twice_are_no_bar(tissue: list[Grey]) -> None:
    assert found([tissue[0]] * 9) == []
    assert found([tissue[i // 2] for i in range(9)]) == []
    assert found(soft_tissue(9, softness_px=8, most_step_px=0.1)[0]) == []
    half = list(tissue)
    half[4] = np.vstack([tissue[4][:200], tissue[3][200:]])
    assert found(half) == []


@pytest.mark.parametrize("stack", ["fibsem_medulla", "sstem_isbi"])
def test_real_slices_have_no_bar_until_one_is_drawn(stack: str) -> None:
    pictures = [np.ascontiguousarray(p) for p in real_pictures(stack, range(0, 27, 3))]
    assert find_data_bars(pictures) == ()
    height, width = pictures[0].shape
    for number, picture in enumerate(pictures):
        picture[-BAR_PX:] = bar(width, number)
    assert found(pictures) == [(0, height - BAR_PX, width, BAR_PX)]


def test_the_part_without_bars_loses_the_least_and_is_never_empty() -> None:
    def at(x: int, y: int, width_px: int, height_px: int) -> DataBar:
        return DataBar(x=x, y=y, width_px=width_px, height_px=height_px, picture_size_px=(200, 100))

    assert part_without([at(0, 80, 200, 20), at(180, 0, 20, 100)], (200, 100)) == (0, 0, 180, 80)
    assert part_without([at(150, 10, 40, 30)], (200, 100)) == (0, 0, 150, 100)
    assert part_without([at(0, 60, 200, 40)], (200, 30)) == (0, 0, 200, 30)


def test_one_picture_is_held_at_a_time(tissue: list[Grey]) -> None:
    handed: list[weakref.ref[Grey]] = []

    def one_by_one() -> Iterator[Grey]:
        for picture in tissue:
            assert all(earlier() is None for earlier in handed)
            given = picture.copy()
            handed.append(weakref.ref(given))
            yield given
            del given

    assert find_data_bars(one_by_one()) == ()
    assert len(handed) == len(tissue)
