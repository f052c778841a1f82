"""The verdict on each slice, with what speaks for it.

saturated   more than half of the pixels at the greatest grey level
blank       nothing but 0, or next to no contrast and no kept pair
duplicate   the same picture as the previous slice, in the same place
inverted    grey levels inverted against most slices
partial     a fifth or more of the picture lacks content, unlike the slices around
defocused   sharpness 5 sigma below the slices around, and its pairs suffer or it is below a half
charged     streaks, contrast or noise 5 sigma above, and its pairs suffer
slip        the solve contradicts all its pairs while its neighbours hold together, or it jumps out and back
step        a jump that lasts: far above the usual step, or nothing joins it to the earlier slices
isolated    no pair at all

What holds:

- The first rule that holds gives the verdict. What a slice shows by itself (saturated, blank, inverted,
  partial) comes before what its place shows (slip, step), since a bad picture is often placed badly too.
- No figure of one slice alone makes it defocused or charged, but for extreme softness: its pairs must suffer
  too.
- A slice is never compared with a fixed grey level, contrast or sharpness, only with the slices around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from components.compose.judge.limits import FIGURES, VERDICTS, VerdictLimits
from components.compose.judge.slice_figures import SliceFigures
from components.shared.documents.transforms import Verdict

_MEDIAN_OF_RAYLEIGH = 1.177
"""Median of the length of a vector whose two components are normal with standard deviation 1: sqrt(2 ln
2)."""


@dataclass(frozen=True, slots=True)
class SliceVerdict:
    """The verdict on one slice."""

    verdict: Verdict
    evidence: str = ""
    """Reason of the verdict, in a few words with figures; empty for a good slice."""


def classify(figures: SliceFigures, limits: VerdictLimits = VERDICTS) -> list[SliceVerdict]:
    """The verdict on every slot."""
    rules = _Rules(figures, limits)
    return [rules.verdict(slot) for slot in range(len(figures.statistics))]


class _Rules:
    """The rules on the figures of one stack: each gives the evidence for its verdict, or nothing."""

    def __init__(self, figures: SliceFigures, limits: VerdictLimits) -> None:
        self._figures, self._limits = figures, limits
        self._usual_px = _usual_step_px(figures)
        self._slips = self._all_slips()
        held = np.where(figures.isolated, -1, np.arange(len(figures.isolated)))
        self._held_before = [-1, *np.maximum.accumulate(held).tolist()]
        """The last slot before each that is held; -1 where there is none."""

    def verdict(self, slot: int) -> SliceVerdict:
        """The verdict of the first rule that holds."""
        rules: tuple[tuple[Verdict, Callable[[int], str]], ...] = (
            ("saturated", self._saturated),
            ("blank", self._blank),
            ("duplicate", self._duplicate),
            ("inverted", self._inverted),
            ("partial", self._partial),
            ("defocused", self._defocused),
            ("charged", self._charged),
            ("slip", self._slip),
            ("step", self._step),
            ("isolated", self._isolated),
        )
        found = ((verdict, rule(slot)) for verdict, rule in rules)
        return next((SliceVerdict(v, evidence) for v, evidence in found if evidence), SliceVerdict("good"))

    def _saturated(self, i: int) -> str:
        part = self._figures.statistics[i].saturated_fraction
        limit = self._limits.saturated
        return f"{part:.0%} of the pixels are saturated (limit {limit:.0%})" if part > limit else ""

    def _blank(self, i: int) -> str:
        figures, limits = self._figures, self._limits
        own = figures.statistics[i]
        if own.zero_fraction > 1 - limits.empty or own.std == 0 or own.content_fraction < limits.empty:
            zeros = f"{own.zero_fraction:.0%} zeros (limit {1 - limits.empty:.0%})"
            return f"no content: standard deviation {own.std:.1f} grey levels, {zeros}"
        part = math.exp(min(figures.log_std.size[i], figures.log_contrast.size[i]))
        if part < limits.empty or (part < limits.faint and figures.n_kept[i] == 0):
            limit = f"limit {limits.empty if part < limits.empty else limits.faint:.0%}"
            return f"contrast {part:.0%} of that of the slices around ({limit}); {self._kept(i)}"
        return ""

    def _duplicate(self, i: int) -> str:
        figures = self._figures
        if not figures.copied[i]:
            return ""
        difference, ncc = figures.recorded_difference[i], figures.recorded_ncc[i]
        told = (
            f"they differ by {difference:.1%} of their contrast (limit {FIGURES.copy_difference:.0%})"
            if difference < FIGURES.copy_difference
            else f"NCC {ncc:.4f} (limit {FIGURES.copy_ncc})"
        )
        return f"the same picture in the same place as the slice before: {told}"

    def _inverted(self, i: int) -> str:
        if not self._figures.inverted[i]:
            return ""
        return f"grey levels turned round against the slices around; {self._kept(i)}"

    def _partial(self, i: int) -> str:
        figures, limits = self._figures, self._limits
        content = figures.content
        if content.size[i] < -limits.lost_part and content.sigmas[i] < -limits.notable_sigmas:
            lost = (
                f"{-content.size[i]:.0%} of the picture has lost its content (limit {limits.lost_part:.0%})"
            )
            return f"{lost}, {self._sigmas(-content.sigmas[i])}; {self._kept(i)}"
        for name, dead in (("0", figures.zero), ("saturated", figures.saturated)):
            if dead.size[i] > limits.lost_part:
                more = f"{dead.size[i]:.0%} more of the picture is {name} than around"
                return f"{more} (limit {limits.lost_part:.0%}); {self._kept(i)}"
        return ""

    def _defocused(self, i: int) -> str:
        limits, sharpness = self._limits, self._figures.log_sharpness
        part, sigmas = math.exp(sharpness.size[i]), sharpness.sigmas[i]
        if sigmas > -limits.notable_sigmas or part > limits.soft:
            return ""
        suffers = self._suffers(i)
        if part > limits.very_soft and not suffers:
            return ""
        below = f"sharpness {self._sigmas(-sigmas)} below the slices around"
        limit = f"limit {limits.soft if suffers else limits.very_soft:.0%}"
        return f"{below}, {part:.0%} of theirs ({limit}); {self._kept(i)}"

    def _charged(self, i: int) -> str:
        figures, limits = self._figures, self._limits
        if not self._suffers(i):
            return ""
        streaks = figures.streaks
        if streaks.sigmas[i] > limits.notable_sigmas and streaks.size[i] > limits.streaked:
            above = f"streaks along x {self._sigmas(streaks.sigmas[i])} above the slices around"
            return f"{above}; {self._agreement(i)}"
        for name, loud in (("contrast", figures.log_std), ("noise", figures.log_noise)):
            if loud.sigmas[i] > limits.notable_sigmas and math.exp(loud.size[i]) > limits.loud:
                above = f"{name} {self._sigmas(loud.sigmas[i])} above the slices around"
                return f"{above}; {self._agreement(i)}"
        return ""

    def _slip(self, i: int) -> str:
        return self._slips.get(i, "")

    def _step(self, i: int) -> str:
        figures, limits = self._figures, self._limits
        earlier = self._held_before[i]
        if figures.isolated[i] or earlier < 0:
            return ""
        if figures.cut_before[i]:
            return "no pair joins it to the slices before: its offset is unknown"
        if earlier in self._slips:
            return ""
        size_px = math.hypot(*figures.steps_xy[i])
        least_px = limits.least_step_side * figures.longest_side_px
        limit_px = max(limits.step_steps * self._usual_px, least_px)
        if size_px > limit_px:
            jump = f"jumps by {size_px:.1f} px (limit {limit_px:.1f} px) and stays there"
            return f"{jump}; the usual step is {self._usual_px:.1f} px"
        return ""

    def _isolated(self, i: int) -> str:
        # A skipped slice is isolated too, but has pairs to hold it.
        alone = self._figures.isolated[i] and self._figures.n_kept[i] == 0
        why = f": {self._figures.refusal[i]}" if self._figures.refusal[i] else ""
        return f"no pair holds it; {self._kept(i)}{why}" if alone else ""

    def _suffers(self, i: int) -> bool:
        """True where half of a slot's pairs fail, or its neighbours agree better with each other."""
        figures = self._figures
        bridged = figures.bridge_ncc[i] - figures.ncc[i] > self._limits.worse_than_bridge
        return bool(bridged or 0 < figures.n_pairs[i] >= 2 * figures.n_kept[i])

    def _all_slips(self) -> dict[int, str]:
        """The evidence of every slip, by slot."""
        figures, limits = self._figures, self._limits
        contradicted = (figures.n_accepted > 0) & (figures.n_kept == 0) & (figures.bridge_ncc > 0)
        found = {}
        for i in np.flatnonzero(contradicted).tolist():
            accepted = f"all its {figures.n_accepted[i]} accepted pairs"
            found[i] = f"{accepted} contradict the slices around, which hold together"
        held = np.flatnonzero(~figures.isolated)
        for i, following in pairwise(held[1:].tolist()):
            out, back = figures.steps_xy[i], figures.steps_xy[following]
            least_px = min(math.hypot(*out), math.hypot(*back))
            returns = math.hypot(*(out + back)) < limits.return_part * least_px
            limit_px = limits.slip_steps * self._usual_px
            if least_px > limit_px and returns:
                off = f"lies {least_px:.1f} px off its neighbours (limit {limit_px:.1f} px), moved back"
                found[i] = f"{off}; {self._kept(i)}"
        return found

    def _sigmas(self, sigmas: float) -> str:
        return f"{sigmas:.0f} sigma (limit {self._limits.notable_sigmas:.0f})"

    def _kept(self, i: int) -> str:
        return f"{self._figures.n_kept[i]} of {self._figures.n_pairs[i]} pairs kept"

    def _agreement(self, i: int) -> str:
        ncc, bridge_ncc = self._figures.ncc[i], self._figures.bridge_ncc[i]
        if np.isnan(bridge_ncc) or np.isnan(ncc):
            return self._kept(i)
        return f"NCC {ncc:.2f} with its neighbours, {bridge_ncc:.2f} between these"


def _usual_step_px(figures: SliceFigures) -> float:
    """Standard deviation of a step along an axis, from the median length of a step; at least 1 px."""
    sizes = np.linalg.norm(figures.steps_xy[1:][~figures.isolated[1:]], axis=1)
    return max(1.0, float(np.median(sizes)) / _MEDIAN_OF_RAYLEIGH) if len(sizes) else 1.0
