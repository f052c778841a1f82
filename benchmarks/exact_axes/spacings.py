"""Steps along z: planes of an even axis are left out, and what fibstack says of the steps is compared."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from benchmarks.alignment.method import FIBSTACK, Found, ask
from benchmarks.exact_axes.cases import RECIPES, Planted, plant, write_stack
from benchmarks.exact_axes.planes import Planes

Numbers = NDArray[np.int64]
STEPS, SHARES = (1, 2, 3), (0.25, 0.5, 0.25)
N_LOST = 4
"""Planes that a gap leaves out."""
SEEDS = range(4)
SPACINGS: Mapping[str, str] = {"even": "walk", "even, noise": "noise", "steps 1:2:3": "walk", "gap": "walk"}
"""The recipe of motion and faults that goes with each case."""


class SpacingRow(BaseModel):
    """One line of the table; lengths in mean steps, means over the seeds."""

    planes: str
    case: str
    planted: float
    """Standard deviation of the planted steps: the error of who takes them for even."""
    found: float | None = None
    """Standard deviation of the steps that are found."""
    error: float | None = None
    """RMS of found minus planted steps, the gap left out."""
    worst: float | None = None
    gap_ratio: float | None = None
    """Found over planted depth of the gap."""
    stopped: str = ""


def spacing_row(planes: Planes, case: str) -> SpacingRow:
    """Figures of the steps that fibstack finds in one case."""
    seeds = SEEDS if case.startswith("steps") else SEEDS[:1]
    rows = [_row(planes, case, seed) for seed in seeds]
    known = [row for row in rows if not row.stopped]
    if not known:
        return rows[0]
    means = {
        name: float(np.mean([getattr(row, name) for row in known]))
        for name in ("planted", "found", "error", "worst")
    }
    return known[0].model_copy(update=means)


def _row(planes: Planes, case: str, seed: int) -> SpacingRow:
    numbers = planted_numbers(case, len(planes.levels), seed)
    recipe = replace(RECIPES[SPACINGS[case]], step_px=0.5)
    kept = Planes(planes.name, planes.axis, planes.levels[numbers])
    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        planted: Planted = plant(kept, recipe)
        write_stack(kept, recipe, planted, Path(scratch, "stack"))
        answer = Path(scratch, "answer.json")
        ask(FIBSTACK, Path(scratch, "stack"), answer)
        found = Found.model_validate_json(answer.read_bytes())
    steps = np.diff(numbers).astype(np.float64)
    told = [found.z_steps.get(z) for z in range(1, len(numbers))]
    return score(f"{planes.name} {planes.axis}", case, steps, told)


def planted_numbers(case: str, n_planes: int, seed: int) -> Numbers:
    """Numbers of the planes that a case keeps; the same for the same arguments."""
    if case.startswith("steps"):
        steps = np.random.default_rng(seed).choice(STEPS, n_planes, p=SHARES)
        numbers: Numbers = np.concatenate([[0], np.cumsum(steps)])
        return numbers[numbers < n_planes]
    if case == "gap":
        middle = n_planes // 2
        return np.delete(np.arange(n_planes), slice(middle, middle + N_LOST))
    return np.arange(n_planes)


def score(name: str, case: str, planted: NDArray[np.float64], found: Sequence[float | None]) -> SpacingRow:
    """Compare steps; a gap for itself, since one of several steps would be all of the error."""
    even = planted.mean() if case.startswith("steps") else 1.0
    true = planted / even
    at_gap = true > N_LOST if case == "gap" else np.zeros(len(true), np.bool_)
    row = SpacingRow(planes=name, case=case, planted=float(true[~at_gap].std()))
    if all(step is None for step in found):
        return row.model_copy(update={"stopped": "nothing is said"})
    told = np.array([np.nan if step is None else step for step in found])
    errors = (told - true)[~at_gap & np.isfinite(told)]
    return row.model_copy(
        update={
            "found": float(told[~at_gap & np.isfinite(told)].std()),
            "error": float(np.sqrt(np.mean(errors**2))),
            "worst": float(np.abs(errors).max()),
            "gap_ratio": float((told / true)[at_gap][0]) if at_gap.any() else None,
        }
    )


def as_markdown(rows: Sequence[SpacingRow]) -> str:
    """The rows as a table."""
    lines = [
        "| planes | case | planted | found | error | worst | depth of the gap, found over planted |",
        "| --- | --- " + "| ---: " * 5 + "|",
    ]
    for row in rows:
        numbers = (row.planted, row.found, row.error, row.worst, row.gap_ratio)
        cells = " | ".join("–" if number is None else f"{number:.3f}" for number in numbers)
        lines.append(f"| {row.planes} | {row.case} | {cells} |{row.stopped}")
    return "\n".join(lines) + "\n"
