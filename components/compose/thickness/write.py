"""The places along z: writes `thickness.json`, and names the steps that stand out."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from components.compose.solve.pairs import Floats
from components.compose.thickness.correlations import Likeness
from components.compose.thickness.limits import NAMED, NamedLimits
from components.shared.along_z.places import Places, places_of, steps_of, with_observed_sigma
from components.shared.documents.plan import Plan
from components.shared.documents.thickness import THICKNESS_KEY, StepKind, Thickness, UnevenStep
from components.shared.documents.transforms import SliceTransform, Transforms, Verdict
from components.shared.storage.store import Store
from components.shared.work import records
from components.shared.work.units import preview_hash

_PLACED: frozenset[Verdict] = frozenset({"good", "step", "slip", "inverted"})
"""Verdicts whose slices have a place of their own along z, where they are shown. A duplicate has none."""


def write_thickness(
    plan: Plan, transforms: Transforms, thickness: Thickness, evidence_hash: str, process: Store
) -> None:
    """Write the places, and record that they are of these transforms.

    Args:
        plan: The plan of the run.
        transforms: Where the slices lie, before anything was told by thumbnails.
        thickness: The places.
        evidence_hash: Hash of the evidence that the thumbnails belong to.
        process: Where the records of the run lie.
    """
    output = records.write_output(process, THICKNESS_KEY, thickness.to_json())
    input_hash = preview_hash(evidence_hash, plan, transforms)
    records.commit(
        process, records.Record(step="compose", unit="thickness", input_hash=input_hash, outputs=(output,))
    )


def has_a_place(entry: SliceTransform) -> bool:
    """True of a slice that has a place of its own along z."""
    return entry.verdict in _PLACED and entry.action in ("keep", "invert")


def make_thickness(plan: Plan, transforms: Transforms, likeness: Likeness) -> Thickness:
    """Where the slices lie along z, or why that cannot be told.

    Args:
        plan: The plan of the run.
        transforms: Where the slices lie, and what is shown.
        likeness: Of the slices that have a place.
    """
    first_z = plan.config.minz
    if plan.config.placed_as:
        told = f"steps along z are those of {plan.config.placed_as}"
        return Thickness(first_z=first_z, unknown=told)
    if plan.config.skip_align:
        return Thickness(first_z=first_z, unknown="slices that are not aligned tell no thickness")
    numbers = np.array([entry.z for entry in transforms.slices if has_a_place(entry)], np.int64)
    places = places_of(numbers, likeness.whole)
    if isinstance(places, str):
        return Thickness(first_z=first_z, unknown=places)
    places = with_observed_sigma(places, [steps_of(numbers, half) for half in likeness.halves])
    return _document(first_z, len(transforms.slices), places)


def _document(first_z: int, n_slices: int, places: Places, limits: NamedLimits = NAMED) -> Thickness:
    def column(values: Floats) -> tuple[float | None, ...]:
        found: list[float | None] = [None] * n_slices
        for z, value in zip(places.z.tolist(), values.tolist(), strict=True):
            found[z - first_z] = value if math.isfinite(value) else None
        return tuple(found)

    steps = places.step[1:]
    usual = steps[steps < limits.gap]
    return Thickness(
        first_z=first_z,
        positions=column(places.position),
        steps=column(places.step),
        step_sigmas=column(places.step_sigma),
        spread=_rounded(usual.std()) if len(usual) else None,
        typical_sigma=_rounded(np.median(places.step_sigma[1:])),
        uneven=tuple(_uneven(places, limits)),
    )


def _uneven(places: Places, limits: NamedLimits) -> list[UnevenStep]:
    """The steps that are named, z ascending."""
    found = []
    numbers = places.z.tolist()
    for index, (previous, z) in enumerate(pairwise(numbers), start=1):
        step, sigma = float(places.step[index]), float(places.step_sigma[index])
        kind = _kind(step, limits)
        if kind is not None and abs(step - 1) > limits.sigmas * sigma:
            found.append(
                UnevenStep(z=z, previous_z=previous, kind=kind, step=_rounded(step), sigma=_rounded(sigma))
            )
    return found


def _kind(step: float, limits: NamedLimits) -> StepKind | None:
    if step >= limits.gap:
        return "gap"
    if step >= limits.thick:
        return "thick"
    return "thin" if step <= limits.thin else None


def _rounded(value: float | np.float64) -> float:
    return round(float(value), 3)
