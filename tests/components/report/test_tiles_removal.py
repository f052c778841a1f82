"""Removal of the aligned tiles: what plan and records name goes, and nothing else in tmp."""

from __future__ import annotations

import os
from pathlib import Path

from components.report.tiles_removal import remove_tiles
from components.shared.work import records
from tests.components.pyramid.pyramid_builders import AlignedStack, textured


def stack_in(folder: Path) -> AlignedStack:
    return AlignedStack(folder, textured((40, 20, 30)), slab_depth=16)


def left(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_nothing_of_a_run_is_left(tmp_path: Path) -> None:
    stack = stack_in(tmp_path)
    assert remove_tiles(stack.plan, stack.volume, stack.process) == 4
    assert not (tmp_path / "tmp").exists()


def test_files_of_others_stay(tmp_path: Path) -> None:
    stack = stack_in(tmp_path)
    mine = {"tmp/notes.txt", "tmp/aligned/notes.txt", "tmp/aligned/c/7/0/0", "tmp/aligned/c/0/mine"}
    for key in mine:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text("mine")
    os.mkfifo(tmp_path / "tmp/aligned/pipe")
    (tmp_path / "tmp/aligned/link").symlink_to("/etc/hostname")
    remove_tiles(stack.plan, stack.volume, stack.process)
    assert left(tmp_path / "tmp") == {
        *(key.removeprefix("tmp/") for key in mine), "aligned/pipe", "aligned/link",
    }  # fmt: skip


def test_a_slab_whose_record_is_damaged_goes_too(tmp_path: Path) -> None:
    stack = stack_in(tmp_path)
    stack.process.write(records.record_key("tile", "1"), b"{")
    remove_tiles(stack.plan, stack.volume, stack.process)
    assert not (tmp_path / "tmp").exists()


def test_a_record_cannot_name_a_file_outside_the_arrays(tmp_path: Path) -> None:
    stack = stack_in(tmp_path / "out")
    victims = [tmp_path / "thesis.tex", tmp_path / "out/tmp/thesis.tex"]
    for number, victim in enumerate(victims):
        victim.write_text("precious")
        named = records.Output(uri=str(victim.parent), key="thesis.tex", size_bytes=8, crc32c="00000000")
        records.commit(
            stack.process,
            records.Record(step="tile", unit=str(100 + number), input_hash="", outputs=(named,)),
        )
    remove_tiles(stack.plan, stack.volume, stack.process)
    assert all(victim.exists() for victim in victims)
