"""The chain of neighbouring pairs: where it puts the slices, and how far the pairs beyond it disagree.

The product of the chain is the plain way to place a stack (`solver: compose`): nothing corrects its drift.
Beside a pair (i, i + d) it tells how good that pair is, since both say the same thing; what they differ by is
their *closure*. Where noise limits the pairs it grows with the square root of d, and far pairs are worth
their weight. Where the tissue changes from slice to slice it grows with the square of d or faster: far pairs
then compare other structures, and would pull good neighbours apart.

What holds: the growth from neighbours to the nearest distance that closes is between the square root of d and
its square, and no distance has a spread below that of interpolation.
"""

from __future__ import annotations

import numpy as np

from components.compose.solve.limits import ClosureLimits
from components.compose.solve.pairs import Floats, Integers, Pairs, Slices, Solution
from components.shared.geometry import grid_points, transform_points


def neighbours_of(pairs: Pairs) -> Pairs:
    """The pairs of slices in slots next to each other."""
    return pairs.chosen(pairs.neighbour - pairs.slot == 1)


def chained(neighbours: Pairs, n_slices: int) -> Solution:
    """Place each slice by the product of the pairs below it; the first slice's matrix is the identity.

    `volume_from_slice(z + 1) = volume_from_slice(z) @ inverse(neighbour_from_slice)`. A slice without a pair
    to the previous one takes that slice's matrix. Every pair is kept.

    Args:
        neighbours: At most one pair (slot, slot + 1) for each slot, see `neighbours_of`.
        n_slices: Number of slots.
    """
    slice_from_neighbour = np.tile(np.eye(3), (n_slices, 1, 1))
    slice_from_neighbour[neighbours.slot] = np.linalg.inv(neighbours.neighbour_from_slice)
    matrices = np.empty((n_slices, 3, 3))
    matrices[0] = np.eye(3)
    for slot in range(1, n_slices):
        matrices[slot] = matrices[slot - 1] @ slice_from_neighbour[slot - 1]
    m = len(neighbours)
    return Solution(volume_from_slice=matrices, weight=np.ones(m), residual_px=np.zeros(m))


def steps_of(neighbours: Pairs, n_slices: int) -> Floats:
    """[n - 1, 3, 3] next_from_slice of each slot; not a number where no pair tells."""
    steps = np.full((max(n_slices - 1, 0), 3, 3), np.nan)
    steps[neighbours.slot] = neighbours.neighbour_from_slice
    return steps


def sigmas_by_distance(pairs: Pairs, stack: Slices, limits: ClosureLimits) -> dict[int, float]:
    """Spread in px of the pairs at each distance along z, from the medians of their closures.

    A closure holds two errors, that of the pair and that of the chain below it. Where errors are independent
    and a pair's variance grows in proportion to d, d steps of the chain have the variance of the pair: the
    closure has twice that, and the pair's own spread is the closure over sqrt(2). Neighbours close nothing
    themselves; theirs continues the growth from the nearest distance to the farthest, as a power of d.

    Returns:
        By distance, ascending; empty where no distance has enough closures.
    """
    distance = stack.z[pairs.neighbour] - stack.z[pairs.slot]
    chain = steps = steps_of(pairs.chosen(distance == 1), len(stack))
    found: dict[int, float] = {}
    for d in range(2, int(distance.max(initial=1)) + 1):
        chain = steps[d - 1 :] @ chain[: len(steps) - d + 1]
        closures = _closures_px(pairs, np.flatnonzero(distance == d), chain, stack)
        if len(closures) >= limits.min_closures:
            least_px = limits.least_sigma_px * d**limits.slowest_growth
            found[d] = max(float(np.median(closures)) / 2**0.5, least_px)
    if not found:
        return {}
    near, far = min(found), max(found)
    told = np.log(found[far] / found[near]) / np.log(far / near) if far > near else limits.slowest_growth
    growth = min(max(float(told), limits.slowest_growth), limits.steepest_growth)
    found[1] = found[near] / near**growth
    return dict(sorted(found.items()))


def _closures_px(pairs: Pairs, at: Integers, chain: Floats, stack: Slices) -> Floats:
    """RMS over the slice between each of some pairs and the chain below it, of those that have one."""
    at = at[pairs.slot[at] < len(chain)]
    apart = pairs.neighbour_from_slice[at] - chain[pairs.slot[at]]
    apart = apart[np.isfinite(apart).all(axis=(1, 2))]
    width, height = stack.sizes_xy.max(axis=0)
    grid = grid_points(float(width), float(height))
    return np.array([np.sqrt((transform_points(m, grid) ** 2).sum(axis=1).mean()) for m in apart])
