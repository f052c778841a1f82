"""Slices that flicker, and slices with streaks: how many, and what was done about them."""

from __future__ import annotations

import math
import shlex
from statistics import median

from components.report.gather import RunEvidence
from components.shared.pictures.streaks import is_worth_filtering, is_worth_telling
from components.shared.text import count


def flicker_sentence(evidence: RunEvidence) -> str:
    """The sentence on slices that are shown in the grey levels of those around; empty without any."""
    if evidence.transforms is None:
        return ""
    black, white = evidence.transforms.intensity_range
    middle = (black + white) / 2
    lines = [entry.grey_line for entry in evidence.transforms.slices if entry.grey_line is not None]
    if not lines:
        return ""
    changes = [abs(line.shown(middle) - middle) for line in lines]
    slices = count(len(evidence.plan.slices), "slice")
    return (
        f"{len(lines):,} of {slices} flicker and are shown in the grey levels of those around: mid grey "
        f"changes by {median(changes):,.0f} raw levels (median), {max(changes):,.0f} at most."
    )


def streak_sentence(evidence: RunEvidence) -> str:
    """The sentence on streaks that people see and a filter would take away, or has; empty without any."""
    if evidence.transforms is None:
        return ""
    found = [
        (row.streak_gain, row.streak_damage)
        for row in evidence.rows
        if row.streak_gain is not None and row.streak_damage is not None and math.isfinite(row.streak_gain)
    ]
    shown = evidence.transforms.intensity_range
    n_filtered = sum(entry.filtered_streaks is not None for entry in evidence.transforms.slices)
    # What was done is said, however faint.
    worth = [
        pair for pair in found if is_worth_telling(*pair, shown) or (n_filtered and is_worth_filtering(*pair))
    ]
    if not worth:
        return ""
    gain, damage = (median(values) for values in zip(*worth, strict=True))
    resolve = shlex.join(["fibstack", "resolve", evidence.plan.config.output, "--set", "streaks=filter"])
    done = f"filtered in {n_filtered:,}" if n_filtered else f"left as they are; {resolve} filters them"
    return (
        f"Streaks of {gain:,.1f} raw grey levels RMS (median) in {len(worth):,} of "
        f"{count(len(found), 'slice')}, where a filter takes {damage:,.1f} of tissue with them: {done}."
    )
