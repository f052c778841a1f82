"""`--dry-run` of `run` and `resolve` changes nothing, and lists what the command then writes and removes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from google.cloud import storage

from pipeline.settings import Settings
from tests.builders import cli
from tests.e2e.steps import run_steps
from tests.reliability import tiny_stack

State = dict[str, tuple[int, int]]
"""Inode and time of writing of each file, by its path: a file that is written again has others."""


@dataclass
class Output:
    """A stack of a few small slices, and the output of its runs."""

    source: Path
    output: Path

    def state(self) -> State:
        files = [path for path in self.output.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    def everything(self) -> dict[str, tuple[int, int]]:
        """All files and folders around, with the times at which they were changed."""
        root = self.output.parent
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in (root, *root.rglob("*"))}

    def words(self, **config: Any) -> list[str]:
        given = {"source": self.source, "image": "img.%05d.png", "minz": 0, "maxz": 5, "output": self.output}
        return [word for key, value in (given | config).items() for word in ("--set", f"{key}={value}")]

    def run(self, **config: Any) -> None:
        image = {"image": "img.%05d.png", "minz": 0, "maxz": 5}
        run_steps(self.source, self.output, pods=Settings().pods, **image | config)

    def listed(self, *words: object) -> dict[str, set[str]]:
        """What a dry run lists, by verb; it leaves everything as it was."""
        before = self.everything()
        result = cli(*words, "--dry-run")
        assert result.exit_code == 0, result.output
        assert self.everything() == before
        assert "Nothing was changed." in result.stdout
        found: dict[str, set[str]] = {"write": set(), "replace": set(), "remove": set()}
        for line in result.stdout.splitlines():
            verb, _, uri = line.partition(" ")
            if verb in found:
                found[verb].add(uri.strip())
        return found

    def check(self, listed: dict[str, set[str]], do: Callable[[], None]) -> None:
        """Do what was listed, and compare."""
        before = self.state()
        do()
        after = self.state()
        written = {path for path in after if after[path] != before.get(path)}
        assert (listed["write"] | listed["replace"]) - listed["remove"] == written
        assert listed["replace"] <= before.keys()
        assert not listed["write"] & before.keys()
        assert before.keys() - after.keys() == listed["remove"] - listed["write"]
        assert not listed["remove"] & after.keys()


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    source = tmp_path / "source"
    tiny_stack.write_slices(str(source))
    return Output(source, tmp_path / "out")


def test_a_first_run(stack: Output) -> None:
    listed = stack.listed("run", *stack.words())
    assert len(listed["write"]) > 15
    assert not listed["replace"]
    stack.check(listed, stack.run)


def test_a_first_run_that_makes_its_buckets(bucket: str) -> None:
    tiny_stack.write_slices(f"gs://{bucket}/raw")
    config = {
        "id": "cell_7",
        "project": "test-project",
        "source": bucket,
        "image": "img.%05d.png",
        "minz": 0,
        "maxz": 5,
    }
    result = cli(
        "run", *(word for key, value in config.items() for word in ("--set", f"{key}={value}")), "--dry-run"
    )
    assert result.exit_code == 0, result.output
    assert f"write   gs://{bucket}_chunk_cell_7/8x8x8/0.shard" in result.stdout
    assert not storage.Client(project="test").bucket(f"{bucket}_chunk_cell_7").exists()


def test_a_temporary_file_that_a_killed_writer_left(stack: Output) -> None:
    stack.run()
    left = stack.output / "chunk/.fibstack-tmp-1-aa"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    listed = stack.listed("run", *stack.words())
    assert listed["remove"] == {str(left)}
    stack.check(listed, stack.run)


def test_a_run_that_is_given_again_makes_no_unit(stack: Output) -> None:
    stack.run()
    listed = stack.listed("run", *stack.words())
    assert not listed["write"]
    assert not listed["remove"]
    assert not [uri for uri in listed["replace"] if uri.endswith(".shard") or "/tmp/aligned" in uri]
    stack.check(listed, stack.run)


def test_decisions_and_settings_of_a_resolve(stack: Output, tmp_path: Path) -> None:
    stack.run()
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text("- {z: 3, skip: true}\n")
    listed = stack.listed("resolve", stack.output, "--overrides", decisions, "--set", "resolution=16")
    assert any(uri.endswith("jpeg/8x8x8/0.shard") for uri in listed["remove"])
    assert not [uri for uri in listed["replace"] if "/align/" in uri]
    changes = {
        "overrides": str(decisions),
        "resolution": [16, 16, 16],
        "decided": ["overrides", "resolution"],
    }
    stack.check(listed, lambda: stack.run(**changes))


def test_a_lost_shard_and_tiles_that_are_kept(stack: Output) -> None:
    stack.run(keep_tiles=True, raw_pyramid=True)
    (stack.output / "neuroglancer/raw/8x8x8/0.shard").unlink()
    listed = stack.listed("run", *stack.words(keep_tiles="true", raw_pyramid="true"))
    assert not [uri for uri in listed["write"] | listed["replace"] if "/tmp/aligned" in uri]
    stack.check(listed, lambda: stack.run(keep_tiles=True, raw_pyramid=True))


def test_outputs_that_are_no_longer_asked_for(stack: Output) -> None:
    stack.run(raw_pyramid=True, ome_zarr=True)
    listed = stack.listed("run", *stack.words())
    assert any("/ome-zarr/" in uri for uri in listed["remove"])
    assert any("/neuroglancer/raw/" in uri for uri in listed["remove"])
    stack.check(listed, stack.run)


@pytest.mark.parametrize("keep_tiles", [False, True])
def test_a_further_channel(stack: Output, keep_tiles: bool) -> None:
    stack.run(keep_tiles=keep_tiles)
    for z in range(6):
        picture = np.full((tiny_stack.SIDE_PX, tiny_stack.SIDE_PX), 40 + z, np.uint8)
        cv2.imwrite(str(stack.source / f"esb.{z:05d}.png"), picture)
    listed = stack.listed("resolve", stack.output, "--set", 'more_channels=["esb.%05d.png"]')
    assert not [uri for uri in listed["replace"] if "/align/" in uri]
    more = {"more_channels": ["esb.%05d.png"], "decided": ["more_channels"], "keep_tiles": keep_tiles}
    stack.check(listed, lambda: stack.run(**more))


@pytest.mark.parametrize("maxz", [4, 7])
def test_slices_that_are_left_out_or_appended(stack: Output, maxz: int) -> None:
    stack.run()
    stack.check(stack.listed("run", *stack.words(maxz=maxz)), lambda: stack.run(maxz=maxz))


def test_a_part_of_a_run_and_what_is_done_again(stack: Output) -> None:
    listed = stack.listed("run", *stack.words(), "--until", "align")
    assert {Path(uri).name for uri in listed["write"]} == {"plan.json", "cost.json", "0-5.json", "0-5.npz"}
    stack.run()
    again = stack.listed("run", *stack.words(), "--from", "pyramid")
    assert any(uri.endswith("/records/pyramid/0/0.json") for uri in again["replace"])
    assert any("/tmp/aligned/" in uri for uri in again["write"] & again["remove"])


def test_a_run_that_would_undo_decisions_lists_nothing(stack: Output) -> None:
    stack.run()
    stack.run(clip_limit=0, decided=["clip_limit"])
    result = cli("run", *stack.words(), "--dry-run")
    assert result.exit_code == 78
    assert result.stdout == ""
    assert "Keep it with" in result.stderr
    assert "This would change what is published" in result.stderr
