"""The smooth displacement that a slice has against its neighbour, beyond their transform.

All of a picture is fitted as one by products of B-splines along y and x. The picture is divided into cells
like a chessboard: the black ones are one half, the white ones the other (halves.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.displacements import halves
from components.align.displacements.halves import HALVES, Compared, Floats, Grey, Measurement, Pictures
from components.shared.limits import limit
from components.shared.row_shifts import SUPPORT, n_splines, spline_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftWarpLimits:
    """Limits of the splines and cells that soft warps are told from."""

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


LIMITS = SoftWarpLimits()


def soft_warp(pictures: Pictures) -> Measurement:
    """The smooth v such that the neighbour shows at `neighbour_from_slice (p + v(p))` what is at p."""
    n_y, n_x = (n_splines(side / pictures.factor, LIMITS.knot_px) for side in pictures.picture.shape)
    return halves.told_by_halves(
        pictures, (n_y, n_x), lambda compared, coarse: _WarpFit.of(compared, coarse, n_y, n_x)
    )


@dataclass(frozen=True, slots=True)
class _WarpFit:
    """Splines over a picture that is cut to whole blocks, see `halves.Fit`."""

    compared: Compared
    splines: _Splines
    half_of_block: NDArray[np.int64]
    """[y, x] which half a block belongs to."""
    equations: dict[int, _Equations] = field(default_factory=dict)
    """By half."""

    @classmethod
    def of(cls, compared: Compared, coarse: int, n_y: int, n_x: int) -> _WarpFit:
        """The fit in pictures that are shrunk by `coarse`."""
        blocks_y, blocks_x = (max(side // LIMITS.block_px, 1) for side in compared.picture.shape)
        whole = np.s_[: blocks_y * LIMITS.block_px, : blocks_x * LIMITS.block_px]
        blocks_a_cell = max(min(blocks_y, blocks_x) // LIMITS.cells, 1)
        cell_y, cell_x = np.arange(blocks_y) // blocks_a_cell, np.arange(blocks_x) // blocks_a_cell
        x_slope, y_slope = compared.slopes
        cut = replace(
            compared,
            picture=compared.picture[whole],
            trusted=compared.trusted[whole],
            slopes=(x_slope[whole], y_slope[whole]),
        )
        return cls(
            compared=cut,
            splines=_Splines.of(cut.picture.shape, coarse, n_y, n_x),
            half_of_block=(cell_y[:, np.newaxis] + cell_x) % HALVES,
        )

    def sums(self, found: Floats) -> Floats:
        """[half, 5, y, x] sums over the pixels of blocks, 0 in those of the other half."""
        height, width = self.compared.picture.shape
        (a, b, left), (c, d, top) = self.compared.neighbour_from_slice[:2].tolist()
        x_px, y_px = np.arange(width), np.arange(height)[:, np.newaxis]
        black, white = self.splines.values(found)
        own: Floats = np.where(self.half_of_block == 0, black, white)
        u, v = (_over_pixels(of_axis, (height, width)) for of_axis in own)
        shown = self.compared.shown_at(
            np.float32(a) * u + np.float32(b) * v + (a * x_px + b * y_px + left).astype(np.float32),
            np.float32(c) * u + np.float32(d) * v + (c * x_px + d * y_px + top).astype(np.float32),
        )
        of_half = np.arange(HALVES)[:, np.newaxis, np.newaxis, np.newaxis] == self.half_of_block
        factors = halves.products(*self.compared.evidence(shown))
        sums: Floats = of_half * np.array([_over_blocks(p * q) for p, q in factors])
        return sums

    def step(self, half: int, sums: Floats, present: Floats) -> Floats:
        """[x and y, n_y, n_x] change of the coefficients.

        The slopes hardly change with the steps: the equations are those of the first.
        """
        if half not in self.equations:
            self.equations[half] = _Equations.of(self.splines, sums[:3])
        return self.equations[half].step(self.splines.projected(sums[3:]), present)


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
    first, weights = spline_weights(halves.places(n_px // LIMITS.block_px, side) / LIMITS.knot_px, n)
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
        """The equations by the squares of slopes [3, y, x], see `halves.Fit.sums`."""
        xx, xy, yy = (splines.products(of_blocks) for of_blocks in squares)
        evidence = np.block([[xx, xy], [xy, yy]])
        usual = float(np.trace(evidence)) / len(evidence)
        stiff = (
            halves.LIMITS.stiffness
            * usual
            * np.kron(np.eye(2), _bending(*(s.shape[1] for s in (splines.along_y, splines.along_x))))
        )
        least = (halves.LIMITS.least_evidence * usual + np.finfo(float).tiny) * np.eye(len(evidence))
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
