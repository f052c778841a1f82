"""Requests to storage of each step, counted from the objects that it reads, writes and lists.

Google bills a class A operation for each object written (in parts or not) and each page of a listing, a
class B operation for each read, of a range too, and each look at an object; deleting is free.

Source: cloud.google.com/storage/pricing, "Operations".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.plan.encoded_bytes import n_shards_at
from components.plan.source import SAMPLING
from components.plan.work import Work
from components.shared.grid import ceil_div
from components.shared.limits import limit
from components.shared.storage.schemes import scheme_of
from components.shared.volume.layout import metadata_files

_CHEAP = {
    "too_small": "requests are promised too few: cents a run",
    "too_large": "requests are promised too many: cents a run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """Requests of one act of reading or listing, from which the requests of a run are counted."""

    listing_page: int = limit(
        1000,
        unit="objects a request",
        why="objects in a page of a listing; each page is a request",
        measured_on="Cloud Storage's documentation: maxResults of objects.list",
        **_CHEAP,
    )
    reads_per_document: int = limit(
        2,
        unit="requests",
        why="a document, record or archive that is there: its bytes, and the checksum that they must have",
        measured_on="log of an emulated bucket (test_estimate, test_request_budget): equal",
        **_CHEAP,
    )
    reads_per_absent_record: int = limit(
        1,
        unit="requests",
        why="a record that is not there yet: one request says so",
        measured_on="log of an emulated bucket (test_estimate, test_request_budget): equal",
        **_CHEAP,
    )
    reads_per_precomputed_chunk: int = limit(
        3,
        unit="requests",
        why="index of the shard, index of the minishard, chunk; a shard of one chunk takes a single read",
        measured_on="log of an emulated bucket (test_estimate): at most 1.3 times what is asked",
        **_CHEAP,
    )
    reads_per_zarr_chunk: int = limit(
        2,
        unit="requests",
        why="index of the shard, chunk; a shard of one chunk takes a single read",
        measured_on="log of an emulated bucket (test_estimate): at most 1.3 times what is asked",
        **_CHEAP,
    )


COUNTS = RequestCounts()
_PAGE = COUNTS.listing_page
_DOCUMENT = COUNTS.reads_per_document
_ABSENT = COUNTS.reads_per_absent_record
_READS_PER_SHARD = {
    "precomputed": COUNTS.reads_per_precomputed_chunk,
    "ome-zarr": COUNTS.reads_per_zarr_chunk,
}
"""Reads that find one chunk of a shard, by format."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Operations of Google Cloud Storage."""

    class_a: int
    class_b: int

    def __add__(self, other: Requests) -> Requests:
        return Requests(self.class_a + other.class_a, self.class_b + other.class_b)


def plan_requests(work: Work) -> Requests:
    """Requests of `plan`: it lists the source, reads headers and samples, looks for earlier work.

    It writes two files. A listing of S3 has no checksums: there each slice is looked at, too.
    """
    n_slices, n_patterns = len(work.plan.slices), work.n_files_per_slice
    listings = n_patterns * (1 + ceil_div(n_slices, _PAGE))
    overrides = _DOCUMENT * bool(work.plan.config.overrides)
    looked_for = 5 + _ABSENT * len(work.chunks)  # documents of an earlier run, the refusal of one among them
    n_sampled = min(SAMPLING.n_slices, n_slices)
    reads_per_file = 2 if scheme_of(work.plan.config.source).cloud == "aws" else 1  # the header, a look
    n_read = n_slices * n_patterns * reads_per_file + n_sampled
    return Requests(listings + 2, n_read + looked_for + overrides)


def align_requests(work: Work) -> Requests:
    """Requests of `align`: it reads plan and slices; writes evidence, thumbnails and records of chunks."""
    n = len(work.chunks)
    return Requests(3 * n, (_DOCUMENT + _ABSENT) * n + work.n_slices_matched)


def compose_requests(work: Work) -> Requests:
    """Requests of `compose`: it reads evidence and thumbnails, looks for records, and writes documents."""
    volume = work.volume
    listings = sum(1 + len(output.levels) for output in volume.outputs)  # is it there; files in the way
    documents_and_records = 9  # with the note of what the volume may write
    listings += 2  # the records of tiles and blocks, which a first run has not
    n_looks_at_thumbnails = 1 + (work.plan.config.z == "correct")
    per_chunk = (1 + n_looks_at_thumbnails) * _DOCUMENT + 1
    looked_for = _ABSENT * (3 + volume.n_slabs + volume.passes[0].n_blocks)
    return Requests(documents_and_records + listings, _DOCUMENT + per_chunk * len(work.chunks) + looked_for)


def tile_requests(work: Work) -> Requests:
    """Requests of `tile`: it reads slices, and writes a shard of each array and a record for each slab."""
    n_arrays, n_slabs = len(work.volume.arrays), work.volume.n_slabs
    per_pod = 2 * _DOCUMENT + n_arrays * (1 + _DOCUMENT)  # the first finds that there is no metadata
    n_read = work.volume.size_xyz[2] * work.n_files_per_slice
    return Requests(
        n_slabs * (n_arrays + 1) + n_arrays,
        len(work.slab_items) * per_pod - (_DOCUMENT - _ABSENT) * n_arrays + _ABSENT * n_slabs + n_read,
    )


def pyramid_requests(work: Work, index: int) -> Requests:
    """Requests of a pass of `pyramid`.

    It reads tiles, or exact blocks of the finer pass, and writes shards, exact blocks and records.
    """
    volume = work.volume
    pyramid_pass = volume.passes[index]
    written = sum(
        n_shards_at(volume, output, level)
        for output in volume.outputs
        for level in pyramid_pass.levels
        if level in output.levels
    )
    written += work.n_exact_layers(pyramid_pass) + pyramid_pass.n_blocks
    read = 2 * _DOCUMENT * len(work.block_items[index]) + _ABSENT * pyramid_pass.n_blocks
    if index == 0:
        read += _tile_reads(work)
    else:
        read += (_DOCUMENT + 1) * work.n_exact_layers(volume.passes[index - 1])
    return Requests(written, read)


def _tile_reads(work: Work) -> int:
    """A pod looks for its slabs: their records, metadata and shards. A block reads indices and tiles."""
    n_arrays = len(work.volume.arrays)
    looks = work.n_slab_records() * (_DOCUMENT + 2 * n_arrays)
    return looks + n_arrays * (2 * work.n_slab_readings() + work.volume.passes[0].n_blocks)


def report_requests(work: Work) -> Requests:
    """Requests of `report`: it looks at all records and into all shards, publishes, and removes the tiles.

    Those included by which it finds out whether all steps went well; Argo's word for success spares them.
    """
    volume = work.volume
    listed = opened = 0
    for output in volume.outputs:
        for level in output.levels:
            n_shards = n_shards_at(volume, output, level)
            listed += max(1, ceil_div(n_shards, _PAGE))
            chunk = volume.pass_at_level(level).chunk
            n_chunks = math.prod(ceil_div(n, chunk) for n in volume.size_at_level(level))
            opened += n_shards * (1 if n_chunks == n_shards else _READS_PER_SHARD[output.format])
    metadata = sum(len(metadata_files(volume, output)) for output in volume.outputs)
    n_records = len(work.chunks) + volume.n_slabs + sum(p.n_blocks for p in volume.passes) + 2
    listed += ceil_div(n_records, _PAGE)
    documents = 8 * (1 + _DOCUMENT) + 1 + _DOCUMENT  # superseded.json thrice; the last: compose's record
    documents += 3 * _DOCUMENT + _ABSENT  # records of what compose has written; no refusal
    per_chunk = 1 + 4 * _DOCUMENT
    blocks = sum(_DOCUMENT * p.n_blocks + work.n_exact_layers(p) for p in volume.passes)
    removal = 0 if work.plan.config.keep_tiles else ceil_div(volume.n_slabs, _PAGE)
    records = _DOCUMENT * volume.n_slabs if removal else 0
    return Requests(
        listed + metadata + 2 + removal,
        documents + per_chunk * len(work.chunks) + blocks + opened + records,
    )
