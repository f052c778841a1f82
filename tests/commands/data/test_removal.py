"""`fibstack data delete` removes what a run's plan and records name, and names what stays."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands.data.main import main
from commands.data.removal import is_document
from components.shared.steps import STEPS
from components.shared.work.superseded import note_superseded, superseded_files
from docs.contracts import contract_of
from tests.builders import cli, invoke
from tests.components.pyramid.pyramid_builders import AlignedStack, textured

VOXELS = textured((5, 20, 150))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output of a run, with volumes in every format."""
    return finished(tmp_path / "out")


def finished(folder: Path, **config: Any) -> Path:
    stack = AlignedStack(folder, VOXELS, **{"ome_zarr": True, **config})
    stack.write_blocks()
    stack.write_info()
    for path in (folder / "tmp").rglob("*"):
        if path.is_file():
            path.unlink()
    return folder


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def delete(out: Path) -> str:
    result = invoke(main, "delete", out, "--yes")
    assert result.exit_code == 0, result.output
    return result.output


def make_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # a socket's name must be short


OF_SOMEBODY = {
    "a file": ("process/notes.txt", lambda path: path.write_text("mine")),
    "a file among records": ("process/records/pyramid/0/7b.json", lambda path: path.write_text("{}")),
    "a document": ("process/align/summary.json", lambda path: path.write_text("{}")),
    "a volume": ("neuroglancer/segmentation/info", lambda path: path.write_text("{}")),
    "a level": ("chunk/64x64x64/0.shard", lambda path: path.write_text("voxels")),
    "a file beside shards": ("neuroglancer/jpeg/8x8x8/notes.md", lambda path: path.write_text("x")),
    "an array": ("ome-zarr/labels/zarr.json", lambda path: path.write_text("{}")),
    "a tile": ("tmp/mine.tif", lambda path: path.write_text("x")),
    "a name with a line break": ("chunk/a\nb", lambda path: path.write_text("x")),
    "a name with a backslash": ("chunk/a\\b", lambda path: path.write_text("x")),
    "a name that is no text": ("chunk/\udcff", lambda path: path.write_text("x")),
    "a pipe": ("chunk/pipe", os.mkfifo),
    "a socket": ("process/socket", make_socket),
    "a link that leaves": ("chunk/8x8x8/link", lambda path: path.symlink_to("/etc/hostname")),
    "a link to nowhere": ("process/link", lambda path: path.symlink_to("/nowhere")),
    "a link to a folder": ("neuroglancer/link", lambda path: path.symlink_to("/etc")),
    "an empty folder": ("chunk/mine", lambda path: path.mkdir()),
}


@pytest.mark.parametrize(("key", "make"), OF_SOMEBODY.values(), ids=OF_SOMEBODY)
def test_what_no_run_has_written_stays_and_is_named(
    out: Path, key: str, make: Callable[[Path], object]
) -> None:
    place = out / key
    place.parent.mkdir(parents=True, exist_ok=True)
    make(place)
    asked = invoke(main, "delete", out, answer="n\n")
    assert asked.exit_code == 0, asked.output
    before, _, _ = asked.output.partition("Remove all this for ever?")
    assert "Stays, since no run has written it (1" in before
    assert place.is_symlink() or place.exists()
    assert "Stays, since no run has written it (1" in delete(out).partition("Removed ")[2]
    left = everything(out)
    assert {path for path in left if not (out / path).is_dir() or path == key} == {key}
    assert left <= {key, *(str(folder) for folder in Path(key).parents)}


def test_without_files_of_others_nothing_is_left_and_nothing_said_to_stay(out: Path) -> None:
    unfinished = out / "chunk/8x8x8/.fibstack-tmp-4711-0123abcd"
    unfinished.write_bytes(b"half a shard")
    assert "Stays" not in delete(out)
    assert not out.exists()


def test_shards_whose_record_is_damaged_or_was_never_written_go_too(out: Path) -> None:
    (out / "process/records/pyramid/0/0.json").write_bytes(b"{")
    delete(out)
    assert not out.exists()


def test_files_that_a_second_run_has_superseded_go_too(out: Path) -> None:
    second = AlignedStack(out, VOXELS, ome_zarr=True, resolution=9.0)
    note_superseded(second.process, superseded_files(second.run))
    second.write_blocks()
    assert (out / "chunk/8x8x8").exists()
    delete(out)
    assert not out.exists()


def test_an_output_that_was_moved_is_removed_where_it_is(out: Path, tmp_path: Path) -> None:
    moved = out.rename(tmp_path / "moved")
    stays = finished(out)
    before = everything(stays)
    delete(moved)
    assert not moved.exists()
    assert everything(stays) == before


def test_a_part_on_another_disk_is_emptied_and_its_link_stays(out: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (out / "chunk").rename(disk / "chunk")
    (out / "chunk").symlink_to(disk / "chunk")
    (disk / "thesis.tex").write_text("precious")
    said = delete(out)
    assert f"{out}/chunk (a link)" in said
    assert everything(disk) == {"chunk", "thesis.tex"}
    assert everything(out) == {"chunk"}


def test_a_plan_of_another_version_names_files_by_its_records(out: Path) -> None:
    plan = out / "process/plan.json"
    plan.write_text(plan.read_text().replace('"schema_version": 1', '"schema_version": 0'))
    (out / "chunk/8x8x8/notes.txt").write_text("mine")
    delete(out)
    assert {path for path in everything(out) if not (out / path).is_dir()} == {"chunk/8x8x8/notes.txt"}


def test_an_export_is_removed_with_all_that_it_has_written(out: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert cli("export", out, new, "--jobs", 1, "--crop", "5:,:,:").exit_code == 0
    before = everything(out)
    (new / "chunk").mkdir()
    (new / "chunk/info").write_text("mine")
    assert "chunk/info" in delete(new)
    assert everything(new) == {"chunk", "chunk/info"}
    assert everything(out) == before


def test_a_dry_run_changes_nothing_and_lists_what_is_then_removed(out: Path) -> None:
    (out / "process/notes.txt").write_text("mine")
    before = everything(out)
    listed = invoke(main, "delete", out, "--dry-run").output.splitlines()
    assert everything(out) == before
    assert f"  {out}/process/notes.txt" in listed
    removed = {line.removeprefix("remove  ") for line in listed if line.startswith("remove ")}
    files = {f"{out}/{path}" for path in before if (out / path).is_file()}
    delete(out)
    assert (
        removed == {path for path in files if not Path(path).exists()} == files - {f"{out}/process/notes.txt"}
    )
    assert f"{len(removed)} removed. Nothing was changed." in listed[-1]


def test_a_run_knows_every_file_that_a_step_writes_beside_its_records() -> None:
    patterns = {key for step in STEPS for key in contract_of(step).writes.get("process", ())}
    examples = {"<chunk>": "0-15", "<slab>": "3", "<block>": "7", "<level>": "0", "<array>": "level-4"}
    for pattern in patterns:
        key = pattern
        for name, example in examples.items():
            key = key.replace(name, example)
        assert is_document(key), pattern


def test_costs_count_objects_and_name_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "chunk").mkdir()
    (tmp_path / "chunk/info").write_text("1234567")
    os.mkfifo(tmp_path / "chunk/pipe")
    (tmp_path / "chunk/link").symlink_to("/etc/hostname")
    (tmp_path / "chunk/a\\b").write_text("123")
    result = invoke(main, "costs", tmp_path)
    assert result.exit_code == 0, result.output
    assert "2 objects      10 B" in result.output
    assert f"{tmp_path}/chunk/link (a link), {tmp_path}/chunk/pipe (a pipe)." in result.output
