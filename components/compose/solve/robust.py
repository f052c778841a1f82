"""The robust global solve: where every slice lies, and which pairs to believe.

Iteratively reweighted least squares. Thirty rounds with L1-like weights come first: each pair has one vote,
and the majority is found from any start. The redescending loss (Geman-McClure) then switches wrong pairs off;
starting with it leaves breaks of hundreds of px.

The frame (gauge): the first slice's centre stays where it is; the mean rotation of the stack is 0 and its
mean scale 1, so pictures stand upright at their own size. Nothing is random and the rounds are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from components.compose.solve import chain
from components.compose.solve.pairs import Floats, Pairs, Solution, Stack
from components.compose.solve.system import NormalEquations
from components.compose.solve.ties import MODEL_SIGMA_PX, Frame, Ties

TURN_SIGMA_PX = 1.0
SHAPE_SIGMA_PX = 0.2
"""Priors: second difference of the linear part along z, at the corner; its rotation, and its scale and shear.
A stage may turn from slice to slice, a block does not stretch. Robust, so that a true step may be; and as
loose as the usual bend from pair to pair, for serial sections do stretch."""
UPRIGHT_SIGMA_PX = 3.0 * 1000.0**0.5
"""Prior: linear part from the identity, at the corner: 3 px for the mean of 1,000 slices."""
SHEAR_SIGMA_PX = UPRIGHT_SIGMA_PX / 3
"""Prior: linear part from a similarity, tighter, so that a rotation is cheaper than a shear."""
STEP_SIGMA_PX = 100.0
"""Prior: step of the centre between neighbours. Five orders below a pair's weight, it places only what no
pair holds: a slice between its neighbours, an unconnected part where the part before it ends."""

STILL_TRUST = 0.1
"""Vote of a pair that says that nothing moves, where the others move. A curtain or dirt that stands still
makes all near pairs of a run say so; the few far ones that see the tissue must win. Who agrees with the
others ends with full weight."""
L1_ROUNDS = 30
L1_CORE = 0.1
"""Residuals below this many px count as squares, not as absolute values."""
ANNEALED_SCALES: Floats = np.geomspace(6.0, 1.0, 12)
FINAL_ROUNDS = 3
KEPT_WEIGHT = 0.1
"""A pair below this weight is not believed: it misses by 1.5 units or more."""
SUPPORTED_WEIGHT = 0.3
"""A slice whose accepted pairs have a lower mean weight rests on chance: one wrong pair always fits."""

LINEAR = (0, 1, 3, 4)
"""Numbers of a pose that are its linear part."""
CENTER = (2, 5)
"""Numbers of a pose that are the place of its centre."""
_SECOND_DIFFERENCE = ((0, 1.0), (1, -2.0), (2, 1.0))
_Form = Sequence[tuple[int, float]]
"""A linear form of one pose: (number of the pose, coefficient), ascending."""
_HALF = 0.5**0.5
_TURN: Sequence[_Form] = ([(1, -_HALF), (3, _HALF)],)
_SHAPE: Sequence[_Form] = ([(0, 1.0)], [(4, 1.0)], [(1, _HALF), (3, _HALF)])
_Loss = Callable[[Floats], Floats]
"""Weights, 0..1, from residuals in units of the expected spread."""


def solve(pairs: Pairs, stack: Stack, cuts: Collection[int] = ()) -> Solution:
    """Place the slices of a stack by their pairs.

    A part that no pair joins to the others continues where the slices before it end (connectivity.py).

    Args:
        pairs: The accepted pairs, none across a cut.
        stack: The present slices.
        cuts: Slots before which the stack makes a true step: nothing is smooth across it.
    """
    frame = Frame.of(stack.sizes_xy)
    ties = Ties.of(pairs, stack, frame)
    system = _System(ties, frame, smooth_bends(len(stack), cuts), usual_bends_px(pairs, len(stack), frame))
    poses = frame.identities(len(stack))
    trust = np.where(ties.still(frame), STILL_TRUST, 1.0)
    one_vote = trust * MODEL_SIGMA_PX**-2
    poses = system.step(poses, one_vote, np.ones_like)
    for _ in range(L1_ROUNDS):
        poses = system.step(poses, one_vote * _l1(ties.residuals_px(poses)), _l1)
    units = np.maximum(3 * ties.vote_sigma_px, max(1.0, _usual_px(ties.residuals_px(poses))))
    allowed = np.ones(len(ties.slot))
    poses, weights = _anneal(system, poses, units, allowed, trust)
    allowed = _supported(ties, len(stack), weights, trust)
    if not allowed.all():
        # Without the nonsense of bad slices, the pairs that bridge them get a second hearing.
        poses, weights = _anneal(system, poses, units, allowed, trust)
    # Two bad slices in a row can vouch for each other until one of them is gone.
    weights = weights * _supported(ties, len(stack), weights, trust)
    weights = np.where(weights >= KEPT_WEIGHT, weights, 0.0)
    for _ in range(FINAL_ROUNDS):
        poses = system.step(poses, weights / ties.sigma_px**2, _geman_mcclure(1.0))
    poses = upright(poses, frame)
    return Solution(
        volume_from_slice=frame.matrices(poses), weight=weights, residual_px=ties.residuals_px(poses)
    )


def normal_equations(
    pairs: Pairs, stack: Stack, solution: Solution, cuts: Collection[int] = ()
) -> NormalEquations:
    """The equations whose minimum a solution of `solve` is, at that solution."""
    frame = Frame.of(stack.sizes_xy)
    ties = Ties.of(pairs, stack, frame)
    system = _System(ties, frame, smooth_bends(len(stack), cuts), usual_bends_px(pairs, len(stack), frame))
    poses = frame.poses(solution.volume_from_slice)
    return system.equations(poses, solution.weight / ties.sigma_px**2, _geman_mcclure(1.0))


def smooth_bends(n_slices: int, cuts: Collection[int]) -> Floats:
    """[n - 2] 1, or 0 for each second difference that reaches across a cut."""
    smooth = np.ones(max(n_slices - 2, 0))
    for slot in cuts:
        smooth[max(slot - 2, 0) : slot] = 0.0
    return smooth


def _anneal(
    system: _System, poses: Floats, units: Floats, allowed: Floats, trust: Floats
) -> tuple[Floats, Floats]:
    """Poses and weights under the redescending loss, tightened from six units to one."""
    ties = system.ties
    for scale in ANNEALED_SCALES:
        loss = _geman_mcclure(float(scale))
        weights = allowed * loss(ties.residuals_px(poses) / units)
        poses = system.step(poses, trust * weights / ties.vote_sigma_px**2, loss)
    return poses, allowed * loss(ties.residuals_px(poses) / units)


def _supported(ties: Ties, n_slices: int, weights: Floats, trust: Floats) -> Floats:
    """[m] 1, or 0 for the pairs of a slice that most of its pairs contradict."""
    ends = np.concatenate([ties.slot, ties.neighbour])
    count = np.bincount(ends, np.tile(trust, 2), minlength=n_slices)
    total = np.bincount(ends, np.tile(trust * weights, 2), minlength=n_slices)
    rests = total >= SUPPORTED_WEIGHT * count
    allowed: Floats = (rests[ties.slot] & rests[ties.neighbour]).astype(np.float64)
    return allowed


def upright(poses: Floats, frame: Frame) -> Floats:
    """The poses turned and scaled as one about the first centre, to mean rotation 0 and mean scale 1.

    No pair notices. The prior on bends has a small pull to shrink, which this takes back.
    """
    (a, b), (c, d) = poses[:, :, :2].mean(axis=0) / frame.half_px
    mean = np.array([[a + d, b - c], [c - b, a + d]]) / 2
    first = poses[0, :, 2:]
    turned = poses.copy()
    turned[:, :, 2:] -= first
    turned = np.linalg.inv(mean) @ turned
    turned[:, :, 2:] += first
    return turned


def bends_px(poses: Floats, forms: Sequence[_Form]) -> Floats:
    """[n - 2] size of the second difference of some linear forms of the poses, at the corner."""
    numbers = poses.reshape(len(poses), -1)
    values = np.stack([sum(c * numbers[:, number] for number, c in form) for form in forms])
    second: Floats = np.linalg.norm(values[:, :-2] - 2 * values[:, 1:-1] + values[:, 2:], axis=0)
    return second


def usual_bends_px(pairs: Pairs, n_slices: int, frame: Frame) -> tuple[float, float]:
    """Medians of the bends of rotation and shape along the plain chain of neighbouring pairs."""
    if n_slices < 3:
        return 0.0, 0.0
    poses = frame.poses(chain.compose(chain.of_neighbours(pairs), n_slices).volume_from_slice)
    turn, shape = (float(np.median(bends_px(poses, forms))) for forms in (_TURN, _SHAPE))
    return turn, shape


@dataclass(frozen=True, slots=True)
class _System:
    """What stays the same from round to round."""

    ties: Ties
    frame: Frame
    smooth: Floats
    """[n - 2] which bends the priors act on."""
    usual_bends_px: tuple[float, float]
    """Of the rotation and of the shape."""

    def step(self, poses: Floats, weights: Floats, loss: _Loss) -> Floats:
        """One weighted least-squares solve; `loss` weighs the bends of the present poses."""
        return self.equations(poses, weights, loss).solve()

    def equations(self, poses: Floats, weights: Floats, loss: _Loss) -> NormalEquations:
        """The pairs with these weights, and the priors."""
        equations = NormalEquations(poses, reach=max(2, self.ties.reach))
        equations.add_ties(self.ties, weights)
        if len(poses) > 2:
            for forms, least_px, usual_px in zip(
                (_TURN, _SHAPE), (TURN_SIGMA_PX, SHAPE_SIGMA_PX), self.usual_bends_px, strict=True
            ):
                bends = bends_px(poses, forms) / max(1.0, usual_px)
                stiffness = self.smooth * loss(bends) / max(least_px, usual_px) ** 2
                for form in forms:
                    bend = [(ahead, n, c * w) for ahead, w in _SECOND_DIFFERENCE for n, c in form]
                    equations.add_prior(bend, stiffness)
        upright = self.frame.identities(1).reshape(-1)
        add_step_prior(equations, len(poses))
        for number in LINEAR:
            equations.add_prior([(0, number, 1.0)], UPRIGHT_SIGMA_PX**-2, upright[number])
        equations.add_prior([(0, 0, 1.0), (0, 4, -1.0)], SHEAR_SIGMA_PX**-2)
        equations.add_prior([(0, 1, 1.0), (0, 3, 1.0)], SHEAR_SIGMA_PX**-2)
        for number in CENTER:
            equations.hold(0, number, 1.0, upright[number])
        return equations


def add_step_prior(equations: NormalEquations, n_slices: int) -> None:
    """Let the centres of slices that no pair holds follow their neighbours."""
    if n_slices > 1:
        for number in CENTER:
            equations.add_prior([(0, number, -1.0), (1, number, 1.0)], STEP_SIGMA_PX**-2)


def _usual_px(residuals_px: Floats) -> float:
    """Three times the median: tissue that disagrees more everywhere is not wrong everywhere."""
    return 3 * float(np.median(residuals_px)) if len(residuals_px) else 0.0


def _l1(residuals: Floats) -> Floats:
    return L1_CORE / np.maximum(residuals, L1_CORE)


def _geman_mcclure(scale: float) -> _Loss:
    def weights(residuals: Floats) -> Floats:
        return (1 / (1 + (residuals / scale) ** 2)) ** 2

    return weights
