"""The problem of a solve: the slices, the pairs that count, and what a person has decided about them.

It is made once, from the plan and the records of `align`, and read by every part of the solve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.compose.solve.chain import neighbours_of
from components.compose.solve.limits import SOLVE, DecisionLimits, SolveLimits
from components.compose.solve.pairs import Pairs, Slices, unknown_supports
from components.compose.solve.ties import PoseFrame, Ties
from components.shared.documents.align import PairRecord
from components.shared.documents.plan import Override, Plan
from components.shared.errors import UserError

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveProblem:
    """A stack to be solved for."""

    stack: Slices
    pairs: Pairs
    """The accepted pairs, none across a cut."""
    frame: PoseFrame
    ties: Ties
    """The pairs as points in the frame."""
    cuts: tuple[int, ...]
    """First slot of each part that begins with a true step, ascending: nothing is smooth across it."""
    pins: Mapping[int, Point]
    """Given positions of the centres of some slots, in px of the frame of the solve."""
    limits: SolveLimits

    @classmethod
    def of(
        cls,
        stack: Slices,
        pairs: Pairs,
        cuts: Sequence[int] = (),
        pins: Mapping[int, Point] | None = None,
        limits: SolveLimits = SOLVE,
    ) -> SolveProblem:
        """The problem with everything that follows from its slices and pairs."""
        frame = PoseFrame.of(stack.sizes_xy)
        return cls(
            stack=stack,
            pairs=pairs,
            frame=frame,
            ties=Ties.of(pairs, stack, frame, limits),
            cuts=tuple(cuts),
            pins=pins or {},
            limits=limits,
        )


def problem_of(plan: Plan, records: Iterable[PairRecord]) -> SolveProblem:
    """The problem that a plan and the records of its pairs pose.

    With `skip_align` it has neither pairs nor decisions; with `solver: compose` only the pairs of neighbours.

    Raises:
        UserError: an override pins or joins a slice that is missing.
    """
    stack = stack_of(plan)
    if plan.config.skip_align:
        return SolveProblem.of(stack, accepted_pairs((), stack))
    cuts, pins = cuts_of(plan.overrides, stack), pins_of(plan.overrides, stack)
    pairs = overridden(accepted_pairs(records, stack), plan.overrides, stack)
    if plan.config.solver == "compose":
        pairs = neighbours_of(pairs)
    return SolveProblem.of(stack, pairs, cuts, pins)


def stack_of(plan: Plan) -> Slices:
    """The present slices of a plan."""
    return Slices(
        z=np.array([s.z for s in plan.slices], np.int64),
        sizes_xy=np.array([(s.width_px, s.height_px) for s in plan.slices], np.float64),
    )


def accepted_pairs(records: Iterable[PairRecord], stack: Slices) -> Pairs:
    """The accepted pairs of present slices as arrays, ascending."""
    slot_of = stack.slot_of
    unknown = tuple(unknown_supports(1)[0].tolist())
    accepted = sorted(
        (slot_of[r.z], slot_of[r.neighbour_z], r.matrix, r.sigma_px, r.support_px or unknown)
        for r in records
        if r.accepted and r.matrix is not None and r.z in slot_of and r.neighbour_z in slot_of
    )
    return Pairs(
        slot=np.array([slot for slot, *_ in accepted], np.int64),
        neighbour=np.array([neighbour for _, neighbour, *_ in accepted], np.int64),
        neighbour_from_slice=np.array([m for _, _, m, *_ in accepted], np.float64).reshape(-1, 3, 3),
        sigma_px=np.array([sigma for *_, sigma, _ in accepted], np.float64),
        supports_px=np.array([support for *_, support in accepted], np.float64).reshape(-1, 4),
    )


def cuts_of(overrides: Sequence[Override], stack: Slices) -> tuple[int, ...]:
    """The slots before which the overrides cut the stack; a cut at a missing slice is before the next one."""
    cuts = {int(np.searchsorted(stack.z, o.z)) for o in overrides if o.cut}
    return tuple(sorted(cuts & set(range(1, len(stack)))))


def pins_of(overrides: Sequence[Override], stack: Slices) -> dict[int, Point]:
    """The pinned centres of the overrides, by slot.

    Raises:
        UserError: a pinned slice is missing.
    """
    slot_of = stack.slot_of
    return {_present(o.z, slot_of, "pin"): o.pin for o in overrides if o.pin is not None}


def overridden(
    pairs: Pairs, overrides: Sequence[Override], stack: Slices, limits: DecisionLimits = SOLVE.decisions
) -> Pairs:
    """The pairs as the overrides have them.

    Pairs of skipped slices and those across a cut or a given transform do not count; a given transform is a
    pair.

    Raises:
        UserError: a slice that a given transform joins is missing.
    """
    slot_of, z, neighbour_z = stack.slot_of, stack.z[pairs.slot], stack.z[pairs.neighbour]
    stays = np.ones(len(pairs), np.bool_)
    for override in overrides:
        if override.skip:
            stays &= (z != override.z) & (neighbour_z != override.z)
        if override.cut or override.matrix is not None:
            stays &= (z >= override.z) | (neighbour_z < override.z)
    given = [o for o in overrides if o.matrix is not None]
    if not given:
        return pairs.chosen(stays)
    added = Pairs(
        slot=np.array([_present(o.z - 1, slot_of, "matrix") for o in given], np.int64),
        neighbour=np.array([_present(o.z, slot_of, "matrix") for o in given], np.int64),
        neighbour_from_slice=np.array([o.matrix for o in given], np.float64),
        sigma_px=np.full(len(given), limits.given_sigma_px),
        supports_px=unknown_supports(len(given)),
    )
    return pairs.chosen(stays).joined(added)


def _present(z: int, slot_of: Mapping[int, int], decision: str) -> int:
    if z not in slot_of:
        raise UserError(
            f"a slice of a '{decision}' in the overrides must be there; got slice {z}, which is missing in "
            "the stack. Remove or change that line."
        )
    return slot_of[z]
