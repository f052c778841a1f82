"""Decides on the correlations of thumbnails whether the costly steps may start.

How well neighbours correlate differs from stack to stack: 0.97 at 8 nm a slice, 0.3 in serial sections. So a
slice is held against what is usual around it, and the stack against the pictures as they lie. Each limit lets
through what a good run shows, some bad slices included, and stops what wastes the costly steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from components.compose.preview.correlate import NeighbourCorrelations
from components.compose.preview.limits import GATE, TISSUE, GateLimits, TissueLimits
from components.compose.solve.pairs import Floats
from components.shared.documents.plan import Plan
from components.shared.documents.preview import WorstSlice
from components.shared.documents.transforms import Transforms
from components.shared.pictures.grey_levels import SHOWN
from components.shared.series import running_median
from components.shared.text import listed

_WORST_SHOWN = 20
"""Slices that the document lists."""
_SHOWN = 5
"""Slices or places that a sentence lists before it counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShownPairs:
    """Neighbours of which both show themselves, `[n]` of z and z + 1; NaN for the others."""

    after: Floats
    """NCC as they are shown."""
    before: Floats
    """NCC as they lie."""
    usual: Floats
    """Running median of `after`."""


def failures_of(
    plan: Plan,
    transforms: Transforms,
    found: NeighbourCorrelations,
    limits: GateLimits = GATE,
) -> tuple[str, ...]:
    """Reasons against writing the volume, each a clause with figures and the numbers of the worst slices."""
    checks = (
        _median(found, limits),
        _bad_pairs(plan, _shown_pairs(transforms, found, limits), limits),
        () if plan.config.allow_gaps else _breaks(plan, transforms, found, limits),
        _replaced(plan, transforms, limits),
        _box(plan, transforms, limits),
    )
    return tuple(clause for clauses in checks for clause in clauses)


def lost_grey_levels(
    transforms: Transforms, levels: Mapping[int, float], limits: TissueLimits = TISSUE
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The reason against writing a volume whose tissue gets too few grey levels; a remark on few slices.

    Args:
        transforms: What the volume is to show.
        levels: Of 256 grey levels, those that the tissue of a slice gets, by z.
        limits: How many slices are a few.
    """
    judged = {s.z: levels[s.z] for s in transforms.slices if s.is_ordinary and s.z in levels}
    flat = {z: n_levels for z, n_levels in judged.items() if n_levels < SHOWN.fewest_levels}
    if not flat:
        return (), ()
    black, white = transforms.intensity_range
    median, named = float(np.median(list(flat.values()))), listed(list(flat), _SHOWN)
    found = (
        f"the middle half of the pixels gets {median:.1f} of 256 grey levels (median) in {len(flat)} of "
        f"{len(judged)} slices ({named}), fewer than {SHOWN.fewest_levels:.0f}, since grey levels from "
        f"{black:,.0f} to {white:,.0f} are shown"
    )
    if len(flat) <= limits.most_slices * len(judged):
        return (), (found,)
    remedy = (
        "a border, hot pixels or slices of another exposure stretch the range (leave them out with "
        "--set 'crop=[X, Y, WIDTH, HEIGHT]', or with --minz and --maxz)"
    )
    return (f"{found}: {remedy}",), ()


def worst_slices(
    first_z: int, found: NeighbourCorrelations, limits: GateLimits = GATE
) -> tuple[WorstSlice, ...]:
    """The slices that agree least with both neighbours, against the running median."""
    to_next = found.next_after
    usual = running_median(to_next, limits.window)
    to_previous, usual_to_previous = np.roll(to_next, 1), np.roll(usual, 1)
    to_previous[0] = np.nan
    ratios = np.stack([_share(to_previous, usual_to_previous), _share(to_next, usual)])
    n_known = np.isfinite(ratios).sum(0)
    badness = np.nansum(ratios, axis=0) / np.maximum(n_known, 1)
    order = [int(i) for i in np.argsort(badness, kind="stable") if n_known[i]]
    return tuple(
        WorstSlice(
            z=first_z + i,
            ncc_previous=_or_none(to_previous[i]),
            ncc_next=_or_none(to_next[i]),
            usual_ncc=float(usual[i]),
        )
        for i in order[:_WORST_SHOWN]
    )


def _shown_pairs(transforms: Transforms, found: NeighbourCorrelations, limits: GateLimits) -> _ShownPairs:
    itself = np.array([s.source_z == s.z for s in transforms.slices], np.bool_)
    counts = itself & np.append(itself[1:], False)
    after = np.where(counts, found.next_after, np.nan)
    return _ShownPairs(after=after, before=found.next_before, usual=running_median(after, limits.window))


def _median(found: NeighbourCorrelations, limits: GateLimits) -> tuple[str, ...]:
    known = np.isfinite(found.next_after)
    if not known.any():
        return ()
    after = float(np.median(found.next_after[known]))
    if after < limits.lowest_median:
        return (f"the NCC of neighbours is {after:.2f} (median), less than {limits.lowest_median}",)
    both = known & np.isfinite(found.next_before)
    before = float(np.median(found.next_before[both])) if both.any() else 0.0
    if after < limits.worse_than_before * before:
        return (
            f"the NCC of neighbours is {after:.2f} (median) after alignment, less than "
            f"{limits.worse_than_before:.0%} of the {before:.2f} as they lie",
        )
    return ()


def _bad_pairs(plan: Plan, pairs: _ShownPairs, limits: GateLimits) -> tuple[str, ...]:
    known = np.isfinite(pairs.after)
    with np.errstate(invalid="ignore"):
        far_below = pairs.after < limits.far_below * pairs.usual
        lost = pairs.after < pairs.before - limits.worse
        made_worse = lost & (pairs.after < limits.unusual * pairs.usual)
    bad = np.flatnonzero(known & (far_below | made_worse))
    n_known = int(known.sum())
    most = max(limits.few_bad_pairs, limits.most_bad_pairs * n_known)
    if len(bad) <= most:
        return ()
    by_ncc = bad[np.argsort(pairs.after[bad], kind="stable")]
    named = [f"{plan.config.minz + i}-{plan.config.minz + i + 1} ({pairs.after[i]:.2f})" for i in by_ncc]
    usual = float(np.median(pairs.after[known]))
    return (
        f"{len(bad)} of {n_known} neighbours (limit {most:.0f}) have an NCC far below what is usual here "
        f"(median {usual:.2f}, limit {limits.far_below:.0%} of it), worst {listed(named, _SHOWN)}",
    )


def _breaks(
    plan: Plan, transforms: Transforms, found: NeighbourCorrelations, limits: GateLimits
) -> tuple[str, ...]:
    """Places that nothing correlates across, unless an override says so itself."""
    n = len(transforms.slices)
    first_z = plan.config.minz
    decided = {o.z - first_z for o in plan.overrides if o.cut or o.matrix is not None}
    to_next, to_second = (
        _share(ncc, running_median(ncc, limits.window)) for ncc in (found.next_after, found.second_after)
    )
    places = [
        left
        for left in range(1, n - 2)
        if left + 1 not in decided
        and _all_below(limits.unrelated, [to_next[left], to_second[left - 1], to_second[left]])
    ]
    if not places:
        return ()
    named = [f"{first_z + left}-{first_z + left + 1} ({found.next_after[left]:.2f})" for left in places]
    return (
        f"nothing correlates across the step between slices {listed(named, _SHOWN)} (limit "
        f"{limits.unrelated:.0%} of what is usual there)",
    )


def _all_below(limit: float, shares: list[float]) -> bool:
    return all(np.isfinite(share) and share < limit for share in shares)


def _replaced(plan: Plan, transforms: Transforms, limits: GateLimits) -> tuple[str, ...]:
    """Present slices that are not shown, other than by a person's decision."""
    present, decided = {s.z for s in plan.slices}, {o.z for o in plan.overrides}
    hidden = [
        s.z for s in transforms.slices if s.z in present - decided and s.action not in ("keep", "invert")
    ]
    most = max(limits.few_replaced, limits.most_replaced * len(present))
    if len(hidden) <= most:
        return ()
    named = listed(hidden, _SHOWN)
    return (f"{len(hidden)} of {len(present)} slices (limit {most:.0f}) are not shown, such as {named}",)


def _box(plan: Plan, transforms: Transforms, limits: GateLimits) -> tuple[str, ...]:
    width, height, _ = transforms.volume_size_xyz
    widest, tallest = plan.largest_xy
    if width * height <= limits.largest_box * widest * tallest:
        return ()
    return (
        f"slices of at most {widest} x {tallest} px need a volume of {width} x {height} px (limit "
        f"{limits.largest_box:g} times the area)",
    )


def _share(values: Floats, usual: Floats) -> Floats:
    """Values over what is usual; NaN where that is 0 or less."""
    return np.divide(values, usual, out=np.full_like(values, np.nan), where=usual > 0)


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
