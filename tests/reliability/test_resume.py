"""What is deleted, damaged or asked for otherwise costs its units, and no other."""

import re
from pathlib import Path

import pytest

from components.shared.storage.registry import open_store
from tests.reliability.extent import FULL


@pytest.fixture(params=["file", "bucket"])
def clean(request: pytest.FixtureRequest):
    if request.param == "bucket":
        request.getfixturevalue("proxy")  # without rules
    found = request.getfixturevalue(f"clean_{request.param}")
    if found.place.state() != found.state:
        found.place.clear()
        found.place.run(found.place.driver(request.getfixturevalue("tmp_path") / "before"))
    return found


def made_in(driver):
    """The units that programs say to have made."""
    patterns = {
        "align": r"chunk (\S+): \d+ slices",
        "tile": r"slab (\d+) written",
        "pyramid 0": r"level 0, block (\d+) of \d+: ",
        "pyramid 2": r"level 2, block (\d+) of \d+: ",
    }
    return {step: sorted(re.findall(pattern, driver.log)) for step, pattern in patterns.items()}


LOSSES = {
    "evidence": ("process/align/2-3.json", {"align": ["2-3"]}),
    "shard": ("neuroglancer/jpeg/8x8x8/3.shard", {"tile": ["0", "1"], "pyramid 0": ["3"]}),
    "coarse shard": ("neuroglancer/raw/32x32x32/0.shard", {"pyramid 2": ["0"]}),
}
"""An object, and the units that are made again; tiles are, since a finished run has removed them."""


CASES = [("evidence", "deleted"), ("shard", "damaged"), ("coarse shard", "deleted")]
if FULL:
    CASES = [(lost, change) for lost in LOSSES for change in ("deleted", "damaged")]


@pytest.mark.parametrize(("lost", "change"), CASES)
def test_a_lost_output_costs_its_unit(clean, tmp_path: Path, lost, change) -> None:
    key, expected = LOSSES[lost]
    store = open_store(clean.place.output)
    stored = store.read(key)
    if change == "deleted":
        store.delete(key)
    else:
        store.write(key, bytes([stored[0] ^ 1]) + stored[1:])

    driver = clean.place.driver(tmp_path)
    state = clean.place.run(driver)

    assert {step: units for step, units in made_in(driver).items() if units} == expected
    assert state == clean.state


def test_another_quality_costs_the_blocks_and_no_match(clean, tmp_path: Path) -> None:
    driver = clean.place.driver(tmp_path)
    state = clean.place.run(driver, jpeg_quality=60)
    every = {"tile": ["0", "1"], "pyramid 0": ["0", "1", "2", "3"], "pyramid 2": ["0"]}
    assert {step: units for step, units in made_in(driver).items() if units} == every
    changed = {key for key in state if clean.state.get(key) != state[key]}
    assert not [key for key in changed if "/align/" in key or "/chunk/8x8x8/" in key or "/raw/" in key]
