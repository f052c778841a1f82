"""The OME-Zarr volume as other programs see it: its metadata by the rules of OME-NGFF 0.5, and its shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
import zarr

from components.pyramid.downsample import Voxels
from components.shared.volume.layout import metadata_files, predicted_shards
from components.shared.volume.volume import VolumeOutput
from components.shared.volume.zarr_shard import assemble_zarr_shard
from components.shared.work.verification import Block, check_listing, verify
from tests.components.pyramid.pyramid_builders import (
    AlignedStack,
    halvings_of,
    read_zarr,
    reference_levels,
    textured,
)


def ome_zarr_stack(tmp_path: Path, voxels: Voxels, **settings: Any) -> tuple[AlignedStack, VolumeOutput]:
    stack = AlignedStack(tmp_path, voxels, ome_zarr=True, raw_pyramid=False, **settings)
    stack.write_blocks()
    stack.write_info()
    return stack, stack.volume.outputs[-1]


def check_multiscales(group: Any) -> dict[str, Any]:
    """The rules of OME-NGFF 0.5 for `multiscales`, read literally."""
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    axes = multiscale["axes"]
    assert 2 <= len(axes) <= 5
    assert len({axis["name"] for axis in axes}) == len(axes)
    types = [axis["type"] for axis in axes]
    assert types in (["space"] * 3, ["channel", *["space"] * 3])
    assert [axis["name"] for axis in axes][-3:] == ["z", "y", "x"]
    assert {axis["unit"] for axis in axes if axis["type"] == "space"} == {"nanometer"}
    shapes = []
    for dataset in multiscale["datasets"]:
        array = group[dataset["path"]]
        assert array.metadata.dimension_names == tuple(axis["name"] for axis in axes)
        scale, translation = dataset["coordinateTransformations"]
        assert (scale["type"], translation["type"]) == ("scale", "translation")
        assert len(scale["scale"]) == len(translation["translation"]) == len(axes) == array.ndim
        shapes.append(array.shape)
    assert shapes == sorted(shapes, reverse=True)  # from the finest to the coarsest
    return multiscale


@pytest.mark.parametrize(
    ("settings", "scales", "translations"),
    [
        ({}, [[8, 8, 8], [16, 16, 16], [32, 32, 32]], [[0, 0, 0], [4, 4, 4], [12, 12, 12]]),
        (
            {"resolution": (4, 4, 16), "minz": 64},
            [[16, 4, 4], [16, 8, 8], [16, 16, 16], [32, 32, 32]],
            [[1024, 0, 0], [1024, 2, 2], [1024, 6, 6], [1032, 14, 14]],
        ),
    ],
)
def test_metadata_follow_the_rules_and_place_each_level(
    tmp_path: Path, settings: dict[str, Any], scales: list[list[float]], translations: list[list[float]]
) -> None:
    _, output = ome_zarr_stack(tmp_path, textured((9, 20, 32)), small=(8, 3), **settings)
    multiscale = check_multiscales(zarr.open_group(output.uri, mode="r"))
    found = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
    assert [transformation[0]["scale"] for transformation in found] == scales
    assert [transformation[1]["translation"] for transformation in found] == translations
    assert [dataset["path"] for dataset in multiscale["datasets"]] == [str(n) for n in range(len(scales))]


def test_a_finest_level_that_is_not_written_leaves_no_gap(tmp_path: Path) -> None:
    stack, output = ome_zarr_stack(tmp_path, textured((20, 70, 300)), output_level=1)
    check_multiscales(zarr.open_group(output.uri, mode="r"))
    expected = reference_levels(stack.voxels, halvings_of(stack.volume))
    for index, level in enumerate(output.levels):
        np.testing.assert_array_equal(read_zarr(output.uri, index), expected[level])
    assert sorted(p.name for p in Path(output.uri).iterdir()) == ["0", "1", "2", "zarr.json"]
    assert list(output.levels) == [1, 2, 3]


def test_a_whole_chunk_has_the_bytes_of_the_precomputed_volume(tmp_path: Path) -> None:
    stack, output = ome_zarr_stack(tmp_path, textured((70, 64, 130)))
    lossless = stack.volume.outputs[1]
    shard = Path(output.uri, "0/c/0/0/0").read_bytes()
    (other,) = Path(lossless.uri).rglob("*.shard")
    n_chunks = 2 * 16 * 16
    index = np.frombuffer(shard[-16 * n_chunks - 4 : -4], "<u8").reshape(2, 16, 16, 2)
    start, size = index[0, 0, 0].tolist()
    assert shard[start : start + size] in other.read_bytes()


@pytest.mark.parametrize("present", [[0], [5, 2, 7], list(range(8))])
def test_every_chunk_of_a_shard_is_found_and_no_other(tmp_path: Path, present: list[int]) -> None:
    chunks = {number: bytes([number]) * (number + 1) for number in present}
    shard = b"".join(assemble_zarr_shard(chunks, 8))
    base = {"driver": "file", "path": str(tmp_path / "s")}
    (tmp_path / "s").write_bytes(shard)
    spec = {
        "driver": "zarr3_sharding_indexed",
        "base": base,
        "grid_shape": [2, 2, 2],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    }
    store = ts.KvStore.open(spec).result()
    for number in range(8):
        cell = np.array(np.unravel_index(number, (2, 2, 2)), dtype=">u4").tobytes()
        found = store.read(cell).result()
        assert found.state == ("value" if number in chunks else "missing")
        assert found.value == chunks.get(number, b"")


def test_black_chunks_and_shards_are_left_out(tmp_path: Path) -> None:
    voxels = textured((40, 20, 60))
    voxels[:, :, 8:] = 0
    stack, output = ome_zarr_stack(tmp_path, voxels, small=(8, 2))
    n_predicted = sum(len(names) for names in predicted_shards(stack.volume, output).values())
    shards = [p for p in Path(output.uri).rglob("*") if p.is_file() and p.name != "zarr.json"]
    assert 0 < len(shards) < n_predicted
    np.testing.assert_array_equal(read_zarr(output.uri, 0), voxels)


def test_the_same_shards_are_proven_as_in_the_precomputed_volumes(tmp_path: Path) -> None:
    stack, output = ome_zarr_stack(tmp_path, textured((20, 20, 60)), small=(8, 2))
    run = stack.run
    blocks = [
        Block(level, block, record, run.block_hash(level, block))
        for (level, block), record in stack.records().items()
    ]
    assert verify(stack.volume, blocks).problems == ()
    shard = next(p for p in Path(output.uri, "0/c").rglob("*") if p.is_file())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-5])
    (problem,) = verify(stack.volume, blocks).problems
    assert "differ" in problem.sentence
    shard.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])  # in the index
    (problem,) = verify(stack.volume, blocks).problems
    assert "cannot be opened" in problem.sentence
    shard.unlink()
    (problem,) = check_listing(stack.volume, output, blocks)
    assert "missing" in problem.sentence


def test_metadata_are_the_same_bytes_and_the_groups_come_last(tmp_path: Path) -> None:
    stack, output = ome_zarr_stack(tmp_path, textured((9, 20, 32)), small=(8, 3))
    files = metadata_files(stack.volume, output)
    assert list(files) == ["0/zarr.json", "1/zarr.json", "2/zarr.json", "zarr.json"]
    assert files == metadata_files(stack.volume, output)
    assert json.loads(files["0/zarr.json"])["node_type"] == "array"
