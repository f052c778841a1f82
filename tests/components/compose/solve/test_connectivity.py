from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.compose.solve.connectivity import Connectivity, break_sentence, breaks, connectivity
from components.compose.solve.pairs import Pairs, unknown_supports


def pairs_of(*slots: tuple[int, int]) -> Pairs:
    found = np.array(slots, np.int64).reshape(-1, 2)
    m = len(found)
    return Pairs(
        slot=found[:, 0],
        neighbour=found[:, 1],
        neighbour_from_slice=np.tile(np.eye(3), (m, 1, 1)),
        sigma_px=np.zeros(m),
        supports_px=unknown_supports(m),
    )


def test_a_bridged_slice_is_isolated_and_the_stack_is_whole() -> None:
    found = connectivity(pairs_of((0, 1), (1, 3), (3, 4)), 5)
    assert [p.tolist() for p in found.parts] == [[0, 1, 3, 4]]
    assert found.isolated.tolist() == [False, False, True, False, False]
    assert found.is_whole(bridge=1)
    assert not found.is_whole(bridge=0)


def test_parts_are_the_connected_components_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    for n_slices in rng.integers(2, 60, 200):
        slots = rng.integers(0, n_slices, (int(rng.integers(1, n_slices)), 2))
        found = connectivity(pairs_of(*slots.tolist()), n_slices)
        graph = coo_array((np.ones(len(slots)), (slots[:, 0], slots[:, 1])), shape=(n_slices, n_slices))
        _, label = connected_components(graph, directed=False)
        parts = [np.flatnonzero(label == part).tolist() for part in range(label.max() + 1)]
        alone = [part for part in parts if len(part) == 1] if max(map(len, parts)) > 1 else []
        assert [part.tolist() for part in found.parts] == [part for part in parts if part not in alone]
        assert [[slot] for slot in np.flatnonzero(found.isolated).tolist()] == alone


def test_two_parts_are_not_whole() -> None:
    found = connectivity(pairs_of((0, 1), (2, 3)), 4)
    assert not found.is_whole(bridge=3)
    assert breaks(found, np.array([10, 11, 15, 16])) == [(11, 15)]


def test_a_long_isolated_end_is_not_whole() -> None:
    found = connectivity(pairs_of(*[(i, i + 1) for i in range(20)]), 24)
    assert found.longest_isolated_run == 3
    assert found.is_whole(bridge=3)
    assert not found.is_whole(bridge=2)


def test_the_longest_of_several_isolated_runs_counts_and_a_cut_parts_a_run() -> None:
    isolated = np.zeros(20, np.bool_)
    isolated[[2, 5, 6, 7, 10, 11, 15, 16, 17, 18, 19]] = True
    found = Connectivity(parts=(np.flatnonzero(~isolated),), isolated=isolated)
    assert found.longest_isolated_run == 5
    assert replace(found, cuts=(17,)).longest_isolated_run == 3
    isolated[[0, 1]] = True
    assert replace(found, cuts=(17,)).longest_isolated_run == 3
    assert not Connectivity(parts=(), isolated=np.zeros(3, np.bool_)).longest_isolated_run


def test_a_stack_that_is_mostly_isolated_is_not_whole() -> None:
    assert not connectivity(pairs_of((0, 1)), 5).is_whole(bridge=3)


def test_slices_without_any_pair_are_parts_not_isolated() -> None:
    found = connectivity(pairs_of(), 3)
    assert len(found.parts) == 3
    assert not found.isolated.any()
    assert connectivity(pairs_of(), 1).is_whole(bridge=0)


def test_the_sentence_names_parts_break_and_reasons() -> None:
    found = connectivity(pairs_of((0, 1), (2, 3)), 5)
    refusals = {
        (10, 15): ("rotation", "12.5 degrees, at most 5"),
        (11, 15): ("rotation", "12.0 degrees, at most 5"),
        (11, 16): ("low_ncc", ""),
        (15, 17): ("blank", ""),
    }
    sentence = break_sentence(found, np.array([10, 11, 15, 16, 17]), refusals)
    assert "2 parts (slices 10-11; slices 15-16)" in sentence
    assert "isolated slices 17" in sentence
    assert (
        "between 11 and 15 (refused pairs: turned too far in 2, 12.0 degrees, at most 5; low ncc in 1)"
        in sentence
    )
    assert "between 16 and 17 (refused pairs: blank in 1)" in sentence
