"""Counts of the units that each step has done, from their records; they can be taken while a run works.

`python -m components.report.unit_counts OUTPUT` prints them, where only a pod sees the output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from components.shared.documents.config_flags import decisions_sentence
from components.shared.documents.plan import PLAN_KEY, Plan, plan_in
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.errors import FibstackError, UserError
from components.shared.grid import Span
from components.shared.steps import STEPS, Step
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store
from components.shared.volume.layout import metadata_files
from components.shared.volume.volume import Volume, VolumeOutput, volume_of
from components.shared.work.export import EXPORT_KEY, Export, export_hash, exported_volume
from components.shared.work.records import read_record, record_key
from components.shared.work.refusal import Refusal, standing_refusal
from components.shared.work.run import Run
from components.shared.work.units import chunk_hash, chunks

_SAMPLED = 8
"""Records of a step, at most, that are read to see whether they are of this run."""


@dataclass(frozen=True, slots=True)
class UnitCount:
    """The units of one step that have a record."""

    step: str
    n_done: int
    n_total: int | None
    """Number of units in all; None where that depends on a step that is not done yet."""
    has_earlier: bool = False
    """True if records of an earlier run with other settings were found; they are counted, too."""

    def __str__(self) -> str:
        if self.n_total is None:
            return f"{self.step:8}{'':>9} not known before compose"
        percent = 100 * self.n_done // self.n_total if self.n_total else 100
        earlier = "  some by an earlier run with other settings" if self.has_earlier else ""
        return f"{self.step:8}{self.n_done:>9,} of {self.n_total:<9,}{percent:>3}%{earlier}"


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """The counts of an output's steps, and its volumes."""

    counts: tuple[UnitCount, ...]
    published: tuple[str, ...] = ()
    """URIs of the volumes that viewers find."""
    unpublished: tuple[str, ...] = ()
    decisions: str = ""
    """The sentence on what `fibstack resolve` has decided there, and how it is taken back."""
    refusal: Refusal | None = None
    """Why the last run there was refused."""


def status_lines(output: str) -> Iterator[str]:
    """Lines about an output for its user.

    Raises:
        UserError: no run has begun there.
    """
    status = read_status(output)
    yield from map(str, status.counts)
    if status.refusal is not None:
        yield f"refused by {status.refusal.step}: {status.refusal.sentence}"
    for uri in status.published:
        yield f"published: {uri}"
    for uri in status.unpublished:
        yield f"not published: {uri}"
    if status.decisions:
        yield status.decisions


def read_status(output: str) -> OutputStatus:
    """Count the units that have a record, from listings and a few reads, so that it costs little at any time.

    Args:
        output: Folder or URI of a run or an export.

    Raises:
        UserError: no run has begun there.
    """
    process = open_store(part_uri(output, "process"))
    refusal = standing_refusal(process)
    if process.stat(PLAN_KEY) is None:
        if refusal is not None:
            return OutputStatus((), refusal=refusal)
        if process.stat(EXPORT_KEY) is not None:
            raise UserError(
                f"status must be given a volume; got pictures that 'fibstack export' has written, in "
                f"{output}. The same export again says how far they are, and goes on."
            )
        raise UserError(
            f"status must be given the output of a run that has begun; got no process/plan.json in {output}. "
            "Check the name, or wait until the plan is made."
        )
    plan = plan_in(process)
    transforms: Transforms | None = None
    if process.stat(TRANSFORMS_KEY) is not None:
        transforms = read_document(process, TRANSFORMS_KEY, Transforms)
    volume = volume_of(plan, transforms) if transforms else None
    is_export = process.stat(EXPORT_KEY) is not None
    if transforms and is_export:
        export = read_document(process, EXPORT_KEY, Export)
        volume = exported_volume(export, plan, transforms)
        counts: tuple[UnitCount, ...] = (_pyramid_count(process, volume, partial(export_hash, export)),)
    else:
        counts = tuple(_run_counts(process, plan, transforms))
    published = {found.uri: _is_published(volume, found) for found in volume.outputs} if volume else {}
    return OutputStatus(
        counts,
        published=tuple(uri for uri, is_there in published.items() if is_there),
        unpublished=tuple(uri for uri, is_there in published.items() if not is_there),
        decisions="" if is_export else decisions_sentence(plan, output),
        refusal=refusal,
    )


def _run_counts(process: Store, plan: Plan, transforms: Transforms | None) -> Iterator[UnitCount]:
    """The count of each step of a run; the report is left out, since it publishes and counts nothing."""
    run = Run.of(process, plan, transforms) if transforms else None
    chunk_names = [str(chunk) for chunk in chunks(plan)]
    slab_names = [str(slab) for slab in range(run.volume.n_slabs)] if run else []

    def looping(step: Step) -> UnitCount:
        over_chunks = step.loops[0].items == "chunks"
        if run is None and not over_chunks:
            return UnitCount(step.name, 0, None)
        if step.name == "align":
            return _count(process, "align", chunk_names, lambda name: chunk_hash(plan, Span.parse(name)))
        if step.name == "tile" and run:
            return _count(process, "tile", slab_names, lambda name: run.slab_hash(int(name)))
        if step.name == "pyramid" and run:
            return _pyramid_count(process, run.volume, run.block_hash)
        return _count(process, step.records[0], chunk_names if over_chunks else slab_names)

    for step in STEPS.values():
        if step.loops:
            yield looping(step)
        elif not step.is_last:
            _, key = step.result
            yield UnitCount(step.name, int(process.stat(key) is not None), 1)


def _pyramid_count(process: Store, volume: Volume, expected_hash: Callable[[int, int], str]) -> UnitCount:
    """The blocks of all passes.

    Args:
        process: Where the records lie.
        volume: What the blocks are of.
        expected_hash: The input hash of a block, given its base level and number.
    """

    def of_pass(level: int, n_blocks: int) -> UnitCount:
        names = map(str, range(n_blocks))
        return _count(process, f"pyramid/{level}", names, lambda name: expected_hash(level, int(name)))

    passes = [of_pass(one_pass.base_level, one_pass.n_blocks) for one_pass in volume.passes]
    return UnitCount(
        "pyramid",
        sum(count.n_done for count in passes),
        sum(count.n_total or 0 for count in passes),
        any(count.has_earlier for count in passes),
    )


def _count(
    process: Store, step: str, units: Iterable[str], expected_hash: Callable[[str], str] | None = None
) -> UnitCount:
    """The units of a step, or of a pass, that have a record.

    Args:
        process: Where the records lie.
        step: Folder of the records.
        units: Names of all units.
        expected_hash: The input hash of a unit. Without it, records of other settings are not noticed.
    """
    names = list(units)
    found = {stat.key for stat in process.list(record_key(step, "").removesuffix(".json"))}
    done = [name for name in names if record_key(step, name) in found]
    sample = done[:: -(-len(done) // _SAMPLED) or 1]
    hashes = [(name, expected_hash(name)) for name in sample] if expected_hash else []
    records = [(read_record(process, step, name), expected) for name, expected in hashes]
    is_earlier = any(record is not None and record.input_hash != expected for record, expected in records)
    return UnitCount(step, len(done), len(names), is_earlier)


def _is_published(volume: Volume, output: VolumeOutput) -> bool:
    """True if viewers find a volume: the file that they find it by is written last."""
    *_, last = metadata_files(volume, output)
    return open_store(output.uri).stat(last) is not None


def main(output: str) -> int:
    """Print the counts of an output; returns the exit code."""
    try:
        for line in status_lines(output):
            sys.stdout.write(f"{line}\n")
    except FibstackError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
