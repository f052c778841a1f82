"""A pair is matched as if its data bar were not there: to the same transform as with `crop`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from components.align.pair import match_pair
from components.align.prepare import prepare
from components.shared.documents.align import PairRecord
from components.shared.documents.plan import DataBar, Part, part_without
from components.shared.geometry import rotation_about, transform_points, translation
from tests.components.shared.pictures.planted_bar import BAR_PX, SIDE_PX, bar, soft_tissue, with_bar

SEEN_PX = SIDE_PX - BAR_PX
BARS = {
    "bottom": (
        DataBar(x=0, y=SEEN_PX, width_px=SIDE_PX, height_px=BAR_PX, picture_size_px=(SIDE_PX,) * 2),
        0,
    ),
    "top": (DataBar(x=0, y=0, width_px=SIDE_PX, height_px=BAR_PX, picture_size_px=(SIDE_PX,) * 2), BAR_PX),
}


def seen(bar: DataBar, picture: np.ndarray) -> Part:
    return part_without([bar], (picture.shape[1], picture.shape[0]))


def motion_px(pair: PairRecord) -> np.ndarray:
    """Shift of the middle of a picture, x and y."""
    middle = [[SIDE_PX / 2, SIDE_PX / 2]]
    return (transform_points(np.array(pair.matrix), middle) - middle)[0]


@pytest.mark.parametrize("place", BARS)
def test_a_bar_takes_no_part_in_a_pair(place: str) -> None:
    (below, top), (pictures, places) = BARS[place], soft_tissue(2, seed=2, softness_px=7)
    painted = [with_bar(p, bar(SIDE_PX, z), place) for z, p in enumerate(pictures)]
    a, b = (prepare(z, p, 1.0, seen(below, p)) for z, p in enumerate(painted))
    cut_a, cut_b = (prepare(z, p[top : top + SEEN_PX], 1.0) for z, p in enumerate(painted))
    pair, cropped = match_pair(a, b), match_pair(cut_a, cut_b)
    assert (pair.accepted, pair.fallback) == (True, "")
    in_picture = translation(0, top) @ np.array(cropped.matrix) @ translation(0, -top)
    assert np.array(pair.matrix) == pytest.approx(in_picture, abs=1e-9)
    assert pair.support_px == pytest.approx(np.add(cropped.support_px, [0, top, 0, top]))
    assert pair.rows is not None
    assert cropped.rows is not None
    first_row_px = cropped.rows.first_row_px + top
    assert pair.rows == cropped.rows.model_copy(update={"first_row_px": first_row_px})
    assert pair.warp is not None
    assert cropped.warp is not None
    x_px, y_px = cropped.warp.first_xy_px
    assert pair.warp == cropped.warp.model_copy(update={"first_xy_px": (x_px, y_px + top)})
    in_frames = {"matrix": None, "support_px": None, "rows": None, "warp": None}
    assert pair.model_copy(update=in_frames) == cropped.model_copy(update=in_frames)
    assert a.statistics == cut_a.statistics
    truth = places[1] - places[0]
    assert np.linalg.norm(motion_px(pair) - truth) < 0.25


def test_the_motion_of_a_turned_sample_is_that_of_whole_pictures() -> None:
    below, _ = BARS["top"]
    picture = soft_tissue(1, seed=3, softness_px=4)[0][0]
    center = ((SIDE_PX - 1) / 2, (SIDE_PX - 1) / 2)
    turn = rotation_about(center, np.radians(12))
    turned = cv2.warpAffine(picture, turn[:2], (SIDE_PX, SIDE_PX), borderMode=cv2.BORDER_REFLECT)
    a, b = (
        prepare(z, with_bar(p, bar(SIDE_PX, z), "top"), 1.0, seen(below, p))
        for z, p in enumerate((picture, turned))
    )
    pair = match_pair(a, b)
    assert (pair.accepted, pair.fallback) == (True, "turned")
    corners = [[0, 0], [SIDE_PX, 0], [0, SIDE_PX], [SIDE_PX, SIDE_PX]]
    found = transform_points(np.array(pair.matrix), corners)
    assert np.abs(found - transform_points(turn, corners)).max() < 0.5


def test_slices_of_different_sizes_lose_the_bar_at_their_own_edge() -> None:
    below, _ = BARS["bottom"]
    pictures = soft_tissue(2, seed=4)[0]
    larger = with_bar(pictures[0], bar(SIDE_PX))
    smaller = with_bar(pictures[1][:-20], bar(SIDE_PX))
    pair = match_pair(*(prepare(z, p, 1.0, seen(below, p)) for z, p in enumerate((larger, smaller))))
    cropped = match_pair(prepare(0, larger[:SEEN_PX], 1.0), prepare(1, smaller[: SEEN_PX - 20], 1.0))
    assert pair == cropped
