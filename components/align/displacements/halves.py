"""Displacements of a slice against its neighbour, beyond their transform, told by two halves of its pixels.

Splines are fitted by the least squares of grey levels (Lucas and Kanade 1981), in pictures of half the size
first. Each half of the pixels is fitted by itself, and sees other tissue. What both find is a displacement of
the slice; what they find differently is noise and tissue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import GREY, PreparedPicture
from components.shared.geometry import Matrix, at_scale
from components.shared.limits import limit

Floats = NDArray[np.float64]
Grey = NDArray[np.float32]
HALVES = 2
"""Number of halves of the pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvesLimits:
    """Limits of the pictures and steps that displacements are told from, of rows and of soft warps."""

    reach: int = limit(
        2,
        unit="slices, greatest distance of a pair whose displacements are told",
        why="a slice is compared with two before and two after it, so that a bad one is bridged",
        measured_on="benchmarks/exact_axes: at distance 2 the tissue's own shifts are twice as large",
        too_small="a bad slice breaks the chain of displacements",
        too_large="time, and size of the records",
    )
    most_px: int = limit(
        500_000,
        unit="px of a picture",
        why="larger ones are halved: a row has pixels enough",
        measured_on="not measured apart",
        too_small="rows of large slices are told from few pixels",
        too_large="time: 0.1 s for a million pixels and pair",
    )
    coarse_steps: int = limit(
        3,
        unit="steps in pictures of half the size",
        why="a step finds displacements of a few px to about a third",
        measured_on="benchmarks/exact_axes, cases rows and soft warp: displacements of up to 6 and 5 px",
        too_small="large displacements are not found",
        too_large="time",
    )
    fine_steps: int = limit(
        3,
        unit="steps",
        why="the two halves part in the first, and have settled after two more",
        measured_on="benchmarks/exact_axes, case noise: the halves of rows agree on 0.06 px that are not "
        "there with two steps, on 0.045 with three",
        too_small="the halves agree where they should not",
        too_large="time",
    )
    stiffness: float = limit(
        0.001,
        unit="of the usual evidence on a spline, on the square of second differences",
        why="holds splines without evidence to their neighbours",
        measured_on="benchmarks/exact_axes, case rows: 0.27 px with 0.01, 0.17 with 0.001 and with 0.0001",
        too_small="parts without structure run away",
        too_large="displacements are flattened",
    )
    least_evidence: float = limit(
        1e-6,
        unit="of the usual evidence on a spline",
        why="keeps the equations of parts without any structure solvable",
        measured_on="not measured; far below what pixels tell",
        too_small="the equations have no solution where all is empty",
        too_large="displacements are drawn toward 0",
    )


LIMITS = HalvesLimits()


@dataclass(frozen=True, slots=True)
class Measurement:
    """Displacements as two halves of the pixels tell them, in pixels of the pictures that were compared."""

    scale: float
    """Scale of these pictures against those given."""
    halves: Floats
    """[half, x and y, ...] coefficients of splines, in px; the first knot lies at pixel 0."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A slice and its neighbour, whose pixels are compared."""

    picture: PreparedPicture
    neighbour: PreparedPicture
    """[y, x] detail of both."""
    neighbour_from_slice: Matrix
    """In pixels of these pictures."""
    trusted: NDArray[np.bool_]
    """[y, x] pixels of the slice that may be compared."""

    @property
    def factor(self) -> int:
        """The whole number by which they are shrunk before they are compared."""
        return 1 if self.picture.size <= LIMITS.most_px else 2

    def shrunk(self, further: int) -> Compared:
        """The pictures, shrunk by a further factor."""
        factor = self.factor * further
        small = _shrunk(self.picture, factor)
        height, width = small.shape
        # A slope at the rim of what is trusted would look beyond it.
        inner = cv2.erode(self.trusted.astype(np.uint8), np.ones((3, 3), np.uint8))
        seen = cv2.resize(inner, (width, height), interpolation=cv2.INTER_NEAREST)
        return Compared(
            picture=small,
            neighbour=_shrunk(self.neighbour, factor),
            neighbour_from_slice=at_scale(self.neighbour_from_slice, 1 / factor),
            trusted=seen.astype(np.float32),
            slopes=_slopes(small),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two pictures that are shrunk by a whole number, and what is compared of them."""

    picture: Grey
    neighbour: Grey
    neighbour_from_slice: Matrix
    trusted: Grey
    slopes: tuple[Grey, Grey]
    """Slopes of the picture, along x and y."""

    def shown_at(self, x_px: Grey, y_px: Grey) -> Grey:
        """[y, x] the neighbour at places of it, beyond its border that."""
        shown = cv2.remap(self.neighbour, x_px, y_px, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return shown.astype(np.float32, copy=False)

    def evidence(self, shown: Grey) -> tuple[Grey, Grey, Grey]:
        """[y, x] slopes along x and y, and what the displaced neighbour leaves of the grey levels, doubled.

        The mean slope of both pictures is taken, so that a step errs by the third power of the displacement.
        """
        x_slope, y_slope = (
            (own + other) * self.trusted for own, other in zip(self.slopes, _slopes(shown), strict=True)
        )
        return x_slope, y_slope, 2 * (self.picture - shown)


class Fit(Protocol):
    """Splines that are fitted to what is compared of two pictures."""

    def sums(self, found: Floats) -> Floats:
        """[half, 5, ...] sums over the pixels of a half, displaced as `found` has it.

        They are the squares of the slopes (xx, xy, yy), and the slopes times what the displaced neighbour
        leaves of the grey levels (x, y).
        """

    def step(self, half: int, sums: Floats, present: Floats) -> Floats:
        """[x and y, ...] change of a half's coefficients that explains most of what is left over.

        The present coefficients are to bend little.
        """


def told_by_halves(
    pictures: Pictures, splines: tuple[int, ...], fit_of: Callable[[Compared, int], Fit]
) -> Measurement:
    """The displacements that each half tells.

    Args:
        pictures: What is compared.
        splines: Their numbers.
        fit_of: The fit in pictures that are shrunk by a further factor.
    """
    found: Floats = np.zeros((HALVES, 2, *splines))
    for coarse, steps in ((2, LIMITS.coarse_steps), (1, LIMITS.fine_steps)):
        fit = fit_of(pictures.shrunk(coarse), coarse)
        for _ in range(steps):
            sums = fit.sums(found / coarse)
            if coarse > 1:  # both halves start from one place
                sums[:] = sums.sum(axis=0)
            for half in range(HALVES):
                found[half] += coarse * fit.step(half, sums[half], found[half] / coarse)
    return Measurement(1 / pictures.factor, found)


def products(x_slope: Grey, y_slope: Grey, left_over: Grey) -> tuple[tuple[Grey, Grey], ...]:
    """The factors of what `Fit.sums` adds up, in its order."""
    squares = ((x_slope, x_slope), (x_slope, y_slope), (y_slope, y_slope))
    return (*squares, (x_slope, left_over), (y_slope, left_over))


def places(n: int, factor: int) -> Floats:
    """Where the pixel centres of a row or column lie in a picture `factor` times as large."""
    places: Floats = (np.arange(n, dtype=np.float64) + 0.5) * factor - 0.5
    return places


def _shrunk(picture: PreparedPicture, factor: int) -> Grey:
    """Grey levels about 0 of a picture, each pixel the mean of `factor` x `factor`."""
    height, width = (side // factor for side in picture.shape)
    grey = picture[: height * factor, : width * factor].astype(np.float32) - np.float32(GREY)
    if factor == 1:
        return grey
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def _slopes(picture: Grey) -> tuple[Grey, Grey]:
    """Slopes of a picture along x and along y, in grey levels a pixel."""
    x, y = (cv2.Sobel(picture, cv2.CV_32F, *axis, ksize=1, scale=0.5) for axis in ((1, 0), (0, 1)))
    return x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)
