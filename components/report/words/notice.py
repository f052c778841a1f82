"""The message that mail and webhook carry when a run has ended."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from components.report.run_document import RunDocument
from components.report.run_status import RunStatus
from components.report.words.run_verdict import outcome
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.schemes import browser_link
from components.shared.storage.store import join_uri

Figure = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for people, with its figures for programs."""

    subject: str
    text: str
    figures: Mapping[str, Figure]


def notice_of(run: RunDocument) -> Notice:
    """The message on a run that has a report."""
    output = run.config.output
    report = join_uri(part_uri(output, "process"), "report", "index.html")
    lines = [*run.summary, f"Report: {browser_link(report)}"]
    if run.complete:
        lines.append(f"Look at it: {shlex.join(['fibstack', 'view', output])}")
    figures: dict[str, Figure] = {
        "id": run.config.id,
        "output": output,
        "state": outcome(run),
        "report": browser_link(report),
        **run.model_dump(
            include={
                "n_slices",
                "n_missing",
                "n_replaced",
                "n_pairs_refused",
                "median_ncc_before",
                "median_ncc_after",
                "largest_step_px",
            }
        ),
    }
    return Notice(_subject(run.config.id or output, run), "\n".join(lines), figures)


def notice_without_work(output: str, status: RunStatus) -> Notice:
    """The message on a run that ended before it did any work, so has no report."""
    reason = status.error or "the log of the step 'plan' says why."
    text = f"The run failed before any work was done: {reason}\nOutput: {output}"
    return Notice(_subject(output, None), text, {"output": output, "state": outcome(None)})


def notice_of_stub(output: str) -> Notice:
    """The message of a stub, which proves that the end of a run would be told."""
    text = (
        "This is a test: 'fibstack submit --stub' tries the pipeline, and makes no volume. "
        f"The end of a run is told like this.\nOutput: {output}"
    )
    return Notice(f"fibstack: {output}, a test", text, {"output": output, "state": "test"})


def _subject(name: str, run: RunDocument | None) -> str:
    return f"fibstack: {name} {'is complete' if outcome(run) == 'complete' else 'failed'}"
