"""What the run costs and which images did it, as the page tells them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.shared.documents.cost import CostEstimate, Pod
from components.shared.text import GIB
from components.shared.work.completeness import OutputSummary


def cost_facts(cost: CostEstimate, outputs: Sequence[OutputSummary]) -> dict[str, str]:
    """The cost in figures, by name; only the last is of what the run has written."""
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


def images_used(pods: Mapping[str, Pod], *, as_processes: bool) -> tuple[dict[str, str], str]:
    """The image of each step, and a sentence on how surely these are known."""
    if as_processes:
        return (
            {},
            "Not pinned: the steps ran as processes, in no container, with the versions above.",
        )
    if not pods:
        return {}, "Not known: nobody told the run which images its steps are from."
    images = {step: pod.image for step, pod in pods.items()}
    by_tag = [step for step, image in images.items() if "@" not in image]
    if not by_tag:
        return images, "Pinned: each step ran the image with this digest."
    return images, f"Not pinned: {', '.join(by_tag)} by a tag alone, which may come to mean another image."


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
