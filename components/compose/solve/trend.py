"""What becomes of slow trends along z: the `trend` setting.

Matches cannot tell a slanted bundle of neurites from a drift of the stage: both move the picture a little,
always the same way. So the choice is the user's, and each policy has a name::

    keep        the solution as it is
    hybrid      rotation, scale and shear lose what is slower than `LONG` slices; positions keep theirs
    detrend     rotation, scale, shear and positions lose it
    straighten  positions lose the straight line from the first slice to the last
    anchor      as hybrid, and pins, which must be there, decide on the positions

A stack shorter than `LONG` cannot tell a trend from a walk, so `hybrid` leaves it alone; `detrend`, which is
asked for, takes one straight line out of it. Jumps are no trends and stay (`tracks.slow_trend`).

Where the linear parts change, or slices are pinned, the positions are fitted to the believed pairs again with
the linear parts fixed, so neighbours stay as close as before: a step changes by the removed slope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from components.compose.solve.pairs import Floats, Pairs, Solution, Stack
from components.compose.solve.robust import CENTER, LINEAR, add_step_prior, upright
from components.compose.solve.steering import Steering
from components.compose.solve.system import NormalEquations
from components.compose.solve.ties import Frame, Ties
from components.compose.solve.tracks import LONG, linear_parts, linear_tracks, slow_trend
from components.shared.documents.config import RunConfig

_PIN_SIGMA_PX = 1e-5


def settle(pairs: Pairs, stack: Stack, solution: Solution, steering: Steering, config: RunConfig) -> Solution:
    """Apply the trend policy and the pins to a solution."""
    policy, pins = config.trend, steering.pins
    frame = Frame.of(stack.sizes_xy)
    ties = Ties.of(pairs, stack, frame)
    before = poses = frame.poses(solution.volume_from_slice)
    if policy == "detrend" or (policy in ("hybrid", "anchor") and len(stack) >= LONG):
        poses = without_linear_trend(poses, frame)
    if poses is not before or pins:
        held = _held(poses, stack, pins, frame) if pins else {0: frame.center_xy}
        poses = refit_centers(poses, ties, solution.weight / ties.sigma_px**2, held)
    if policy == "detrend":
        poses = _less(poses, slow_trend(poses[:, :, 2]))
    if policy == "straighten":
        poses = _less(poses, _end_to_end(poses[:, :, 2], stack))
    if poses is before:
        return solution
    if not pins:
        poses = upright(poses, frame)
    return replace(solution, volume_from_slice=frame.matrices(poses), residual_px=ties.residuals_px(poses))


def without_linear_trend(poses: Floats, frame: Frame) -> Floats:
    """The poses without the slow part of rotation, scale and shear; centres stay where they are."""
    slow = linear_parts(slow_trend(linear_tracks(poses[:, :, :2] / frame.half_px)))
    changed = poses.copy()
    changed[:, :, :2] = np.linalg.solve(slow, poses[:, :, :2])
    return changed


def refit_centers(
    poses: Floats, ties: Ties, weights: Floats, held: Mapping[int, tuple[float, float]]
) -> Floats:
    """The poses with their centres fitted to the pairs, their linear parts fixed.

    Args:
        poses: `[n, 2, 3]` present poses.
        ties: The pairs.
        weights: `[m]` of the pairs, per px^2.
        held: Centres that stay, by slot: at least one.
    """
    equations = NormalEquations(poses, reach=max(2, ties.reach))
    equations.add_ties(ties, weights)
    add_step_prior(equations, len(poses))
    for number in LINEAR:
        equations.freeze(number)
    for slot, position in held.items():
        for number, target in zip(CENTER, position, strict=True):
            equations.hold(slot, number, _PIN_SIGMA_PX**-2, target)
    refitted = poses.copy()
    refitted[:, :, 2] = equations.solve()[:, :, 2]
    return refitted


def _held(
    poses: Floats, stack: Stack, pins: Mapping[int, tuple[float, float]], frame: Frame
) -> dict[int, tuple[float, float]]:
    """The places of the frame's centre that bring the slices' own centres to their pins."""
    held = {}
    for slot, pin in pins.items():
        own = ((stack.sizes_xy[slot] - 1) / 2 - frame.center_xy) / frame.half_px
        x, y = np.asarray(pin) - poses[slot, :, :2] @ own
        held[slot] = (float(x), float(y))
    return held


def _end_to_end(centers: Floats, stack: Stack) -> Floats:
    """[n, 2] the straight line along z from the first centre to the last."""
    z = (stack.z - stack.z[0]) / max(stack.z[-1] - stack.z[0], 1)
    line: Floats = z[:, None] * (centers[-1] - centers[0])
    return line


def _less(poses: Floats, trend: Floats) -> Floats:
    """The poses with a trend taken out of their centres; the first stays."""
    moved = poses.copy()
    moved[:, :, 2] -= trend - trend[:1]
    return moved
