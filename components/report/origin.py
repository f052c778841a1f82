"""Whether the documents of `compose` are of the plan that lies beside them, by the records of each step.

A run that ends before `compose` leaves those of the run before. They may lead to the very same blocks, such
as where slices are only to be matched otherwise: then the volume there is not what this run was to make.
"""

from __future__ import annotations

from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.grid import Span
from components.shared.storage.parallel import in_parallel
from components.shared.storage.store import ObjectChangedError, ObjectMissingError, Store
from components.shared.work.records import read_record
from components.shared.work.units import chunk_hash, chunks, compose_hash, preview_hash


def transforms_are_of(plan: Plan, process: Store) -> bool:
    """True where every chunk is matched as the plan says, and the transforms are solved from these chunks."""
    solved = _solved_hash(plan, process)
    return solved is not None and _recorded_hash(process, "transforms") == solved


def preview_is_of(plan: Plan, transforms: Transforms, process: Store) -> bool:
    """True where the check on thumbnails is of this plan, and of transforms that are."""
    solved = _recorded_hash(process, "transforms")
    return _recorded_hash(process, "preview") == preview_hash(solved, plan, transforms)


def _solved_hash(plan: Plan, process: Store) -> str | None:
    """Input hash that the transforms of a plan have; None where a chunk is not matched as the plan says."""
    contents = in_parallel(lambda chunk: _content(plan, chunk, process), chunks(plan))
    known = [content for content in contents if content is not None]
    return compose_hash(plan, known) if len(known) == len(contents) else None


def _content(plan: Plan, chunk: Span, process: Store) -> bytes | None:
    """The pairs of a chunk as its record vouches for them; None where it does not, or is of another plan."""
    key = f"align/{chunk}.json"
    record = read_record(process, "align", str(chunk))
    if record is None or record.input_hash != chunk_hash(plan, chunk):
        return None
    expected = next((output.crc32c for output in record.outputs if output.key == key), "none")
    try:
        return process.read(key, expected)
    except (ObjectMissingError, ObjectChangedError):
        return None


def _recorded_hash(process: Store, unit: str) -> str:
    record = read_record(process, "compose", unit)
    return record.input_hash if record is not None else ""
