"""The axes that a viewer shows: z is the number in a slice's file name, x and y those of the whole volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from components.shared.documents.transforms import Transforms
from components.shared.grid import ceil_div
from components.shared.text import count


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceNumbers:
    """How viewers count the slices and voxels of a volume, and how its own count follows from that."""

    first_z: int
    """Number of the first slice."""
    n_slices: int
    slices_per_voxel: int = 1
    """Slices that a voxel of the finest level holds: more than 1 where level 0 is not written."""
    voxel_offset: int = 0
    """Number that `info` gives to the first voxel of the finest level; it may be too coarse for a slice's."""
    first_xy: tuple[int, int] = (0, 0)
    """x and y of the first voxel: of a part that was cut out, its place in the whole volume."""
    voxel_offset_xy: tuple[int, int] = (0, 0)
    """The numbers that `info` gives to them."""
    n_evened: int = 0
    """Planes that show a slice with another number, since steps along z are evened."""

    @classmethod
    def of(cls, transforms: Transforms | None, finest_scale: dict[str, Any]) -> Self:
        """The numbers of the slices of a volume; its voxels' where nobody tells which slices they show.

        Args:
            transforms: what shows each slice.
            finest_scale: first entry of `scales` in the volume's `info`.
        """
        (*offset_xy, offset), size = finest_scale["voxel_offset"], finest_scale["size"][2]
        xy = (offset_xy[0], offset_xy[1])
        if transforms is None:
            return cls(first_z=offset, n_slices=size, voxel_offset=offset, first_xy=xy, voxel_offset_xy=xy)
        n_slices, per_voxel = len(transforms.slices), 1
        while ceil_div(n_slices, per_voxel) > size:
            per_voxel *= 2
        return cls(
            first_z=transforms.slices[0].z,
            n_slices=n_slices,
            slices_per_voxel=per_voxel,
            voxel_offset=offset,
            first_xy=transforms.first_voxel_xy,
            voxel_offset_xy=xy,
            n_evened=sum(entry.shown_z is not None for entry in transforms.slices),
        )

    @property
    def shift_voxels(self) -> float:
        """Voxels of the finest level that a viewer must move the volume by, along z.

        Example:
            >>> SliceNumbers(first_z=17, n_slices=6).shift_voxels
            17.0
            >>> SliceNumbers(first_z=17, n_slices=6, slices_per_voxel=2).shift_voxels
            8.5
        """
        return self.first_z / self.slices_per_voxel - self.voxel_offset

    @property
    def shift_xyz_voxels(self) -> tuple[float, float, float]:
        """Voxels of the finest level that a viewer must move the volume by.

        Example:
            >>> SliceNumbers(first_z=17, n_slices=6, first_xy=(10, 8)).shift_xyz_voxels
            (10, 8, 17.0)
        """
        (x, y), (from_x, from_y) = self.first_xy, self.voxel_offset_xy
        return x - from_x, y - from_y, self.shift_voxels

    @property
    def is_otherwise(self) -> bool:
        """True where the volume's own count of voxels is another."""
        return any(self.shift_xyz_voxels) or self.slices_per_voxel > 1

    @property
    def all_slices(self) -> str:
        """The range of the slices, such as: slices 17 to 56."""
        return self.shown_by(0, self.n_slices)

    def shown_by(self, start: int, stop: int) -> str:
        """The slices of a range of voxels along z, counted from the volume's first.

        Example:
            >>> SliceNumbers(first_z=17, n_slices=5, slices_per_voxel=2).shown_by(1, 3)
            'slices 19 to 21'
            >>> SliceNumbers(first_z=17, n_slices=5).shown_by(1, 2)
            'slice 18'
        """
        last = min(stop * self.slices_per_voxel, self.n_slices) - 1
        first = start * self.slices_per_voxel
        if first == last:
            return f"slice {self.first_z + first}"
        return f"slices {self.first_z + first} to {self.first_z + last}"

    @property
    def sentence(self) -> str:
        """Where a slice lies along z in the volume's own count of voxels, and where another is shown there.

        Example:
            >>> SliceNumbers(first_z=17, n_slices=6).sentence
            'In the files of the volume slice n lies at z = n - 17.'
            >>> SliceNumbers(first_z=16, n_slices=6, voxel_offset=16).sentence
            'In the files of the volume slice n lies at z = n.'
            >>> SliceNumbers(first_z=17, n_slices=6, slices_per_voxel=2).sentence
            'In the files of the volume slice n lies at z = (n - 17) // 2.'
            >>> SliceNumbers(first_z=17, n_slices=6, first_xy=(10, 0)).sentence
            'In the files of the volume slice n lies at z = n - 17, and x begins 10 lower.'
            >>> SliceNumbers(first_z=0, n_slices=6, n_evened=2).sentence.partition(" Steps")[2]
            ' along z are evened: 2 planes show another slice (shown_z in process/transforms.json).'
        """
        if self.slices_per_voxel > 1:
            offset = f" + {self.voxel_offset}" if self.voxel_offset else ""
            z = f"(n - {self.first_z}) // {self.slices_per_voxel}{offset}"
        else:
            difference = self.first_z - self.voxel_offset
            z = "n" if not difference else f"n - {difference}"
        lower = [(axis, n) for axis, n in zip("xy", self.shift_xyz_voxels, strict=False) if n]
        moved = "".join(f", and {axis} begins {n} lower" for axis, n in lower)
        evened = (
            f" Steps along z are evened: {count(self.n_evened, 'plane')} show another slice "
            f"(shown_z in process/transforms.json)."
        )
        lies = f"In the files of the volume slice n lies at z = {z}{moved}."
        return f"{lies}{evened if self.n_evened else ''}"
