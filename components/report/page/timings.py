"""Duration of each step, told by the times at which its records were written.

A step begins when the plan is written or, later, when the step before it has written its last record; it ends
with its own last one. This holds wherever the steps run, and needs no record of times, which would differ
from run to run. What an earlier run has done is not counted. A pause within a step is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.shared.documents.plan import Plan
from components.shared.steps import STEPS

RECORDED = tuple(step.name for step in STEPS.values() if step.records)
"""Steps that leave records, in their order."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """The work of one step in this run."""

    step: str
    n_units: int
    n_earlier: int
    """Units whose records are older than the plan, so the work of an earlier run."""
    wall_s: float
    gb_per_hour: float | None
    """Raw voxels of the slices over the time; None where nothing was done."""


def raw_bytes(plan: Plan) -> int:
    """Size of the raw voxels of all slices, not compressed."""
    per_pixel = sum(plan.file_channels) * (1 if plan.pixel_type == "uint8" else 2)
    return per_pixel * sum(s.width_px * s.height_px for s in plan.slices)


def step_times(
    planned_s: float, records_s: Mapping[str, Sequence[float]], n_bytes: int
) -> tuple[StepTime, ...]:
    """The times of the steps that have records.

    Args:
        planned_s: Time at which the plan was written, in seconds since any moment.
        records_s: Times at which the records of each step were written.
        n_bytes: Size of the raw voxels of all slices.

    Example:
        >>> align, tile = step_times(100, {"align": [104, 110], "tile": [90, 128]}, 10**9)
        >>> align.wall_s, align.gb_per_hour
        (10, 360.0)
        >>> tile.n_earlier, tile.wall_s, tile.gb_per_hour
        (1, 18, 100.0)
    """
    times, start_s = [], planned_s
    for step in RECORDED:
        written_s = records_s.get(step, ())
        new = [at for at in written_s if at >= planned_s]
        wall_s = max(new, default=start_s) - start_s
        if written_s:
            part = n_bytes * len(new) / len(written_s)
            speed = part / 1e9 / (wall_s / 3600) if wall_s > 0 else None
            times.append(StepTime(step, len(written_s), len(written_s) - len(new), wall_s, speed))
        start_s += max(wall_s, 0)
    return tuple(times)
