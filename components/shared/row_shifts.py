"""Shifts of the rows of a slice and its soft warp as cubic B-splines, and how documents hold them as text.

A microscope scans a slice row by row; while charge or drift moves the beam, each row lies a little beside its
place. The shift of a row, along x and along y, changes smoothly from row to row. A soft warp changes smoothly
along both: it is a sum of products of B-splines along y and along x.
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


def grid_weights(columns: ArrayLike, rows: ArrayLike, n_y: int, n_x: int) -> tuple[NDArray[np.int64], Floats]:
    """The products of splines at each place, as their numbers `[m, 16]`, row by row, and weights `[m, 16]`.

    Args:
        columns: [m] places in units of the knots, see `spline_weights`.
        rows: [m] the same.
        n_y: number of splines along y.
        n_x: number of splines along x.
    """
    (first_x, x_weights), (first_y, y_weights) = spline_weights(columns, n_x), spline_weights(rows, n_y)
    x, y = first_x[:, np.newaxis] + np.arange(SUPPORT), first_y[:, np.newaxis] + np.arange(SUPPORT)
    numbers = (n_x * y[:, :, np.newaxis] + x[:, np.newaxis]).reshape(-1, SUPPORT**2)
    weights: Floats = y_weights[:, :, np.newaxis] * x_weights[:, np.newaxis]
    return numbers, weights.reshape(-1, SUPPORT**2)


def grid_values(coefficients: Floats, columns: ArrayLike, rows: ArrayLike) -> Floats:
    """[k, m] sums of products of B-splines at places (see `grid_weights`); `coefficients` are [k, n_y, n_x].

    Example:
        >>> grid_values(np.full((1, 4, 5), 2.0), [0.5], [0.25]).round(9).tolist()
        [[2.0]]
    """
    numbers, weights = grid_weights(columns, rows, *coefficients.shape[1:])
    values: Floats = (coefficients.reshape(len(coefficients), -1)[:, numbers] * weights).sum(axis=-1)
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
