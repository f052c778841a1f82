"""How far the pairs at each distance may be off, measured on the stack itself.

A pair (i, i + d) and the chain of neighbours from i to i + d say the same thing twice; what they differ by is
their closure. Where noise limits the pairs it grows with the square root of d, and far pairs are worth their
weight. Where the tissue changes from slice to slice it grows with the square of d or faster: far pairs then
compare other structures, and would pull good neighbours apart.
"""

from __future__ import annotations

import numpy as np

from components.compose.solve.pairs import Floats, Integers, Pairs, Stack
from components.shared.geometry import grid_points, transform_points

MIN_CLOSURES = 8
"""Fewer at a distance tell nothing about it."""
LEAST_SIGMA_PX = 0.03
"""Interpolation and rounding leave this much in a pair of neighbours."""
_INDEPENDENT, _STEEPEST = 0.5, 2.0
"""Exponents of the distance: of errors that are independent, and the most that is taken for true."""


def sigmas_by_distance(pairs: Pairs, stack: Stack) -> dict[int, float]:
    """Spread in px of the pairs at each distance along z, from the medians of their closures.

    Where independent errors grow with the square root of d, the closure is sqrt(2) times the pair's own
    spread. Neighbours close nothing themselves; theirs continues the growth from the nearest distance to the
    farthest, as a power of d.

    Returns:
        By distance, ascending; empty where no distance has enough closures.
    """
    distance = stack.z[pairs.neighbour] - stack.z[pairs.slot]
    chain = steps = _steps(pairs.chosen(distance == 1), len(stack))
    found: dict[int, float] = {}
    for d in range(2, int(distance.max(initial=1)) + 1):
        chain = steps[d - 1 :] @ chain[: len(steps) - d + 1]
        closures = _closures_px(pairs, np.flatnonzero(distance == d), chain, stack)
        if len(closures) >= MIN_CLOSURES:
            found[d] = max(float(np.median(closures)) / 2**0.5, LEAST_SIGMA_PX * d**_INDEPENDENT)
    if not found:
        return {}
    near, far = min(found), max(found)
    growth = np.log(found[far] / found[near]) / np.log(far / near) if far > near else _INDEPENDENT
    found[1] = found[near] / near ** min(max(float(growth), _INDEPENDENT), _STEEPEST)
    return dict(sorted(found.items()))


def _steps(neighbours: Pairs, n_slices: int) -> Floats:
    """[n - 1, 3, 3] next_from_slice; not a number where no pair tells."""
    steps = np.full((max(n_slices - 1, 0), 3, 3), np.nan)
    steps[neighbours.slot] = neighbours.neighbour_from_slice
    return steps


def _closures_px(pairs: Pairs, at: Integers, chain: Floats, stack: Stack) -> Floats:
    """RMS over the slice between each of some pairs and the chain below it, of those that have one."""
    at = at[pairs.slot[at] < len(chain)]
    apart = pairs.neighbour_from_slice[at] - chain[pairs.slot[at]]
    apart = apart[np.isfinite(apart).all(axis=(1, 2))]
    width, height = stack.sizes_xy.max(axis=0)
    grid = grid_points(float(width), float(height))
    return np.array([np.sqrt((transform_points(m, grid) ** 2).sum(axis=1).mean()) for m in apart])
