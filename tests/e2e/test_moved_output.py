"""Outputs and slices that were moved, copied or mounted elsewhere: work goes on where they lie now."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.shared.documents.plan import plan_in
from components.shared.storage.registry import open_store
from components.shared.work.superseded import note_all
from tests.builders import cli
from tests.components.shared.work.earlier_records import name_places_as_before
from tests.e2e.stack import Stack

ALL_OUTPUTS = {"ome_zarr": True, "raw_pyramid": True, "keep_tiles": True}
SETTINGS = [word for key in ALL_OUTPUTS for word in ("--set", f"{key}=true")]
NO_WORK = {"plan", "compose", "report"}
"""The steps that look whether something is left to do, and find nothing."""


@pytest.fixture(scope="module")
def first(small_sample: Stack, run_folder: Path) -> Stack:
    """A run beside its slices, in a folder of their own."""
    home = run_folder / "first"
    shutil.copytree(small_sample.source, home / "raw")
    stack = Stack(home / "raw", home / "aligned", small_sample.minz, small_sample.maxz)
    stack.run_here(**ALL_OUTPUTS)
    return stack


@pytest.fixture
def untouched(first: Stack) -> Iterator[None]:
    """What was copied from stays, byte by byte and name by name."""
    before = state(first.output.parent)
    yield
    assert state(first.output.parent) == before


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """Of every file below a folder, a digest and the time of writing."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def steps_of(logs: Path) -> set[str]:
    """The steps that had work in a run."""
    (folder,) = logs.iterdir()
    return {path.name for path in folder.iterdir() if path.is_dir()}


def go_on(output: Path | str, logs: Path, *words: object) -> set[str]:
    """Resolve a run; the steps that had work."""
    done = cli("resolve", output, *words, "--jobs", 2, "--log-dir", logs)
    assert done.exit_code == 0, done.output
    return steps_of(logs)


def is_whole(output: Path | str) -> None:
    result = cli("verify", output)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""


@pytest.mark.parametrize("is_old", [False, True], ids=["records of now", "records of an earlier version"])
@pytest.mark.usefixtures("untouched")
def test_a_copy_goes_on_and_leaves_what_it_was_made_from_alone(
    first: Stack, tmp_path: Path, is_old: bool
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(first.output, copy, copy_function=shutil.copyfile)  # with the times of the copying
    if is_old:
        process = open_store(str(copy / "process"))
        note_all(process, plan_in(process).locations)  # a note that names all of the original's files
        name_places_as_before(process, str(first.output))
        assert str(first.output) in (copy / "process/superseded.json").read_text()
    is_whole(copy)
    assert "18 of 18" not in cli("status", copy).stdout
    assert go_on(copy, tmp_path / "same") == NO_WORK
    is_whole(copy)
    # Each volume is written anew, under other names: those of the first are removed, in the copy alone.
    steps = go_on(copy, tmp_path / "other", "--set", "resolution=6", "--set", "raw_pyramid=false")
    assert steps == {"plan", "compose", "pyramid", "report"}
    assert not (copy / "neuroglancer/raw").exists()
    assert not (copy / "chunk/8x8x8").exists()
    assert (first.output / "chunk/8x8x8").exists()
    is_whole(copy)
    assert not [path for path in copy.rglob("records/**/*.json") if str(tmp_path) in path.read_text()]


@pytest.mark.usefixtures("untouched")
def test_what_looks_at_an_output_takes_a_copy_where_it_lies(
    first: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(first.output, tmp_path / "copy")
    name_places_as_before(open_store(str(copy / "process")), str(first.output))
    monkeypatch.chdir(tmp_path)
    for words in (
        ("status", copy),
        ("report", copy),
        ("notebook", copy, "look.ipynb"),
        ("share", copy, "--to", "folder"),
        ("export", copy, "darker", "--contrast", "30-220"),
    ):
        done = cli(*words)
        assert done.exit_code == 0, done.output
        assert str(first.output) not in done.output, words
    assert str(first.output) not in Path("look.ipynb").read_text()
    assert str(first.output) not in Path("folder/state.json").read_text()
    is_whole(tmp_path / "darker")


@pytest.mark.usefixtures("untouched")
def test_a_copy_is_removed_alone(first: Stack, tmp_path: Path) -> None:
    copy = shutil.copytree(first.output, tmp_path / "copy")
    name_places_as_before(open_store(str(copy / "process")), str(first.output))
    done = cli("data", "delete", copy, "--yes")
    assert done.exit_code == 0, done.output
    assert not copy.exists()


def test_slices_and_output_that_were_moved_together_go_on(small_sample: Stack, tmp_path: Path) -> None:
    home, there = tmp_path / "home", tmp_path / "elsewhere"
    shutil.copytree(small_sample.source, home / "raw")
    Stack(home / "raw", home / "aligned", small_sample.minz, small_sample.maxz).run_here(**ALL_OUTPUTS)
    home.rename(there)
    output = there / "aligned"
    is_whole(output)
    refused = cli("resolve", output, "--log-dir", tmp_path / "refused")
    assert refused.exit_code == 65
    assert f"fibstack resolve {output} --set source=FOLDER" in refused.stderr
    assert go_on(output, tmp_path / "moved", "--set", f"source={there}/raw") == NO_WORK
    is_whole(output)
    # The place is no decision: from now on a run on the slices there goes on as well.
    logs = tmp_path / "again"
    again = cli("run", there / "raw", *("--output", output), *SETTINGS, *("--jobs", 2), *("--log-dir", logs))
    assert again.exit_code == 0, again.output
    assert steps_of(logs) == NO_WORK
    is_whole(output)
    there.rename(home)
    assert go_on(home / "aligned", tmp_path / "back", "--set", f"source={home}/raw") == NO_WORK
    assert "moved_from" not in json.loads((home / "aligned/process/plan.json").read_text())


@pytest.mark.usefixtures("untouched")
def test_slices_that_were_copied_without_their_times_are_compared_by_their_bytes(
    first: Stack, tmp_path: Path
) -> None:
    output = shutil.copytree(first.output, tmp_path / "aligned")
    slices = shutil.copytree(first.source, tmp_path / "raw", copy_function=shutil.copyfile)
    set_source = ("--set", f"source={slices}")
    assert go_on(output, tmp_path / "copied", *set_source) == NO_WORK
    assert go_on(output, tmp_path / "again") == NO_WORK
    # A slice that is written since is matched again, and no other chunk.
    path = slices / "img.00024.png"
    other = (slices / "img.00023.png").read_bytes()
    path.write_bytes(other)
    assert "align" in go_on(output, tmp_path / "changed")
    records = sorted((output / "process/records/align").iterdir(), key=lambda record: record.stat().st_mtime)
    assert len({record.stat().st_mtime > path.stat().st_mtime for record in records}) == 2


@pytest.mark.usefixtures("untouched")
def test_other_slices_are_refused_and_nothing_is_changed(first: Stack, tmp_path: Path) -> None:
    output = shutil.copytree(first.output, tmp_path / "aligned")
    slices = shutil.copytree(first.source, tmp_path / "raw")
    path = slices / "img.00012.png"
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    before = state(output / "neuroglancer") | state(output / "process/records")
    changed = cli("resolve", output, "--set", f"source={slices}", "--log-dir", tmp_path / "logs-1")
    assert changed.exit_code == 65
    assert "img.00012.png has another time of writing and is not known to be the same" in changed.stderr
    path.write_bytes(data + b"?")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    longer = cli("resolve", output, "--set", f"source={slices}", "--log-dir", tmp_path / "logs-2")
    assert f"img.00012.png has {len(data) + 1:,} bytes for {len(data):,}" in longer.stderr
    assert state(output / "neuroglancer") | state(output / "process/records") == before


@pytest.mark.usefixtures("untouched")
def test_slices_that_are_appended_after_a_move_leave_the_matching_of_the_others(
    first: Stack, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    slices = shutil.copytree(first.source, home / "raw", copy_function=shutil.copyfile)
    shorter = Stack(first.source, home / "aligned", first.minz, first.maxz - 2)
    shorter.run_here(**ALL_OUTPUTS)
    kept = home / "aligned/process/records/align/8-15.json"
    before = kept.stat().st_mtime_ns
    Stack(slices, home / "aligned", first.minz, first.maxz).run_here(**ALL_OUTPUTS)
    assert kept.stat().st_mtime_ns == before
    is_whole(home / "aligned")


@pytest.mark.usefixtures("untouched")
def test_a_folder_that_was_uploaded_to_a_bucket_goes_on_there(
    first: Stack, bucket: str, tmp_path: Path
) -> None:
    for name, folder in (("raw", first.source), ("aligned", first.output)):
        below, there = open_store(str(folder)), open_store(f"gs://{bucket}/{name}")
        for stat in below.list():
            there.write(stat.key, below.read(stat.key))
    output = f"gs://{bucket}/aligned"
    is_whole(output)
    assert go_on(output, tmp_path / "logs", "--set", f"source=gs://{bucket}/raw") == NO_WORK
    is_whole(output)


def test_what_is_linked_to_and_mounted_is_one_output(first: Stack, tmp_path: Path) -> None:
    """A path through a link is another name of the same place: nothing is done again."""
    (tmp_path / "mnt").symlink_to(first.output.parent)
    is_whole(tmp_path / "mnt/aligned")
    assert go_on(tmp_path / "mnt/aligned", tmp_path / "logs") == NO_WORK
    is_whole(first.output)
