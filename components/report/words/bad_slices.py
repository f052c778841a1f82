"""Slices that are not good, or not shown as they are: how many, and how to decide otherwise."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from components.report.gather import RunEvidence
from components.shared.documents.config import RunConfig
from components.shared.documents.slices import SliceRow
from components.shared.text import listed

_NAMED = 5
"""Slices that a sentence names."""
_MOST_DECISIONS = 5
"""Slices for which the way on proposes a decision, and which have a card for it."""
MOST_CARDS = 40
"""Most slices that the page shows on a card; the table lists all."""
_MOST_BREAKS = 6
"""Most breaks of which the page shows both sides."""
_DECISIONS = "decisions.yaml"
"""File that the proposed decisions are written to, of a run without overrides."""
_OUTCOMES = {
    "replace": "replaced by a neighbour",
    "blend": "replaced by a blend",
    "blank": "left black",
    "invert": "turned round",
    "keep": "kept",
}


def bad_slices(rows: Sequence[SliceRow]) -> list[SliceRow]:
    """Slices that are not good, or that an override does not show, z ascending."""
    return [row for row in rows if not row.is_ordinary]


def bad_slices_sentence(rows: Sequence[SliceRow]) -> str:
    """The sentence that counts the slices that are not good, by kind and by outcome; empty without any."""
    bad = bad_slices(rows)
    if not bad:
        return ""
    kinds = Counter(row.verdict for row in bad if row.verdict != "good")
    decided = sum(row.verdict == "good" for row in bad)
    found = [f"{n} {kind}" for kind, n in kinds.most_common()]
    found += [f"{decided} good by decision"] * bool(decided)
    done = []
    for action, outcome in _OUTCOMES.items():
        of_action = [row for row in bad if row.action == action]
        if of_action:
            named = listed([_number_and_source(row) for row in of_action], _NAMED, rest=", ...")
            done.append(f"{len(of_action)} {outcome} ({named})")
    verb = "stands" if len(bad) == 1 else "stand"
    return f"{len(bad)} of {len(rows):,} slices {verb} out: {', '.join(found)}; {'; '.join(done)}."


def slices_on_cards(evidence: RunEvidence) -> list[int]:
    """The z of the slices that get a card, ascending.

    Those are the slices that stand out and, where the check on thumbnails is not passed, the worst, for
    which the way on proposes decisions.
    """
    preview = evidence.preview
    worst = preview.worst[:_MOST_DECISIONS] if preview is not None and preview.gate.failures else ()
    found = dict.fromkeys([w.z for w in worst] + [row.z for row in bad_slices(evidence.rows)])
    known = {row.z for row in evidence.rows}
    return sorted([z for z in found if z in known][:MOST_CARDS])


def breaks_of(evidence: RunEvidence) -> list[tuple[int, int]]:
    """Both sides of each place that kept the slices from being solved for; none where they were."""
    if evidence.transforms is not None or evidence.n_chunks_matched < evidence.n_chunks:
        return []
    return evidence.pairs.breaks([entry.z for entry in evidence.plan.slices])[:_MOST_BREAKS]


def decision_commands(row: SliceRow, config: RunConfig) -> str:
    """The commands that decide otherwise on a slice: they can be pasted as they stand.

    Example:
        >>> from components.shared.documents.slices import known_row
        >>> config = RunConfig(source="in", image="i.%d.png", minz=0, maxz=9, output="my out")
        >>> print(decision_commands(known_row(z=5, verdict="inverted", action="invert"), config))
        echo '- {z: 5, keep: true}  # inverted, turned round' >> decisions.yaml
        fibstack resolve 'my out' --overrides decisions.yaml
    """
    file = config.overrides or _DECISIONS
    resolve = _resolve(config, file)
    if row.override:
        return f"# take the line {row.override} out of {file}, then:\n{resolve}"
    return f"echo {shlex.quote(decision_line(row))} >> {shlex.quote(file)}\n{resolve}"


def _resolve(config: RunConfig, file: str) -> str:
    """The commands that solve anew with the decisions of a file; places that are given are decided on there.

    Example:
        >>> config = RunConfig(source="bse", image="%d.png", minz=0, maxz=9, output="out", placed_as="first")
        >>> print(_resolve(config, "decisions.yaml"))
        fibstack resolve first --overrides decisions.yaml
        fibstack apply first bse out
    """
    resolve = shlex.join(["fibstack", "resolve", config.placed_as or config.output, "--overrides", file])
    if not config.placed_as:
        return resolve
    return f"{resolve}\n{shlex.join(['fibstack', 'apply', config.placed_as, config.source, config.output])}"


def decision_line(row: SliceRow) -> str:
    """The line of an overrides file that undoes or changes what was done with a slice.

    Example:
        >>> from components.shared.documents.slices import known_row
        >>> decision_line(known_row(z=512, verdict="blank", action="replace", replaced_from=511))
        '- {z: 512, keep: true}  # blank, replaced by 511'
    """
    about = f"{row.verdict}, {row.shown}"
    if row.override:
        return f"# - {row.override}  # without this line the slice is judged anew; now {about}"
    if row.verdict == "missing":
        other = "previous" if row.action != "replace" else "blank"
        return f"- {{z: {row.z}, replace: {other}}}  # {about}"
    decision = "skip" if row.action == "keep" else "keep"
    return f"- {{z: {row.z}, {decision}: true}}  # {about}"


def _number_and_source(row: SliceRow) -> str:
    return f"{row.z} by {row.replaced_from}" if row.action == "replace" else str(row.z)


@dataclass(frozen=True, slots=True)
class WayOn:
    """A way out of a check on thumbnails that is not passed: a file to start from, and two commands."""

    decisions: str
    """Text of an overrides file for the worst slices."""
    decide: str
    """Command that solves anew with these decisions."""
    go_on: str
    """Command that writes the volume in spite of the check."""


def way_on(evidence: RunEvidence) -> WayOn | None:
    """The way on where the check on thumbnails is not passed, else None."""
    preview = evidence.preview
    if preview is None or not preview.gate.failures:
        return None
    config = evidence.plan.config
    lines = [f"- {{z: {worst.z}, replace: nearest}}" for worst in preview.worst[:_MOST_DECISIONS]]
    return WayOn(
        decisions="\n".join(lines),
        decide=_resolve(config, _DECISIONS),
        go_on=shlex.join(["fibstack", "resolve", config.output, "--set", "force=true"]),
    )
