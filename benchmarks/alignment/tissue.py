"""Where the pictures come from: the phantom of `fibstack sample`, or a real stack seen through a window."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from commands.sample.microscope import LEVELS_16_BIT, Microscope, microscope
from components.shared.geometry import Matrix

Image = NDArray[np.float32]
"""[height, width] in 8-bit grey levels, not rounded."""
TURN_MARGIN = 0.025
"""Share of a window's side that a rotation by a degree and a magnification need."""
WINDOW_SHARE, SERIAL_WINDOW_SHARE = 0.77, 0.6


class Tissue(Protocol):
    """A world that can be looked at through a moving window."""

    @property
    def name(self) -> str:
        """How the table calls it."""

    @property
    def size_xy(self) -> tuple[int, int] | None:
        """Size of the world in px; None where it is endless."""

    @property
    def n_slices(self) -> int | None:
        """Number of slices; None where it is endless."""

    @property
    def serial(self) -> bool:
        """Whether the slices are sections, so far apart that the tissue changes between them."""

    def grey(self, z: int, world_from_slice: Matrix, size_xy: tuple[int, int]) -> Image:
        """What a slice shows."""


@dataclass(frozen=True, slots=True)
class PhantomTissue:
    """The phantom, rendered at the transform asked for: nothing is resampled, so the truth is exact."""

    seed: int = 3
    name: str = "phantom"
    size_xy: tuple[int, int] | None = None
    n_slices: int | None = None
    serial: bool = False

    def grey(self, z: int, world_from_slice: Matrix, size_xy: tuple[int, int]) -> Image:
        """What a slice shows, with the noise and the drift of the microscope."""
        return _rendered(self.seed, z, world_from_slice.tobytes(), size_xy)


@functools.lru_cache(maxsize=400)
def _rendered(seed: int, z: int, matrix: bytes, size_xy: tuple[int, int]) -> Image:
    """Cases that differ by what becomes of the picture share one rendering."""
    black, step = LEVELS_16_BIT
    raw = _microscope(seed).picture(np.frombuffer(matrix).reshape(3, 3), z, size_xy, "uint16")
    return ((raw.astype(np.float32) - black) / step).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _microscope(seed: int) -> Microscope:
    return microscope(seed)


@dataclass(frozen=True, slots=True)
class RealTissue:
    """Slices that somebody has aligned; beyond the last they are shown again on the way back.

    What a window shows is interpolated once (Lanczos), and lies inside the picture.
    """

    name: str
    paths: tuple[Path, ...]
    size_xy: tuple[int, int]
    serial: bool

    @property
    def n_slices(self) -> int:
        return len(self.paths)

    def grey(self, z: int, world_from_slice: Matrix, size_xy: tuple[int, int]) -> Image:
        """What a slice shows through its window."""
        window = cv2.warpAffine(
            _decoded(self.paths[source_index(z, len(self.paths))]),
            world_from_slice[:2],
            size_xy,
            flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        return np.asarray(window, dtype=np.float32)


def real_tissue(folder: Path, serial: bool) -> RealTissue:
    """The stack of a folder: its PNG and TIFF files in the order of their names, all of one size."""
    paths = tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".tif", ".tiff")))
    if len(paths) < 3:
        raise ValueError(f"a stack must hold three slices or more; got {len(paths)} in {folder}")
    height, width = _decoded(paths[0]).shape
    return RealTissue(name=folder.name, paths=paths, size_xy=(width, height), serial=serial)


def source_index(z: int, n_slices: int) -> int:
    """Which slice of a real stack is shown at z: there and back, the ends once.

    Example:
        >>> [source_index(z, 3) for z in range(7)]
        [0, 1, 2, 1, 0, 1, 2]
    """
    period = 2 * (n_slices - 1)
    return min(z % period, period - z % period)


@functools.lru_cache(maxsize=64)
def _decoded(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 2:
        raise ValueError(f"a slice must be a readable grey picture; got {path}")
    scale = 1.0 if picture.dtype == np.uint8 else 1 / 257
    return (picture * scale).astype(np.float32)
