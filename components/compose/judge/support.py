"""How far the accepted pairs of a slice speak for its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compose.solve.pairs import Integers, Pairs, Solution


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
