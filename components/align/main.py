"""`fibstack-align`: match the slices of one chunk with the slices that follow each of them."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import Raw
from components.align.pair import Neighbourhood
from components.align.prepare import PreparedSlice, prepare
from components.align.statistics import Tissue, thumbnail
from components.shared.command import SpanType, StepCommand
from components.shared.documents.align import AlignRecord, PairRecord, SliceStatistics
from components.shared.documents.plan import Plan, SourceSlice, plan_in
from components.shared.errors import ConfigError
from components.shared.grid import Span
from components.shared.pictures.slice_files import read_slice
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, checksum
from components.shared.stub.program import or_stub
from components.shared.work import records, units
from components.shared.work.records import Record

STEP = "align"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChunkEvidence:
    """Statistics and thumbnails of a chunk's slices, and their pairs with the slices that follow."""

    slices: list[SliceStatistics] = field(default_factory=list)
    pairs: list[PairRecord] = field(default_factory=list)
    thumbnails: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Thumbnails [y, x] by `z<number>`, as the archive names them."""
    read: dict[str, str] = field(default_factory=dict)
    """CRC-32C of the files of the chunk's slices of which no listing tells it, by key."""

    def noting(self, entry: SourceSlice) -> Callable[[bytes], None]:
        """A function that is told the bytes of a slice's file, and notes their checksum."""

        def note(data: bytes) -> None:
            self.read[entry.key] = checksum(data)

        return note


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option(
    "--chunk",
    required=True,
    type=SpanType(lambda error: ConfigError(f"{error}. Pass a chunk that the plan step has listed.")),
    help="Range of slices, such as 0-15: a chunk, or several.",
)
@or_stub("align")
def main(process_uri: str, chunk: Span) -> None:
    """Match the slices of one chunk, or of several, with the slices that follow each of them."""
    cv2.setNumThreads(1)
    process = open_store(process_uri)
    plan = plan_in(process)
    held = units.chunks_of_item(plan, chunk)
    if not held:
        raise ConfigError(
            f"a chunk must hold slices of the plan; got {chunk}. Pass one that plan has listed."
        )
    for each in held:
        if records.is_done(process, STEP, str(each), units.chunk_hash(plan, each)):
            log.info("chunk %s is already done", each)
        else:
            match_chunk(plan, each, process)


def match_chunk(plan: Plan, chunk: Span, process: Store) -> None:
    """Match the slices of a chunk, and write the evidence and its record."""
    input_hash = units.chunk_hash(plan, chunk)
    evidence = examine_chunk(plan, chunk, open_store(plan.locations.source_uri))
    document = AlignRecord(slices=tuple(evidence.slices), pairs=tuple(evidence.pairs))
    outputs = (
        records.write_output(process, f"align/{chunk}.npz", archive_of(evidence.thumbnails)),
        records.write_output(process, f"align/{chunk}.json", document.to_json()),
    )
    record = Record(step=STEP, unit=str(chunk), input_hash=input_hash, outputs=outputs, read=evidence.read)
    records.commit(process, record)
    n_accepted = sum(pair.accepted for pair in evidence.pairs)
    log.info(
        "chunk %s: %d slices, %d of %d pairs", chunk, len(evidence.slices), n_accepted, len(evidence.pairs)
    )


def examine_chunk(plan: Plan, chunk: Span, source: Store) -> ChunkEvidence:
    """Read the slices of a chunk and of its halo once each, in order, and match every slice as it comes.

    Only slices that still look for neighbours are kept in memory, and of them only what `prepare` keeps. The
    halo is read no further than they look.
    """
    own, halo = units.chunk_slices(plan, chunk)
    looked_at = own if plan.config.skip_align else own + halo
    evidence = ChunkEvidence()
    waiting: list[Neighbourhood] = []
    for n_read, entry in enumerate(looked_at, start=1):
        if entry.z > chunk.last and not waiting:
            break
        note = evidence.noting(entry) if entry.z in chunk and entry.crc32c is None else None
        image = read_slice(source, entry, plan.pixel_type, plan.reading, note)
        part = plan.matched_part((entry.width_px, entry.height_px))
        prepared = prepare(entry.z, image, plan.match_scale, part)
        if entry.z in chunk:
            _describe(evidence, plan, prepared, image)
        pairs = [neighbourhood.add(prepared) for neighbourhood in waiting]
        evidence.pairs.extend(pairs)
        _log_slice(prepared.statistics, pairs, n_read, len(looked_at))
        if not plan.config.skip_align:
            if entry.z in chunk:
                waiting.append(Neighbourhood(prepared, plan.config.neighbours))
            waiting = [neighbourhood for neighbourhood in waiting if neighbourhood.wants_more]
    evidence.pairs.sort(key=lambda pair: (pair.z, pair.neighbour_z))
    _warn(evidence.pairs)
    return evidence


def _log_slice(slice_: SliceStatistics, pairs: list[PairRecord], n_read: int, n_most: int) -> None:
    """Say how far the chunk is; slices of its halo count, of which not all need be read."""
    n_accepted = sum(pair.accepted for pair in pairs)
    log.info(
        "slice %d, %d of at most %d: %d features, matches %d of %d slices before it",
        *(slice_.z, n_read, n_most, slice_.n_features, n_accepted, len(pairs)),
    )


def _describe(evidence: ChunkEvidence, plan: Plan, prepared: PreparedSlice, image: Raw) -> None:
    statistics = prepared.statistics
    evidence.slices.append(statistics)
    if statistics.fill:
        image = Tissue.of(image).image
    evidence.thumbnails[f"z{prepared.z}"] = thumbnail(
        image, plan.thumbnail_scale, statistics.low, statistics.high
    )


def _warn(pairs: list[PairRecord]) -> None:
    for pair in pairs:
        if not pair.accepted:
            log.warning("slices %d and %d do not match: %s", pair.z, pair.neighbour_z, pair.refusal)


def archive_of(pictures: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """Thumbnails as a NumPy archive, by the names of their slices: `z` and the number.

    Entry by entry, since `np.savez` writes other headers with other releases of Python; no entry has a time.
    They are stored as they are: deflated they would take nine tenths of the bytes, and reading one five times
    as long.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, picture in pictures.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, picture, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue(), zipfile.ZIP_STORED)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
