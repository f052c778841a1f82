"""The check on thumbnails before the costly steps: reads them, writes `preview.json`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import numpy as np

from components.compose.preview.correlate import correlate_neighbours
from components.compose.preview.gate import failures_of, lost_grey_levels, worst_slices
from components.compose.preview.thumbnails import MatchedThumbnails
from components.compose.preview.tissue_levels import tissue_levels
from components.compose.solve.pairs import Floats
from components.shared.documents.align import SliceStatistics
from components.shared.documents.plan import Plan
from components.shared.documents.preview import PREVIEW_KEY, Correlations, Gate, Preview
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import Transforms
from components.shared.errors import UserError
from components.shared.storage.store import Store, join_uri
from components.shared.work import records
from components.shared.work.thumbnails import Thumbnail, Thumbnails
from components.shared.work.units import preview_hash

_STEP, _UNIT = "compose", "preview"


def check_on_thumbnails(
    plan: Plan,
    transforms: Transforms,
    evidence_hash: str,
    statistics: Mapping[int, SliceStatistics],
    process: Store,
) -> Preview:
    """Write the preview, or read it where it is of these transforms.

    Args:
        plan: The plan of the run.
        transforms: What the volume is to show.
        evidence_hash: Hash of the evidence that the thumbnails belong to.
        statistics: Statistics of each present slice, by z, of that evidence.
        process: Where the records of the run lie.
    """
    input_hash = preview_hash(evidence_hash, plan, transforms)
    if records.is_done(process, _STEP, _UNIT, input_hash):
        return read_document(process, PREVIEW_KEY, Preview)
    preview = make_preview(plan, transforms, Thumbnails(plan, process), statistics)
    output = records.write_output(process, PREVIEW_KEY, preview.to_json())
    records.commit(process, records.Record(step=_STEP, unit=_UNIT, input_hash=input_hash, outputs=(output,)))
    return preview


def make_preview(
    plan: Plan,
    transforms: Transforms,
    thumbnails: Thumbnails,
    statistics: Mapping[int, SliceStatistics],
) -> Preview:
    """Correlate the slices that are shown, and judge whether the volume is worth writing.

    Args:
        plan: The plan of the run.
        transforms: What the volume is to show.
        thumbnails: The thumbnails of the slices.
        statistics: Statistics of each present slice, by z.
    """
    config = plan.config
    matched = MatchedThumbnails(plan, thumbnails)
    lines = {s.z: s.grey_line for s in transforms.slices}
    judged = statistics if plan.pixel_type == "uint16" else {}  # 8 bit keeps its grey levels
    levels: dict[int, float] = {}

    def thumbnail(z: int) -> Thumbnail | None:
        picture = matched.picture(z)
        if picture is not None and z in judged and z not in levels and np.ptp(picture) > 0:
            levels[z] = tissue_levels(picture, judged[z].on_line(lines[z]), transforms.intensity_range)
        return picture

    found = correlate_neighbours(transforms, plan.thumbnail_scale, thumbnail)
    lost, remarks = lost_grey_levels(transforms, levels)
    return Preview(
        thumbnail_scale=plan.thumbnail_scale,
        first_z=config.minz,
        ncc_next_before=_correlations(found.next_before),
        ncc_next_after=_correlations(found.next_after),
        ncc_second_before=_correlations(found.second_before),
        ncc_second_after=_correlations(found.second_after),
        median_before=_median(found.next_before),
        median_after=_median(found.next_after),
        median_control=_median(found.next_control),
        worst=worst_slices(config.minz, found),
        gate=Gate(
            failures=lost + failures_of(plan, transforms, found),
            # Slices that nobody has aligned may lie as they do, but not lose their grey levels.
            enforced=not config.force and (bool(lost) or not config.skip_align),
            remarks=remarks,
        ),
    )


def refusal(plan: Plan, preview: Preview) -> UserError:
    """The error of a run that stops before the costly steps."""
    resolve = shlex.join(["fibstack", "resolve", plan.config.output])
    found = "; ".join(preview.gate.failures)
    page = join_uri(plan.locations.process_uri, "report", "index.html")
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
