"""Errors of a recovered alignment against the true one.

Recovered transforms are `volume_from_slice` (M), true ones `world_from_slice` (T). The frames differ by some
rigid transform that no alignment can know (the gauge), so M and T are never compared directly:

- the neighbour error of slices a, b compares `M_b^-1 M_a` with `T_b^-1 T_a`: both map slice a into slice b;
- the drift is what is left of the positions after one rigid transform of the whole stack.

Distances are in px at full resolution, averaged over a 5 x 5 grid of points on the slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Matrix, Points, grid_points, transform_points


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A recovered alignment against the truth, in px at full resolution."""

    n_slices: int
    mean_px: float
    """Mean neighbour error."""
    p95_px: float
    """95th percentile of the neighbour errors."""
    max_px: float
    worst_z: int
    """First slice of the pair with the greatest neighbour error."""
    drift_px: float
    """Largest position error of a slice after the best common rigid transform."""
    drift_z: int
    """Number z of the slice whose position error is `drift_px`."""


def compare(
    volume_from_slice: Mapping[int, Matrix],
    world_from_slice: Mapping[int, Matrix],
    width_px: int,
    height_px: int,
) -> Accuracy:
    """Compare the slices that both name, each with the next of them.

    Args:
        volume_from_slice: Recovered matrices by z.
        world_from_slice: True matrices by z.
        width_px: Width of a slice.
        height_px: Height of a slice.

    Raises:
        ValueError: fewer than two slices are named by both.

    Example:
        >>> from components.shared.geometry import translation
        >>> truth = {z: translation(3.0 * z, 0) for z in range(5)}
        >>> recovered = {z: translation(10 + 3.0 * z + 0.5 * (z == 2), 7) for z in range(5)}
        >>> result = compare(recovered, truth, 100, 80)
        >>> round(result.max_px, 6), result.worst_z, round(result.drift_px, 6), result.drift_z
        (0.5, 1, 0.4, 2)
    """
    common = sorted(volume_from_slice.keys() & world_from_slice.keys())
    if len(common) < 2:
        raise ValueError(f"a comparison needs two slices or more; got {len(common)}")
    recovered = np.stack([volume_from_slice[z] for z in common])
    true = np.stack([world_from_slice[z] for z in common])
    points = grid_points(width_px, height_px)
    neighbours = neighbour_errors(recovered, true, points)
    positions = position_errors(recovered, true, points)
    return Accuracy(
        n_slices=len(common),
        mean_px=float(neighbours.mean()),
        p95_px=float(np.percentile(neighbours, 95)),
        max_px=float(neighbours.max()),
        worst_z=common[int(neighbours.argmax())],
        drift_px=float(positions.max()),
        drift_z=common[int(positions.argmax())],
    )


def neighbour_errors(
    volume_from_slice: NDArray[np.float64], world_from_slice: NDArray[np.float64], points: Points
) -> NDArray[np.float64]:
    """Neighbour error of each slice with the next, `[n - 1]`.

    Args:
        volume_from_slice: [n, 3, 3] recovered.
        world_from_slice: [n, 3, 3] true.
        points: [k, 2] points of a slice over which distances are averaged.
    """
    errors = [
        np.linalg.norm(transform_points(recovered, points) - transform_points(true, points), axis=1).mean()
        for recovered, true in zip(
            _next_from_slice(volume_from_slice), _next_from_slice(world_from_slice), strict=True
        )
    ]
    return np.array(errors)


def position_errors(
    volume_from_slice: NDArray[np.float64], world_from_slice: NDArray[np.float64], points: Points
) -> NDArray[np.float64]:
    """Error of each slice's position after one rigid transform of the whole stack, `[n]`."""
    recovered = np.stack([transform_points(matrix, points) for matrix in volume_from_slice])
    true = np.stack([transform_points(matrix, points) for matrix in world_from_slice])
    volume_from_world = fit_rigid(true.reshape(-1, 2), recovered.reshape(-1, 2))
    moved = transform_points(volume_from_world, true.reshape(-1, 2)).reshape(true.shape)
    result: NDArray[np.float64] = np.linalg.norm(recovered - moved, axis=2).mean(axis=1)
    return result


def fit_rigid(source: Points, destination: Points) -> Matrix:
    """The rotation and translation that bring `source` [n, 2] closest to `destination`.

    Least squares. Source: Umeyama, IEEE PAMI 13:376-380 (1991), without scale, written for the plane.
    """
    source_center, destination_center = source.mean(axis=0), destination.mean(axis=0)
    s, d = source - source_center, destination - destination_center
    angle = np.arctan2((s[:, 0] * d[:, 1] - s[:, 1] * d[:, 0]).sum(), (s * d).sum())
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:2, 2] = destination_center - matrix[:2, :2] @ source_center
    return matrix


def _next_from_slice(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.solve(matrices[1:], matrices[:-1]).astype(np.float64)
