"""The smooth displacement that a slice has against its neighbour, beyond their transform.

All of a picture is fitted as one by products of B-splines along y and x, by the least squares of grey levels
(Lucas and Kanade 1981). The picture is divided into cells like a chessboard; the black and the white ones are
fitted each by themselves, and see other tissue. What both find is a displacement of the slice; what they find
differently is noise and tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import PreparedPicture
from components.align.rows import LIMITS as ROWS
from components.align.rows import Floats, Grey, places, shrunk, slopes
from components.shared.geometry import Matrix, at_scale
from components.shared.limits import limit
from components.shared.row_shifts import SUPPORT, n_splines, spline_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftWarpLimits:
    """Limits of the splines and cells that soft warps are told from; pictures are those of the rows."""

    knot_px: int = limit(
        80,
        unit="px of the picture from a knot to the next",
        why="a warp that varies over 100 px is followed to a tenth of a pixel",
        measured_on="benchmarks/exact_axes, case soft warp: 0.24 px with 32, 0.16 with 64, 0.17 with 96",
        too_small="noise: each spline is told by few pixels; size of the records",
        too_large="warps that vary over short distances are not followed",
    )
    cells: int = limit(
        8,
        unit="cells along the shorter side",
        why="the black ones and the white ones both see all parts of a slice",
        measured_on="not measured apart",
        too_small="where half of a slice is empty, one half tells nothing",
        too_large="large structures are seen by both halves, which then agree on tissue",
    )
    block_px: int = limit(
        4,
        unit="px a side, over which a displacement is taken for even",
        why="sums over blocks are 16 times fewer than pixels",
        measured_on="derived: a twentieth of a knot",
        too_small="time",
        too_large="displacements within a block differ",
    )
    coarse_steps: int = limit(
        3,
        unit="steps in pictures of half the size",
        why="a step finds displacements of a few px to about a third",
        measured_on="benchmarks/exact_axes, case soft warp: displacements of up to 5 px",
        too_small="large warps are not found",
        too_large="time",
    )
    fine_steps: int = limit(
        3,
        unit="steps",
        why="the two halves part in the first, and have settled after two more, as those of rows",
        measured_on="as that of the rows",
        too_small="the halves agree where they should not",
        too_large="time",
    )
    stiffness: float = limit(
        0.001,
        unit="of the usual evidence on a spline, on the square of second differences",
        why="holds splines without evidence to their neighbours",
        measured_on="as that of the rows",
        too_small="parts without structure run away",
        too_large="warps are flattened",
    )
    least_evidence: float = limit(
        1e-6,
        unit="of the usual evidence on a spline",
        why="keeps the equations of parts without any structure solvable",
        measured_on="not measured; far below what pixels tell",
        too_small="the equations have no solution where all is empty",
        too_large="displacements are drawn toward 0",
    )


LIMITS = SoftWarpLimits()
_HALVES = 2
"""Number of halves of the cells."""


@dataclass(frozen=True, slots=True)
class WarpMeasurement:
    """A displacement as two halves of the cells tell it, in pixels of the pictures that were compared."""

    scale: float
    """Scale of these pictures against those given."""
    halves: Floats
    """[half, x and y, n_y, n_x] coefficients in px; a knot lies every `knot_px`, the first at pixel 0, 0."""


def soft_warp(
    picture: PreparedPicture,
    neighbour: PreparedPicture,
    neighbour_from_slice: Matrix,
    trusted: NDArray[np.bool_],
) -> WarpMeasurement:
    """The smooth v such that the neighbour shows at `neighbour_from_slice (p + v(p))` what is at p.

    Args:
        picture: [y, x] detail of the slice.
        neighbour: [y, x] detail of the neighbour.
        neighbour_from_slice: in pixels of these pictures.
        trusted: [y, x] pixels of the slice that may be compared.
    """
    factor = 1 if picture.size <= ROWS.most_px else 2
    n_y, n_x = (n_splines(side / factor, LIMITS.knot_px) for side in picture.shape)
    found: Floats = np.zeros((_HALVES, 2, n_y, n_x))
    for coarse, steps in ((2, LIMITS.coarse_steps), (1, LIMITS.fine_steps)):
        compared = _Compared.of(picture, neighbour, neighbour_from_slice, trusted, factor * coarse)
        splines = _Splines.of(compared.picture.shape, coarse, n_y, n_x)
        # The slopes hardly change with the steps: the equations are those of the first.
        equations: list[_Equations] = []
        for _ in range(steps):
            squares, left_over = compared.sums(splines.values(found) / coarse)
            if coarse > 1:  # both halves start from one place
                squares[:], left_over[:] = squares.sum(axis=0), left_over.sum(axis=0)
            equations = equations or [_Equations.of(splines, of_half) for of_half in squares]
            for half in range(_HALVES):
                step = equations[half].step(splines.projected(left_over[half]), found[half] / coarse)
                found[half] += coarse * step
    return WarpMeasurement(1 / factor, found)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Two pictures, shrunk by a whole number and cut to whole blocks, and what is compared of them."""

    picture: Grey
    neighbour: Grey
    neighbour_from_slice: Matrix
    trusted: Grey
    slopes: tuple[Grey, Grey]
    """Slopes of the picture, along x and y."""
    half_of_block: NDArray[np.int64]
    """[y, x] which half a block belongs to."""

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
        height, width = small.shape
        # A slope at the rim of what is trusted would look beyond it.
        inner = cv2.erode(trusted.astype(np.uint8), np.ones((3, 3), np.uint8))
        seen = cv2.resize(inner, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.float32)
        n_y, n_x = (max(side // LIMITS.block_px, 1) for side in small.shape)
        whole = np.s_[: n_y * LIMITS.block_px, : n_x * LIMITS.block_px]
        blocks_a_cell = max(min(n_y, n_x) // LIMITS.cells, 1)
        cell_y, cell_x = np.arange(n_y) // blocks_a_cell, np.arange(n_x) // blocks_a_cell
        x_slope, y_slope = slopes(small)
        return cls(
            picture=small[whole],
            neighbour=shrunk(neighbour, factor),
            neighbour_from_slice=at_scale(neighbour_from_slice, 1 / factor),
            trusted=seen[whole],
            slopes=(x_slope[whole], y_slope[whole]),
            half_of_block=(cell_y[:, np.newaxis] + cell_x) % _HALVES,
        )

    def sums(self, displacements_px: Floats) -> tuple[Floats, Floats]:
        """[half, 3, y, x] and [half, 2, y, x] sums over the pixels of blocks, 0 in those of the other half.

        The first are the squares of the slopes (xx, xy, yy), the others the slopes times what the displaced
        neighbour leaves of the grey levels (x, y).

        Args:
            displacements_px: [half, x and y, y, x] of blocks, in pixels of these pictures.
        """
        height, width = self.picture.shape
        (a, b, left), (c, d, top) = self.neighbour_from_slice[:2].tolist()
        x_px, y_px = np.arange(width), np.arange(height)[:, np.newaxis]
        own = np.where(self.half_of_block == 0, displacements_px[0], displacements_px[1])
        u, v = (_over_pixels(of_axis, (height, width)) for of_axis in own)
        shown = cv2.remap(
            self.neighbour,
            np.float32(a) * u + np.float32(b) * v + (a * x_px + b * y_px + left).astype(np.float32),
            np.float32(c) * u + np.float32(d) * v + (c * x_px + d * y_px + top).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32, copy=False)
        # The mean of both slopes, so that the step errs by the third power of the displacement.
        x_slope, y_slope = (
            (mine + theirs) * self.trusted for mine, theirs in zip(self.slopes, slopes(shown), strict=True)
        )
        left_over = 2 * (self.picture - shown)
        of_half = np.arange(_HALVES)[:, np.newaxis, np.newaxis, np.newaxis] == self.half_of_block
        squares = ((x_slope, x_slope), (x_slope, y_slope), (y_slope, y_slope))
        return (
            of_half * np.array([_over_blocks(p * q) for p, q in squares]),
            of_half * np.array([_over_blocks(slope * left_over) for slope in (x_slope, y_slope)]),
        )


def _over_pixels(of_blocks: Floats, shape_yx: tuple[int, int]) -> Grey:
    """Values of blocks at pixels, linearly between the middles of the blocks."""
    height, width = shape_yx
    grown = cv2.resize(of_blocks.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return grown.astype(np.float32, copy=False)


def _over_blocks(of_pixels: Grey) -> Floats:
    """Sums over the pixels of blocks."""
    n_y, n_x = (side // LIMITS.block_px for side in of_pixels.shape)
    means = cv2.resize(of_pixels, (n_x, n_y), interpolation=cv2.INTER_AREA)
    return means.astype(np.float64) * LIMITS.block_px**2


@dataclass(frozen=True, slots=True)
class _Splines:
    """B-splines at the middles of blocks. Sums are without BLAS, whose last bits depend on threads."""

    along_y: Floats
    """[y, n_y]"""
    along_x: Floats
    """[x, n_x]"""

    @classmethod
    def of(cls, shape_yx: tuple[int, ...], coarse: int, n_y: int, n_x: int) -> _Splines:
        """The splines of a picture that is shrunk by `coarse`."""
        height, width = shape_yx
        side = coarse * LIMITS.block_px
        return cls(_at_middles(height, side, n_y), _at_middles(width, side, n_x))

    def values(self, coefficients: Floats) -> Floats:
        """[half, x and y, y, x] of blocks."""
        along_x = np.einsum("haij,xj->haix", coefficients, self.along_x)
        values: Floats = np.einsum("yi,haix->hayx", self.along_y, along_x)
        return values

    def projected(self, of_blocks: Floats) -> Floats:
        """[..., n_y, n_x] sums over the blocks, each with the weights of the splines."""
        along_y = np.einsum("yi,ayx->aix", self.along_y, of_blocks)
        sums: Floats = np.einsum("aix,xj->aij", along_y, self.along_x)
        return sums

    def products(self, of_blocks: Floats) -> Floats:
        """[n, n] sums over the blocks, each with the products of two splines."""
        (_, n_y), (_, n_x) = self.along_y.shape, self.along_x.shape
        of_y = (self.along_y[:, :, np.newaxis] * self.along_y[:, np.newaxis]).reshape(-1, n_y * n_y)
        of_x = (self.along_x[:, :, np.newaxis] * self.along_x[:, np.newaxis]).reshape(-1, n_x * n_x)
        sums = np.einsum("px,xq->pq", np.einsum("yp,yx->px", of_y, of_blocks), of_x)
        in_order: Floats = sums.reshape(n_y, n_y, n_x, n_x).transpose(0, 2, 1, 3).reshape(n_y * n_x, -1)
        return in_order


def _at_middles(n_px: int, side: int, n: int) -> Floats:
    """[blocks, n] the splines along an axis of blocks."""
    first, weights = spline_weights(places(n_px // LIMITS.block_px, side) / LIMITS.knot_px, n)
    found: Floats = np.zeros((len(first), n))
    found[np.arange(len(first))[:, np.newaxis], first[:, np.newaxis] + np.arange(SUPPORT)] = weights
    return found


@dataclass(frozen=True, slots=True)
class _Equations:
    """Equations of the coefficients of a half."""

    normal: Floats
    stiff: Floats
    """[2n, 2n] the part that holds them to bend little."""

    @classmethod
    def of(cls, splines: _Splines, squares: Floats) -> _Equations:
        """The equations by the squares of slopes [3, y, x], see `_Compared.sums`."""
        xx, xy, yy = (splines.products(of_blocks) for of_blocks in squares)
        evidence = np.block([[xx, xy], [xy, yy]])
        usual = float(np.trace(evidence)) / len(evidence)
        stiff = (
            LIMITS.stiffness
            * usual
            * np.kron(np.eye(2), _bending(*(s.shape[1] for s in (splines.along_y, splines.along_x))))
        )
        least = (LIMITS.least_evidence * usual + np.finfo(float).tiny) * np.eye(len(evidence))
        return cls(np.asarray(evidence + stiff + least, np.float64), np.asarray(stiff, np.float64))

    def step(self, left_over: Floats, present: Floats) -> Floats:
        """[x and y, n_y, n_x] change of the coefficients that explains most of what is left over."""
        explained = left_over.ravel() - np.einsum("ij,j->i", self.stiff, present.ravel())
        step: Floats = np.linalg.solve(self.normal, explained).reshape(present.shape)
        return step


def _bending(n_y: int, n_x: int) -> Floats:
    """[n, n] the squares of all second differences of coefficients [n_y, n_x], mixed ones twice."""
    second_y, second_x = (np.diff(np.eye(n), n=2, axis=0) for n in (n_y, n_x))
    first_y, first_x = (np.diff(np.eye(n), axis=0) for n in (n_y, n_x))
    bending: Floats = (
        np.kron(second_y.T @ second_y, np.eye(n_x))
        + np.kron(np.eye(n_y), second_x.T @ second_x)
        + 2 * np.kron(first_y.T @ first_y, first_x.T @ first_x)
    )
    return bending
