"""The problem of a solve: the slices, the pairs that count, and what a person has decided about them.

It is made once, from the plan and the records of `align`, and read by every part of the solve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.compose.solve.chain import neighbours_of
from components.compose.solve.limits import ROUND_OFF, SOLVE, DecisionLimits, SolveLimits
from components.compose.solve.pairs import CORNERS, Floats, Pairs, Slices, Solution, unknown_supports
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Remounts:
    """The steps at which a sample was turned, or recorded at another magnification.

    Priors and limits of a solve are those of slices that lie alike. So it sees each part of the stack as it
    would lie had it not been turned or magnified against the part with the most slices, and its solution is
    brought back. A whole stack then stands upright and at its size as that part does.
    """

    frame_from_slice: Floats
    """[n, 3, 3] where a slice's pixels lie in the picture that the solve sees of it."""
    at: tuple[int, ...]
    """Pairs, as indices, across which a slice is turned or magnified against the nearest one before it."""

    @classmethod
    def of(cls, problem: SolveProblem) -> Remounts | None:
        """The remounts that the pairs of a problem tell; None where there are none."""
        pairs, n_slices = problem.pairs, len(problem.stack)
        linear = pairs.neighbour_from_slice[:, :2, :2]
        similar = linear[:, 0, 0] + linear[:, 1, 1] + 1j * (linear[:, 1, 0] - linear[:, 0, 1])
        similar /= 2
        limits = problem.limits.remounts
        size = np.maximum(np.abs(similar), ROUND_OFF.least_scale)
        is_step = np.abs(np.degrees(np.angle(similar))) > limits.turned_deg
        is_step |= np.abs(np.log(size)) > np.log(limits.magnified)
        if not is_step.any():
            return None
        # The pair of each slice with the nearest one before it; in this order the last one written is it.
        nearest = np.full(n_slices, -1)
        nearest[pairs.neighbour] = np.arange(len(pairs))
        part, lies = np.zeros(n_slices, np.int64), np.ones(n_slices, np.complex128)
        at = []
        for slot in range(1, n_slices):
            pair = int(nearest[slot])
            before = slot - 1 if pair < 0 else int(pairs.slot[pair])
            part[slot], lies[slot] = part[before], lies[before]
            if pair >= 0 and is_step[pair]:
                at.append(pair)
                part[slot], lies[slot] = slot, lies[before] / similar[pair]
        if not at:
            return None
        lies = lies / lies[np.bincount(part).argmax()]
        frames = np.tile(np.eye(3), (n_slices, 1, 1))
        frames[:, 0, 0] = frames[:, 1, 1] = lies.real
        frames[:, 1, 0], frames[:, 0, 1] = lies.imag, -lies.imag
        frames[:, :2, 2] = -_boxes(frames, problem.stack.sizes_xy)[0]
        return cls(frame_from_slice=frames, at=tuple(at))

    def turned_back(self, problem: SolveProblem) -> SolveProblem:
        """The problem as the solve sees it."""
        stack, pairs, frames = problem.stack, problem.pairs, self.frame_from_slice
        low, high = _boxes(frames, stack.sizes_xy)
        own, other = frames[pairs.slot], frames[pairs.neighbour]
        left, top, right, bottom = pairs.supports_px.T
        sides = np.array([[left, top], [right, top], [left, bottom], [right, bottom]]).transpose(2, 0, 1)
        sides = sides @ own[:, :2, :2].transpose(0, 2, 1) + own[:, None, :2, 2]
        turned = Pairs(
            slot=pairs.slot,
            neighbour=pairs.neighbour,
            neighbour_from_slice=other @ pairs.neighbour_from_slice @ np.linalg.inv(own),
            sigma_px=pairs.sigma_px,
            supports_px=np.concatenate([sides.min(axis=1), sides.max(axis=1)], axis=1),
        )
        seen = Slices(z=stack.z, sizes_xy=high - low + 1)
        return SolveProblem.of(seen, turned, problem.cuts, problem.pins, problem.limits)

    def brought_back(self, solution: Solution) -> Solution:
        """A solution of what the solve sees as one of the slices themselves."""
        return replace(solution, volume_from_slice=solution.volume_from_slice @ self.frame_from_slice)

    def sentences(self, problem: SolveProblem) -> list[str]:
        """Sentences that tell a person of each remount.

        Example:
            >>> from components.compose.solve.pairs import unknown_supports
            >>> pairs = Pairs(slot=np.array([0]), neighbour=np.array([1]), sigma_px=np.ones(1),
            ...               neighbour_from_slice=np.array([[[0, -1.1, 9], [1.1, 0, 0], [0, 0, 1]]]),
            ...               supports_px=unknown_supports(1))
            >>> problem = SolveProblem.of(Slices(z=np.array([4, 5]), sizes_xy=np.full((2, 2), 10.0)), pairs)
            >>> Remounts.of(problem).sentences(problem)
            ['slice 5 is turned by 90.0 degrees and magnified by 1.10 against slice 4, and placed so']
        """
        return [self._sentence(problem, pair) for pair in self.at]

    def _sentence(self, problem: SolveProblem, pair: int) -> str:
        pairs, z, limits = problem.pairs, problem.stack.z, problem.limits.remounts
        (a, b), (c, d) = pairs.neighbour_from_slice[pair, :2, :2]
        angle_deg, size = math.degrees(math.atan2(c - b, a + d)), math.hypot(a + d, c - b) / 2
        said = []
        if abs(angle_deg) > limits.turned_deg:
            said.append(f"turned by {angle_deg:.1f} degrees")
        if not 1 / limits.magnified <= size <= limits.magnified:
            said.append(f"magnified by {size:.2f}")
        against = z[pairs.slot[pair]]
        return (
            f"slice {z[pairs.neighbour[pair]]} is {' and '.join(said)} against slice {against}, and placed so"
        )


def _boxes(frames: Floats, sizes_xy: Floats) -> tuple[Floats, Floats]:
    """[n, 2] least and greatest x and y of the corner pixels of slices in their frames."""
    corners = CORNERS * (sizes_xy - 1)[:, None]
    placed = corners @ frames[:, :2, :2].transpose(0, 2, 1) + frames[:, None, :2, 2]
    return placed.min(axis=1), placed.max(axis=1)


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
