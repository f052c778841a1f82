"""Solve for the transform of every slice and list the work that is left."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import click

from components.compose.documents import rows_of, transforms_of
from components.compose.preview.write import check_on_thumbnails, refusal
from components.compose.solve.place import Placement, place
from components.shared.command import StepCommand, write_parameter
from components.shared.documents.align import AlignRecord, PairRecord, SliceStatistics
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.preview import Preview
from components.shared.documents.read_document import read_document
from components.shared.documents.slices import SLICES_KEY
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.documents.trends import TRENDS_KEY, Trends
from components.shared.errors import TransientError, UserError
from components.shared.grid import Span, group
from components.shared.storage.registry import open_store
from components.shared.storage.store import ObjectChangedError, ObjectMissingError, Store
from components.shared.volume.volume import volume_of
from components.shared.work import records, units
from components.shared.work.verification import files_in_the_way

_STEP = "compose"
_UNIT = "transforms"
_READS_IN_FLIGHT = 16
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What all chunks of `align` have found."""

    statistics: dict[int, SliceStatistics]
    """By z."""
    pairs: tuple[PairRecord, ...]
    input_hash: str
    """Of the records' content and the settings of the solve."""


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option("--slabs-out", required=True, help="File that receives the slabs to tile.")
@click.option("--blocks-out", required=True, help="File that receives the blocks to write, levels 0 to 4.")
@click.option("--coarse-blocks-out", required=True, help="The same for levels 5 to 9.")
@click.option("--top-blocks-out", required=True, help="The same for levels 10 and above.")
def main(
    process_uri: str, slabs_out: str, blocks_out: str, coarse_blocks_out: str, top_blocks_out: str
) -> None:
    """Solve for the transform of every slice and list the work that is left."""
    process = open_store(process_uri)
    plan = read_document(process, PLAN_KEY, Plan)
    evidence = read_evidence(plan, process)
    placement = place(plan, evidence.pairs)
    transforms = transforms_of(plan, placement, evidence.statistics, evidence.pairs)
    _log_result(placement, transforms)
    _write(plan, transforms, placement.trends, evidence, process)
    preview = check_on_thumbnails(plan, transforms, evidence.input_hash, process)
    _log_preview(preview)
    if preview.gate.stops_the_run:
        raise refusal(plan, preview)
    slabs, passes = work_left(plan, transforms, process)
    write_parameter(slabs_out, slabs)
    for path, blocks in zip((blocks_out, coarse_blocks_out, top_blocks_out), passes, strict=True):
        write_parameter(path, blocks)


def read_evidence(plan: Plan, process: Store) -> Evidence:
    """Read the record of every chunk.

    Raises:
        TransientError: a chunk's record is missing, of other settings, or damaged.
    """
    chunks = units.chunks(plan)
    with ThreadPoolExecutor(_READS_IN_FLIGHT) as pool:
        contents = list(pool.map(lambda chunk: _read_chunk(plan, chunk, process), chunks))
    chunk_records = [AlignRecord.model_validate_json(content) for content in contents]
    statistics = {s.z: s for record in chunk_records for s in record.slices}
    for source in plan.slices:
        if source.z not in statistics:
            raise TransientError(
                f"the records of align must hold every slice; slice {source.z} is missing in "
                f"{process.uri}/align. Run align again."
            )
    return Evidence(
        statistics=statistics,
        pairs=tuple(pair for record in chunk_records for pair in record.pairs),
        input_hash=units.compose_hash(plan, contents),
    )


def _read_chunk(plan: Plan, chunk: Span, process: Store) -> bytes:
    key = f"align/{chunk}.json"
    record = records.read_record(process, "align", str(chunk))
    problem = "it is missing"
    if record is not None and record.input_hash != units.chunk_hash(plan, chunk):
        problem = "it is of other slices or settings"
    elif record is not None:
        expected = next((output.crc32c for output in record.outputs if output.key == key), "none")
        with suppress(ObjectMissingError, ObjectChangedError):
            return process.read(key, expected)
        problem = "it is damaged"
    raise TransientError(
        f"the record of chunk {chunk} must be complete; {problem} in {process.uri}/{key}. Run align again."
    )


def work_left(plan: Plan, transforms: Transforms, process: Store) -> tuple[list[str], list[list[str]]]:
    """The slabs and, for each of three passes, the blocks that are still to be written, as loop items.

    A pass is read from the one before, so all its blocks are listed when any of the finer pass is.

    Raises:
        UserError: an earlier, larger volume has left files among the new one's.
    """
    volume = volume_of(plan, transforms)
    in_the_way = files_in_the_way(volume)
    if in_the_way:
        raise UserError(
            f"the folders of a volume must hold its own shards only; {in_the_way[0].sentence}. "
            "Remove them, or choose another output."
        )
    left: list[list[int]] = [[], [], []]
    for index, pyramid_pass in enumerate(volume.passes):
        if index and left[index - 1]:
            left[index] = list(range(pyramid_pass.n_blocks))
        else:
            left[index] = units.blocks_to_do(plan, transforms, pyramid_pass, process)
    slabs = units.slabs_to_do(plan, transforms, left[0], process)
    log.info("left to do: %d slabs, %s blocks", len(slabs), " + ".join(str(len(blocks)) for blocks in left))
    return _items(slabs, plan.fan), [_items(blocks, plan.fan) for blocks in left]


def _items(indices: list[int], fan: int) -> list[str]:
    return [str(span) for span in group(indices, fan)]


def _write(plan: Plan, transforms: Transforms, trends: Trends, evidence: Evidence, process: Store) -> None:
    rows = rows_of(plan, transforms, evidence.statistics, evidence.pairs)
    lines = "".join(f"{row.model_dump_json()}\n" for row in rows)
    outputs = (
        records.write_output(process, SLICES_KEY, lines.encode()),
        records.write_output(process, TRENDS_KEY, trends.to_json()),
        records.write_output(process, TRANSFORMS_KEY, transforms.to_json()),
    )
    record = records.Record(step=_STEP, unit=_UNIT, input_hash=evidence.input_hash, outputs=outputs)
    records.commit(process, record)


def _log_result(placement: Placement, transforms: Transforms) -> None:
    width, height, depth = transforms.volume_size_xyz
    log.info("volume of %d x %d x %d voxels", width, height, depth)
    kept = placement.solution.kept
    log.info("%d of %d accepted pairs are believed", int(kept.sum()), len(kept))
    if placement.n_parts > 1:
        log.warning("the stack is in %d parts; where each begins its offset is unknown", placement.n_parts)
    for entry in transforms.slices:
        if entry.verdict != "good":
            log.warning("%s (%s)", entry.description, entry.evidence)
    for warning in placement.trends.warnings:
        log.warning("%s", warning)
    log.info("trend %s: %s", placement.trends.policy, placement.trends.suggestion)


def _log_preview(preview: Preview) -> None:
    if preview.median_after is not None:
        log.info("thumbnails of neighbours correlate at %.3f (median)", preview.median_after)
    for failure in preview.gate.failures:
        log.warning("the check on thumbnails: %s", failure)


if __name__ == "__main__":
    main()
