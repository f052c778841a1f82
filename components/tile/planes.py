"""Which slices the planes of a slab show."""

from __future__ import annotations

from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.grid import Span


def planes_of_slices(transforms: Transforms, z_indices: Span) -> list[tuple[SliceTransform, list[int]]]:
    """Each slice that a slab shows, with the planes of the slab that show it.

    A slice is read once, whether it shows itself, stands in for others or is half of a blend. A plane that is
    left blank shows none.
    """
    first_z = transforms.slices[0].z
    planes_of: dict[int, list[int]] = {}
    for plane, z_index in enumerate(z_indices):
        for z in _shown(transforms.slices[z_index]):
            planes_of.setdefault(z, []).append(plane)
    return [(transforms.slices[z - first_z], planes) for z, planes in planes_of.items()]


def _shown(entry: SliceTransform) -> list[int]:
    """The z of the slices that a plane shows."""
    if entry.action == "blank":
        return []
    if entry.action in ("keep", "invert"):
        return [entry.z]
    return [z for z in (entry.replaced_from, entry.blended_with) if z is not None]
