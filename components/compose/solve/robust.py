"""The robust global solve: where every slice lies, and which pairs are kept.

Iteratively reweighted least squares. Thirty rounds with L1-like weights come first: each pair has one vote,
and the majority is found from any start. The redescending loss of Geman and McClure (1987), which goes flat
for large misfits, then switches wrong pairs off; starting with it leaves breaks of hundreds of px.

The frame (gauge): the first slice's centre stays where it is; the mean rotation of the stack is 0 and its
mean scale 1, so pictures stand upright at their own size. Nothing is random and the rounds are counted, so
the same pairs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from components.compose.solve.chain import chained, neighbours_of
from components.compose.solve.limits import ROUND_OFF, RobustLimits
from components.compose.solve.pairs import Floats, Solution
from components.compose.solve.problem import SolveProblem
from components.compose.solve.system import NormalEquations
from components.compose.solve.ties import PoseFrame, Ties
from components.shared.series import SIGMA_OF_MAD

LINEAR = (0, 1, 3, 4)
"""Indices of the numbers of a pose that are its linear part."""
CENTER = (2, 5)
"""Indices of the numbers of a pose that are the place of its centre."""
_SECOND_DIFFERENCE = ((0, 1.0), (1, -2.0), (2, 1.0))
"""(slots ahead, coefficient) of how much a number bends along z."""
_Form = Sequence[tuple[int, float]]
"""A linear form of one pose: (index of the number, coefficient), ascending."""
_TURN: Sequence[_Form] = ([(1, -(0.5**0.5)), (3, 0.5**0.5)],)
"""The part of a pose's linear numbers that rotates: `(c - b) / sqrt(2)`, so that its length is that of the
numbers."""
_SHAPE: Sequence[_Form] = ([(0, 1.0)], [(4, 1.0)], [(1, 0.5**0.5), (3, 0.5**0.5)])
"""The part that scales and shears: a, d and `(b + c) / sqrt(2)`."""
_Loss = Callable[[Floats], Floats]
"""Weights, 0..1, from residuals in units of the expected spread."""


def solve(problem: SolveProblem) -> Solution:
    """Place the slices of a stack by their pairs.

    A part that no pair joins to the others continues where the previous part ends (connectivity.py).
    """
    ties, n_slices, limits = problem.ties, len(problem.stack), problem.limits.robust
    system = _System.of(problem)
    poses = problem.frame.identities(n_slices)
    trust = np.where(ties.are_still(problem.frame, problem.limits.ties), limits.still_trust, 1.0)
    poses = _majority(system, poses, trust)
    units = np.maximum(
        limits.vote_sigmas * ties.vote_sigma_px, max(1.0, _usual_px(ties.residuals_px(poses), limits))
    )
    allowed = np.ones(len(ties.slot))
    poses, weights = _anneal(system, poses, units, allowed, trust)
    allowed = _supported(ties, n_slices, weights, trust, limits)
    if not allowed.all():
        # Without the nonsense of bad slices, the pairs that bridge them get a second hearing.
        poses, weights = _anneal(system, poses, units, allowed, trust)
    # Two bad slices in a row can vouch for each other until one of them is gone.
    weights = weights * _supported(ties, n_slices, weights, trust, limits)
    weights = np.where(weights >= limits.kept_weight, weights, 0.0)
    for _ in range(limits.final_rounds):
        poses = system.final_equations(poses, weights / ties.sigma_px**2).solve()
    poses = upright(poses, problem.frame)
    return Solution(
        volume_from_slice=problem.frame.matrices(poses), weight=weights, residual_px=ties.residuals_px(poses)
    )


def normal_equations(problem: SolveProblem, solution: Solution) -> NormalEquations:
    """The equations whose minimum a solution of `solve` is, at that solution."""
    poses = problem.frame.poses(solution.volume_from_slice)
    weights = solution.weight / problem.ties.sigma_px**2
    return _System.of(problem).final_equations(poses, weights)


def smooth_bends(n_slices: int, cuts: Collection[int]) -> Floats:
    """[n - 2] 1, or 0 for each second difference that reaches across a cut."""
    smooth = np.ones(max(n_slices - 2, 0))
    for slot in cuts:
        smooth[max(slot - 2, 0) : slot] = 0.0
    return smooth


def _majority(system: _System, poses: Floats, trust: Floats) -> Floats:
    """The poses on which most pairs agree, found from any start: each pair has one vote (L1)."""
    limits, ties = system.problem.limits, system.problem.ties
    one_vote = trust * limits.ties.model_sigma_px**-2
    core_px = limits.robust.l1_core_px

    def l1(residuals: Floats) -> Floats:
        return core_px / np.maximum(residuals, core_px)

    poses = system.step(poses, one_vote, np.ones_like)
    for _ in range(limits.robust.l1_rounds):
        poses = system.step(poses, one_vote * l1(ties.residuals_px(poses)), l1)
    return poses


def _anneal(
    system: _System, poses: Floats, units: Floats, allowed: Floats, trust: Floats
) -> tuple[Floats, Floats]:
    """Poses and weights under the redescending loss, tightened step by step to one unit."""
    ties, limits = system.problem.ties, system.problem.limits.robust
    for scale in np.geomspace(limits.annealed_from, 1.0, limits.annealed_rounds):
        loss = _geman_mcclure(float(scale))
        weights = allowed * loss(ties.residuals_px(poses) / units)
        poses = system.step(poses, trust * weights / ties.vote_sigma_px**2, loss)
    return poses, allowed * loss(ties.residuals_px(poses) / units)


def _supported(ties: Ties, n_slices: int, weights: Floats, trust: Floats, limits: RobustLimits) -> Floats:
    """[m] 1, or 0 for the pairs of a slice that most of its pairs contradict."""
    ends = np.concatenate([ties.slot, ties.neighbour])
    count = np.bincount(ends, np.tile(trust, 2), minlength=n_slices)
    total = np.bincount(ends, np.tile(trust * weights, 2), minlength=n_slices)
    rests = total >= limits.supported_weight * count
    allowed: Floats = (rests[ties.slot] & rests[ties.neighbour]).astype(np.float64)
    return allowed


def upright(poses: Floats, frame: PoseFrame) -> Floats:
    """The poses rotated and scaled as one about the first centre, to mean rotation 0 and mean scale 1.

    No pair notices. The prior on bends has a small pull to shrink, which this takes back. Rotations and
    scales have means of their own (the circular and the geometric one): the mean of matrices that turn by
    different angles is smaller than each of them.
    """
    linear = poses[:, :, :2] / frame.half_px
    similar = (linear[:, 0, 0] + linear[:, 1, 1] + 1j * (linear[:, 1, 0] - linear[:, 0, 1])) / 2
    # A slice that shrank to a point would count without end.
    scales = np.maximum(np.abs(similar), ROUND_OFF.least_scale)
    mean = np.exp(np.log(scales).mean() + 1j * np.angle((similar / scales).sum()))
    mean = np.array([[mean.real, -mean.imag], [mean.imag, mean.real]])
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


def turn_steps_px(poses: Floats) -> Floats:
    """[n - 1] how far each slice turns from the one before, at the corner, and which way."""
    numbers = poses.reshape(len(poses), -1)
    steps: Floats = np.diff(sum(c * numbers[:, number] for number, c in _TURN[0]))
    return steps


def usual_bends_px(problem: SolveProblem) -> tuple[float, float]:
    """Medians of the bends of rotation and of shape along the plain chain of neighbouring pairs."""
    if len(problem.stack) < 3:
        return 0.0, 0.0
    chain = chained(neighbours_of(problem.pairs), len(problem.stack))
    poses = problem.frame.poses(chain.volume_from_slice)
    turn, shape = (float(np.median(bends_px(poses, forms))) for forms in (_TURN, _SHAPE))
    return turn, shape


@dataclass(frozen=True, slots=True)
class _System:
    """A problem with what its priors need, the same in every round."""

    problem: SolveProblem
    smooth: Floats
    """[n - 2] 1 where the priors act on a bend, else 0."""
    usual_bends_px: tuple[float, float]
    """Usual bend of the rotation and of the shape."""

    @classmethod
    def of(cls, problem: SolveProblem) -> _System:
        return cls(problem, smooth_bends(len(problem.stack), problem.cuts), usual_bends_px(problem))

    def step(self, poses: Floats, weights: Floats, loss: _Loss) -> Floats:
        """One weighted least-squares solve; `loss` weighs the bends of the present poses."""
        return self.equations(poses, weights, loss).solve()

    def equations(self, poses: Floats, weights: Floats, loss: _Loss) -> NormalEquations:
        """The pairs with these weights, and the priors."""
        ties, priors = self.problem.ties, self.problem.limits.priors
        equations = NormalEquations(poses, reach=max(2, ties.reach))
        equations.add_ties(ties, weights)
        if len(poses) > 2:
            for forms, least_px, usual_px in zip(
                (_TURN, _SHAPE),
                (priors.turn_sigma_px, priors.shape_sigma_px),
                self.usual_bends_px,
                strict=True,
            ):
                bends = bends_px(poses, forms) / max(1.0, usual_px)
                stiffness = self.smooth * loss(bends) / max(least_px, usual_px) ** 2
                for form in forms:
                    bend = [(ahead, n, c * w) for ahead, w in _SECOND_DIFFERENCE for n, c in form]
                    equations.add_prior(bend, stiffness)
        identity = self.problem.frame.identities(1).reshape(-1)
        add_step_prior(equations, len(poses), priors.step_sigma_px)
        for number in LINEAR:
            equations.add_prior([(0, number, 1.0)], priors.upright_sigma_px**-2, identity[number])
        equations.add_prior([(0, 0, 1.0), (0, 4, -1.0)], priors.shear_sigma_px**-2)
        equations.add_prior([(0, 1, 1.0), (0, 3, 1.0)], priors.shear_sigma_px**-2)
        for number in CENTER:
            equations.hold(0, number, 1.0, identity[number])
        return equations

    def final_equations(self, poses: Floats, weights: Floats) -> NormalEquations:
        """The equations whose minimum is the solution: also with a prior that shall not decide on pairs."""
        equations = self.equations(poses, weights, _geman_mcclure(1.0))
        if len(poses) > 2:
            self._add_turn_prior(equations, poses)
        return equations

    def _add_turn_prior(self, equations: NormalEquations, poses: Floats) -> None:
        """Expect each slice to turn from the one before as much as most do, give or take what that changes.

        A stage that turns does so anew in each slice, while tissue that winds along z turns almost evenly. No
        pair tells them apart; along the stack the changes do: those of independent steps are sqrt(2) times as
        large as the steps.
        """
        priors = self.problem.limits.priors
        usual_px = max(priors.least_turn_step_px, SIGMA_OF_MAD * self.usual_bends_px[0] / 2**0.5)
        is_turned = _geman_mcclure(max(priors.turned_px, 3 * usual_px))
        steps_px = turn_steps_px(poses)
        even_px = float(np.median(steps_px))
        pull = is_turned(np.abs(steps_px - even_px)) / usual_px**2
        for slot in self.problem.cuts:
            pull[slot - 1] = 0.0
        (turn,) = _TURN
        equations.add_prior(
            [(ahead, n, w * c) for ahead, w in ((0, -1), (1, 1)) for n, c in turn], pull, even_px
        )


def add_step_prior(equations: NormalEquations, n_slices: int, step_sigma_px: float) -> None:
    """Let the centres of slices that no pair holds follow their neighbours."""
    if n_slices > 1:
        for number in CENTER:
            equations.add_prior([(0, number, -1.0), (1, number, 1.0)], step_sigma_px**-2)


def _usual_px(residuals_px: Floats, limits: RobustLimits) -> float:
    """Some times the median misfit: tissue that disagrees more everywhere is not wrong everywhere."""
    return limits.usual_misfits * float(np.median(residuals_px)) if len(residuals_px) else 0.0


def _geman_mcclure(scale: float) -> _Loss:
    def weights(residuals: Floats) -> Floats:
        return (1 / (1 + (residuals / scale) ** 2)) ** 2

    return weights
