"""The z axis that a viewer shows: its coordinate is the number in a slice's file name, for every volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from components.shared.documents.transforms import Transforms
from components.shared.grid import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceNumbers:
    """How the slices of a volume are numbered, and how its own count of voxels along z follows from that."""

    first_z: int
    """Number of the first slice."""
    n_slices: int
    slices_per_voxel: int = 1
    """Slices that a voxel of the finest level holds: more than 1 where level 0 is not written."""
    voxel_offset: int = 0
    """Number that `info` gives to the first voxel of the finest level; it may be too coarse for a slice's."""

    @classmethod
    def of(cls, transforms: Transforms | None, finest_scale: dict[str, Any]) -> Self:
        """The numbers of the slices of a volume; its voxels' where nobody tells which slices they show.

        Args:
            transforms: what shows each slice.
            finest_scale: first entry of `scales` in the volume's `info`.
        """
        offset, size = finest_scale["voxel_offset"][2], finest_scale["size"][2]
        if transforms is None:
            return cls(first_z=offset, n_slices=size, voxel_offset=offset)
        n_slices, per_voxel = len(transforms.slices), 1
        while ceil_div(n_slices, per_voxel) > size:
            per_voxel *= 2
        first_z = transforms.slices[0].z
        return cls(first_z=first_z, n_slices=n_slices, slices_per_voxel=per_voxel, voxel_offset=offset)

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
    def sentence(self) -> str:
        """Where a slice lies along z in the volume's own count of voxels.

        Example:
            >>> SliceNumbers(first_z=17, n_slices=6).sentence
            'In the files of the volume slice n lies at z = n - 17.'
            >>> SliceNumbers(first_z=16, n_slices=6, voxel_offset=16).sentence
            'In the files of the volume slice n lies at z = n.'
            >>> SliceNumbers(first_z=17, n_slices=6, slices_per_voxel=2).sentence
            'In the files of the volume slice n lies at z = (n - 17) // 2.'
        """
        if self.slices_per_voxel > 1:
            offset = f" + {self.voxel_offset}" if self.voxel_offset else ""
            z = f"(n - {self.first_z}) // {self.slices_per_voxel}{offset}"
        else:
            difference = self.first_z - self.voxel_offset
            z = "n" if not difference else f"n - {difference}"
        return f"In the files of the volume slice n lies at z = {z}."
