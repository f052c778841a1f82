"""Splits the shifts that pairs tell into jitter, which each slice has of its own, and tissue.

A pair (i, j) tells `s_j - s_i` of some row. Each s is the sum of a jitter, drawn toward 0, and of a path of
the tissue, drawn to be straight along z. The weighted squares of all misfits, of the jitter and of the second
differences of the path have one minimum; its equations are banded.
"""

from __future__ import annotations

import numpy as np

from components.compose.rows.limits import JitterLimits
from components.compose.solve.pairs import Floats, Integers

_SECOND_DIFFERENCE = ((0, 1.0), (1, -2.0), (2, 1.0))
"""(slots ahead, coefficient) of how much a path bends."""


def priors(n_slices: int, reach: int, stiffness: float, limits: JitterLimits) -> Floats:
    """The lower band of the equations without any pair: jitter and path of a slice, then of the next one.

    Args:
        n_slices: at least 3.
        reach: slots between the slices of the furthest pair.
        stiffness: of the path, against the jitter.
        limits: of the room.
    """
    jitter_weight = limits.jitter_sigma_px**-2
    band = np.zeros((2 * max(reach, 2) + 2, 2 * n_slices))
    band[0, 0::2] += jitter_weight
    band[0, 1::2] += limits.path_weight
    for ahead, c in _SECOND_DIFFERENCE:
        for other, d in _SECOND_DIFFERENCE:
            if other >= ahead:
                at = slice(1 + 2 * ahead, 2 * (n_slices - 2 + ahead), 2)
                band[2 * (other - ahead), at] += jitter_weight * stiffness * c * d
    return band


def jitter_of(band: Floats, slot: Integers, neighbour: Integers, weights: Floats, told: Floats) -> Floats:
    """[n, k] jitter of every slice, for k independent shifts of the same pairs.

    Args:
        band: from `priors`.
        slot: [m] first slice of each pair.
        neighbour: [m] its second slice.
        weights: [m] of the pairs.
        told: [m, k] `s_neighbour - s_slot`.
    """
    from scipy.linalg import solveh_banded

    full, right = band.copy(), np.zeros((band.shape[1], told.shape[1]))
    weighted = weights[:, np.newaxis] * told
    for i in (0, 1):
        np.add.at(right, 2 * slot + i, -weighted)
        np.add.at(right, 2 * neighbour + i, weighted)
        for j in (0, 1):
            np.add.at(full, (2 * (neighbour - slot) + j - i, 2 * slot + i), -weights)
            if j >= i:
                np.add.at(full[j - i], 2 * slot + i, weights)
                np.add.at(full[j - i], 2 * neighbour + i, weights)
    solved: Floats = solveh_banded(full, right, lower=True, check_finite=False)
    return solved[0::2]
