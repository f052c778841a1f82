"""The OME-Zarr volume as other programs see it: its metadata by the rules of 0.5 and 0.6, and its shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
import zarr

from components.pyramid.downsample import Voxels
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import RowShifts, Transforms
from components.shared.pictures.stack_map import StackMap
from components.shared.volume.layout import metadata_files, predicted_shards
from components.shared.volume.volume import VolumeOutput, volume_of
from components.shared.volume.zarr_shard import assemble_zarr_shard
from components.shared.work.verification import Block, check_listing, verify
from tests.builders import plan_of, transforms_of
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


def turned(z: int) -> np.ndarray:
    """An affine of a slice, another one for each."""
    return np.array([[1.0, 0.01 * z, 3.0 * z], [-0.02 * z, 0.98, 5.0], [0.0, 0.0, 1.0]])


def place(transformation: Any, point_yx: tuple[float, float]) -> list[float]:
    """A point where an affine of the specification puts it: its matrix times the column (y, x, 1)."""
    return [
        sum(a * b for a, b in zip(row, (*point_yx, 1.0), strict=True)) for row in transformation["affine"]
    ]


def scene_of(plan: Plan, transforms: Transforms) -> dict[str, Any]:
    """The attributes of the scene of a volume."""
    volume = volume_of(plan, transforms)
    found: dict[str, Any] = json.loads(metadata_files(volume, volume.outputs[-1])["zarr.json"])
    return found["attributes"]


def affines_of(scene: dict[str, Any]) -> dict[str, Any]:
    """The transformations of slices, by the name of the slice."""
    found = scene["ome"]["scene"]["coordinateTransformations"]
    return {each["input"]["name"]: each for each in found if each["type"] == "affine"}


NEWER = {"ome_zarr": True, "ome_zarr_version": "0.6"}


def test_version_0_6_is_the_same_image_below_a_scene(tmp_path: Path) -> None:
    stack, output = ome_zarr_stack(tmp_path, textured((9, 20, 32)), small=(8, 3), ome_zarr_version="0.6")
    arrays = [f"volume/{n}/zarr.json" for n in range(3)]
    files = metadata_files(stack.volume, output)
    assert list(files) == [*arrays, "zarr.json", "volume/zarr.json"]
    assert files == metadata_files(stack.volume, output)
    older, other = ome_zarr_stack(tmp_path / "older", textured((9, 20, 32)), small=(8, 3))
    assert predicted_shards(older.volume, other) == {
        key.removeprefix("volume/"): names for key, names in predicted_shards(stack.volume, output).items()
    }
    for level in range(3):
        np.testing.assert_array_equal(
            read_zarr(f"{output.uri}/volume", level), read_zarr(other.uri, level), strict=True
        )
    group = zarr.open_group(f"{output.uri}/volume", mode="r")
    (new,) = group.attrs["ome"]["multiscales"]  # type: ignore[index, call-overload]
    (old,) = zarr.open_group(other.uri, mode="r").attrs["ome"]["multiscales"]  # type: ignore[index, call-overload]
    ((system,),) = [new["coordinateSystems"]]
    assert system["axes"] == old["axes"]
    for dataset, before in zip(new["datasets"], old["datasets"], strict=True):
        (sequence,) = dataset["coordinateTransformations"]
        assert (sequence["input"], sequence["output"]) == (
            {"path": dataset["path"]},
            {"name": system["name"]},
        )
        assert sequence["transformations"] == before["coordinateTransformations"]


def test_the_scene_places_each_slice_where_the_volume_shows_it() -> None:
    plan = plan_of(16, 19, output="o", resolution=(4.0, 5.0, 40.0), **NEWER)
    transforms = transforms_of(plan, [turned(z) for z in range(16, 20)])
    transforms = transforms.model_copy(update={"slice_origin_xy_px": (30, 20)})
    scene = scene_of(plan, transforms)
    affines = affines_of(scene)
    assert list(affines) == ["slice 16", "slice 17", "slice 18", "slice 19"]
    first, *systems = [system["name"] for system in scene["ome"]["scene"]["coordinateSystems"]]
    assert systems == list(affines)
    identity, *_ = scene["ome"]["scene"]["coordinateTransformations"]
    assert (identity["input"], identity["output"]) == (
        {"name": "intrinsic", "path": "volume"},
        {"name": first},
    )
    moved = StackMap.of(plan, transforms).moved(np.array([[50.0, 60.0, 18.0]]), "volume")
    x, y, z = moved.xyz[0]  # another part of the program, by the map that tile warps with
    offset = volume_of(plan, transforms).voxel_offset_xyz[2]
    expected = [(z - 16 + offset) * 40.0, y * 5.0, x * 4.0]
    assert place(affines["slice 18"], (60.0, 50.0)) == pytest.approx(expected)
    assert "left_out" in scene
    assert scene["left_out"] == []


def test_the_scene_says_what_an_affine_leaves_out() -> None:
    plan = plan_of(0, 9, output="o", **NEWER)
    transforms = transforms_of(plan, replaced={4: 5})
    rows = RowShifts(first_row_px=0.0, knot_px=8.0, shifts="")
    slices = [s.model_copy(update={"rows": rows}) if s.z in (2, 3) else s for s in transforms.slices]
    # Steps along z are evened: planes 6 and 7 show slice 6, and slice 7 is left out.
    slices[7] = slices[7].model_copy(update={"shown_z": 6})
    scene = scene_of(plan, transforms.model_copy(update={"slices": tuple(slices)}))
    affines = affines_of(scene)
    assert [f"slice {z}" for z in (0, 1, 2, 3, 5, 6, 8, 9)] == list(affines)
    assert place(affines["slice 6"], (0.0, 0.0))[0] == 6 * 8.0
    assert scene["left_out"] == [
        "2 of 10 slices are not shown by the volume, and have no transformation.",
        "2 of 10 slices have rows that are shifted, too.",
        "process/transforms.json of the run has all.",
    ]


def test_channels_are_before_the_axes_of_a_slice_too() -> None:
    plan = plan_of(0, 3, n_channels=3, output="o", **NEWER)
    scene = scene_of(plan, transforms_of(plan))
    systems = scene["ome"]["scene"]["coordinateSystems"]
    assert [[axis["name"] for axis in system["axes"]] for system in systems[:2]] == [
        ["c", "z", "y", "x"],
        ["c", "y", "x"],
    ]
    affine = affines_of(scene)["slice 2"]["affine"]
    assert affine == [[1, 0, 0, 0], [0, 0, 0, 16], [0, 8, 0, 0], [0, 0, 8, 0]]


def test_the_image_is_short_however_many_slices_there_are() -> None:
    plan = plan_of(0, 13_695, output="o", **NEWER)
    volume = volume_of(plan, transforms_of(plan, [turned(z % 5) for z in range(13_696)]))
    files = metadata_files(volume, volume.outputs[-1])
    assert len(files["volume/zarr.json"]) < 10_000
    assert 3_000_000 < len(files["zarr.json"]) < 5_000_000
