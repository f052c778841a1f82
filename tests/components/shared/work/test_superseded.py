"""Files of earlier volumes in an output: named while the next one is made, removed when it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import UserError
from components.shared.work.left import files_in_the_way, note_before_work, work_left
from components.shared.work.records import Output, Record, commit, unseal
from components.shared.work.superseded import (
    SUPERSEDED_KEY,
    note_all,
    remove_superseded,
    superseded_files,
)
from tests.components.pyramid.pyramid_builders import AlignedStack, textured

VOXELS = textured((5, 20, 150))


def finished(folder: Path, **config: Any) -> AlignedStack:
    stack = planned(folder, **config)
    stack.write_blocks()
    stack.write_info()
    remove_superseded(stack.run)
    return stack


def planned(folder: Path, **config: Any) -> AlignedStack:
    """A run that has come as far as the tiles; what is in its way is noted."""
    stack = AlignedStack(folder, VOXELS, **{"raw_pyramid": False, **config})
    superseded = superseded_files(stack.run)
    note_before_work(stack.run, work_left(stack.run, superseded), superseded)
    return stack


def shards(folder: Path) -> set[str]:
    parts = (folder / "neuroglancer", folder / "chunk", folder / "ome-zarr")
    return {p.relative_to(folder).as_posix() for part in parts for p in part.rglob("*") if p.is_file()}


def test_a_first_run_and_the_same_run_again_supersede_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        assert superseded_files(planned(tmp_path).run) == set()
        finished(tmp_path)
        assert not (tmp_path / "process" / SUPERSEDED_KEY).exists()


def test_the_earlier_volume_stays_until_the_next_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out, raw_pyramid=True)
    before = shards(out)
    planned(out, resolution=9.0)
    assert shards(out) == before
    finished(out, resolution=9.0)
    finished(tmp_path / "alone", resolution=9.0)
    assert shards(out) == shards(tmp_path / "alone")


def test_a_run_that_was_stopped_is_superseded_too(tmp_path: Path) -> None:
    """The records of the first volume are written over by the second, which never ends."""
    finished(tmp_path / "out", resolution=8.0)
    planned(tmp_path / "out", resolution=9.0).write_blocks()
    finished(tmp_path / "out", resolution=10.0)
    finished(tmp_path / "alone", resolution=10.0)
    assert shards(tmp_path / "out") == shards(tmp_path / "alone")


def test_shards_of_a_block_that_was_stopped_before_its_record_are_superseded_too(tmp_path: Path) -> None:
    stopped = planned(tmp_path / "out", resolution=9.0)
    stopped.write_blocks()
    for record in (tmp_path / "out/process/records/pyramid").rglob("*.json"):
        record.unlink()
    finished(tmp_path / "out", resolution=10.0)
    finished(tmp_path / "alone", resolution=10.0)
    assert shards(tmp_path / "out") == shards(tmp_path / "alone")


def test_what_a_third_run_needs_again_stays(tmp_path: Path) -> None:
    finished(tmp_path, resolution=8.0)
    first = shards(tmp_path)
    planned(tmp_path, resolution=9.0).write_blocks()
    finished(tmp_path, resolution=8.0)
    assert shards(tmp_path) == first


def test_records_that_are_taken_away_are_noted_before(tmp_path: Path) -> None:
    """`fibstack run --from pyramid` with another resolution."""
    stack = finished(tmp_path / "out", resolution=8.0)
    note_all(stack.process, stack.plan.locations)
    assert unseal(stack.process, "pyramid") == 1
    finished(tmp_path / "out", resolution=9.0)
    finished(tmp_path / "alone", resolution=9.0)
    assert shards(tmp_path / "out") == shards(tmp_path / "alone")


def test_only_files_of_runs_are_out_of_the_way(tmp_path: Path) -> None:
    finished(tmp_path)
    wide = tmp_path / "chunk/8x8x8/7.shard"
    wide.write_bytes(b"of somebody")
    stack = AlignedStack(tmp_path, VOXELS, raw_pyramid=False, resolution=8.0)
    (fault,) = files_in_the_way(stack.volume, superseded_files(stack.run))
    assert not fault.cured_by_retry, "the same run again would find the file again"


@pytest.mark.parametrize("root", ["", "neuroglancer", "process", "chunk/mine", "../beside"])
def test_a_record_cannot_name_what_no_run_writes(tmp_path: Path, root: str) -> None:
    out = tmp_path / "out"
    stack = finished(out)
    victim = out / root / "thesis.tex"
    victim.parent.mkdir(parents=True, exist_ok=True)
    victim.write_text("precious")
    uri = str(victim.parent.resolve())
    named = Output(uri=uri, key="thesis.tex", size_bytes=8, crc32c="00000000")
    commit(stack.process, Record(step="pyramid/5", unit="0", input_hash="", outputs=(named,)))
    finished(out, resolution=9.0)
    assert victim.read_text() == "precious"
    assert not (out / "process/records/pyramid/5/0.json").exists()


def test_a_damaged_note_is_refused_by_name(tmp_path: Path) -> None:
    stack = finished(tmp_path)
    stack.process.write(SUPERSEDED_KEY, b"{")
    with pytest.raises(UserError, match=r"superseded\.json must be a Superseded document"):
        superseded_files(stack.run)
