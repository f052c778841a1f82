"""Shifts that the rows of a slice have against its neighbour, beyond their transform.

Every row tells a shift of its own, by the least squares of grey levels (Lucas and Kanade 1981) over its whole
width; as they change smoothly, all rows of a slice are fitted as one, by B-splines along y. The columns are
divided into stripes: the even and the odd ones are fitted each by themselves, and see other tissue. What both
find is a shift of rows; what they find differently is noise and tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import GREY, PreparedPicture
from components.shared.geometry import Matrix, at_scale
from components.shared.limits import limit
from components.shared.row_shifts import SUPPORT, n_splines, spline_weights

Floats = NDArray[np.float64]
Grey = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLimits:
    """Limits of the pictures, rows and stripes that shifts of rows are told from."""

    reach: int = limit(
        2,
        unit="slices, greatest distance of a pair whose rows are compared",
        why="a slice is compared with two before and two after it, so that a bad one is bridged",
        measured_on="benchmarks/exact_axes: at distance 2 the tissue's own shifts are twice as large",
        too_small="a bad slice breaks the chain of row shifts",
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
    knot_px: int = limit(
        12,
        unit="rows of the picture from a knot to the next",
        why="jitter that changes over 12 rows is followed to a tenth of a pixel",
        measured_on="benchmarks/exact_axes, case rows: error of a pair 0.25 px with 20 rows, 0.17 with 16, "
        "0.15 with 12",
        too_small="noise: each spline is told by few rows",
        too_large="jitter that changes fast is not followed",
    )
    stripes: int = limit(
        8,
        unit="stripes of columns",
        why="the even ones and the odd ones both see all parts of a slice",
        measured_on="not measured apart",
        too_small="where half of a slice is empty, one half tells nothing",
        too_large="large structures are seen by both halves, which then agree on tissue",
    )
    coarse_steps: int = limit(
        3,
        unit="steps in pictures of half the size",
        why="a step finds shifts of a few px to about a third",
        measured_on="benchmarks/exact_axes, case rows: shifts of up to 6 px",
        too_small="large shifts are not found",
        too_large="time",
    )
    fine_steps: int = limit(
        3,
        unit="steps",
        why="the two halves part in the first, and have settled after two more",
        measured_on="benchmarks/exact_axes, case noise: the halves agree on 0.06 px that are not there with "
        "two steps, on 0.045 with three",
        too_small="the halves agree where they should not",
        too_large="time",
    )
    stiffness: float = limit(
        0.001,
        unit="of the usual evidence on a spline, on the square of second differences",
        why="holds splines without evidence to their neighbours",
        measured_on="benchmarks/exact_axes, case rows: 0.27 px with 0.01, 0.17 with 0.001 and with 0.0001",
        too_small="rows without structure run away",
        too_large="jitter is flattened",
    )
    least_evidence: float = limit(
        1e-6,
        unit="of the usual evidence on a spline",
        why="keeps the equations of rows without any structure solvable",
        measured_on="not measured; far below what rows tell",
        too_small="the equations have no solution where all is empty",
        too_large="shifts are drawn toward 0",
    )


LIMITS = RowLimits()
_HALVES = 2
"""Number of halves of the columns."""


@dataclass(frozen=True, slots=True)
class RowMeasurement:
    """Shifts of rows as two halves of the columns tell them, in pixels of the pictures that were compared."""

    scale: float
    """Scale of these pictures against those given."""
    halves: Floats
    """[half, x and y, splines] coefficients in px; a knot lies every `knot_px` rows, the first at row 0."""


def row_shifts(
    picture: PreparedPicture,
    neighbour: PreparedPicture,
    neighbour_from_slice: Matrix,
    trusted: NDArray[np.bool_],
) -> RowMeasurement:
    """The shift v of each row such that the neighbour shows at `neighbour_from_slice (p + v)` what is at p.

    Args:
        picture: [y, x] detail of the slice.
        neighbour: [y, x] detail of the neighbour.
        neighbour_from_slice: in pixels of these pictures.
        trusted: [y, x] pixels of the slice that may be compared.
    """
    factor = 1 if picture.size <= LIMITS.most_px else 2
    n = n_splines(picture.shape[0] / factor, LIMITS.knot_px)
    found: Floats = np.zeros((_HALVES, 2, n))
    for coarse, steps in ((2, LIMITS.coarse_steps), (1, LIMITS.fine_steps)):
        compared = _Compared.of(picture, neighbour, neighbour_from_slice, trusted, factor * coarse)
        first, weights = spline_weights(places(compared.picture.shape[0], coarse) / LIMITS.knot_px, n)
        splines = _RowSplines(n, first, weights)
        for _ in range(steps):
            sums = compared.sums(splines.values(found) / coarse)
            if coarse > 1:  # both halves start from one place
                sums[:] = sums.sum(axis=0)
            for half in range(_HALVES):
                found[half] += coarse * splines.step(sums[half], found[half] / coarse)
    return RowMeasurement(1 / factor, found)


def places(n: int, factor: int) -> Floats:
    """Where the pixel centres of a row or column lie in a picture `factor` times as large."""
    places: Floats = (np.arange(n, dtype=np.float64) + 0.5) * factor - 0.5
    return places


@dataclass(frozen=True, slots=True)
class _Compared:
    """Two pictures, shrunk by a whole number, and what is compared of them."""

    picture: Grey
    neighbour: Grey
    neighbour_from_slice: Matrix
    trusted: Grey
    slopes: tuple[Grey, Grey]
    """Slopes of the picture, along x and y."""
    half_of_column: NDArray[np.int64]
    """[x] which half a column belongs to."""

    @classmethod
    def of(
        cls,
        picture: PreparedPicture,
        neighbour: PreparedPicture,
        neighbour_from_slice: Matrix,
        trusted: NDArray[np.bool_],
        factor: int,
    ) -> _Compared:
        small = shrunk(picture, factor)
        # A slope at the rim of what is trusted would look beyond it.
        inner = cv2.erode(trusted.astype(np.uint8), np.ones((3, 3), np.uint8))
        height, width = small.shape
        seen = cv2.resize(inner, (width, height), interpolation=cv2.INTER_NEAREST)
        side = max(width // LIMITS.stripes, 1)
        return cls(
            picture=small,
            neighbour=shrunk(neighbour, factor),
            neighbour_from_slice=at_scale(neighbour_from_slice, 1 / factor),
            trusted=seen.astype(np.float32),
            slopes=slopes(small),
            half_of_column=np.arange(width) // side % _HALVES,
        )

    def sums(self, shifts_px: Floats) -> Floats:
        """[half, 5, y] sums over the columns of a half.

        They are the squares of the slopes (xx, xy, yy), and the slopes times what the shifted neighbour
        leaves of the grey levels (x, y).

        Args:
            shifts_px: [half, x and y, row] in pixels of these pictures.
        """
        height, width = self.picture.shape
        (a, b, left), (c, d, top) = self.neighbour_from_slice[:2].tolist()
        x_px, y_px = np.arange(width), np.arange(height)
        x_shifts, y_shifts = shifts_px[:, 0], shifts_px[:, 1]
        # Of a row in the neighbour: where it starts, by half; then a pixel further from column to column.
        starts_x = (a * x_shifts + b * (y_px + y_shifts) + left).astype(np.float32)
        starts_y = (c * x_shifts + d * (y_px + y_shifts) + top).astype(np.float32)
        shown = cv2.remap(
            self.neighbour,
            starts_x.T[:, self.half_of_column] + (a * x_px).astype(np.float32),
            starts_y.T[:, self.half_of_column] + (c * x_px).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32, copy=False)
        # The mean of both slopes, so that the step errs by the third power of the shift.
        x_slope, y_slope = (
            self._in_stripes((own + other) * self.trusted)
            for own, other in zip(self.slopes, slopes(shown), strict=True)
        )
        left_over = self._in_stripes(2 * (self.picture - shown))
        products = (
            *((x_slope, x_slope), (x_slope, y_slope), (y_slope, y_slope)),
            *((x_slope, left_over), (y_slope, left_over)),
        )
        # Sums without BLAS, whose last bits depend on the number of threads.
        of_stripes = np.array([np.einsum("ysx,ysx->sy", p, q) for p, q in products], np.float64)
        return np.stack([of_stripes[:, half::_HALVES].sum(axis=1) for half in range(_HALVES)])

    def _in_stripes(self, picture: Grey) -> Grey:
        """[y, stripe, x] a picture without the last columns, which fill no stripe."""
        height, width = picture.shape
        side = max(width // LIMITS.stripes, 1)
        n_stripes = width // side
        return picture[:, : n_stripes * side].reshape(height, n_stripes, side)


def shrunk(picture: PreparedPicture, factor: int) -> Grey:
    """Grey levels about 0 of a picture, each pixel the mean of `factor` x `factor`."""
    height, width = (side // factor for side in picture.shape)
    grey = picture[: height * factor, : width * factor].astype(np.float32) - np.float32(GREY)
    if factor == 1:
        return grey
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def slopes(picture: Grey) -> tuple[Grey, Grey]:
    """Slopes of a picture along x and along y, in grey levels a pixel."""
    x, y = (cv2.Sobel(picture, cv2.CV_32F, *axis, ksize=1, scale=0.5) for axis in ((1, 0), (0, 1)))
    return x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class _RowSplines:
    """B-splines along the rows of a picture."""

    n: int
    first: NDArray[np.int64]
    """[y] number of the first spline that is not 0 at a row."""
    weights: Floats
    """[y, 4] of that and the next ones."""

    def values(self, coefficients: Floats) -> Floats:
        """[..., y] sums of the splines."""
        four = coefficients[..., self.first[:, np.newaxis] + np.arange(SUPPORT)]
        values: Floats = (four * self.weights).sum(axis=-1)
        return values

    def step(self, sums: Floats, present: Floats) -> Floats:
        """[x and y, n] change of the coefficients that explains most of what is left over.

        Args:
            sums: [5, y], see `_Compared.sums`.
            present: [x and y, n] coefficients, which are to bend little.
        """
        xx, xy, yy, x_left, y_left = sums
        normal: Floats = np.zeros((2 * self.n, 2 * self.n))
        for row, column, evidence in ((0, 0, xx), (0, 1, xy), (1, 0, xy), (1, 1, yy)):
            self._add(normal[row * self.n :, column * self.n :], evidence)
        usual = float(np.trace(normal)) / (2 * self.n)
        bends = np.diff(np.eye(self.n), n=2, axis=0)
        stiff = np.kron(np.eye(2), LIMITS.stiffness * usual * (bends.T @ bends))
        least = (LIMITS.least_evidence * usual + np.finfo(float).tiny) * np.eye(2 * self.n)
        explained = np.concatenate([self._projected(x_left), self._projected(y_left)])
        step = np.linalg.solve(normal + stiff + least, explained - stiff @ present.ravel())
        return np.asarray(step, np.float64).reshape(2, self.n)

    def _add(self, normal: Floats, evidence: Floats) -> None:
        """Add the products of the splines, each row with its evidence."""
        for i in range(SUPPORT):
            for j in range(SUPPORT):
                product = self.weights[:, i] * self.weights[:, j] * evidence
                np.add.at(normal, (self.first + i, self.first + j), product)

    def _projected(self, values: Floats) -> Floats:
        """[n] sums of the values, each with the weights of the splines."""
        sums: Floats = np.zeros(self.n)
        for i in range(SUPPORT):
            np.add.at(sums, self.first + i, self.weights[:, i] * values)
        return sums
