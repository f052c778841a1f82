"""Places along z against planted ones, and stacks that tell none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.compose.look import look
from components.compose.preview.correlate import flattened
from components.compose.preview.thumbnails import MatchedThumbnails
from components.compose.thickness.correlations import LikenessAlongZ
from components.compose.thickness.write import make_thickness
from components.shared.documents.thickness import Thickness
from components.shared.geometry import translation
from tests.builders import plan_of, transforms_of
from tests.components.compose.thickness.tissue import SIDE_PX, planes_at, planted_numbers


def thickness_of(
    pictures: NDArray[np.uint8], verdicts: dict[int, dict[str, Any]] | None = None, **settings: Any
) -> Thickness:
    """What is told of a stack whose slices lie upon each other."""
    n = len(pictures)
    size_px = (SIDE_PX, SIDE_PX)
    plan = plan_of(0, n - 1, size_px=size_px, thumbnail_scale=1.0, intensity="none", **settings)
    transforms = transforms_of(plan, [np.eye(3)] * n, size_px=(SIDE_PX, SIDE_PX))
    slices = list(transforms.slices)
    for z, changes in (verdicts or {}).items():
        slices[z] = slices[z].model_copy(update=changes)
    transforms = transforms.model_copy(update={"slices": tuple(slices)})
    seen = look(plan, transforms, {}, MatchedThumbnails(plan, lambda z: pictures[z]))
    return make_thickness(plan, transforms, seen.likeness)


def steps(found: Thickness) -> NDArray[np.float64]:
    return np.array(found.steps[1:], np.float64)


def test_planted_steps_are_found() -> None:
    numbers = planted_numbers(200)
    found = thickness_of(planes_at(numbers))
    planted = np.diff(numbers) / np.diff(numbers).mean()
    assert planted.std() > 0.33
    assert (steps(found) - planted).std() < 0.15
    assert found.spread == pytest.approx(0.33, abs=0.04)
    positions = np.array(found.positions, np.float64)
    assert positions[0] == 0
    assert np.abs(positions - numbers / np.diff(numbers).mean()).max() < 4


def test_slices_like_none_of_their_neighbours_tell_no_places() -> None:
    """Two pictures of noise in a row, as nothing holds them to the rest."""
    pictures = planes_at(np.arange(60)).copy()
    pictures[30:32] = np.random.default_rng(0).integers(0, 256, pictures[30:32].shape, np.uint8)
    assert "like none of their neighbours" in thickness_of(pictures).unknown


def test_large_thumbnails_are_compared_at_some_of_their_pixels() -> None:
    """Which tells the same as all of them, where slices are moved too."""
    n, side_px = 12, 300
    pictures = [cv2.resize(plane, (side_px, side_px)) for plane in planes_at(np.arange(n))]
    plan = plan_of(0, n - 1, size_px=(side_px, side_px), thumbnail_scale=1.0)
    moved = [translation(z % 3 - 0.4, 0.7 * (z % 2)) for z in range(n)]
    entries = transforms_of(plan, moved, size_px=(side_px, side_px)).slices

    def likeness_of(rows: slice) -> NDArray[np.float64]:
        likeness = LikenessAlongZ(1.0, lambda z: flattened(pictures[z][rows]))
        for entry in entries:
            likeness.look_at(entry)
        return likeness.found().whole

    found = likeness_of(slice(300))
    parts = [likeness_of(slice(y, y + 200)) for y in (0, 99)]
    assert np.isfinite(found[0]).all()
    assert np.nanmax(np.abs(found - np.mean(parts, axis=0))) < 0.05


def test_an_even_axis_is_left_even() -> None:
    found = thickness_of(planes_at(np.arange(0, 400, 2)))
    assert steps(found).std() < 0.06
    assert found.spread == pytest.approx(steps(found).std(), abs=1e-3)
    assert found.uneven == ()
    assert abs(steps(found).mean() - 1) < 0.01


def test_slices_of_more_noise_are_not_taken_for_thick_ones() -> None:
    pictures = planes_at(np.arange(0, 400, 2))
    grain = np.random.default_rng(5).normal(0, 25, pictures[::4].shape)
    pictures[::4] = np.clip(pictures[::4] + grain, 0, 255)
    found = thickness_of(pictures)
    assert steps(found).std() < 0.06
    assert found.uneven == ()


@pytest.mark.parametrize("n_lost", [2, 4, 6])
def test_lost_material_is_seen_as_a_gap_of_its_depth(n_lost: int) -> None:
    numbers = np.arange(0, 200)
    numbers = np.concatenate([numbers[:90], numbers[90 + n_lost :]])
    found = thickness_of(planes_at(numbers))
    (gap,) = found.uneven
    assert (gap.previous_z, gap.z, gap.kind) == (89, 90, "gap")
    assert gap.step == pytest.approx(n_lost + 1, rel=0.15)
    others = np.delete(steps(found), 89)
    assert np.abs(others - 1).max() < 0.3
    assert f"between slices 89 and 90 lie {gap.step:.1f} +-" in gap.description


def test_bad_and_missing_slices_have_no_place_and_those_around_them_keep_theirs() -> None:
    pictures = planes_at(np.arange(0, 200))
    pictures[50:53] = np.random.default_rng(0).integers(0, 255, pictures[50:53].shape)
    bad = {z: {"verdict": "defocused", "action": "replace", "replaced_from": 49} for z in (50, 51)}
    # A person has decided to keep it.
    bad[52] = {"verdict": "charged", "action": "keep"}
    pictures[120], bad[120] = pictures[119], {"verdict": "duplicate", "action": "keep"}
    found = thickness_of(pictures, bad)
    assert [z for z, step in enumerate(found.steps) if step is None] == [0, 50, 51, 52, 120]
    assert found.positions[50] is None
    assert found.steps[53] == pytest.approx(1, abs=0.2)
    assert np.nanmax(np.abs(np.array(found.steps, np.float64) - 1)) < 0.3
    assert found.positions[53] == pytest.approx(53, abs=1)


def test_inverted_slices_are_compared_as_they_are_shown() -> None:
    pictures = planes_at(np.arange(0, 100))
    pictures[40] = 255 - pictures[40]
    found = thickness_of(pictures, {40: {"verdict": "inverted", "action": "invert"}})
    assert np.abs(steps(found) - 1).max() < 0.3


@pytest.mark.parametrize(
    ("pictures", "settings", "said"),
    [
        (planes_at(np.arange(20)), {}, "fewer than 24 good slices"),
        (planes_at(np.arange(0, 400, 12)), {}, "tissue changes too much"),
        (np.repeat(planes_at(np.arange(1)), 40, axis=0), {}, "as alike as neighbours"),
        (np.full((40, SIDE_PX, SIDE_PX), 90, np.uint8), {}, "no texture in common"),
        (planes_at(np.arange(40)), {"skip_align": True}, "not aligned"),
    ],
    ids=["few", "unlike", "alike", "black", "not aligned"],
)
def test_nothing_is_said_where_nothing_can_be_told(
    pictures: NDArray[np.uint8], settings: dict[str, Any], said: str
) -> None:
    found = thickness_of(pictures, **settings)
    assert said in found.unknown
    assert found.positions == ()
    assert found.spread is None
    assert found.of(found.steps, 3) is None


def test_the_same_stack_gives_the_same_bytes() -> None:
    pictures = planes_at(np.arange(60))
    assert thickness_of(pictures).to_json() == thickness_of(pictures).to_json()


def test_one_sigma_is_what_the_steps_are_off_by() -> None:
    """Pairs err together; halves of the pictures, which hold other tissue, tell by how much."""
    even = thickness_of(planes_at(np.arange(0, 400, 2)))
    assert even.typical_sigma is not None
    assert 0.5 < steps(even).std() / even.typical_sigma < 2
