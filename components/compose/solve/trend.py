"""Trend policies: slow motions along z are kept or removed, as the `trend` setting asks.

Matches cannot tell a slanted bundle of neurites from a drift of the stage: both move the picture a little,
always the same way. So the choice is the user's, and each policy has a name::

    keep        the solution as it is
    hybrid      rotation, scale and shear lose what is slower than `long_slices`; positions keep theirs
    detrend     rotation, scale, shear and positions lose it
    straighten  positions lose the straight line from the first slice to the last
    anchor      as hybrid, and pins, which must be there, decide on the positions

A stack shorter than `long_slices` cannot tell a trend from a walk, so `hybrid` leaves it alone; `detrend`,
which is asked for, takes one straight line out of it. Jumps are no trends and stay (`slow_trend`).

Where the linear parts change, or slices are pinned, the positions are fitted to the kept pairs again with the
linear parts fixed, so neighbours stay as close as before: a step changes by the removed slope.

A *track* is how one number of the transforms runs along z. The linear part of a transform is read as
`R(rotation) @ [[scale_x, shear / 2], [shear / 2, scale_y]]` (polar decomposition), so that a rotated picture
has neither scale nor shear, and signs and axes are on a par.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from components.compose.solve.limits import ROUND_OFF, SOLVE, TrendLimits
from components.compose.solve.pairs import Floats, Slices, Solution
from components.compose.solve.problem import Point, SolveProblem
from components.compose.solve.robust import CENTER, LINEAR, add_step_prior, upright
from components.compose.solve.system import NormalEquations
from components.compose.solve.ties import PoseFrame
from components.shared.series import SIGMA_OF_MAD


def with_trend_policy(problem: SolveProblem, solution: Solution, policy: str) -> Solution:
    """A solution after the trend policy and the pins."""
    pins, frame, limits = problem.pins, problem.frame, problem.limits.trend
    solved = poses = frame.poses(solution.volume_from_slice)
    is_long = len(problem.stack) >= limits.long_slices
    if policy == "detrend" or (policy in ("hybrid", "anchor") and is_long):
        poses = without_linear_trend(poses, frame, limits)
    if poses is not solved or pins:
        pinned = _pinned_centers(poses, problem.stack, pins, frame) if pins else {0: frame.center_xy}
        poses = refit_centers(problem, poses, solution.weight, pinned)
    if policy == "detrend":
        poses = _less_trend(poses, slow_trend(poses[:, :, 2], limits))
    if policy == "straighten":
        poses = _less_trend(poses, _end_to_end(poses[:, :, 2], problem.stack))
    if poses is solved:
        return solution
    if not pins:
        poses = upright(poses, frame)
    residual_px = problem.ties.residuals_px(poses)
    return replace(solution, volume_from_slice=frame.matrices(poses), residual_px=residual_px)


def without_linear_trend(poses: Floats, frame: PoseFrame, limits: TrendLimits) -> Floats:
    """The poses without the slow part of rotation, scale and shear; centres stay where they are."""
    slow = linear_parts(slow_trend(linear_tracks(poses[:, :, :2] / frame.half_px), limits))
    changed = poses.copy()
    changed[:, :, :2] = np.linalg.solve(slow, poses[:, :, :2])
    return changed


def refit_centers(
    problem: SolveProblem, poses: Floats, weight: Floats, pinned: Mapping[int, Point]
) -> Floats:
    """The poses with their centres fitted to the pairs, their linear parts fixed.

    Args:
        problem: The slices and pairs.
        poses: `[n, 2, 3]` present poses.
        weight: `[m]` robust weight of each pair.
        pinned: Centres that stay, by slot: at least one.
    """
    ties, limits = problem.ties, problem.limits
    equations = NormalEquations(poses, reach=max(2, ties.reach))
    equations.add_ties(ties, weight / ties.sigma_px**2)
    add_step_prior(equations, len(poses), limits.priors.step_sigma_px)
    for number in LINEAR:
        equations.freeze(number)
    for slot, position in pinned.items():
        for number, target in zip(CENTER, position, strict=True):
            equations.hold(slot, number, limits.decisions.pin_sigma_px**-2, target)
    refitted = poses.copy()
    refitted[:, :, 2] = equations.solve()[:, :, 2]
    return refitted


def _pinned_centers(
    poses: Floats, stack: Slices, pins: Mapping[int, Point], frame: PoseFrame
) -> dict[int, Point]:
    """The places of the frame's centre that bring the slices' own centres to their pins."""
    pinned = {}
    for slot, pin in pins.items():
        own = ((stack.sizes_xy[slot] - 1) / 2 - frame.center_xy) / frame.half_px
        x, y = np.asarray(pin) - poses[slot, :, :2] @ own
        pinned[slot] = (float(x), float(y))
    return pinned


def _end_to_end(centers: Floats, stack: Slices) -> Floats:
    """[n, 2] the straight line along z from the first centre to the last."""
    z = (stack.z - stack.z[0]) / max(stack.z[-1] - stack.z[0], 1)
    line: Floats = z[:, None] * (centers[-1] - centers[0])
    return line


def _less_trend(poses: Floats, trend: Floats) -> Floats:
    """The poses with a trend taken out of their centres; the first stays."""
    moved = poses.copy()
    moved[:, :, 2] -= trend - trend[:1]
    return moved


def linear_tracks(linear: Floats) -> Floats:
    """[n, 4] rotation in rad, log scale in x, log scale in y, shear, of `[n, 2, 2]` linear parts.

    Example:
        >>> linear_tracks(np.diag([2.0, 1.0])[None]).round(3).tolist()
        [[0.0, 0.693, 0.0, 0.0]]
    """
    rotation = np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    shape = _rotations(-rotation) @ linear
    # A part torn off may hold a mirrored slice's nonsense: a logarithm must not fail on it.
    scale_x, scale_y = np.maximum(shape[:, [0, 1], [0, 1]], ROUND_OFF.least_scale).T
    shear = shape[:, 0, 1] + shape[:, 1, 0]
    return np.column_stack([np.unwrap(rotation), np.log(scale_x), np.log(scale_y), shear])


def linear_parts(tracks: Floats) -> Floats:
    """[n, 2, 2] linear parts of `[n, 4]` tracks: the inverse of `linear_tracks`."""
    shape = np.empty((len(tracks), 2, 2))
    shape[:, 0, 0], shape[:, 1, 1] = np.exp(tracks[:, 1]), np.exp(tracks[:, 2])
    shape[:, 0, 1] = shape[:, 1, 0] = tracks[:, 3] / 2
    parts: Floats = _rotations(tracks[:, 0]) @ shape
    return parts


def slow_trend(tracks: Floats, limits: TrendLimits = SOLVE.trend) -> Floats:
    """[n, t] slow part of `[n, t]` tracks: the straight line through the `long_slices` around each slice.

    Savitzky-Golay filter of degree 1 (Savitzky and Golay 1964); a shorter stack has one line. Jumps are no
    part of a trend: they are taken out before, so that a true rotation is not smeared into a slope.
    """
    n = len(tracks)
    if n < 3:
        return np.repeat(tracks.mean(axis=0, keepdims=True), n, axis=0)
    from scipy.ndimage import convolve1d  # here for the reason of system.py

    window = min(limits.long_slices + 1, n if n % 2 else n - 1)
    calm, half = without_jumps(tracks, limits), window // 2
    # A line fitted to a window passes in its middle through the window's mean. SciPy's own filter, which
    # gives the same, takes more than a second to load.
    trend: Floats = convolve1d(calm, np.full(window, 1 / window), axis=0, mode="constant")
    trend[:half] = _line(calm[:window])[:half]
    trend[n - half :] = _line(calm[n - window :])[half + 1 :]
    return trend


def _line(tracks: Floats) -> Floats:
    """[n, t] the straight line that fits each of `[n, t]` tracks best."""
    slots = np.arange(len(tracks))
    slope, level = np.polyfit(slots, tracks, 1)
    return np.asarray(slots[:, None] * slope + level)


def without_jumps(tracks: Floats, limits: TrendLimits = SOLVE.trend) -> Floats:
    """The tracks with each jump replaced by the usual step."""
    steps = np.diff(tracks, axis=0)
    usual = np.median(steps, axis=0)
    spread = SIGMA_OF_MAD * np.median(np.abs(steps - usual), axis=0)
    calm = np.where(np.abs(steps - usual) > limits.jump_spreads * spread, usual, steps)
    return np.concatenate([tracks[:1], tracks[:1] + np.cumsum(calm, axis=0)])


def _rotations(angles: Floats) -> Floats:
    c, s = np.cos(angles), np.sin(angles)
    return np.moveaxis(np.array([[c, -s], [s, c]]), -1, 0)
