"""Artifacts for the console of KFP and Vertex AI: a page, a few lines, and figures to compare runs by.

The figures have no file: a program hands them over as metadata of their artifact, in the executor's output, a
JSON document whose place the executor's input names. The console shows a page without its links, so these
stand in the lines.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.report.gather import RunEvidence
from components.report.page.page import refused_page
from components.report.run_document import PAGE_KEY, RunDocument
from components.report.words.run_verdict import run_verdict
from components.shared.storage.store import Store, join_uri

METRICS = "metrics"
"""Name of the output artifact that holds the figures."""


@dataclass(frozen=True, slots=True)
class Console:
    """The files of a report that the console collects; each path is empty where nobody asks for its file."""

    page_path: str
    markdown_path: str
    executor_input: str
    """JSON that KFP puts into the arguments; it names the file that receives figures."""

    def show(self, run: RunDocument, evidence: RunEvidence, process: Store) -> None:
        """Write what the console shows of a run that has a report."""
        if self.page_path:
            write_artifact(self.page_path, process.read(PAGE_KEY).decode())
        markdown = markdown_of(run, evidence, join_uri(process.uri, PAGE_KEY))
        self._write(markdown, metrics_of(run, evidence))

    def show_refused(self, text: str) -> None:
        """Write what the console shows of a run that ended before any work was done.

        Args:
            text: Sentences, a line each; the first is the headline.
        """
        if self.page_path:
            write_artifact(self.page_path, refused_page(text))
        headline, *rest = text.splitlines()
        self._write(
            "\n".join([f"# {headline}", "", *(f"- {line}" for line in rest)]) + "\n", {"complete": 0.0}
        )

    def _write(self, markdown: str, metrics: dict[str, float]) -> None:
        if self.markdown_path:
            write_artifact(self.markdown_path, markdown)
        if self.executor_input:
            write_metrics(self.executor_input, metrics)


def metrics_of(run: RunDocument, evidence: RunEvidence) -> dict[str, float]:
    """Figures of a run to compare it with others by; what is not known is left out."""
    known = {
        "complete": float(run.complete),
        "slices": run.n_slices,
        "slices missing": run.n_missing,
        "slices replaced": run.n_replaced,
        "pairs matched": run.n_pairs_accepted,
        "pairs refused": run.n_pairs_refused,
        "median NCC before": run.median_ncc_before,
        "median NCC after": run.median_ncc_after,
        "largest step px": run.largest_step_px,
        "written GB": sum(output.size_bytes for output in run.outputs) / 1e9 if run.outputs else None,
        "hours": sum(max(0.0, time.wall_s) for time in evidence.times) / 3600 if evidence.times else None,
    }
    return {name: round(float(value), 6) for name, value in known.items() if value is not None}


def markdown_of(run: RunDocument, evidence: RunEvidence, report_uri: str) -> str:
    """The verdict, and where to find the rest, as Markdown."""
    verdict = run_verdict(run, evidence)
    lines = [f"# {verdict.headline}", ""]
    lines += [f"- {text}" for text in (*verdict.sentences, verdict.stand_out, *verdict.look_at) if text]
    output = run.config.output
    lines += ["", f"Report: `{report_uri}`"]
    if run.complete:
        lines += ["", f"Look at it: `{shlex.join(['fibstack', 'view', output])}`"]
    return "\n".join(lines) + "\n"


def executor_output(metrics: dict[str, float]) -> dict[str, Any]:
    """The document that hands figures over, as KFP reads it."""
    return {"artifacts": {METRICS: {"artifacts": [{"metadata": metrics}]}}}


def write_artifact(path: str, text: str) -> None:
    """Write an artifact where KFP collects it; the path is local to the container, not a data path."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_metrics(executor_input: str, metrics: dict[str, float]) -> None:
    """Hand figures over to KFP.

    Args:
        executor_input: JSON that KFP puts into the arguments; it names the file to write.
        metrics: Figures by name.
    """
    path = json.loads(executor_input)["outputs"]["outputFile"]
    write_artifact(path, json.dumps(executor_output(metrics)))
