"""The cases: which motion, which pictures, which faults; and how one is written to a folder."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.alignment import damage, motion
from benchmarks.alignment.motion import Motion, Window
from benchmarks.alignment.tissue import SERIAL_WINDOW_SHARE, TURN_MARGIN, WINDOW_SHARE, Image, Tissue
from commands.sample.microscope import Picture
from commands.sample.truth import Defect, Truth, TruthSlice
from commands.sample.walk import SLIP_PX, as_rows
from components.shared.geometry import Matrix, transform_points, translation

IMAGE_PATTERN = "img.%05d.png"
TRUTH_FILE = "truth.json"
KINDS: tuple[Defect, ...] = tuple(kind for kind in get_args(Defect) if kind)
FEW_KINDS: tuple[Defect, ...] = ("blank", "half", "defocus")
"""Faults of a stack too short for all kinds."""
PHANTOM_WINDOW, PHANTOM_SLICES, LONG_SLICES = (400, 400), 40, 240
OBLONG = (470, 230)
ENDLESS_ROOM_PX, LEAST_ROOM_PX = 60.0, 40
STEP_PX, SERIAL_STEP_PX = 3.0, 12.0
"""Steps of the walk: to leave a slice where it lies must not pass for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a case consists of."""

    motion: Motion = motion.walk
    looks: str = ""
    """A key of LOOKS, `resin` or `16 bit`; empty where the pictures are as they come."""
    faults: str = ""
    """`spread`: every kind, one at a time. `runs`: both ends and three in a row. `halves`: every third slice
    shows its upper half. `gap`: ten slices in a row are missing."""
    size_xy: tuple[int, int] | None = None
    long: bool = False
    every: int = 1
    """Only every so many slices of the tissue are shown."""


RECIPES: dict[str, Recipe] = {
    "untouched": Recipe(motion=motion.still),
    "walk": Recipe(),
    "jumps": Recipe(motion=motion.jumps),
    "drift": Recipe(motion=motion.drift),
    "uneven": Recipe(looks="uneven"),
    "16 bit": Recipe(looks="16 bit"),
    "oblong": Recipe(size_xy=OBLONG),
    "overlay": Recipe(looks="overlay"),
    "damaged": Recipe(faults="spread"),
    "runs": Recipe(faults="runs"),
    "long": Recipe(long=True),
    "halves": Recipe(faults="halves"),
    "gap": Recipe(faults="gap"),
    "thirds": Recipe(every=3),
    "remounts": Recipe(motion=motion.remounts),
    "wobble": Recipe(motion=motion.wobble),
    "curtains": Recipe(looks="curtains"),
    "SNR 1": Recipe(looks="SNR 1"),
    "SNR 0.5": Recipe(looks="SNR 0.5"),
    "SNR 0.3": Recipe(looks="SNR 0.3"),
    "6 electrons": Recipe(looks="6 electrons"),
    "resin": Recipe(looks="resin"),
}
LOOKS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "uneven": damage.uneven,
    "overlay": lambda grey, _: damage.with_overlay(grey),
    "curtains": lambda grey, _: damage.with_curtains(grey),
    "SNR 1": lambda grey, rng: damage.noisy(grey, 1.0, rng),
    "SNR 0.5": lambda grey, rng: damage.noisy(grey, 0.5, rng),
    "SNR 0.3": lambda grey, rng: damage.noisy(grey, 0.3, rng),
    "6 electrons": damage.counted,
}
"""Changes to the look of a picture, by name."""
TISSUE_SHARE = 0.2
"""Share of the window's area that shows tissue: a disc in resin."""
GAP_SLICES = 10
NEEDS_MANY_SLICES = ("runs", "long", "gap", "thirds")
MANY_SLICES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case that can be written; the same bytes every time."""

    name: str
    recipe: Recipe
    tissue: Tissue
    window: Window
    n_slices: int

    @property
    def seed(self) -> int:
        """Of the motion: cases that only look different move alike."""
        return 1

    @property
    def failed_px(self) -> float:
        """A pair fails above this: serial sections are published with an error of some px."""
        return 10.0 if self.tissue.serial else 2.0


def cases_of(tissue: Tissue, quick: bool) -> list[Case]:
    """Every case that a tissue allows, the untouched one first."""
    available = tissue.n_slices or PHANTOM_SLICES
    n_slices = min(available, 16 if quick else 60)
    many = not quick and available >= MANY_SLICES
    names = [n for n in RECIPES if (many or n not in NEEDS_MANY_SLICES) and _fits(tissue, RECIPES[n].size_xy)]
    return [
        Case(
            name=name,
            recipe=RECIPES[name],
            tissue=tissue,
            window=_window(tissue, RECIPES[name].size_xy),
            n_slices=LONG_SLICES if RECIPES[name].long else n_slices // RECIPES[name].every,
        )
        for name in names
    ]


def _fits(tissue: Tissue, size_xy: tuple[int, int] | None) -> bool:
    """Whether a window of this size has room to walk."""
    world = tissue.size_xy
    return not (world and size_xy) or min(world[0] - size_xy[0], world[1] - size_xy[1]) >= LEAST_ROOM_PX


def _window(tissue: Tissue, size_xy: tuple[int, int] | None) -> Window:
    world = tissue.size_xy
    if world is None:
        width, height = size_xy or PHANTOM_WINDOW
        room = (ENDLESS_ROOM_PX, ENDLESS_ROOM_PX)
        centre = ((width - 1) / 2, (height - 1) / 2)
        return Window(size_xy=(width, height), centre_xy=centre, room_xy=room, step_px=STEP_PX)
    share = SERIAL_WINDOW_SHARE if tissue.serial else WINDOW_SHARE
    width, height = size_xy or (round(share * world[0]), round(share * world[1]))
    margin = TURN_MARGIN / 2 * max(width, height) + 4
    return Window(
        size_xy=(width, height),
        # A centre from which a window that stays where it is starts at a whole pixel.
        centre_xy=((world[0] - width) // 2 + (width - 1) / 2, (world[1] - height) // 2 + (height - 1) / 2),
        room_xy=((world[0] - width) / 2 - margin, (world[1] - height) / 2 - margin),
        step_px=SERIAL_STEP_PX if tissue.serial else STEP_PX,
    )


def write_case(case: Case, folder: Path) -> Truth:
    """Write the pictures and truth.json of a case."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(case.seed)
    matrices = case.recipe.motion(rng, case.n_slices, case.window)
    defects = planted_defects(case.recipe.faults, case.n_slices)
    truth = _truth(case, matrices, defects)
    picture: Picture | None = None
    for lies in truth.slices:
        picture = picture if lies.defect == "duplicate" else _picture(case, lies)
        if picture is not None and lies.defect != "missing":
            cv2.imwrite(str(folder / (IMAGE_PATTERN % lies.z)), picture)
    (folder / TRUTH_FILE).write_bytes(truth.to_json())
    return truth


def planted_defects(faults: str, n_slices: int) -> dict[int, Defect]:
    """What is wrong with which slice.

    Example:
        >>> planted_defects("spread", 10)
        {2: 'blank', 4: 'half', 6: 'defocus'}
    """
    if faults == "runs":
        third = n_slices // 3
        return {
            0: "blank",
            third: "blank",
            third + 1: "missing",
            third + 2: "defocus",
            2 * third: "half",
            n_slices - 1: "defocus",
        }
    if faults == "halves":
        return dict.fromkeys(range(1, n_slices - 1, 3), "half")
    if faults == "gap":
        first = (n_slices - GAP_SLICES) // 2
        return dict.fromkeys(range(first, first + GAP_SLICES), "missing")
    if faults == "spread":
        kinds = KINDS if n_slices >= 2 * (len(KINDS) + 1) else FEW_KINDS
        every = n_slices // (len(kinds) + 1)
        return {every * (i + 1): kind for i, kind in enumerate(kinds)}
    return {}


def _truth(case: Case, matrices: list[Matrix], defects: Mapping[int, Defect]) -> Truth:
    slices: list[TruthSlice] = []
    for z, matrix in enumerate(matrices):
        defect = defects.get(z, "")
        lies = as_rows(translation(*_slip(case, matrix)) @ matrix if defect == "slip" else matrix)
        slices.append(
            TruthSlice(z=z, matrix=slices[-1].matrix if defect == "duplicate" else lies, defect=defect)
        )
    width, height = case.window.size_xy
    return Truth(seed=case.seed, width_px=width, height_px=height, slices=tuple(slices))


def _slip(case: Case, matrix: Matrix) -> NDArray[np.float64]:
    """Displacement of a slipped slice, toward where the walk began, so that it stays in the world."""
    width, height = case.window.size_xy
    shift = transform_points(matrix, [[(width - 1) / 2, (height - 1) / 2]])[0] - case.window.centre_xy
    return np.where(shift > 0, -1.0, 1.0) * np.abs(SLIP_PX)


def _picture(case: Case, lies: TruthSlice) -> Picture:
    rng = np.random.default_rng([case.seed, zlib.crc32(case.name.encode()), lies.z])
    grey = case.tissue.grey(case.recipe.every * lies.z, np.array(lies.matrix), case.window.size_xy)
    if case.recipe.looks in LOOKS:
        grey = LOOKS[case.recipe.looks](grey, rng)
    if case.recipe.looks == "resin":
        grey = damage.in_resin(grey, _is_tissue(case.window, np.array(lies.matrix)), rng)
    if case.recipe.looks == "16 bit":
        return damage.narrow_16_bit(grey)
    return damage.eight_bit(grey, lies.defect, rng)


def _is_tissue(window: Window, world_from_slice: Matrix) -> NDArray[np.bool_]:
    """[height, width] True of the pixels that show a disc in the world, around the window's centre."""
    width, height = window.size_xy
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    places = transform_points(world_from_slice, np.column_stack([x.ravel(), y.ravel()]))
    radius_px = math.sqrt(TISSUE_SHARE * width * height / math.pi)
    inside = np.linalg.norm(places - window.centre_xy, axis=1) < radius_px
    return np.asarray(inside.reshape(height, width))
