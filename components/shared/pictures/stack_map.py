"""The map between the raw slices of a stack and its volume, for points: arrays in, arrays out.

Points are `[n, 3]`: x and y in px at full resolution, z in numbers of slices, pixel centres at integers in
all three. In a raw slice x and y count from the corner of the whole picture, upright; in the volume from its
first voxel, in a part that was cut out from that of the whole volume. z is the number in a slice's file name,
and in the volume that of the plane, as 'fibstack view' shows it.

A point belongs to the slice, or the plane, that is nearest along z. What is left of z stays as it is: a plane
shows one picture over its whole depth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import Plan
from components.shared.documents.transforms import SliceTransform, Transforms, action_text
from components.shared.pictures.slice_map import LIMITS, SliceMap

Floats = NDArray[np.float64]
Frame = Literal["volume", "slices"]
"""Frame that points are moved to: `volume` from the raw slices, `slices` back to them."""
_ROUND_OFF = 1e-6
"""Part of a slice by which a z that was divided by the size of a voxel may miss a half."""
_FOLDED_PX = 10 * LIMITS.undone_px
"""Px by which a point misses its place where no place of the volume shows it."""


@dataclass(frozen=True, slots=True)
class MovedPoints:
    """Points in their other frame, and what is to be said of each."""

    xyz: Floats
    """[n, 3] in px and numbers of slices."""
    magnified: Floats
    """[n] by how much lengths grow within the plane."""
    note: NDArray[np.int32]
    """[n] which of `notes` concerns each point."""
    notes: tuple[str, ...]
    """Sentences without a full stop on where a point lies, the first empty: an ordinary place."""


@dataclass(frozen=True, slots=True)
class _Route:
    """The way of the points of one slice or plane."""

    map: SliceMap
    slice_z: int
    """Number of the raw slice."""
    shift_z: int
    """Number that is added to z."""
    note: str = ""


@dataclass(slots=True)
class _Notes:
    """The notes that occur, each once."""

    texts: dict[str, int] = field(default_factory=lambda: {"": 0})

    def numbers(self, parts: list[tuple[str, NDArray[np.bool_]]], n: int) -> NDArray[np.int32]:
        """[n] numbers of the notes of points, each made of the parts that concern it."""
        concerns = np.zeros(n, np.int64)
        for bit, (_, which) in enumerate(parts):
            concerns |= which.astype(np.int64) << bit
        numbers = np.zeros(n, np.int32)
        for bits in np.unique(concerns).tolist():
            text = "; ".join(part for bit, (part, _) in enumerate(parts) if bits >> bit & 1)
            numbers[concerns == bits] = self.texts.setdefault(text, len(self.texts))
        return numbers


@dataclass(frozen=True, slots=True)
class StackMap:
    """The map between the raw slices of a stack and its volume."""

    transforms: Transforms
    sizes_px: dict[int, tuple[int, int]]
    """Width and height of each slice that there is, by z."""
    planes_of: dict[int, list[int]]
    """Numbers of the planes that show a row of the transforms, by the row's z."""

    @classmethod
    def of(cls, plan: Plan, transforms: Transforms) -> Self:
        """The map of a run or an export.

        Args:
            plan: Its plan.
            transforms: Its transforms.
        """
        sizes_px = {s.z: (s.width_px, s.height_px) for s in plan.slices}
        return cls(transforms, sizes_px, transforms.planes_of())

    def moved(self, points: Floats, to: Frame) -> MovedPoints:
        """Points in their other frame; those that lie nowhere go with what is nearest, and have a note.

        Args:
            points: [n, 3], see the module.
            to: The other frame.
        """
        xyz, magnified = np.array(points, np.float64), np.ones(len(points))
        note, notes = np.zeros(len(points), np.int32), _Notes()
        corner, first_voxel = (
            np.array(xy) for xy in (self.transforms.slice_origin_xy_px, self.transforms.first_voxel_xy)
        )
        for number, members in self._by_number(xyz[:, 2]):
            route = self._to_volume(number) if to == "volume" else self._to_slice(number)
            growth = math.sqrt(abs(np.linalg.det(route.map.volume_from_slice)))
            if to == "volume":
                in_slice = xyz[members, :2] - corner
                in_volume = route.map.in_volume(in_slice)
                error_px = np.abs(route.map.in_slice(in_volume) - in_slice).max(axis=1)
            else:
                in_volume = xyz[members, :2] - first_voxel
                in_slice = route.map.in_slice(in_volume)
                error_px = np.zeros(len(members))
            z = route.slice_z
            parts = [
                (route.note, np.full(len(members), bool(route.note))),
                (f"outside of slice {z}", _outside(in_slice, route.map.size_px)),
                ("outside of the volume", _outside(in_volume, self.transforms.volume_size_xyz[:2])),
                (f"slice {z} is folded over here", error_px > _FOLDED_PX),
            ]
            note[members] = notes.numbers(parts, len(members))
            xyz[members, :2] = in_volume + first_voxel if to == "volume" else in_slice + corner
            xyz[members, 2] += route.shift_z
            magnified[members] = growth if to == "volume" else 1 / growth
        return MovedPoints(xyz, magnified, note, tuple(notes.texts))

    def _to_volume(self, z: int) -> _Route:
        """The way of the points of a raw slice."""
        entry, note = self._row(z)
        if entry.action not in ("keep", "invert"):
            what = "is missing" if entry.verdict == "missing" else "is not shown"
            shown = action_text(entry.action, entry.replaced_from, entry.blended_with)
            note = note or f"slice {z} {what}: {shown}"
            # Its row has the matrix of the slice that is shown, but no picture to which rows and warp belong.
            entry = entry.model_copy(update={"rows": None, "warp": None})
        planes = self.planes_of.get(entry.z, [])
        if not planes:
            nearest = min(self.planes_of, key=lambda shown: (abs(shown - entry.z), shown))
            planes = self.planes_of[nearest]
            note = note or f"slice {z} is left out where steps along z are evened; placed beside {nearest}"
        plane = planes[(len(planes) - 1) // 2]
        return _Route(SliceMap.of(entry, self._size_px(entry.z)), entry.z, plane - entry.z, note)

    def _to_slice(self, z: int) -> _Route:
        """The way of the points of a plane."""
        own, note = self._row(z)
        row = self.transforms.plane(self._index(own.z))
        shown = row.z
        if own.shown_z not in (None, row.z):  # of an export that is cut along z
            shown = own.shown_z
            note = note or f"plane {z} shows slice {shown}, which is cut off; placed as {row.z} lies"
        elif row.action in ("replace", "blend") and row.replaced_from is not None:
            shown = row.replaced_from
            what = f"slice {shown}" if row.action == "replace" else f"slices {shown} and {row.blended_with}"
            note = note or f"plane {z} shows {what}; placed in {shown}"
        elif row.action == "blank":
            note = note or f"plane {z} is black"
        index = self._index(shown)
        if 0 <= index < len(self.transforms.slices):
            entry = self.transforms.slices[index]
        else:  # the plane's own row has the matrix of what it shows
            entry = row.model_copy(update={"rows": None, "warp": None})
        return _Route(SliceMap.of(entry, self._size_px(shown)), shown, shown - own.z, note)

    def _by_number(self, z: Floats) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The number of each slice or plane that points belong to, with their indices.

        Those before the first have the number before it, those behind the last the one behind.
        """
        first, last = self.transforms.slices[0].z, self.transforms.slices[-1].z
        numbers = np.clip(np.floor(z + 0.5 + _ROUND_OFF), first - 1, last + 1).astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
            if members.size:
                yield int(numbers[members[0]]), members

    def _row(self, z: int) -> tuple[SliceTransform, str]:
        """The row of a number, or of the nearest one, with a note then."""
        first, last = self.transforms.slices[0], self.transforms.slices[-1]
        if z < first.z:
            return first, f"before the first slice, {first.z}; placed as that is"
        if z > last.z:
            return last, f"behind the last slice, {last.z}; placed as that is"
        return self.transforms.slices[self._index(z)], ""

    def _index(self, z: int) -> int:
        """Place of a number among the rows of the transforms."""
        return z - self.transforms.slices[0].z

    def _size_px(self, z: int) -> tuple[int, int]:
        """Width and height of a slice; of the volume where there is none."""
        width_px, height_px, _ = self.transforms.volume_size_xyz
        return self.sizes_px.get(z, (width_px, height_px))


def _outside(xy: Floats, size_px: tuple[int, ...]) -> NDArray[np.bool_]:
    """[n] whether places lie beyond the outermost pixels of a picture."""
    return np.asarray(((xy < -0.5) | (xy > np.array(size_px) - 0.5)).any(axis=1))
