"""From the records of the pairs to the place of every slice, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compose.solve import chain, robust
from components.compose.solve.connectivity import CONTRADICTED, Connectivity, break_sentence, connectivity
from components.compose.solve.drift import trends_of
from components.compose.solve.pairs import Pairs, Solution, Stack
from components.compose.solve.steering import Steering, overridden, steering_of
from components.compose.solve.trend import settle
from components.compose.solve.uncertainty import Uncertainty, observed_spread, uncertainty, unknown
from components.shared.documents.align import PairRecord
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.documents.trends import Trends
from components.shared.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the slices lie, and the evidence for it."""

    stack: Stack
    pairs: Pairs
    solution: Solution
    isolated: NDArray[np.bool_]
    """[n] slots that no believed pair holds."""
    n_parts: int
    steering: Steering
    """The cuts and pins of the overrides."""
    uncertainty: Uncertainty
    trends: Trends


def place(plan: Plan, records: Iterable[PairRecord]) -> Placement:
    """Solve for the stack as the plan's configuration asks.

    A single slice without any believed pair does not stop the run as long as pairs bridge it: it is isolated,
    and another is shown in its place.

    Raises:
        UserError: the pairs leave the stack in parts, and the configuration does not allow gaps.
    """
    stack = stack_of(plan)
    if plan.config.skip_align:
        return _as_they_lie(plan.config, stack)
    by_slices = {(r.z, r.neighbour_z): r for r in records}
    steering = steering_of(plan.overrides, stack)
    pairs = overridden(accepted_pairs(by_slices.values(), stack), plan.overrides, stack)
    if plan.config.solver == "compose":
        pairs = chain.of_neighbours(pairs)
        solution = chain.compose(pairs, len(stack))
    else:
        solution = robust.solve(pairs, stack, steering.cuts)
    found = connectivity(pairs.chosen(solution.kept), len(stack), steering.cuts)
    if not found.is_whole(_bridge(plan.config)) and not plan.config.allow_gaps:
        sentence = break_sentence(found, stack.z, _refusals(by_slices, pairs, solution, stack))
        raise UserError(
            f"{sentence} in {plan.locations.source_uri}. Look at the slices there, or set allow_gaps: true: "
            "each part then goes on where the one before ends, and isolated slices are replaced."
        )
    return _placed(plan.config, stack, pairs, solution, found, steering)


def _placed(
    config: RunConfig, stack: Stack, pairs: Pairs, solution: Solution, found: Connectivity, steering: Steering
) -> Placement:
    """Apply the trend policy to a solution, and say how sure it is. A plain product is left as it is."""
    written, known, policy = solution, unknown(len(stack)), "keep"
    if config.solver == "robust" and not config.skip_align:
        policy = config.trend
        written = settle(pairs, stack, solution, steering, config)
        equations = robust.normal_equations(pairs, stack, solution, steering.cuts)
        known = uncertainty(equations, observed_spread(pairs, stack, solution), found.parts, len(stack))
    return Placement(
        stack=stack,
        pairs=pairs,
        solution=written,
        isolated=found.isolated,
        n_parts=len(found.parts),
        steering=steering,
        uncertainty=known,
        trends=trends_of(pairs, stack, solution, written, ~found.isolated, policy),
    )


def stack_of(plan: Plan) -> Stack:
    """The present slices of a plan."""
    return Stack(
        z=np.array([s.z for s in plan.slices], np.int64),
        sizes_xy=np.array([(s.width_px, s.height_px) for s in plan.slices], np.float64),
    )


def accepted_pairs(records: Iterable[PairRecord], stack: Stack) -> Pairs:
    """The accepted pairs of present slices as arrays, ascending."""
    slot_of = {z: slot for slot, z in enumerate(stack.z.tolist())}
    accepted = sorted(
        (slot_of[r.z], slot_of[r.neighbour_z], r.matrix, r.sigma_px)
        for r in records
        if r.accepted and r.matrix is not None and r.z in slot_of and r.neighbour_z in slot_of
    )
    return Pairs(
        slot=np.array([slot for slot, *_ in accepted], np.int64),
        neighbour=np.array([neighbour for _, neighbour, *_ in accepted], np.int64),
        neighbour_from_slice=np.array([m for *_, m, _ in accepted], np.float64).reshape(-1, 3, 3),
        sigma_px=np.array([sigma for *_, sigma in accepted], np.float64),
    )


def _as_they_lie(config: RunConfig, stack: Stack) -> Placement:
    n = len(stack)
    none = accepted_pairs((), stack)
    solution = Solution(
        volume_from_slice=np.tile(np.eye(3), (n, 1, 1)), weight=np.zeros(0), residual_px=np.zeros(0)
    )
    whole = Connectivity(parts=(np.arange(n),), isolated=np.zeros(n, np.bool_))
    return _placed(config, stack, none, solution, whole, Steering())


def _bridge(config: RunConfig) -> int:
    """The most isolated slices in a row that pairs reach across."""
    return 0 if config.solver == "compose" else config.neighbours - 1


def _refusals(
    records: dict[tuple[int, int], PairRecord], pairs: Pairs, solution: Solution, stack: Stack
) -> dict[tuple[int, int], str]:
    z, kept = stack.z, solution.kept
    by_solve = {
        (int(z[i]), int(z[j])): CONTRADICTED
        for i, j in zip(pairs.slot[~kept], pairs.neighbour[~kept], strict=True)
    }
    by_matching = {key: r.reason or "refused" for key, r in records.items() if not r.accepted}
    return by_matching | by_solve
