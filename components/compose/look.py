"""The look at the thumbnails: do slices flicker, where do they lie along z, is the volume worth writing?

They are looked at once, one slice after another, for all three. Only a volume whose steps along z are evened
(`z: correct`) is checked in a second pass, since what it shows follows from the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from components.compose.documents import AlignFindings, with_grey_lines
from components.compose.judge.grey_lines import (
    Changes,
    LevelChanges,
    grey_lines,
    may_flicker,
    pivot_of,
    small_levels,
)
from components.compose.preview.correlate import (
    NeighbourComparison,
    NeighbourCorrelations,
    correlate_neighbours,
)
from components.compose.preview.thumbnails import MatchedThumbnails
from components.compose.preview.tissue_levels import levels_of_slice, quartiles_of, tissue_levels
from components.compose.preview.write import make_preview, write_preview
from components.compose.solve.pairs import Floats
from components.compose.thickness.correlations import Likeness, LikenessAlongZ
from components.compose.thickness.evening import evened
from components.compose.thickness.write import has_a_place, make_thickness, write_thickness
from components.shared.documents.align import SliceStatistics
from components.shared.documents.plan import Plan
from components.shared.documents.preview import PREVIEW_KEY, Preview
from components.shared.documents.read_document import read_document
from components.shared.documents.thickness import THICKNESS_KEY, Thickness
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.pictures.grey_levels import SHOWN
from components.shared.storage.store import Store
from components.shared.work.records import is_done
from components.shared.work.thumbnails import ReadThumbnail, Thumbnails
from components.shared.work.units import preview_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Results that follow from the thumbnails, as they are written."""

    transforms: Transforms
    """With the grey lines of slices that flicker, and what each plane shows where steps are evened."""
    thickness: Thickness
    preview: Preview


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Figures of a pass over the thumbnails."""

    changes: Changes
    """Changes of grey levels; empty where they are to stay."""
    likeness: Likeness
    """Likeness of the slices that have a place along z."""
    correlations: NeighbourCorrelations
    quartiles: dict[int, Floats]
    """First and third quartile of the thumbnail of each slice, by z."""


def told_by_thumbnails(plan: Plan, transforms: Transforms, findings: AlignFindings, process: Store) -> Told:
    """Look at the thumbnails and write what they tell, or read it where it is of these transforms.

    Args:
        plan: The plan of the run.
        transforms: Where the slices lie, and what is shown.
        findings: The records of `align`.
        process: Where the records of the run lie.
    """
    told = _told_before(plan, transforms, findings.input_hash, process)
    if told is None:
        told = tell(plan, transforms, findings.statistics, Thumbnails(plan, process).picture)
        write_thickness(plan, transforms, told.thickness, findings.input_hash, process)
        write_preview(plan, told.transforms, told.preview, findings.input_hash, process)
    return told


def _told_before(plan: Plan, transforms: Transforms, evidence_hash: str, process: Store) -> Told | None:
    """Results of an earlier run on the same evidence, which led to the same transforms; None without."""

    def is_of(unit: str, input_hash: str) -> bool:
        return is_done(process, "compose", unit, input_hash)

    if not is_of("transforms", evidence_hash):
        return None
    if not is_of("thickness", preview_hash(evidence_hash, plan, transforms)):
        return None
    last = read_document(process, TRANSFORMS_KEY, Transforms)
    if not is_of("preview", preview_hash(evidence_hash, plan, last)):
        return None
    return Told(
        transforms=last,
        thickness=read_document(process, THICKNESS_KEY, Thickness),
        preview=read_document(process, PREVIEW_KEY, Preview),
    )


def tell(
    plan: Plan, transforms: Transforms, statistics: Mapping[int, SliceStatistics], read: ReadThumbnail
) -> Told:
    """Look at the thumbnails, and conclude.

    Args:
        plan: The plan of the run.
        transforms: Where the slices lie, and what is shown.
        statistics: Statistics of each present slice, by z.
        read: Reads the thumbnail of a slice.
    """
    thumbnails = MatchedThumbnails(plan, read)
    seen = look(plan, transforms, statistics, thumbnails)
    shown = with_grey_lines(plan, transforms, statistics, grey_lines(transforms, statistics, seen.changes))
    thickness = make_thickness(plan, transforms, seen.likeness)
    correlations = seen.correlations
    if plan.config.z == "correct":
        shown = evened(shown, thickness)
        correlations = correlate_neighbours(shown, plan.thumbnail_scale, thumbnails.flat)
    levels = tissue_levels_of(shown, statistics, seen.quartiles, thumbnails)
    return Told(
        transforms=shown, thickness=thickness, preview=make_preview(plan, shown, correlations, levels)
    )


def look(
    plan: Plan,
    transforms: Transforms,
    statistics: Mapping[int, SliceStatistics],
    thumbnails: MatchedThumbnails,
) -> Seen:
    """Look at each slice once, z ascending."""
    scale = plan.thumbnail_scale
    sizes_px = {s.z: (s.width_px, s.height_px) for s in plan.slices}
    comparison = NeighbourComparison(transforms, scale, thumbnails.flat)
    likeness = LikenessAlongZ(scale, thumbnails.flat)
    changes = LevelChanges(pivot_of(transforms, statistics)) if plan.config.intensity == "z" else None
    quartiles: dict[int, Floats] = {}
    for index, entry in enumerate(transforms.slices):
        if plan.config.z != "correct":
            comparison.look_at(index)
        if has_a_place(entry) and not plan.config.skip_align:
            likeness.look_at(entry)
        picture = thumbnails.picture(entry.z)
        if picture is None:
            continue
        if changes is not None and may_flicker(entry):
            changes.look_at(entry, *small_levels(plan, sizes_px[entry.z], statistics[entry.z], picture))
        if plan.pixel_type == "uint16" and np.ptp(picture) > 0:  # 8 bit keeps its grey levels
            quartiles[entry.z] = quartiles_of(picture)
    return Seen(
        changes={} if changes is None else changes.found(),
        likeness=likeness.found(),
        correlations=comparison.found(),
        quartiles=quartiles,
    )


def tissue_levels_of(
    transforms: Transforms,
    statistics: Mapping[int, SliceStatistics],
    quartiles: Mapping[int, Floats],
    thumbnails: MatchedThumbnails,
) -> dict[int, float]:
    """The number of 256 grey levels that the tissue of a slice gets, by z.

    The best area of a slice is looked for in its thumbnail again, where the slice as a whole has too few.
    """
    shown, levels = transforms.intensity_range, {}
    for entry in transforms.slices:
        if entry.z in quartiles:
            own = statistics[entry.z].on_line(entry.grey_line)
            levels[entry.z] = levels_of_slice(quartiles[entry.z], own, shown)
            picture = thumbnails.picture(entry.z) if levels[entry.z] < SHOWN.fewest_levels else None
            if picture is not None:
                levels[entry.z] = tissue_levels(picture, own, shown)
    return levels
