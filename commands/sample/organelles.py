"""The organelles inside the neurites: mitochondria, vesicles and other round bodies, microtubules.

Each function gives the signed distance from a surface, or a strength, at every pixel, from the pixel's
position alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commands.sample.neurites import Partition
from commands.sample.plane import Image

NOWHERE_PX = 1e3
"""Distance from an organelle that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inside:
    """The pixels of a tile in the coordinates of the arms that own them."""

    along: Image
    """[height, width] distance in px from the node along the arm."""
    across: tuple[Image, Image]
    """Distances in px from the arm's axis, in two directions across it."""
    length: Image
    """The arm's length in px."""
    radius: Image
    """The arm's radius in px."""
    traits: NDArray[np.float32]
    """[8, height, width] of neurites.Arms."""


def inside(cells: Partition, points: NDArray[np.float32]) -> Inside:
    """The pixels of a tile in the coordinates of their owners; glia counts as an arm of no size."""
    arms, own = cells.arms, cells.owner
    offset = points - _per_pixel(arms.start, own)
    along, first, second = (
        np.einsum("ihw,ihw->hw", offset, _per_pixel(arms.frame[:, k], own)) for k in range(3)
    )
    length, radius = _per_pixel(np.column_stack([arms.length, arms.radius]), own)
    return Inside(
        along=along,
        across=(first, second),
        length=length,
        radius=radius,
        traits=_per_pixel(arms.traits, own),
    )


def _per_pixel(table: NDArray[np.float64], rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Columns of a table [n, k] at each pixel's row, `[k, height, width]`; 0 for row -1."""
    with_glia = np.vstack([table, np.zeros(table.shape[1])]).astype(np.float32)
    result: NDArray[np.float32] = with_glia.T[:, rows]
    return result


def within(distance: Image, depth: Image, gap_px: float, rounding_px: float = 3.0) -> Image:
    """A body cut off `gap_px` below its cell's membrane, with rounded edges (a smooth maximum)."""
    limit = gap_px - depth
    blend = np.maximum(rounding_px - np.abs(distance - limit), 0) / rounding_px
    result: Image = np.maximum(distance, limit) + blend * blend * (rounding_px / 4)
    return result


def mitochondrion(place: Inside, wobble: Image) -> Image:
    """Signed distance from the outer membrane of the arm's mitochondrion: a bent rod beside the axis."""
    traits = place.traits
    exists = (place.radius > 13) & (traits[4] < 0.85)
    radius = np.clip(place.radius * (0.5 + 0.25 * traits[5]), 8, 21)
    half_length = 10 + 60 * traits[7]
    # Away from both ends of the arm: another arm of the neurite would cut it off.
    room = np.maximum(place.length - 2 * half_length - 2 * place.radius, 0)
    center = half_length + 1.3 * place.radius + room * traits[6]
    past_end = np.maximum(np.abs(place.along - center) - half_length, 0)
    aside = place.across[0] - (traits[7] - 0.5) * 0.5 * place.radius
    distance = np.sqrt(past_end**2 + aside**2 + place.across[1] ** 2) - radius + 1.5 * wobble
    result: Image = np.where(exists, distance, np.float32(NOWHERE_PX))
    return result


def cristae(place: Inside, wobble: Image) -> Image:
    """The folds of a mitochondrion's inner membrane, -1..1: plates 9 px (72 nm) apart."""
    tilt = 6.28 * place.traits[6]
    phase = place.along * np.cos(tilt) + place.across[0] * np.sin(tilt)
    result: Image = np.sin(phase * np.float32(2 * np.pi / 9) + 2 * wobble)
    return result


def microtubules(place: Inside, wobble: Image) -> Image:
    """Strength 0..1 of microtubules, which run along the arm some 9 px apart."""
    first, second = (np.cos((a + 1.5 * wobble) * np.float32(2 * np.pi / 13)) for a in place.across)
    result: Image = np.exp(5 * (first * second - 1)) * (place.traits[3] < 0.6)
    return result


def spheres(
    points: NDArray[np.float32], pitch_px: float, radius_px: tuple[float, float], share: float, seed: int
) -> tuple[Image, Image]:
    """Round bodies strewn over space: signed distance from the nearest surface, and a lot 0..1 each.

    One cube of a lattice in `share` holds a body, anywhere in the cube.
    """
    cube = np.floor(points / np.float32(pitch_px))
    bits = _hash(cube.astype(np.int32), seed)
    x, y, z, size = (((bits >> np.uint32(8 * k)) & np.uint32(255)).astype(np.float32) / 256 for k in range(4))
    smallest, largest = radius_px
    radius = smallest + (largest - smallest) * size
    room = pitch_px - 2 * largest
    square = sum(
        (points[k] - cube[k] * np.float32(pitch_px) - largest - room * u) ** 2
        for k, u in enumerate((x, y, z))
    )
    lot = (bits * np.uint32(0x9E3779B1)) >> np.uint32(8)
    lot_fraction = lot.astype(np.float32) / 2**24
    distance: Image = np.where(lot_fraction < share, np.sqrt(square) - radius, NOWHERE_PX).astype(np.float32)
    lots: Image = (lot_fraction / share).astype(np.float32)
    return distance, lots


def _hash(cube: NDArray[np.int32], seed: int) -> NDArray[np.uint32]:
    """32 well-mixed bits for each cube `[3, ...]`: multiply and shift, as MurmurHash3 ends."""
    x, y, z = cube.view(np.uint32)
    bits: NDArray[np.uint32] = (
        x * np.uint32(0x8DA6B343) ^ y * np.uint32(0xD8163841) ^ z * np.uint32(0xCB1AB31F) ^ np.uint32(seed)
    )
    for factor in (0x85EBCA6B, 0xC2B2AE35):
        bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return bits
