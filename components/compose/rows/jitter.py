"""Jitter of the rows of a stack: found, tested by windows that were held out, and corrected where they agree.

*Held out.* Each shift is told twice, by the even and by the odd stripes of columns, which see other tissue.

*Not tissue.* What both tell and slices have each of their own is jitter (`held_out.py`).

*How much.* These two decide how stiff the path of the tissue is (Wiener's filter along z). Each wave along y
(of a cosine transform) is then corrected by the part of its energy that both halves share, and a slice only
where each half agrees better with the corrected other half than with none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from components.compose.rows.chain import jitter_of, priors
from components.compose.rows.held_out import Correction, Waves, cosines, held_out_error, jitter_squares
from components.compose.rows.limits import LIMITS, JitterLimits
from components.compose.rows.measured import N_HALVES, RowFrame, RowPairs, row_pairs, told_at
from components.compose.solve.pairs import Floats, Solution
from components.compose.solve.problem import SolveProblem
from components.shared.documents.align import PairRecord
from components.shared.documents.transforms import RowShifts
from components.shared.row_shifts import n_splines, packed, spline_weights


def row_jitter(
    records: Iterable[PairRecord],
    problem: SolveProblem,
    solution: Solution,
    ordinary_z: Collection[int],
    limits: JitterLimits = LIMITS,
) -> Correction[RowShifts]:
    """Find the jitter of the rows of a stack.

    Args:
        records: of all pairs.
        problem: the stack with its pairs.
        solution: where its slices lie.
        ordinary_z: of the slices that are good and shown as they are; the others neither tell of jitter nor
            are corrected.
        limits: of the room.
    """
    stack, volume_from_slice = problem.stack, solution.volume_from_slice
    is_good = np.isin(stack.z, sorted(ordinary_z))
    pairs = row_pairs(records, problem, solution, is_good, limits)
    if pairs is None or is_good.sum() < limits.least_slices:
        return Correction()
    frame = RowFrame.of(stack, volume_from_slice)
    n_rows = round(limits.rows_a_knot * float(frame.heights.max()) / pairs.knot_px) + 1
    slice_rows = np.linspace(0, float(frame.heights.max()) - 1, n_rows)
    tells = np.isin(np.arange(len(stack)), np.concatenate([pairs.slot, pairs.neighbour])) & is_good
    first = _in_slices(pairs, frame, slice_rows, (limits.tissue_stiffness,) * 2, limits)
    found2, sigma2, bends2 = jitter_squares(first @ cosines(n_rows).T, tells)
    total2, total_sigma2 = found2.sum(axis=1) / n_rows, sigma2
    stiffness = np.clip(total2 / np.maximum(bends2, np.finfo(float).tiny), *limits.stiffness_range)
    halves = _in_slices(pairs, frame, slice_rows, (float(stiffness[0]), float(stiffness[1])), limits)
    waves = halves @ cosines(n_rows).T
    scale_px = pairs.knot_px / limits.knot_of_pictures
    noise2 = np.square(waves[tells, 0] - waves[tells, 1]).mean(axis=(0, 2)) / 4
    is_jitter = (
        (total2 > (limits.least_jitter * scale_px) ** 2)
        & (total2 > limits.least_of_noise**2 * noise2)
        & (total2 > limits.least_sigmas * total_sigma2)
    )
    found_px = np.sqrt(np.maximum(total2, 0.0))
    found: Correction[RowShifts] = Correction(found_px=(float(found_px[0]), float(found_px[1])))
    if not is_jitter.any():
        return found
    usual2 = np.square(waves.mean(axis=1))[tells].mean(axis=0)
    shared2 = (waves[:, 0] * waves[:, 1])[tells].mean(axis=0)
    share = _pooled(shared2, limits) / np.maximum(_pooled(usual2, limits), np.finfo(float).tiny)
    gain = np.clip(share, 0.0, 1.0) * is_jitter[:, np.newaxis]
    filtered = (waves * gain) @ cosines(n_rows)
    agrees = tells & (held_out_error(filtered, halves, is_jitter) < held_out_error(0.0, halves, is_jitter))
    corrected = filtered.mean(axis=1)
    shifts = _as_splines(corrected, slice_rows, pairs.knot_px)
    return Correction(
        found_px=found.found_px,
        is_corrected=(bool(is_jitter[0]), bool(is_jitter[1])),
        of_slots={
            int(slot): RowShifts(first_row_px=0.0, knot_px=pairs.knot_px, shifts=packed(shifts[slot]))
            for slot in np.flatnonzero(agrees)
        },
        corrected_px=float(np.sqrt(np.square(corrected[agrees]).sum(axis=1).mean())) if agrees.any() else 0.0,
    )


def _in_slices(
    pairs: RowPairs,
    frame: RowFrame,
    slice_rows: Floats,
    stiffness: tuple[float, float],
    limits: JitterLimits,
) -> Waves:
    """[n, half, x and y, row] the jitter of every slice at its own rows, by each half.

    Args:
        pairs: that tell.
        frame: rows of the volume.
        slice_rows: of the slices.
        stiffness: of the tissue's path along x and along y.
        limits: of the room.
    """
    n = len(frame.scale)
    grid = frame.grid(pairs.knot_px / limits.rows_a_knot)
    distance = pairs.neighbour - pairs.slot
    # The tissue's own shifts grow with the distance.
    weights = 1.0 / np.square(distance)
    bands = [priors(n, int(distance.max()), of_axis, limits) for of_axis in stiffness]
    jitter = np.zeros((n, N_HALVES * 2, len(grid)), np.float32)
    is_told = np.zeros((n, len(grid)), np.bool_)
    for index, row in enumerate(grid.tolist()):
        at, told = told_at(pairs, frame, row)
        if len(at):
            for axis, band in enumerate(bands):
                of_axis = slice(axis, None, 2)
                jitter[:, of_axis, index] = jitter_of(
                    band, pairs.slot[at], pairs.neighbour[at], weights[at], told[:, of_axis]
                )
            is_told[pairs.slot[at], index] = is_told[pairs.neighbour[at], index] = True
    found = np.zeros((n, N_HALVES * 2, len(slice_rows)), np.float32)
    for slot in np.flatnonzero(is_told.any(axis=1)):
        place = (slice_rows * frame.scale[slot] + frame.start[slot] - grid[0]) / (grid[1] - grid[0])
        known = np.flatnonzero(is_told[slot])
        found[slot] = _cubic(jitter[slot].astype(np.float64), place, int(known[0]), int(known[-1]))
    return found.reshape(n, N_HALVES, 2, len(slice_rows))


def _cubic(values: Floats, places: Floats, first: int, last: int) -> Floats:
    """[k, m] values [k, n] between their places, by Catmull and Rom's cubic; beyond first and last, these."""
    places = np.clip(places, first, last)
    left = np.minimum(places.astype(np.int64), max(last - 1, first))
    f = places - left
    before, here, next_, after = (values[:, np.clip(left + i, first, last)] for i in (-1, 0, 1, 2))
    result: Floats = here + f / 2 * (
        next_
        - before
        + f * (2 * before - 5 * here + 4 * next_ - after + f * (3 * (here - next_) + after - before))
    )
    return result


def _pooled(squares: Floats, limits: JitterLimits) -> Floats:
    """[..., wave] sums over the waves next to each."""
    ones = np.ones(limits.pooled_waves)
    return np.stack([np.convolve(of_waves, ones, "same") for of_waves in squares])


def _as_splines(values: Floats, rows: Floats, knot_px: float) -> Floats:
    """[..., n] coefficients of splines that come nearest to values [..., m] at rows."""
    n = n_splines(float(rows[-1]) + 1, knot_px)
    first, weights = spline_weights(rows / knot_px, n)
    design = np.zeros((len(rows), n))
    np.add.at(design, (np.arange(len(rows))[:, np.newaxis], first[:, np.newaxis] + np.arange(4)), weights)
    result: Floats = values @ np.linalg.pinv(design).T
    return result
