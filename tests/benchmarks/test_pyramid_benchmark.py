"""The pyramid's benchmark reads back what it claims, and its ratios and goals are told right."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from isal import igzip

from benchmarks.pyramid.limits import LIMITS
from benchmarks.pyramid.measure import Clock, Measured
from benchmarks.pyramid.readback import check
from benchmarks.pyramid.stack import Stack, make_block, slices
from benchmarks.pyramid.table import Checked, as_markdown, limit_s, shortfalls
from benchmarks.pyramid.tiling import tile_shortfalls, tile_table
from benchmarks.pyramid.writers import WRITERS, clear, write_info

SIDE = 128


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    logging.disable(logging.INFO)
    try:
        return make_block(tmp_path_factory.mktemp("block"), SIDE)
    finally:
        logging.disable(logging.NOTSET)


def test_the_texture_is_as_hard_as_real_slices() -> None:
    chunk = np.ascontiguousarray(np.stack(list(slices(256, 64)))[:, :64, :64])
    jpeg = simplejpeg.encode_jpeg(chunk.reshape(-1, 64, 1), 80, "GRAY", "Gray")
    assert 0.18 <= len(jpeg) / chunk.size <= 0.24
    assert 0.78 <= len(igzip.compress(chunk.tobytes(), 1)) / chunk.size <= 0.86


def test_the_block_is_read_from_tiles_and_halved_exactly(stack: Stack) -> None:
    fine, coarse = (np.load(path) for path in stack.levels)
    np.testing.assert_array_equal(fine, np.stack(list(slices(SIDE, SIDE))))
    np.testing.assert_array_equal(stack.open_tiles(1).read().result(), fine)
    eights = fine.reshape(SIDE // 2, 2, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3, 5))
    np.testing.assert_array_equal(coarse, np.rint(eights))


@pytest.mark.parametrize("name", [name for name in WRITERS if name.startswith(("fibstack", "tensorstore"))])
def test_what_is_written_is_read_back_and_damage_is_seen(stack: Stack, name: str) -> None:
    clear(stack)
    volumes, write = WRITERS[name]
    write(stack, 2)
    for output in stack.volume.outputs:
        if Path(output.uri).exists():
            write_info(stack.volume, output)
    found = check(stack, volumes, exact=True)
    assert (found.difference == 0) == (volumes == ("neuroglancer/raw",))
    assert abs(found.bias) < 0.2
    for shard in (stack.output / volumes[0]).rglob("*.shard"):
        shard.unlink()
    with pytest.raises(ValueError, match="must hold what was written"):
        check(stack, volumes, exact=True)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_timed_on_all_the_data(stack: Stack, name: str) -> None:
    clock = Clock()
    n_bytes = LIMITS[name](stack, 1, clock)
    n_voxels = SIDE**3 * (1 if name.endswith(("decoder", "level 0")) else 1.125)
    low, high = {"encoder": (0.15, 0.3), "decoder": (1, 1)}.get(name.rpartition(" ")[2], (0.7, 0.9))
    assert low * n_voxels <= n_bytes <= high * n_voxels
    assert clock.cpu_s > 0


def measured(**cpu_s: float) -> dict[str, Measured]:
    names = {
        "tiles": "limit: tile decoder",
        "encoder": "limit: JPEG encoder",
        "deflate": "limit: deflate",
        "own": "fibstack, JPEG",
        "lossless": "fibstack, lossless",
        "peer": "tensorstore, lossless",
    }
    return {
        names[key]: Measured(name=names[key], wall_s=s / 2, cpu_s=s, peak_mib=900, n_bytes=10**6)
        for key, s in cpu_s.items()
    }


def test_ratios_and_goals() -> None:
    rows = measured(tiles=2, encoder=3, deflate=1, own=6, lossless=4, peer=14)
    assert limit_s("JPEG", rows) == 5
    found = {name: Checked(difference=4.25, bias=0.5) for name in rows}
    table = as_markdown(1024, rows, found)
    assert "| JPEG | fibstack | 3.0 | 6.00 | 0.00 | 1.20 |  |  | 900 | 1 | 4.25 | +0.50 |" in table
    assert "| lossless | tensorstore | 7.0 | 14.00 |  | 4.67 | 3.5 | 3.5 |" in table
    assert shortfalls(512, rows) == []
    assert shortfalls(1024, rows) == ["1024^3: fibstack, JPEG takes 900 MiB; the goal is 819"]

    slow = measured(tiles=2, encoder=3, deflate=1, own=7, lossless=5, peer=14)
    sentences = " ".join(shortfalls(512, slow))
    assert "JPEG takes 1.40 x the libraries' own CPU time" in sentences
    assert "lossless is 2.80 x as fast as tensorstore; the goal is 3" in sentences


def test_the_start_of_the_program_is_told_apart_from_the_work_on_a_block() -> None:
    rows = measured(tiles=2, encoder=3, deflate=1, own=6)
    rows["fibstack, JPEG"] = rows["fibstack, JPEG"].model_copy(update={"cpu_s": 6.5, "start_cpu_s": 0.5})
    found = {"fibstack, JPEG": Checked(difference=4.25, bias=0.5)}
    assert "| JPEG | fibstack | 3.0 | 6.50 | 0.50 | 1.20 |" in as_markdown(512, rows, found)
    assert shortfalls(512, rows) == []


def test_a_slice_is_held_against_the_fastest_code_of_each_part() -> None:
    measured = {("CLAHE", "a"): 0.5, ("warp", "a"): 9.0, ("warp", "b"): 1.5, ("older workflow", "c"): 8.0}
    table = tile_table({**measured, ("tile", "fibstack"): 3.0})
    assert "| warp: b | 1.500 | 60.0 | 0.75 |\n| **the sum** | 2.000 | 80.0 | 1.00 |" in table
    assert "| **fibstack-tile** | 3.000 | 120.0 | 1.50 |\n| - warp: a | 9.000 |" in table
    assert tile_shortfalls({**measured, ("tile", "fibstack"): 3.0}) == []
    assert "1.60 x" in tile_shortfalls({**measured, ("tile", "fibstack"): 3.2})[0]


def test_measurements_keep_their_form() -> None:
    row = measured(own=1)["fibstack, JPEG"]
    assert Measured.model_validate_json(row.model_dump_json()) == row
    assert json.loads(row.model_dump_json())["cpu_s"] == 1
