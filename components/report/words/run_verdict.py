"""The verdict on a run: how it ended, whether its stack is good, and where to look first.

The page, the console of KFP, `run.json` and the messages take their words from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from components.report.gather import RunEvidence
from components.report.run_document import RunDocument, Tone
from components.report.run_status import RunStatus
from components.report.words.bad_slices import bad_slices, bad_slices_sentence
from components.report.words.warped_slices import warp_sentence
from components.shared.text import count, listed

STOPPED = "The volume was not written: its slices do not pass the check on thumbnails."
"""The error of a run that the check on thumbnails stopped."""
_NAMED = 6
_END_OF_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """The judgement on a run, for people who know EM and not this program."""

    tone: Tone
    headline: str
    sentences: tuple[str, ...]
    """Sentences that follow the headline: what happened."""
    stand_out: str
    """Sentence that names slices that stand out; empty without any."""
    look_at: tuple[str, ...]
    """Sentences on what else to look at before the volume is used."""


def run_verdict(run: RunDocument, evidence: RunEvidence) -> RunVerdict:
    """The verdict on a run that has its summary."""
    tone, text = _tone_and_headline(run, evidence)
    headline, *rest = _END_OF_SENTENCE.split(text, maxsplit=1) if tone == "bad" else [text]
    bad = bad_slices(evidence.rows)
    # What the headline says, and what is named one by one, is not said again.
    said = {text, bad_slices_sentence(evidence.rows), ending(run) if run.complete else ""}
    sentences = tuple(sentence for sentence in run.summary if sentence not in said)
    named = listed([f"{row.z} ({row.verdict}, {row.shown})" for row in bad], _NAMED)
    stand_out = f"Slices that stand out: {named}." if bad else ""
    return RunVerdict(tone, headline, (*rest, *sentences), stand_out, tuple(_look_at(evidence)))


def _tone_and_headline(run: RunDocument, evidence: RunEvidence) -> tuple[Tone, str]:
    if not run.complete:
        return "bad", ending(run)
    if evidence.preview is not None and evidence.preview.gate.failures:
        return "doubtful", "The volume is complete, but its slices do not lie well."
    if run.config.lies_as_recorded:
        return (
            "doubtful",
            "The volume is complete. Its slices lie as in their files: alignment was switched off.",
        )
    n_bad, n_slices = len(bad_slices(evidence.rows)), run.n_slices + run.n_missing
    verb = "stands" if n_bad == 1 else "stand"
    exceptions = f" {count(n_bad, 'slice')} of {n_slices:,} {verb} out." if n_bad else ""
    if run.config.placed_as:
        placed = f"Its slices are placed as those in {run.config.placed_as}."
        return "good", f"The volume is complete. {placed}{exceptions}"
    return "good", f"The stack is aligned and the volume is complete.{exceptions}"


def _look_at(evidence: RunEvidence) -> Iterator[str]:
    if evidence.preview is not None and evidence.preview.worst:
        worst = evidence.preview.worst[0]
        known = [ncc for ncc in (worst.ncc_previous, worst.ncc_next) if ncc is not None]
        if known:
            yield (
                f"Lowest NCC with a neighbour: {min(known):.2f} of slice {worst.z}, where "
                f"{worst.usual_ncc:.2f} is usual."
            )
    warped = warp_sentence(evidence)
    if warped:
        yield warped
    if evidence.trends is not None:
        yield from (f"{w[0].upper()}{w[1:].rstrip('.')}." for w in evidence.trends.warnings if w)


def ending(run: RunDocument) -> str:
    """The sentence that says how the run ended."""
    if run.complete:
        return "The volume is complete: every shard was found and opened."
    if run.error == STOPPED:
        return STOPPED
    if run.state == "failed":
        return f"The run failed{': ' + run.error if run.error else ' before the volume was complete'}"
    if run.volume_size_xyz is None:
        return "The run ended before the slices were aligned; there is no volume."
    return f"The volume is NOT complete: {run.problems[0]}."


def outcome(run: RunDocument | None) -> Literal["complete", "failed"]:
    """The word for how the run ended; None stands for a run that ended before it did any work."""
    return "complete" if run is not None and run.complete else "failed"


def is_held_back(evidence: RunEvidence, status: RunStatus) -> bool:
    """True where the check on thumbnails lets no volume be written, whatever an earlier run has written."""
    preview = evidence.preview
    return preview is not None and preview.gate.stops_the_run and status.state != "succeeded"


def is_stopped_by_check(evidence: RunEvidence, status: RunStatus) -> bool:
    """True where the check on thumbnails ended the run, and not a failure before or after it."""
    if not is_held_back(evidence, status):
        return False
    return not status.error or "compose" in status.error or "check on thumbnails" in status.error
