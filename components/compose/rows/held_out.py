"""Finds the jitter that two halves agree on, and slices have each of their own: neither noise nor tissue.

*Held out.* Each displacement is told twice, by halves of a picture that see other tissue. Their product has
the mean of what both share; noise and what single structures do cancel.

*Not tissue.* Jitter differs from slice to slice, tissue moves on much as it did. Second differences of white
jitter have 6 times its mean square, and the product of each with the next one has -4 times; where tissue
changes its course, each change stands for itself. So the second differences of one half times the next ones
of the other tell the mean square of the jitter, and the rest of their own that of the changes of course.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.compose.solve.pairs import Flags, Floats

Waves = NDArray[np.float32]
"""[slice, half, x and y, wave] displacements or their waves, in half the memory."""
_OF_WHITE = 6.0
"""Mean square of second differences of independent numbers, of which the mean square is 1."""
_NEXT_OF_WHITE = -4.0
"""Mean product of such a difference with the next one."""


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(Generic[_T]):
    """The displacements of the slices of a stack that held-out halves tell, and what takes them away."""

    found_px: tuple[float, float] = (0.0, 0.0)
    """RMS along x and along y, as held-out halves tell it; 0 where they tell none."""
    is_corrected: tuple[bool, bool] = (False, False)
    """Whether x and y are corrected."""
    of_slots: Mapping[int, _T] = field(default_factory=dict)
    """The correction of each slice that has one, by slot."""
    corrected_px: float = 0.0
    """RMS of the correction over these slices."""


def jitter_squares(waves: Waves, tells: Flags) -> tuple[Floats, Floats, Floats]:
    """Mean squares of the jitter [x and y, wave], and of the tissue's changes of course [x and y].

    Between them, the 1-sigma [x and y] of the first one's mean over the waves.
    """
    second = waves[1:-1] * np.float32(-2)
    second += waves[:-2]
    second += waves[2:]
    told = tells[:-2] & tells[1:-1] & tells[2:]
    both = told[:-1] & told[1:]
    if both.sum() < 2:
        return np.zeros(waves.shape[2:]), np.ones(waves.shape[2]), np.ones(waves.shape[2])
    crossed = (second[:-1, 0] * second[1:, 1] + second[:-1, 1] * second[1:, 0])[both] / 2 / _NEXT_OF_WHITE
    of_slices = crossed.sum(axis=2) / waves.shape[-1]
    bends2 = (second[:, 0] * second[:, 1])[told].mean(axis=0) - _OF_WHITE * crossed.mean(axis=0)
    sigma2 = of_slices.std(axis=0, ddof=1) / len(crossed) ** 0.5
    return crossed.mean(axis=0), sigma2, bends2.sum(axis=1) / waves.shape[-1]


def held_out_error(filtered: Floats | Waves | float, halves: Waves, is_jitter: Flags) -> Floats:
    """[n] how far each half is from the other one after the filter, along the axes that jitter."""
    errors: Floats = np.square(halves[:, ::-1] - filtered).mean(axis=(1, 3))[:, is_jitter].sum(axis=1)
    return errors


def cosines(n: int) -> Waves:
    """[n, n] the orthonormal cosine transform (DCT-II), a wave in each row."""
    waves, places = np.arange(n)[:, np.newaxis], np.arange(n) + 0.5
    cosines = np.cos(np.pi * waves * places / n) * np.sqrt(2 / n)
    cosines[0] = np.sqrt(1 / n)
    return np.asarray(cosines, np.float32)
