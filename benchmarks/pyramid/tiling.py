"""The `tile` step on slices of 5000 x 5000 px, against the library calls that it is made of."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import tensorstore as ts
import tifffile
from scipy import ndimage

from benchmarks.pyramid.measure import Clock
from benchmarks.pyramid.program import run
from benchmarks.pyramid.stack import Voxels, make_stack, place
from components.shared.geometry import Matrix, rotation_about, translation

SIDE_PX, N_SLICES = 5000, 4
CLIP_LIMIT = 0.02
TILE_OVER_CALLS = 1.5
MATRIX: Matrix = translation(3.3, -2.6) @ rotation_about((SIDE_PX / 2, SIDE_PX / 2), math.radians(0.2))
"""Of every slice: what an alignment of FIB-SEM finds."""


def measure_tile(folder: Path) -> tuple[str, list[str]]:
    """The table of the tile step, and what falls short of its goal."""
    stack = make_stack(folder, SIDE_PX, N_SLICES, clip_limit=CLIP_LIMIT)
    place(stack, MATRIX)
    picture = tifffile.imread(folder / "slices" / "0.tif")
    calls = {name: cpu_s(call) for name, call in library_calls(picture, folder).items()}
    older = {name: cpu_s(call) for name, call in older_calls(picture).items()}
    own = cpu_s(lambda: run("tile", "--process-uri", stack.process, "--slabs", "0-0")) / N_SLICES
    return tile_table(own, calls, older), tile_shortfalls(own, calls)


def cpu_s(call: Callable[[], object]) -> float:
    """CPU seconds of a call, of all its threads."""
    clock = Clock()
    with clock:
        call()
    return clock.cpu_s


def library_calls(picture: Voxels, folder: Path) -> dict[str, Callable[[], object]]:
    """What a slice needs, each by one call on the whole slice with arrays made beforehand."""
    cv2.setNumThreads(1)
    slice_from_volume = np.linalg.inv(MATRIX)
    coefficients = ndimage.spline_filter(picture, order=3, output=np.float32, mode="mirror")
    warped = np.empty(picture.shape, np.float32)
    tiles = _tiles(picture.shape)
    return {
        "decode": lambda: cv2.imread(str(folder / "slices" / "0.tif"), cv2.IMREAD_UNCHANGED),
        "CLAHE": lambda: cv2.createCLAHE(CLIP_LIMIT * 256, (8, 8)).apply(picture),
        "spline filter": lambda: ndimage.spline_filter(picture, 3, np.float32, "mirror"),
        "affine transform": lambda: ndimage.affine_transform(
            coefficients,
            slice_from_volume[1::-1, 1::-1],
            slice_from_volume[1::-1, 2],
            output=warped,
            order=3,
            prefilter=False,
        ),
        "zstd tiles": lambda: tiles[0].write(picture).result(),
    }


def older_calls(picture: Voxels) -> dict[str, Callable[[], object]]:
    """Tile a slice as the older workflow does it."""
    from PIL import Image
    from skimage.exposure import equalize_adapthist

    def png() -> None:
        for y in range(0, SIDE_PX, 1024):
            for x in range(0, SIDE_PX, 1024):
                with tempfile.TemporaryFile() as file:
                    Image.fromarray(picture[y : y + 1024, x : x + 1024]).save(file, "PNG")

    return {
        "scikit-image CLAHE": lambda: equalize_adapthist(picture, clip_limit=CLIP_LIMIT),
        "PIL PNG tiles": png,
    }


def _tiles(shape_yx: tuple[int, ...]) -> ts.TensorStore:
    """An array in memory whose chunks are tiles, with the codec of the aligned stack."""
    codecs = [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}]
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "memory"},
        "metadata": {
            "shape": [1, *shape_yx],
            "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1024, 1024]}},
            "codecs": codecs,
        },
        "context": {"data_copy_concurrency": {"limit": len(os.sched_getaffinity(0))}},
    }
    return ts.open(spec, create=True).result()


def tile_table(own_s: float, calls_s: dict[str, float], older_s: dict[str, float]) -> str:
    """CPU seconds a slice, as Markdown."""
    total = sum(calls_s.values())
    rows = [
        ("**fibstack-tile**", own_s),
        ("the library calls together", total),
        *((f"- {name}", seconds) for name, seconds in calls_s.items()),
        *older_s.items(),
    ]
    lines = [f"| {name} | {seconds:.2f} | {seconds / total:.2f} |" for name, seconds in rows]
    head = [
        f"### tile, a slice of {SIDE_PX} x {SIDE_PX} px\n",
        "| what | CPU s | / library calls |",
        "|---|---:|---:|",
    ]
    return "\n".join([*head, *lines, ""])


def tile_shortfalls(own_s: float, calls_s: dict[str, float]) -> list[str]:
    """A sentence where the step costs much more than its parts."""
    over = own_s / sum(calls_s.values())
    if over <= TILE_OVER_CALLS:
        return []
    return [f"tile takes {over:.2f} x the library calls' own CPU time; the goal is {TILE_OVER_CALLS}"]
