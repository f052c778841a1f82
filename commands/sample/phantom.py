"""Neural tissue as a function of position: the grey level at any point of an endless world.

The world is bent by smooth fields, cut into neurites (neurites.py), filled (organelles.py) and shaded.
Every part is continuous in x, y and z, so a slice is sampled at its own transform and never resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commands.sample import organelles
from commands.sample.neurites import Partition, partition
from commands.sample.plane import Field, Image, Tile, random_field

BEND_PX = 16.0
"""RMS displacement by the coarse fields, which curve the neurites."""
RIPPLE_PX = 2.0
"""RMS displacement by the fine fields, which make membranes uneven."""
MEMBRANE, GLIA, MATRIX = 87.0, 114.0, 76.0
"""Grey levels, as in 8-bit FIB-SEM of fly brain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phantom:
    """A world of tissue; `phantom(seed)` makes one."""

    seed: int
    bends: tuple[Field, ...]
    ripples: tuple[Field, ...]
    swelling: Field
    mottle: Field
    """Slow changes of the cytoplasm's grey level."""
    density: Field
    """Density of vesicles and of dark synaptic material on membranes."""
    grain: Field
    """The granular texture of cytoplasm."""

    def grey(self, tile: Tile) -> Image:
        """The tissue on a tile, `[height, width]`, in 8-bit grey levels, without blur and noise."""
        x, y = tile.world_xy()
        world = np.stack([x, y, np.full_like(x, tile.z)])
        for axis, (bend, ripple) in enumerate(zip(self.bends, self.ripples, strict=True)):
            world[axis] += BEND_PX * bend.on(tile) + RIPPLE_PX * ripple.on(tile)
        points = world.astype(np.float32)
        cells = partition(self.seed, points, self.swelling.on(tile))
        texture = _Texture(
            mottle=self.mottle.on(tile), density=self.density.on(tile), grain=self.grain.on(tile)
        )
        return _shade(cells, points, texture, self.seed)


def phantom(seed: int) -> Phantom:
    """The world of a seed."""
    rng = np.random.default_rng([seed, 1])
    return Phantom(
        seed=seed,
        bends=tuple(random_field(rng, 150, 500, 16) for _ in "xyz"),
        ripples=tuple(random_field(rng, 35, 80, 24) for _ in "xyz"),
        swelling=random_field(rng, 50, 150, 24),
        mottle=random_field(rng, 20, 90, 64),
        density=random_field(rng, 60, 160, 32),
        grain=random_field(rng, 4.5, 18, 200),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Texture:
    mottle: Image
    density: Image
    grain: Image


def _shade(cells: Partition, points: NDArray[np.float32], texture: _Texture, seed: int) -> Image:
    """Grey levels from the inside out: cytoplasm, organelles, membranes."""
    depth = cells.depth
    place = organelles.inside(cells, points)
    grey = _cytoplasm(cells, place, texture)
    grey -= 22 * organelles.microtubules(place, texture.mottle) * _ramp(depth, 4, 8)
    grey = _draw_vesicles(grey, cells, place, points, texture, seed)
    body, kind = organelles.spheres(points, 37, (4, 11), 0.3, seed + 1)
    body = organelles.within(body + texture.mottle, depth, 5)
    grey = _mix(grey, np.where(kind < 0.35, 95.0, grey + 8), _ramp(-body, -0.8, 0.8))
    grey = _mix(grey, 100.0, np.exp(-((body / 1.6) ** 2)))
    grey = _draw_mitochondria(grey, place, depth, texture)
    synapse = _ramp(texture.density, 1.5, 2.1) * _ramp(-depth, -9, -2)
    grey -= synapse * 40 * (grey > MEMBRANE)
    return _mix(grey, MEMBRANE + 3 * texture.mottle, np.exp(-((depth / 2.8) ** 2)))


def _cytoplasm(cells: Partition, place: organelles.Inside, texture: _Texture) -> Image:
    kind, tone = place.traits[0], place.traits[1]
    base = np.where(kind < 0.6, 158 + 24 * tone, 126 + 28 * tone)
    base[cells.owner < 0] = GLIA
    # Bright cytoplasm has dark grains, not the reverse.
    grain = texture.grain - 0.15 * texture.grain**2
    result: Image = base + 4 * texture.mottle + (base - 55) * 0.12 * grain
    return result


def _draw_vesicles(
    grey: Image,
    cells: Partition,
    place: organelles.Inside,
    points: NDArray[np.float32],
    texture: _Texture,
    seed: int,
) -> Image:
    distance, _ = organelles.spheres(points, 9.5, (2.0, 3.2), 0.8, seed)
    gathered = _ramp(texture.density, -0.2, 0.6) * (place.traits[2] < 0.45) * _ramp(cells.depth, 3, 5)
    grey = _mix(grey, grey - 28, gathered * np.exp(-(((distance + 0.2) / 1.2) ** 2)))
    return _mix(grey, grey + 10, gathered * _ramp(-distance, 1, 2))


def _draw_mitochondria(grey: Image, place: organelles.Inside, depth: Image, texture: _Texture) -> Image:
    distance = organelles.within(organelles.mitochondrion(place, texture.mottle), depth, 4.5, 8.0)
    folds = organelles.cristae(place, texture.mottle) * _ramp(-distance, 3, 6)
    matrix = MATRIX + 10 * (place.traits[5] - 0.5) + 6 * folds + 3 * texture.grain
    rim = 9 * np.exp(-(((distance + 3.2) / 1.0) ** 2)) - 5 * np.exp(-(((distance + 1) / 1.2) ** 2))
    return _mix(grey, matrix + rim, _ramp(-distance, -0.8, 0.8))


def _ramp(value: Image, start: float, end: float) -> Image:
    """0 below `start`, 1 above `end`, smooth between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    result: Image = t * t * (3 - 2 * t)
    return result


def _mix(below: Image, above: Image | float, share: Image) -> Image:
    result: Image = (below + (above - below) * share).astype(np.float32)
    return result
