"""The check on thumbnails before the costly steps: judges what was seen, writes `preview.json`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import numpy as np

from components.compose.preview.correlate import NeighbourCorrelations
from components.compose.preview.gate import failures_of, lost_grey_levels, worst_slices
from components.compose.solve.pairs import Floats
from components.shared.documents.plan import Plan
from components.shared.documents.preview import PREVIEW_KEY, Correlations, Gate, Preview
from components.shared.documents.transforms import Transforms
from components.shared.errors import UserError
from components.shared.storage.store import Store, join_uri
from components.shared.work import records
from components.shared.work.units import preview_hash


def write_preview(
    plan: Plan, transforms: Transforms, preview: Preview, evidence_hash: str, process: Store
) -> None:
    """Write the check, and record that it is of these transforms.

    Args:
        plan: The plan of the run.
        transforms: What the volume is to show.
        preview: The check.
        evidence_hash: Hash of the evidence that the thumbnails belong to.
        process: Where the records of the run lie.
    """
    output = records.write_output(process, PREVIEW_KEY, preview.to_json())
    input_hash = preview_hash(evidence_hash, plan, transforms)
    records.commit(
        process, records.Record(step="compose", unit="preview", input_hash=input_hash, outputs=(output,))
    )


def make_preview(
    plan: Plan, transforms: Transforms, found: NeighbourCorrelations, levels: Mapping[int, float]
) -> Preview:
    """Judge whether the volume is worth writing.

    Args:
        plan: The plan of the run.
        transforms: What the volume is to show.
        found: How well neighbours correlate.
        levels: Of 256 grey levels, those that the tissue of a slice gets, by z; of slices of 16 bit.
    """
    lost, remarks = lost_grey_levels(transforms, levels)
    return Preview(
        thumbnail_scale=plan.thumbnail_scale,
        first_z=plan.config.minz,
        ncc_next_before=_correlations(found.next_before),
        ncc_next_after=_correlations(found.next_after),
        ncc_second_before=_correlations(found.second_before),
        ncc_second_after=_correlations(found.second_after),
        median_before=_median(found.next_before),
        median_after=_median(found.next_after),
        median_control=_median(found.next_control),
        worst=worst_slices(plan.config.minz, found),
        gate=Gate(
            failures=lost + failures_of(plan, transforms, found),
            # Slices that nobody has aligned may lie as they do, but not lose their grey levels.
            enforced=not plan.config.force and (bool(lost) or not plan.config.lies_as_recorded),
            remarks=remarks,
        ),
    )


def refusal(plan: Plan, preview: Preview) -> UserError:
    """The error of a run that stops before the costly steps."""
    resolve = shlex.join(["fibstack", "resolve", plan.config.output])
    found = "; ".join(preview.gate.failures)
    page = join_uri(plan.locations.process_uri, "report", "index.html")
    if plan.config.placed_as:
        return UserError(
            f"the check on thumbnails must pass before the volume is written; got: {found}. Check that "
            f"slices of these numbers are of the same places as in {plan.config.placed_as} ({page} shows "
            f"them), or write the volume as it is with '{resolve} --set force=true'."
        )
    return UserError(
        f"the check on thumbnails must pass before the volume is written; got: {found}. "
        f"Look at these slices in {page}, decide on them with '{resolve} --overrides FILE', "
        f"or write the volume as it is with '{resolve} --set force=true'."
    )


def _correlations(values: Floats) -> Correlations:
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def _median(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(np.median(known)), 4) if len(known) else None
