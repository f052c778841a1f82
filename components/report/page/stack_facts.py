"""What went in and what came out, as rows of two small tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from components.report.evidence import Evidence
from components.report.page.timings import raw_bytes
from components.report.words.summary import RunDocument
from components.shared.text import product, size
from components.shared.volume.volume import volume_of
from components.shared.work.completeness import OutputSummary


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """One volume that the run wrote, and what its voxels are."""

    summary: OutputSummary
    data_type: str
    n_channels: int


def stack_facts(evidence: Evidence) -> dict[str, str]:
    """The input in figures, by name."""
    return dict(_stack_facts(evidence))


def _stack_facts(evidence: Evidence) -> Iterator[tuple[str, str]]:
    plan = evidence.plan
    yield "slices", f"{len(plan.slices):,}, z {plan.config.minz} to {plan.config.maxz}"
    if plan.missing_z:
        yield "missing", f"{len(plan.missing_z):,}"
    sizes = sorted({(s.width_px, s.height_px) for s in plan.slices})
    smallest = f"{product(sizes[0], thousands=True)} px"
    largest = f"{product(plan.largest_xy, thousands=True)} px"
    yield "size", smallest if len(sizes) == 1 else f"{smallest} to {largest}"
    yield "data type", plan.pixel_type
    yield "channels", _channels(plan.file_channels)
    yield "voxel", " x ".join(f"{side:g}" for side in plan.config.resolution) + " nm"
    yield "raw voxels", size(raw_bytes(plan), smallest="MB")
    if evidence.transforms is not None:
        black, white = evidence.transforms.intensity_range
        yield "grey levels shown as black and white", f"{black:g} and {white:g}"


def _channels(file_channels: tuple[int, ...]) -> str:
    """How many, and of what kind.

    Example:
        >>> _channels((1,)), _channels((3,)), _channels((1, 1))
        ('1, grey', '3, red, green, blue', '2, from 2 files each')
    """
    n_channels = sum(file_channels)
    if len(file_channels) > 1:
        return f"{n_channels}, from {len(file_channels)} files each"
    kinds = {1: "grey", 3: "red, green, blue", 4: "red, green, blue, alpha"}
    return f"{n_channels}, {kinds.get(n_channels, 'of one file')}"


def volume_facts(run: RunDocument, evidence: Evidence) -> list[VolumeFacts]:
    """The volumes that the run wrote."""
    if evidence.transforms is None:
        return []
    outputs = {o.uri: o for o in volume_of(evidence.plan, evidence.transforms).outputs}
    return [
        VolumeFacts(summary, outputs[summary.uri].array.data_type, outputs[summary.uri].n_channels)
        for summary in run.outputs
        if summary.uri in outputs
    ]
