"""The arithmetic covers everything, once."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
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
    halved,
    halvings_of_levels,
    pyramid_passes,
    slab_depth,
    spans,
)

SIDE = st.integers(1, 20_000)
SIZE = st.tuples(SIDE, SIDE, SIDE)
VOXEL = st.tuples(*[st.sampled_from([1.0, 2.0, 3.7, 4.0, 15.0, 40.0])] * 3)


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
def test_groups_hold_the_indices_and_fit_the_fan(indices: list[int], fan: int) -> None:
    packed = group(indices, fan)
    held = [index for span in packed for index in span]
    assert held == sorted(set(held))
    assert set(indices) <= set(held)
    assert len(packed) <= fan
    longest = ceil_div(len(indices), fan)
    assert all(len(set(span) & set(indices)) <= longest for span in packed)
    runs = sum(b != a + 1 for a, b in pairwise(indices)) + 1
    if not indices or len(indices) // longest + runs <= fan:
        assert held == indices


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
def test_halvings_of_a_halved_volume_add_up(size: tuple[int, int, int], a: int, b: int) -> None:
    assert halved(halved(size, (a, 0, b)), (b, a, a)) == halved(size, (a + b, a, a + b))
    assert halved(size, (a, a, b)) == tuple(math.ceil(n / 2**k) for n, k in zip(size, (a, a, b), strict=True))


@given(SIZE, VOXEL)
def test_the_last_level_is_the_first_that_one_chunk_holds(
    size: tuple[int, int, int], voxel: tuple[float, float, float]
) -> None:
    halvings = halvings_of_levels(size, voxel)
    assert halvings[0] == (0, 0, 0)
    assert max(halved(size, halvings[-1])) <= VOXEL_CHUNK
    assert len(halvings) == 1 or max(halved(size, halvings[-2])) > VOXEL_CHUNK


@given(SIZE, st.floats(0.1, 100), st.tuples(*[st.floats(1, 1.99)] * 3))
def test_nearly_isotropic_voxels_are_halved_along_every_axis(
    size: tuple[int, int, int], side: float, ratios: tuple[float, float, float]
) -> None:
    x, y, z = (side * ratio for ratio in ratios)
    assert halvings_of_levels(size, (x, y, z)) == tuple(
        (k, k, k) for k in range(len(halvings_of_levels(size)))
    )


@given(SIZE, VOXEL)
def test_the_longest_side_of_a_voxel_is_not_lengthened_before_the_others_come_near(
    size: tuple[int, int, int], voxel: tuple[float, float, float]
) -> None:
    halvings = halvings_of_levels(size, voxel)
    for finer, coarser in pairwise(halvings):
        steps = [b - a for a, b in zip(finer, coarser, strict=True)]
        assert set(steps) <= {0, 1}
        waiting = [n for n, step in zip(halved(size, finer), steps, strict=True) if n > VOXEL_CHUNK and step]
        assert waiting  # each level brings the volume nearer to one chunk
        before = [side * 2**k for side, k in zip(voxel, finer, strict=True)]
        after = [side * 2**k for side, k in zip(voxel, coarser, strict=True)]
        # The ratio of sides never grows beyond what it was, nor beyond 2 once it is below.
        large = [i for i, n in enumerate(halved(size, finer)) if n > VOXEL_CHUNK]
        ratio_before = max(before[i] for i in large) / min(before[i] for i in large)
        ratio_after = max(after[i] for i in large) / min(after[i] for i in large)
        assert ratio_after <= max(ratio_before, 2) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("voxel", "halvings"),
    [
        ((8, 8, 8), [(0, 0, 0), (1, 1, 1), (2, 2, 2)]),
        ((4, 4, 8), [(0, 0, 0), (1, 1, 0), (2, 2, 1)]),
        ((4, 4, 7.9), [(0, 0, 0), (1, 1, 1), (2, 2, 2)]),
        ((4, 4, 40), [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 4, 1), (5, 5, 2)]),
        ((8, 8, 2), [(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 1, 3)]),
        ((2, 4, 8), [(0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 2, 1)]),
    ],
)
def test_only_the_finer_axes_are_halved_at_first(voxel, halvings) -> None:
    assert list(halvings_of_levels((30_000, 30_000, 3000), voxel)[: len(halvings)]) == halvings


def test_an_axis_that_one_chunk_holds_does_not_hold_up_the_others() -> None:
    assert halvings_of_levels((60, 60, 300), (4, 4, 4000)) == ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3))


@given(SIZE, VOXEL, st.sampled_from([4, 64]), st.integers(1, 6))
def test_passes_write_every_level_once(
    size: tuple[int, int, int], voxel: tuple[float, float, float], chunk: int, levels: int
) -> None:
    passes = pyramid_passes(size, voxel, chunk, levels)
    halvings = halvings_of_levels(size, voxel, chunk)
    written = [level for one_pass in passes for level in one_pass.levels]
    assert written == list(range(len(halvings)))
    for one_pass in passes:
        assert one_pass.size_xyz == halved(size, halvings[one_pass.base_level])
        assert one_pass.block == chunk * 2 ** (levels - 1)
        for level in one_pass.levels:
            assert one_pass.size_at_level(level) == halved(size, halvings[level])
            assert min(one_pass.block_sides(level)) >= chunk


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
    one_pass = data.draw(st.sampled_from(pyramid_passes(size, data.draw(VOXEL), chunk=4, levels_per_pass=3)))
    level = one_pass.base_level + data.draw(st.integers(0, one_pass.n_levels - 1))
    size_there = one_pass.size_at_level(level)
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
    isotropic = tuple((k, k, k) for k in range(5))
    assert pyramid_passes((520, 520, 60)) == (PyramidPass(0, (520, 520, 60), isotropic),)
    assert halvings_of_levels((1, 1, 1)) == ((0, 0, 0),)


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.int16])
def test_integers_of_every_kind_lie_in_a_span_alike(kind: type) -> None:
    assert [kind(z) in Span(3, 5) for z in (2, 3, 5, 6)] == [False, True, True, False]


@pytest.mark.parametrize("item", [4.0, np.float64(4), "4", None])
def test_what_is_no_integer_lies_in_no_span(item: object) -> None:
    assert item not in Span(3, 5)
