"""Slices that do not fit together, or vanish in what is done with them, are refused."""

from __future__ import annotations

import pytest

from components.plan.fitness import check_areas, check_sides, size_findings
from components.shared.documents.plan import SourceSlice
from components.shared.errors import UserError
from components.shared.pictures.formats.header import ImageHeader


def headers_of(*sizes: tuple[int, int]) -> dict[str, ImageHeader]:
    return {
        f"{z}.png": ImageHeader(width_px=width, height_px=height, sample_type="uint8", image_format="png")
        for z, (width, height) in enumerate(sizes)
    }


def slices_of(*sizes: tuple[int, int]) -> list[SourceSlice]:
    return [
        SourceSlice(z=z, key=f"{z}.png", size_bytes=1, width_px=width, height_px=height)
        for z, (width, height) in enumerate(sizes)
    ]


def test_a_slice_far_larger_than_the_middle_one_is_refused() -> None:
    check_areas(headers_of((10, 10), (40, 40), (9, 9)), "raw")
    check_areas(headers_of((30_000, 30_000)), "raw")
    with pytest.raises(UserError, match=r"16 times the 100 px of the others; got 41 x 40 px in raw/1\.png"):
        check_areas(headers_of((10, 10), (41, 40), (9, 9)), "raw")


def test_a_slice_that_vanishes_when_it_is_made_small_is_refused() -> None:
    check_sides(slices_of((1, 1)), 1.0, "raw")
    check_sides(slices_of((5000, 10)), 0.1, "raw")
    with pytest.raises(UserError, match=r"at least 10 px, .*; got 5,000 x 9 px in raw/1\.png"):
        check_sides(slices_of((5000, 5000), (5000, 9)), 0.1, "raw")


def test_a_picture_of_half_or_twice_the_usual_side_is_named_with_the_slice_that_it_counts_as() -> None:
    assert list(size_findings(slices_of((100, 80), (100, 80), (120, 60), (100, 80)))) == []
    for odd in ((50, 80), (100, 40), (200, 80), (400, 320)):
        (finding,) = size_findings(slices_of((100, 80), odd, (100, 80)))
        assert f"1.png of {odd[0]} x {odd[1]} px as slice 1" in finding
