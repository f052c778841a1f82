"""Affine transforms of the plane and the frames that they connect.

Conventions::

    slice frame                      volume frame
    (0,0) +---------> x              (0,0) +---------> x      pixel centres at integers,
          |  p_slice                       |   p_volume       both at full resolution
          v                                v
          y                                y                  p_volume = M p_slice

A 3 x 3 matrix is named destination_from_source: `volume_from_slice @ [x, y, 1]` lies in the volume. Reading
at scale s (0.5 = half size by area averaging) moves a pixel centre to `(x + 0.5) * s - 0.5`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
"""[3, 3] homogeneous affine matrix, last row (0, 0, 1)."""
Points = NDArray[np.float64]
"""[n, 2] points, x then y."""


def translation(x_px: float, y_px: float) -> Matrix:
    """The matrix that moves by (x_px, y_px).

    Example:
        >>> transform_points(translation(2, -1), [[0, 0]]).tolist()
        [[2.0, -1.0]]
    """
    return np.array([[1.0, 0.0, x_px], [0.0, 1.0, y_px], [0.0, 0.0, 1.0]])


def rotation_about(center_xy: ArrayLike, angle_rad: float) -> Matrix:
    """The rotation by `angle_rad` (x towards y) that keeps `center_xy` in place."""
    x, y = np.asarray(center_xy, dtype=np.float64)
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0.0, 0.0, 1.0]])


def scaled_from_full(scale: float) -> Matrix:
    """The matrix from full-resolution pixels to the pixels of the same picture resized by `scale`.

    Example:
        >>> transform_points(scaled_from_full(0.5), [[0.5, 2.5]]).tolist()
        [[0.0, 1.0]]
    """
    shift = 0.5 * scale - 0.5
    return np.array([[scale, 0.0, shift], [0.0, scale, shift], [0.0, 0.0, 1.0]])


def at_full_resolution(matrix_at_scale: Matrix, scale: float) -> Matrix:
    """A matrix between two pictures resized by `scale`, as the matrix between the full pictures."""
    to_scaled = scaled_from_full(scale)
    return np.linalg.inv(to_scaled) @ matrix_at_scale @ to_scaled


def at_scale(matrix: Matrix, scale: float) -> Matrix:
    """A matrix between two full pictures, as the matrix between the same pictures resized by `scale`.

    Example:
        >>> at_scale(translation(4, -8), 0.25)[:2, 2].tolist()
        [1.0, -2.0]
    """
    to_scaled = scaled_from_full(scale)
    return to_scaled @ matrix @ np.linalg.inv(to_scaled)


def similarity_of(matrix: Matrix, center_xy: tuple[float, float]) -> Matrix:
    """The rotation and magnification of a motion, which moves a point as it does.

    Example:
        >>> similarity_of(np.array([[0, -2, 5], [2, 0, 0], [0, 0, 1]]), (0, 0))[:2].tolist()
        [[0.0, -2.0, 5.0], [2.0, 0.0, 0.0]]
    """
    (a, b), (c, d) = matrix[:2, :2]
    similar = np.eye(3)
    similar[:2, :2] = np.array([[a + d, b - c], [c - b, a + d]]) / 2
    center = np.array([center_xy], np.float64)
    similar[:2, 2] = (transform_points(matrix, center) - transform_points(similar, center))[0]
    return similar


def transform_points(matrix: Matrix, points: ArrayLike) -> Points:
    """Apply a matrix to `[n, 2]` points."""
    p = np.asarray(points, dtype=np.float64)
    result: Points = p @ matrix[:2, :2].T + matrix[:2, 2]
    return result


def corner_points(width_px: float, height_px: float) -> Points:
    """The centres of the four corner pixels of a picture, `[4, 2]`."""
    return np.array([[0.0, 0.0], [width_px - 1, 0.0], [0.0, height_px - 1], [width_px - 1, height_px - 1]])


def grid_points(width_px: float, height_px: float, per_side: int = 5) -> Points:
    """A regular grid of `per_side`^2 points over a picture, corners included, `[n, 2]`."""
    x, y = np.meshgrid(np.linspace(0, width_px - 1, per_side), np.linspace(0, height_px - 1, per_side))
    return np.column_stack([x.ravel(), y.ravel()])


def rotation_deg(matrix: Matrix) -> float:
    """The rotation part of a matrix in degrees, x towards y positive.

    Example:
        >>> round(rotation_deg(rotation_about((50, 50), math.radians(1.5))), 6)
        1.5
    """
    linear = matrix[:2, :2]
    return math.degrees(math.atan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
