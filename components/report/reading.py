"""Reads the documents that a run has left, as many as there are."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from components.report.evidence import Evidence
from components.report.slice_table import read_rows
from components.shared.documents import PLAN_KEY, SLICES_KEY, TRANSFORMS_KEY, AlignRecord, Plan, Transforms
from components.shared.errors import UserError
from components.shared.reading import AnyDocument, read_document
from components.shared.storage import Store
from components.shared.units import chunks


def read_plan(process: Store) -> Plan | None:
    """The plan, or None where the run stopped before there was one.

    Raises:
        UserError: there is a plan that this version cannot read.
    """
    if process.stat(PLAN_KEY) is None:
        return None
    return read_document(process, PLAN_KEY, Plan)


def gather(process: Store, plan: Plan) -> Evidence:
    """Read every document of the run, one align record at a time."""
    evidence = Evidence(plan, n_chunks=len(chunks(plan)))
    for chunk in chunks(plan):
        record = _optional(process, f"align/{chunk}.json", AlignRecord, evidence)
        if record is not None:
            evidence.pairs.add(record)
            evidence.n_chunks_matched += 1
    evidence.transforms = _transforms(process, evidence)
    if evidence.transforms is not None and process.stat(SLICES_KEY) is not None:
        try:
            evidence.rows = read_rows(process.read(SLICES_KEY).decode().splitlines(), plan)
        except (ValueError, TypeError) as error:
            evidence.unreadable.append(f"slices.jsonl cannot be read: {error}")
    return evidence


def _transforms(process: Store, evidence: Evidence) -> Transforms | None:
    """The transforms, if they are of this plan's slices: a run that fails early leaves an earlier run's."""
    transforms = _optional(process, TRANSFORMS_KEY, Transforms, evidence)
    config = evidence.plan.config
    if transforms is None or [s.z for s in transforms.slices] == list(range(config.minz, config.maxz + 1)):
        return transforms
    evidence.unreadable.append("transforms.json is of an earlier run with other slices")
    return None


def thumbnails(process: Store, evidence: Evidence) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Every thumbnail with its z, one chunk in memory at a time; a chunk without any is passed over."""
    for chunk in chunks(evidence.plan):
        key = f"align/{chunk}.npz"
        if process.stat(key) is None:
            continue
        try:
            with np.load(io.BytesIO(process.read(key)), allow_pickle=False) as archive:
                pictures = {int(name[1:]): archive[name] for name in archive.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            evidence.unreadable.append(f"{key} cannot be read: {error}")
            continue
        for z in sorted(pictures.keys() & set(chunk)):
            yield z, pictures[z]


def _optional(process: Store, key: str, kind: type[AnyDocument], evidence: Evidence) -> AnyDocument | None:
    if process.stat(key) is None:
        return None
    try:
        return read_document(process, key, kind)
    except UserError as error:
        evidence.unreadable.append(str(error))
        return None
