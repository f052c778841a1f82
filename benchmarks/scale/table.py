"""The figures in Markdown, and what comes too near to a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scale.objects import (
    LARGEST_OBJECT_BYTES,
    LARGEST_PARAMETER_BYTES,
    LARGEST_RUN_PARAMETERS_BYTES,
    ObjectSizes,
)
from benchmarks.scale.planning import Planned
from benchmarks.scale.stacks import Stack
from components.plan.estimate import Estimate
from components.shared.text import size
from components.shared.volume.volume import Volume

MARGIN = 4
"""Every limit is to hold this many times over."""
PLAN_WALL_S = 60
PLAN_PEAK_BYTES = 1e9
"""Of `plan` on the first stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """All about one stack."""

    stack: Stack
    volume: Volume
    estimate: Estimate
    sizes: ObjectSizes
    planned: Sequence[Planned]


def as_markdown(found: Sequence[Scaled]) -> str:
    """Runs, their steps, and the planning of them."""
    parts = ["## Runs", "", *_runs(found)]
    for scaled in found:
        parts += ["", f"## Steps: {scaled.stack.name}", "", *_steps(scaled.estimate)]
    return "\n".join([*parts, "", "## `plan`", "", *_plans(found), ""])


def shortfalls(scaled: Scaled) -> list[str]:
    """A sentence on each limit that is not kept with room to spare."""
    sizes = scaled.sizes
    limited = {
        "the largest parameter": (sizes.parameter_bytes, LARGEST_PARAMETER_BYTES),
        "the parameters of a run": (sizes.run_parameters_bytes, LARGEST_RUN_PARAMETERS_BYTES),
        "the workflow object": (sizes.object_bytes, LARGEST_OBJECT_BYTES),
    }
    sentences = [
        f"{what} must hold {MARGIN} times in {limit:,} bytes; got {n_bytes:,}"
        for what, (n_bytes, limit) in limited.items()
        if n_bytes * MARGIN > limit
    ]
    for planned in scaled.planned:
        if planned.wall_s > PLAN_WALL_S or planned.peak_bytes > PLAN_PEAK_BYTES:
            took = f"{planned.wall_s:.0f} s and {size(planned.peak_bytes)}"
            sentences.append(
                f"plan from {planned.store} must take {PLAN_WALL_S} s and 1 GB at most; got {took}"
            )
    return [f"{scaled.stack.name}: {sentence}" for sentence in sentences]


def _runs(found: Sequence[Scaled]) -> list[str]:
    rows: dict[str, list[str]] = {}
    for scaled in found:
        whole, sizes = scaled.estimate, scaled.sizes
        stack, requests, bill = scaled.stack, whole.requests, whole.bill
        loops = [len(step.items) for step in whole.steps]
        rows_of_run = {
            "input": size(stack.n_slices * stack.side_px**2),
            "levels": f"{len(scaled.volume.outputs[0].levels)}",
            "pods": f"{whole.n_pods:,}",
            "items of the largest loop": f"{max(loops):,}",
            f"largest parameter (limit {LARGEST_PARAMETER_BYTES:,} bytes)": f"{sizes.parameter_bytes:,}",
            f"run parameters (limit {LARGEST_RUN_PARAMETERS_BYTES:,})": f"{sizes.run_parameters_bytes:,}",
            f"workflow object at its end (limit {LARGEST_OBJECT_BYTES:,})": f"{sizes.object_bytes:,}",
            "of these its status": f"{sizes.status_bytes:,}",
            "WorkflowTemplate": f"{sizes.template_bytes:,}",
            "writes and listings (class A)": f"{requests.class_a:,}",
            "reads (class B)": f"{requests.class_b:,}",
            "core-hours": f"{whole.core_hours:,.0f}",
            "aligned tiles, removed at the end": size(whole.tiles_bytes),
            "JPEG volume": size(whole.outputs[0].size_bytes),
            "lossless level 0": size(whole.outputs[1].size_bytes),
            "records": size(whole.process_bytes),
            "dollars, machines on demand": f"{bill.machines_on_demand:,.2f}",
            "dollars, machines spot": f"{bill.machines_spot:,.2f}",
            "dollars, requests": f"{bill.requests:,.2f}",
            "dollars, tiles for a day": f"{bill.tiles_for_a_day:,.2f}",
            "**dollars, the run: on demand, spot**": f"**{bill.on_demand:,.2f}, {bill.spot:,.2f}**",
            "dollars a TB: on demand, spot": _a_terabyte(scaled),
            "dollars a month for the results": f"{bill.results_a_month:,.2f}",
        }
        for name, text in rows_of_run.items():
            rows.setdefault(name, []).append(text)
    head = ["", *(scaled.stack.name for scaled in found)]
    return _markdown(head, [[name, *texts] for name, texts in rows.items()])


def _a_terabyte(scaled: Scaled) -> str:
    terabytes = scaled.stack.n_slices * scaled.stack.side_px**2 / 1e12
    bill = scaled.estimate.bill
    return f"{bill.on_demand / terabytes:,.2f}, {bill.spot / terabytes:,.2f}"


def _steps(whole: Estimate) -> list[str]:
    head = ["step", "work", "pods", "memory of a pod", "core-hours", "class A", "class B"]
    rows = [
        [
            step.title,
            step.work,
            f"{step.n_pods:,}",
            size(step.memory_bytes),
            f"{step.core_hours:,.2f}",
            f"{step.requests.class_a:,}",
            f"{step.requests.class_b:,}",
        ]
        for step in whole.steps
    ]
    return _markdown(head, rows)


def _plans(found: Sequence[Scaled]) -> list[str]:
    head = ["stack", "from", "wall s", "CPU s", "peak MB", "class A, B counted", "class A, B estimated"]
    rows = []
    for scaled in found:
        expected = scaled.estimate.steps[0].requests
        for planned in scaled.planned:
            asked = planned.requests
            rows.append(
                [
                    scaled.stack.name,
                    planned.store,
                    f"{planned.wall_s:.1f}",
                    f"{planned.cpu_s:.1f}",
                    f"{planned.peak_bytes / 1e6:.0f}",
                    f"{asked.class_a:,}, {asked.class_b:,}" if asked else "",
                    f"{expected.class_a:,}, {expected.class_b:,}" if asked else "",
                ]
            )
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]
