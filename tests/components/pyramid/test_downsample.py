from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from components.pyramid.downsample import cascade, halve

shapes = st.tuples(*[st.integers(1, 11)] * 3)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@given(shape=shapes, seed=st.integers(0, 999), few_levels=st.booleans())
def test_halving_is_tensorstores_mean_to_the_bit(pool, shape, seed, few_levels):
    # Few grey levels make ties between two means common.
    voxels = np.random.default_rng(seed).integers(0, 3 if few_levels else 256, shape, dtype=np.uint8)
    expected = ts.downsample(ts.array(voxels), [2, 2, 2], "mean").read(order="C").result()
    np.testing.assert_array_equal(halve(voxels, pool), expected)


@pytest.mark.parametrize(("ones", "mean"), [(4, 0), (5, 1), (12, 2), (20, 2), (28, 4)])
def test_ties_go_to_the_even_number(pool, ones, mean):
    voxels = np.zeros(8, dtype=np.uint8)
    voxels[:4] = ones // 4
    voxels[: ones % 4] += 1
    assert halve(voxels.reshape(2, 2, 2), pool).item() == mean


def test_greatest_grey_level_does_not_overflow(pool):
    assert halve(np.full((3, 3, 3), 255, dtype=np.uint8), pool).min() == 255


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20)))
def test_a_stream_of_slabs_gives_every_level_of_the_whole(pool, shape):
    voxels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    slabs = [voxels[z : z + 4] for z in range(0, len(voxels), 4)]
    found = {level: [] for level in range(5, 9)}
    for slab in cascade(slabs, 5, 4, pool):
        assert slab.layer == len(found[slab.level])
        found[slab.level].append(slab.voxels)
    expected = voxels
    for level in range(5, 9):
        assert all(len(slab) == 4 for slab in found[level][:-1])
        np.testing.assert_array_equal(np.concatenate(found[level]), expected)
        expected = halve(expected, pool)
