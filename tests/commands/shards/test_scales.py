"""The arithmetic of `fibstack explain-shards` against a walk over all chunks, and the command itself."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from commands.shards.main import volume_of_size
from commands.shards.scales import rows_of, shard_cells
from components.shared.errors import UserError
from components.shared.grid import SizeXyz
from components.shared.storage.store import Store
from components.shared.volume import layout as outputs
from components.shared.volume import precomputed
from tests.builders import cli


def sharded(
    size: SizeXyz,
    preshift: int,
    minishard: int,
    shard: int,
    *,
    hash_name: str = "identity",
    chunk: int = 64,
    resolution: float = 8,
) -> dict[str, Any]:
    return {
        "size": list(size),
        "resolution": [resolution] * 3,
        "chunk_sizes": [[chunk] * 3],
        "encoding": "jpeg",
        "key": "k",
        "sharding": {
            "hash": hash_name,
            "preshift_bits": preshift,
            "minishard_bits": minishard,
            "shard_bits": shard,
        },
    }


def info_of(*scales: dict[str, Any], data_type: str = "uint8", num_channels: int = 1) -> dict[str, Any]:
    return {"data_type": data_type, "num_channels": num_channels, "scales": list(scales)}


def call(*words: object) -> Result:
    return cli("explain-shards", *words)


grids = st.tuples(*[st.integers(1, 40)] * 3).filter(lambda grid: math.prod(grid) < 4000)


@given(grids, st.integers(0, 14), st.integers(-2, 2))
def test_a_shard_is_one_blocks_own_if_no_chunk_of_another_block_is_in_it(
    grid: SizeXyz, low: int, more: int
) -> None:
    bits = sum((n - 1).bit_length() for n in grid)
    top = max(0, bits - low + more)
    (row,) = rows_of(info_of(sharded([64 * n for n in grid], low, 0, top)))
    blocks = {}
    for chunk in product(*(range(n) for n in grid)):
        number = precomputed.compressed_morton(chunk, grid)
        shard = number >> low & ((1 << top) - 1)
        blocks.setdefault(shard, set()).add(tuple(n // 16 for n in chunk))
    if row.shard_xyz is not None:
        assert row.n_files == len(blocks)
        assert (row.sharing == "own") == all(len(found) == 1 for found in blocks.values())
    else:
        assert low + top < bits


@given(grids, st.integers(0, 14))
def test_the_box_of_a_shard_is_what_a_walk_finds(grid: SizeXyz, low: int) -> None:
    bits = sum((n - 1).bit_length() for n in grid)
    cells = shard_cells(grid, low, max(0, bits - low))
    for chunk in product(*(range(n) for n in grid)):
        number = precomputed.compressed_morton(chunk, grid)
        first = tuple(n // side * side for n, side in zip(chunk, cells, strict=True))
        assert number >> low == precomputed.compressed_morton(first, grid) >> low


@given(
    st.tuples(*[st.integers(1, 40_000)] * 3).map(lambda size: (size[0], size[1], size[2] // 10 + 1)),
    st.sampled_from(["8", "4,4,40", "16,16,4", "5,5,12"]),
)
def test_every_file_of_ours_is_one_blocks_own(size: SizeXyz, resolution: str) -> None:
    volume = volume_of_size(size, resolution)
    for output in volume.outputs:
        if output.format == "precomputed":
            rows = rows_of(precomputed.info(volume, output))
            assert {row.sharing for row in rows} == {"own"}


def test_files_are_the_predicted_ones() -> None:
    volume = volume_of_size((3000, 2100, 70), "8")
    for output in volume.outputs:
        predicted = outputs.predicted_shards(volume, output)
        rows = rows_of(precomputed.info(volume, output))
        assert [row.n_files for row in rows] == [len(names) for names in predicted.values()]


def test_fixed_bits_are_shared_on_a_thin_volume() -> None:
    """The usual 12 bits: the two layers of chunks use up 1 bit of z, so that a shard spans four blocks."""
    thin = rows_of(info_of(sharded((5000, 5000, 70), 12, 0, 3)))[0]
    assert (thin.sharing, thin.shard_xyz) == ("shared", (4096, 2048, 128))
    thick = rows_of(info_of(sharded((5000, 5000, 5000), 12, 0, 9)))[0]
    assert (thick.sharing, thick.shard_xyz) == ("own", (1024, 1024, 1024))


@pytest.mark.parametrize(
    "scale",
    [
        sharded((5000, 5000, 5000), 9, 0, 12, hash_name="murmurhash3_x86_128"),
        sharded((5000, 5000, 5000), 9, 3, 5),
    ],
)
def test_a_hash_or_too_few_bits_scatter(scale: dict[str, Any]) -> None:
    row = rows_of(info_of(scale))[0]
    assert (row.sharing, row.shard_xyz) == ("scattered", None)


def test_coarse_levels_belong_to_the_next_pass() -> None:
    scales = [sharded((40_000,) * 3, 0, 0, 40, resolution=8 * 2**level) for level in range(6)]
    rows = rows_of(info_of(*scales))
    assert [row.block_xyz[0] for row in rows] == [1024, 512, 256, 128, 64, 1024]


def test_bytes_count_type_and_channels() -> None:
    scale = {"size": [100, 90, 80], "resolution": [8, 8, 8], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"}
    (row,) = rows_of(info_of(scale, data_type="uint16", num_channels=3))
    assert row.raw_bytes == row.encoded_bytes == 100 * 90 * 80 * 6
    assert (row.n_files, row.bits) == (8, None)
    (row,) = rows_of(info_of(scale | {"encoding": "compressed_segmentation"}))
    assert row.encoded_bytes is None


@pytest.mark.parametrize(
    "info", [{}, {"scales": [{}], "data_type": "uint8", "num_channels": 1}, {"scales": 3}]
)
def test_what_is_no_info_is_refused(info: Any) -> None:
    with pytest.raises(UserError, match="precomputed volume"):
        rows_of(info)


def test_the_command_prints_every_output() -> None:
    result = call(5000, 5000, 70, "--resolution", "4,4,40")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.strip() for line in lines if line.startswith("OUTPUT")] == [
        "OUTPUT/neuroglancer/jpeg",
        "OUTPUT/chunk",
        "OUTPUT/neuroglancer/raw",
    ]
    (first,) = [line for line in lines if "5000x5000x70" in line and "1024x1024x128" in line]
    assert "9+0+6" in first
    assert first.endswith("one block's")
    assert lines[-1].startswith("Every file belongs to one block")
    assert max(map(len, lines)) <= 200


def test_the_command_reads_an_info(store: Store) -> None:
    info = info_of(sharded((5000, 5000, 70), 12, 0, 3))
    store.write("info", json.dumps(info).encode())
    for uri in (store.uri, f"{store.uri}/info", f"{store.uri}/"):
        result = call("--info", uri)
        assert result.exit_code == 0
        assert "several blocks'" in result.stdout
        assert "write over" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 78),
        ((10, 10), 78),
        ((10, 10, 10, 10), 78),
        ((10, 10, 10, "--info", "x"), 78),
        (("--info", "x", "--resolution", "8"), 78),
        ((10, 10, 10, "--resolution", "1,2"), 78),
        ((10, 10, 10, "--resolution", "0"), 78),
        (("--info", "absent"), 65),
        ((0, 10, 10), 2),
    ],
)
def test_mistakes_are_one_sentence(
    words: tuple[object, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*words)
    assert result.exit_code == code
    assert "Traceback" not in result.output
    if code != 2:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


def test_an_info_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "info").write_text("?")
    result = call("--info", tmp_path)
    assert result.exit_code == 65
    assert "must be JSON" in result.stderr
