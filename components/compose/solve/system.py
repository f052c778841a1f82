"""The least-squares system: ties between poses, and priors, as banded normal equations.

A pair (i, j) says that the points u of slice i lie at v in slice j. Its misfit is the difference of the two
positions in the volume, `e = P_i u - P_j v`, linear in the poses. Minimising |e|^2 as it stands would shrink
the stack, since a smaller volume has smaller misfits. So the misfit is meant in the frame of slice j and
brought to the volume by the present P_j, which makes the step (Gauss-Newton)::

    e + dP_i u - dP_j q = 0,     q = P_j^-1 P_i u,  where the present solution puts u in slice j

and a common change of scale or rotation leaves every pair alone. Each slice meets few others, so the normal
matrix is banded and a Cholesky factorisation of 10,000 slices takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from components.compose.solve.limits import ROUND_OFF
from components.compose.solve.pairs import Floats, Integers
from components.compose.solve.ties import Ties, product

POSE_SIZE = 6
"""Numbers of a pose: two rows of three."""
Stencil = Sequence[tuple[int, int, float]]
"""A linear form of the poses from a slot on: (slots ahead, index of the number, coefficient), ascending."""


class NormalEquations:
    """Weighted squares of linear forms, gathered into a banded matrix and a gradient at the present poses."""

    def __init__(self, poses: Floats, reach: int) -> None:
        self._poses = poses
        self._numbers = poses.reshape(len(poses), POSE_SIZE)
        self._band = np.zeros((POSE_SIZE * (reach + 1), poses.size))
        self._gradient = np.zeros_like(self._numbers)

    def add_ties(self, ties: Ties, weights: Floats) -> None:
        """Add the misfits of all ties, each with its weight."""
        n_slots, (slot, neighbour) = len(self._numbers), (ties.slot, ties.neighbour)
        misfits, predicted = ties.misfit_maps(self._poses), ties.predicted_maps(self._poses)
        own = weights * ties.own_moments
        across = product(own, predicted.swapaxes(0, 1))
        of_own, of_other = product(misfits, own), product(misfits, across)
        other = product(predicted, across)
        for i in range(3):
            for row in (0, 1):
                self._gradient[:, 3 * row + i] += _summed(slot, of_own[row, i], n_slots)
                self._gradient[:, 3 * row + i] -= _summed(neighbour, of_other[row, i], n_slots)
            for j in range(i, 3):
                squares = _summed(slot, own[i, j], n_slots) + _summed(neighbour, other[i, j], n_slots)
                self._add_to_rows(i, 0, j, squares)
        for ahead in np.unique(neighbour - slot):
            at = np.flatnonzero(neighbour - slot == ahead)
            for i in range(3):
                for j in range(3):
                    self._add_to_rows(i, int(ahead), j, -_summed(slot[at], across[i, j, at], n_slots - ahead))

    def _add_to_rows(self, own: int, ahead: int, other: int, values: Floats) -> None:
        """Add to the entries of two numbers of the x rows of poses `ahead` slots apart, and of the y rows."""
        for first in (0, 3):
            self._add(0, first + own, ahead, first + other, values)

    def _add(self, slot: int, own: int, ahead: int, other: int, values: Floats) -> None:
        """Add to the entries of two numbers of poses `ahead` slots apart, from a slot on."""
        # The lower band: OpenBLAS's threads make the upper one a hundred times slower on a busy machine.
        entries = self._band[POSE_SIZE * ahead + other - own, POSE_SIZE * slot + own :: POSE_SIZE]
        entries[: len(values)] += values

    @property
    def band(self) -> Floats:
        """The normal matrix, its lower band as LAPACK stores it: `band[i - j, j]`."""
        return self._band

    def add_prior(self, stencil: Stencil, weights: ArrayLike, target: float = 0.0) -> None:
        """Draw the stencil's value toward `target`, at every slot where it fits, weights `[n - span]`."""
        n = len(self._numbers) - max(ahead for ahead, _, _ in stencil)
        w = np.broadcast_to(np.asarray(weights, np.float64), n)
        value = sum((c * self._numbers[ahead : ahead + n, number] for ahead, number, c in stencil), -target)
        for index, (ahead, number, c) in enumerate(stencil):
            self._gradient[ahead : ahead + n, number] += w * c * value
            for other_ahead, other_number, other_c in stencil[index:]:
                self._add(ahead, number, other_ahead - ahead, other_number, w * c * other_c)

    def hold(self, slot: int, number: int, weight: float, target: float) -> None:
        """Draw one number of one pose toward `target`."""
        self._gradient[slot, number] += weight * (self._numbers[slot, number] - target)
        self._band[0, POSE_SIZE * slot + number] += weight

    def freeze(self, number: int) -> None:
        """Leave one number of every pose as it is."""
        self._band[0, number::POSE_SIZE] += ROUND_OFF.frozen_weight

    def solve(self) -> Floats:
        """The poses at the minimum, by banded Cholesky."""
        # Imported here: SciPy takes as long to start as all else, and a stack taken as it lies needs none.
        from scipy.linalg import solveh_banded

        step = solveh_banded(self._band, -self._gradient.ravel(), lower=True, check_finite=False)
        moved: Floats = self._poses + step.reshape(self._poses.shape)
        return moved


def _summed(slots: Integers, values: Floats, n_slots: int) -> Floats:
    """[n] sum of the values of each slot."""
    sums: Floats = np.bincount(slots, values, minlength=n_slots).astype(np.float64, copy=False)
    return sums
