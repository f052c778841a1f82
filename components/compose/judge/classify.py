"""The verdict on each slice, with what speaks for it.

saturated   more than half of the pixels at the greatest grey level
blank       nothing but 0, or next to no contrast and no believed pair
duplicate   the same picture as the slice before, in the same place
inverted    grey levels turned round against most slices
partial     a fifth or more of the picture lacks content, unlike the slices before and behind
defocused   sharpness 5 sigma below the slices around, and its pairs suffer or it is below a half
charged     streaks, contrast or noise 5 sigma above, and its pairs suffer
slip        the solve contradicts all its pairs while its neighbours hold together, or it jumps out and back
step        a jump that lasts: far above the usual step, or nothing joins it to the slices before
isolated    no pair at all

The first rule that holds gives the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from components.compose.judge.figures import Signs
from components.shared.documents.transforms import Verdict

NOTABLE_SIGMAS = 5.0
SATURATED = 0.5
EMPTY = 0.02
"""Content, or contrast against the slices around, below which there is no picture."""
FAINT = 0.25
"""The same for a slice that no pair holds."""
DEAD_PART = 0.2
SOFT, VERY_SOFT = 0.7, 0.5
"""Sharpness against the slices around."""
LOUD = 1.15
"""Contrast or noise against the slices around."""
STREAKED = 0.05
WORSE_THAN_BRIDGE = 0.03
"""Good neighbours correlate better than slices two apart; a slice that lacks this much is poor."""
SLIP_STEPS, STEP_STEPS = 8.0, 20.0
"""Jumps in units of the usual step."""
RETURN_PART = 0.3
"""A slip comes back to within this part of its jump."""
LEAST_STEP_SIDE = 0.02
"""Least size of a reported step, of the longest side."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is found out about one slot."""

    verdict: Verdict
    evidence: str = ""


def classify(signs: Signs) -> list[Finding]:
    """The verdict on every slot."""
    usual_px = _usual_step_px(signs)
    slips = _slips(signs, usual_px)
    rules: dict[Verdict, Callable[[int], str]] = {
        "saturated": lambda i: _saturated(signs, i),
        "blank": lambda i: _blank(signs, i),
        "duplicate": lambda i: _duplicate(signs, i),
        "inverted": lambda i: _inverted(signs, i),
        "partial": lambda i: _partial(signs, i),
        "defocused": lambda i: _defocused(signs, i),
        "charged": lambda i: _charged(signs, i),
        "slip": lambda i: slips.get(i, ""),
        "step": lambda i: _step(signs, i, usual_px, slips),
        "isolated": lambda i: _isolated(signs, i),
    }
    return [_first(rules, slot) for slot in range(len(signs.statistics))]


def _first(rules: dict[Verdict, Callable[[int], str]], slot: int) -> Finding:
    for verdict, rule in rules.items():
        evidence = rule(slot)
        if evidence:
            return Finding(verdict, evidence)
    return Finding("good")


def _saturated(signs: Signs, i: int) -> str:
    part = signs.statistics[i].saturated_fraction
    return f"{part:.0%} of the pixels are saturated" if part > SATURATED else ""


def _blank(signs: Signs, i: int) -> str:
    own = signs.statistics[i]
    if own.zero_fraction > 1 - EMPTY or own.std == 0 or own.content_fraction < EMPTY:
        return f"no content: standard deviation {own.std:.1f} grey levels, {own.zero_fraction:.0%} zeros"
    part = math.exp(min(signs.log_std.size[i], signs.log_contrast.size[i]))
    if part < EMPTY or (part < FAINT and signs.n_kept[i] == 0):
        return f"contrast {part:.0%} of that of the slices around; {_kept(signs, i)}"
    return ""


def _duplicate(signs: Signs, i: int) -> str:
    return "the same picture in the same place as the slice before" if signs.copied[i] else ""


def _inverted(signs: Signs, i: int) -> str:
    if not signs.inverted[i]:
        return ""
    return f"grey levels turned round against the slices around; {_kept(signs, i)}"


def _partial(signs: Signs, i: int) -> str:
    content = signs.content
    if content.size[i] < -DEAD_PART and content.sigmas[i] < -NOTABLE_SIGMAS:
        lost = f"{-content.size[i]:.0%} of the picture has lost its content"
        return f"{lost}, {-content.sigmas[i]:.0f} sigma; {_kept(signs, i)}"
    for name, dead in (("0", signs.zero), ("saturated", signs.saturated)):
        if dead.size[i] > DEAD_PART:
            return f"{dead.size[i]:.0%} more of the picture is {name} than around; {_kept(signs, i)}"
    return ""


def _defocused(signs: Signs, i: int) -> str:
    part, sigmas = math.exp(signs.log_sharpness.size[i]), signs.log_sharpness.sigmas[i]
    if sigmas > -NOTABLE_SIGMAS or part > SOFT:
        return ""
    if part > VERY_SOFT and not _suffers(signs, i):
        return ""
    return f"sharpness {-sigmas:.0f} sigma below the slices around, {part:.0%} of theirs; {_kept(signs, i)}"


def _charged(signs: Signs, i: int) -> str:
    if not _suffers(signs, i):
        return ""
    if signs.streaks.sigmas[i] > NOTABLE_SIGMAS and signs.streaks.size[i] > STREAKED:
        sigmas = signs.streaks.sigmas[i]
        return f"streaks along x {sigmas:.0f} sigma above the slices around; {_agreement(signs, i)}"
    for name, loud in (("contrast", signs.log_std), ("noise", signs.log_noise)):
        if loud.sigmas[i] > NOTABLE_SIGMAS and math.exp(loud.size[i]) > LOUD:
            return f"{name} {loud.sigmas[i]:.0f} sigma above the slices around; {_agreement(signs, i)}"
    return ""


def _isolated(signs: Signs, i: int) -> str:
    # A skipped slice has pairs to hold it.
    return f"no pair holds it; {_kept(signs, i)}" if signs.isolated[i] and signs.n_kept[i] == 0 else ""


def _suffers(signs: Signs, i: int) -> bool:
    """Whether a slice agrees less with its neighbours than these with each other, or half its pairs fail."""
    bridged = signs.bridge_ncc[i] - signs.ncc[i] > WORSE_THAN_BRIDGE
    return bool(bridged or 0 < signs.n_pairs[i] >= 2 * signs.n_kept[i])


def _slips(signs: Signs, usual_px: float) -> dict[int, str]:
    """The evidence of every slip, by slot."""
    contradicted = (signs.n_accepted > 0) & (signs.n_kept == 0) & (signs.bridge_ncc > 0)
    found = {
        int(
            i
        ): f"all its {signs.n_accepted[i]} accepted pairs contradict the slices around, which hold together"
        for i in np.flatnonzero(contradicted)
    }
    held = np.flatnonzero(~signs.isolated)
    for i, behind in pairwise(held[1:].tolist()):
        out, back = signs.steps_xy[i], signs.steps_xy[behind]
        least = min(math.hypot(*out), math.hypot(*back))
        if least > SLIP_STEPS * usual_px and math.hypot(*(out + back)) < RETURN_PART * least:
            found[i] = f"lies {least:.1f} px off its neighbours, moved back; {_kept(signs, i)}"
    return found


def _step(signs: Signs, i: int, usual_px: float, slips: dict[int, str]) -> str:
    before = np.flatnonzero(~signs.isolated[:i])
    if signs.isolated[i] or not len(before):
        return ""
    if signs.cut_before[i]:
        return "no pair joins it to the slices before: its offset is unknown"
    if int(before[-1]) in slips:
        return ""
    size = math.hypot(*signs.steps_xy[i])
    if size > max(STEP_STEPS * usual_px, LEAST_STEP_SIDE * signs.longest_side_px):
        return f"jumps by {size:.1f} px and stays there; the usual step is {usual_px:.1f} px"
    return ""


def _usual_step_px(signs: Signs) -> float:
    """Standard deviation of a step along an axis, at least 1 px."""
    sizes = np.linalg.norm(signs.steps_xy[1:][~signs.isolated[1:]], axis=1)
    # The median of a Rayleigh distribution is 1.177 sigma.
    return max(1.0, float(np.median(sizes)) / 1.177) if len(sizes) else 1.0


def _kept(signs: Signs, i: int) -> str:
    return f"{signs.n_kept[i]} of {signs.n_pairs[i]} pairs kept"


def _agreement(signs: Signs, i: int) -> str:
    if np.isnan(signs.bridge_ncc[i]) or np.isnan(signs.ncc[i]):
        return _kept(signs, i)
    return f"NCC {signs.ncc[i]:.2f} with its neighbours, {signs.bridge_ncc[i]:.2f} between these"
