"""What people are told when a run has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.report.words.status import RunStatus
from components.report.words.summary import RunDocument
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import join_uri

Figure = str | int | float | bool | None
_CONSOLE = "https://storage.cloud.google.com/"
"""Where a browser reads a private object, as who is logged in there."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The message."""

    subject: str
    text: str
    figures: Mapping[str, Figure]
    """For programs."""


def notice_of(run: RunDocument) -> Notice:
    """What to say of a run that has a report."""
    output = run.config.output
    report = join_uri(part_uri(output, "process"), "report", "index.html")
    lines = [*run.summary, f"Report: {_link(report)}"]
    if run.complete:
        lines.append(f"Look at it: fibstack view '{output}'")
    figures: dict[str, Figure] = {
        "id": run.config.id,
        "output": output,
        "state": "complete" if run.complete else "failed",
        "report": _link(report),
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
    return Notice(_subject(run.config.id, output, run.complete), "\n".join(lines), figures)


def notice_without_work(output: str, status: RunStatus) -> Notice:
    """What to say of a run that ended before it did anything, so has no report."""
    reason = status.error or "the log of the step 'plan' says why."
    text = f"The run failed before any work was done: {reason}\nOutput: {output}"
    return Notice(_subject("", output, is_complete=False), text, {"output": output, "state": "failed"})


def _subject(run_id: str, output: str, is_complete: bool) -> str:
    return f"fibstack: {run_id or output} {'is complete' if is_complete else 'failed'}"


def _link(uri: str) -> str:
    """An address that a browser opens, for what lies in a bucket.

    Example:
        >>> _link("gs://em/out/index.html"), _link("/data/out/index.html")
        ('https://storage.cloud.google.com/em/out/index.html', '/data/out/index.html')
    """
    return _CONSOLE + uri.removeprefix("gs://") if uri.startswith("gs://") else uri
