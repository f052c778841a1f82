"""Figures of each slice: its statistics and pairs, in numbers that mean the same in every stack.

A statistic of a slice counts against the slices around it: its *excess* is its distance from the nearer of
two medians, of the twelve previous slices and of the next twelve. What holds:

- A lasting change, such as resin that begins, is no excess: one of the two medians follows it at once.
- Up to five odd slices in a row are: they are fewer than half of either twelve.
- The excess in sigmas is never above excess over `least_*`: where a stack is so even that its scatter is next
  to nothing, a small difference does not become a large one.
- Multiplying all statistics of one kind by a number changes no figure that is compared as a logarithm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.compose.judge.limits import FIGURES, FigureLimits
from components.compose.solve.pairs import Flags, Floats, Integers, Pairs, Slices, Solution
from components.compose.solve.problem import SolveProblem
from components.shared.documents.align import PairRecord, SliceStatistics
from components.shared.series import SIGMA_OF_MAD, window_medians


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """Difference of a statistic of each slice to the slices around it, `[n]` each."""

    size: Floats
    """Difference in the statistic's units; natural logarithm of a ratio where logarithms are compared."""
    sigmas: Floats
    """Difference over its usual scatter in the slices around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFigures:
    """The figures of every slot, `[n]` each."""

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
    """Pairs of the slot that were examined."""
    n_accepted: Integers
    """Pairs that matching accepted."""
    n_kept: Integers
    """Accepted pairs that the solve keeps."""
    refusal: tuple[str, ...]
    """Why the closest pair of each slot that matching refused is refused; empty without one."""
    ncc: Floats
    """Mean NCC with the previous and the next slot, aligned; NaN where there is none."""
    bridge_ncc: Floats
    """NCC of the previous with the next slot, aligned; NaN where not examined."""
    inverted: Flags
    """The grey levels are inverted against most slices."""
    copied: Flags
    """The slot shows the same picture as the previous one, in the same place."""
    recorded_ncc: Floats
    """NCC with the previous slot, as both lie; NaN where there is none."""
    recorded_difference: Floats
    """Mean absolute difference from the previous slot, as both lie, in standard deviations, or NaN."""
    isolated: Flags
    """No kept pair holds the slot."""
    cut_before: Flags
    """No kept pair joins this slot, or a later one, to an earlier one."""
    steps_xy: Floats
    """[n, 2] px from the nearest earlier slot that is held; 0 for the first and for isolated ones."""
    longest_side_px: float
    """Longest side of all slices."""


def figures_of(
    problem: SolveProblem,
    solution: Solution,
    isolated: Flags,
    statistics: Mapping[int, SliceStatistics],
    records: Iterable[PairRecord],
    limits: FigureLimits = FIGURES,
) -> SliceFigures:
    """Gather the figures of every slot.

    Args:
        problem: What was solved.
        solution: Where the slices lie, and which pairs are kept.
        isolated: `[n]` whether no kept pair holds a slot.
        statistics: Statistics of each slice, by z.
        records: Every examined pair.
        limits: When a difference counts.
    """
    stack, pairs = problem.stack, problem.pairs
    own, n = [statistics[z] for z in stack.z.tolist()], len(stack)
    examined = _ExaminedPairs.of(records, stack, _contradicted(pairs, solution), limits)
    bridge = examined.at_distance(2, examined.ncc_after)
    return SliceFigures(
        statistics=own,
        **_excesses(own, limits),
        n_pairs=examined.count(np.ones(len(examined.slot), np.bool_)),
        n_accepted=examined.count(examined.accepted),
        n_kept=examined.count(examined.kept),
        refusal=examined.closest_refusals(),
        ncc=_mean_of_both(examined.at_distance(1, examined.ncc_after)),
        bridge_ncc=np.concatenate([[np.nan], bridge[: max(n - 2, 0)], [np.nan] * min(n - 1, 1)]),
        inverted=_inverted(examined),
        copied=_copied(examined, limits),
        recorded_ncc=_with_previous(examined.at_distance(1, examined.ncc_before)),
        recorded_difference=_with_previous(examined.at_distance(1, examined.difference)),
        isolated=isolated,
        cut_before=_cut_before(pairs.chosen(solution.kept), n),
        steps_xy=_steps_xy(solution.volume_from_slice, stack.sizes_xy, isolated),
        longest_side_px=float(stack.sizes_xy.max(initial=1)),
    )


def _excesses(own: Sequence[SliceStatistics], limits: FigureLimits) -> dict[str, Excess]:
    """The excess of each statistic, by name of the figure."""

    def difference(values: Sequence[float], least_sigma: float) -> Excess:
        return excess(np.array(values), least_sigma, limits)

    def ratio(values: Sequence[float], least_sigma: float) -> Excess:
        return excess(np.log(np.maximum(np.array(values), limits.least_statistic)), least_sigma, limits)

    return {
        "log_std": ratio([s.std for s in own], limits.least_log_std),
        "log_contrast": ratio([s.contrast for s in own], limits.least_log_contrast),
        "log_sharpness": ratio([s.sharpness for s in own], limits.least_log_sharpness),
        "log_noise": ratio([s.noise for s in own], limits.least_log_noise),
        "content": difference([s.content_fraction for s in own], limits.least_content),
        "zero": difference([s.zero_fraction for s in own], limits.least_zero),
        "saturated": difference([s.saturated_fraction for s in own], limits.least_saturated),
        "streaks": difference([s.streaks_along_x for s in own], limits.least_streaks),
    }


def excess(values: Floats, least_sigma: float, limits: FigureLimits = FIGURES) -> Excess:
    """Difference of each value to those around it.

    Args:
        values: `[n]`, z ascending.
        least_sigma: Scatter below this counts as this much.
        limits: How far around a slice is looked.

    Example:
        >>> found = excess(np.array([1.0] * 9 + [3.0] + [1.0] * 9), 0.1)
        >>> round(float(found.size[9]), 3), round(float(found.sigmas[9]), 3), float(found.size[3])
        (2.0, 20.0, 0.0)
    """
    unknown = np.full(limits.side, np.nan)
    before = window_medians(np.concatenate([unknown, values[:-1]]), limits.side, limits.fewest)
    after = window_medians(np.concatenate([values[1:], unknown]), limits.side, limits.fewest)
    sides = values[:, None] - np.stack([before, after], axis=1)
    sides[np.isnan(sides)] = np.inf
    nearer = np.take_along_axis(sides, np.abs(sides).argmin(axis=1)[:, None], axis=1)[:, 0]
    size = np.where(np.isfinite(nearer), nearer, 0.0)
    padding = np.full(limits.scatter_side, np.nan)
    around = np.concatenate([padding, np.abs(size), padding])
    scatter = window_medians(around, 2 * limits.scatter_side + 1, fewest=1)
    return Excess(size=size, sigmas=size / np.maximum(SIGMA_OF_MAD * scatter, least_sigma))


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExaminedPairs:
    """The records of all examined pairs as arrays, `[m]`."""

    n_slices: int
    slot: Integers
    neighbour: Integers
    accepted: Flags
    kept: Flags
    opposite: Flags
    """One of the two slices has inverted grey levels."""
    ncc_before: Floats
    ncc_after: Floats
    difference: Floats
    """Difference of the two slices as they lie, `PairRecord.difference`; NaN where it is not known."""
    refusals: tuple[str, ...]
    """Why matching refused each pair; empty where it did not."""

    @classmethod
    def of(
        cls,
        records: Iterable[PairRecord],
        stack: Slices,
        contradicted: set[tuple[int, int]],
        limits: FigureLimits,
    ) -> _ExaminedPairs:
        slot_of = stack.slot_of
        known = sorted(
            (r for r in records if r.z in slot_of and r.neighbour_z in slot_of),
            key=lambda r: (r.z, r.neighbour_z),
        )
        ends = [(slot_of[r.z], slot_of[r.neighbour_z]) for r in known]
        accepted = np.array([r.accepted for r in known], np.bool_)
        differences = [np.nan if r.difference is None else r.difference for r in known]
        return cls(
            n_slices=len(stack),
            slot=np.array([i for i, _ in ends], np.int64),
            neighbour=np.array([j for _, j in ends], np.int64),
            accepted=accepted,
            kept=accepted & np.array([end not in contradicted for end in ends], np.bool_),
            opposite=np.array([_is_opposite(r, limits) for r in known], np.bool_),
            ncc_before=np.array([r.ncc_before for r in known], np.float64),
            ncc_after=np.array([r.ncc_after for r in known], np.float64),
            difference=np.array(differences, np.float64),
            refusals=tuple("" if r.accepted else r.refusal for r in known),
        )

    def count(self, chosen: Flags) -> Integers:
        """[n] how many of the chosen pairs each slot has."""
        ends = np.concatenate([self.slot, self.neighbour])
        found: Integers = np.bincount(ends[np.tile(chosen, 2)], minlength=self.n_slices)
        return found

    def closest_refusals(self) -> tuple[str, ...]:
        """[n] why the closest refused pair of each slot is refused."""
        found = [""] * self.n_slices
        for index in np.argsort(self.neighbour - self.slot, kind="stable").tolist():
            for end in (int(self.slot[index]), int(self.neighbour[index])):
                found[end] = found[end] or self.refusals[index]
        return tuple(found)

    def at_distance(self, distance: int, values: Floats) -> Floats:
        """[n] values of the pairs (slot, slot + distance); NaN where there is none."""
        chosen = self.neighbour - self.slot == distance
        found = np.full(self.n_slices, np.nan)
        found[self.slot[chosen]] = values[chosen]
        return found


def _is_opposite(record: PairRecord, limits: FigureLimits) -> bool:
    """True of a pair whose evidence says that one of its slices has inverted grey levels."""
    if record.accepted:
        return "inverted" in record.fallback
    return record.ncc_before < limits.opposite_ncc


def _contradicted(pairs: Pairs, solution: Solution) -> set[tuple[int, int]]:
    """The pairs that the solve does not keep, as slots."""
    out = ~solution.kept
    return set(zip(pairs.slot[out].tolist(), pairs.neighbour[out].tolist(), strict=True))


def _mean_of_both(next_ncc: Floats) -> Floats:
    """[n] mean of the correlations with the previous and the next slot, from those with the next."""
    both = np.stack([np.concatenate([[np.nan], next_ncc[:-1]]), next_ncc])
    n_known = np.isfinite(both).sum(axis=0)
    total = np.where(np.isfinite(both), both, 0.0).sum(axis=0)
    result: Floats = np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)
    return result


def _with_previous(with_next: Floats) -> Floats:
    """[n] a figure of each slot with the previous one, from those with the next."""
    result: Floats = np.concatenate([[np.nan], with_next[:-1]])[: len(with_next)]
    return result


def _inverted(pairs: _ExaminedPairs) -> Flags:
    """Give each slot the sign that most pairs with earlier slots ask for; the rarer sign is inverted."""
    n_slices = pairs.n_slices
    telling = pairs.accepted | pairs.opposite
    vote = np.where(pairs.opposite, -1, 1)
    earlier: list[list[tuple[int, int]]] = [[] for _ in range(n_slices)]
    for i, j, v in zip(pairs.slot[telling], pairs.neighbour[telling], vote[telling], strict=True):
        earlier[j].append((int(i), int(v)))
    sign = np.ones(n_slices, np.int64)
    for slot, votes in enumerate(earlier):
        if sum(sign[i] * v for i, v in votes) < 0:
            sign[slot] = -1
    voted = np.zeros(n_slices, np.bool_)
    voted[pairs.slot[telling]] = voted[pairs.neighbour[telling]] = True
    rarer = -1 if 2 * np.count_nonzero(sign[voted] < 0) <= np.count_nonzero(voted) else 1
    result: Flags = voted & (sign == rarer)
    return result


def _copied(pairs: _ExaminedPairs, limits: FigureLimits) -> Flags:
    """[n] whether a slot shows the same picture as the previous one, in the same place."""
    lack = 1 - pairs.at_distance(1, pairs.ncc_after)
    usual = float(np.median(lack[np.isfinite(lack)])) if np.isfinite(lack).any() else 0.0
    ncc = pairs.at_distance(1, pairs.ncc_before)
    difference = pairs.at_distance(1, pairs.difference)
    with np.errstate(invalid="ignore"):
        correlates = (ncc > limits.copy_ncc) & (1 - ncc < limits.copy_part * usual)
        same = correlates | (difference < limits.copy_difference)
    return np.concatenate([[False], same[:-1]]) if pairs.n_slices else np.zeros(0, np.bool_)


def _cut_before(kept: Pairs, n_slices: int) -> Flags:
    """[n] whether no kept pair reaches across the place before a slot; never where there is none at all."""
    across = np.zeros(n_slices + 1, np.int64)
    np.add.at(across, kept.slot + 1, 1)
    np.add.at(across, kept.neighbour + 1, -1)
    cut: Flags = (across.cumsum()[:n_slices] == 0) & (len(kept) > 0)
    cut[:1] = False
    return cut


def _steps_xy(matrices: Floats, sizes_xy: Floats, isolated: Flags) -> Floats:
    """[n, 2] motion of each held slice's centre from the nearest earlier held one."""
    centers = (sizes_xy - 1) / 2
    moved = np.einsum("nij,nj->ni", matrices[:, :2, :2], centers) + matrices[:, :2, 2] - centers
    steps = np.zeros((len(matrices), 2))
    held = np.flatnonzero(~isolated)
    steps[held[1:]] = np.diff(moved[held], axis=0)
    return steps
