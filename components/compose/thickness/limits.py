"""The numbers that decide on places along z, each with its reason (docs/decisions/0025-*.md has the table).

"Planted steps" are planes along the image axes of an isotropic volume, of which random steps of 1, 2 and 3
planes are kept (25, 50, 25%), and "an even axis" is the same with every plane kept: `benchmarks/exact_axes`.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.shared.limits import limit

_BENCHMARK = "benchmarks/exact_axes, cases steps and even"


@dataclass(frozen=True, slots=True, kw_only=True)
class LikenessLimits:
    """Limits of comparing slices with those that follow."""

    least_overlap: float = limit(
        0.25,
        unit="share of the smaller picture's area",
        why="tissue of another place has another likeness",
        measured_on="not measured; chosen",
        too_small="a corner speaks for a slice",
        too_large="slices that lie far from each other have no pair",
    )
    levels_per_deviation: float = limit(
        32.0,
        unit="of 256 grey levels for a standard deviation",
        why="bytes are compared several times faster than floats, and their sums are exact",
        measured_on="derived: rounding adds a ten-thousandth of the variance; four deviations fit",
        too_small="rounding counts as noise",
        too_large="bright and dark structures are cut off",
    )
    digits: int = limit(
        6,
        unit="digits after the point of a correlation",
        why="more would depend on the processor",
        measured_on="derived: warped bytes are the same everywhere, their sums exact",
        too_small="fine steps between thick slices are rounded away",
        too_large="the bytes of thickness.json depend on the processor",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLimits:
    """Limits of the steps that are named to a person."""

    gap: float = limit(
        2.0,
        unit="steps",
        why="at least as much material again is lost as a slice has",
        measured_on="planted steps: those of 3 among 2 stay below",
        too_small="thick slices are called lost material",
        too_large="one lost slice is not named",
    )
    thick: float = limit(
        1.5,
        unit="steps",
        why="a slice that is half as thick again",
        measured_on="not measured; chosen",
        too_small="jitter that every microscope has is named",
        too_large="thick slices are not named",
    )
    thin: float = limit(
        0.5,
        unit="steps",
        why="a slice of half the usual thickness",
        measured_on="not measured; chosen",
        too_small="thin slices are not named",
        too_large="jitter that every microscope has is named",
    )
    sigmas: float = limit(
        3.0,
        unit="1-sigma of a step, or standard deviations of the null",
        why="a step is named where it differs from an even one by more than the estimate invents",
        measured_on="an even axis: none is named",
        too_small="chance is named",
        too_large="what is true is not named",
    )


LIKENESS = LikenessLimits()
NAMED = NamedLimits()
