"""What the evidence says about each slice, in figures that mean the same in every stack.

A figure of a slice counts against the slices around it: its *excess* is its distance from the nearer of two
medians, of the twelve slices before and of the twelve behind. A lasting change, such as resin that begins, is
therefore no excess; up to five odd slices in a row are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compose.solve.pairs import Floats, Integers, Pairs, Solution, Stack
from components.shared.documents.align import PairRecord, SliceStatistics
from components.shared.series import SIGMA_OF_MAD, window_medians

_SIDE = 12
"""Slices before, and behind, that a slice is compared with."""
_RADIUS = 25
"""Slices on each side that tell how much the excess usually scatters."""
_FEWEST = 3
_TINY = 1e-6
_OPPOSITE_NCC = -0.3
"""A refused pair that correlates below this as it lies has one slice with its grey levels turned round."""
_COPY_NCC = 0.999
_COPY_DIFFERENCE = 0.02
_COPY_PART = 0.1
"""A copy's lack of correlation is less than this part of what is usual between neighbours."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """How a figure differs from the slices around, `[n]` each."""

    size: Floats
    """In the figure's units."""
    sigmas: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """One entry for each slot."""

    statistics: Sequence[SliceStatistics]
    log_std: Excess
    log_contrast: Excess
    log_sharpness: Excess
    log_noise: Excess
    content: Excess
    zero: Excess
    saturated: Excess
    streaks: Excess
    n_pairs: Integers
    """Pairs that were examined."""
    n_accepted: Integers
    n_kept: Integers
    """Accepted pairs that the solve believes."""
    ncc: Floats
    """Mean correlation with the slots before and behind, aligned; NaN where there is none."""
    bridge_ncc: Floats
    """Correlation of the slots before and behind with each other; NaN where not examined."""
    inverted: Flags
    """Grey levels turned round against most slices."""
    copied: Flags
    """The same picture as the slot before."""
    isolated: Flags
    cut_before: Flags
    """No believed pair joins this slot, or a later one, to an earlier one."""
    steps_xy: Floats
    """[n, 2] px from the nearest slot before that is not isolated; 0 for the first and for isolated ones."""
    longest_side_px: float


def signs_of(
    stack: Stack,
    statistics: Mapping[int, SliceStatistics],
    records: Iterable[PairRecord],
    pairs: Pairs,
    solution: Solution,
    isolated: Flags,
) -> Signs:
    """Gather the signs of every slot.

    Args:
        stack: The present slices.
        statistics: By z.
        records: Every examined pair.
        pairs: The pairs that went into the solve.
        solution: What the solve made of them.
        isolated: `[n]` slots that no believed pair holds.
    """
    own = [statistics[z] for z in stack.z.tolist()]
    evidence = _PairEvidence.of(records, stack, _contradicted(pairs, solution))
    n = len(stack)
    ends = np.concatenate([evidence.slot, evidence.neighbour])

    def count(chosen: Flags) -> Integers:
        found: Integers = np.bincount(ends[np.tile(chosen, 2)], minlength=n)
        return found

    next_ncc, bridge = (
        evidence.at_distance(1, evidence.ncc_after, n),
        evidence.at_distance(2, evidence.ncc_after, n),
    )
    return Signs(
        statistics=own,
        log_std=excess(_log([s.std for s in own]), 0.03),
        log_contrast=excess(_log([s.contrast for s in own]), 0.05),
        log_sharpness=excess(_log([s.sharpness for s in own]), 0.04),
        log_noise=excess(_log([s.noise for s in own]), 0.04),
        content=excess(np.array([s.content_fraction for s in own]), 0.03),
        zero=excess(np.array([s.zero_fraction for s in own]), 0.01),
        saturated=excess(np.array([s.saturated_fraction for s in own]), 0.01),
        streaks=excess(np.array([s.streaks_along_x for s in own]), 0.01),
        n_pairs=count(np.ones(len(evidence.slot), np.bool_)),
        n_accepted=count(evidence.accepted),
        n_kept=count(evidence.kept),
        ncc=_mean_of_both(next_ncc),
        bridge_ncc=np.concatenate([[np.nan], bridge[: max(n - 2, 0)], [np.nan] * min(n - 1, 1)]),
        inverted=_inverted(evidence, n),
        copied=_copied(evidence, n),
        isolated=isolated,
        cut_before=_cuts(pairs.chosen(solution.kept), n),
        steps_xy=_steps(solution.volume_from_slice, stack.sizes_xy, isolated),
        longest_side_px=float(stack.sizes_xy.max(initial=1)),
    )


def excess(values: Floats, least_sigma: float) -> Excess:
    """How much each value differs from those around it.

    Args:
        values: `[n]`, z ascending.
        least_sigma: Scatter below this counts as this much.

    Example:
        >>> found = excess(np.array([1.0] * 9 + [3.0] + [1.0] * 9), 0.1)
        >>> round(float(found.size[9]), 3), round(float(found.sigmas[9]), 3), float(found.size[3])
        (2.0, 20.0, 0.0)
    """
    before = window_medians(np.concatenate([np.full(_SIDE, np.nan), values[:-1]]), _SIDE, _FEWEST)
    behind = window_medians(np.concatenate([values[1:], np.full(_SIDE, np.nan)]), _SIDE, _FEWEST)
    sides = values[:, None] - np.stack([before, behind], axis=1)
    sides[np.isnan(sides)] = np.inf
    nearer = np.take_along_axis(sides, np.abs(sides).argmin(axis=1)[:, None], axis=1)[:, 0]
    size = np.where(np.isfinite(nearer), nearer, 0.0)
    padding = np.full(_RADIUS, np.nan)
    scatter = window_medians(np.concatenate([padding, np.abs(size), padding]), 2 * _RADIUS + 1, fewest=1)
    return Excess(size=size, sigmas=size / np.maximum(SIGMA_OF_MAD * scatter, least_sigma))


def _log(values: Sequence[float]) -> Floats:
    result: Floats = np.log(np.maximum(np.array(values, np.float64), _TINY))
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class _PairEvidence:
    """The records of the pairs as arrays, `[m]`."""

    slot: Integers
    neighbour: Integers
    accepted: Flags
    kept: Flags
    opposite: Flags
    """One of the slices has its grey levels turned round."""
    ncc_before: Floats
    ncc_after: Floats
    difference: Floats
    """NaN where it is not known."""

    @classmethod
    def of(
        cls, records: Iterable[PairRecord], stack: Stack, contradicted: set[tuple[int, int]]
    ) -> _PairEvidence:
        slot_of = {z: slot for slot, z in enumerate(stack.z.tolist())}
        known = sorted(
            (r for r in records if r.z in slot_of and r.neighbour_z in slot_of),
            key=lambda r: (r.z, r.neighbour_z),
        )
        ends = [(slot_of[r.z], slot_of[r.neighbour_z]) for r in known]
        accepted = np.array([r.accepted for r in known], np.bool_)
        differences = [np.nan if r.difference is None else r.difference for r in known]
        return cls(
            slot=np.array([i for i, _ in ends], np.int64),
            neighbour=np.array([j for _, j in ends], np.int64),
            accepted=accepted,
            kept=accepted & np.array([end not in contradicted for end in ends], np.bool_),
            opposite=np.array([_is_opposite(r) for r in known], np.bool_),
            ncc_before=np.array([r.ncc_before for r in known], np.float64),
            ncc_after=np.array([r.ncc_after for r in known], np.float64),
            difference=np.array(differences, np.float64),
        )

    def at_distance(self, distance: int, values: Floats, n_slices: int) -> Floats:
        """[n] values of the pairs (slot, slot + distance); NaN where there is none."""
        chosen = self.neighbour - self.slot == distance
        found = np.full(n_slices, np.nan)
        found[self.slot[chosen]] = values[chosen]
        return found


def _is_opposite(record: PairRecord) -> bool:
    if record.accepted:
        return "inverted" in record.fallback
    return record.ncc_before < _OPPOSITE_NCC


def _contradicted(pairs: Pairs, solution: Solution) -> set[tuple[int, int]]:
    out = ~solution.kept
    return set(zip(pairs.slot[out].tolist(), pairs.neighbour[out].tolist(), strict=True))


def _mean_of_both(next_ncc: Floats) -> Floats:
    """[n] mean correlation with the slots before and behind."""
    both = np.stack([np.concatenate([[np.nan], next_ncc[:-1]]), next_ncc])
    n_known = np.isfinite(both).sum(axis=0)
    total = np.where(np.isfinite(both), both, 0.0).sum(axis=0)
    result: Floats = np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)
    return result


def _inverted(evidence: _PairEvidence, n_slices: int) -> Flags:
    """Give each slot the sign that most pairs with earlier slots ask for; the rarer sign is inverted."""
    telling = evidence.accepted | evidence.opposite
    vote = np.where(evidence.opposite, -1, 1)
    earlier: list[list[tuple[int, int]]] = [[] for _ in range(n_slices)]
    for i, j, v in zip(evidence.slot[telling], evidence.neighbour[telling], vote[telling], strict=True):
        earlier[j].append((int(i), int(v)))
    sign = np.ones(n_slices, np.int64)
    for slot, votes in enumerate(earlier):
        if sum(sign[i] * v for i, v in votes) < 0:
            sign[slot] = -1
    voted = np.zeros(n_slices, np.bool_)
    voted[evidence.slot[telling]] = voted[evidence.neighbour[telling]] = True
    rarer = -1 if 2 * np.count_nonzero(sign[voted] < 0) <= np.count_nonzero(voted) else 1
    result: Flags = voted & (sign == rarer)
    return result


def _copied(evidence: _PairEvidence, n_slices: int) -> Flags:
    """[n] slots that show the same picture as the slot before, in the same place."""
    lack = 1 - evidence.at_distance(1, evidence.ncc_after, n_slices)
    usual = float(np.median(lack[np.isfinite(lack)])) if np.isfinite(lack).any() else 0.0
    ncc = evidence.at_distance(1, evidence.ncc_before, n_slices)
    difference = evidence.at_distance(1, evidence.difference, n_slices)
    with np.errstate(invalid="ignore"):
        same = (ncc > _COPY_NCC) & (1 - ncc < _COPY_PART * usual) | (difference < _COPY_DIFFERENCE)
    return np.concatenate([[False], same[:-1]]) if n_slices else np.zeros(0, np.bool_)


def _cuts(believed: Pairs, n_slices: int) -> Flags:
    """[n] whether no believed pair reaches across the place before a slot; never without any pairs."""
    across = np.zeros(n_slices + 1, np.int64)
    np.add.at(across, believed.slot + 1, 1)
    np.add.at(across, believed.neighbour + 1, -1)
    cut: Flags = (across.cumsum()[:n_slices] == 0) & (len(believed) > 0)
    cut[:1] = False
    return cut


def _steps(matrices: Floats, sizes_xy: Floats, isolated: Flags) -> Floats:
    centers = (sizes_xy - 1) / 2
    moved = np.einsum("nij,nj->ni", matrices[:, :2, :2], centers) + matrices[:, :2, 2] - centers
    steps = np.zeros((len(matrices), 2))
    held = np.flatnonzero(~isolated)
    steps[held[1:]] = np.diff(moved[held], axis=0)
    return steps
