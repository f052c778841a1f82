"""What becomes of each z: shown as it is, or replaced by the nearest good slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compose.pairs import Integers, Pairs, Solution
from components.shared.documents import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One z of the volume."""

    z: int
    verdict: Verdict
    shown_slot: int
    """Slot of the slice that is shown: its own, or that of the slice that stands in."""


def judge(first_z: int, last_z: int, z: Integers, isolated: NDArray[np.bool_]) -> list[Judgement]:
    """One judgement for each z from `first_z` to `last_z`.

    Args:
        first_z: First z of the volume.
        last_z: Last z of the volume, included.
        z: `[n]` z of each slot.
        isolated: `[n]` whether a slot's slice is isolated; not all are.
    """
    good = np.flatnonzero(~isolated)
    verdict_of: dict[int, Verdict] = {
        number: "isolated" if alone else "good"
        for number, alone in zip(z.tolist(), isolated.tolist(), strict=True)
    }
    # The nearest good slice to a good slice is itself.
    return [
        Judgement(
            z=each, verdict=verdict_of.get(each, "missing"), shown_slot=int(good[nearest(each, z[good])])
        )
        for each in range(first_z, last_z + 1)
    ]


def nearest(z: int, candidates: Integers) -> int:
    """Index of the candidate nearest to z, the lower one at a tie; candidates ascend.

    Example:
        >>> nearest(5, np.array([3, 7])), nearest(6, np.array([3, 7]))
        (0, 1)
    """
    return int(np.argmin(np.abs(candidates - z)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """How the accepted pairs of each slot speak for its place, `[n]` each."""

    n_pairs: Integers
    mean_weight: NDArray[np.float64]
    residual_px: NDArray[np.float64]
    """RMS, weighted by the pairs' weights; 0 where none is believed."""


def support(pairs: Pairs, solution: Solution, n_slices: int) -> Support:
    """Gather the pairs' agreement at both of their slices."""
    ends = np.concatenate([pairs.slot, pairs.neighbour])
    count = np.bincount(ends, minlength=n_slices)
    weight = np.bincount(ends, np.tile(solution.weight, 2), minlength=n_slices)
    squares = np.bincount(ends, np.tile(solution.weight * solution.residual_px**2, 2), minlength=n_slices)
    return Support(
        n_pairs=count,
        mean_weight=weight / np.maximum(count, 1),
        residual_px=np.sqrt(np.divide(squares, weight, out=np.zeros(n_slices), where=weight > 0)),
    )
