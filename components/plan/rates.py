"""Rates of work: measured CPU time, memory and bytes, each with its source.

CPU seconds are those of a core of the machine they were measured on: 2 shared cores of x86-64, busy with
other work. Slices have 8 bit and are mostly tissue. The READMEs below `benchmarks/` say how each was
measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from components.shared.limits import limit


class PerStep(NamedTuple):
    """A figure of each step's program."""

    plan: float
    align: float
    compose: float
    tile: float
    pyramid: float
    report: float

    def of(self, step: str) -> float:
        """The figure of one step; the largest of all for a step that was not measured."""
        return float(getattr(self, step, max(self)))


_HOURS = {
    "too_small": "hours and dollars are promised too low; no result changes",
    "too_large": "hours and dollars are promised too high; no result changes",
}
_MEMORY = {
    "too_small": "`design` is silent about pods that are killed for their memory",
    "too_large": "`design` warns of pods whose memory is enough",
}
_BYTES = {
    "too_small": "storage is promised too cheap; no result changes",
    "too_large": "storage is promised too dear; no result changes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Rates from which `fibstack design` and `cost.json` estimate hours, memory, bytes and dollars.

    No result of a run depends on these: they say what it takes.
    """

    busy: float = limit(
        0.5,
        unit="-",
        why="part of a pod's life in which its cores work; else it starts, reads or writes",
        measured_on="not measured; assumed",
        too_small="dollars are promised too high, in proportion",
        too_large="dollars are promised too low, in proportion",
    )
    start_cpu_s: PerStep = limit(
        PerStep(plan=0.8, align=1.2, compose=1.4, tile=0.8, pyramid=0.6, report=3.0),
        unit="CPU s a program",
        why="a program with next to nothing to do loads its libraries; every item of a loop pays it",
        measured_on="benchmarks/end_to_end",
        **_HOURS,
    )
    libraries_bytes: PerStep = limit(
        PerStep(plan=113e6, align=134e6, compose=167e6, tile=260e6, pyramid=115e6, report=230e6),
        unit="bytes",
        why="resident memory with libraries loaded; of `tile` and `pyramid` also freed memory that is kept",
        measured_on="benchmarks/end_to_end",
        **_MEMORY,
    )

    memory_margin: float = limit(
        1.1,
        unit="memory that a pod asks for over its estimate",
        why="measured peaks are up to a tenth above the estimate",
        measured_on="benchmarks/end_to_end; a test compares them",
        too_small="a node is filled with pods that take more than they asked for, and some are ended",
        too_large="fewer pods fit a node",
    )
    memory_step_bytes: int = limit(
        64 * 2**20,
        unit="bytes",
        why="memory that a pod asks for is a multiple of it, so that small changes of a stack change nothing",
        measured_on="not measured",
        too_small="the pods of two stacks that differ by a slice ask for different memory",
        too_large="small pods ask for much more than they take",
    )
    header_cpu_s: float = limit(
        0.0005,
        unit="CPU s a file",
        why="`plan` reads each header, from a bucket",
        measured_on="benchmarks/scale, 13,696 slices",
        **_HOURS,
    )
    plan_bytes_per_slice: float = limit(
        6_000,
        unit="bytes a slice",
        why="`plan` holds listing, headers and plan",
        measured_on="benchmarks/scale, 13,696 and 25,000 slices",
        **_MEMORY,
    )

    slice_cpu_s_per_mpx: float = limit(
        0.015,
        unit="CPU s a megapixel",
        why="`align` decodes a slice, makes its statistics and its smaller pictures",
        measured_on="benchmarks/end_to_end",
        **_HOURS,
    )
    features_cpu_s_per_mpx: float = limit(
        0.15,
        unit="CPU s a megapixel at matching scale",
        why="`align` makes the pictures that are compared, and finds features (SIFT), once a slice",
        measured_on="benchmarks/end_to_end",
        **_HOURS,
    )
    pair_cpu_s_per_mpx: float = limit(
        0.125,
        unit="CPU s a megapixel at matching scale",
        why="`align` matches and refines each pair",
        measured_on="benchmarks/end_to_end: 0.11; soft warps take 42 ms of pairs at distances 1 and 2",
        **_HOURS,
    )
    sift_bytes_per_px: float = limit(
        217,
        unit="bytes a pixel at matching scale",
        why="peak of OpenCV's SIFT, which holds every octave as floats; a fourth of it where all pairs match",
        measured_on="peak memory on slices of 5000 x 5000 px: 5.7 GB",
        **_MEMORY,
    )
    waiting_slice_bytes: float = limit(
        12e6,
        unit="bytes a slice",
        why="`align` keeps features and small pictures of a slice until its last neighbour is matched",
        measured_on="not measured apart: the sum is compared with benchmarks/end_to_end",
        **_MEMORY,
    )

    solve_cpu_s_per_slice: float = limit(
        0.0032,
        unit="CPU s a slice",
        why="`compose` reads the evidence, solves for all slices at once, judges them, and finds rows that "
        "jitter and soft warps",
        measured_on="benchmarks/scale: 5 s for 13,696 slices; rows 4 s, soft warps 3 s, 30 s where "
        "there are some",
        **_HOURS,
    )
    thumbnails_cpu_s_per_slice: float = limit(
        0.0022,
        unit="CPU s a slice",
        why="`compose` checks thumbnails of 512 px, places the slices along z and finds flicker by them",
        measured_on="benchmarks/scale: 25 s for 13,696 slices at a load of 4, 29 s at 12, with the work left",
        **_HOURS,
    )
    compose_bytes_per_slice: float = limit(
        70_000,
        unit="bytes a slice",
        why="the evidence on a slice and its four pairs, as objects, in the solve, and in soft warps",
        measured_on="benchmarks/scale, 13,696 slices: 696 MB; soft warps take up to 0.3 GB besides",
        **_MEMORY,
    )

    tile_cpu_s_per_mpx: float = limit(
        0.021,
        unit="CPU s a megapixel and channel",
        why="`tile` decodes, equalizes (CLAHE), interpolates once and encodes (zstd)",
        measured_on="a slab of 16 slices of 5000 x 5000 px, PNG: 9 s; benchmarks/pyramid",
        **_HOURS,
    )
    tile_bytes_per_px: float = limit(
        5,
        unit="bytes a pixel of a slice in work",
        why="spline coefficients (4) and what CLAHE makes (1), besides the grey levels",
        measured_on="types of the arrays; benchmarks/end_to_end for the sum",
        **_MEMORY,
    )
    streaks_bytes_per_px: float = limit(
        6,
        unit="bytes a pixel of a slice in work",
        why="with `streaks: filter` the slice without its streaks, and a strip as floats, come on top",
        measured_on="6 slices of 5000 x 5000 px, 16 bit: 671 MiB, without the filter 536",
        **_MEMORY,
    )
    slabs_while_encoded: float = limit(
        2.0,
        unit="slabs",
        why="memory of `tile` while a slab becomes a shard: the voxels, and what they are compressed to",
        measured_on="16 slices of 5000 x 5000 px: 864 MiB on one core, 952 on two",
        **_MEMORY,
    )
    tile_threads: int = limit(
        4,
        unit="slices",
        why="most slices in work at a time: `max_threads` of `tile`",
        measured_on="a test compares a pod of four cores with one of eight",
        **_MEMORY,
    )

    jpeg_cpu_s_per_gvx: float = limit(
        6.52 / 1.024**3,
        unit="CPU s a billion voxels of level 0",
        why="`pyramid` reads tiles, halves, and writes JPEG of all levels",
        measured_on="benchmarks/pyramid, a block of 1024^3: 6.52 s; of 512^3: 0.63 s",
        **_HOURS,
    )
    lossless_cpu_s_per_gb: float = limit(
        3.0,
        unit="CPU s a GB of raw voxels",
        why="`pyramid` deflates what the lossless volumes hold",
        measured_on="benchmarks/pyramid, a block of 512^3: JPEG 0.63 s, chunk/ too 1.02 s, raw too 1.11 s",
        **_HOURS,
    )
    slabs_held: float = limit(
        3.8,
        unit="slabs of a chunk's depth",
        why="memory of `pyramid` for what is in work, besides encoded chunks",
        measured_on="benchmarks/pyramid, a block of 1024^3 with all volumes: 1,104 MiB",
        **_MEMORY,
    )

    report_cpu_s_per_slice: float = limit(
        0.001,
        unit="CPU s a slice",
        why="`report` reads thumbnails, verifies what was written, and writes rows",
        measured_on="benchmarks/end_to_end, 64 to 256 slices; without a volume 0.0004 (benchmarks/scale)",
        **_HOURS,
    )
    report_bytes_per_slice: float = limit(
        21_000,
        unit="bytes a slice",
        why="`report` holds thumbnails and rows",
        measured_on="benchmarks/scale, 1,000 to 13,696 slices, and benchmarks/end_to_end",
        **_MEMORY,
    )

    evidence_bytes_per_slice: float = limit(
        7_000,
        unit="bytes a slice",
        why="`align` and `compose` write a slice's statistics and pairs as JSON",
        measured_on="a small run: all records together come out within a factor of two",
        **_BYTES,
    )


RATES = Rates()
"""The rates of this release."""
