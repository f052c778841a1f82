"""The range of numbers that is spread over 16 bit is that of the tissue, whatever stands around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from components.plan.main import make_plan
from components.plan.source import range_and_fill
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.pictures.grey_levels import grey_levels
from tests.components.shared.pictures.test_fill_values import bordered, tissue

GREATEST = float(np.finfo(np.float64).max)
OF_TISSUE = (-1, 2)
"""Range of tissue between 0 and 1, and as much again on either side."""


def planned(folder: Path, pictures: list[NDArray[Any]]) -> Plan:
    for z, picture in enumerate(pictures):
        tifffile.imwrite(folder / f"{z}.tif", picture)
    config = RunConfig(
        source=str(folder), image="%d.tif", minz=0, maxz=len(pictures) - 1, output=str(folder / "out")
    )
    return make_plan(config, fan=10)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        (-9999.0, "float32"),
        (-9999.0, "float64"),
        (2.0**100, "float32"),
        (-3.4028234663852886e38, "float32"),
        (GREATEST, "float64"),
        (-GREATEST, "float64"),
    ],
)
def test_a_fill_value_is_out_of_the_range_and_named_with_its_share(
    tmp_path: Path, number: float, dtype: str
) -> None:
    pictures = [bordered(tissue(0, 1, seed).astype(dtype), number) for seed in range(4)]
    reading = planned(tmp_path, pictures).reading
    assert reading.values[0] == pytest.approx(OF_TISSUE, abs=0.15)
    ((fill,),) = reading.fill
    assert fill.number == number
    assert fill.share == pytest.approx(np.mean(pictures[0] == number), abs=0.02)
    shown = grey_levels(pictures[0], reading.values[0], reading.fill_numbers(0))
    assert not shown[pictures[0] == number].any()
    assert len(np.unique(shown[20:-20, 20:-20])) > 10_000


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_out_of_the_range(number: float) -> None:
    pictures = [bordered(tissue(0, 1, seed), number) for seed in range(3)]
    values, fill = range_and_fill(pictures)
    assert values == pytest.approx(OF_TISSUE, abs=0.15)
    assert fill == ()


def test_two_fill_values_in_some_slices_alone_are_found() -> None:
    pictures = [tissue(0, 1, seed) for seed in range(9)]
    pictures[3] = bordered(pictures[3], -9999)
    pictures[7] = bordered(bordered(pictures[7], -32_768, sides="tl"), -9999, sides="br")
    values, fill = range_and_fill(pictures)
    assert values == pytest.approx(OF_TISSUE, abs=0.15)
    assert [found.number for found in fill] == [-32_768, -9999]


def test_blank_slices_do_not_stretch_the_range() -> None:
    values, fill = range_and_fill([tissue(0, 1), np.full((64, 64), -9999.0), tissue(0, 1, seed=1)])
    assert values == pytest.approx(OF_TISSUE, abs=0.15)
    assert [(found.number, found.share) for found in fill] == [(-9999, 1)]
    assert range_and_fill([np.full((64, 64), 5.0)] * 2) == ((4, 6), ())


def test_signed_integers_with_the_least_as_fill_value(tmp_path: Path) -> None:
    least = np.iinfo(np.int32).min
    pictures = [bordered(np.rint(1000 * tissue(0, 1)).astype(np.int32), least)] * 3
    reading = planned(tmp_path, pictures).reading
    assert reading.values[0] == pytest.approx((-1000, 2000), abs=150)
    assert reading.fill_numbers(0) == (least,)


def test_numbers_near_the_greatest_make_a_plan_that_can_be_read(tmp_path: Path) -> None:
    """Three times their range is beyond what floating point can hold."""
    pictures = [GREATEST * tissue(-1, 1, seed) for seed in range(3)]
    plan = planned(tmp_path, pictures)
    assert Plan.model_validate_json(plan.to_json()).reading == plan.reading
    levels = grey_levels(pictures[0], plan.reading.values[0])
    assert np.ptp(levels) > 20_000
    order = np.argsort(pictures[0].ravel())
    assert (np.diff(levels.ravel()[order].astype(int)) >= 0).all()


def test_a_plan_without_fill_values_is_written_as_before(tmp_path: Path) -> None:
    plan = planned(tmp_path, [tissue(0, 1).astype(np.float32)] * 2)
    assert "fill" not in plan.reading.model_dump()
    assert b'"fill"' not in plan.to_json()


def test_a_range_that_was_planned_with_the_fill_value_in_is_not_kept(tmp_path: Path) -> None:
    plan = planned(tmp_path, [bordered(tissue(0, 1), -9999.0)] * 2)
    wrong = plan.reading.model_copy(update={"values": ((-20_000.0, 10_000.0),), "fill": ()})
    process = Path(plan.locations.process_uri)
    process.mkdir(parents=True)
    (process / "plan.json").write_bytes(
        plan.model_copy(update={"reading": wrong, "pixel_sizes": None}).to_json()
    )
    assert make_plan(plan.config, fan=10).reading == plan.reading
