"""What the page says of the check on thumbnails."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from components.report.evidence import Evidence
from components.report.words.status import RunStatus

_N_DECISIONS = 5
STOPPED = "The volume was not written: its slices do not pass the check on thumbnails."


@dataclass(frozen=True, slots=True)
class WayOn:
    """What to do about a check that is not passed: a file to start from, and two commands."""

    decisions: str
    """An overrides file of the worst slices."""
    decide: str
    go_on: str


def stopped_the_run(evidence: Evidence, status: RunStatus) -> bool:
    """Whether the run ended because of the check, not later or before."""
    preview = evidence.preview
    if preview is None or status.state != "failed" or not preview.gate.stops_the_run:
        return False
    return not status.error or "compose" in status.error or "check on thumbnails" in status.error


def way_on(evidence: Evidence) -> WayOn | None:
    """The way on where the check is not passed."""
    preview = evidence.preview
    if preview is None or not preview.gate.failures:
        return None
    output = evidence.plan.config.output
    lines = [f"- {{z: {worst.z}, replace: nearest}}" for worst in preview.worst[:_N_DECISIONS]]
    return WayOn(
        decisions="\n".join(lines),
        decide=shlex.join(["fibstack", "resolve", output, "--overrides", "decisions.yaml"]),
        go_on=shlex.join(["fibstack", "resolve", output, "--set", "force=true"]),
    )
