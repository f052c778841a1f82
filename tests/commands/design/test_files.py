"""Facts that `fibstack design` tells of the files of a stack, beyond its plan."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from components.plan.main import make_plan, write_plan
from components.shared.storage.registry import open_store
from pipeline.configuration import read_config
from tests.builders import cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of six TIFFs of one size in bytes."""
    random = np.random.default_rng(7)
    for z in range(6):
        tifffile.imwrite(tmp_path / f"s{z}.tif", random.integers(0, 255, (90, 80), np.uint8))
    return tmp_path


def concerns(folder: Path) -> list[str]:
    result = cli("design", folder, "--json")
    assert result.exit_code == 0, result.output
    found: list[str] = json.loads(result.stdout)["concerns"]
    return found


def test_files_of_one_size_are_no_copies(folder: Path) -> None:
    assert concerns(folder) == []


def test_a_picture_that_is_there_twice_is_named(folder: Path) -> None:
    shutil.copy(folder / "s1.tif", folder / "s3.tif")
    shutil.copy(folder / "s1.tif", folder / "s4.tif")
    assert concerns(folder) == ["the same picture twice: slice 3 is slice 1, slice 4 is slice 1"]


def test_pictures_that_differ_beside_their_middle_are_no_copies(folder: Path) -> None:
    picture = tifffile.imread(folder / "s1.tif")
    picture[0, 0] ^= 1
    tifffile.imwrite(folder / "s3.tif", picture)
    assert concerns(folder) == []


@pytest.mark.parametrize(
    ("orientation", "words"), [(3, "turned by 180 degrees"), (4, "mirrored top to bottom")]
)
def test_turned_pictures_are_told(folder: Path, orientation: int, words: str) -> None:
    for z in range(6):
        picture = tifffile.imread(folder / f"s{z}.tif")
        tifffile.imwrite(folder / f"s{z}.tif", picture, extratags=[(274, 3, 1, orientation, True)])
    assert concerns(folder) == [f"pictures are {words}, as the files' orientation ({orientation}) says"]


def test_inverted_pictures_are_told(folder: Path) -> None:
    for z in (2, 5):
        picture = tifffile.imread(folder / f"s{z}.tif")
        tifffile.imwrite(folder / f"s{z}.tif", picture, photometric="miniswhite")
    assert concerns(folder) == [
        "2 of 6 pictures (s2.tif, s5.tif) are inverted, as the files say that white is 0 (tag 262)"
    ]


def test_a_second_plan_tells_of_its_tags_without_reading_them_again(folder: Path, tmp_path: Path) -> None:
    for z in range(6):
        picture = tifffile.imread(folder / f"s{z}.tif")
        tifffile.imwrite(folder / f"s{z}.tif", picture, photometric="miniswhite")
    output = open_store(str(tmp_path / "out"))
    flags = {"source": str(folder), "image": "s%d.tif", "minz": "0", "maxz": "5", "output": output.uri}
    config = read_config(None, flags, [])
    first = make_plan(config, 10)
    assert first.findings == ("pictures are inverted, as the files say that white is 0 (tag 262)",)
    write_plan(first, open_store(f"{output.uri}/process"))
    for z in range(6):  # what cannot be read is not read
        path = folder / f"s{z}.tif"
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(bytes(path.stat().st_size))
        os.utime(path, ns=times)
    assert make_plan(config, 10).findings == first.findings
