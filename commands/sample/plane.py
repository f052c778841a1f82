"""A tile of a slice in the world, and smooth random fields on it.

The world is the space of the tissue, in voxels; a slice looks at the plane z through its own
`world_from_slice` (geometry.py). A field is a sum of plane waves with random directions and phases: it is
defined at every point, never repeats, and needs no table (spectral synthesis of a Gaussian field; Shinozuka
and Deodatis, Applied Mechanics Reviews 44:191-204, 1991).

On a tile a wave is `sin(a(column) + b(row)) = sin a cos b + cos a sin b`, whatever the slice's affine
matrix, so a whole field is one product of two thin matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Matrix

Image = NDArray[np.float32]
"""[height, width]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tile:
    """A rectangle of a slice: columns x_px.. and rows y_px.. of the slice that lies at `z`."""

    world_from_slice: Matrix
    z: float
    x_px: int
    y_px: int
    width_px: int
    height_px: int

    def world_xy(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World x and y of every pixel, each `[height, width]`."""
        columns = np.arange(self.x_px, self.x_px + self.width_px, dtype=np.float64)[None, :]
        rows = np.arange(self.y_px, self.y_px + self.height_px, dtype=np.float64)[:, None]
        (a, b, c), (d, e, f) = self.world_from_slice[:2]
        return a * columns + b * rows + c, d * columns + e * rows + f


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """A smooth random function of the world with mean 0 and variance 1."""

    wave_vectors: NDArray[np.float64]
    """[n, 3], radians a voxel, xyz."""
    phases: NDArray[np.float64]
    """[n]."""

    def on(self, tile: Tile) -> Image:
        """The field at every pixel of a tile, `[height, width]`."""
        in_plane = self.wave_vectors[:, :2] @ tile.world_from_slice[:2]
        columns = np.arange(tile.x_px, tile.x_px + tile.width_px)
        rows = np.arange(tile.y_px, tile.y_px + tile.height_px)
        a = in_plane[:, :1] * columns
        b = (
            in_plane[:, 1:2] * rows
            + (in_plane[:, 2] + self.wave_vectors[:, 2] * tile.z + self.phases)[:, None]
        )
        left = np.concatenate([np.cos(b), np.sin(b)])
        right = np.concatenate([np.sin(a), np.cos(a)])
        result: Image = (left.T @ right * np.sqrt(2 / len(self.phases))).astype(np.float32)
        return result


def random_field(rng: np.random.Generator, shortest_px: float, longest_px: float, n_waves: int) -> Field:
    """A field whose wavelengths lie between two bounds, in all directions of space alike."""
    direction = rng.normal(size=(n_waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    wavelength = np.exp(rng.uniform(np.log(shortest_px), np.log(longest_px), size=(n_waves, 1)))
    return Field(
        wave_vectors=direction * 2 * np.pi / wavelength, phases=rng.uniform(0, 2 * np.pi, size=n_waves)
    )
