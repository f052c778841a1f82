"""Tissue whose planes lie where they are planted, alike along all axes as isotropic tissue is."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

DEPTH, SIDE_PX = 480, 160
_SIZES_PX = (2.0, 5.0)
"""Sizes of the structures, as sigma of what makes them: fine ones and coarse ones."""


@lru_cache
def tissue() -> NDArray[np.float32]:
    """Planes `[z, y, x]` of grey levels around 128."""
    rng = np.random.default_rng(7)
    found = np.zeros((DEPTH, SIDE_PX, SIDE_PX), np.float32)
    for size_px in _SIZES_PX:
        field = gaussian_filter(rng.standard_normal(found.shape, np.float32), size_px, mode="wrap")
        found += field / field.std()
    return 128 + 24 * found


def planes_at(numbers: NDArray[np.int64], noise: float = 4.0) -> NDArray[np.uint8]:
    """The planes of the tissue with these numbers, each with its own noise, in grey levels."""
    grain = np.random.default_rng(11).standard_normal((len(numbers), SIDE_PX, SIDE_PX), np.float32)
    return np.clip(np.rint(tissue()[numbers] + noise * grain), 0, 255).astype(np.uint8)


def planted_numbers(n: int) -> NDArray[np.int64]:
    """Numbers of planes with steps of 1, 2 and 3 between them, half of them 2."""
    steps = np.random.default_rng(3).choice([1, 2, 3], n - 1, p=[0.25, 0.5, 0.25])
    numbers: NDArray[np.int64] = np.concatenate([[0], np.cumsum(steps)])
    return numbers
