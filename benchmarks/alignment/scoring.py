"""A method's answer against the planted truth."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from benchmarks.alignment.cases import Case
from benchmarks.alignment.method import Found
from benchmarks.alignment.tissue import source_index
from commands.sample.accuracy import compare, neighbour_errors
from commands.sample.truth import Truth
from components.shared.geometry import Matrix, grid_points

RIGHT_VERDICT = {"defocus": "defocused", "half": "partial"}
"""Names of a verdict that differ from those of the planted defect."""
REPORTED_ONLY = ("step",)
"""Verdicts that say nothing against the slice itself."""


class Row(BaseModel):
    """One line of the table."""

    tissue: str
    case: str
    method: str
    mean_px: float | None = None
    p95_px: float | None = None
    max_px: float | None = None
    worst_z: int | None = None
    drift_px: float | None = None
    own_mean_px: float | None = None
    """Mean neighbour error against the method's own result on the unmoved stack."""
    own_drift_px: float | None = None
    n_failed: int
    """Pairs of good neighbours above the limit, and good slices without an answer."""
    n_good: int
    n_planted: int
    n_found: int = 0
    """Planted bad slices with a verdict other than good."""
    n_right: int = 0
    """Those of them with the right verdict."""
    false_alarms: dict[int, str] = {}
    """Verdicts on good slices."""
    missed: dict[int, str] = {}
    wrong: dict[int, str] = {}
    """Planted bad slices under another verdict."""
    n_pairs: int
    n_unplaced: int
    """Good slices that the method left where the last one lies; they count as failed."""
    s_per_pair: float | None = None
    s_per_slice: float | None = None
    peak_mb: float
    stopped: str = ""


def score(case: Case, method: str, truth: Truth, found: Found, unmoved: Found | None) -> Row:
    """Compare the good slices, each with the next good one; verdicts count on all.

    Args:
        case: what was planted.
        method: name of the method.
        truth: where the slices of the case really lie.
        found: the method's answer.
        unmoved: its answer on the unmoved stack of the same real tissue.
    """
    good = [s.z for s in truth.slices if not s.defect]
    row = Row(
        tissue=case.tissue.name,
        case=case.name,
        method=method,
        n_failed=len(good),
        n_good=len(good),
        n_planted=len(truth.slices) - len(good),
        n_pairs=found.n_pairs,
        n_unplaced=len(set(found.unplaced) & set(good)),
        s_per_pair=found.cpu_s / found.n_pairs if found.n_pairs else None,
        s_per_slice=found.cpu_s / max(len(found.matrices), 1),
        peak_mb=found.peak_mb,
        stopped=found.stopped,
    )
    if len(found.matrices.keys() & set(good)) < 2:
        return row
    row = row.model_copy(update=_positions(case, truth, found, good) | _verdicts(truth, found))
    if unmoved is None or not unmoved.matrices:
        return row
    return row.model_copy(update=_beyond_own(case, truth, found, unmoved, good))


def _positions(case: Case, truth: Truth, found: Found, good: list[int]) -> dict[str, object]:
    recovered = {z: np.array(found.matrices[z]) for z in good if z in found.matrices}
    true = {s.z: np.array(s.matrix) for s in truth.slices}
    result = compare(recovered, true, truth.width_px, truth.height_px)
    known = sorted(recovered)
    unplaced = np.isin(known, found.unplaced)
    errors = neighbour_errors(
        np.stack([recovered[z] for z in known]),
        np.stack([true[z] for z in known]),
        grid_points(truth.width_px, truth.height_px),
    )
    return {
        "mean_px": result.mean_px,
        "p95_px": result.p95_px,
        "max_px": result.max_px,
        "worst_z": result.worst_z,
        "drift_px": result.drift_px,
        "n_failed": int(((errors > case.failed_px) | unplaced[1:]).sum()) + len(good) - len(known),
    }


def _verdicts(truth: Truth, found: Found) -> dict[str, object]:
    spoken = {z: verdict for z, verdict in found.verdicts.items() if verdict not in REPORTED_ONLY}
    # The first and the last slice that are there bound the run, so one missing beyond them is no part of it.
    planted = {s.z: RIGHT_VERDICT.get(s.defect, s.defect) for s in truth.slices if s.defect}
    return {
        "n_found": len(planted.keys() & spoken.keys()),
        "n_right": sum(spoken.get(z) == kind for z, kind in planted.items()),
        "missed": {z: kind for z, kind in planted.items() if z not in spoken},
        "wrong": {z: f"{kind} as {spoken[z]}" for z, kind in planted.items() if spoken.get(z, kind) != kind},
        "false_alarms": {z: verdict for z, verdict in spoken.items() if z not in planted},
    }


def _beyond_own(
    case: Case, truth: Truth, found: Found, unmoved: Found, good: list[int]
) -> dict[str, float | None]:
    """Real slices jitter as they were published: what the motion adds to the error without it."""
    n_source = case.tissue.n_slices
    if n_source is None:
        return {}
    width, height = _unmoved_size(case)
    start = np.eye(3)
    world = case.tissue.size_xy or (0, 0)
    start[:2, 2] = (world[0] - width) // 2, (world[1] - height) // 2
    reference: dict[int, Matrix] = {}
    for z in good:
        source = source_index(case.recipe.every * z, n_source)
        if source in unmoved.matrices:
            frame_from_world = np.array(unmoved.matrices[source]) @ np.linalg.inv(start)
            reference[z] = frame_from_world @ np.array(truth.slices[z].matrix)
    recovered = {z: np.array(found.matrices[z]) for z in good if z in found.matrices}
    if len(reference.keys() & recovered.keys()) < 2:
        return {}
    result = compare(recovered, reference, truth.width_px, truth.height_px)
    return {"own_mean_px": result.mean_px, "own_drift_px": result.drift_px}


def _unmoved_size(case: Case) -> tuple[int, int]:
    from benchmarks.alignment.cases import cases_of

    return cases_of(case.tissue, quick=True)[0].window.size_xy
