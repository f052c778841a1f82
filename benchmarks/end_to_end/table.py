"""The figures in Markdown: CPU time and its growth, memory, and what a terabyte costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.end_to_end.measure import Measured, StepUse
from benchmarks.end_to_end.shares import in_words
from components.shared.documents.cost import read_prices

LEAST_WORK_S = 0.5
"""Less than this beyond a program's start is lost in its noise."""
GIB_PER_CORE = 4
"""Memory that is paid for beside a core, as the steps' settings ask for it."""


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent p of the law `cost ~ size ** p`, by least squares on the logarithms.

    Example:
        >>> growth([16, 64, 256], [1.0, 4.0, 16.0]), growth([1, 2, 4], [3.0, 12.0, 48.0])
        (1.0, 2.0)
    """
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return round(covariance / sum((a - x_mean) ** 2 for a in x), 6)


def as_markdown(stacks: Sequence[Measured]) -> str:
    """Three tables, a row for each step and a column for each stack."""
    ordered = sorted(stacks, key=lambda stack: (stack.side_px, stack.n_slices))
    total = [_total(stack) for stack in ordered]
    uses = {step: [stack.steps[step] for stack in ordered] for step in ordered[0].steps} | {"**all**": total}
    names = [f"{stack.n_slices} x {stack.side_px}^2" for stack in ordered]
    lines = ["### CPU seconds\n", *_head([*names, "growth in slices", "growth in pixels"])]
    for step, row in uses.items():
        lines.append(_row(step, [f"{use.cpu_s:.1f}" for use in row] + _growths(ordered, row)))
    lines += ["", "### CPU seconds a GB of slices\n", *_head(names)]
    for step, row in uses.items():
        per_gb = [f"{use.cpu_s / stack.gigabytes:.0f}" for use, stack in zip(row, ordered, strict=True)]
        lines.append(_row(step, per_gb))
    lines += ["", "### Peak MiB of a task (number of tasks)\n", *_head(names)]
    for step, row in uses.items():
        lines.append(_row(step, [f"{use.peak_mib:.0f} ({use.n_tasks})" for use in row]))
    return "\n".join([*lines, *_parts(ordered), "", *(_sentence(stack) for stack in ordered)])


def core_hours_per_terabyte(stack: Measured) -> float:
    """Core hours that a terabyte of such slices takes.

    Example:
        >>> uses = {"tile": StepUse(n_tasks=1, cpu_s=36.0, peak_mib=1)}
        >>> core_hours_per_terabyte(Measured(n_slices=10, side_px=10**4, steps=uses, wall_s=1, error_px=0))
        10.0
    """
    return stack.cpu_s / stack.gigabytes * 1000 / 3600


def _total(stack: Measured) -> StepUse:
    uses = stack.steps.values()
    return StepUse(
        n_tasks=sum(use.n_tasks for use in uses),
        cpu_s=stack.cpu_s,
        peak_mib=max(use.peak_mib for use in uses),
        start_cpu_s=sum(use.n_tasks * use.start_cpu_s for use in uses) / sum(use.n_tasks for use in uses),
    )


def _growths(stacks: Sequence[Measured], row: Sequence[StepUse]) -> list[str]:
    """Exponents of the work over stacks of equal slices, and over stacks of as many slices."""
    smallest = stacks[0]
    costs = [(stack, use.work_s) for stack, use in zip(stacks, row, strict=True)]
    along_z = [(stack.n_slices, work_s) for stack, work_s in costs if stack.side_px == smallest.side_px]
    in_slice = [(stack.side_px**2, work_s) for stack, work_s in costs if stack.n_slices == smallest.n_slices]
    return [_exponent(found) for found in (along_z, in_slice)]


def _exponent(found: Sequence[tuple[int, float]]) -> str:
    """The growth of work with size; empty where there is too little of either to tell."""
    if len(found) < 2 or min(work_s for _, work_s in found) < LEAST_WORK_S:
        return ""
    return f"{growth(*zip(*found, strict=True)):.2f}"


def _parts(stacks: Sequence[Measured]) -> Iterator[str]:
    """The table of the parts of each step by CPU time, of stacks where that was sampled."""
    for stack in stacks:
        rows = [(step, use) for step, use in stack.steps.items() if use.parts_s]
        if rows:
            yield f"\n### Parts of {stack.n_slices} x {stack.side_px}^2\n"
            yield from _head(["CPU s", "of which"])
            yield from (_row(step, [f"{use.cpu_s:.1f}", in_words(use.parts_s)]) for step, use in rows)


def _head(columns: Sequence[str]) -> list[str]:
    return [_row("step", columns), f"|---|{'---:|' * len(columns)}"]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _sentence(stack: Measured) -> str:
    hours = core_hours_per_terabyte(stack)
    spot = read_prices().spot
    dollars = hours * (spot.core_hour + GIB_PER_CORE * spot.gib_hour)
    return (
        f"- {stack.n_slices} x {stack.side_px}^2: {hours:.0f} core hours a TB, {dollars:.1f} dollars on spot "
        f"machines; neighbours lie within {stack.error_px:.2f} px; {stack.wall_s:.0f} s here."
    )
