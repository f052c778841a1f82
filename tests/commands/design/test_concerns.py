"""What is said about a stack before a run is paid for, and the table of prices."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from commands.design.concerns import concerns, slice_ranges
from components.plan.estimate import estimate
from components.plan.inventory import Listing
from components.plan.work import expected_volume
from components.shared.documents.cost import LISTED, Pod, read_prices
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.errors import ConfigError
from components.shared.steps import STEPS
from components.shared.storage.store import Stat
from tests.builders import plan_of


def planned(*slices: SourceSlice, missing: tuple[int, ...] = (), keep_bits: bool = False) -> Plan:
    plan = plan_of(0, slices[-1].z, missing, allow_gaps=bool(missing), keep_bits=keep_bits)
    return plan.model_copy(update={"slices": slices})


def entry(z: int, size_bytes: int = 5000, width_px: int = 100, crc32c: str | None = None) -> SourceSlice:
    return SourceSlice(
        z=z, key=f"{z}.png", size_bytes=size_bytes, width_px=width_px, height_px=80, crc32c=crc32c
    )


def said(plan: Plan, listing: Listing | None = None, memory_bytes: float = 4e9) -> list[str]:
    pods = {step: Pod(image="", cores=1, memory_bytes=memory_bytes, spot=False) for step in STEPS}
    steps = estimate(plan, expected_volume(plan), pods, read_prices()).steps
    return concerns(
        plan, {"%d.png": listing or Listing(slices={}, otherwise_padded=(), twice={})}, steps, pods
    )


def test_a_sound_stack_gives_no_concern() -> None:
    assert said(planned(*(entry(z, crc32c=f"{z:08x}") for z in range(6)))) == []


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (
            planned(entry(0), entry(1), entry(5), missing=(2, 3, 4)),
            "missing: 2 to 4; the volume shows the nearest slice there",
        ),
        (
            planned(*(entry(z, crc32c="00000001" if z in (2, 3) else f"a{z}") for z in range(5))),
            "the same file twice: slices 3 equal the one before",
        ),
        (planned(*(entry(z, 900 if z == 4 else 5000) for z in range(6))), "cut off: slices 4"),
        (
            planned(*(entry(z, width_px=90 if z == 3 else 100) for z in range(6))),
            "2 different sizes: 100 x 80 px: slices 0 to 2, 4 to 5; 90 x 80 px: slices 3",
        ),
        (planned(entry(0), entry(1), keep_bits=True), "keep_bits changes nothing"),
    ],
)
def test_what_looks_wrong_is_named(plan: Plan, sentence: str) -> None:
    (found,) = said(plan)
    assert sentence in found


def test_small_files_are_judged_by_their_pixels() -> None:
    """A slice of a quarter of the area has a quarter of the bytes."""
    small = SourceSlice(z=3, key="3.png", size_bytes=1200, width_px=50, height_px=40)
    (found,) = said(planned(entry(0), entry(1), entry(2), small))
    assert "sizes" in found


def test_files_that_take_no_part_are_named() -> None:
    slices = {z: Stat(key=f"{z}.png", size_bytes=1) for z in range(9)}
    found = said(planned(entry(0), entry(1)), Listing(slices=slices, otherwise_padded=("007.png",), twice={}))
    assert found == [
        "outside of minz to maxz: '%d.png' 2 to 8",
        "otherwise padded than '%d.png', so not read: 007.png",
    ]


def test_pods_that_are_too_small_are_named() -> None:
    found = said(planned(entry(0), entry(1)), memory_bytes=100e6)
    assert "raise 'memory' of [align] in --settings" in " ".join(found)
    assert {sentence.split()[0] for sentence in found} >= {"align", "compose", "tile"}


def test_many_ranges_are_cut_short() -> None:
    assert slice_ranges([7]) == "7"
    assert slice_ranges(range(100)) == "0 to 99"
    assert slice_ranges(range(0, 100, 10)) == "0, 10, 20, 30, 40, ... (10 in all)"


def test_listed_prices_say_where_and_when() -> None:
    prices = read_prices()
    assert prices.region
    assert prices.date.year >= 2026
    assert prices.on_demand.core_hour > prices.spot.core_hour > 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"spot": None}, "'spot'"),
        ({"class_a_per_1000": -1}, "'class_a_per_1000'"),
        ({"on_demand": {"core_hour": 1.0, "gib_hour": 1.0, "gpu_hour": 9.0}}, "'on_demand.gpu_hour'"),
        ({"date": "soon"}, "'date'"),
    ],
)
def test_a_bad_table_of_prices_is_refused(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(LISTED.read_text()) | changes))
    with pytest.raises(ConfigError, match=complaint):
        read_prices(file)


@pytest.mark.parametrize("content", ["", "a: [", "- 1", None])
def test_what_is_no_table_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        read_prices(file)
