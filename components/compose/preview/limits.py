"""Decides on the correlations of a preview whether the costly steps may start.

How well neighbours correlate differs from stack to stack: 0.97 at 8 nm a slice, 0.3 in serial sections. So a
slice is held against what is usual around it, and the stack against the pictures as they lie. Each limit lets
through what a good run shows, some bad slices included, and stops what wastes the costly steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compose.preview.correlate import Agreement, Figures
from components.shared.documents.plan import Plan
from components.shared.documents.preview import WorstSlice
from components.shared.documents.transforms import Transforms
from components.shared.series import running_median
from components.shared.text import listed

LOWEST_MEDIAN = 0.1
"""Unrelated pictures stay within +-0.06 where shading is taken away; serial sections in place reach 0.3."""
FAR_BELOW = 0.5
"""A pair is bad below this part of the running median: a shift by a membrane's width costs more than half."""
WORSE = 0.1
"""A pair is bad too if it lost this much, and is the exception: less than `UNUSUAL` of the running median."""
UNUSUAL = 0.8
MOST_BAD_PAIRS = 0.02
"""Bad slices that no verdict has caught are rarer than this, and a slice spoils two pairs."""
UNRELATED = 0.25
"""Where no pair across a place reaches this part of the running median, what follows is another picture."""
WORSE_THAN_BEFORE = 0.5
"""A static pattern may make slices correlate as they lie; but an alignment that halves it has gone wrong."""
MOST_REPLACED = 0.2
"""A volume in which every fifth slice is a copy shows less than it pretends."""
LARGEST_BOX = 4.0
"""Area of the volume over that of the largest slice: most of what would be paid for is empty."""
FEW = 4
"""So many bad pairs, and one replaced slice fewer, are let through in a stack of any length."""

_WINDOW = 51
_N_WORST = 20
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """The neighbours that count: both show themselves."""

    ncc: Figures
    """[n] of z and z + 1; NaN where it does not count."""
    before: Figures
    usual: Figures
    """[n] running median."""


def failures_of(plan: Plan, transforms: Transforms, found: Agreement) -> tuple[str, ...]:
    """What speaks against writing the volume, each as a clause with figures and the worst slices' numbers."""
    pairs = _counted(transforms, found)
    checks = (
        _median(found),
        _bad_pairs(plan, pairs),
        () if plan.config.allow_gaps else _breaks(plan, transforms, found),
        _replaced(plan, transforms),
        _box(plan, transforms),
    )
    return tuple(clause for clauses in checks for clause in clauses)


def worst_slices(first_z: int, found: Agreement) -> tuple[WorstSlice, ...]:
    """The slices that agree least with both neighbours, against the running median."""
    after = found.next_after
    usual = running_median(after, _WINDOW)
    previous, usual_before = np.roll(after, 1), np.roll(usual, 1)
    previous[0] = np.nan
    ratios = np.stack([_part(previous, usual_before), _part(after, usual)])
    n_known = np.isfinite(ratios).sum(0)
    badness = np.nansum(ratios, axis=0) / np.maximum(n_known, 1)
    order = [int(i) for i in np.argsort(badness, kind="stable") if n_known[i]]
    return tuple(
        WorstSlice(
            z=first_z + i,
            ncc_previous=_known(previous[i]),
            ncc_next=_known(after[i]),
            usual_ncc=float(usual[i]),
        )
        for i in order[:_N_WORST]
    )


def _counted(transforms: Transforms, found: Agreement) -> _Pairs:
    itself = np.array([s.replaced_from is None for s in transforms.slices], np.bool_)
    counts = itself & np.append(itself[1:], False)
    ncc = np.where(counts, found.next_after, np.nan)
    return _Pairs(ncc=ncc, before=found.next_before, usual=running_median(ncc, _WINDOW))


def _median(found: Agreement) -> tuple[str, ...]:
    known = np.isfinite(found.next_after)
    if not known.any():
        return ()
    after = float(np.median(found.next_after[known]))
    if after < LOWEST_MEDIAN:
        return (f"neighbours correlate at {after:.2f} (median), less than {LOWEST_MEDIAN}",)
    both = known & np.isfinite(found.next_before)
    before = float(np.median(found.next_before[both])) if both.any() else 0.0
    if after < WORSE_THAN_BEFORE * before:
        return (
            f"neighbours correlate at {after:.2f} (median) after alignment, and at {before:.2f} as they lie",
        )
    return ()


def _bad_pairs(plan: Plan, pairs: _Pairs) -> tuple[str, ...]:
    known = np.isfinite(pairs.ncc)
    with np.errstate(invalid="ignore"):
        far_below = pairs.ncc < FAR_BELOW * pairs.usual
        made_worse = (pairs.ncc < pairs.before - WORSE) & (pairs.ncc < UNUSUAL * pairs.usual)
    bad = np.flatnonzero(known & (far_below | made_worse))
    n_known = int(known.sum())
    if len(bad) <= max(FEW, MOST_BAD_PAIRS * n_known):
        return ()
    by_ncc = bad[np.argsort(pairs.ncc[bad], kind="stable")]
    named = [f"{plan.config.minz + i}-{plan.config.minz + i + 1} ({pairs.ncc[i]:.2f})" for i in by_ncc]
    usual = float(np.median(pairs.ncc[known]))
    return (
        f"{len(bad)} of {n_known} neighbours correlate far less than is usual here (median {usual:.2f}), "
        f"worst {listed(named, _NAMED)}",
    )


def _breaks(plan: Plan, transforms: Transforms, found: Agreement) -> tuple[str, ...]:
    """Places that nothing correlates across, unless an override says so itself."""
    n = len(transforms.slices)
    first_z = plan.config.minz
    decided = {o.z - first_z for o in plan.overrides if o.cut or o.matrix is not None}
    next_part = _part(found.next_after, running_median(found.next_after, _WINDOW))
    second_part = _part(found.second_after, running_median(found.second_after, _WINDOW))
    places = [
        left
        for left in range(1, n - 2)
        if left + 1 not in decided
        and _all_unrelated(np.array([next_part[left], second_part[left - 1], second_part[left]]))
    ]
    if not places:
        return ()
    named = [f"{first_z + left}-{first_z + left + 1} ({found.next_after[left]:.2f})" for left in places]
    return (f"nothing correlates across the step between slices {listed(named, _NAMED)}",)


def _all_unrelated(parts: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(parts).all() and (parts < UNRELATED).all())


def _replaced(plan: Plan, transforms: Transforms) -> tuple[str, ...]:
    """Present slices that are not shown, other than by a person's decision."""
    present, decided = {s.z for s in plan.slices}, {o.z for o in plan.overrides}
    hidden = [
        s.z for s in transforms.slices if s.z in present - decided and s.action not in ("keep", "invert")
    ]
    if len(hidden) <= max(FEW - 1, MOST_REPLACED * len(present)):
        return ()
    return (f"{len(hidden)} of {len(present)} slices are not shown, such as {listed(hidden, _NAMED)}",)


def _box(plan: Plan, transforms: Transforms) -> tuple[str, ...]:
    width, height, _ = transforms.volume_size_xyz
    widest, tallest = plan.largest_xy
    if width * height <= LARGEST_BOX * widest * tallest:
        return ()
    return (f"slices of at most {widest} x {tallest} px need a volume of {width} x {height} px",)


def _part(values: Figures, usual: Figures) -> Figures:
    """Values over what is usual; NaN where that is nothing."""
    return np.divide(values, usual, out=np.full_like(values, np.nan), where=usual > 0)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
