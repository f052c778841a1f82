"""`fibstack apply` on another stack: the negative of a stack becomes the negative volume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.e2e.stack import fibstack
from tests.e2e.volumes import through_tensorstore

FIRST, LAST, BLANK, MISSING, INVERTED = 8, 25, 12, 16, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`raw`, aligned in `first`, and `negative`, the same slices as another detector may show them."""
    folder = tmp_path_factory.mktemp("second-stack")
    defects = [f"blank:{BLANK}", f"missing:{MISSING}", f"inverted:{INVERTED}"]
    fibstack(
        *("sample", folder / "raw", "--size", "203x170", "--slices", LAST - FIRST + 1, "--first", FIRST),
        *("--seed", 5, "--workers", 1, *(word for defect in defects for word in ("--defect", defect))),
    )
    settings = ["clip_limit=0", "intensity=none"]
    flags = [word for setting in settings for word in ("--set", setting)]
    fibstack("run", folder / "raw/run.yaml", "--output", folder / "first", *flags, "--jobs", 1)
    (folder / "negative").mkdir()
    for path in (folder / "raw").glob("img.*.png"):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        cv2.imwrite(str(folder / f"negative/bse_{int(path.stem.split('.')[1])}.tif"), 255 - picture)
    fibstack("apply", folder / "first", folder / "negative", folder / "second", "--jobs", 1)
    return folder


def planes(folder: Path, name: str) -> NDArray[np.int64]:
    """`[z, y, x]`, the lossless volume."""
    return through_tensorstore(folder / name / "chunk", 0).astype(np.int64)


def test_the_negative_of_a_stack_becomes_the_negative_volume(folder: Path) -> None:
    first, second = planes(folder, "first"), planes(folder, "second")
    assert first.shape == second.shape
    shown = (first > 0) & (second > 0)
    assert shown.mean() > 0.8
    for z in range(FIRST, LAST + 1):
        inside, plane, other = shown[z - FIRST], first[z - FIRST], second[z - FIRST]
        # The first detector had recorded this one as its negative, which the second did not.
        expected = plane if z == INVERTED else 255 - plane
        assert np.abs(other - expected)[inside].max() <= 1, z


def test_the_record_says_whose_places_are_taken(folder: Path) -> None:
    run = json.loads((folder / "second/process/run.json").read_text())
    assert run["complete"]
    assert run["config"]["placed_as"] == str(folder / "first")
    assert f"Slices are placed as those in {folder}/first are, and not matched." in run["summary"]
    assert run["headline"].startswith(
        f"The volume is complete. Its slices are placed as those in {folder}/first."
    )
    assert run["n_missing"] == 1
    page = (folder / "second/process/report/index.html").read_text()
    assert "alignment was switched off" not in page
    assert "placed as those of another detector" in page


def test_it_verifies_and_damage_to_its_places_is_found(folder: Path, tmp_path: Path) -> None:
    assert "Every file is there and whole." in fibstack("verify", folder / "second").stdout
    shutil.copytree(folder / "second", tmp_path / "copy")
    places = tmp_path / "copy/process/given_places.json"
    places.write_bytes(places.read_bytes().replace(b'"good"', b'"step"', 1))
    found = fibstack("verify", tmp_path / "copy", check=False)
    assert found.returncode == 65
    assert "given_places.json" in found.stderr


def refused(*words: object) -> str:
    done = fibstack("apply", *words, "--jobs", 1, check=False)
    assert done.returncode in (65, 78), done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def test_other_numbers_sizes_and_gaps_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder / "negative", other)
    (other / "bse_10.tif").unlink()
    sentence = refused(folder / "first", other, tmp_path / "gap")
    assert (
        f"every slice that the volume in {folder}/first shows must be there; got none of number 10"
        in sentence
    )
    assert not (tmp_path / "gap").exists()
    picture = cv2.imread(str(other / "bse_11.tif"), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    cv2.imwrite(str(other / "bse_10.tif"), picture[:-1])
    assert "got 203 x 169 px for 203 x 170 px" in refused(folder / "first", other, tmp_path / "size")
    shifted = tmp_path / "shifted"
    shifted.mkdir()
    for path in (folder / "negative").iterdir():
        shutil.copy(path, shifted / f"bse_{int(path.stem.removeprefix('bse_')) + 100}.tif")
    sentence = refused(folder / "first", shifted, tmp_path / "numbers")
    assert f"must have the numbers of those in {folder}/first, {FIRST} to {LAST}" in sentence
    assert f"got {FIRST + 100} to {LAST + 100}" in sentence


def test_what_lies_in_the_new_output_stays(folder: Path) -> None:
    assert "which holds another volume" in refused(folder / "first", folder / "negative", folder / "first")
    assert not (folder / "first/process/given_places.json").exists()


def test_an_export_is_not_taken_for_a_run(folder: Path, tmp_path: Path) -> None:
    fibstack("export", folder / "first", tmp_path / "export", "--jobs", 1)
    sentence = refused(tmp_path / "export", folder / "negative", tmp_path / "new")
    assert f"made from {folder}/first. Apply {folder}/first, and export" in sentence


def test_options_of_points_and_of_stacks_are_told_apart(folder: Path, tmp_path: Path) -> None:
    words = (folder / "first", folder / "negative", tmp_path / "new")
    assert "--unit must be given with points" in refused(*words, "--unit", "px")
    assert "'minz' must not be set" in refused(*words, "--set", "minz=3")


def test_slices_of_other_places_do_not_pass_the_check_on_thumbnails(folder: Path, tmp_path: Path) -> None:
    """As where one stack is numbered from the other end."""
    other = tmp_path / "turned"
    other.mkdir()
    numbers = sorted(int(path.stem.removeprefix("bse_")) for path in (folder / "negative").iterdir())
    for z, end in zip(numbers, reversed(numbers), strict=True):
        shutil.copy(folder / f"negative/bse_{end}.tif", other / f"bse_{z}.tif")
    sentence = refused(folder / "first", other, tmp_path / "new")
    assert "the check on thumbnails must pass before the volume is written" in sentence
    assert f"slices of these numbers are of the same places as in {folder}/first" in sentence
    assert not list((tmp_path / "new").rglob("*.shard"))


def test_the_same_command_again_takes_the_places_of_by_then(folder: Path, tmp_path: Path) -> None:
    def shards() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (folder / "second").rglob("*.shard")}

    before = shards()
    again = ("apply", folder / "first", folder / "negative", folder / "second", "--jobs", 1)
    fibstack(*again)
    assert shards() == before
    (tmp_path / "decisions.yaml").write_text("- {z: 14, replace: previous}\n")
    fibstack("resolve", folder / "first", "--overrides", tmp_path / "decisions.yaml", "--jobs", 1)
    fibstack("verify", folder / "second")
    fibstack("resolve", folder / "second", "--set", "keep_tiles=true", "--jobs", 1)
    assert shards() == before, "its own records tell where its slices lie"
    fibstack("resolve", folder / "second", "--set", "keep_tiles=false", "--jobs", 1)
    fibstack(*again)
    for name in ("first", "second"):
        shown = planes(folder, name)
        np.testing.assert_array_equal(shown[14 - FIRST], shown[13 - FIRST])
