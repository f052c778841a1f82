"""A model of the FIB-SEM: it blurs the tissue, adds curtains, slow drift and shot noise, and digitises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from commands.sample.phantom import Phantom, phantom
from commands.sample.plane import Field, Image, Tile, random_field
from components.shared.documents.plan import PixelType
from components.shared.geometry import Matrix

Picture = NDArray[np.uint8] | NDArray[np.uint16]
"""[height, width] raw grey levels."""

TILE_PX = 1024
"""Side of a tile, which is computed at once; it bounds the memory and changes no pixel but the noise."""
BLUR_SIGMA_PX = 0.8
"""Standard deviation of the Gaussian blur of a slice in focus."""
NOISE_SIGMA = 4.2
"""Standard deviation of the noise at mid-grey, in 8-bit levels."""
CURTAIN_GREY = 1.6
"""RMS of the curtains, the streaks that the ion beam leaves, in 8-bit levels."""
CONTRAST_DRIFT, BRIGHTNESS_DRIFT_GREY = 0.04, 4.0
"""RMS of the drift from slice to slice, as a factor and in 8-bit levels."""
LEVELS_16_BIT = (21_000.0, 38.0)
"""Raw level that shows grey 0, and raw levels for one grey, in a 16-bit picture: the tissue takes a seventh
of the range, as in slices of a FIB-SEM."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Microscope:
    """A microscope that looks at one world; `microscope(seed)` makes one."""

    seed: int
    tissue: Phantom
    curtains: Field
    """Streaks along y: a function of the column and z in the slice's own frame."""
    contrast: Field
    brightness: Field

    def picture(
        self,
        world_from_slice: Matrix,
        z: int,
        size_xy: tuple[int, int],
        pixel_type: PixelType,
        blur_sigma_px: float = BLUR_SIGMA_PX,
    ) -> Picture:
        """The raw picture of a slice, `[height, width]`; it depends on these arguments and the seed alone."""
        width, height = size_xy
        picture: Picture = np.empty((height, width), dtype=pixel_type)
        for x, y, tile_width, tile_height in _tiles(width, height):
            tile = Tile(
                world_from_slice=world_from_slice,
                z=z,
                x_px=x,
                y_px=y,
                width_px=tile_width,
                height_px=tile_height,
            )
            noise = np.random.default_rng([self.seed, 4, z, y, x])
            exposed = self._expose(optical(self.tissue, tile, blur_sigma_px), tile, noise)
            picture[y : y + tile_height, x : x + tile_width] = digitise(exposed, pixel_type)
        return picture

    def _expose(self, grey: Image, tile: Tile, noise: np.random.Generator) -> Image:
        """The detector's signal on a tile: with drift, curtains, and noise that grows with the signal."""
        first_row = Tile(
            world_from_slice=np.eye(3),
            z=tile.z,
            x_px=tile.x_px,
            y_px=0,
            width_px=tile.width_px,
            height_px=1,
        )
        contrast = 1 + CONTRAST_DRIFT * _at_z(self.contrast, tile.z)
        brightness = BRIGHTNESS_DRIFT_GREY * _at_z(self.brightness, tile.z)
        grey = (grey - 128) * contrast + 128 + brightness + CURTAIN_GREY * self.curtains.on(first_row)
        sigma = NOISE_SIGMA * np.sqrt(np.maximum(grey, 0) / 128)
        exposed: Image = (grey + sigma * noise.standard_normal(grey.shape)).astype(np.float32)
        return exposed


def microscope(seed: int) -> Microscope:
    """The microscope and the world of a seed."""
    rng = np.random.default_rng([seed, 2])
    return Microscope(
        seed=seed,
        tissue=phantom(seed),
        curtains=_without_y(random_field(rng, 6, 160, 48), least_z_px=40),
        contrast=_without_y(random_field(rng, 15, 200, 12), least_z_px=15),
        brightness=_without_y(random_field(rng, 15, 200, 12), least_z_px=15),
    )


def optical(tissue: Phantom, tile: Tile, blur_sigma_px: float = BLUR_SIGMA_PX) -> Image:
    """The tissue on a tile through the microscope's optics, without drift and noise."""
    halo = int(np.ceil(4 * blur_sigma_px))
    wider = Tile(
        world_from_slice=tile.world_from_slice,
        z=tile.z,
        x_px=tile.x_px - halo,
        y_px=tile.y_px - halo,
        width_px=tile.width_px + 2 * halo,
        height_px=tile.height_px + 2 * halo,
    )
    side = 2 * halo + 1
    blurred = cv2.GaussianBlur(tissue.grey(wider), (side, side), blur_sigma_px)
    return np.asarray(blurred, dtype=np.float32)[halo:-halo, halo:-halo]


def digitise(grey: Image, pixel_type: PixelType) -> Picture:
    """Raw grey levels of a picture in 8-bit grey levels, clipped to what the detector can tell."""
    black, step, highest = (0.0, 1.0, 255) if pixel_type == "uint8" else (*LEVELS_16_BIT, 65_535)
    levels: Picture = np.clip(np.rint(black + step * grey), 0, highest).astype(pixel_type)
    return levels


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    for y in range(0, height, TILE_PX):
        for x in range(0, width, TILE_PX):
            yield x, y, min(TILE_PX, width - x), min(TILE_PX, height - y)


def _without_y(field: Field, least_z_px: float) -> Field:
    """The field made constant along y, and no faster along z than one wave in `least_z_px`."""
    limit = 2 * np.pi / least_z_px
    x, _, z = field.wave_vectors.T
    slowed = np.column_stack([x, np.zeros_like(x), np.clip(z, -limit, limit)])
    return Field(wave_vectors=slowed, phases=field.phases)


def _at_z(field: Field, z: float) -> float:
    point = Tile(world_from_slice=np.eye(3), z=z, x_px=0, y_px=0, width_px=1, height_px=1)
    return float(field.on(point)[0, 0])
