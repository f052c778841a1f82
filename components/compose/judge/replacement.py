"""Gives each slice its action after its verdict: it is shown as it is, inverted, or replaced by others.

A person's decisions (overrides) come first. A replacement shows a slice that is kept itself, never one that
is replaced or inverted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.compose.judge.classify import SliceVerdict
from components.compose.solve.pairs import Flags, Integers
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Override, Replacement
from components.shared.documents.transforms import Action, Verdict
from components.shared.errors import UserError
from components.shared.text import listed

_KEPT: Collection[Verdict] = ("good", "duplicate", "step")
"""Verdicts whose slices are shown as they are by default. So is a slip that pairs hold: the alignment has
moved it back."""
_SHOWN = 8
"""Slices that a sentence lists before it ends with dots."""
_NO_SLOT = -1
"""Slot of a missing slice until another one stands in."""
_Decided = Mapping[int, tuple[Override, ...]]
"""The overrides of each z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceAction:
    """The action at one z of the volume: which slice is shown there, and why."""

    z: int
    verdict: Verdict
    action: Action
    evidence: str = ""
    """Reason of the verdict, in a few words with figures."""
    override: str = ""
    """The lines of the overrides file that were applied."""
    shown_slot: int
    """Slot whose picture and matrix count: the slice's own, or that of the one that stands in."""
    blended_slot: int | None = None
    """Slot of the second slice of a blend."""
    is_replaced: bool = False
    """`shown_slot` is the slot of another slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """The slots that may stand in for others."""

    z: Integers
    slots: Integers

    def previous(self, z: int) -> int | None:
        index = int(np.searchsorted(self.z, z)) - 1
        return int(self.slots[index]) if index >= 0 else None

    def next(self, z: int) -> int | None:
        index = int(np.searchsorted(self.z, z, side="right"))
        return int(self.slots[index]) if index < len(self.slots) else None

    def nearest(self, z: int) -> int:
        """The nearest one, the lower one at a tie."""
        return int(self.slots[int(np.argmin(np.abs(self.z - z)))])


def actions_of(
    config: RunConfig,
    z: Integers,
    verdicts: Sequence[SliceVerdict],
    held: Flags,
    overrides: Sequence[Override],
) -> list[SliceAction]:
    """One action for each z of the run.

    A run of slices that are replaced for their verdicts may be `max_replaced` long. With `allow_gaps` there
    is no limit, for missing slices there is none: each shows what `replace_with` asks for.

    Args:
        config: Settings of the run.
        z: `[n]` z of each slot.
        verdicts: `[n]`.
        held: `[n]` whether pairs hold each slot.
        overrides: The decisions of a person.

    Raises:
        UserError: too many slices in a row would be replaced, or an override cannot be followed.
    """
    slot_of = {number: slot for slot, number in enumerate(z.tolist())}
    decided = _decisions(overrides)
    own = {n: _by_verdict(n, slot_of.get(n), verdicts, held) for n in range(config.minz, config.maxz + 1)}
    if all(a.action == "replace" for a in own.values()):
        # Nothing is better than these.
        own = {n: replace(a, action="keep") if n in slot_of else a for n, a in own.items()}
    own = {n: _with_override(a, decided.get(n, ())) for n, a in own.items()}
    _check_runs(config, list(own.values()), decided)
    shown = [a.z for a in own.values() if a.action == "keep"] or [
        a.z for a in own.values() if a.action == "invert"
    ]
    if not shown:
        raise UserError(
            "a volume must have a slice to show; got overrides that leave none. Change the overrides."
        )
    sources = _Sources(z=np.array(shown), slots=np.array([slot_of[n] for n in shown]))
    return [_with_source(config, a, decided.get(a.z, ()), sources, slot_of, own) for a in own.values()]


def override_text(override: Override) -> str:
    """An override as a line of its file has it.

    Example:
        >>> override_text(Override(z=512, replace="previous"))
        '{z: 512, replace: previous}'
    """
    import yaml

    values = override.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=10_000)
    return text.strip()


def _decisions(overrides: Sequence[Override]) -> dict[int, tuple[Override, ...]]:
    decided: dict[int, tuple[Override, ...]] = {}
    for override in overrides:
        decided[override.z] = (*decided.get(override.z, ()), override)
    return decided


def _by_verdict(z: int, slot: int | None, verdicts: Sequence[SliceVerdict], held: Flags) -> SliceAction:
    """The action that follows from a verdict alone."""
    if slot is None:
        return SliceAction(z=z, verdict="missing", action="replace", evidence="no file", shown_slot=_NO_SLOT)
    verdict, is_held = verdicts[slot].verdict, bool(held[slot])
    action: Action = "replace"
    if verdict in _KEPT or (verdict == "slip" and is_held):
        action = "keep"
    elif verdict == "inverted" and is_held:
        action = "invert"
    return SliceAction(z=z, verdict=verdict, action=action, evidence=verdicts[slot].evidence, shown_slot=slot)


def _with_override(own: SliceAction, overrides: Sequence[Override]) -> SliceAction:
    action = own.action
    for override in overrides:
        if override.keep and own.verdict == "missing":
            raise UserError(
                f"a slice that the overrides keep must be there; got slice {override.z}, which is missing. "
                "Remove that line."
            )
        if override.keep:
            action = "keep"
        elif override.skip or override.replace is not None:
            action = "replace"
    return replace(own, action=action, override="; ".join(override_text(o) for o in overrides))


def _check_runs(config: RunConfig, actions: Sequence[SliceAction], decided: _Decided) -> None:
    """Refuse a long run of slices that are replaced and that nobody has decided on."""
    if config.allow_gaps:
        return
    run: list[SliceAction] = []
    for each in (*actions, None):
        if each is not None and each.action == "replace" and each.z not in decided:
            run.append(each)
        elif len(run) > config.max_replaced:
            raise UserError(_long_run(config, run))
        else:
            run = []


def _long_run(config: RunConfig, run: Sequence[SliceAction]) -> str:
    named = listed([f"{a.z} {a.verdict}" for a in run], _SHOWN, rest=", ...")
    return (
        f"slices in a row that are replaced must be {config.max_replaced} at most; got {len(run)} "
        f"({run[0].z}-{run[-1].z}: {named}) in {config.source}. Look at these slices; then raise "
        "max_replaced, add --set allow_gaps=true, or decide on them in the overrides, one line each such as "
        f"{{z: {run[0].z}, keep: true}} or {{z: {run[0].z}, replace: blank}}."
    )


def _with_source(
    config: RunConfig,
    own: SliceAction,
    overrides: Sequence[Override],
    sources: _Sources,
    slot_of: Mapping[int, int],
    actions: Mapping[int, SliceAction],
) -> SliceAction:
    """The action with the slots of the slices that are shown."""
    z = own.z
    if own.action != "replace":
        return own
    wanted: Replacement | int = config.replace_with
    for override in overrides:
        wanted = wanted if override.replace is None else override.replace
    if isinstance(wanted, int):
        if wanted not in slot_of or actions[wanted].action not in ("keep", "invert"):
            raise UserError(
                f"the slice that replaces another must be shown itself; got slice {wanted} in place of {z} "
                "in the overrides. Name another slice, or keep that one."
            )
        return replace(own, shown_slot=slot_of[wanted], is_replaced=True)
    if wanted == "blank":
        slot = sources.nearest(z) if own.shown_slot == _NO_SLOT else own.shown_slot
        return replace(own, action="blank", shown_slot=slot)
    previous, following = sources.previous(z), sources.next(z)
    if wanted == "blend" and previous is not None and following is not None:
        return replace(own, action="blend", shown_slot=previous, blended_slot=following, is_replaced=True)
    one_sided = {"previous": previous, "next": following}.get(wanted)
    slot = sources.nearest(z) if one_sided is None else one_sided
    return replace(own, shown_slot=slot, is_replaced=True)
