"""Rows of the page's small tables: what went in, what came out, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.report.gather import RunEvidence
from components.report.page.timings import raw_bytes
from components.report.run_document import RunDocument
from components.report.words.fill_values import fill_fact
from components.report.words.warped_slices import jitter_fact, straightened_fact, warp_fact
from components.shared.documents.cost import CostEstimate
from components.shared.text import GIB, product, size
from components.shared.volume.volume import volume_of
from components.shared.work.completeness import OutputSummary


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """A volume that the run wrote, and the kind of its voxels."""

    summary: OutputSummary
    data_type: str
    n_channels: int


def stack_facts(evidence: RunEvidence) -> dict[str, str]:
    """The input in figures, by name."""
    return dict(_stack_facts(evidence))


def _stack_facts(evidence: RunEvidence) -> Iterator[tuple[str, str]]:
    plan = evidence.plan
    sizes = sorted({(s.width_px, s.height_px) for s in plan.slices})
    smallest = f"{product(sizes[0], thousands=True)} px"
    largest = f"{product(plan.largest_xy, thousands=True)} px"
    yield "size", smallest if len(sizes) == 1 else f"{smallest} to {largest}"
    yield "data type", plan.pixel_type
    yield "channels", _channels(plan.file_channels)
    yield "raw voxels", size(raw_bytes(plan), smallest="MB")
    if evidence.transforms is not None:
        black, white = evidence.transforms.intensity_range
        yield "grey levels shown as black and white", f"{black:g} and {white:g}"
        fill = fill_fact(evidence)
        if fill:
            yield "fill values, left out", fill
        warped = warp_fact(evidence)
        if warped:
            yield "windows beyond affine transforms", warped
        jitter = jitter_fact(evidence)
        if jitter:
            yield "jitter of rows", jitter
        straightened = straightened_fact(evidence)
        if straightened:
            yield "soft warps", straightened


def _channels(file_channels: tuple[int, ...]) -> str:
    """Number and kind of the channels of a slice.

    Example:
        >>> _channels((1,)), _channels((3,)), _channels((1, 1))
        ('1, grey', '3, red, green, blue', '2, from 2 files each')
    """
    n_channels = sum(file_channels)
    if len(file_channels) > 1:
        return f"{n_channels}, from {len(file_channels)} files each"
    kinds = {1: "grey", 3: "red, green, blue", 4: "red, green, blue, alpha"}
    return f"{n_channels}, {kinds.get(n_channels, 'of one file')}"


def volume_facts(run: RunDocument, evidence: RunEvidence) -> list[VolumeFacts]:
    """The volumes that the run wrote; none where there are no transforms."""
    if evidence.transforms is None:
        return []
    outputs = {o.uri: o for o in volume_of(evidence.plan, evidence.transforms).outputs}
    return [
        VolumeFacts(summary, outputs[summary.uri].array.data_type, outputs[summary.uri].n_channels)
        for summary in run.outputs
        if summary.uri in outputs
    ]


def cost_facts(cost: CostEstimate, outputs: Sequence[OutputSummary]) -> dict[str, str]:
    """The cost in figures, by name; the last of them by what the run has written, all others as estimated."""
    return dict(_cost_facts(cost, outputs))


def _cost_facts(cost: CostEstimate, outputs: Sequence[OutputSummary]) -> Iterator[tuple[str, str]]:
    dollars = cost.dollars
    steps = ", ".join(f"{step} {hours(n)}" for step, n in cost.core_hours.items())
    yield "core-hours, estimated", f"{hours(sum(cost.core_hours.values()))} ({steps})"
    yield (
        "machines, estimated",
        f"{money(dollars.machines_on_demand)} on demand, {money(dollars.machines_spot)} spot",
    )
    yield "requests to storage, estimated", money(dollars.requests)
    yield "aligned tiles for a day, estimated", money(dollars.tiles_for_a_day)
    if outputs:
        size_bytes = sum(output.size_bytes for output in outputs)
        yield (
            "storing the volumes, by their size",
            (f"{money(size_bytes / GIB * cost.prices.storage_gib_month)} a month"),
        )


def money(dollars: float) -> str:
    """An amount for people.

    Example:
        >>> money(0), money(0.004), money(1234.5)
        ('$0.00', 'less than $0.01', '$1,234.50')
    """
    return "less than $0.01" if 0 < dollars < 0.005 else f"${dollars:,.2f}"


def hours(n: float) -> str:
    """A number of hours for people.

    Example:
        >>> hours(0.0004), hours(0.034), hours(1234.5)
        ('<0.01', '0.03', '1,234.5')
    """
    if 0 < n < 0.005:
        return "<0.01"
    return f"{n:,.1f}" if n >= 10 else f"{n:.2f}"
