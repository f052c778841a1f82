"""Differences of voxels to what they should be, and their bounds: arithmetic of `fibstack verify`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.grid import SizeXyz

_LUMINANCE = """
16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99
"""
"""Quantisation of grey at quality 50 (ITU-T T.81, Annex K)."""


def sampled(grid_xyz: SizeXyz, n: int | None, seed: int) -> list[SizeXyz]:
    """Positions of `n` cells of a grid, by chance but always the same; all of them where it has no more.

    Args:
        grid_xyz: cells along x, y and z.
        n: how many; None for all.
        seed: of the choice.

    Example:
        >>> sampled((2, 1, 2), 9, seed=0)
        [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1)]
    """
    total = math.prod(grid_xyz)
    if n is None or total <= n:
        numbers = list(range(total))
    else:
        rng = np.random.default_rng(seed)
        chosen: set[int] = set()
        while len(chosen) < n:
            chosen.add(int(rng.integers(total)))
        numbers = sorted(chosen)
    x, y, _ = grid_xyz
    return [(number % x, number // x % y, number // (x * y)) for number in numbers]


def squared_error(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Sum of the squared differences.

    Example:
        >>> squared_error(np.array([1, 250], np.uint8), np.array([3, 251], np.uint8))
        5.0
    """
    return float(np.sum(np.square(a.astype(np.float64) - b)))


def psnr_db(mean_squared_error: float) -> float:
    """Peak signal to noise ratio at 8 bit; infinite where nothing differs.

    Example:
        >>> round(psnr_db(4.0), 1)
        42.1
    """
    return math.inf if mean_squared_error == 0 else 10 * math.log10(255**2 / mean_squared_error)


def worst_jpeg_error(quality: int) -> float:
    """The greatest mean squared error that grey JPEG of a quality can have.

    Each coefficient of an orthonormal transform is rounded to a multiple of its step, so that it is wrong by
    half a step at most. Real pictures are some 10 dB better. One is added for rounding to whole grey levels.

    Args:
        quality: 1..100, in libjpeg's meaning.

    Example:
        >>> round(psnr_db(worst_jpeg_error(80)), 1)
        25.5
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = np.array(_LUMINANCE.split(), dtype=np.float64)
    steps = np.clip((table * scale + 50) // 100, 1, 255)
    return float(np.mean(np.square(steps))) / 4 + 1
