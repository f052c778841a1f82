"""The cases: what is planted in planes that lie exactly upon each other, and the truth of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from benchmarks.alignment.cases import IMAGE_PATTERN, planted_defects
from benchmarks.alignment.damage import eight_bit
from benchmarks.exact_axes.planes import Planes
from commands.sample.microscope import Picture
from commands.sample.truth import Defect
from components.shared.geometry import Matrix, Points, transform_points, translation

Floats = NDArray[np.float64]
STEP_PX = 2.0
"""Standard deviation of the step from a plane to the next, along x and along y."""
WINDOW_SHARE = 0.84
"""Share of the planes' sides that a picture shows: what is left is room to walk."""
MARGIN_PX = 3.0
WARP_SIGMA_PX = 100.0
CURTAIN_LENGTH_PX, CURTAIN_WIDTH_PX = 300.0, 1.0
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Motion and faults that a case plants; none where a number is 0."""

    step_px: float = STEP_PX
    turn_deg: float = 0.0
    """Standard deviation of the turn from a plane to the next."""
    noise: float = 0.0
    """Standard deviation of white noise, in grey levels."""
    with_bad_slices: bool = False
    rows_px: float = 0.0
    """RMS of the displacement along x that all of a row share, smooth over some rows."""
    warp_px: float = 0.0
    """RMS length of a displacement that varies over WARP_SIGMA_PX."""
    curtains: float = 0.0
    """RMS of stripes along y, in grey levels."""
    charging: float = 0.0
    """Brightness of the brightest cloud, in grey levels."""
    flicker: float = 0.0
    """Greatest relative change of brightness and contrast of a plane."""
    restart: float = 0.0
    """Relative change of brightness and contrast that lasts from a third of the stack on."""


RECIPES: dict[str, Recipe] = {
    "still": Recipe(step_px=0.0),
    "walk": Recipe(),
    "turns": Recipe(turn_deg=0.05),
    "noise": Recipe(turn_deg=0.05, noise=16.0),
    "bad slices": Recipe(turn_deg=0.05, noise=8.0, with_bad_slices=True),
    "curtains": Recipe(turn_deg=0.05, curtains=6.0),
    "charging": Recipe(turn_deg=0.05, charging=60.0),
    "flicker": Recipe(turn_deg=0.05, flicker=0.2),
    "restart": Recipe(turn_deg=0.05, restart=0.15),
    "rows": Recipe(turn_deg=0.05, rows_px=1.5),
    "soft warp": Recipe(turn_deg=0.05, warp_px=1.5),
}
ROWS_SIGMA_PX = 12.0
"""Rows so near each other move alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the pixels of one slice lie: `world = matrix (p + displacement(p))`."""

    matrix: Matrix
    """world_from_slice."""
    displacement: Floats
    """[2, height, width] x and y."""
    gain: float = 1.0
    offset: float = 0.0
    """Offset of the slice's grey levels: those of the plane become `gain * level + offset`."""
    defect: Defect = ""

    def world(self, points: Points) -> Points:
        """Where points of the slice lie in the world."""
        return transform_points(self.matrix, points + self._displaced(points))

    def slice_points(self, world: Points) -> Points:
        """The points of the slice that lie at these points of the world."""
        undisplaced = transform_points(np.linalg.inv(self.matrix), world)
        points = undisplaced
        for _ in range(8):  # displacements change by some per cent of a pixel from one to the next
            points = undisplaced - self._displaced(points)
        return points

    def _displaced(self, points: Points) -> Points:
        at = [map_coordinates(d, points[:, ::-1].T, order=1, mode="nearest") for d in self.displacement]
        return np.stack(at, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A stack with what is planted in it."""

    size_xy: tuple[int, int]
    slices: Mapping[int, Placed] = field(default_factory=dict)

    @property
    def good(self) -> list[int]:
        """Numbers of the slices without a defect."""
        return [z for z, placed in self.slices.items() if not placed.defect]


def plant(planes: Planes, recipe: Recipe) -> Planted:
    """Decide where each slice lies; the same for the same planes and recipe."""
    rng, of_levels = np.random.default_rng(SEED), np.random.default_rng(SEED + 1)
    width, height = (round(WINDOW_SHARE * side) for side in planes.size_xy)
    room = (np.array(planes.size_xy) - (width, height)) / 2 - MARGIN_PX
    defects = planted_defects("spread" if recipe.with_bad_slices else "", len(planes.levels))
    shift, angle_deg, slices = np.zeros(2), 0.0, {}
    for z in range(len(planes.levels)):
        placed = Placed(
            matrix=_world_from_slice(planes.size_xy, (width, height), shift, angle_deg),
            displacement=_displacement(rng, recipe, (height, width)),
            **_line(of_levels, recipe, restarted=3 * z >= len(planes.levels)),
            defect=defects.get(z, ""),
        )
        slices[z] = replace(slices[z - 1], defect="duplicate") if placed.defect == "duplicate" else placed
        shift = np.clip(shift + rng.normal(0, recipe.step_px, 2), -room, room) if recipe.step_px else shift
        angle_deg += rng.normal(0, recipe.turn_deg) if recipe.turn_deg else 0.0
    return Planted(size_xy=(width, height), slices=slices)


def write_stack(planes: Planes, recipe: Recipe, planted: Planted, folder: Path) -> None:
    """Write the slices as files; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED + 1)
    before: Picture | None = None
    for z, placed in planted.slices.items():
        grey = seen(planes, z, placed, planted.size_xy)
        picture = eight_bit(_degraded(grey, placed, recipe, rng).astype(np.float32), placed.defect, rng)
        before = before if placed.defect == "duplicate" else picture
        if before is not None and placed.defect != "missing":
            cv2.imwrite(str(folder / (IMAGE_PATTERN % z)), before)


def seen(planes: Planes, z: int, placed: Placed, size_xy: tuple[int, int]) -> Floats:
    """The part of its plane that a slice shows, as the microscope would see it."""
    width, height = size_xy
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    pixels = np.stack([x, y], axis=1) + placed.displacement.reshape(2, -1).T
    return planes.sampled(z, transform_points(placed.matrix, pixels), (height, width))


def _degraded(grey: Floats, placed: Placed, recipe: Recipe, rng: np.random.Generator) -> Floats:
    if recipe.charging:
        cloud = gaussian_filter(rng.standard_normal(grey.shape), 25.0, mode="wrap")
        grey = grey + recipe.charging * np.clip(cloud / np.abs(cloud).max(), 0, 1)
    if recipe.curtains:
        stripes = gaussian_filter(
            rng.standard_normal(grey.shape), (CURTAIN_LENGTH_PX, CURTAIN_WIDTH_PX), mode="wrap"
        )
        grey = grey + recipe.curtains * stripes / stripes.std()
    grey = placed.gain * grey + placed.offset
    if recipe.noise:
        grey = grey + recipe.noise * rng.standard_normal(grey.shape)
    return grey


def _line(rng: np.random.Generator, recipe: Recipe, *, restarted: bool) -> dict[str, float]:
    """Gain and offset of a slice's grey levels."""
    contrast = brightness = 1 + recipe.restart * restarted
    if recipe.flicker:
        contrast, brightness = 1 + recipe.flicker * rng.uniform(-1, 1, 2)
    return {"gain": contrast, "offset": 128 * (brightness - contrast)}


def _displacement(rng: np.random.Generator, recipe: Recipe, shape_yx: tuple[int, int]) -> Floats:
    found = np.zeros((2, *shape_yx))
    if recipe.rows_px:
        rows = gaussian_filter1d(rng.standard_normal(shape_yx[0]), ROWS_SIGMA_PX)
        rows -= rows.mean()
        found[0] += (recipe.rows_px * rows / rows.std())[:, None]
    if recipe.warp_px:
        # Wider than the picture, so that its sides are as free as its middle.
        pad = round(2 * WARP_SIGMA_PX)
        field_ = gaussian_filter(
            rng.standard_normal((2, shape_yx[0] + 2 * pad, shape_yx[1] + 2 * pad)),
            (0, WARP_SIGMA_PX, WARP_SIGMA_PX),
            mode="wrap",
        )
        field_ *= recipe.warp_px / math.sqrt(2) / field_.std(axis=(1, 2), keepdims=True)
        found += field_[:, pad:-pad, pad:-pad]
    return found


def _world_from_slice(
    world_xy: tuple[int, int], size_xy: tuple[int, int], shift_xy: Floats, angle_deg: float
) -> Matrix:
    """A shift and a rotation about the slice's centre, from the middle of the world."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    around = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    centre = (np.array(world_xy) - 1) / 2 + shift_xy
    moved: Matrix = translation(*centre) @ around @ translation(-(size_xy[0] - 1) / 2, -(size_xy[1] - 1) / 2)
    return moved
