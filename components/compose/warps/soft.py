"""Soft warps of the slices of a stack: found, tested by cells that were held out, corrected where they agree.

Each displacement is told twice, by the black and by the white cells of a chessboard. What both tell and each
slice has of its own is a warp, all else noise and tissue, by the same split as that of rows that jitter
(`rows/held_out.py`, `rows/chain.py`). Each wave over the slice (of a cosine transform) is corrected by the
part of its energy that both halves share, and a slice only where each half agrees better with the corrected
other half than with none.

Rows are moved back before: a displacement is told beyond what the shifts of its row explain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from components.compose.rows.chain import jitter_of, priors
from components.compose.rows.held_out import Correction, Waves, cosines, held_out_error, jitter_squares
from components.compose.rows.limits import LIMITS as ROWS
from components.compose.rows.measured import N_HALVES
from components.compose.solve.pairs import Flags, Floats, Solution
from components.compose.solve.problem import SolveProblem
from components.compose.warps.limits import LIMITS, WarpLimits
from components.compose.warps.measured import WarpFrame, WarpPairs, smooth_rows, told_at, warp_pairs
from components.shared.documents.align import PairRecord
from components.shared.documents.transforms import RowShifts, WarpField
from components.shared.row_shifts import SUPPORT, n_splines, packed, spline_weights


def soft_warps(
    records: Iterable[PairRecord],
    problem: SolveProblem,
    solution: Solution,
    ordinary_z: Collection[int],
    row_shifts: Mapping[int, RowShifts],
    limits: WarpLimits = LIMITS,
) -> Correction[WarpField]:
    """Find the soft warps of a stack.

    Args:
        records: of all pairs.
        problem: the stack with its pairs.
        solution: where its slices lie.
        ordinary_z: of the slices that are good and shown as they are; the others neither tell of warps nor
            are straightened.
        row_shifts: by slot, of the slices whose rows are moved back.
        limits: of the room.
    """
    stack = problem.stack
    is_good = np.isin(stack.z, sorted(ordinary_z))
    pairs = warp_pairs(records, problem, solution, is_good)
    if pairs is None or is_good.sum() < limits.least_slices:
        return Correction()
    tells = np.isin(np.arange(len(stack)), np.concatenate([pairs.slot, pairs.neighbour])) & is_good
    scale_px = pairs.knot_px / limits.knot_of_pictures
    at_first = _Told.of(pairs, problem, solution, row_shifts, limits.points_at_first)
    seen2 = at_first.squares_in_volume((ROWS.tissue_stiffness,) * 2, tells)
    if not (seen2 > (limits.seen_at_first * limits.least_warp * scale_px) ** 2).any():
        seen_x, seen_y = np.sqrt(np.maximum(seen2, 0.0)).tolist()
        return Correction(found_px=(seen_x, seen_y))
    told = _Told.of(pairs, problem, solution, row_shifts, limits.points_a_knot)
    total2, sigma2, bends2 = told.squares(told.waves((ROWS.tissue_stiffness,) * 2), tells)
    is_warp = (total2 > (limits.least_warp * scale_px) ** 2) & (total2 > limits.least_sigmas * sigma2)
    found_x, found_y = np.sqrt(np.maximum(total2, 0.0)).tolist()
    found: Correction[WarpField] = Correction(found_px=(found_x, found_y))
    if not is_warp.any():
        return found
    stiffness = np.clip(total2 / np.maximum(bends2, np.finfo(np.float32).tiny), *ROWS.stiffness_range)
    waves = told.waves((float(stiffness[0]), float(stiffness[1])))
    noise2 = np.square(waves[tells, 0] - waves[tells, 1]).mean(axis=(0, 2)) / 4
    is_warp &= total2 > limits.least_of_noise**2 * noise2
    if not is_warp.any():
        return found
    gain = told.shared_part(waves[tells]) * is_warp[:, np.newaxis]
    filtered = waves * gain.astype(np.float32)
    # The transform keeps squares as they are: waves agree as the displacements do.
    agrees = tells & (held_out_error(filtered, waves, is_warp) < held_out_error(0.0, waves, is_warp))
    corrected = filtered.mean(axis=1)
    return Correction(
        found_px=found.found_px,
        is_corrected=(bool(is_warp[0]), bool(is_warp[1])),
        of_slots={int(slot): told.as_field(corrected[slot], limits) for slot in np.flatnonzero(agrees)},
        corrected_px=told.rms_px(corrected[agrees]) if agrees.any() else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The pairs that tell, and the points of the volume and of slices at which they are asked."""

    pairs: WarpPairs
    frame: WarpFrame
    volume_from_slice: Floats
    rows: Floats
    """[n, 2, n_y] shifts of rows, as splines of the pairs hold them."""
    slice_x: Floats
    slice_y: Floats
    """Columns and rows of the largest slice, in px."""

    @classmethod
    def of(
        cls,
        pairs: WarpPairs,
        problem: SolveProblem,
        solution: Solution,
        row_shifts: Mapping[int, RowShifts],
        points_a_knot: float,
    ) -> _Told:
        stack, spacing_px = problem.stack, pairs.knot_px / points_a_knot
        width, height = stack.sizes_xy.max(axis=0).tolist()
        x, y = (np.linspace(0, side - 1, round(side / spacing_px) + 1) for side in (width, height))
        return cls(
            pairs=pairs,
            frame=WarpFrame.of(stack, solution.volume_from_slice, spacing_px),
            volume_from_slice=solution.volume_from_slice,
            rows=smooth_rows(row_shifts, len(stack), height, pairs.knot_px, n_splines(height, pairs.knot_px)),
            slice_x=x,
            slice_y=y,
        )

    def waves(self, stiffness: tuple[float, float]) -> Waves:
        """[n, half, x and y, wave] the cosine transform of every slice's warp, by each half.

        Args:
            stiffness: of the tissue's path along x and along y.
        """
        warp, is_told = self._in_volume(stiffness)
        found = np.zeros((len(warp), N_HALVES, 2, self.n_points), np.float32)
        for slot in np.flatnonzero(is_told.any(axis=1)):
            found[slot] = self._transformed(self._in_slice(int(slot), warp[slot], is_told[slot]))
        return found

    def squares_in_volume(self, stiffness: tuple[float, float], tells: Flags) -> Floats:
        """[x and y] mean squares of the warp at the points of the volume, a slice's own points left aside."""
        warp, is_told = self._in_volume(stiffness)
        of_axes = warp.reshape(len(warp), N_HALVES, 2, -1)
        found = [jitter_squares(of_axes[:, :, axis : axis + 1], tells)[0].sum() for axis in (0, 1)]
        return np.array(found) / max(1.0, float(is_told[tells].sum(axis=1).mean()))

    def _in_volume(self, stiffness: tuple[float, float]) -> tuple[Waves, Flags]:
        """[n, half with x and y, point] every slice's warp in the volume, and [n, point] where it is told."""
        pairs, frame = self.pairs, self.frame
        n, distance = len(self.volume_from_slice), pairs.neighbour - pairs.slot
        # The tissue's own displacements grow with the distance.
        weights = 1.0 / np.square(distance)
        bands = [priors(n, int(distance.max()), of_axis, ROWS) for of_axis in stiffness]
        warp = np.zeros((n, N_HALVES * 2, frame.shape[0] * frame.shape[1]), np.float32)
        is_told = np.zeros((n, warp.shape[2]), np.bool_)
        for index, point in enumerate(frame.points()):
            at, told = told_at(pairs, frame, point, self.rows)
            if len(at):
                for axis, band in enumerate(bands):
                    of_axis = slice(axis, None, 2)
                    warp[:, of_axis, index] = jitter_of(
                        band, pairs.slot[at], pairs.neighbour[at], weights[at], told[:, of_axis]
                    )
                is_told[pairs.slot[at], index] = is_told[pairs.neighbour[at], index] = True
        return warp, is_told

    def _in_slice(self, slot: int, warp: Waves, is_told: Flags) -> Waves:
        """[half, x and y, point] of a slice; where none is told, what the nearest tells."""
        from scipy.ndimage import distance_transform_edt, map_coordinates

        known = is_told.reshape(self.frame.shape)
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        m = self.volume_from_slice[slot]
        x, y = self.slice_x, self.slice_y[:, np.newaxis]
        places = [
            (m[axis, 0] * x + m[axis, 1] * y + m[axis, 2] - start) / self.frame.spacing_px
            for axis, start in ((1, self.frame.rows[0]), (0, self.frame.columns[0]))
        ]
        found = [
            map_coordinates(
                of_half.reshape(known.shape)[tuple(nearest)].astype(np.float64), places, mode="nearest"
            )
            for of_half in warp
        ]
        return np.asarray(found, np.float32).reshape(N_HALVES, 2, -1)

    @property
    def n_points(self) -> int:
        """Points of a slice."""
        return len(self.slice_y) * len(self.slice_x)

    def _transformed(self, displacements: Waves) -> Waves:
        """The cosine transform of displacements over a slice."""
        over = displacements.reshape(*displacements.shape[:-1], len(self.slice_y), -1)
        waves = cosines(len(self.slice_y)) @ over @ cosines(len(self.slice_x)).T
        return np.asarray(waves, np.float32).reshape(displacements.shape)

    def rms_px(self, waves: Waves) -> float:
        """The RMS length of the displacements that have these waves [slice, x and y, wave]."""
        return float(np.sqrt(np.square(waves).sum(axis=(1, 2)).mean() / self.n_points))

    def squares(self, waves: Waves, tells: Flags) -> tuple[Floats, Floats, Floats]:
        """[x and y] mean squares of the warp, their 1-sigma, and those of the tissue's changes of course."""
        # One axis after the other: the products of all waves of a tall stack take much memory.
        found = [jitter_squares(waves[:, :, axis : axis + 1], tells) for axis in (0, 1)]
        total2 = [squares.sum(dtype=np.float64) / self.n_points for squares, _, _ in found]
        sigma2, bends2 = (np.array([float(of[part][0]) for of in found]) for part in (1, 2))
        return np.array(total2), sigma2, bends2

    def shared_part(self, waves: Waves) -> Floats:
        """[x and y, wave] the part of energy that both halves share, one for waves of about one length."""
        n_y, n_x = len(self.slice_y), len(self.slice_x)
        length = np.rint(np.hypot(np.arange(n_y)[:, np.newaxis], np.arange(n_x))).astype(np.int64).ravel()
        usual2 = np.square(waves.mean(axis=1, dtype=np.float64)).mean(axis=0)
        shared2 = (waves[:, 0].astype(np.float64) * waves[:, 1]).mean(axis=0)
        pooled = [[np.bincount(length, of_axis)[length] for of_axis in of] for of in (shared2, usual2)]
        shared, usual = np.array(pooled)
        part: Floats = np.clip(shared / np.maximum(usual, np.finfo(float).tiny), 0.0, 1.0)
        return part

    def as_field(self, waves: Waves, limits: WarpLimits) -> WarpField:
        """The splines that come nearest to the displacements with these waves [x and y, wave] of a slice."""
        knot_px = self.pairs.knot_px
        fit_y, fit_x = (_fit(at / knot_px, limits) for at in (self.slice_y, self.slice_x))
        of_waves = waves.astype(np.float64).reshape(2, len(self.slice_y), -1)
        over = cosines(len(self.slice_y)).T @ of_waves @ cosines(len(self.slice_x))
        return WarpField(
            first_xy_px=(0.0, 0.0),
            knot_px=knot_px,
            n_xy=(len(fit_x), len(fit_y)),
            displacements=packed(fit_y @ over @ fit_x.T),
        )


def _fit(knots: Floats, limits: WarpLimits) -> Floats:
    """[n, m] from values at places in units of the knots to the splines that come nearest to them."""
    n = n_splines(float(knots[-1]) + 1, 1.0)
    first, weights = spline_weights(knots, n)
    design = np.zeros((len(knots), n))
    design[np.arange(len(knots))[:, np.newaxis], first[:, np.newaxis] + np.arange(SUPPORT)] = weights
    bends = np.diff(np.eye(n), n=2, axis=0)
    fit = np.linalg.solve(design.T @ design + limits.spline_stiffness * bends.T @ bends, design.T)
    return np.asarray(fit, np.float64)
