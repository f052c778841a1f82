"""`process/preview.json`: how well the slices that are shown agree, judged on thumbnails."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from components.shared.documents.sealed import Document, SealedDocument, without_empty

PREVIEW_KEY = "preview.json"

Correlations = tuple[float | None, ...]
"""NCC of each z of the volume with a slice that follows: the next, or the one after it. None where there is
nothing to compare: past the end, a missing slice, one without texture, or the same slice at both places."""


class WorstSlice(Document):
    """A slice that agrees little with its neighbours, measured against what is usual around it."""

    z: int
    ncc_previous: float | None
    ncc_next: float | None
    usual_ncc: float
    """Running median of the NCC of neighbours around the slice."""


class Gate(Document):
    """Decision whether the costly steps may start."""

    failures: tuple[str, ...]
    """Reasons against it, clauses with figures; empty where the check is passed."""
    enforced: bool
    """False where the configuration lets the run go on whatever the check says."""
    remarks: tuple[str, ...] = ()
    """Clauses on what a person should know and what stops no run; left out where there is none."""

    @model_serializer(mode="wrap")
    def _without_empty_remarks(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(serialise(self), "remarks")

    @property
    def stops_the_run(self) -> bool:
        return self.enforced and bool(self.failures)


class Preview(SealedDocument):
    """Result of the check on thumbnails. Each NCC is of pictures without slow shading.

    `before`: as the slices lie in their files. `after`: as the volume shows them, replacements included.
    """

    schema_version: Literal[1] = 1
    thumbnail_scale: float
    first_z: int
    ncc_next_before: Correlations
    ncc_next_after: Correlations
    ncc_second_before: Correlations
    """NCC with the slice after the next."""
    ncc_second_after: Correlations
    median_before: float | None
    """Median of `ncc_next_before`."""
    median_after: float | None
    median_control: float | None = None
    """Median NCC of neighbours as they lie, one of them interpolated as for `ncc_next_after`, and moved
    nowhere: what interpolation alone makes of the correlation. None in previews of older versions."""
    worst: tuple[WorstSlice, ...]
    """Slices that agree least with their neighbours, the worst first."""
    gate: Gate
