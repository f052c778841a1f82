"""Halving and the cascade of levels against tensorstore's mean."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from components.pyramid.downsample import cascade, halve
from components.shared.grid import SizeXyz

shapes = st.tuples(*[st.integers(1, 11)] * 3)
some_axes = st.tuples(*[st.booleans()] * 3)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@given(
    shape=shapes,
    seed=st.integers(0, 999),
    few_levels=st.booleans(),
    axes=some_axes,
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
def test_halving_is_tensorstores_mean_to_the_bit(
    pool: Executor, shape: SizeXyz, seed: int, few_levels: bool, axes: tuple[bool, bool, bool], dtype: Any
) -> None:
    # Few grey levels make ties between two means common.
    greatest = 2 if few_levels else np.iinfo(dtype).max
    voxels = np.random.default_rng(seed).integers(0, greatest, shape, dtype=dtype, endpoint=True)
    factors = [1 + halved for halved in reversed(axes)]
    expected = ts.downsample(ts.array(voxels), factors, "mean").read(order="C").result()
    halved = halve(voxels, pool, axes)
    assert halved.dtype == dtype
    np.testing.assert_array_equal(halved, expected)


@pytest.mark.parametrize("rows", [127, 128, 129, 400])
def test_planes_of_several_strips_are_halved_as_one(pool: Executor, rows: int) -> None:
    voxels = np.random.default_rng(rows).integers(0, 256, (2, rows, 6), dtype=np.uint8)
    expected = ts.downsample(ts.array(voxels), [2, 2, 2], method="mean").read().result()
    np.testing.assert_array_equal(halve(voxels, pool), expected)


@given(shape=shapes, n_channels=st.integers(1, 4), axes=some_axes)
def test_channels_are_halved_each_for_itself(
    pool: Executor, shape: tuple[int, ...], n_channels: int, axes: tuple[bool, bool, bool]
) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (n_channels, *shape), dtype=np.uint8)
    each = [halve(channel, pool, axes) for channel in voxels]
    np.testing.assert_array_equal(halve(voxels, pool, axes), each)


@pytest.mark.parametrize(("ones", "mean"), [(4, 0), (5, 1), (12, 2), (20, 2), (28, 4)])
def test_ties_go_to_the_even_number(pool: Executor, ones: int, mean: int) -> None:
    voxels = np.zeros(8, dtype=np.uint8)
    voxels[:4] = ones // 4
    voxels[: ones % 4] += 1
    assert halve(voxels.reshape(2, 2, 2), pool).item() == mean


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_greatest_grey_level_does_not_overflow(pool: Executor, dtype: Any) -> None:
    greatest = np.iinfo(dtype).max
    assert halve(np.full((3, 3, 3), greatest, dtype=dtype), pool).min() == greatest


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20)),
    steps=st.tuples(*[some_axes] * 3),
)
def test_a_stream_of_slabs_gives_every_level_of_the_whole(
    pool: Executor, shape: tuple[int, ...], steps: tuple[tuple[bool, bool, bool], ...]
) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    slabs = [voxels[z : z + 4] for z in range(0, len(voxels), 4)]
    found = {level: [] for level in range(5, 9)}
    for slab in cascade(slabs, 5, steps, pool):
        assert slab.layer == len(found[slab.level])
        found[slab.level].append(slab.voxels)
    expected = voxels
    for level in range(5, 9):
        assert all(len(slab) == 4 for slab in found[level][:-1])
        np.testing.assert_array_equal(np.concatenate(found[level]), expected)
        if level < 8:
            expected = halve(expected, pool, steps[level - 5])
