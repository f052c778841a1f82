from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from components.compose.solve.pairs import bounding_box, moved_to_origin
from components.shared.geometry import corner_points, transform_points

shifts = st.floats(-1e5, 1e5, allow_nan=False)
linear = st.floats(-0.1, 0.1)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            arrays(np.float64, (n, 2), elements=shifts),
            arrays(np.float64, (n, 2, 2), elements=linear),
            arrays(np.int64, (n, 2), elements=st.integers(1, 6000)),
        )
    )
)
def test_every_corner_is_inside_and_the_box_is_tight(
    stack: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
) -> None:
    shift, deviation, sizes = stack
    matrices = np.tile(np.eye(3), (len(shift), 1, 1))
    matrices[:, :2, :2] += deviation
    matrices[:, :2, 2] = shift
    box = bounding_box(matrices, sizes.astype(np.float64))
    placed = moved_to_origin(matrices, box)
    corners = np.concatenate(
        [transform_points(m, corner_points(*size)) for m, size in zip(placed, sizes, strict=True)]
    )
    last = np.array(box.size_xy) - 1
    assert (corners >= -1e-6).all()
    assert (corners <= last + 1e-6).all()
    assert (corners.min(axis=0) < 1).all()
    assert (corners.max(axis=0) > last - 1).all()


def test_round_off_costs_no_voxel() -> None:
    matrix = np.eye(3)
    matrix[0, 2], matrix[1, 2] = -1e-9, 1e-9
    box = bounding_box(matrix[None], np.array([[64.0, 32.0]]))
    assert box.size_xy == (64, 32)
    assert box.origin_xy == (0, 0)
