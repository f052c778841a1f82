"""How the slices of a case move: a `world_from_slice` matrix for each z, exact by construction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Matrix, translation

TURN_DEG = 0.1
"""Standard deviation of the turn from a slice to the next."""
MOST_TURN_DEG = 1.0
JUMP_PX, JUMP_EVERY = (60.0, 120.0), 7
MAGNIFICATION, SHEAR = 0.008, 0.004
"""Change of the magnification and of the shear over the whole stack."""
TURNED_DEG, RESCALED = 12.0, 1.1
"""Turn of a third of a stack, and magnification of another, as after a remount or a restart."""
WOBBLE_SLICES, WOBBLE_SHARE, WOBBLE_SHEAR = 20, 0.5, 0.01
"""Period of a slow wobble, its amplitude as a share of the room, and the shear that goes with it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a slice shows of the world: a rectangle that may walk about."""

    size_xy: tuple[int, int]
    centre_xy: tuple[float, float]
    """Where in the world the rectangle's centre lies when nothing moves."""
    room_xy: tuple[float, float]
    """How far the centre may leave that place along x and y."""
    step_px: float
    """Standard deviation of the step from a slice to the next, along x and along y."""


Motion = Callable[[np.random.Generator, int, Window], list[Matrix]]


def still(rng: np.random.Generator, n_slices: int, window: Window) -> list[Matrix]:
    """No motion at all."""
    del rng
    return [_world_from_slice(window, np.zeros(2), np.eye(2)) for _ in range(n_slices)]


def walk(rng: np.random.Generator, n_slices: int, window: Window) -> list[Matrix]:
    """A random walk with rotations, held inside the room."""
    shifts, angles = _walked(rng, n_slices, window)
    return [_world_from_slice(window, s, _turned(a)) for s, a in zip(shifts, angles, strict=True)]


def jumps(rng: np.random.Generator, n_slices: int, window: Window) -> list[Matrix]:
    """A random walk with a persistent jump of 60 to 120 px every few slices."""
    room = np.array(window.room_xy)
    steps, angles = rng.normal(0, window.step_px, (n_slices, 2)), _angles(rng, n_slices)
    shift, matrices = np.zeros(2), []
    for z in range(n_slices):
        if z and z % JUMP_EVERY == 0:
            shift = _jumped(rng, shift, room)
        shift = np.clip(shift + steps[z], -room, room)
        matrices.append(_world_from_slice(window, shift, _turned(angles[z])))
    return matrices


def drift(rng: np.random.Generator, n_slices: int, window: Window) -> list[Matrix]:
    """A random walk during which magnification and shear change slowly, from one extreme to the other."""
    shifts, angles = _walked(rng, n_slices, window)
    matrices = []
    for z in range(n_slices):
        share = -0.5 * math.cos(math.pi * z / max(n_slices - 1, 1))
        linear = np.array([[1 + MAGNIFICATION * share, SHEAR * share], [0.0, 1 + MAGNIFICATION * share]])
        matrices.append(_world_from_slice(window, shifts[z], _turned(angles[z]) @ linear))
    return matrices


def remounts(rng: np.random.Generator, n_slices: int, window: Window) -> list[Matrix]:
    """Nothing moves but two times: a third of the stack is turned, the last third magnified."""
    del rng
    linear = [np.eye(2), _turned(TURNED_DEG), np.eye(2) / RESCALED]
    return [_world_from_slice(window, np.zeros(2), linear[3 * z // n_slices]) for z in range(n_slices)]


def wobble(rng: np.random.Generator, n_slices: int, window: Window) -> list[Matrix]:
    """A slow swing to and fro that shears the pictures, as a stage that creeps or a beam that drifts."""
    del rng
    room, matrices = np.array(window.room_xy), []
    for z in range(n_slices):
        phase = 2 * math.pi * z / WOBBLE_SLICES
        shift = WOBBLE_SHARE * room * np.array([math.sin(phase), math.sin(phase / 2)])
        sheared = np.array([[1.0, WOBBLE_SHEAR * math.sin(phase)], [0.0, 1.0]])
        matrices.append(_world_from_slice(window, shift, sheared))
    return matrices


def _walked(rng: np.random.Generator, n_slices: int, window: Window) -> tuple[Floats, Floats]:
    room = np.array(window.room_xy)
    shifts = np.zeros((n_slices, 2))
    for z in range(1, n_slices):
        shifts[z] = np.clip(shifts[z - 1] + rng.normal(0, window.step_px, 2), -room, room)
    return shifts, _angles(rng, n_slices)


def _angles(rng: np.random.Generator, n_slices: int) -> Floats:
    angles = np.zeros(n_slices)
    for z in range(1, n_slices):
        angles[z] = np.clip(angles[z - 1] + rng.normal(0, TURN_DEG), -MOST_TURN_DEG, MOST_TURN_DEG)
    return angles


def _jumped(rng: np.random.Generator, shift: Floats, room: Floats) -> Floats:
    """Another place in the room, a jump away; the farthest corner where the room is too small."""
    low, high = JUMP_PX
    for _ in range(200):
        place: Floats = rng.uniform(-room, room)
        if low <= np.linalg.norm(place - shift) <= high:
            return place
    return np.where(shift > 0, -room, room)


def _turned(angle_deg: float) -> Floats:
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[c, -s], [s, c]])


def _world_from_slice(window: Window, shift_xy: Floats, linear: Floats) -> Matrix:
    """The motion about the centre of the slice."""
    width, height = window.size_xy
    around = np.eye(3)
    around[:2, :2] = linear
    place = np.array(window.centre_xy) + shift_xy
    moved: Matrix = translation(*place) @ around @ translation(-(width - 1) / 2, -(height - 1) / 2)
    return moved
