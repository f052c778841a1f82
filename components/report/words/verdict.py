"""What one who knows EM, and not this program, wants to read first: is the stack good, and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from components.report.evidence import Evidence
from components.report.words.bad_slices import bad_slices
from components.report.words.summary import RunDocument
from components.shared.text import count, listed

_NAMED = 6
Tone = Literal["good", "doubtful", "bad"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence, and what to look at before the volume is used."""

    tone: Tone
    headline: str
    look_at: tuple[str, ...]


def verdict_of(run: RunDocument, evidence: Evidence) -> Verdict:
    """The verdict on a run."""
    look_at = tuple(_look_at(evidence))
    if not run.complete:
        return Verdict("bad", run.summary[0], look_at)
    if evidence.preview is not None and evidence.preview.gate.failures:
        return Verdict("doubtful", "The volume is complete, but its slices do not lie well.", look_at)
    if run.config.skip_align:
        headline = "The volume is complete. Its slices lie as in their files: alignment was switched off."
        return Verdict("doubtful", headline, look_at)
    n_bad = len(bad_slices(evidence.rows))
    exceptions = f" {count(n_bad, 'slice')} of {run.n_slices + run.n_missing:,} stand out." if n_bad else ""
    if n_bad == 1:
        exceptions = exceptions.replace("stand", "stands")
    return Verdict("good", f"The stack is aligned and the volume is complete.{exceptions}", look_at)


def _look_at(evidence: Evidence) -> Iterator[str]:
    bad = bad_slices(evidence.rows)
    if bad:
        named = listed([f"{row.z} ({row.verdict}, {row.shown})" for row in bad], _NAMED)
        yield f"Slices that stand out: {named}."
    if evidence.preview is not None and evidence.preview.worst:
        worst = evidence.preview.worst[0]
        known = [ncc for ncc in (worst.ncc_previous, worst.ncc_next) if ncc is not None]
        if known:
            yield (
                f"Least agreement with a neighbour: slice {worst.z}, {min(known):.2f} where "
                f"{worst.usual_ncc:.2f} is usual."
            )
    if evidence.trends is not None:
        yield from (f"{w[0].upper()}{w[1:].rstrip('.')}." for w in evidence.trends.warnings if w)
