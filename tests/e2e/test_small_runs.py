"""Small runs: the same bytes however they go, only what is missing again, no alignment, a torn slice."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from tests.e2e.stack import Stack
from tests.e2e.volumes import through_tensorstore


def _digests(output: Path) -> dict[str, str]:
    """Of every file that must not depend on how the run went: all but the account of the run itself."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "index.html")
    }


def test_bytes_do_not_depend_on_jobs(
    small_sample: Stack, run_folder: Path, figure: Callable[..., None]
) -> None:
    """Both runs write to the same place, since records name it."""
    output, first = run_folder / "jobs", run_folder / "jobs-1"
    options = ("--set", "raw_pyramid=true", "--set", "keep_tiles=true")
    small_sample.run(*options, "--jobs", 1, output=output)
    output.rename(first)
    small_sample.run(*options, "--jobs", 4, output=output)
    assert _digests(output) == _digests(first)
    figure(f"jobs 1 and 4: {len(_digests(first))} files, byte for byte equal")


def test_second_run_does_only_what_is_missing(small_sample: Stack) -> None:
    first = small_sample.run("--jobs", 2)
    assert _tasks(first) == {"plan": 1, "align": 3, "compose": 1, "tile": 2, "pyramid": 1, "report": 1}
    before = _digests(small_sample.output)
    again = small_sample.run("--jobs", 2)
    assert _tasks(again) == {"plan": 1, "compose": 1, "report": 1}
    assert _digests(small_sample.output) == before

    shard = next((small_sample.output / "neuroglancer/jpeg").rglob("*.shard"))
    shard.unlink()
    mended = small_sample.run("--jobs", 2)
    assert _tasks(mended) == {"plan": 1, "compose": 1, "tile": 2, "pyramid": 1, "report": 1}
    assert _digests(small_sample.output) == before
    assert not [path for path in (small_sample.output / "tmp").rglob("*") if path.is_file()]


def _tasks(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Tasks of each step, from the summary that the run prints."""
    lines = [line.split() for line in run.stderr.splitlines()]
    start = next(index for index, words in enumerate(lines) if words[:2] == ["step", "tasks"])
    return {words[0]: int(words[1]) for words in lines[start + 1 :] if len(words) >= 5 and words[1].isdigit()}


def test_plain_composition(small_sample: Stack, run_folder: Path) -> None:
    composed = replace(small_sample, output=run_folder / "composed")
    composed.run_here(neighbours=1, solver="compose")
    assert composed.accuracy().max_px < 2


def test_without_alignment_slices_and_their_numbers_stay(small_sample: Stack, run_folder: Path) -> None:
    still = replace(small_sample, output=run_folder / "still")
    still.run_here(skip_align=True, clip_limit=0)
    for entry in still.document("transforms.json")["slices"]:
        assert entry["matrix"] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    first = cv2.imread(str(still.source / f"img.{still.minz:05d}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(through_tensorstore(still.output / "chunk", 0)[0], first)
    # 18 slices of 203 px have 3 levels, and 8 is a multiple of 4: z = 8 is z = 8 in the viewer.
    levels = json.loads((still.output / "neuroglancer/jpeg/info").read_text())["scales"]
    assert [scale["voxel_offset"] for scale in levels] == [[0, 0, 8], [0, 0, 4], [0, 0, 2]]


def test_a_failed_run_says_why_and_leaves_a_report(small_sample: Stack, run_folder: Path) -> None:
    source = run_folder / "torn"
    shutil.copytree(small_sample.source, source)
    torn = source / "img.00024.png"
    torn.write_bytes(torn.read_bytes()[:-2000])
    stack = replace(small_sample, source=source, output=run_folder / "torn-volume")
    failed = stack.run("--jobs", 2, check=False)
    assert failed.returncode == 65
    assert "img.00024.png" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert (stack.output / "process/report/index.html").exists()
    assert not (stack.output / "neuroglancer/jpeg/info").exists()
    shutil.rmtree(stack.output)
