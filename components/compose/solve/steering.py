"""What the overrides file says to the solve: which pairs count, where the stack is cut, what is pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from components.compose.solve.pairs import Pairs, Stack
from components.shared.documents.plan import Override
from components.shared.errors import UserError

GIVEN_SIGMA_PX = 0.01
"""1-sigma of a transform that a person gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """Decisions of a person, by slot."""

    cuts: tuple[int, ...] = ()
    """First slot behind each true step, ascending."""
    pins: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Where centres lie, in px of the frame of the solve."""


def steering_of(overrides: Sequence[Override], stack: Stack) -> Steering:
    """The cuts and pins of the overrides.

    Raises:
        UserError: a pinned slice is missing in the stack.
    """
    slot_of = _slots(stack)
    cuts = {int(np.searchsorted(stack.z, o.z)) for o in overrides if o.cut}
    pins = {_present(o.z, slot_of, "pin"): o.pin for o in overrides if o.pin is not None}
    return Steering(cuts=tuple(sorted(cuts & set(range(1, len(stack))))), pins=pins)


def overridden(pairs: Pairs, overrides: Sequence[Override], stack: Stack) -> Pairs:
    """The pairs without those of skipped slices and those across a cut or a given transform, which is added.

    Raises:
        UserError: a slice that a given transform joins is missing in the stack.
    """
    slot_of, z, neighbour_z = _slots(stack), stack.z[pairs.slot], stack.z[pairs.neighbour]
    stays = np.ones(len(pairs), np.bool_)
    for override in overrides:
        if override.skip:
            stays &= (z != override.z) & (neighbour_z != override.z)
        if override.cut or override.matrix is not None:
            stays &= (z >= override.z) | (neighbour_z < override.z)
    given = [o for o in overrides if o.matrix is not None]
    if not given:
        return pairs.chosen(stays)
    added = Pairs(
        slot=np.array([_present(o.z - 1, slot_of, "matrix") for o in given], np.int64),
        neighbour=np.array([_present(o.z, slot_of, "matrix") for o in given], np.int64),
        neighbour_from_slice=np.array([o.matrix for o in given], np.float64),
        sigma_px=np.full(len(given), GIVEN_SIGMA_PX),
    )
    return pairs.chosen(stays).joined(added)


def _slots(stack: Stack) -> dict[int, int]:
    return {z: slot for slot, z in enumerate(stack.z.tolist())}


def _present(z: int, slot_of: Mapping[int, int], decision: str) -> int:
    if z not in slot_of:
        raise UserError(
            f"a slice of a '{decision}' in the overrides must be there; got slice {z}, which is missing in "
            "the stack. Remove or change that line."
        )
    return slot_of[z]
