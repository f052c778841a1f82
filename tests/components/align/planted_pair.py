"""Slices whose motion is known: one procedural texture, rendered where the slice is said to lie."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from components.shared.geometry import Matrix, grid_points, transform_points, translation

MARGIN_PX = 60
SIZE_PX = 320


@cache
def texture(seed: int, side_px: int = SIZE_PX + 2 * MARGIN_PX) -> NDArray[np.float64]:
    """Blobs with sharp membranes, mean 128, about 40 grey levels either way."""
    rng = np.random.default_rng(seed)
    blobs = gaussian_filter(rng.normal(size=(side_px, side_px)), 7)
    grain = gaussian_filter(rng.normal(size=(side_px, side_px)), 2.5)
    membranes = np.exp(-np.square(blobs / blobs.std() / 0.25))
    cells = 1.5 * np.tanh(2 * blobs / blobs.std()) + 0.6 * grain / grain.std() - 2 * membranes
    smooth = gaussian_filter(cells, 1.2)
    return 128 + 30 * (smooth - smooth.mean()) / smooth.std()


def render(
    picture: NDArray[np.float64],
    slice_from_picture: Matrix | None = None,
    *,
    noise: float = 4.0,
    seed: int = 0,
    shape_yx: tuple[int, int] = (SIZE_PX, SIZE_PX),
) -> NDArray[np.uint8]:
    """A slice with its own noise that shows the picture's middle, moved. Splines do not displace."""
    matrix = np.eye(3) if slice_from_picture is None else slice_from_picture
    picture_from_slice = translation(MARGIN_PX, MARGIN_PX) @ np.linalg.inv(matrix)
    moved = affine_transform(
        picture,
        picture_from_slice[:2, :2][::-1, ::-1],
        picture_from_slice[:2, 2][::-1],
        shape_yx,
        order=3,
        mode="mirror",
    )
    noisy = moved + np.random.default_rng(seed).normal(0, noise, shape_yx)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def error_px(matrix: object, truth: Matrix) -> float:
    """RMS distance over a slice between where two matrices send its points."""
    points = grid_points(SIZE_PX, SIZE_PX)
    apart = transform_points(np.array(matrix), points) - transform_points(truth, points)
    return float(np.sqrt(np.mean(np.sum(np.square(apart), axis=1))))
