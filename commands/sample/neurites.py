"""The packed processes of the tissue: which neurite owns a point, and how far its membrane is.

1. Space is cut into cubes; each holds a fixed number of neurites, drawn from a generator seeded by the
   cube's number, so any part of an endless world can be made alone and always comes out the same.
2. A neurite is two or three arms from one node: straight tubes, bent later by warping the world.
3. A point belongs to the neurite whose surface it lies deepest in (an additively weighted Voronoi diagram of
   segments); what is far outside all of them is glia. The membrane is where two neurites tie.
4. A tile is worked on in blocks: bounds on the distances leave a few candidate arms for each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from commands.sample.plane import Image

CUBE_PX = 192
"""Side of a cube of space."""
ARM_PX = (90.0, 230.0)
"""Length of an arm."""
CALIBRES_PX = ((33, 7.0, 14.5), (12, 14.5, 33.0), (1, 33.0, 75.0))
"""Neurites in a cube, and the least and greatest radius, for each class of calibre."""
SWELLING_PX = 5.0
"""Most that a radius swells or shrinks along a neurite, for one unit of the swelling field."""
GLIA_PX = 3.0
"""A point this far outside all neurites belongs to glia."""
DEEPEST_PX = 14.0
"""Greatest depth below a membrane that is computed."""
LEAST_SLOPE = 0.4
"""Membranes are drawn as if the margin between neurites rose at least so fast."""
REACH_PX = ARM_PX[1] + CALIBRES_PX[-1][2] + 4 * SWELLING_PX + 2 * DEEPEST_PX
"""Greatest distance from the node of an arm to a point that it can own or come second at; four standard
deviations of the swelling are taken for its greatest value."""
_BLOCK_PX = 32
"""Side of the blocks that share their candidate arms."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arms:
    """Arms of neurites, one a row."""

    start: Floats
    """[n, 3] node of the neurite, xyz."""
    frame: Floats
    """[n, 3, 3] unit vectors: along the arm, and two across it."""
    length: Floats
    radius: Floats
    neurite: Ints
    """Number of the neurite that an arm belongs to."""
    traits: Floats
    """[n, 8] uniform in 0..1: 0-3 differ by neurite, 4-7 by arm."""

    def take(self, rows: Ints) -> Arms:
        """The arms of these rows."""
        return Arms(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """The owners of the pixels of a tile: the neurite that each pixel belongs to."""

    arms: Arms
    owner: NDArray[np.int32]
    """[height, width] row of `arms`; -1 = glia."""
    depth: Image
    """[height, width] distance from the owner's membrane, up to DEEPEST_PX."""


def _unit(vectors: Floats) -> Floats:
    result: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return result


@functools.lru_cache(maxsize=2048)
def _arms_of_cube(seed: int, x: int, y: int, z: int) -> Arms:
    """All arms whose node lies in one cube."""
    rng = np.random.default_rng([seed, x + 2**31, y + 2**31, z + 2**31])
    radius = np.concatenate([np.exp(rng.uniform(np.log(lo), np.log(hi), n)) for n, lo, hi in CALIBRES_PX])
    n = len(radius)
    node = (np.array([x, y, z]) + rng.uniform(size=(n, 3))) * CUBE_PX
    first = _unit(rng.normal(size=(n, 3)))
    second = _unit(-first + 0.45 * rng.normal(size=(n, 3)))
    third = _unit(rng.normal(size=(n, 3)))
    along = np.stack([first, second, third], axis=1).reshape(-1, 3)
    across = _unit(np.cross(along, _unit(rng.normal(size=(3 * n, 3)))))
    neurite = ((x * 73856093) ^ (y * 19349663) ^ (z * 83492791)) * 1024 + np.arange(n)
    arms = Arms(
        start=np.repeat(node, 3, axis=0),
        frame=np.stack([along, across, np.cross(along, across)], axis=1),
        length=rng.uniform(*ARM_PX, size=3 * n),
        # Not equal: behind the node both arms are as near, and rounding would choose the owner.
        radius=(radius[:, None] * [1.0, 0.97, 0.6]).ravel(),
        neurite=np.repeat(neurite, 3),
        traits=np.hstack([np.repeat(rng.uniform(size=(n, 4)), 3, axis=0), rng.uniform(size=(3 * n, 4))]),
    )
    branches = np.stack([np.ones(n, bool), np.ones(n, bool), rng.uniform(size=n) < 0.4], axis=1)
    return arms.take(np.flatnonzero(branches))


def arms_near(seed: int, low_xyz: Floats, high_xyz: Floats) -> Arms:
    """The arms that may own a point between two corners of a box."""
    first = np.floor((low_xyz - REACH_PX) / CUBE_PX).astype(int)
    last = np.floor((high_xyz + REACH_PX) / CUBE_PX).astype(int)
    cubes = [
        _arms_of_cube(seed, x, y, z)
        for z in range(first[2], last[2] + 1)
        for y in range(first[1], last[1] + 1)
        for x in range(first[0], last[0] + 1)
    ]
    arms = Arms(**{f.name: np.concatenate([getattr(c, f.name) for c in cubes]) for f in fields(Arms)})
    end = arms.start + arms.frame[:, 0] * arms.length[:, None]
    margin = (arms.radius + 4 * SWELLING_PX + 2 * DEEPEST_PX)[:, None]
    near = (np.minimum(arms.start, end) - margin < high_xyz) & (
        np.maximum(arms.start, end) + margin > low_xyz
    )
    return arms.take(np.flatnonzero(near.all(axis=1)))


def partition(seed: int, points: NDArray[np.float32], swelling: Image) -> Partition:
    """Find the owner of each pixel of a tile.

    Args:
        seed: Number of the world.
        points: [3, height, width] position of each pixel in the unbent world, xyz.
        swelling: [height, width] field that makes neurites thicker (> 0) or thinner.
    """
    flat = points.reshape(3, -1)
    arms = arms_near(seed, flat.min(axis=1).astype(np.float64), flat.max(axis=1).astype(np.float64))
    height, width = swelling.shape
    owner = np.empty((height, width), dtype=np.int32)
    rival = np.empty((height, width), dtype=np.int32)
    margin = np.empty((height, width), dtype=np.float32)
    for y in range(0, height, _BLOCK_PX):
        for x in range(0, width, _BLOCK_PX):
            block = np.s_[y : y + _BLOCK_PX, x : x + _BLOCK_PX]
            shape = owner[block].shape
            found = _block(arms, points[:, *block].reshape(3, -1), swelling[block].ravel())
            owner[block], rival[block], margin[block] = (part.reshape(shape) for part in found)
    return Partition(arms=arms, owner=owner, depth=_depth(arms, points, owner, rival, margin))


def _block(
    arms: Arms, points: NDArray[np.float32], swelling: Image
) -> tuple[NDArray[np.int32], NDArray[np.int32], Image]:
    """Owner, nearest arm of another neurite, and by how much the owner wins, at a few points `[3, n]`."""
    rows = _candidates(arms, points, swelling)
    surface = np.full((len(rows) + 1, points.shape[1]), GLIA_PX, dtype=np.float32)
    surface[:-1] = _outside(arms, rows, points, swelling)
    every = np.arange(points.shape[1])
    nearest = surface.argmin(axis=0)
    first = surface[nearest, every]
    neurite = np.append(arms.neurite[rows], -1)
    surface[neurite[:, None] == neurite[nearest]] = 4 * DEEPEST_PX + GLIA_PX
    second = surface.argmin(axis=0)
    rows = np.append(rows, -1).astype(np.int32)
    return rows[nearest], rows[second], surface[second, every] - first


def _depth(
    arms: Arms, points: NDArray[np.float32], owner: NDArray[np.int32], rival: NDArray[np.int32], margin: Image
) -> Image:
    """Distance from the membrane: the owner's margin over the slope of the margin.

    Where two neurites lie side by side the slope is 2; where one lies along the inside of another it is
    small, and without this the membrane would smear.
    """
    towards = _direction(arms, points, owner) - _direction(arms, points, rival)
    slope = np.sqrt((towards * towards).sum(axis=0))
    result: Image = np.minimum(margin / np.maximum(slope, LEAST_SLOPE), DEEPEST_PX)
    return result


def _direction(arms: Arms, points: NDArray[np.float32], rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit vector from the nearest point of each pixel's arm to the pixel, [3, height, width]; 0 for glia."""
    start = np.vstack([arms.start, np.zeros(3)]).astype(np.float32)
    axis = np.vstack([arms.frame[:, 0], np.zeros(3)]).astype(np.float32)
    length = np.append(arms.length, 0).astype(np.float32)
    offset = points - start.T[:, rows]
    axes = axis.T[:, rows]
    along = np.clip((offset * axes).sum(axis=0), 0, length[rows])
    offset -= along * axes
    offset *= (rows >= 0) / np.maximum(np.sqrt((offset * offset).sum(axis=0)), 1e-3)
    return offset


def _swell(radius: Floats) -> Floats:
    """Swelling in px of a neurite of this radius, for one unit of the field."""
    result: Floats = np.minimum(0.25 * radius, SWELLING_PX)
    return result


def _candidates(arms: Arms, points: NDArray[np.float32], swelling: Image) -> Ints:
    """Rows of the arms that can be first or second at one of the points, within the depths that are told."""
    low, high = points.min(axis=1), points.max(axis=1)
    center = ((low + high) / 2).astype(np.float64)
    half_diagonal = float(np.linalg.norm(high - low)) / 2 + 0.1
    middle = (float(swelling.min()) + float(swelling.max())) / 2
    spread = float(swelling.max()) - middle
    offset = center - arms.start
    along = np.clip((offset * arms.frame[:, 0]).sum(axis=1), 0, arms.length)
    distance = np.linalg.norm(offset - along[:, None] * arms.frame[:, 0], axis=1)
    swell = _swell(arms.radius)
    outside = distance - arms.radius - middle * swell
    error = half_diagonal + spread * swell
    best = min(float((outside + error).min(initial=np.inf)), GLIA_PX)
    return np.flatnonzero(outside - error < best + 2 * DEEPEST_PX)


def _outside(arms: Arms, rows: Ints, points: NDArray[np.float32], swelling: Image) -> NDArray[np.float32]:
    """Distance of each point from the surface of each arm, negative inside, `[rows, n]`."""
    radius = arms.radius[rows]
    # From the block's first point, so that 32-bit floats carry the differences.
    origin = points[:, 0].astype(np.float64)
    p = points - origin.astype(np.float32)[:, None]
    axis = arms.frame[rows, 0]
    offset = origin - arms.start[rows]
    along = (axis.astype(np.float32) @ p) + (offset * axis).sum(axis=1).astype(np.float32)[:, None]
    square = 2 * offset.astype(np.float32) @ p + (p * p).sum(axis=0)
    square += (offset * offset).sum(axis=1).astype(np.float32)[:, None]
    closest = np.clip(along, 0, arms.length[rows].astype(np.float32)[:, None])
    square += closest * (closest - 2 * along)
    distance: NDArray[np.float32] = np.sqrt(np.maximum(square, 0, out=square), out=square)
    swell = _swell(radius).astype(np.float32)[:, None] * swelling
    distance -= radius.astype(np.float32)[:, None] + swell
    return distance
