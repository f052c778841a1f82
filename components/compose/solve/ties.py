"""Pairs as corresponding points, in coordinates that make every number of a pose a pixel.

A *pose* is a `volume_from_slice` map for u = (p_slice - centre) / half, the same centre and half for all::

    p_volume = [[a, b, s],  [u_x]          a, b, c, d: px at the corner
                [c, d, t]]  [u_y]          s, t:       px at the centre
                            [ 1 ]

A *tie* is one pair in these coordinates: five points of slice i and where the pair's transform puts them in
slice j. Ties are made once for a solve (problem.py).

Poses and transforms are affine, and so is a misfit, `e = D u`. Its weighted squares need no points but their
second moments `S`, the weighted mean of `u u^T`: the mean of `e^2` is the trace of `D S D^T`. The small
matrices of all ties lie along the last axis, `[i, j, m]`, so that NumPy goes through them in long rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from components.compose.solve.chain import sigmas_by_distance
from components.compose.solve.limits import ClosureLimits, SolveLimits, TieLimits
from components.compose.solve.pairs import CORNERS, Flags, Floats, Integers, Pairs, Slices
from components.shared.geometry import Matrix

POINT_WEIGHTS: Floats = np.array([1 / 12, 1 / 12, 1 / 12, 1 / 12, 2 / 3])
"""Weights of the four corners and the centre: they have the second moments of matches spread evenly over the
area (4 / 12 = 1 / 3 along each axis, as of a uniform density on -1..1), so a pair binds a pose as its matches
would."""
CENTER_POINT = 4
"""Index of the centre among the five points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseFrame:
    """The coordinates of poses: the centre and half the longer side of the largest slice."""

    center_xy: tuple[float, float]
    half_px: float

    @classmethod
    def of(cls, sizes_xy: ArrayLike) -> PoseFrame:
        """The frame of slices with these widths and heights, `[n, 2]`."""
        width, height = np.asarray(sizes_xy, np.float64).max(axis=0)
        center = (float(width - 1) / 2, float(height - 1) / 2)
        return cls(center_xy=center, half_px=max(*center, 1.0))

    @property
    def from_slice(self) -> Matrix:
        """Normalised coordinates from pixels of a slice."""
        (x, y), h = self.center_xy, self.half_px
        return np.array([[1 / h, 0.0, -x / h], [0.0, 1 / h, -y / h], [0.0, 0.0, 1.0]])

    def identities(self, n: int) -> Floats:
        """`n` poses that leave each pixel where it is."""
        return np.tile(np.linalg.inv(self.from_slice)[:2], (n, 1, 1))

    def poses(self, matrices: Floats) -> Floats:
        """[n, 2, 3] poses of [n, 3, 3] volume_from_slice."""
        poses: Floats = matrices[:, :2] @ np.linalg.inv(self.from_slice)
        return poses

    def matrices(self, poses: Floats) -> Floats:
        """[n, 3, 3] volume_from_slice of [n, 2, 3] poses."""
        full = np.zeros((len(poses), 3, 3))
        full[:, :2] = poses @ self.from_slice
        full[:, 2, 2] = 1.0
        return full


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """The pairs of a stack as corresponding points in the frame's coordinates."""

    slot: Integers
    neighbour: Integers
    own_points: Floats
    """[m, 5, 3] homogeneous points of the pair's first slice."""
    neighbour_points: Floats
    """[m, 5, 3] points of the pair's second slice that its transform makes of `own_points`."""
    own_moments: Floats
    """[3, 3, m] second moments of `own_points`, with their weights."""
    neighbour_from_own: Floats
    """[3, 3, m] the pair's transform in these coordinates."""
    vote_sigma_px: Floats
    """[m] expected spread before the stack has been looked at: that of the matches, and what no model of a
    pair explains."""
    sigma_px: Floats
    """[m] spread as the closures of the stack tell (chain.py): the weights of pairs that are kept."""

    @property
    def reach(self) -> int:
        """Slots between the farthest pair's slices."""
        return int((self.neighbour - self.slot).max(initial=0))

    @classmethod
    def of(cls, pairs: Pairs, stack: Slices, frame: PoseFrame, limits: SolveLimits) -> Ties:
        """Put each pair's transform on the corners and the centre of where its evidence lies."""
        own = evidence_points(pairs, stack.sizes_xy, limits.ties)
        shift = pairs.neighbour_from_slice[:, :2, 2]
        moved = own @ pairs.neighbour_from_slice[:, :2, :2].transpose(0, 2, 1) + shift[:, None]
        distance = stack.z[pairs.neighbour] - stack.z[pairs.slot]
        # Independent errors of d steps add as variances do, so their sum grows with the root of d.
        expected_px = np.hypot(pairs.sigma_px, limits.ties.model_sigma_px * np.sqrt(distance))
        tell = _tell_of_others(expected_px, distance, limits.closures)
        by_distance = sigmas_by_distance(pairs.chosen(tell), stack, limits.closures)
        own_points = _normalised(own, frame)
        weighted = own_points.transpose(0, 2, 1) * POINT_WEIGHTS
        in_frame = frame.from_slice @ pairs.neighbour_from_slice @ np.linalg.inv(frame.from_slice)
        return cls(
            slot=pairs.slot,
            neighbour=pairs.neighbour,
            own_points=own_points,
            own_moments=_ties_last(weighted @ own_points),
            neighbour_from_own=_ties_last(in_frame),
            neighbour_points=_normalised(moved, frame),
            vote_sigma_px=expected_px,
            sigma_px=_as_closures_tell(expected_px, distance, tell, by_distance)
            * _growth_untold(pairs, distance, by_distance, limits.closures),
        )

    def are_still(self, frame: PoseFrame, limits: TieLimits, among: Flags | slice = slice(None)) -> Flags:
        """True of each of the ties `among` that hardly moves where most do: the mark of a static pattern."""
        moved = (self.own_points[among] - self.neighbour_points[among]) * frame.half_px
        motion_px = np.sqrt((moved**2).sum(axis=2) @ POINT_WEIGHTS)
        usual_px = float(np.median(motion_px)) if len(motion_px) else 0.0
        return np.asarray(motion_px < min(limits.still_px, limits.still_share * usual_px))

    def misfits(self, poses: Floats) -> Floats:
        """[m, 5, 2] in px of the volume: where slice i puts a point, minus where slice j does."""
        here = self.own_points @ poses[self.slot].transpose(0, 2, 1)
        there = self.neighbour_points @ poses[self.neighbour].transpose(0, 2, 1)
        difference: Floats = here - there
        return difference

    def misfit_maps(self, poses: Floats) -> Floats:
        """[2, 3, m] misfit of each tie at a point of slice i, as a linear map of the point."""
        columns = _ties_last(poses)
        there = product(columns.take(self.neighbour, axis=2), self.neighbour_from_own)
        difference: Floats = columns.take(self.slot, axis=2) - there
        return difference

    def residuals_px(self, poses: Floats) -> Floats:
        """[m] RMS of the misfit over the common area."""
        maps = self.misfit_maps(poses)
        squares = np.einsum("ijm,ijm->m", product(maps, self.own_moments), maps)
        # Rounding may leave a little less than nothing of two maps that agree.
        residuals: Floats = np.sqrt(np.maximum(squares, 0.0))
        return residuals

    def predicted_maps(self, poses: Floats) -> Floats:
        """[3, 3, m] where these poses put slice i in slice j."""
        columns = _ties_last(poses)
        x, y = columns.take(self.slot, axis=2)
        (a, b, s), (c, d, t) = columns.take(self.neighbour, axis=2)
        x[2] -= s
        y[2] -= t
        determinant = a * d - b * c
        maps = np.zeros((3, 3, len(self.slot)))
        maps[0], maps[1], maps[2, 2] = (d * x - b * y) / determinant, (a * y - c * x) / determinant, 1.0
        return maps


def product(left: Floats, right: Floats) -> Floats:
    """[i, k, m] matrix products of `[i, j, m]` and `[j, k, m]`."""
    products: Floats = np.einsum("ijm,jkm->ikm", left, right)
    return products


def _ties_last(matrices: Floats) -> Floats:
    return np.ascontiguousarray(matrices.transpose(1, 2, 0))


def _tell_of_others(expected_px: Floats, distance: Integers, limits: ClosureLimits) -> Flags:
    """[m] whether a pair is good enough that what it misses by says something of the pairs below it."""
    neighbours_px = expected_px[distance == 1]
    if not len(neighbours_px):
        return np.ones(len(expected_px), np.bool_)
    most_px = limits.comparable_sigmas * float(np.median(neighbours_px)) * np.sqrt(distance)
    return np.asarray(expected_px <= most_px)


def _as_closures_tell(
    expected_px: Floats, distance: Integers, tell: Flags, by_distance: dict[int, float]
) -> Floats:
    """The expected sigmas, scaled at each distance to what the closures of pairs that `tell` say of it."""
    sigma_px = expected_px.copy()
    for d, told_px in by_distance.items():
        at = distance == d
        if (at & tell).any():
            sigma_px[at] *= told_px / np.median(expected_px[at & tell])
    return sigma_px


def _growth_untold(
    pairs: Pairs, distance: Integers, by_distance: dict[int, float], limits: ClosureLimits
) -> Floats:
    """[m] factors of the expected sigmas of far pairs where too few closures tell how they grow.

    Such a pair is taken to compare changing tissue, and what neighbours say of the same slices decides. One
    that bridges a place where neighbours say nothing keeps its own sigma.
    """
    is_told = np.zeros(int(pairs.neighbour.max(initial=0)) + 1, np.int64)
    is_told[pairs.slot[distance == 1] + 1] = 1
    n_told = is_told.cumsum()
    steps = pairs.neighbour - pairs.slot
    untold = ~np.isin(distance, list(by_distance)) & (n_told[pairs.neighbour] - n_told[pairs.slot] == steps)
    return np.where(untold, distance**limits.steepest_growth, 1.0)


def evidence_points(pairs: Pairs, sizes_xy: Floats, limits: TieLimits) -> Floats:
    """[m, 5, 2] corners and centre, in pixels of slice i, of the rectangle that a pair's evidence lies in.

    Where that is not known, it is the one that the slices share; where they share too little of a side, the
    whole of slice i.
    """
    inverse = np.linalg.inv(pairs.neighbour_from_slice)
    last, neighbour_last = sizes_xy[pairs.slot] - 1, sizes_xy[pairs.neighbour] - 1
    seen = (CORNERS * neighbour_last[:, None]) @ inverse[:, :2, :2].transpose(0, 2, 1) + inverse[
        :, None, :2, 2
    ]
    low, high = np.maximum(seen.min(axis=1), 0.0), np.minimum(seen.max(axis=1), last)
    apart = np.any(high - low < limits.least_common_side * last, axis=1)
    low[apart], high[apart] = 0.0, last[apart]
    told = np.isfinite(pairs.supports_px).all(axis=1)
    low[told], high[told] = pairs.supports_px[told, :2], pairs.supports_px[told, 2:]
    corners = low[:, None] + CORNERS * (high - low)[:, None]
    return np.concatenate([corners, (low + high)[:, None] / 2], axis=1)


def _normalised(points: Floats, frame: PoseFrame) -> Floats:
    homogeneous = np.ones((*points.shape[:2], 3))
    homogeneous[:, :, :2] = (points - frame.center_xy) / frame.half_px
    return homogeneous
