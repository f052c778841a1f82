"""`process/run.json`: how the run went, in figures and in sentences."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from pydantic import Field

from components.report.evidence import Evidence
from components.report.page.cost import images_used
from components.report.slice_table import column, largest, median
from components.report.words.bad_slices import bad_slices_sentence
from components.report.words.preview_words import STOPPED, stopped_the_run
from components.report.words.status import RunStatus
from components.shared.documents.config import RunConfig
from components.shared.documents.sealed import SealedDocument
from components.shared.documents.transforms import Transforms
from components.shared.text import count, product, size
from components.shared.volume.volume import Volume
from components.shared.work.completeness import OutputSummary
from components.shared.work.verification import Verification

RUN_KEY = "run.json"
"""Key below the process URI."""
_PACKAGES = {
    "fibstack": "fibstack",
    "numpy": "numpy",
    "opencv": "opencv-contrib-python-headless",
    "tensorstore": "tensorstore",
}
_ALWAYS_GIVEN = ("source", "image", "minz", "maxz", "output")


class RunDocument(SealedDocument):
    """`process/run.json`."""

    schema_version: Literal[1] = 1
    state: Literal["succeeded", "failed", "unknown"]
    """How the steps before the report ended."""
    error: str
    complete: bool
    """Whether every part of the volume was found, opened and published."""
    problems: tuple[str, ...]
    n_slices: int
    n_missing: int
    n_replaced: int | None
    n_pairs_accepted: int
    n_pairs_refused: int
    refusal_reasons: dict[str, int]
    median_ncc_before: float | None
    median_ncc_after: float | None
    largest_step_px: float | None
    volume_size_xyz: tuple[int, int, int] | None
    levels: tuple[int, ...]
    outputs: tuple[OutputSummary, ...]
    volume_hash: str
    """Of all that the volume depends on; empty where there is none."""
    plan_crc32c: str = ""
    """Of the plan that was carried out."""
    versions: dict[str, str]
    images: dict[str, str] = Field(default_factory=dict)
    """Container image of each step; empty where the steps ran in none, or nobody told."""
    images_known: str = ""
    """How surely these are known, as a sentence."""
    config: RunConfig
    summary: tuple[str, ...]
    """Sentences for the terminal."""


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    found = {"python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def command_of(config: RunConfig) -> str:
    """The command that repeats a run.

    Example:
        >>> config = RunConfig(source="my stack", image="%d.png", minz=0, maxz=1, output="out", neighbours=2)
        >>> command_of(config)
        "fibstack run --source 'my stack' --image %d.png --minz 0 --maxz 1 --output out --set neighbours=2"
    """
    values = config.model_dump()
    words = ["fibstack", "run"]
    for key in _ALWAYS_GIVEN:
        words += [f"--{key}", str(values.pop(key))]
    defaults = {name: field.default for name, field in RunConfig.model_fields.items()}
    for key, value in values.items():
        if value != defaults[key]:
            words += ["--set", f"{key}={_plain(value)}"]
    return shlex.join(words)


def _plain(value: object) -> str:
    """A value as YAML on one line."""
    return value if isinstance(value, str) else json.dumps(value)


def summarise(
    evidence: Evidence,
    status: RunStatus,
    volume: Volume | None,
    verification: Verification,
) -> RunDocument:
    """The run document; a run is complete when no step failed and the volume was found without a problem."""
    rows, transforms = evidence.rows, evidence.transforms
    stopped = stopped_the_run(evidence, status)
    images, images_known = images_used(evidence.pods, as_processes=evidence.as_processes)
    clauses = evidence.preview.gate.failures if stopped and evidence.preview else ()
    document = RunDocument(
        state=status.state,
        error=STOPPED if stopped else status.error,
        complete=status.state != "failed" and volume is not None and not verification.problems,
        problems=(
            *(_sentence(c) for c in clauses),
            *(p.sentence for p in verification.problems),
            *evidence.unreadable,
        ),
        n_slices=len(evidence.plan.slices),
        n_missing=len(evidence.plan.missing_z),
        n_replaced=_n_replaced(transforms),
        n_pairs_accepted=evidence.pairs.n_accepted,
        n_pairs_refused=evidence.pairs.n_refused,
        refusal_reasons=dict(evidence.pairs.reasons),
        median_ncc_before=median(column(rows, "ncc_before")),
        median_ncc_after=median(column(rows, "ncc_after")),
        largest_step_px=largest(column(rows, "step_px")),
        volume_size_xyz=volume.size_xyz if volume else None,
        levels=tuple(volume.outputs[0].levels) if volume else (),
        outputs=verification.outputs,
        volume_hash=verification.volume_hash,
        plan_crc32c=evidence.plan.crc32c,
        versions=versions(),
        images=images,
        images_known=images_known,
        config=evidence.plan.config,
        summary=(),
    )
    return document.model_copy(update={"summary": tuple(sentences(document, evidence))})


def sentences(run: RunDocument, evidence: Evidence) -> Iterator[str]:
    """What happened, in two to six sentences; the first is the verdict."""
    yield verdict(run)
    yield _input_and_volume(run)
    if run.median_ncc_before is not None and run.median_ncc_after is not None:
        step = "" if run.largest_step_px is None else f"; the largest step is {run.largest_step_px:.1f} px"
        yield (
            f"Neighbouring slices correlate at {run.median_ncc_after:.3f} after alignment, "
            f"{run.median_ncc_before:.3f} before (medians){step}."
        )
    n_pairs = run.n_pairs_accepted + run.n_pairs_refused
    if n_pairs:
        reasons = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in run.refusal_reasons.items())
        refused = f"{run.n_pairs_refused:,} refused ({reasons})" if run.n_pairs_refused else "none refused"
        yield f"{run.n_pairs_accepted:,} of {count(n_pairs, 'pair')} matched, {refused}."
    stand_out = bad_slices_sentence(evidence.rows)
    if stand_out:
        yield stand_out
    if run.complete:
        written = ", ".join(f"{o.uri} ({size(o.size_bytes, smallest='MB')})" for o in run.outputs)
        yield f"Written: {written}."


def _n_replaced(transforms: Transforms | None) -> int | None:
    """Slices of which something else is shown."""
    if transforms is None:
        return None
    return sum(s.action in ("replace", "blend", "blank") for s in transforms.slices)


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _input_and_volume(run: RunDocument) -> str:
    slices = f"{count(run.n_slices, 'slice')} from z {run.config.minz} to {run.config.maxz}"
    missing = f", {run.n_missing:,} missing" if run.n_missing else ""
    if run.volume_size_xyz is None:
        return f"{slices}{missing}."
    verb = "has" if run.complete else "is to have"
    size_xyz, levels = product(run.volume_size_xyz), count(len(run.levels), "level")
    return f"{slices}{missing}; the volume {verb} {size_xyz} voxels in {levels}."


def verdict(run: RunDocument) -> str:
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
