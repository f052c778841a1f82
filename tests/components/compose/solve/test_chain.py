from __future__ import annotations

import numpy as np

from components.compose.solve.chain import chained, neighbours_of
from tests.components.compose.planted_stack import plant


def test_compose_is_the_product_of_the_inverse_pairs() -> None:
    planted = plant(30, 2)
    pairs = neighbours_of(planted.pairs)
    assert pairs.slot.tolist() == list(range(29))
    found = chained(pairs, 30).volume_from_slice
    expected = np.eye(3)
    for slot in range(29):
        assert np.array_equal(found[slot], expected)
        expected = expected @ np.linalg.inv(pairs.neighbour_from_slice[slot])


def test_pairs_map_slices_onto_their_neighbours() -> None:
    planted = plant(30, 1, noise=False)
    found = chained(planted.pairs, 30).volume_from_slice
    relative = np.linalg.inv(planted.truth[0]) @ planted.truth
    assert np.allclose(found, relative, atol=1e-6)


def test_without_a_pair_a_slice_takes_the_matrix_before() -> None:
    planted = plant(6, 1)
    found = chained(planted.pairs.chosen(planted.pairs.slot != 2), 6).volume_from_slice
    assert np.array_equal(found[3], found[2])
    assert not np.array_equal(found[4], found[3])
