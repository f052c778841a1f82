"""Stacks with known transforms, and the pairs that an imperfect matching would find in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.compose.solve.pairs import Pairs, Slices, Solution, unknown_supports
from components.compose.solve.problem import SolveProblem
from components.compose.solve.robust import solve
from components.shared.geometry import corner_points

MATCHES, MATCH_SIGMA_PX = 300, 0.8


@dataclass(frozen=True)
class Planted:
    truth: NDArray[np.float64]
    stack: Slices
    pairs: Pairs

    @property
    def problem(self) -> SolveProblem:
        return SolveProblem.of(self.stack, self.pairs)

    @cached_property
    def solution(self) -> Solution:
        """The solution of the stack as it was when it was asked for first."""
        return self.solve()

    def solve(self) -> Solution:
        return solve(self.problem)


def about_center(
    n: int, width: float, shifts: ArrayLike = 0.0, linear: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """[n, 3, 3] with a linear deviation [n, 2, 2] about the picture's centre and shifts [n, 2]."""
    matrices = np.tile(np.eye(3), (n, 1, 1))
    deviation = np.broadcast_to(linear, (n, 2, 2))
    matrices[:, :2, :2] += deviation
    center = np.full(2, (width - 1) / 2)
    matrices[:, :2, 2] = np.broadcast_to(shifts, (n, 2)) - deviation @ center
    return matrices


def wandering(rng: np.random.Generator, n: int, width: float) -> NDArray[np.float64]:
    """Translations with 4 px of jitter on a slow trend."""
    trend = 30 * np.sin(np.arange(n)[:, None] / 900 + [0.0, 1.0])
    return about_center(n, width, rng.normal(0, 4, (n, 2)) + trend - trend[:1])


def pair_noise(
    rng: np.random.Generator, m: int, width: float, distance: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[m, 3, 3] errors of affines fitted to evenly spread noisy matches; the noise grows with distance."""
    sigma = MATCH_SIGMA_PX * np.sqrt(distance) / np.sqrt(MATCHES)
    half = width / 2
    linear = rng.normal(0, 1, (m, 2, 2)) * (sigma * np.sqrt(3) / half)[:, None, None]
    return about_center(m, width, rng.normal(0, 1, (m, 2)) * sigma[:, None], linear)


def all_pairs(n: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found = [(i, j) for i in range(n) for j in range(i + 1, min(i + k, n - 1) + 1)]
    slots = np.array(found, np.int64).reshape(-1, 2)
    return slots[:, 0], slots[:, 1]


def wrong_transforms(rng: np.random.Generator, m: int, width: float) -> NDArray[np.float64]:
    """Confident nonsense: shifts of up to 200 px with up to 2 degrees."""
    angle = rng.uniform(-0.035, 0.035, m)
    linear = np.stack([np.stack([0 * angle, -angle], -1), np.stack([angle, 0 * angle], -1)], -2)
    return about_center(m, width, rng.uniform(-200, 200, (m, 2)), linear)


def plant(
    n: int,
    k: int = 4,
    *,
    seed: int = 0,
    width: float = 5000.0,
    truth: NDArray[np.float64] | None = None,
    wrong: float = 0.0,
    bad: ArrayLike = (),
    noise: bool = True,
) -> Planted:
    """A stack of `n` slices; a fraction `wrong` of pairs, and every pair of the `bad` slices, is nonsense."""
    rng = np.random.default_rng(seed)
    truth = wandering(rng, n, width) if truth is None else truth
    i, j = all_pairs(n, k)
    measured = np.linalg.inv(truth[j]) @ truth[i]
    if noise:
        measured = pair_noise(rng, len(i), width, j - i) @ measured
    spoiled = (rng.random(len(i)) < wrong) | np.isin(i, bad) | np.isin(j, bad)
    measured[spoiled] = wrong_transforms(rng, int(spoiled.sum()), width)
    sigma = MATCH_SIGMA_PX * np.sqrt(j - i) / np.sqrt(MATCHES)
    pairs = Pairs(
        slot=i,
        neighbour=j,
        neighbour_from_slice=measured,
        sigma_px=sigma,
        supports_px=unknown_supports(len(i)),
    )
    return Planted(truth, Slices(z=np.arange(n), sizes_xy=np.full((n, 2), width)), pairs)


def errors_px(
    found: NDArray[np.float64],
    truth: NDArray[np.float64],
    width: float,
    good: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """[n] RMS over the corners of found - truth, after the best common affine of the frame (the gauge)."""
    points = np.column_stack([corner_points(width, width), np.ones(4)])
    ours = np.einsum("nij,cj->nci", found, points)
    theirs = np.einsum("nij,cj->nci", truth, points)
    use = np.ones(len(found), bool) if good is None else good
    gauge, *_ = np.linalg.lstsq(ours[use].reshape(-1, 3), theirs[use].reshape(-1, 3), rcond=None)
    errors: NDArray[np.float64] = np.sqrt((((ours @ gauge) - theirs)[:, :, :2] ** 2).sum(-1).mean(-1))
    return errors


def step_errors_px(
    found: NDArray[np.float64], truth: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """[n - 1] RMS over the corners of the error of each step z -> z + 1."""
    points = np.column_stack([corner_points(width, width), np.ones(4)]).T
    ours = np.linalg.inv(found[1:]) @ found[:-1] @ points
    theirs = np.linalg.inv(truth[1:]) @ truth[:-1] @ points
    errors: NDArray[np.float64] = np.sqrt(((ours - theirs)[:, :2] ** 2).sum(1).mean(-1))
    return errors
