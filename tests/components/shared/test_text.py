"""Numbers and lists for people."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.text import duration, listed, product, ranges, size

UNIT_BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@given(st.integers(0, 10**16), st.sampled_from(["B", "MB"]))
def test_a_size_is_near_what_it_says(n_bytes: int, smallest: str) -> None:
    number, unit = size(n_bytes, smallest).split()  # type: ignore[arg-type] # one of the two
    assert abs(float(number) * UNIT_BYTES[unit] - n_bytes) <= 0.0501 * UNIT_BYTES[unit]
    assert UNIT_BYTES[unit] >= UNIT_BYTES[smallest]
    assert float(number) <= 1000 or unit == "TB"


@given(st.floats(0, 1e7), st.booleans())
def test_a_duration_is_near_what_it_says(seconds: float, precise: bool) -> None:
    parts = duration(seconds, precise=precise).split()
    unit_s = {"s": 1, "min": 60, "h": 3600}
    said = sum(float(n) * unit_s[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))
    tolerance = 0.5 if precise and seconds < 3599 else 0.05 * seconds
    assert abs(said - seconds) <= max(0.5, tolerance)


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("seconds", [59.4, 59.6, 599.6, 3599.4, 3599.6, 359_999])
def test_a_duration_never_tells_sixty_of_a_unit(seconds: float, precise: bool) -> None:
    assert "60" not in duration(seconds, precise=precise).split()


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_the_numbers_and_no_others(numbers: set[int]) -> None:
    spans = [tuple(map(int, text.split("-"))) for text in ranges(sorted(numbers))]
    assert {n for span in spans for n in range(span[0], span[-1] + 1)} == numbers
    assert all(after[0] > before[-1] + 1 for before, after in itertools.pairwise(spans))


def test_a_list_is_cut_and_says_how_much_is_left_out() -> None:
    assert listed([], 2) == ""
    assert listed([5, 6], 2) == "5, 6"
    assert listed([5, 6, 7], 2) == "5, 6 and 1 more"
    assert listed("abc", 1, between="; ", rest="; and {more} more") == "a; and 2 more"


def test_a_product_tells_whole_numbers_without_a_point() -> None:
    assert product((8.0, 8.0, 30.5)) == "8 x 8 x 30.5"
