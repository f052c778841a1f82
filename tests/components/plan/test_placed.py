"""Slices that are placed as those of another run: which ones `plan` takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands.apply.second_stack import places_of
from components.shared.documents.transforms import PLACES_KEY, GivenPlaces
from components.shared.storage.registry import open_store
from tests import builders
from tests.components.plan.plan_step import FIRST, LAST, plan_of, refusal, run, write_slice

PLACED: dict[str, Any] = {"placed_as": "first", "skip_align": True, "allow_gaps": True}


def write_places(folder: Path, *, missing: list[int], replaced: dict[int, int] | None = None) -> GivenPlaces:
    """The places of slices of 40 x 30 px, of which some numbers are missing or replaced."""
    plan = builders.plan_of(FIRST, LAST, missing, size_px=(40, 30), output="first")
    places = places_of("first", plan, builders.transforms_of(plan, replaced=replaced))
    store = open_store(str(folder / "out/process"))
    store.write(PLACES_KEY, places.to_json())
    return GivenPlaces.model_validate_json(store.read(PLACES_KEY))


def test_a_plan_says_whose_places_its_slices_take(source: Path, tmp_path: Path) -> None:
    places = write_places(tmp_path, missing=[])
    result = run(source, **PLACED)
    assert result.exit_code == 0, result.output
    plan = plan_of(tmp_path)
    assert plan.places_crc32c == places.crc32c != ""
    assert "slices are placed as those in first are, and not matched" in plan.findings
    assert len(plan.slices) == LAST - FIRST + 1


def test_slices_that_the_other_run_misses_are_left_out_and_named(source: Path, tmp_path: Path) -> None:
    write_places(tmp_path, missing=[12, 13], replaced={12: 11, 13: 14})
    assert run(source, **PLACED).exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.missing_z == (12, 13)
    assert "slices that first does not have are left out: 12, 13" in plan.findings


def test_a_slice_that_the_other_volume_does_not_show_may_be_missing(source: Path, tmp_path: Path) -> None:
    write_places(tmp_path, missing=[], replaced={12: 11})
    (source / "img.00012.png").unlink()
    assert run(source, **PLACED).exit_code == 0
    assert plan_of(tmp_path).missing_z == (12,)


def test_a_slice_that_the_other_volume_shows_must_be_there(source: Path, tmp_path: Path) -> None:
    write_places(tmp_path, missing=[])
    for z in (12, 14, 15):
        (source / f"img.000{z}.png").unlink()
    sentence = refusal(run(source, **PLACED), 65)
    assert (
        "every slice that the volume in first shows must be there; got none of number 12, 14 to 15"
        in sentence
    )
    assert "Add them, or show others there: fibstack resolve first --overrides FILE." in sentence


def test_a_slice_of_another_size_is_refused(source: Path, tmp_path: Path) -> None:
    write_places(tmp_path, missing=[])
    write_slice(source / "img.00011.png", width=41)
    sentence = refusal(run(source, **PLACED), 65)
    assert "sizes of those in first, to be placed as these are; got 41 x 30 px for 40 x 30 px in" in sentence
    assert "img.00011.png" in sentence


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"skip_align": False}, "'placed_as' must go with skip_align: true; got skip_align: false"),
        ({"overrides": "decisions.yaml"}, "must be decided on there; got overrides"),
    ],
)
def test_keys_that_contradict_given_places_are_refused(
    source: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    write_places(tmp_path, missing=[])
    (tmp_path / "decisions.yaml").write_text("- {z: 12, skip: true}\n")
    changes = {k: str(tmp_path / v) if k == "overrides" else v for k, v in changes.items()}
    assert said in refusal(run(source, **PLACED | changes), 78)


def test_without_given_places_the_command_that_writes_them_is_named(source: Path, tmp_path: Path) -> None:
    sentence = refusal(run(source, **PLACED), 78)
    assert f"Have it written: fibstack apply first {source} {tmp_path}/out." in sentence


def test_the_places_of_a_third_run_are_not_taken(source: Path, tmp_path: Path) -> None:
    write_places(tmp_path, missing=[])
    sentence = refusal(run(source, **PLACED | {"placed_as": "third"}), 78)
    assert "placed as those in third must find their places" in sentence
    assert "got those of first in" in sentence
