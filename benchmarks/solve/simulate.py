"""Solve a simulated stack of 13,696 slices with wrong pairs and bad slices, for several seeds.

The simulator is that of the tests (tests/components/compose/planted_stack.py): 5,000 px wide slices,
positions with 4 px of jitter on a slow wander of 30 px, pairs z+1..z+4 from 300 matches of 0.8 px.

    python -m benchmarks.solve.simulate --seeds 0-19
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.compose.solve.connectivity import connectivity
from components.compose.solve.pairs import Solution
from components.compose.solve.robust import normal_equations, solve
from components.compose.solve.trend import with_trend_policy
from components.compose.solve.uncertainty import observed_spread, uncertainty
from tests.components.compose import planted_stack as planting

N, WIDTH, WRONG, N_BAD = 13_696, 5000.0, 0.05, 150
CURTAIN = slice(6000, 6030)
KINDS = {
    "independent": 0,
    "curtain-2": 2,
    "curtain-4": 4,
}
"""Wrong pairs: at random, or also a static curtain on 30 slices that makes all pairs up to this distance
inside the run say that nothing moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A planted stack and what is to be found in it."""

    planted: Any
    bad: np.ndarray
    judged: np.ndarray
    """[n] good slices, those below a curtain that spoils every pair left out."""
    inside: np.ndarray
    """[n] good slices below the curtain."""


def case(seed: int, kind: str) -> Case:
    """Plant a stack."""
    bad = np.sort(np.random.default_rng(seed + 100).choice(N, N_BAD, replace=False))
    planted = planting.plant(N, 4, wrong=WRONG, bad=bad, seed=seed)
    reach, pairs = KINDS[kind], planted.pairs
    static = (pairs.slot >= CURTAIN.start) & (pairs.neighbour < CURTAIN.stop)
    static &= pairs.neighbour - pairs.slot <= reach
    static &= ~np.isin(pairs.slot, bad) & ~np.isin(pairs.neighbour, bad)
    pairs.neighbour_from_slice[static] = np.eye(3)
    good = ~np.isin(np.arange(N), bad)
    inside = np.zeros(N, np.bool_)
    inside[CURTAIN] = reach > 0
    judged = good & ~inside if reach == 4 else good
    return Case(planted=planted, bad=bad, judged=judged, inside=good & inside)


def report(seed: int, kind: str) -> str:
    """One row of the table."""
    found = case(seed, kind)
    pairs = found.planted.pairs
    started = time.process_time()
    problem = found.planted.problem
    solution = solve(problem)
    seconds = time.process_time() - started
    settled = with_trend_policy(problem, solution, "hybrid")
    parts = connectivity(pairs.chosen(solution.kept), N)
    isolated = np.flatnonzero(parts.isolated)
    keep, hybrid = _errors(solution, found), _errors(settled, found)
    equations = normal_equations(problem, solution)
    sigma = uncertainty(equations, observed_spread(problem, solution), parts.parts, N).sigma_px
    below = f"{hybrid[found.inside].max():.1f}" if found.inside.any() else "-"
    return (
        f"| {seed} | {kind} | {keep[found.judged].max():.2f} | {hybrid[found.judged].max():.2f} | {below} "
        f"| {sigma[[0, -1]].max():.2f} | {np.isin(found.bad, isolated).sum()} "
        f"| {(~np.isin(isolated, found.bad)).sum()} | {seconds:.0f} |"
    )


def floor(seed: int) -> str:
    """Solve the planted stack with every pair right: the error that the noise of the matches alone leaves."""
    planted = planting.plant(N, 4, seed=seed)
    solution = with_trend_policy(planted.problem, planted.solve(), "hybrid")
    worst = planting.errors_px(solution.volume_from_slice, planted.truth, WIDTH).max()
    return f"| {seed} | floor | - | {worst:.2f} | - | - | - | - | - |"


def _errors(solution: Solution, found: Case) -> np.ndarray:
    errors: np.ndarray = planting.errors_px(
        solution.volume_from_slice, found.planted.truth, WIDTH, found.judged
    )
    return errors


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0-19", help="First and last seed.")
    parser.add_argument("--kind", choices=[*KINDS, "floor"], help="One kind; all seeds in turn without it.")
    arguments = parser.parse_args()
    first, last = (int(part) for part in arguments.seeds.split("-"))
    print(
        "| seed | wrong pairs | worst, keep | worst, hybrid | below the curtain | 1-sigma at the ends ",
        end="",
    )
    print("| bad found | false | CPU s |\n|---|---|---|---|---|---|---|---|---|", flush=True)
    for seed in range(first, last + 1):
        kind = arguments.kind or list(KINDS)[seed % len(KINDS)]
        print(floor(seed) if kind == "floor" else report(seed, kind), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
