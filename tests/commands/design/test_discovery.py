"""A folder of slices is enough: its series are found, and what is left out or unclear is said."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks.scale.stacks import png_header
from commands.design.discovery import Contents, beside, chosen, completed, contents_of
from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from tests.builders import cli


def series_of(names: Iterable[str]) -> list[str]:
    return [str(series) for series in contents_of(names).series]


def found(contents: Contents) -> tuple[str, list[str]]:
    stack, left_out = chosen(contents, "raw")
    return str(stack), left_out


@pytest.mark.parametrize(
    ("names", "series"),
    [
        (["img.00009.png", "img.00010.png"], "'img.%05d.png' 9 to 10 (2 images)"),
        (["s8.TIF", "s9.TIF", "s10.TIF"], "'s%d.TIF' 8 to 10 (3 images)"),
        (["s100.png", "s101.png"], "'s%d.png' 100 to 101 (2 images)"),
        (["s998.png", "s0999.png", "s1000.png"], "'s%04d.png' 999 to 1000 (2 images)"),
        (["r2_0001_x4.tif", "r2_0002_x4.tif"], "'r2_%04d_x4.tif' 1 to 2 (2 images)"),
        (["1.jpg", "2.jpg", "4.jpg"], "'%d.jpg' 1 to 4 (3 images)"),
        (["2026-11/s1.png", "2026-11/s2.png"], "'2026-11/s%d.png' 1 to 2 (2 images)"),
        ([f"s_{z}.tif" for z in range(0, 30, 2)], "'s_%d.tif' 0 to 28 (15 images)"),
        (["a b=1,+@-_c.0001.dat", "a b=1,+@-_c.0002.dat"], "'a b=1,+@-_c.%04d.dat' 1 to 2 (2 images)"),
    ],
)
def test_the_number_that_changes_counts(names: list[str], series: str) -> None:
    assert series_of(names) == [series]


def test_channels_in_the_names_are_series() -> None:
    names = [f"s{z:03d}_ch{channel}.tif" for z in range(5) for channel in (0, 1)]
    assert series_of(names) == ["'s%03d_ch0.tif' 0 to 4 (5 images)", "'s%03d_ch1.tif' 0 to 4 (5 images)"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([f"s{z:03d} {z / 10:.2f}um.tif" for z in range(9)], "several numbers in the name change"),
        (["overview.tif"], "no number in the name"),
        (["s(1).tif", "s(2).tif"], "letters or signs"),
        (["s%1.tif", "s%2.tif"], "letters or signs"),
        (["20261130235959.tif", "20261130235960.tif", "20261201000000.tif"], "must be below 1,000,000,000"),
        ([f"2026{z}123.tif" for z in range(1, 9)], "are left out, as where they are times"),
        ([f"20261130{z:06d}.tif" for z in range(9)], "must be below 1,000,000,000"),
        ([f"img_12{minute:02d}07.tif" for minute in range(9)], "792 of the 801 from 120007 to 120807"),
        ([f"s_{z}.tif" for z in range(0, 30, 3)], "where they are slices, add --image s_%d.tif)"),
        (["s7.png"], "no other image is named alike"),
    ],
)
def test_names_that_no_pattern_makes_are_none(names: list[str], reason: str) -> None:
    contents = contents_of(names)
    assert contents.series == ()
    ((why, refused),) = contents.unnumbered
    assert reason in why
    assert list(refused) == names


def test_every_name_is_accounted_for() -> None:
    names = [f"s{z:02d}.png" for z in range(30)]
    others = ["s7.png", "overview_1.png", "overview_2.png", "logo.png", "._s01.png", "notes.txt"]
    stack, left_out = found(contents_of(names + others))
    assert stack == "'s%02d.png' 0 to 29 (30 images)"
    assert left_out == [
        "Left out: series 'overview_%d.png' 1 to 2 (2 images).",
        "Left out: s7.png: numbers padded otherwise than in 's%02d.png'.",
        "Left out: logo.png: no number in the name.",
        "Left out: ._s01.png, notes.txt: no picture that can be read.",
    ]


def test_the_folder_itself_goes_before_those_in_it() -> None:
    names = [f"{folder}s{z}.png" for folder in ("", "small/") for z in range(20)]
    stack, left_out = found(contents_of(names))
    assert stack == "'s%d.png' 0 to 19 (20 images)"
    assert left_out == ["Left out: series 'small/s%d.png' 0 to 19 (20 images)."]
    few_above = [f"raw/s{z}.png" for z in range(50)] + ["view1.png", "view2.png"]
    assert found(contents_of(few_above))[0] == "'raw/s%d.png' 0 to 49 (50 images)"


def refusal(names: Iterable[str]) -> str:
    with pytest.raises(UserError) as refused:
        chosen(contents_of(names), "raw")
    return str(refused.value)


def test_detectors_are_told_with_both_commands() -> None:
    said = refusal([f"{name}_{z}.tif" for name in ("esb", "se") for z in range(9)])
    assert "'esb_%d.tif' 0 to 8 (9 images), 'se_%d.tif' 0 to 8 (9 images)" in said
    assert "Add --image esb_%d.tif for the first, or --image esb_%d.tif --set 'more_channels=" in said
    words = shlex.split(said.partition(", or ")[2].partition(" for detectors")[0])
    assert words == ["--image", "esb_%d.tif", "--set", 'more_channels=["se_%d.tif"]']


def test_series_that_go_on_are_told_how_to_join() -> None:
    said = refusal([f"run1_{z}.tif" for z in range(9)] + [f"run2_{z}.tif" for z in range(9, 20)])
    assert "fibstack data renumber raw raw-numbered --only '*' --yes" in said
    overlapping = refusal([f"run1_{z}.tif" for z in range(9)] + [f"run2_{z}.tif" for z in range(5, 20)])
    assert overlapping.endswith("for the first, or give a folder of each.")


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (["stack.mrc", "notes.txt"], "fibstack data split raw/stack.mrc raw-slices"),
        (["stack.tif"], "fibstack data split raw/stack.tif raw-slices"),
        ([f"s{z} {z / 7:.4f}um.tif" for z in range(9)], "fibstack data renumber raw raw-numbered --yes"),
        (["notes.txt"], "Give the folder of the slices"),
        ([], "got no file in raw"),
        (["a1.png", "a2.png", *(f"s{z} {z / 7:.4f}um.tif" for z in range(9))], "renumber"),
    ],
)
def test_what_is_no_series_is_told_the_way(names: list[str], remedy: str) -> None:
    assert remedy in refusal(names)


def write_slices(store: Store, numbers: Iterable[int], name: str = "s%03d.png") -> None:
    for z in numbers:
        store.write(name % z, png_header(64) + bytes(4000 + z))


def test_a_folder_a_bucket_and_s3_tell_alike(store: Store) -> None:
    write_slices(store, range(5, 9))
    values, said = completed({"source": store.uri})
    place = f"{store.uri}-aligned"
    assert values == {"source": store.uri, "image": "s%03d.png", "minz": 5, "maxz": 8, "output": place}
    assert said == [
        f"Found 4 slices in {store.uri}: s%03d.png, 5 to 8, none missing.",
        f"Results go to {place}; --output names another place.",
    ]


def test_what_is_given_stays(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    write_slices(store, [1, 2, 5])
    given = {"source": str(tmp_path), "maxz": 2, "output": "here"}
    values, said = completed(given)
    assert values == {**given, "image": "s%03d.png", "minz": 1}
    assert said == [f"Found 3 slices in {tmp_path}: s%03d.png, 1 to 5, missing: 3 to 4."]
    write_slices(store, range(3), "t%d.png")
    values, _ = completed({"source": str(tmp_path), "image": "t%d.png", "output": "here"})
    assert (values["minz"], values["maxz"]) == (0, 2)
    with pytest.raises(UserError, match="must hold images named"):
        completed({"source": str(tmp_path), "image": "u%d.png"})
    with pytest.raises(ConfigError, match="'image'"):
        completed({"source": str(tmp_path), "image": "u.png"})
    # Buckets of a run's own follow from its name, in the older workflow.
    values, _ = completed({"source": str(tmp_path), "image": "t%d.png", "id": "run1"})
    assert "output" not in values


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be a folder or bucket that exists"):
        completed({"source": str(tmp_path / "no")})


def test_beside_a_bucket_is_no_place() -> None:
    with pytest.raises(ConfigError, match="Add --output"):
        beside("gs://em")


def test_design_of_a_folder_ends_with_the_command(tmp_path: Path) -> None:
    raw = tmp_path / "it's raw"
    write_slices(open_store(str(raw)), range(3, 9))
    (raw / "notes.txt").write_text("x")
    result = cli("design", raw)
    assert result.exit_code == 0, result.output
    assert f"Found 6 slices in {raw}: s%03d.png, 3 to 8, none missing." in result.stdout
    assert "Left out: notes.txt: no picture that can be read." in result.stdout
    assert "Run it with:" in result.stdout
    command = shlex.split(result.stdout.splitlines()[-1])
    expected = [
        "run",
        "--source",
        f"{raw}",
        *["--image", "s%03d.png", "--minz", "3", "--maxz", "8", "--output"],
        f"{raw}-aligned",
    ]
    assert command[1:] == expected


def test_keys_that_miss_are_told_at_once() -> None:
    result = cli("run", "--image", "s%d.png", "--set", "clip_limit=0")
    assert result.exit_code == ConfigError.exit_code
    assert result.stderr == (
        "error: 'source', 'minz', 'maxz' and 'output' must be given. Add 'source: ...', 'minz: ...', "
        "'maxz: ...' and 'output: ...' to the configuration or --source, --minz, --maxz and --output to the "
        "command.\n"
    )


def test_a_source_is_given_once(tmp_path: Path) -> None:
    result = cli("design", tmp_path, "--source", tmp_path)
    assert result.exit_code == ConfigError.exit_code
    assert "the source must be given once" in result.stderr


def test_the_keys_that_a_place_tells_are_those_that_a_run_must_have() -> None:
    from commands.options import _KEYS_OF_PLACE

    assert {key for key, field in RunConfig.model_fields.items() if field.is_required()} == _KEYS_OF_PLACE
