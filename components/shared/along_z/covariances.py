"""Parts of the inverse of a banded normal matrix: what a least-squares solution along z is sure of.

The inverse H^-1 is full, but only blocks near its diagonal are asked for. With `H = L L'`, they follow from
the last slice to the first (Takahashi, Fagan and Chin 1973), for slice i and the slices S that it meets::

    G = L_Si L_ii^-1,      Z_Si = -Z_SS G,      Z_ii = (L_ii L_ii')^-1 - G' Z_Si
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def covariances(factor: Floats, forms: Floats) -> tuple[Floats, Floats]:
    """Variances of linear forms of each slice's numbers, from a lower Cholesky factor of the normal matrix.

    Args:
        factor: The factor, its band as LAPACK stores it.
        forms: `[m, numbers of a slice]`.

    Returns:
        `[n, m]` variances of each slice's forms, and `[n - 1, m]` covariances with the next slice's.
    """
    size = forms.shape[1]
    n_slices, reach = factor.shape[1] // size, factor.shape[0] // size - 1
    own_inverse, gain = _gains(factor, size)
    own, ahead = np.empty((n_slices, len(forms))), np.empty((n_slices, len(forms)))
    window = np.zeros((reach * size, reach * size))
    moved = np.zeros(((reach + 1) * size, (reach + 1) * size))
    for slot in range(n_slices - 1, -1, -1):
        cross = -window @ gain[slot]
        block = own_inverse[slot] - gain[slot].T @ cross
        # Round-off that is not symmetric would grow, in 10,000 slices beyond the result.
        block = (block + block.T) / 2
        own[slot] = ((forms @ block) * forms).sum(axis=1)
        ahead[slot] = ((forms @ cross[:size]) * forms).sum(axis=1)
        moved[:size, :size], moved[size:, :size], moved[:size, size:] = block, cross, cross.T
        moved[size:, size:] = window
        window = moved[:-size, :-size].copy()
    return own, ahead[:-1]


def _gains(factor: Floats, size: int) -> tuple[Floats, Floats]:
    """`[n, size, size]` (L_ii L_ii')^-1 and `[n, size reach, size]` L_Si L_ii^-1."""
    height = len(factor)
    columns = np.zeros((factor.shape[1] // size, height, size))
    for j in range(size):
        # Column j of a block begins at its diagonal, j rows further down.
        columns[:, j:, j] = factor[: height - j, j::size].T
    inverse = np.linalg.inv(columns[:, :size])
    return inverse.transpose(0, 2, 1) @ inverse, columns[:, size:] @ inverse
