"""Images get consecutive numbers, and nothing is lost, replaced or hidden by it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from commands.data import renumber as renumbering
from commands.data.main import main
from commands.data.name_order import NameReading
from commands.data.renumber import find_jumps, natural_order, number_images
from commands.data.run_ids import new_run_id
from components.shared.errors import ConfigError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import run_buckets_output
from tests.builders import invoke
from tests.components.plan.plan_step import write_slice


def call(*words: object) -> Result:
    return invoke(main, "renumber", *words)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Five images that sort otherwise as text, in two folders, and a note."""
    for name in ("a/s9.png", "a/s10.png", "a/s11.png", "b/s1.png", "b/s2.png", "note.txt"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "raw"


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


EXPECTED = {
    "img.00007.png": "a/s9.png",
    "img.00008.png": "a/s10.png",
    "img.00009.png": "a/s11.png",
    "img.00010.png": "b/s1.png",
    "img.00011.png": "b/s2.png",
}


def test_a_dry_run_says_what_it_would_do_and_does_nothing(raw: Path, tmp_path: Path) -> None:
    result = call(raw, tmp_path / "new", "--first", 7)
    assert result.exit_code == 0
    assert "a/s9.png -> img.00007.png" in result.output
    assert "Left alone: 1 other files, such as note.txt" in result.output
    assert "Nothing was changed. Add --yes" in result.output
    assert not (tmp_path / "new").exists()


def test_images_are_linked_in_the_order_of_their_numbers(raw: Path, tmp_path: Path) -> None:
    before = contents(raw)
    result = call(raw, tmp_path / "new", "--first", 7, "--yes")
    assert "--image img.%05d.png --minz 7 --maxz 11" in result.output
    made = contents(tmp_path / "new")
    record = made.pop("renumbered.csv").splitlines()
    assert made == EXPECTED
    assert record == ["slice,original", *(f"{new},{old}" for new, old in EXPECTED.items())]
    assert contents(raw) == before
    assert (raw / "a/s9.png").samefile(tmp_path / "new/img.00007.png")


def test_it_goes_on_after_a_stop_and_changes_nothing_when_it_is_done(raw: Path, tmp_path: Path) -> None:
    call(raw, tmp_path / "new", "--first", 7, "--yes")
    made = contents(tmp_path / "new")
    (tmp_path / "new/img.00009.png").unlink()
    (tmp_path / "new/renumbered.csv").unlink()
    assert "5 images, 4 of them there already" in call(raw, tmp_path / "new", "--first", 7).output
    assert call(raw, tmp_path / "new", "--first", 7, "--yes").exit_code == 0
    assert contents(tmp_path / "new") == made
    assert call(raw, tmp_path / "new", "--first", 7, "--yes").exit_code == 0
    assert contents(tmp_path / "new") == made


@pytest.mark.parametrize("name", ["img.00008.png", "img.00099.png"])
def test_no_file_is_replaced_or_mixed_with_others(name: str, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / name).write_text("mine")
    result = call(raw, tmp_path / "new", "--first", 7, "--yes")
    assert result.exit_code == 65
    assert f"the target must hold no other files; got 1, such as '{name}'" in result.output
    assert contents(tmp_path / "new") == {name: "mine"}


def test_a_file_that_appears_meanwhile_is_not_replaced(raw: Path, tmp_path: Path) -> None:
    source, target = open_store(str(raw)), open_store(str(tmp_path / "new"))
    numbering, left = renumbering.plan_renumbering(source, target, "img.%05d", 7)
    target.write("img.00008.png", b"mine")
    with pytest.raises(UserError, match="nothing may be replaced"):
        renumbering.renumber(source, target, numbering, left, lambda: None)
    assert target.read("img.00008.png") == b"mine"


def test_where_the_file_system_cannot_link_it_copies(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refuse(a: Path, b: Path) -> None:
        if "raw" in Path(a).parts:
            raise OSError(errno.EXDEV, "another file system")
        link(a, b)

    monkeypatch.setattr(os, "link", refuse)
    assert call(raw, tmp_path / "new", "--first", 7, "--yes").exit_code == 0
    assert EXPECTED.items() <= contents(tmp_path / "new").items()
    assert not (raw / "a/s9.png").samefile(tmp_path / "new/img.00007.png")
    assert not list((tmp_path / "new").glob(".fibstack*"))
    assert "5 of them there already" in call(raw, tmp_path / "new", "--first", 7).output


def test_buckets_copy_on_the_server(bucket: str) -> None:
    source, target = open_store(f"gs://{bucket}/raw"), open_store(f"gs://{bucket}/new")
    for name in ("s9.tif", "s10.tif"):
        source.write(name, name.encode())
    result = call(source.uri, target.uri, "--yes")
    assert result.exit_code == 0, result.output
    assert target.read("img.00000.tif") == b"s9.tif"
    assert target.read("img.00001.tif") == b"s10.tif"
    assert source.read("s9.tif") == b"s9.tif"
    assert "2 of them there already" in call(source.uri, target.uri, "--yes").output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("raw", "raw/new"), "the target must lie outside the source"),
        (("raw", "."), "the target must lie outside the source"),
        (("raw", "gs://my-em/new"), "both be folders or both in buckets"),
        (("raw", "new", "--image", "../%d.png"), "--image: must"),
        (("raw", "new", "--image", "img.tif"), "--image: must be a file name with exactly one %d"),
        (("raw", "new", "--image", "%d.tif"), "--image must end in .png"),
        (
            ("raw", "new", "--image", "%01d.png", "--first", "8"),
            "--image must have digits for 5 images from 8",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(
    words: tuple[str, ...], sentence: str, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(raw.parent)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")
    result = call(*words, "--yes")
    assert result.exit_code == 78
    assert sentence in result.output


def test_a_folder_without_images_or_with_two_kinds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    assert "must hold images" in call(tmp_path / "raw", tmp_path / "new").output
    for name in ("1.png", "2.tif"):
        (tmp_path / "raw" / name).touch()
    result = call(tmp_path / "raw", tmp_path / "new")
    assert result.exit_code == 65
    assert "all images must be of one kind; got 1 .png and 1 .tif" in result.output


def test_a_missing_image_is_told() -> None:
    numbering = number_images([f"s{z:03d}_x.tif" for z in range(90, 110) if z not in (99, 100)], "%d", 0, "u")
    assert numbering.jumps == (("s098_x.tif", "s101_x.tif"),)
    assert find_jumps(["s0.png", "s10.png", "s20.png", "s40.png"]) == [("s20.png", "s40.png")]
    assert find_jumps(["a.png", "b.png", "c9.png"]) == []


def test_a_jump_is_seen_where_two_numbers_grow_and_none_in_the_time_of_day() -> None:
    heights = [f"Slice_{n:04d} - {n / 100:.2f}um.tif" for n in range(95, 120) if n != 102]
    assert find_jumps(heights) == [("Slice_0101 - 1.01um.tif", "Slice_0103 - 1.03um.tif")]
    seconds = np.cumsum(np.random.default_rng(1).integers(44, 48, 500))
    times = [f"Merlin-6281_21-11-26_{s // 3600:02d}{s // 60 % 60:02d}{s % 60:02d}_0-0-0.dat" for s in seconds]
    assert find_jumps(times) == []


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = call(tmp_path / "nothing", tmp_path / "new")
    assert result.exit_code == 65
    assert f"must be a folder or bucket that exists; got {tmp_path / 'nothing'}." in result.output


def test_what_macos_leaves_beside_files_is_no_image() -> None:
    numbering = number_images(["1.png", "._1.png", "a/2.png", "a/._2.png"], "img.%d", 0, "raw")
    assert list(numbering.new_names) == ["1.png", "a/2.png"]
    assert numbering.left_alone == ("._1.png", "a/._2.png")


@given(st.sets(st.from_regex(r"[a-c]{0,2}[0-9]{1,3}_?[0-9]{0,2}", fullmatch=True), min_size=1))
def test_every_image_gets_one_number_in_natural_order(stems: set[str]) -> None:
    names = {f"{stem}.png" for stem in stems}
    new_names = number_images(names, "img.%05d", 3, "u").new_names
    assert set(new_names) == names
    assert list(new_names.values()) == [f"img.{z:05d}.png" for z in range(3, 3 + len(names))]
    assert list(new_names) == sorted(names, key=natural_order)


def in_order(*stems: str, order: NameReading | None = None) -> list[str]:
    """The stems in the order of the numbers that they get."""
    names = number_images([f"{stem}.tif" for stem in reversed(stems)], "%d", 0, "raw", order).new_names
    return [name.removesuffix(".tif") for name in names]


@pytest.mark.parametrize(
    "stems",
    [
        ("s_z=0.1um", "s_z=0.15um", "s_z=0.2um"),
        ("s_z=-0.15um", "s_z=-0.1um", "s_z=0um", "s_z=0.1um"),
        ("s_z=-2", "s_z=-1", "s_z=+1", "s_z=+10"),
        ("s_-2", "s_-1", "s_0", "s_1"),
        ("z-2", "z-1", "z0", "z1"),
        ("z=0,1um", "z=0,15um", "z=0,2um"),
        ("z=1e-7m", "z=1.5e-7m", "z=2e-6m", "z=1e-5m"),
        ("900nm", "1um", "1.5um", "0.01mm"),
        ("900nm", "1\u00b5m", "1.5\u03bcm"),
        ("s_0.05", "s_0.1", "s_0.15"),
        ("0.1 um", "0.15 um", "1 um"),
        ("s_z=0.1um_t1", "s_z=0.15um_t2", "s_z=0.2um_t3"),
        ("z=0.1um_14h05", "z=0.15um_14h11", "z=0.2um_14h19"),
        # Counters, not decimals, and separators, not signs.
        ("s_1.1", "s_1.2", "s_1.10"),
        ("slice-1", "slice-2", "slice-10"),
        ("2024-1", "2024-2", "2024-10"),
        ("1.2.3", "1.2.10"),
        ("11 0.91um", "12 0.92um"),
        ("Img_1", "img_2", "Img_3"),
        # Dates.
        ("28-02-2024", "29-02-2024", "01-03-2024"),
        ("s 28.02.2024 9", "s 28.02.2024 10", "s 01.03.2024 8"),
        ("28022024_2", "01032024_1"),
        ("s_2_28-10-2023", "s_9_28-10-2023", "s_10_28-10-2023"),
        ("s2_28Oct2023", "s9_28Oct2023", "s10_28Oct2023"),
        ("28-Feb-2024", "01-March-2024", "02-Apr-2024"),
        ("02-28-2024", "03-01-2024", "01-15-2025"),
        ("26-11-21", "01-12-21"),
        ("2024-02-28", "2024-03-01"),
        ("20240228_1", "20240301_1"),
        ("M-6281_21-11-30_235959_0-0-0", "M-6281_21-12-01_000046_0-0-0"),
    ],
    ids=lambda stems: stems[0],
)
def test_numbers_are_read_as_the_names_tell(stems: tuple[str, ...]) -> None:
    assert in_order(*stems) == list(stems)


@pytest.mark.parametrize(
    ("stems", "orders"),
    [
        (("s_0.1", "s_0.15", "s_0.2"), ("decimals", "integers")),
        (("s_1.9", "s_1.10", "s_1.11"), ("decimals", "integers")),
        (("s_-1", "s_-2", "s_-3"), ("decimals", "integers")),
        (("s 05-01-2024", "s 01-02-2024"), ("day-first", "month-first")),
        (("05012024", "01022024"), ("day-first", "month-first")),
        (("s 11-11-12", "s 12-11-11"), ("integers", "day-first")),
    ],
    ids=lambda value: value[0],
)
def test_where_two_readings_give_two_orders_it_asks(
    stems: tuple[str, ...], orders: tuple[NameReading, ...], tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    for stem in stems:
        (tmp_path / "raw" / f"{stem}.tif").write_text(stem)
    result = call(tmp_path / "raw", tmp_path / "new", "--yes")
    assert result.exit_code == 65
    assert not (tmp_path / "new").exists()
    answers = []
    for order in orders:
        answers.append(in_order(*stems, order=order))
        shown = ", ".join(f"{stem}.tif" for stem in answers[-1])
        assert f"{shown} with --order {order}" in result.output
        target = tmp_path / f"new-{order}"
        assert call(tmp_path / "raw", target, "--order", order, "--yes").exit_code == 0
        made = contents(target)
        made.pop("renumbered.csv")
        assert list(made.values()) == answers[-1]
    assert answers[0] != answers[1]


def test_the_reading_that_decided_is_said(tmp_path: Path) -> None:
    dates, heights = tmp_path / "dates", tmp_path / "heights"
    for folder, names in ((dates, ("28-02-2024", "01-03-2024")), (heights, ("0.15um", "0.2um"))):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.tif").touch()
    assert "dates are read day first, 01-03-2024 is 01 March 2024." in call(dates, tmp_path / "n").output
    assert "read as decimals, with their signs and units" in call(heights, tmp_path / "n").output


def test_an_order_that_does_not_fit_the_names_is_refused(raw: Path, tmp_path: Path) -> None:
    result = call(raw, tmp_path / "new", "--order", "day-first")
    assert result.exit_code == 78
    assert "--order day-first must find a date in every name; got a/s10.png" in result.output


def test_a_missing_decimal_is_told() -> None:
    stems = [f"z={tenths / 10:g}um.tif" for tenths in range(30) if tenths != 17]
    assert number_images(stems, "%d", 0, "u").jumps == (("z=1.6um.tif", "z=1.8um.tif"),)


def test_images_of_one_kind_are_taken_together_whatever_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name in ("s1.tif", "s2.TIF", "s3.tiff"):
        (tmp_path / "raw" / name).write_text(name)
    result = call(tmp_path / "raw", tmp_path / "new", "--yes")
    assert "images of several suffixes are taken together: 1 .tif and 1 .TIF and 1 .tiff." in result.output
    made = contents(tmp_path / "new")
    assert [made[f"img.0000{z}.tif"] for z in range(3)] == ["s1.tif", "s2.TIF", "s3.tiff"]


@pytest.mark.parametrize("other", ["s2.tiff", "s2.TIFF"])
def test_two_images_that_differ_in_their_suffix_alone_are_not_both_taken(other: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name in ("s1.tif", "s2.tif", other):
        (tmp_path / "raw" / name).write_text(name)
    result = call(tmp_path / "raw", tmp_path / "new", "--yes")
    assert result.exit_code == 65
    assert "s2.tif" in result.output
    assert other in result.output
    result = call(tmp_path / "raw", tmp_path / "new", "--only", "*.tif", "--yes")
    assert f"Left alone: 1 other files, such as {other}" in result.output
    assert contents(tmp_path / "new")["img.00001.tif"] == "s2.tif"


@pytest.mark.parametrize("name", ["overview.tif", "a_overview_1.tif", "slice.tif", "over/view.tif"])
def test_an_overview_does_not_become_a_slice_by_itself(name: str, tmp_path: Path) -> None:
    raw, new = tmp_path / "raw", tmp_path / "new"
    for one in (name, *(f"slice_{z}.tif" for z in range(12))):
        (raw / one).parent.mkdir(parents=True, exist_ok=True)
        (raw / one).write_text(one)
    result = call(raw, new, "--yes")
    assert result.exit_code == 65
    assert f"images must be named alike; got {name} beside 12 such as slice_0.tif" in result.output
    assert "Add --only 'slice_*' for these alone, or --only '*' for all." in result.output
    assert call(raw, new, "--only", "slice_*", "--yes").exit_code == 0
    assert contents(new)["img.00000.tif"] == "slice_0.tif"
    assert call(raw, tmp_path / "all", "--only", "*", "--yes").exit_code == 0
    assert len(contents(tmp_path / "all")) == 1 + 13


def test_an_overview_that_is_named_like_a_slice_is_told_by_its_size(tmp_path: Path) -> None:
    for z in range(4):
        write_slice(tmp_path / f"raw/s{z}.png", *((40, 30) if z != 2 else (20, 10)))
    result = call(tmp_path / "raw", tmp_path / "new")
    assert (
        "1 image of another size than the 3 of 40 x 30 px: s2.png of 20 x 10 px, taken as img.00002.png"
        in (result.output)
    )


def test_links_that_leave_the_folder_are_followed_when_it_is_asked(raw: Path, tmp_path: Path) -> None:
    links, new = tmp_path / "links", tmp_path / "new"
    links.mkdir()
    for number, path in enumerate(("a/s9.png", "b/s1.png")):
        (links / f"s{number}.png").symlink_to(raw / path)
    result = call(links, new, "--yes")
    assert result.exit_code == 65
    assert f"fibstack data renumber {links} NEW_FOLDER --follow-links" in result.output
    (links / "more").symlink_to(raw / "b")
    result = call(links, new, "--follow-links", "--yes")
    assert result.exit_code == 0, result.output
    assert "such as more (a link to a folder)" in result.output
    assert (new / "img.00000.png").samefile(raw / "a/s9.png")
    assert not (new / "img.00000.png").is_symlink()
    assert contents(new)["img.00001.png"] == "b/s1.png"


def test_a_link_to_another_file_system_is_not_followed(tmp_path: Path) -> None:
    elsewhere = Path("/proc/version")
    (tmp_path / "links").mkdir()
    (tmp_path / "links/s0.png").symlink_to(elsewhere)
    result = call(tmp_path / "links", tmp_path / "new", "--follow-links", "--yes")
    assert result.exit_code == 65
    assert "'s0.png' must lie inside" in result.output
    assert "a link to a file of its file system" in result.output


def test_a_link_that_leads_nowhere_is_named(raw: Path, tmp_path: Path) -> None:
    (raw / "a/s12.png").symlink_to(raw / "a/gone.png")
    for more in ((), ("--follow-links",)):
        result = call(raw, tmp_path / "new", *more)
        assert result.exit_code == 65
        assert (
            f"got {raw / 'a/s12.png'}, which leads to {raw / 'a/gone.png'} where nothing is" in result.output
        )


def test_a_run_id_cannot_be_guessed_and_names_buckets() -> None:
    ids = {new_run_id("Medulla 7, left!") for _ in range(100)}
    assert len(ids) == 100
    for run_id in ids:
        assert re.fullmatch(r"medulla-7-left-[a-z2-7]{16}", run_id)
        assert run_buckets_output("gs://a-source-of-20-chars", run_id)
    assert invoke(main, "new-id", "cell").output.startswith("cell-")


@pytest.mark.parametrize("name", ["", "---", "ä", "x" * 25])
def test_a_name_without_letters_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="NAME must have 1 to 24"):
        new_run_id(name)
