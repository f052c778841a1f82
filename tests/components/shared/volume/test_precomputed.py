from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from components.shared import grid
from components.shared.grid import SizeXyz
from components.shared.volume import precomputed
from components.shared.volume.layout import predicted_shards, shards_of_block
from components.shared.volume.volume import Volume, VolumeOutput

THIN = (5000, 5000, 70)


NEAR_ISOTROPIC = (8.0, 8.0, 4.5)


def volume_with(
    size_xyz: SizeXyz,
    *,
    voxel: Any = NEAR_ISOTROPIC,
    chunk: Any = 64,
    levels_per_pass: Any = 5,
    first_level: int = 0,
    offset: Any = (0, 0, 0),
    sides: Any = (1024, 512),
) -> Volume:
    passes = grid.pyramid_passes(size_xyz, voxel, chunk, levels_per_pass)
    n_levels = passes[-1].levels.stop
    levels = range(min(first_level, n_levels - 1), n_levels)
    return Volume(
        size_xyz=size_xyz,
        voxel_offset_xyz=offset,
        resolution_nm=voxel,
        slab_depth=4,
        passes=passes,
        outputs=(
            VolumeOutput(uri="a", encoding="jpeg", levels=levels, shard_side=sides[0], jpeg_quality=80),
            VolumeOutput(uri="b", encoding="raw", levels=levels, shard_side=sides[1]),
            VolumeOutput(uri="c", encoding="raw", levels=levels[:1], shard_side=sides[1]),
            VolumeOutput(uri="d", format="ome-zarr", encoding="raw", levels=levels, shard_side=2 * chunk),
        ),
    )


def slow_morton(position: Any, grid_xyz: SizeXyz) -> int:
    """The definition read literally: interleave, and leave out every bit that no cell of the grid sets."""
    names = [(bit, d) for bit in range(20) for d in range(3)]
    used = [(bit, d) for bit, d in names if any(cell >> bit & 1 for cell in range(grid_xyz[d]))]
    bits = "".join(str(position[d] >> bit & 1) for bit, d in used)
    return int(bits[::-1] or "0", 2)


@given(st.data(), st.tuples(*[st.integers(1, 70)] * 3))
def test_compressed_morton_leaves_out_bits_that_are_always_zero(
    data: st.DataObject, grid_xyz: SizeXyz
) -> None:
    position = tuple(data.draw(st.integers(0, n - 1)) for n in grid_xyz)
    assert precomputed.compressed_morton(position, grid_xyz) == slow_morton(position, grid_xyz)


@pytest.mark.parametrize("grid_xyz", [(1, 1, 1), (2, 4, 8), (3, 1, 5), (16, 16, 2), (7, 9, 1)])
def test_compressed_morton_gives_each_cell_its_own_number(grid_xyz: SizeXyz) -> None:
    cells = itertools.product(*map(range, grid_xyz))
    numbers = [precomputed.compressed_morton(cell, grid_xyz) for cell in cells]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < 2 ** sum((n - 1).bit_length() for n in grid_xyz)


VOXELS = [NEAR_ISOTROPIC, (4.0, 4.0, 4.0), (4.0, 4.0, 40.0), (8.0, 8.0, 1.0), (2.0, 9.0, 4.0)]
KNOWN_SIZES = [
    (1, 1, 1),
    (64, 64, 64),
    (65, 1, 1),
    (1024, 1024, 1024),
    (1025, 1024, 64),
    THIN,
    (70, 5000, 513),
    (32768, 40, 900),
    (32769, 33000, 70_001),
    (100_000, 1, 1),
]
"""Sizes that broke other writers."""


def random_volumes(n: int) -> Any:
    """From a voxel to beyond 32,768, thin ones often; half of them with voxels far from isotropic."""
    rng = np.random.default_rng(5)
    for index in range(n):
        size = tuple(int(2 ** rng.uniform(0, rng.choice([6, 10, 13, 16]))) for _ in range(3))
        yield size, VOXELS[index % 2 or rng.integers(2, len(VOXELS))]


def tensorstore_shards(volume: Volume, output: VolumeOutput, levels: Any) -> Any:
    """Shape of a shard at some levels as tensorstore reads it from `info`."""
    content = json.dumps(precomputed.info(volume, output)).encode()
    context = ts.Context()
    ts.KvStore.open({"driver": "memory"}, context=context).result()["info"] = content
    for level in levels:
        index = level - output.levels.start
        spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "memory"}, "scale_index": index}
        array = ts.open(spec, context=context, open=True).result()
        yield array.shape[:3], array.chunk_layout.write_chunk.shape[:3]


def check_shards(volume: Volume, output: VolumeOutput, levels: Any) -> None:
    """Shards are what tensorstore reads from `info`, and lie inside a block."""
    halvings = [k for p in volume.passes for k in p.halvings]
    for level, (shape, shard) in zip(levels, tensorstore_shards(volume, output, levels), strict=True):
        scale = precomputed.scale_at(volume, output, level)
        assert shape == tuple(-(-n // 2**k) for n, k in zip(volume.size_xyz, halvings[level], strict=True))
        # A dimension of 5 chunks in a shard of 16 is reported as 5, one of 17 as 16.
        within = tuple(min(scale.shard, chunks * 64) for chunks in scale.grid_xyz)
        assert shard == within, (volume.size_xyz, level)
        assert scale.shard <= min(volume.pass_at_level(level).block_sides(level))


@pytest.mark.parametrize("voxel", VOXELS)
@pytest.mark.parametrize("size", KNOWN_SIZES)
def test_shards_of_known_sizes_are_what_tensorstore_reads_from_info(size: Any, voxel: Any) -> None:
    volume = volume_with(size, voxel=voxel)
    for output in volume.outputs[:2]:
        check_shards(volume, output, output.levels)


def test_shards_of_thousands_of_volumes_are_what_tensorstore_reads_from_info() -> None:
    rng = np.random.default_rng(6)
    for size, voxel in random_volumes(3000):
        volume = volume_with(size, voxel=voxel)
        output = volume.outputs[rng.integers(2)]
        check_shards(volume, output, [output.levels[0], rng.integers(output.levels.stop).item()])


def test_a_coarse_pass_starts_with_full_shards_again() -> None:
    volume = volume_with((40_000, 40_000, 40_000))
    sides = [precomputed.scale_at(volume, volume.outputs[0], level).shard for level in range(11)]
    assert sides == [1024, 512, 256, 128, 64, 1024, 512, 256, 128, 64, 1024]


small_sizes = st.tuples(st.integers(1, 90), st.integers(1, 60), st.integers(1, 40))


@given(
    small_sizes,
    st.sampled_from(VOXELS),
    st.sampled_from([(4, 3), (2, 4), (8, 2)]),
    st.integers(0, 3),
    st.sampled_from([1, 2, 4]),
)
def test_blocks_share_no_shard_and_leave_none_out(
    size: Any, voxel: Any, layout: Any, first_level: int, fraction: float
) -> None:
    chunk, levels_per_pass = layout
    block = chunk << (levels_per_pass - 1)
    volume = volume_with(
        size, voxel=voxel, chunk=chunk, levels_per_pass=levels_per_pass,
        first_level=min(first_level, levels_per_pass - 1), sides=(block, max(chunk, block // fraction)),
    )  # fmt: skip
    for output in volume.outputs:
        owned = [
            key
            for p in volume.passes
            for number in range(p.n_blocks)
            for key in shards_of_block(volume, output, p.base_level, number)
        ]
        predicted = predicted_shards(volume, output)
        assert len(set(owned)) == len(owned)
        assert set(owned) == {f"{scale}/{name}" for scale, names in predicted.items() for name in names}


@given(small_sizes, st.sampled_from([(4, 3), (2, 4), (8, 2)]))
def test_the_chunks_of_a_shard_carry_its_number(size: Any, layout: Any) -> None:
    volume = volume_with(size, chunk=layout[0], levels_per_pass=layout[1], sides=(1024, 1024))
    scale = precomputed.scale_at(volume, volume.outputs[0], 0)
    per_side = scale.shard // scale.chunk
    for chunk_xyz in itertools.product(*map(range, scale.grid_xyz)):
        number = scale.sharding.shard_of(scale.chunk_number(chunk_xyz))
        shard_xyz = tuple(n // per_side for n in chunk_xyz)
        assert scale.shard_key(shard_xyz) == f"{scale.key}/{scale.sharding.file_name(number)}"


def test_a_finest_level_that_is_not_written_keeps_shards_inside_their_block() -> None:
    volume = volume_with((3000, 3000, 3000), first_level=2)
    jpeg, _, chunk, _ = volume.outputs
    assert [precomputed.scale_at(volume, o, 2).shard for o in (jpeg, chunk)] == [256, 256]
    assert precomputed.info(volume, chunk)["scales"][0]["key"] == "32x32x18"


def test_info_states_offset_size_and_voxel_of_each_level() -> None:
    volume = volume_with((1000, 65, 130), offset=(0, 0, 96))
    jpeg = precomputed.info(volume, volume.outputs[0])["scales"]
    assert [scale["key"] for scale in jpeg] == ["8x8x4.5", "16x16x9", "32x32x18", "64x64x36", "128x128x72"]
    assert [scale["voxel_offset"][2] for scale in jpeg] == [96, 48, 24, 12, 6]
    assert [scale["size"] for scale in jpeg][-1] == [63, 5, 9]
    assert {scale["jpeg_quality"] for scale in jpeg} == {80}
    raw = precomputed.info(volume, volume.outputs[1])["scales"][0]
    assert "jpeg_quality" not in raw
    assert raw["sharding"]["data_encoding"] == "gzip"


def test_thin_volume_gives_no_bits_to_the_levels_it_lacks() -> None:
    volume = volume_with(THIN)
    sharding = precomputed.info(volume, volume.outputs[0])["scales"][0]["sharding"]
    assert (sharding["preshift_bits"], sharding["minishard_bits"], sharding["shard_bits"]) == (9, 0, 6)


def test_more_than_4096_chunks_in_a_shard_are_split_into_minishards() -> None:
    sharding = precomputed.Sharding.of((64, 64, 64), cube_bits=5)
    assert sharding == precomputed.Sharding(shard_bits=3, minishard_bits=3, preshift_bits=12)
    assert sharding.minishard_of(0b1_101_000000000000) == 0b101
