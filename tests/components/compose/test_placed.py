"""Slices that are placed as those of another run: its places, and grey levels of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from commands.apply.second_stack import places_of
from components.compose.documents import placed_transforms
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.transforms import (
    PLACES_KEY,
    FillLevel,
    GivenPlaces,
    GreyLine,
    Streaks,
    Transforms,
)
from components.shared.geometry import translation
from tests.builders import plan_of, transforms_of, with_slice
from tests.components.compose.planted_stack import plant
from tests.components.compose.test_compose_main import documents, plan_in, run, statistics_of, write_process
from tests.components.shared.pictures.test_slice_map import random_rows, random_warp

FIRST, LAST = 10, 18


def first_run() -> tuple[Plan, Transforms]:
    """Slices of which something is known that only the first detector shows."""
    plan = plan_of(FIRST, LAST, missing=[16], output="first")
    transforms = transforms_of(
        plan, [translation(z, 0) for z in range(FIRST, LAST + 1)], size_px=(130, 80), replaced={16: 15}
    )
    first_levels: dict[int, dict[str, Any]] = {
        11: {"grey_line": GreyLine(gain=1.2, offset=-3), "filtered_streaks": "y"},
        12: {"verdict": "inverted", "action": "invert"},
        13: {"verdict": "blank", "action": "blend", "replaced_from": 12, "blended_with": 14},
        14: {"fill": (FillLevel(level=7, share=0.2, is_padding=True),)},
        15: {"rows": random_rows(1, 80, 1.5), "warp": random_warp(1, (100, 80), 3), "shown_z": 17},
    }
    for z, changes in first_levels.items():
        transforms = with_slice(transforms, z, **changes)
    return plan, transforms


def placed(plan: Plan) -> Transforms:
    """The slices of a second detector, all alike, placed as those of the first."""
    statistics = {s.z: statistics_of(s.z) for s in plan.slices}
    return placed_transforms(plan, places_of("first", *first_run()), statistics)


def test_places_rows_warps_and_what_is_shown_are_those_of_the_other_run() -> None:
    _, first = first_run()
    other = placed(plan_of(FIRST, LAST, missing=[16], source="other"))
    assert other.volume_size_xyz == first.volume_size_xyz
    for own, taken in zip(other.slices, first.slices, strict=True):
        for key in ("matrix", "rows", "warp", "replaced_from", "blended_with", "shown_z", "z"):
            assert getattr(own, key) == getattr(taken, key), (own.z, key)
    assert [s.action for s in other.slices] == [
        *("keep", "keep", "keep", "blend", "keep", "keep", "replace", "keep", "keep")
    ]
    assert other.slices[0].uri == "other/10.png"
    assert other.slices[6].uri == ""


def test_what_follows_from_grey_levels_of_the_first_detector_is_left_with_it() -> None:
    other = placed(plan_of(FIRST, LAST, missing=[16], streaks="filter"))
    assert [s.grey_line for s in other.slices] == [None] * 9
    assert [s.filtered_streaks for s in other.slices] == [None] * 9
    assert [s.fill for s in other.slices] == [()] * 9
    assert (other.slices[2].verdict, other.slices[2].action) == ("good", "keep")


def test_fill_values_streaks_and_the_shown_range_are_their_own() -> None:
    plan = plan_of(FIRST, LAST, missing=[16], streaks="filter", pixel_type="uint16")
    fill = (FillLevel(level=9, share=0.3, is_padding=False),)
    streaks = Streaks(axis="x", gain=30.0, damage=1.0)
    statistics = {s.z: statistics_of(s.z) for s in plan.slices}
    statistics[17] = statistics[17].model_copy(update={"fill": fill, "streaks": streaks})
    other = placed_transforms(plan, places_of("first", *first_run()), statistics)
    assert (other.slices[7].fill, other.slices[7].filtered_streaks) == (fill, "x")
    assert other.intensity_range == (1000, 9000)
    assert first_run()[1].intensity_range == (0, 255)


def test_a_slice_that_the_other_volume_does_not_show_may_be_missing() -> None:
    other = placed(plan_of(FIRST, LAST, missing=[13, 16]))
    assert (other.slices[3].verdict, other.slices[3].action, other.slices[3].uri) == ("missing", "blend", "")


def test_compose_places_slices_as_it_is_told(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 9, skip_align=True, placed_as="first", force=True)
    process = write_process(plan, plant(0, 4))
    matrices = [translation(z, 2) for z in range(9)]
    places = places_of("first", plan, transforms_of(plan, matrices, size_px=(520, 510)))
    process.write(PLACES_KEY, places.to_json())
    known = GivenPlaces.model_validate_json(process.read(PLACES_KEY))
    process.write(PLAN_KEY, plan.model_copy(update={"places_crc32c": known.crc32c}).to_json())
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 0, result.output
    transforms, _ = documents(process)
    assert [s.matrix for s in transforms.slices] == [tuple(map(tuple, m.tolist())) for m in matrices]
    assert transforms.volume_size_xyz == (520, 510, 9)


def test_other_places_than_the_plan_says_are_not_taken(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 9, skip_align=True, placed_as="first")
    process = write_process(plan, plant(0, 4))
    process.write(PLACES_KEY, places_of("first", plan, transforms_of(plan)).to_json())
    process.write(PLAN_KEY, plan.model_copy(update={"places_crc32c": "ffffffff"}).to_json())
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 75
    assert "slices must be placed as the plan says; got another given_places.json" in result.output


def test_the_range_that_is_shown_is_that_of_good_slices() -> None:
    plan = plan_of(FIRST, LAST, missing=[16], pixel_type="uint16")
    statistics = {s.z: statistics_of(s.z) for s in plan.slices}
    statistics[13] = statistics[13].model_copy(update={"low": 0.0, "high": 65535.0})  # which is not shown
    other = placed_transforms(plan, places_of("first", *first_run()), statistics)
    assert np.ptp(other.intensity_range) == 8000
