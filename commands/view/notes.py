"""Notes that mark slices in a viewer: bad and replaced ones, steps, evened planes, the largest raw shifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.shared.documents.transforms import Transforms

BAD, STEPS, SHIFTS = "bad and replaced slices", "steps", "largest shifts"
EVENED = "planes that show another slice"
"""Names of the layers of notes in neuroglancer."""
N_SHIFTS = 20
"""Shifts that are marked, the largest of a stack."""
LEAST_SHIFT_PX = 1.0
"""Smallest shift that is marked, in full-resolution px; a smaller one is not worth a look."""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about a slice."""

    layer: str
    slice_z: int
    text: str


def notes_of(transforms: Transforms) -> list[Note]:
    """Notes on the slices that are not good or not shown as they are, on evened planes, on large shifts.

    Where steps along z are evened the axis counts planes, each by the number of the slice that it has else.
    """
    stand_out = [
        Note(
            STEPS if s.verdict == "step" else BAD,
            s.z,
            f"{s.description}{f' ({s.evidence})' if s.evidence else ''}",
        )
        for s in transforms.slices
        if s.verdict != "good" or s.action != "keep"
    ]
    evened = [
        Note(EVENED, s.z, f"plane {s.z} shows slice {s.shown_z}, which lies nearer")
        for s in transforms.slices
        if s.shown_z is not None
    ]
    shifts = [
        Note(SHIFTS, shift.z, f"slice {shift.z}: shift {shift.px:.1f} px against {shift.against_z}")
        for shift in largest_shifts(transforms)
    ]
    return stand_out + evened + shifts


@dataclass(frozen=True, slots=True)
class Shift:
    """Distance by which the alignment has moved a slice against the previous slice."""

    z: int
    against_z: int
    """The previous slice that is shown itself: z - 1, unless slices between are replaced."""
    px: float
    """Shift of the point in the middle of the volume, in full-resolution px."""


def largest_shifts(transforms: Transforms) -> list[Shift]:
    """The largest shifts that the alignment has taken out, z ascending.

    Slices that are not shown themselves have no say: where they lie is not known.
    """
    shown = [s for s in transforms.slices if s.action in ("keep", "invert")]
    if len(shown) < 2:
        return []
    volume_from_slice = np.array([s.matrix for s in shown])
    width, height, _ = transforms.volume_size_xyz
    middle = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    in_slices = np.linalg.solve(volume_from_slice, middle[:, None])[..., 0]
    moved = np.einsum("nij,nj->ni", volume_from_slice[:-1], in_slices[1:]) - middle
    px = np.hypot(moved[:, 0], moved[:, 1])
    largest = sorted(i for i in np.argsort(-px, kind="stable")[:N_SHIFTS] if px[i] >= LEAST_SHIFT_PX)
    return [Shift(shown[i + 1].z, shown[i].z, float(px[i])) for i in largest]
