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
from commands.data.renumber import find_jumps, natural_order, number_images
from commands.data.run_ids import new_run_id
from components.shared.errors import ConfigError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import run_buckets_output
from tests.builders import invoke


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
