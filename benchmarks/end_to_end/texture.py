"""Slices of EM-like tissue of any size, cheap to make; it changes smoothly along z and repeats in no slice.

A field that is smooth along x, y and z is `sum over k of cos(w_k z) A_k + sin(w_k z) B_k`, with blurred noise
as A_k and B_k: a random field along z too, of any depth, from a few pictures (spectral synthesis; Shinozuka
and Deodatis, Applied Mechanics Reviews 44:191-204, 1991). `fibstack sample` draws real shapes, at fifty times
the cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Matrix, transform_points
from components.shared.grid import ceil_div

Picture = NDArray[np.float32]
Slice = NDArray[np.uint8]

QUANTILES = (0.210, 0.674, 1.383)
"""Of the absolute value of a normal variable, at 1/6, 1/2 and 5/6: how fast a field changes along z."""
NOISE_SIGMA = 11.0
"""Chosen so that JPEG and deflate find these slices as hard as real FIB-SEM slices."""
NOISE_SHIFTS_PX = 512


class Field:
    """A random field of mean 0 and variance 1, as smooth along z as it is along x and y."""

    def __init__(self, sigma_px: float, width_px: int, height_px: int, rng: np.random.Generator) -> None:
        self._size = (width_px, height_px)
        step = max(1, int(sigma_px / 3))  # what is so smooth needs no picture at full size
        shape = (ceil_div(height_px, step), ceil_div(width_px, step))
        # The blur gives white noise a spectrum of this width, in radians a pixel.
        self._rates = [quantile / (np.sqrt(2) * sigma_px) for quantile in QUANTILES]
        self._waves = [[_blurred_noise(shape, sigma_px / step, rng) for _ in "AB"] for _ in QUANTILES]

    def at(self, z: int) -> Picture:
        """The field in the plane z, `[height, width]`."""
        total = np.zeros_like(self._waves[0][0])
        for rate, (a, b) in zip(self._rates, self._waves, strict=True):
            total += np.float32(np.cos(rate * z)) * a + np.float32(np.sin(rate * z)) * b
        total /= np.float32(np.sqrt(len(QUANTILES)))
        return np.asarray(cv2.resize(total, self._size, interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _blurred_noise(shape: tuple[int, int], sigma_px: float, rng: np.random.Generator) -> Picture:
    blurred = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), sigma_px)
    return np.asarray(blurred / blurred.std(), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Microscope:
    """Takes pictures of `side_px` a side of one tissue; each slice lies where its matrix says."""

    side_px: int
    fields: tuple[Field, Field, Field]
    """Cells, organelles, grain."""
    field_from_world: Matrix
    noise: Picture
    rng: np.random.Generator

    def picture(self, z: int, world_from_slice: Matrix) -> Slice:
        """Slice z, `[side, side]`: the tissue as the slice lies, under noise that is never the same twice."""
        cells, organelles, grain = (field.at(z) for field in self.fields)
        membranes = np.exp(-((cells / 0.12) ** 2))
        tissue = 140 + 14 * np.tanh(2 * cells) + 9 * organelles + 7 * grain - 55 * membranes
        seen = cv2.warpAffine(
            tissue,
            (self.field_from_world @ world_from_slice)[:2],
            (self.side_px, self.side_px),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        y, x = self.rng.integers(0, NOISE_SHIFTS_PX, 2)
        seen = seen + self.noise[y : y + self.side_px, x : x + self.side_px]
        # The beam is wider than a pixel, so that neighbours share their noise.
        seen = cv2.GaussianBlur(seen, (3, 3), 0.55)
        return np.clip(np.rint(seen), 1, 255).astype(np.uint8)


def microscope(side_px: int, matrices: list[Matrix], seed: int = 0) -> Microscope:
    """A microscope over enough tissue for slices that lie as the matrices (world_from_slice) say."""
    rng = np.random.default_rng(seed)
    last = side_px - 1
    corners = np.array([[0, 0], [last, 0], [0, last], [last, last]], dtype=np.float64)
    points = np.concatenate([transform_points(matrix, corners) for matrix in matrices])
    low = np.floor(points.min(axis=0)) - 2
    width, height = (np.ceil(points.max(axis=0)) + 3 - low).astype(int).tolist()
    field_from_world = np.eye(3)
    field_from_world[:2, 2] = -low
    cells, organelles, grain = (Field(sigma, width, height, rng) for sigma in (9.0, 3.5, 1.2))
    noise_side = side_px + NOISE_SHIFTS_PX
    noise = np.float32(NOISE_SIGMA) * rng.standard_normal((noise_side, noise_side), dtype=np.float32)
    return Microscope(side_px, (cells, organelles, grain), field_from_world, noise, rng)
