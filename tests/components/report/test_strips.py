"""Structural similarity of the slices in a strip."""

import numpy as np
import pytest

from components.report.page.strips import Frame, similarity

SIDE_PX = 60


def frame(values: np.ndarray, known: np.ndarray | None = None) -> Frame:
    return Frame(0, "", values, np.ones(values.shape, bool) if known is None else known)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE_PX, SIDE_PX), dtype=np.uint8)


def test_a_picture_is_like_itself_and_unlike_another() -> None:
    assert similarity(frame(noise(0)), frame(noise(0))) == 1
    unlike = similarity(frame(noise(0)), frame(noise(1)))
    assert unlike is not None
    assert abs(unlike) < 0.05


def test_even_pictures_differ_by_the_formula_of_their_brightness() -> None:
    dark, bright = (np.full((SIDE_PX, SIDE_PX), grey, np.uint8) for grey in (100, 150))
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert similarity(frame(dark), frame(bright)) == pytest.approx(expected, abs=1e-4)


def test_only_what_both_hold_is_compared() -> None:
    known = np.ones((SIDE_PX, SIDE_PX), bool)
    known[:, 40:] = False
    spoiled = np.where(known, noise(0), 0).astype(np.uint8)
    assert similarity(frame(noise(0)), frame(spoiled, known)) == 1


@pytest.mark.parametrize("shape", [(SIDE_PX, SIDE_PX), (8, 200), (5, 5)])
def test_pictures_that_share_no_whole_window_are_not_compared(shape: tuple[int, int]) -> None:
    values = np.zeros(shape, np.uint8)
    known = np.zeros(shape, bool)
    known[:, :8] = True
    assert similarity(frame(values), frame(values, known)) is None
