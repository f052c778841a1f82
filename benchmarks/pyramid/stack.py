"""A block of EM texture as a run of fibstack sees it: slices, plan, transforms, tiles; its exact levels."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tensorstore as ts
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.pyramid.program import run
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.transforms import TRANSFORMS_KEY, SliceTransform, Transforms
from components.shared.volume.volume import Volume, volume_of

Voxels = NDArray[np.uint8]
PERIOD = 128
"""Side of the texture that is repeated; the noise on it is not."""
NOISE_SIGMA = 11.0
"""Chosen so that JPEG at quality 80 takes 0.21 of the bytes and deflate 0.82, as with real FIB-SEM slices."""
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Stack:
    """A folder with everything that a writer may read."""

    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "run"

    @property
    def process(self) -> Path:
        return self.output / "process"

    @property
    def levels(self) -> list[Path]:
        """The exact levels, finest first, each `[z, y, x]`."""
        return sorted(self.folder.glob("level-*.npy"))

    @property
    def plan(self) -> Plan:
        return Plan.model_validate_json((self.process / PLAN_KEY).read_bytes())

    @property
    def volume(self) -> Volume:
        return volume_of(self.plan, self.transforms)

    @property
    def transforms(self) -> Transforms:
        return Transforms.model_validate_json((self.process / TRANSFORMS_KEY).read_bytes())

    def open_tiles(self, n_threads: int) -> ts.TensorStore:
        """The aligned stack, `[z, y, x]`, every tile read from disk when it is asked for."""
        kvstore = {"driver": "file", "path": f"{self.output / 'tmp/aligned'}/"}
        context = {"data_copy_concurrency": {"limit": n_threads}, "cache_pool": {"total_bytes_limit": 0}}
        return ts.open({"driver": "zarr3", "kvstore": kvstore, "context": context}, read=True).result()


@functools.cache
def texture(seed: int = 0) -> NDArray[np.float32]:
    """Cells, membranes and grain of `PERIOD` a side, periodic along each axis, in grey levels."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((PERIOD,) * 3).astype(np.float32)
    coarse, middle, fine = (ndimage.gaussian_filter(white, sigma, mode="wrap") for sigma in (9, 3.5, 1.2))
    cells = coarse / coarse.std()
    membranes = np.exp(-((cells / 0.12) ** 2))
    grey = 140 + 14 * np.tanh(2 * cells) + 9 * middle / middle.std() + 7 * fine / fine.std() - 55 * membranes
    return np.asarray(grey, dtype=np.float32)


def slices(side: int, n_slices: int, seed: int = 0) -> Iterator[Voxels]:
    """Slices of `side` x `side` px of the texture under noise that is never the same twice."""
    rng = np.random.default_rng(seed + 1)
    repeats = -(-side // PERIOD)
    noise = NOISE_SIGMA * rng.standard_normal((side + 512, side + 512)).astype(np.float32)
    grey = texture(seed)
    for z in range(n_slices):
        y, x = rng.integers(0, 512, 2)
        tissue = np.tile(grey[z % PERIOD], (repeats, repeats))[:side, :side]
        sharp = tissue + noise[y : y + side, x : x + side]
        # The beam is wider than a pixel, so that neighbours share their noise.
        blurred = cv2.GaussianBlur(sharp, (3, 3), 0.55)
        yield np.clip(np.rint(blurred), 1, 255).astype(np.uint8)


def make_stack(folder: Path, side: int, n_slices: int, suffix: str = "tif", **settings: object) -> Stack:
    """Write slices, TIFF or PNG, and have `fibstack-plan` plan them; they lie where they are."""
    stack = Stack(folder)
    source = folder / "slices"
    source.mkdir(parents=True)
    for z, picture in enumerate(slices(side, n_slices)):
        write = cv2.imwrite if suffix == "png" else tifffile.imwrite
        write(str(source / f"{z}.{suffix}"), picture)
    config = {
        "source": source,
        "image": f"%d.{suffix}",
        "output": stack.output,
        "minz": 0,
        "maxz": n_slices - 1,
    }
    flags = [part for key, value in (config | settings).items() for part in _flag(key, value)]
    parameters = folder / "parameters"
    run("plan", *flags, "--process-uri-out", parameters / "uri", "--chunks-out", parameters / "chunks")
    size = (side, side, n_slices)
    (stack.process / TRANSFORMS_KEY).write_bytes(_transforms(size, IDENTITY).to_json())
    return stack


def place(stack: Stack, matrix: NDArray[np.float64]) -> None:
    """Put every slice of a stack at the same place, and the volume's bounds where they are."""
    rows = tuple(tuple(float(v) for v in row) for row in matrix)
    moved = _transforms(stack.transforms.volume_size_xyz, rows)
    (stack.process / TRANSFORMS_KEY).write_bytes(moved.to_json())


def make_block(folder: Path, side: int) -> Stack:
    """A cube of texture as tiles, written by `fibstack-tile`, and its exact levels."""
    stack = make_stack(folder, side, side, clip_limit=0, raw_pyramid=True)
    run("tile", "--process-uri", stack.process, "--slabs", f"0-{stack.volume.n_slabs - 1}")
    level = stack.open_tiles(2).read().result()
    for number in range(len(stack.volume.outputs[0].levels)):
        np.save(folder / f"level-{number}.npy", level)
        level = ts.downsample(ts.array(level), [2, 2, 2], "mean").read(order="C").result()
    return stack


def _flag(key: str, value: object) -> tuple[str, str]:
    text = value if isinstance(value, Path) else json.dumps(value).strip('"')
    return f"--{key.replace('_', '-')}", str(text)


def _transforms(size_xyz: tuple[int, int, int], matrix: object) -> Transforms:
    entries = [
        SliceTransform.model_validate(
            {
                "z": z,
                "uri": f"{z}.tif",
                "matrix": matrix,
                "verdict": "good",
                "action": "keep",
                "replaced_from": None,
                "n_edges": 1,
                "edge_weight": 1.0,
                "residual_px": 0.0,
            }
        )
        for z in range(size_xyz[2])
    ]
    return Transforms(
        volume_size_xyz=size_xyz,
        volume_origin_xyz_px=(0, 0, 0),
        intensity_range=(0.0, 255.0),
        slices=tuple(entries),
    )
