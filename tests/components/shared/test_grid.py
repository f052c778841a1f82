"""The arithmetic covers everything, once."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.grid import (
    BLOCK,
    MAX_SLAB_BYTES,
    VOXEL_CHUNK,
    PyramidPass,
    Span,
    ceil_div,
    group,
    n_levels,
    pyramid_passes,
    size_at_level,
    slab_depth,
    spans,
)

SIDE = st.integers(1, 20_000)
SIZE = st.tuples(SIDE, SIDE, SIDE)


@given(st.integers(0, 10**12), st.integers(1, 10**6))
def test_ceil_div_is_the_least_integer_that_is_enough(a: int, b: int) -> None:
    result = ceil_div(a, b)
    assert result * b >= a
    assert (result - 1) * b < a


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_a_span_is_read_as_it_is_written(first: int, more: int) -> None:
    span = Span(first, first + more)
    assert Span.parse(str(span)) == span
    assert len(span) == more + 1
    assert first in span
    assert first + more in span
    assert first + more + 1 not in span
    assert first - 1 not in span


@pytest.mark.parametrize(
    "text", ["", "-", "5", "5-", "-5", "8-7", "1-2-3", "a-b", "1.0-2", " 1-2", "1-2\n", "-1-2", "²-³"]
)
def test_other_texts_are_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="span must"):
        Span.parse(text)


@given(st.integers(0, 1000), st.integers(0, 300), st.integers(1, 70))
def test_spans_cover_the_range_once(first: int, more: int, length: int) -> None:
    cut = spans(first, first + more, length)
    assert [z for span in cut for z in span] == list(range(first, first + more + 1))
    assert all(len(span) == length for span in cut[:-1])
    assert 1 <= len(cut[-1]) <= length


@given(st.sets(st.integers(0, 300), max_size=200).map(sorted), st.integers(1, 50))
def test_groups_hold_exactly_the_indices_and_stay_near_the_fan(indices: list[int], fan: int) -> None:
    packed = group(indices, fan)
    assert [index for span in packed for index in span] == indices
    runs = sum(b != a + 1 for a, b in pairwise(indices)) + 1
    assert len(packed) <= fan + runs - 1
    assert all(len(span) <= ceil_div(len(indices), fan) for span in packed)


@pytest.mark.parametrize("n", [1, 7, 199, 200, 201, 856, 13_696])
def test_a_range_without_gaps_fits_the_fan(n: int) -> None:
    assert len(group(range(n), fan=200)) <= 200


@given(SIDE, SIDE)
def test_a_slab_is_as_deep_as_its_bytes_allow(width: int, height: int) -> None:
    depth = slab_depth(width, height)
    assert depth in (1, 2, 4, 8, 16)
    assert depth == 1 or depth * width * height <= MAX_SLAB_BYTES
    assert depth == 16 or 2 * depth * width * height > MAX_SLAB_BYTES
    assert VOXEL_CHUNK % depth == 0  # a block of chunks begins where a slab begins


@given(SIZE, st.integers(0, 6), st.integers(0, 6))
def test_a_level_of_a_level_is_the_level_of_the_sum(size: tuple[int, int, int], a: int, b: int) -> None:
    assert size_at_level(size_at_level(size, a), b) == size_at_level(size, a + b)
    assert size_at_level(size, a) == tuple(math.ceil(n / 2**a) for n in size)


@given(SIZE)
def test_the_last_level_is_the_first_that_one_chunk_holds(size: tuple[int, int, int]) -> None:
    count = n_levels(size)
    assert max(size_at_level(size, count - 1)) <= VOXEL_CHUNK
    assert count == 1 or max(size_at_level(size, count - 2)) > VOXEL_CHUNK


@given(SIZE, st.sampled_from([4, 64]), st.integers(1, 6))
def test_passes_write_every_level_once(size: tuple[int, int, int], chunk: int, levels: int) -> None:
    passes = pyramid_passes(size, chunk, levels)
    written = [p.base_level + n for p in passes for n in range(p.n_levels)]
    assert written == list(range(n_levels(size, chunk)))
    for one_pass in passes:
        assert one_pass.size_xyz == size_at_level(size, one_pass.base_level)
        assert one_pass.block == chunk * 2 ** (levels - 1)


@given(st.tuples(*[st.integers(1, 5000)] * 3))
def test_blocks_tile_the_volume(size: tuple[int, int, int]) -> None:
    first = pyramid_passes(size)[0]
    positions = [first.block_position(index) for index in range(first.n_blocks)]
    nx, ny, nz = first.blocks_xyz
    assert positions == [(x, y, z) for z in range(nz) for y in range(ny) for x in range(nx)]
    assert all((n - 1) * BLOCK < side <= n * BLOCK for n, side in zip((nx, ny, nz), size, strict=True))


@given(st.tuples(*[st.integers(1, 60)] * 3), st.data())
def test_every_voxel_of_every_level_lies_in_one_block(
    size: tuple[int, int, int], data: st.DataObject
) -> None:
    one_pass = data.draw(st.sampled_from(pyramid_passes(size, chunk=4, levels_per_pass=3)))
    level = one_pass.base_level + data.draw(st.integers(0, one_pass.n_levels - 1))
    size_there = size_at_level(size, level)
    voxel = data.draw(st.tuples(*[st.integers(0, side - 1) for side in size_there]))
    bounds = [one_pass.block_bounds(index, level) for index in range(one_pass.n_blocks)]
    holding = [b for b in bounds if all(lo <= v < hi for lo, v, hi in zip(b[0], voxel, b[1], strict=True))]
    assert len(holding) == 1
    voxels = sum(math.prod(hi - lo for lo, hi in zip(*b, strict=True)) for b in bounds)
    assert voxels == math.prod(size_there)


def test_known_sizes() -> None:
    """The stacks of the design: FIB-SEM of 10,000^3, and a sample of 60 slices."""
    assert [(p.base_level, p.n_levels, p.n_blocks) for p in pyramid_passes((10_000, 10_000, 10_000))] == [
        (0, 5, 1000),
        (5, 4, 1),
    ]
    assert pyramid_passes((520, 520, 60)) == [PyramidPass(0, (520, 520, 60), 5)]
    assert n_levels((520, 520, 60)) == 5
    assert n_levels((1, 1, 1)) == 1
