from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan.inventory import (
    check_numbered_once,
    missing_slices,
    number_slices,
    repeated_slices,
    suffix_findings,
)
from components.plan.work import chunk_length, chunk_length_after
from components.shared.documents.plan import SourceSlice
from components.shared.errors import UserError
from components.shared.grid import spans
from components.shared.storage.store import Stat
from tests.builders import plan_of, with_config


@given(st.sets(st.integers(0, 2_000_000)), st.sampled_from(["%d.png", "%05d.png", "a.b/s+%09d"]))
def test_names_made_by_a_pattern_are_found_by_it(numbers: set[int], pattern: str) -> None:
    stats = [Stat(key=pattern % z, size_bytes=z) for z in numbers]
    listing = number_slices(pattern, stats)
    assert {z: stat.size_bytes for z, stat in listing.slices.items()} == {z: z for z in numbers}
    assert listing.otherwise_padded == ()


def test_only_the_exact_padding_is_taken() -> None:
    keys = [
        "i.1.png",
        "i.01.png",
        "i.001.png",
        "i.1000.png",
        "i.x.png",
        "j.001.png",
        "i.001.png.bak",
        "q/i.001.png",
    ]
    listing = number_slices("i.%03d.png", [Stat(key=key, size_bytes=1) for key in keys])
    assert {z: stat.key for z, stat in listing.slices.items()} == {1: "i.001.png", 1000: "i.1000.png"}
    assert listing.otherwise_padded == ("i.1.png", "i.01.png")


def test_a_dot_of_the_pattern_is_a_dot() -> None:
    assert number_slices("i.%d.png", [Stat(key="ix7.png", size_bytes=1)]).slices == {}


@given(st.sets(st.integers(3, 20), min_size=1))
def test_present_and_missing_make_up_the_range(present: set[int]) -> None:
    minz, maxz = min(present), max(present)
    missing = missing_slices(present, minz, maxz, allow_gaps=True, uri="s")
    assert sorted(present | set(missing)) == list(range(minz, maxz + 1))
    assert not present & set(missing)
    if missing:
        with pytest.raises(UserError, match=f"{len(missing)} missing"):
            missing_slices(present, minz, maxz, allow_gaps=False, uri="s")


def test_numbers_that_count_no_slices_are_to_be_made_anew() -> None:
    with pytest.raises(UserError, match=r"\(fibstack data renumber s s-numbered --yes\), change --minz"):
        missing_slices({0, 10, 20, 30}, 0, 30, allow_gaps=False, uri="s")


@given(st.integers(1, 100_000), st.integers(1, 1000))
def test_chunks_never_exceed_the_fan(n_slices: int, fan: int) -> None:
    assert len(spans(0, n_slices - 1, chunk_length(n_slices, fan))) <= fan


@given(st.integers(1, 3000), st.integers(0, 3000), st.integers(1, 300), st.integers(1, 8))
def test_a_stack_that_grows_is_cut_as_it_was_unless_that_is_more_work(
    n_before: int, n_more: int, fan: int, neighbours: int
) -> None:
    before = plan_of(0, 1, chunk_length=chunk_length(n_before, fan), fan=fan)
    earlier = with_config(before, maxz=n_before - 1)
    n_slices = n_before + n_more
    config = earlier.config.model_copy(update={"maxz": n_slices - 1, "neighbours": neighbours})
    length, anew = chunk_length_after(earlier, config, fan), chunk_length(n_slices, fan)
    n_prepared = {
        cut: n * (1 + neighbours / cut) for cut, n in ((anew, n_slices), (earlier.chunk_length, n_more))
    }
    if earlier.chunk_length != anew:
        assert n_prepared[length] == min(n_prepared.values())
    else:
        assert length == anew


def test_growth_by_a_tenth_matches_no_earlier_chunk_anew_also_beyond_the_fan() -> None:
    before = with_config(plan_of(0, 1, chunk_length=16, fan=200), maxz=3199)
    assert chunk_length(3500, 200) == 18
    assert chunk_length_after(before, before.config.model_copy(update={"maxz": 3499}), 200) == 16
    trial = with_config(plan_of(0, 1, chunk_length=8, fan=200), maxz=19)
    assert chunk_length_after(trial, trial.config.model_copy(update={"maxz": 3499}), 200) == 18


def test_a_slice_that_was_exported_twice_is_noticed() -> None:
    def entry(z: int, crc32c: str | None) -> SourceSlice:
        return SourceSlice(z=z, key=str(z), size_bytes=1, width_px=1, height_px=1, crc32c=crc32c)

    slices = [entry(0, "a"), entry(1, "b"), entry(2, "b"), entry(3, None), entry(4, None)]
    assert repeated_slices(slices) == [(1, 2)]


def test_a_number_may_be_twice_outside_of_the_range_alone() -> None:
    listing = number_slices(
        "%03d.png", [Stat(key=key, size_bytes=1) for key in ("007.png", "7.png", "8.png")]
    )
    assert listing.twice == {7: "7.png"}
    check_numbered_once(listing, 8, 20, "raw")
    with pytest.raises(UserError, match=r"got 007\.png and 7\.png of number 7 in raw\. Move the one away"):
        check_numbered_once(listing, 0, 7, "raw")


@pytest.mark.parametrize(
    ("pattern", "others"),
    [
        ("i.%03d.tif", ["i.007.TIF", "i.007.tiff", "i.007.Tif", "i.7.TIFF"]),
        ("a/%d.jpeg", ["a/7.jpg", "a/7.JPG"]),
        ("%d.png", ["7.PNG"]),
    ],
)
def test_a_file_that_has_another_suffix_alone_is_known(pattern: str, others: list[str]) -> None:
    for other in others:
        listing = number_slices(pattern, [Stat(key=other, size_bytes=1)])
        assert (listing.slices, listing.otherwise_ended) == ({}, {7: other})


@pytest.mark.parametrize(
    "name", ["i.007.png", "j.007.TIF", "i.007.tif.TIF", "i.x.TIF", "I.007.tif", "i.007_tif"]
)
def test_a_file_of_another_name_or_format_is_not_taken_for_one_of_another_suffix(name: str) -> None:
    assert number_slices("i.%03d.tif", [Stat(key=name, size_bytes=1)]).otherwise_ended == {}


def test_a_missing_slice_that_has_another_suffix_is_named_with_the_command_that_helps() -> None:
    other = {3: "i.3.TIF", 4: "i.4.tiff"}
    with pytest.raises(
        UserError, match=r"got 2 of 3 missing ones with another, i\.3\.TIF, i\.4\.tiff, in my raw"
    ) as e:
        missing_slices({0, 2, 5}, 0, 5, allow_gaps=False, uri="my raw", otherwise_ended=other)
    assert str(e.value).endswith("fibstack data renumber 'my raw' NEW_FOLDER.")
    assert missing_slices({0, 2, 5}, 0, 5, allow_gaps=True, uri="raw", otherwise_ended=other) == (1, 3, 4)
    with pytest.raises(UserError, match=r"i\.4\.tiff"):
        missing_slices({0, 1, 2, 3}, 0, 4, allow_gaps=True, uri="raw", otherwise_ended=other)


def test_what_is_left_out_for_its_suffix_is_named_with_what_is_taken() -> None:
    names = ("0.tif", "1.tif", "1.TIF", "9.tiff")
    listing = number_slices("%d.tif", [Stat(key=name, size_bytes=1) for name in names])
    (finding,) = suffix_findings(["%d.tif"], [listing], 0, 5)
    assert (
        finding == "left out, since their suffix is not that of '%d.tif': 1.TIF; taken are the 2 that have it"
    )
