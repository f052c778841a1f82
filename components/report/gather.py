"""The evidence on a run: the documents that it has left, as many as there are and can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from components.report.origin import preview_is_of, transforms_are_of
from components.report.page.timings import RECORDED, StepTime, raw_bytes, step_times
from components.report.pair_tally import PairTally
from components.shared.documents.align import AlignRecord
from components.shared.documents.cost import COST_KEY, CostEstimate, Pod
from components.shared.documents.plan import PLAN_KEY, Plan, plan_in
from components.shared.documents.preview import PREVIEW_KEY, Preview
from components.shared.documents.read_document import AnyDocument, read_document
from components.shared.documents.slices import SLICES_KEY, SliceRow, known_row, read_rows
from components.shared.documents.thickness import THICKNESS_KEY, Thickness
from components.shared.documents.transforms import TRANSFORMS_KEY, TRENDS_KEY, Transforms, Trends
from components.shared.errors import UserError
from components.shared.storage.store import ObjectChangedError, Store
from components.shared.work.records import read_record
from components.shared.work.thumbnails import Thumbnail, Thumbnails
from components.shared.work.units import chunks

RECORDS_PREFIX = "records/"
"""Prefix of the keys of all records, below the process URI."""


@dataclass(slots=True)
class RunEvidence:
    """The documents and figures that a run has left; what is not there stays None or empty."""

    plan: Plan
    pairs: PairTally = field(default_factory=PairTally)
    n_chunks: int = 0
    n_chunks_matched: int = 0
    transforms: Transforms | None = None
    preview: Preview | None = None
    trends: Trends | None = None
    thickness: Thickness | None = None
    cost: CostEstimate | None = None
    pods: dict[str, Pod] = field(default_factory=dict)
    """Image and machine of each step; empty where nobody told the run."""
    as_processes: bool = False
    """The steps run as processes of one machine, in no container."""
    rows: list[SliceRow] = field(default_factory=list)
    times: tuple[StepTime, ...] = ()
    begun: datetime | None = None
    """When the plan of the run was written; None where the store does not tell."""
    unreadable: list[str] = field(default_factory=list)
    """Sentences on documents that exist and cannot be read."""


def read_plan(process: Store) -> Plan | None:
    """The plan, or None where the run stopped before there was one.

    Raises:
        UserError: there is a plan that this version cannot read.
    """
    if process.stat(PLAN_KEY) is None:
        return None
    return plan_in(process)


def gather(process: Store, plan: Plan, *, by_records: bool = False) -> RunEvidence:
    """Read every document of the run, one align record at a time.

    Args:
        process: Where they lie.
        plan: The plan of the run.
        by_records: Take the documents of `compose` for this run's only where the records say so; needless
            where all steps are known to have succeeded.
    """
    evidence = RunEvidence(plan, n_chunks=len(chunks(plan)))
    for chunk in chunks(plan):
        record = _optional(process, f"align/{chunk}.json", AlignRecord, evidence)
        if record is not None:
            evidence.pairs.add(record)
            evidence.n_chunks_matched += 1
    evidence.transforms = _transforms(process, evidence)
    if by_records and evidence.transforms is not None and not transforms_are_of(plan, process):
        evidence.unreadable.append(
            "transforms.json is of an earlier run, or what it was made from has changed"
        )
        evidence.transforms = None
    if evidence.transforms is not None:
        evidence.trends = _optional(process, TRENDS_KEY, Trends, evidence)
        evidence.thickness = _optional(process, THICKNESS_KEY, Thickness, evidence)
    evidence.preview = _preview(process, evidence)
    if by_records and evidence.preview is not None:
        transforms = evidence.transforms
        if transforms is None or not preview_is_of(plan, transforms, process):
            evidence.unreadable.append("preview.json is of an earlier run")
            evidence.preview = None
    evidence.cost = _optional(process, COST_KEY, CostEstimate, evidence)
    evidence.times = _times(process, plan)
    planned = process.stat(PLAN_KEY)
    if planned is not None and planned.written_s:
        evidence.begun = datetime.fromtimestamp(planned.written_s, UTC)
    if evidence.transforms is not None and process.stat(SLICES_KEY) is not None:
        try:
            rows = process.read(SLICES_KEY, _recorded_crc32c(process, SLICES_KEY))
            evidence.rows = _by_one_measure(read_rows(rows.decode().splitlines()), evidence.preview)
        except (ValueError, TypeError, ObjectChangedError) as error:
            evidence.unreadable.append(f"slices.jsonl cannot be read: {error}")
    return evidence


def _by_one_measure(rows: list[SliceRow], preview: Preview | None) -> list[SliceRow]:
    """The rows with the correlations of the check on thumbnails: all that a report tells is of one kind.

    `slices.jsonl` holds those of `align`, of other pictures; they stand where there was no check.
    """
    if preview is None:
        return rows
    of_z = {
        preview.first_z + index: {"ncc_before": _or_nan(before), "ncc_after": _or_nan(after)}
        for index, (before, after) in enumerate(
            zip(preview.ncc_next_before, preview.ncc_next_after, strict=True)
        )
    }
    return [known_row(**vars(row) | of_z.get(row.z, {})) for row in rows]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _recorded_crc32c(process: Store, key: str) -> str | None:
    """Checksum of a file as `compose` recorded it; None where there is no record."""
    record = read_record(process, "compose", "transforms")
    outputs = record.outputs if record is not None else ()
    return next((output.crc32c for output in outputs if output.key == key), None)


def _transforms(process: Store, evidence: RunEvidence) -> Transforms | None:
    """The transforms, if they are of this plan's slices; a run that fails early leaves earlier ones."""
    transforms = _optional(process, TRANSFORMS_KEY, Transforms, evidence)
    config = evidence.plan.config
    if transforms is None or [s.z for s in transforms.slices] == list(range(config.minz, config.maxz + 1)):
        return transforms
    evidence.unreadable.append("transforms.json is of an earlier run with other slices")
    return None


def _preview(process: Store, evidence: RunEvidence) -> Preview | None:
    """The check on thumbnails, if it is of this plan's slices."""
    preview = _optional(process, PREVIEW_KEY, Preview, evidence)
    config = evidence.plan.config
    n_slices = config.maxz - config.minz + 1
    if preview is None or (preview.first_z, len(preview.ncc_next_after)) == (config.minz, n_slices):
        return preview
    evidence.unreadable.append("preview.json is of an earlier run with other slices")
    return None


class Pictures:
    """The thumbnails of a run, in one pass; the evidence tells of those that cannot be read.

    Args:
        process: Where they lie.
        evidence: The evidence on the run.
        watched: The z of slices that somebody else looks at in the same pass.
        watch: Called with the z and the picture of each of these.
    """

    def __init__(
        self,
        process: Store,
        evidence: RunEvidence,
        watched: frozenset[int],
        watch: Callable[[int, Thumbnail], None],
    ) -> None:
        self._thumbnails = Thumbnails(evidence.plan, process)
        self._evidence = evidence
        self._watched, self._watch = watched, watch

    def pass_by(self, wanted: frozenset[int]) -> Iterator[tuple[int, Thumbnail]]:
        """The thumbnails that are there of those that are wanted or watched, with their z, ascending."""
        for z in sorted(wanted | self._watched):
            picture = self._picture(z)
            if picture is None:
                continue
            if z in self._watched:
                self._watch(z, picture)
            yield z, picture

    def _picture(self, z: int) -> Thumbnail | None:
        try:
            return self._thumbnails.picture(z)
        except UserError as error:
            if str(error) not in self._evidence.unreadable:
                self._evidence.unreadable.append(str(error))
            return None


def _times(process: Store, plan: Plan) -> tuple[StepTime, ...]:
    planned = process.stat(PLAN_KEY)
    records_s: dict[str, list[float]] = {step: [] for step in RECORDED}
    for stat in process.list(RECORDS_PREFIX):
        step = stat.key.removeprefix(RECORDS_PREFIX).partition("/")[0]
        if step in records_s:
            records_s[step].append(stat.written_s or 0.0)
    planned_s = planned.written_s or 0.0 if planned else 0.0
    return step_times(planned_s, records_s, raw_bytes(plan))


def _optional(process: Store, key: str, kind: type[AnyDocument], evidence: RunEvidence) -> AnyDocument | None:
    if process.stat(key) is None:
        return None
    try:
        return read_document(process, key, kind)
    except UserError as error:
        evidence.unreadable.append(str(error))
        return None
