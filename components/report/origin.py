"""Whether the documents of `compose` are of the plan that lies beside them, by the records of each step.

A run that ends before `compose` leaves those of the run before. They may lead to the very same blocks, such
as where slices are only to be matched otherwise: then the volume there is not what this run was to make.
"""

from __future__ import annotations

from components.shared.documents.plan import Plan
from components.shared.documents.preview import PREVIEW_KEY
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.grid import Span
from components.shared.storage.parallel import in_parallel
from components.shared.storage.store import ObjectChangedError, ObjectMissingError, Store
from components.shared.work.records import read_record
from components.shared.work.units import chunk_hash, chunks, compose_hash, preview_hash


def transforms_are_of(plan: Plan, process: Store) -> bool:
    """True where every chunk is matched as the plan says, and the transforms are solved from these chunks."""
    solved = _solved_hash(plan, process)
    return (
        solved is not None and _content(process, "compose", "transforms", solved, TRANSFORMS_KEY) is not None
    )


def preview_is_of(plan: Plan, transforms: Transforms, process: Store) -> bool:
    """True where the check on thumbnails is of this plan, and of transforms that are."""
    checked = preview_hash(_recorded_hash(process, "transforms"), plan, transforms)
    return _content(process, "compose", "preview", checked, PREVIEW_KEY) is not None


def is_solved(plan: Plan, process: Store) -> bool:
    """True where the records say that `compose` has solved this plan, whatever became of documents since."""

    def is_matched(chunk: Span) -> bool:
        record = read_record(process, "align", str(chunk))
        return record is not None and record.input_hash == chunk_hash(plan, chunk)

    solved, recorded = _solved_hash(plan, process), _recorded_hash(process, "transforms")
    return all(in_parallel(is_matched, chunks(plan))) and recorded != "" and solved in (None, recorded)


def _solved_hash(plan: Plan, process: Store) -> str | None:
    """Input hash that the transforms of a plan have; None where a chunk is not matched as the plan says."""

    def pairs(chunk: Span) -> bytes | None:
        return _content(process, "align", str(chunk), chunk_hash(plan, chunk), f"align/{chunk}.json")

    contents = in_parallel(pairs, chunks(plan))
    known = [content for content in contents if content is not None]
    return compose_hash(plan, known) if len(known) == len(contents) else None


def _content(process: Store, step: str, unit: str, input_hash: str, key: str) -> bytes | None:
    """A document as the record of its unit vouches for it; None where it does not, or is of another input."""
    record = read_record(process, step, unit)
    if record is None or record.input_hash != input_hash:
        return None
    expected = next((output.crc32c for output in record.outputs if output.key == key), "none")
    try:
        return process.read(key, expected)
    except (ObjectMissingError, ObjectChangedError):
        return None


def _recorded_hash(process: Store, unit: str) -> str:
    record = read_record(process, "compose", unit)
    return record.input_hash if record is not None else ""
