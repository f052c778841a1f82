"""`process/preview.json`: how well the slices that are shown agree, judged on thumbnails."""

from __future__ import annotations

from typing import Literal

from components.shared.documents.sealed import Document, SealedDocument

PREVIEW_KEY = "preview.json"

Correlations = tuple[float | None, ...]
"""One figure for each z of the volume: with the slice that follows at some distance. None where there is
nothing to compare: past the end, a missing slice, one without texture, or twice the same slice."""


class WorstSlice(Document):
    """A slice that agrees little with its neighbours, measured against what is usual around it."""

    z: int
    ncc_previous: float | None
    ncc_next: float | None
    usual_ncc: float
    """Running median of the correlation of neighbours."""


class Gate(Document):
    """Whether the costly steps may start."""

    failures: tuple[str, ...]
    """Why not, in clauses with figures; empty where the check is passed."""
    enforced: bool
    """False where the configuration lets the run go on whatever the check says."""

    @property
    def stops_the_run(self) -> bool:
        return self.enforced and bool(self.failures)


class Preview(SealedDocument):
    """The check on thumbnails. Correlations are normalised cross-correlations without slow shading.

    `before` is as the slices lie in their files, `after` as the volume will show them, replacements included.
    """

    schema_version: Literal[1] = 1
    thumbnail_scale: float
    first_z: int
    ncc_next_before: Correlations
    ncc_next_after: Correlations
    ncc_second_before: Correlations
    """With the next but one."""
    ncc_second_after: Correlations
    median_before: float | None
    """Of neighbours."""
    median_after: float | None
    worst: tuple[WorstSlice, ...]
    """Worst first."""
    gate: Gate
