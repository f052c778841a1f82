"""The whole pipeline on the sample: accuracy against the exact truth, and every output read back."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from tests.e2e.stack import Stack, fibstack, said
from tests.e2e.volumes import mean_of_level, through_cloud_volume, through_tensorstore


def _levels(folder: Path) -> list[dict]:
    return json.loads((folder / "info").read_text())["scales"]


def test_neighbour_error_against_the_exact_truth(sample: Stack, figure):
    accuracy = sample.accuracy()
    figure(f"sample: {said(accuracy)}")
    assert accuracy.mean_px <= 0.15
    assert accuracy.p95_px <= 0.3
    assert accuracy.max_px <= 1.0


@pytest.mark.parametrize("name", ["neuroglancer/jpeg", "neuroglancer/raw"])
def test_levels_have_exactly_their_sizes(sample: Stack, name: str):
    size = np.array(sample.document("transforms.json")["volume_size_xyz"])
    levels = _levels(sample.output / name)
    for level, scale in enumerate(levels):
        assert scale["size"] == [int(-(-n // 2**level)) for n in size]
    assert max(levels[-1]["size"]) <= 64 < max(levels[-2]["size"])


def test_lossless_levels_are_means_of_the_level_below(sample: Stack):
    folder = sample.output / "neuroglancer/raw"
    below = through_tensorstore(folder, 0)
    for level in range(1, len(_levels(folder))):
        data = through_tensorstore(folder, level)
        np.testing.assert_array_equal(data, mean_of_level(below))
        below = data


@pytest.mark.parametrize("name", ["neuroglancer/jpeg", "neuroglancer/raw", "chunk"])
def test_two_readers_agree(sample: Stack, name: str):
    folder = sample.output / name
    for level in range(len(_levels(folder))):
        np.testing.assert_array_equal(through_tensorstore(folder, level), through_cloud_volume(folder, level))


def test_outputs_show_the_aligned_tiles(sample: Stack):
    tiles = ts.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{sample.output}/tmp/aligned/"}}
    ).result()
    aligned = tiles.read().result()
    np.testing.assert_array_equal(through_tensorstore(sample.output / "chunk", 0), aligned)
    np.testing.assert_array_equal(through_tensorstore(sample.output / "neuroglancer/raw", 0), aligned)
    jpeg = through_tensorstore(sample.output / "neuroglancer/jpeg", 0)
    assert np.abs(jpeg.astype(float) - aligned).mean() < 6


def test_neighbours_correlate_after_alignment(sample: Stack, figure):
    run = sample.document("run.json")
    assert run["complete"] is True
    figure(f"sample: {run['summary']}")


def _digests(output: Path) -> dict[str, str]:
    """Of every file that must not depend on how the run went: all but the account of the run itself."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "index.html")
    }


def test_bytes_do_not_depend_on_jobs(small_sample: Stack, run_folder: Path, figure):
    """Both runs write to the same place, since records name it."""
    output, first = run_folder / "jobs", run_folder / "jobs-1"
    options = ("--set", "raw_pyramid=true", "--set", "keep_tiles=true")
    small_sample.run(*options, "--jobs", 1, output=output)
    output.rename(first)
    small_sample.run(*options, "--jobs", 4, output=output)
    assert _digests(output) == _digests(first)
    figure(f"jobs 1 and 4: {len(_digests(first))} files, byte for byte equal")


def test_second_run_does_only_what_is_missing(small_sample: Stack):
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


def test_sixteen_bit_slices(run_folder: Path):
    source = run_folder / "sixteen"
    fibstack("sample", source, "--size", "203x170", "--slices", 8, "--bits", 16, "--seed", 5)
    stack = Stack(source, run_folder / "sixteen-volume", 0, 7)
    stack.run("--jobs", 2)
    data = through_tensorstore(stack.output / "chunk", 0)
    assert data.dtype == np.uint8
    inside = data[:, 40:-40, 40:-40]
    assert np.percentile(inside, 99) - np.percentile(inside, 1) > 100


def test_plain_composition_and_no_alignment(small_sample: Stack, run_folder: Path):
    composed = Stack(small_sample.source, run_folder / "composed", small_sample.minz, small_sample.maxz)
    composed.run("--set", "neighbours=1", "--set", "solver=compose", "--jobs", 2)
    assert composed.accuracy().max_px < 2

    still = Stack(small_sample.source, run_folder / "still", small_sample.minz, small_sample.maxz)
    still.run("--set", "skip_align=true", "--set", "clip_limit=0", "--jobs", 2)
    for entry in still.document("transforms.json")["slices"]:
        assert entry["matrix"] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    import cv2

    first = cv2.imread(str(still.source / f"img.{still.minz:05d}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(through_tensorstore(still.output / "chunk", 0)[0], first)


def test_slice_numbers_are_kept_where_levels_allow(small_sample: Stack, run_folder: Path):
    """18 slices of 203 px have 3 levels, and 8 is a multiple of 4: z = 8 is z = 8 in the viewer."""
    output = run_folder / "numbers"
    small_sample.run("--set", "skip_align=true", output=output)
    assert [scale["voxel_offset"] for scale in _levels(output / "neuroglancer/jpeg")] == [
        [0, 0, 8],
        [0, 0, 4],
        [0, 0, 2],
    ]


def test_a_failed_run_says_why_and_leaves_a_report(run_folder: Path):
    source = run_folder / "torn"
    fibstack("sample", source, "--size", "203x170", "--slices", 20, "--seed", 6)
    torn = source / "img.00017.png"
    torn.write_bytes(torn.read_bytes()[:-2000])
    stack = Stack(source, run_folder / "torn-volume", 0, 19)
    failed = stack.run("--jobs", 2, check=False)
    assert failed.returncode == 65
    assert "img.00017.png" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert (stack.output / "process/report/index.html").exists()
    assert not (stack.output / "neuroglancer/jpeg/info").exists()
    shutil.rmtree(stack.output)
