"""What becomes of each z: shown, turned round, or replaced by others. A person's decisions come first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import yaml

from components.compose.judge.classify import Finding
from components.compose.solve.pairs import Integers
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Override, Replacement
from components.shared.documents.transforms import Action, Verdict
from components.shared.errors import UserError
from components.shared.text import listed

_KEPT: Collection[Verdict] = ("good", "duplicate", "step")
"""Shown as they are by default. So is a slip that pairs hold: the alignment has moved it back."""
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One z of the volume."""

    z: int
    verdict: Verdict
    action: Action
    evidence: str = ""
    override: str = ""
    shown_slot: int
    """Slot whose matrix counts: its own, or that of the slice that stands in."""
    blended_slot: int | None = None
    is_replaced: bool = False
    """Whether `shown_slot` is another slice than its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """The slots that may stand in for others."""

    z: Integers
    slots: Integers

    def before(self, z: int) -> int | None:
        index = int(np.searchsorted(self.z, z)) - 1
        return int(self.slots[index]) if index >= 0 else None

    def behind(self, z: int) -> int | None:
        index = int(np.searchsorted(self.z, z, side="right"))
        return int(self.slots[index]) if index < len(self.slots) else None

    def nearest(self, z: int) -> int:
        """The nearest one, the lower one at a tie."""
        return int(self.slots[int(np.argmin(np.abs(self.z - z)))])


def judge(
    config: RunConfig,
    z: Integers,
    findings: Sequence[Finding],
    held: Mapping[int, bool],
    overrides: Sequence[Override],
) -> list[Judgement]:
    """One judgement for each z of the run.

    A run of slices that are replaced for their verdicts may be `max_replaced` long. With `allow_gaps` there
    is no limit, for missing slices there is none: each shows what `replace_with` asks for.

    Args:
        config: Settings of the run.
        z: `[n]` z of each slot.
        findings: `[n]`.
        held: Whether pairs hold each slot.
        overrides: The decisions of a person.

    Raises:
        UserError: too many slices in a row would be replaced, or an override cannot be followed.
    """
    slot_of = {number: slot for slot, number in enumerate(z.tolist())}
    decided = _decisions(overrides)
    own: dict[int, Judgement] = {}
    for each in range(config.minz, config.maxz + 1):
        slot = slot_of.get(each)
        if slot is None:
            own[each] = Judgement(
                z=each, verdict="missing", action="replace", evidence="no file", shown_slot=-1
            )
        else:
            found = findings[slot]
            action = _default_action(found.verdict, held[slot])
            own[each] = Judgement(
                z=each, verdict=found.verdict, action=action, evidence=found.evidence, shown_slot=slot
            )
    if all(j.action == "replace" for j in own.values()):
        # Nothing is better than these.
        own = {n: replace(j, action="keep") if n in slot_of else j for n, j in own.items()}
    own = {n: _with_override(j, decided.get(n, ())) for n, j in own.items()}
    _check_runs(config, list(own.values()), decided)
    shown = [j.z for j in own.values() if j.action == "keep"] or [
        j.z for j in own.values() if j.action == "invert"
    ]
    if not shown:
        raise UserError(
            "a volume must have a slice to show; got overrides that leave none. Change the overrides."
        )
    sources = _Sources(z=np.array(shown), slots=np.array([slot_of[n] for n in shown]))
    return [_shown(config, j, decided.get(j.z, ()), sources, slot_of, own) for j in own.values()]


def override_text(override: Override) -> str:
    """An override as a line of its file has it.

    Example:
        >>> override_text(Override(z=512, replace="previous"))
        '{z: 512, replace: previous}'
    """
    values = override.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=10_000)
    return text.strip()


def _decisions(overrides: Sequence[Override]) -> dict[int, tuple[Override, ...]]:
    decided: dict[int, tuple[Override, ...]] = {}
    for override in overrides:
        decided[override.z] = (*decided.get(override.z, ()), override)
    return decided


def _default_action(verdict: Verdict, is_held: bool) -> Action:
    if verdict in _KEPT or (verdict == "slip" and is_held):
        return "keep"
    return "invert" if verdict == "inverted" and is_held else "replace"


def _with_override(judgement: Judgement, overrides: Sequence[Override]) -> Judgement:
    action = judgement.action
    for override in overrides:
        if override.keep and judgement.verdict == "missing":
            raise UserError(
                f"a slice that the overrides keep must be there; got slice {override.z}, which is missing. "
                "Remove that line."
            )
        if override.keep:
            action = "keep"
        elif override.skip or override.replace is not None:
            action = "replace"
    return replace(judgement, action=action, override="; ".join(override_text(o) for o in overrides))


def _check_runs(
    config: RunConfig, judgements: Sequence[Judgement], decided: Mapping[int, tuple[Override, ...]]
) -> None:
    """Refuse a long run of slices that nobody has decided on."""
    if config.allow_gaps:
        return
    run: list[Judgement] = []
    for judgement in judgements:
        if judgement.action != "replace" or judgement.z in decided:
            run = []
            continue
        run.append(judgement)
        if len(run) > config.max_replaced:
            first = judgements[run[0].z - judgements[0].z :]
            raise UserError(_long_run(config, _leading(first, decided)))


def _leading(judgements: Sequence[Judgement], decided: Mapping[int, tuple[Override, ...]]) -> list[Judgement]:
    """The replaced slices that a list begins with."""
    n = next(
        (i for i, j in enumerate(judgements) if j.action != "replace" or j.z in decided), len(judgements)
    )
    return list(judgements[:n])


def _long_run(config: RunConfig, run: Sequence[Judgement]) -> str:
    named = listed([f"{j.z} {j.verdict}" for j in run], _MOST_NAMED, rest=", ...")
    return (
        f"slices in a row that are replaced must be {config.max_replaced} at most; got {len(run)} "
        f"({run[0].z}-{run[-1].z}: {named}) in {config.source}. Look at these slices; then raise "
        "max_replaced, set allow_gaps: true, or decide on them in the overrides, one line each such as "
        f"{{z: {run[0].z}, keep: true}} or {{z: {run[0].z}, replace: blank}}."
    )


def _shown(
    config: RunConfig,
    judgement: Judgement,
    overrides: Sequence[Override],
    sources: _Sources,
    slot_of: Mapping[int, int],
    own: Mapping[int, Judgement],
) -> Judgement:
    """The judgement with the slots that are shown."""
    z = judgement.z
    if judgement.action != "replace":
        return judgement
    wanted: Replacement | int = config.replace_with
    for override in overrides:
        wanted = wanted if override.replace is None else override.replace
    if isinstance(wanted, int):
        if wanted not in slot_of or own[wanted].action not in ("keep", "invert"):
            raise UserError(
                f"the slice that replaces another must be shown itself; got slice {wanted} in place of {z} "
                "in the overrides. Name another slice, or keep that one."
            )
        return replace(judgement, shown_slot=slot_of[wanted], is_replaced=True)
    if wanted == "blank":
        slot = judgement.shown_slot if judgement.shown_slot >= 0 else sources.nearest(z)
        return replace(judgement, action="blank", shown_slot=slot)
    before, behind = sources.before(z), sources.behind(z)
    if wanted == "blend" and before is not None and behind is not None:
        return replace(judgement, action="blend", shown_slot=before, blended_slot=behind, is_replaced=True)
    one_sided = {"previous": before, "next": behind}.get(wanted)
    slot = sources.nearest(z) if one_sided is None else one_sided
    return replace(judgement, shown_slot=slot, is_replaced=True)
