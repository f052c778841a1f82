"""Shifts of the rows of a slice as cubic B-splines along y, and the text that documents hold them as.

A microscope scans a slice row by row; while charge or drift moves the beam, each row lies a little beside its
place. The shift of a row, along x and along y, changes smoothly from row to row.
"""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
STEPS_PER_PX = 256
"""Shifts are stored in whole numbers of this part of a pixel."""
SUPPORT = 4
"""B-splines that are not 0 at a place."""


def n_splines(n_rows: float, knot_rows: float) -> int:
    """Number of B-splines whose sum is free at every row from 0 to `n_rows` - 1.

    Example:
        >>> n_splines(25, 12), n_splines(26, 12)
        (5, 6)
    """
    return int(np.ceil(max(n_rows - 1, 1) / knot_rows)) + SUPPORT - 1


def spline_weights(rows: ArrayLike, n: int) -> tuple[NDArray[np.int64], Floats]:
    """The four B-splines at each place, as numbers `[m]` of the first and weights `[m, 4]`.

    Args:
        rows: [m] places in units of the knots, the second spline's peak at 0; beyond the splines the nearest
            place that they cover counts.
        n: number of splines.

    Example:
        >>> first, weights = spline_weights([0.0], 5)
        >>> first.tolist(), (weights * 6).round(6).tolist()
        ([0], [[1.0, 4.0, 1.0, 0.0]])
    """
    places = np.clip(np.asarray(rows, np.float64), 0, n - SUPPORT + 1)
    first = np.minimum(places.astype(np.int64), n - SUPPORT)
    f = places - first
    g = 1 - f
    inner, outer = 2 / 3 - f * f * (1 - f / 2), 2 / 3 - g * g * (1 - g / 2)
    return first, np.stack([g**3 / 6, inner, outer, f**3 / 6], axis=-1)


def spline_values(coefficients: Floats, rows: ArrayLike) -> Floats:
    """[..., m] sums of B-splines at `rows` (see `spline_weights`); `coefficients` are [..., n].

    Example:
        >>> spline_values(np.array([2.0, 2.0, 2.0, 2.0, 2.0]), [-3.0, 0.25]).round(9).tolist()
        [2.0, 2.0]
    """
    first, weights = spline_weights(rows, coefficients.shape[-1])
    values: Floats = (coefficients[..., first[:, None] + np.arange(SUPPORT)] * weights).sum(axis=-1)
    return values


def packed(coefficients: Floats) -> str:
    """Coefficients in px as base64 of 16-bit little-endian numbers, in C order; see `STEPS_PER_PX`.

    Example:
        >>> unpacked(packed(np.array([[0.5, 0.25], [-1.25, 1.0]])), 2).tolist()
        [[0.5, 0.25], [-1.25, 1.0]]
    """
    steps = np.clip(np.rint(coefficients * STEPS_PER_PX), -(2**15), 2**15 - 1)
    return base64.b64encode(steps.astype("<i2").tobytes()).decode()


def unpacked(text: str, n_rows: int) -> Floats:
    """The coefficients that a text holds, `[n_rows, n]`.

    Raises:
        ValueError: the text holds none, or another number of rows.
    """
    steps = np.frombuffer(base64.b64decode(text, validate=True), "<i2")
    return steps.reshape(n_rows, -1).astype(np.float64) / STEPS_PER_PX
