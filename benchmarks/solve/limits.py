"""Change each limit of the solve by factors of 2 and 10, one at a time, and solve planted stacks with it.

The stacks are those of the tests (tests/components/compose/planted_stack.py), 200 slices of 5,000 px each:

    wrong     5% wrong pairs, 4 bad slices
    bad       every tenth slice bad, 2% wrong pairs
    curtain   5% wrong pairs; inside a run of 30 slices all pairs up to distance 2 say that nothing moves
    poor      tissue whose pairs disagree by 4 px
    changing  tissue whose pairs disagree by 0.1 px times the square of their distance
    step      a true jump of 500 px with a rotation of half a degree, in a stack that rotates back and forth

    python -m benchmarks.solve.limits
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from components.compose.solve.connectivity import connectivity
from components.compose.solve.limits import SOLVE, SolveLimits
from components.compose.solve.problem import SolveProblem
from components.compose.solve.robust import solve
from components.shared.geometry import rotation_about
from tests.components.compose.planted_stack import Planted, about_center, errors_px, plant, wandering

N, WIDTH = 200, 5000.0
FACTORS = (0.1, 0.5, 2.0, 10.0)
STAGES = ("ties", "closures", "priors", "robust")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A planted stack and its bad slices."""

    name: str
    planted: Planted
    bad: np.ndarray


def cases() -> tuple[Case, ...]:
    """The planted stacks."""
    rng = np.random.default_rng(7)
    none = np.zeros(0, np.int64)
    some, tenth = (np.sort(rng.choice(N, n, replace=False)) for n in (4, N // 10))
    curtain = plant(N, 4, wrong=0.05, seed=1)
    pairs = curtain.pairs
    static = (pairs.slot >= 80) & (pairs.neighbour < 110) & (pairs.neighbour - pairs.slot <= 2)
    pairs.neighbour_from_slice[static] = np.eye(3)
    poor = plant(N, 4)
    poor.pairs.neighbour_from_slice[:, :2, 2] += rng.normal(0, 4, (len(poor.pairs), 2))
    changing = plant(N, 4)
    spread_px = 0.1 * (changing.pairs.neighbour - changing.pairs.slot)[:, None] ** 2
    changing.pairs.neighbour_from_slice[:, :2, 2] += rng.normal(0, 1, (len(changing.pairs), 2)) * spread_px
    truth = wandering(rng, N, WIDTH)
    turns = 0.005 * np.sin(np.arange(N) / 3)
    truth = np.array(
        [m @ rotation_about((2499.5, 2499.5), turn) for m, turn in zip(truth, turns, strict=True)]
    )
    truth[100:] = about_center(1, WIDTH, [500.0, -80.0])[0] @ rotation_about((2500, 2500), 0.01) @ truth[100:]
    return (
        Case(name="wrong", planted=plant(N, 4, wrong=0.05, bad=some, seed=2), bad=some),
        Case(name="bad", planted=plant(N, 4, wrong=0.02, bad=tenth, seed=3), bad=tenth),
        Case(name="curtain", planted=curtain, bad=none),
        Case(name="poor", planted=poor, bad=none),
        Case(name="changing", planted=changing, bad=none),
        Case(name="step", planted=plant(N, 4, truth=truth), bad=none),
    )


def changed_limits() -> Iterator[tuple[str, float, SolveLimits]]:
    """Each limit of the stages, by each factor."""
    for stage in STAGES:
        limits = getattr(SOLVE, stage)
        for field in fields(limits):
            value = getattr(limits, field.name)
            for factor in FACTORS:
                new = type(value)(max(value * factor, 1)) if isinstance(value, int) else value * factor
                yield (
                    f"{stage}.{field.name}",
                    new,
                    replace(SOLVE, **{stage: replace(limits, **{field.name: new})}),
                )


def outcome(case: Case, limits: SolveLimits) -> str:
    """Worst error of a good slice in px, bad slices that are held, good ones that are isolated."""
    planted = case.planted
    solution = solve(SolveProblem.of(planted.stack, planted.pairs, limits=limits))
    isolated = connectivity(planted.pairs.chosen(solution.kept), N).isolated
    bad = np.isin(np.arange(N), case.bad)
    judged = ~bad & ~isolated
    worst = errors_px(solution.volume_from_slice, planted.truth, WIDTH, judged)[judged].max()
    held, lost = int((bad & ~isolated).sum()), int((isolated & ~bad).sum())
    return f"{worst:.1f}" + (f", {held} bad held" if held else "") + (f", {lost} good lost" if lost else "")


def main() -> None:
    """Print the table: worst error of a good slice in px under each change that is seen, and the others."""
    stacks = cases()
    print(f"| limit | value | {' | '.join(case.name for case in stacks)} |\n|---|---|{'---|' * len(stacks)}")
    usual = [outcome(case, SOLVE) for case in stacks]
    print(f"| as it is | | {' | '.join(usual)} |", flush=True)
    unseen = []
    for name, value, limits in changed_limits():
        found = [outcome(case, limits) for case in stacks]
        if found == usual:
            unseen.append(f"`{name}` {value:.4g}")
        else:
            print(f"| `{name}` | {value:.4g} | {' | '.join(found)} |", flush=True)
    print(f"\nNothing changes by: {', '.join(unseen)}.")


if __name__ == "__main__":
    main()
