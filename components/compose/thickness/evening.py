"""Shows at each plane of the volume the slice that lies nearest to it, so that its z axis is even.

Slices are chosen, never mixed: a blend would blur. Lost material stays lost: a gap is closed to one step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from components.shared.documents.thickness import Thickness
from components.shared.documents.transforms import SliceTransform, Transforms


def evened(transforms: Transforms, thickness: Thickness) -> Transforms:
    """The transforms, each plane showing the slice whose place is nearest, the earlier of two.

    A plane that a person has decided on, a blend and a black one stay what they are. So does everything where
    no places are known.
    """
    places = places_without_gaps(thickness)
    if not places:
        return transforms
    numbers, positions = list(places), list(places.values())
    slices = tuple(_with_nearest(entry, numbers, positions) for entry in transforms.slices)
    return transforms.model_copy(update={"slices": slices})


def places_without_gaps(thickness: Thickness) -> Mapping[int, float]:
    """The place of each slice that has one, by z, ascending; every gap is as wide as its numbers say."""
    gaps = [step for step in thickness.uneven if step.kind == "gap"]
    lost = {gap.z: (gap.step - 1) * (gap.z - gap.previous_z) for gap in gaps}
    places: dict[int, float] = {}
    closed = 0.0
    for z, position in enumerate(thickness.positions, start=thickness.first_z):
        closed += lost.get(z, 0.0)
        if position is not None:
            places[z] = position - closed
    return places


def _with_nearest(
    entry: SliceTransform, numbers: Sequence[int], positions: Sequence[float]
) -> SliceTransform:
    """A plane with the slice of these numbers whose position is nearest to it."""
    if entry.override or entry.action in ("blend", "blank"):
        return entry
    after = bisect_left(positions, entry.z)
    candidates = range(max(after - 1, 0), min(after + 1, len(numbers)))
    nearest = numbers[min(candidates, key=lambda index: (abs(positions[index] - entry.z), index))]
    return entry if nearest == entry.source_z else entry.model_copy(update={"shown_z": nearest})
