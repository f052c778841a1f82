"""Shifts that the rows of a slice have against its neighbour, beyond their transform.

Every row tells a shift of its own over its whole width; as they change smoothly, all rows of a slice are
fitted as one, by B-splines along y. The columns are divided into stripes: the even ones are one half, the odd
ones the other (halves.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.align.displacements import halves
from components.align.displacements.halves import HALVES, Compared, Floats, Grey, Measurement, Pictures
from components.shared.limits import limit
from components.shared.row_shifts import SUPPORT, n_splines, spline_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLimits:
    """Limits of the splines and stripes that shifts of rows are told from."""

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


LIMITS = RowLimits()


def row_shifts(pictures: Pictures) -> Measurement:
    """The shift v of each row such that the neighbour has at `neighbour_from_slice (p + v)` what is at p."""
    n = n_splines(pictures.picture.shape[0] / pictures.factor, LIMITS.knot_px)

    def fit_of(compared: Compared, coarse: int) -> _RowFit:
        height, width = compared.picture.shape
        first, weights = spline_weights(halves.places(height, coarse) / LIMITS.knot_px, n)
        return _RowFit(compared, max(width // LIMITS.stripes, 1), n, first, weights)

    return halves.told_by_halves(pictures, (n,), fit_of)


@dataclass(frozen=True, slots=True)
class _RowFit:
    """B-splines along the rows of a picture, see `halves.Fit`."""

    compared: Compared
    stripe_px: int
    n: int
    first: NDArray[np.int64]
    """[y] number of the first spline that is not 0 at a row."""
    weights: Floats
    """[y, 4] of that and the next ones."""

    def sums(self, found: Floats) -> Floats:
        """[half, 5, y] sums over the columns of a half."""
        height, width = self.compared.picture.shape
        (a, b, left), (c, d, top) = self.compared.neighbour_from_slice[:2].tolist()
        x_px, y_px = np.arange(width), np.arange(height)
        half_of_column = x_px // self.stripe_px % HALVES
        x_shifts, y_shifts = self._values(found).transpose(1, 0, 2)
        # Of a row in the neighbour: where it starts, by half; then a pixel further from column to column.
        starts_x = (a * x_shifts + b * (y_px + y_shifts) + left).astype(np.float32)
        starts_y = (c * x_shifts + d * (y_px + y_shifts) + top).astype(np.float32)
        shown = self.compared.shown_at(
            starts_x.T[:, half_of_column] + (a * x_px).astype(np.float32),
            starts_y.T[:, half_of_column] + (c * x_px).astype(np.float32),
        )
        factors = halves.products(*map(self._in_stripes, self.compared.evidence(shown)))
        # Sums without BLAS, whose last bits depend on the number of threads.
        of_stripes = np.array([np.einsum("ysx,ysx->sy", p, q) for p, q in factors], np.float64)
        return np.stack([of_stripes[:, half::HALVES].sum(axis=1) for half in range(HALVES)])

    def _in_stripes(self, picture: Grey) -> Grey:
        """[y, stripe, x] a picture without the last columns, which fill no stripe."""
        height, width = picture.shape
        n_stripes = width // self.stripe_px
        return picture[:, : n_stripes * self.stripe_px].reshape(height, n_stripes, self.stripe_px)

    def _values(self, coefficients: Floats) -> Floats:
        """[..., y] sums of the splines."""
        four = coefficients[..., self.first[:, np.newaxis] + np.arange(SUPPORT)]
        values: Floats = (four * self.weights).sum(axis=-1)
        return values

    def step(self, half: int, sums: Floats, present: Floats) -> Floats:  # noqa: ARG002 - one of `halves.Fit`
        """[x and y, n] change of the coefficients, by the equations of the present ones."""
        xx, xy, yy, x_left, y_left = sums
        normal: Floats = np.zeros((2 * self.n, 2 * self.n))
        for row, column, evidence in ((0, 0, xx), (0, 1, xy), (1, 0, xy), (1, 1, yy)):
            self._add(normal[row * self.n :, column * self.n :], evidence)
        usual = float(np.trace(normal)) / (2 * self.n)
        bends = np.diff(np.eye(self.n), n=2, axis=0)
        stiff = np.kron(np.eye(2), halves.LIMITS.stiffness * usual * (bends.T @ bends))
        least = (halves.LIMITS.least_evidence * usual + np.finfo(float).tiny) * np.eye(2 * self.n)
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
