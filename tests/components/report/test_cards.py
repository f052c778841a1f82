"""Pictures on the cards of slices that stand out, and their structural similarity."""

import numpy as np
import pytest
from numpy.typing import NDArray

from components.report.page.cards import CardMaker, CardPictures, Frame, similarity
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.geometry import translation
from tests.components.report.finished_run import SIZE_XYZ, make_plan, make_transforms

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


AT_XY = {8: (30, 40), 9: (50, 44), 10: (38, 20)}
"""Where a bright square of 10 px lies in each slice, at full resolution."""


def square(z: int) -> NDArray[np.uint8]:
    x, y = AT_XY[z]
    values = np.zeros((100, 120), np.uint8)
    values[y : y + 10, x : x + 10] = 255
    return values


def stack(**of_nine: object) -> tuple[Plan, Transforms]:
    """A stack whose slices 8 to 10 are aligned by their squares, with changes to slice 9."""
    plan = make_plan("out", 20, (120, 100), thumbnail_scale=1.0)
    matrices = [translation(*(-np.array(AT_XY.get(z, (0, 0))))) for z in range(20)]
    transforms = make_transforms(plan, matrices, (120, 100, 20))
    entries = [s.model_copy(update=of_nine if s.z == 9 else {}) for s in transforms.slices]
    return plan, transforms.model_copy(update={"slices": tuple(entries)})


def card_of_nine(plan: Plan, transforms: Transforms | None) -> CardPictures:
    maker = CardMaker(plan, transforms, [9])
    for z in sorted(maker.wanted):
        maker.keep(z, square(z))
    (card,) = maker.cards()
    return card


def square_at(values: NDArray[np.uint8]) -> tuple[int, int]:
    ys, xs = np.nonzero(values > 128)
    assert len(xs) == 100
    return int(xs.min()), int(ys.min())


def test_a_card_shows_slices_as_recorded_and_what_the_volume_shows() -> None:
    card = card_of_nine(*stack())
    assert [frame.z for frame in card.recorded] == [8, 9, 10]
    assert [square_at(frame.values) for frame in card.recorded] == list(AT_XY.values())
    assert card.shown is not None
    assert square_at(card.shown.values) == AT_XY[9]
    assert card.ssim_previous is not None
    assert card.ssim_previous > 0.99  # aligned, the squares lie on each other


def test_a_replaced_slice_shows_the_other_one_in_its_place() -> None:
    card = card_of_nine(*stack(verdict="blank", action="replace", replaced_from=8))
    assert square_at(card.recorded[1].values) == AT_XY[9]
    assert card.shown is not None
    assert square_at(card.shown.values) == AT_XY[8]
    assert card.ssim_previous is None  # the same picture says nothing
    assert card.ssim_next is not None


def test_an_inverted_slice_is_recorded_inverted_and_shown_turned_round() -> None:
    card = card_of_nine(*stack(verdict="inverted", action="invert"))
    assert card.shown is not None
    np.testing.assert_array_equal(card.shown.values, 255 - card.recorded[1].values)


def test_a_blend_shows_the_mean() -> None:
    card = card_of_nine(*stack(verdict="blank", action="blend", replaced_from=8, blended_with=10))
    assert card.shown is not None
    assert square_at(card.shown.values) == AT_XY[8]


def test_a_blank_place_is_said_to_be_black() -> None:
    card = card_of_nine(*stack(verdict="blank", action="blank"))
    assert card.shown is not None
    assert (card.shown.note, card.shown.known.any()) == ("left black", False)


def test_without_transforms_a_card_has_recorded_slices_alone() -> None:
    plan, _ = stack()
    card = card_of_nine(plan, None)
    assert len(card.recorded) == 3
    assert card.shown is None


def test_both_sides_of_a_break_are_shown_as_recorded() -> None:
    plan, _ = stack()
    maker = CardMaker(plan, None, [], [(8, 9)])
    assert maker.wanted == {8, 9}
    for z in (8, 9):
        maker.keep(z, square(z))
    (pictures,) = maker.breaks()
    assert [square_at(frame.values) for frame in pictures.recorded] == [AT_XY[8], AT_XY[9]]


def test_a_slice_without_a_file_says_so_between_the_present_ones() -> None:
    plan = make_plan("out", 20, SIZE_XYZ[:2], missing=(9, 10))
    (card,) = CardMaker(plan, None, [9]).cards()
    assert [(frame.z, frame.note) for frame in card.recorded] == [
        (8, "its picture cannot be read"),
        (9, "no file"),
        (11, "its picture cannot be read"),
    ]
