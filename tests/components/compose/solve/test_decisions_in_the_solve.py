"""Overrides in the solve: skip, cut, matrix and pin, from the plan to the placement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.compose.solve.connectivity import connectivity
from components.compose.solve.place import Placement, place
from components.compose.solve.problem import cuts_of, overridden, pins_of
from components.compose.solve.robust import smooth_bends
from components.shared.documents.align import PairRecord
from components.shared.documents.plan import Override, Plan
from components.shared.errors import UserError
from components.shared.geometry import rotation_about, transform_points
from tests.components.compose.planted_stack import Planted, about_center, all_pairs, errors_px, plant
from tests.components.compose.test_compose_main import WIDTH, pair_of, plan_in

N, FIRST_Z = 40, 10


def records_of(
    planted: Planted, refused: Callable[[int, int], bool] = lambda z, neighbour_z: False
) -> Iterator[PairRecord]:
    pairs = planted.pairs
    for i, j, matrix in zip(
        pairs.slot.tolist(), pairs.neighbour.tolist(), pairs.neighbour_from_slice, strict=True
    ):
        kept = None if refused(i + FIRST_Z, j + FIRST_Z) else matrix.tolist()
        yield pair_of(i + FIRST_Z, j + FIRST_Z, kept, 0.05)


def placed(
    tmp_path: Path,
    planted: Planted,
    *overrides: dict[str, Any],
    refused: Callable[[int, int], bool] = lambda z, neighbour_z: False,
    **config: Any,
) -> Placement:
    plan = plan_in(tmp_path, len(planted.stack), **config)
    plan = plan.model_copy(update={"overrides": tuple(Override(**o) for o in overrides)})
    plan = Plan.model_validate_json(plan.to_json())
    return place(plan, records_of(planted, refused))


def test_a_skipped_slice_takes_no_part(tmp_path: Path) -> None:
    planted = plant(N, 4, width=WIDTH, noise=False)
    found = placed(tmp_path, planted, {"z": 20, "skip": True})
    assert np.flatnonzero(found.isolated).tolist() == [10]
    assert not ((found.problem.pairs.slot == 10) | (found.problem.pairs.neighbour == 10)).any()
    good = np.arange(N) != 10
    assert errors_px(found.solution.volume_from_slice, planted.truth, WIDTH, good)[good].max() < 0.05


def test_a_cut_is_a_true_step_and_no_error(tmp_path: Path) -> None:
    """Wrong pairs across a cut count for nothing, and the parts meet where they end."""
    planted = plant(N, 4, width=WIDTH, noise=False)
    across = (planted.pairs.slot < 20) & (planted.pairs.neighbour >= 20)
    planted.pairs.neighbour_from_slice[across] = (
        rotation_about((0, 0), 0.02) @ about_center(1, WIDTH, [90.0, 9.0])[0]
    )
    found = placed(tmp_path, planted, {"z": FIRST_Z + 20, "cut": True})
    assert (found.n_parts, found.isolated.any(), found.problem.cuts) == (2, False, (20,))
    centers = [transform_points(m, [[249.5, 249.5]])[0] for m in found.solution.volume_from_slice]
    assert np.allclose(centers[19], centers[20], atol=0.05)
    for part in (slice(0, 20), slice(20, N)):
        assert errors_px(found.solution.volume_from_slice[part], planted.truth[part], WIDTH).max() < 0.1


def test_a_bad_slice_beside_a_cut_is_isolated(tmp_path: Path) -> None:
    planted = plant(N, 4, width=WIDTH, noise=False)
    found = placed(tmp_path, planted, {"z": FIRST_Z + 20, "cut": True}, {"z": FIRST_Z + 19, "skip": True})
    assert np.flatnonzero(found.isolated).tolist() == [19]


def test_a_break_that_is_not_cut_still_stops_the_run(tmp_path: Path) -> None:
    planted = plant(N, 4, width=WIDTH, noise=False)
    with pytest.raises(UserError, match="between 39 and 40") as caught:
        placed(
            tmp_path,
            planted,
            {"z": FIRST_Z + 10, "cut": True},
            refused=lambda z, neighbour_z: z < FIRST_Z + 30 <= neighbour_z,
        )
    assert "between 19 and 20" not in str(caught.value)


@pytest.mark.parametrize("solver", ["robust", "compose"])
def test_a_given_matrix_replaces_every_pair_across(tmp_path: Path, solver: str) -> None:
    planted = plant(N, 4, width=WIDTH, noise=False)
    given = rotation_about((250, 250), 0.03) @ about_center(1, WIDTH, [70.0, -30.0])[0]
    found = placed(tmp_path, planted, {"z": FIRST_Z + 20, "matrix": given.tolist()}, solver=solver)
    matrices = found.solution.volume_from_slice
    step = np.linalg.inv(matrices[20]) @ matrices[19]
    corners = [[0, 0], [499, 0], [0, 499]]
    assert np.allclose(transform_points(step, corners), transform_points(given, corners), atol=0.05)
    assert found.n_parts == 1
    assert ((found.problem.pairs.slot < 20) & (found.problem.pairs.neighbour >= 20)).sum() == 1


def test_a_pinned_slice_lies_where_it_is_pinned(tmp_path: Path) -> None:
    planted = plant(N, 4, width=WIDTH, noise=False)
    found = placed(tmp_path, planted, {"z": 15, "pin": [1000.0, -200.0]}, trend="anchor")
    center = transform_points(found.solution.volume_from_slice[5], [[249.5, 249.5]])
    assert np.allclose(center, [[1000, -200]], atol=1e-3)
    assert errors_px(found.solution.volume_from_slice, planted.truth, WIDTH).max() < 0.05


@pytest.mark.parametrize("decision", [{"pin": [0.0, 0.0]}, {"matrix": np.eye(3).tolist()}])
def test_a_missing_slice_can_be_neither_pinned_nor_joined(decision: dict[str, Any]) -> None:
    stack = plant(N, 1).stack
    stack.z[5:] += 1
    overrides = [Override(z=5, **decision)]
    decide = pins_of if "pin" in decision else lambda *given: overridden(plant(N, 1).pairs, *given)
    with pytest.raises(UserError, match="slice 5"):
        decide(overrides, stack)


def test_a_cut_at_a_missing_slice_is_before_the_next() -> None:
    stack = plant(N, 1).stack
    stack.z[5:] += 2
    assert cuts_of([Override(z=6, cut=True)], stack) == (5,)


def test_smoothness_does_not_reach_across_a_cut() -> None:
    assert smooth_bends(8, [4]).tolist() == [1, 1, 0, 0, 1, 1]
    assert smooth_bends(2, [1]).tolist() == []
    assert smooth_bends(4, [1]).tolist() == [0, 1]


def test_single_slices_between_cuts_are_parts_not_isolated() -> None:
    slot, neighbour = all_pairs(9, 2)
    pairs = plant(9, 2).pairs
    across = [(slot < cut) & (neighbour >= cut) for cut in (4, 5)]
    found = connectivity(pairs.chosen(~(across[0] | across[1])), 9, cuts=(4, 5))
    assert [part.tolist() for part in found.parts] == [[0, 1, 2, 3], [4], [5, 6, 7, 8]]
    assert not found.isolated.any()
    assert found.is_whole(bridge=0)


def test_placement_says_how_sure_it_is(tmp_path: Path) -> None:
    found = placed(tmp_path, plant(N, 4, width=WIDTH))
    known = found.uncertainty
    assert known.sigma_px.shape == known.step_sigma_px.shape == (N,)
    assert 0 < known.step_sigma_px[1:].max() < 0.3
    assert found.trends.policy == "hybrid"
