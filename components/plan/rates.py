"""What the work costs in time and memory: measured figures, each with where it comes from.

CPU seconds are those of a core of the machine they were measured on: 2 shared cores of x86-64, busy with
other work. Slices have 8 bit and are mostly tissue. The READMEs below `benchmarks/` say how each was
measured.
"""

from __future__ import annotations

BUSY = 0.5
"""Part of a pod's life in which its cores work; else it starts, reads or writes. Assumed, not measured."""
START_CPU_S = {"plan": 0.8, "align": 1.2, "compose": 2.6, "tile": 1.2, "pyramid": 0.6, "report": 3.0}
"""Of a program with next to nothing to do, which loads its libraries (benchmarks/end_to_end)."""
LIBRARIES_BYTES = {
    "plan": 113e6, "align": 134e6, "compose": 167e6, "tile": 260e6, "pyramid": 73e6, "report": 91e6,
}  # fmt: skip
"""Resident memory when they are loaded; of `tile` also what its threads keep of freed memory."""

HEADER_CPU_S = 0.0005
"""`plan`, of a file, from a bucket (benchmarks/scale)."""
PLAN_BYTES_PER_SLICE = 6_000
"""`plan` (benchmarks/scale)."""

SLICE_CPU_S_PER_MPX = 0.03
"""`align`: decoding a slice, its statistics and its smaller pictures (benchmarks/end_to_end)."""
FEATURES_CPU_S_PER_MPX = 1.3
"""`align`: SIFT and the like, of the picture at matching scale (benchmarks/end_to_end)."""
PAIR_CPU_S_PER_MPX = 0.55
"""`align`: matching and refining a pair, of the picture at matching scale (benchmarks/end_to_end)."""
SIFT_BYTES_PER_PX = 217
"""`align`: of OpenCV's SIFT, of the picture at matching scale."""
KEPT_BYTES = 12e6
"""`align`: of a slice that still looks for neighbours."""

SOLVE_CPU_S_PER_SLICE = 0.0008
"""`compose` (benchmarks/solve: 10 s for 13,696 slices)."""
THUMBNAILS_CPU_S_PER_SLICE = 0.015
"""`compose`: the check on thumbnails of 512 px (15 s for 1,000 slices)."""
COMPOSE_BYTES_PER_SLICE = 30_000
"""`compose`: the evidence on a slice and its four pairs, as objects and in the solve (benchmarks/solve)."""

TILE_CPU_S_PER_MPX = 0.12
"""`tile`: decoding, CLAHE, one interpolation, zstd (benchmarks/pyramid, benchmarks/end_to_end)."""
TILE_BYTES_PER_PX = 5
"""`tile`: of a slice in work, besides its grey levels: spline coefficients and what CLAHE makes."""
SLABS_WHILE_ENCODED = 2.9
"""`tile`: memory while a slab becomes a shard, in slabs (16 slices of 5000 x 5000 px: 1,100 MiB)."""
TILE_THREADS = 4
"""`tile`: most slices in work at a time."""

JPEG_CPU_S_PER_GVX = 8.04 / 1.024**3
"""`pyramid`: reading tiles, halving, JPEG of all levels (benchmarks/pyramid: 1024^3)."""
SLABS_HELD = 3.8
"""`pyramid`: memory for what is in work, in slabs of a chunk's depth (benchmarks/pyramid: 1,104 MiB)."""
LOSSLESS_CPU_S_PER_GB = (15.3 - 8.04) / 1.024**3
"""`pyramid`: deflate of the lossless volumes' bytes."""

REPORT_CPU_S_PER_SLICE = 0.01
REPORT_BYTES_PER_SLICE = 20_000
"""`report`: thumbnails and rows. A guess: it was not measured on a tall stack."""
