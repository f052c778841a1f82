"""The `tile` step on a slab of 5000 x 5000 px, against the fastest there is for each of its parts, alone."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tensorstore as ts
from scipy import ndimage

from benchmarks.pyramid.measure import Clock
from benchmarks.pyramid.program import run
from benchmarks.pyramid.stack import Stack, Voxels, make_stack, place
from components.shared.geometry import Matrix, rotation_about, translation
from components.shared.grid import TILE
from components.tile import spline

SIDE_PX, N_SLICES = 5000, 16
"""A whole slab: of a part of one, every tile would be encoded as deep as a whole one."""
N_ROUNDS = 3
"""Rounds of all calls in turn: the least time of each counts."""
CLIP_LIMIT = 0.02
TILE_OVER_PARTS = 1.5
MATRIX: Matrix = translation(3.3, -2.6) @ rotation_about((SIDE_PX / 2, SIDE_PX / 2), math.radians(0.2))
"""Transform of every slice: such as an alignment of FIB-SEM finds."""
Calls = dict[tuple[str, str], Callable[[], object]]
"""Name of a measurement: a part of the work, and whose code does it."""
Seconds = dict[tuple[str, str], float]
"""CPU seconds a slice, by part and by whose code it is."""
WHOLE, OLDER = "tile", "older workflow"
"""Parts that are not part of the work of `tile`: itself, and what the older workflow does."""


def measure_tile(folder: Path) -> tuple[str, list[str]]:
    """The table of the tile step, and what falls short of its goal."""
    stack = make_stack(folder, SIDE_PX, N_SLICES, "png", clip_limit=CLIP_LIMIT)
    place(stack, MATRIX)
    calls = parts_of_a_slice(folder / "slices" / "0.png")
    rounds: list[Seconds] = []
    for _ in range(N_ROUNDS):
        found = {name: cpu_s(call) for name, call in calls.items()}
        found[WHOLE, "fibstack"] = cpu_s(lambda: make_slab(stack)) / N_SLICES
        rounds.append(found)
    least = {name: min(found[name] for found in rounds) for name in rounds[0]}
    return tile_table(least), tile_shortfalls(least)


def make_slab(stack: Stack) -> None:
    """Run the step's program, as if it had never run."""
    shutil.rmtree(stack.process / "records/tile", ignore_errors=True)
    run("tile", "--process-uri", stack.process, "--slabs", "0-0")


def cpu_s(call: Callable[[], object]) -> float:
    """CPU seconds of a call, of all its threads."""
    clock = Clock()
    with clock:
        call()
    return clock.cpu_s


def parts_of_a_slice(path: Path) -> Calls:
    """The work that a slice needs, each part by the libraries that do it with the accuracy that `tile` has.

    docs/decisions/0023-one-part-is-compiled.md tells which warps are exact, and which others are slower.
    """
    from PIL import Image
    from skimage.exposure import equalize_adapthist

    cv2.setNumThreads(1)
    file = path.read_bytes()
    picture: Voxels = imagecodecs.png_decode(file)
    equal = cv2.createCLAHE(CLIP_LIMIT * 256, (8, 8)).apply(picture).astype(np.uint8)
    warped = np.zeros_like(equal)
    slice_from_volume: Matrix = np.linalg.inv(MATRIX).astype(np.float64)
    spline.warp(equal, slice_from_volume, warped)
    corners = [(y, x) for y in range(0, SIDE_PX, TILE) for x in range(0, SIDE_PX, TILE)]
    tiles = [np.ascontiguousarray(warped[y : y + TILE, x : x + TILE]) for y, x in corners]
    tile_bytes = [tile.tobytes() for tile in tiles]
    array = _tile_array(warped.shape)

    def by_scipy() -> None:
        coefficients = ndimage.spline_filter(equal, order=3, output=np.float32, mode="mirror")
        linear, offset = slice_from_volume[1::-1, 1::-1], slice_from_volume[1::-1, 2]
        ndimage.affine_transform(
            coefficients, linear, offset, output=np.float32, order=3, prefilter=False
        ).round().astype(np.uint8)

    def png_of_tiles() -> None:
        for tile in tiles:
            with tempfile.TemporaryFile() as png:
                Image.fromarray(tile).save(png, "PNG")

    return {
        ("decode", "imagecodecs"): lambda: imagecodecs.png_decode(file),
        ("decode", "OpenCV"): lambda: cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED),
        ("CLAHE", "OpenCV"): lambda: cv2.createCLAHE(CLIP_LIMIT * 256, (8, 8)).apply(picture),
        ("exact warp", "fibstack, bspline.c"): lambda: spline.warp(equal, slice_from_volume, warped),
        ("exact warp", "SciPy"): by_scipy,
        ("zstd", "imagecodecs"): lambda: [imagecodecs.zstd_encode(tile, 1) for tile in tile_bytes],
        ("zstd", "tensorstore"): lambda: array.write(warped[np.newaxis]).result(),
        (OLDER, "CLAHE of scikit-image"): lambda: equalize_adapthist(picture, clip_limit=CLIP_LIMIT),
        (OLDER, "PNG tiles of PIL"): png_of_tiles,
    }


def _tile_array(shape_yx: tuple[int, ...]) -> ts.TensorStore:
    """An array in memory whose chunks are tiles, with the codec of the aligned stack."""
    codecs = [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}]
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "memory"},
        "metadata": {
            "shape": [1, *shape_yx],
            "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, TILE, TILE]}},
            "codecs": codecs,
        },
        "context": {"data_copy_concurrency": {"limit": len(os.sched_getaffinity(0))}},
    }
    return ts.open(spec, create=True).result()


def fastest_parts(measured: Seconds) -> Seconds:
    """The fastest code of each part of the work."""
    parts = dict.fromkeys(part for part, _ in measured if part not in (WHOLE, OLDER))
    fastest = [
        min((name for name in measured if name[0] == part), key=measured.__getitem__) for part in parts
    ]
    return {name: measured[name] for name in fastest}


def tile_table(measured: Seconds) -> str:
    """CPU seconds a slice, as Markdown."""
    fastest = fastest_parts(measured)
    total = sum(fastest.values())
    rows = [
        *((f"{part}: {code}", seconds) for (part, code), seconds in fastest.items()),
        ("**the sum**", total),
        ("**fibstack-tile**", measured[WHOLE, "fibstack"]),
        *(
            (f"- {part}: {code}", seconds)
            for (part, code), seconds in measured.items()
            if (part, code) not in fastest and part != WHOLE
        ),
    ]
    mpx = SIDE_PX**2 / 1e6
    lines = [f"| {name} | {s:.3f} | {1e3 * s / mpx:.1f} | {s / total:.2f} |" for name, s in rows]
    head = [
        f"### tile, a slice of {SIDE_PX} x {SIDE_PX} px\n",
        "| what | CPU s | ms a megapixel | / sum |",
        "|---|---:|---:|---:|",
    ]
    return "\n".join([*head, *lines, ""])


def tile_shortfalls(measured: Seconds) -> list[str]:
    """A sentence where the step costs much more than its parts."""
    over = measured[WHOLE, "fibstack"] / sum(fastest_parts(measured).values())
    if over <= TILE_OVER_PARTS:
        return []
    return [f"tile takes {over:.2f} x the CPU time of its parts; the goal is {TILE_OVER_PARTS}"]
