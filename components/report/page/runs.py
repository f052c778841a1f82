"""Several runs on one page, the worst first: what a facility looks at in the morning."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from components.report.page.page import data_set, environment
from components.report.run_document import PAGE_KEY, RUN_KEY, RunDocument, StandingOut, Tone
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import PLAN_KEY
from components.shared.documents.read_document import read_document
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.schemes import browser_link, scheme_of
from components.shared.storage.store import Store, join_uri
from components.shared.text import count
from components.shared.work.refusal import standing_refusal

_ORDER: dict[Tone, int] = {"bad": 0, "doubtful": 1, "good": 2}
WORDS: dict[Tone, str] = {"bad": "failed", "doubtful": "look", "good": "good"}
"""The word for each kind of verdict, since colours alone do not tell it to everybody."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the table."""

    output: str
    name: str
    tone: Tone
    headline: str
    report: str = ""
    """Address of its report; empty where there is none."""
    run: RunDocument | None = None
    """Its figures; None where it has none."""
    ended: datetime | None = None

    @property
    def standing_out(self) -> tuple[StandingOut, ...]:
        """The first slices that stand out."""
        return self.run.standing_out if self.run is not None else ()


def read_run(output: str, page_folder: Path) -> RunRow:
    """The row of a run, whether it has ended, was refused, or still goes on.

    Args:
        output: Folder or URI of the run.
        page_folder: Folder of the page, from which reports in folders are linked.
    """
    name = output.rstrip("/").rpartition("/")[2]
    try:
        return _row_of(output, name, page_folder)
    except UserError as error:  # the page of the others must come all the same
        return RunRow(output, name, "bad", str(error))


def _row_of(output: str, name: str, page_folder: Path) -> RunRow:
    process = open_store(part_uri(output, "process"))
    report = _report_link(process, page_folder)
    planned = _planned(process)
    if planned is not None:
        name = data_set(planned[1])
    ended = process.stat(RUN_KEY)
    run = read_document(process, RUN_KEY, RunDocument) if ended is not None else None
    if run is not None and (planned is None or planned[0] == run.plan_crc32c):
        told = datetime.fromtimestamp(ended.written_s, UTC) if ended and ended.written_s else None
        tone = run.tone or ("good" if run.complete else "bad")
        return RunRow(output, data_set(run.config), tone, run.headline or run.summary[0], report, run, told)
    refusal = standing_refusal(process)
    if refusal is not None:
        return RunRow(output, name, "bad", f"The run was refused: {refusal.sentence}", report)
    if planned is None:
        return RunRow(output, name, "bad", "Nothing of a run lies there: it has neither plan nor report.")
    return RunRow(output, name, "doubtful", "The run has not ended, or ended without its report.", report)


def runs_page(rows: Sequence[RunRow]) -> str:
    """HTML of the page, which loads nothing from elsewhere."""
    worst_first = sorted(rows, key=lambda row: _ORDER[row.tone])
    return (
        environment()
        .get_template("runs.html.j2")
        .render(rows=worst_first, headline=headline(rows), tone=worst_first[0].tone, words=WORDS)
    )


def _badness(row: RunRow) -> tuple[int, int, str]:
    n_standing_out = row.run.n_standing_out if row.run is not None else 0
    return _ORDER[row.tone], -n_standing_out, row.name


def headline(rows: Sequence[RunRow]) -> str:
    """The verdict on all runs.

    Example:
        >>> good, bad = (RunRow("o", "n", tone, "") for tone in ("good", "bad"))
        >>> headline([good, bad, good]), headline([good])
        ('1 of 3 runs failed.', '1 run is good.')
    """
    n_bad, n_doubtful = (sum(row.tone == tone for row in rows) for tone in ("bad", "doubtful"))
    if not n_bad and not n_doubtful:
        return f"{count(len(rows), 'run')} {'is' if len(rows) == 1 else 'are'} good."
    of_all = f"of {count(len(rows), 'run')}"
    if not n_bad:
        return f"{n_doubtful} {of_all} {'wants' if n_doubtful == 1 else 'want'} a look."
    also = f" {n_doubtful} more {'wants' if n_doubtful == 1 else 'want'} a look." if n_doubtful else ""
    return f"{n_bad} {of_all} failed.{also}"


def _planned(process: Store) -> tuple[str, RunConfig] | None:
    """Checksum and configuration of the plan that lies there; None where there is none that can be read."""
    if process.stat(PLAN_KEY) is None:
        return None
    try:
        plan = json.loads(process.read(PLAN_KEY))
        return str(plan["crc32c"]), RunConfig.model_construct(**plan["config"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _report_link(process: Store, page_folder: Path) -> str:
    """The address of a report; from the page where both lie in folders, so that they can move together."""
    if process.stat(PAGE_KEY) is None:
        return ""
    uri = join_uri(process.uri, PAGE_KEY)
    if scheme_of(uri).is_remote:
        return browser_link(uri)
    return quote(Path(os.path.relpath(uri, page_folder)).as_posix())
