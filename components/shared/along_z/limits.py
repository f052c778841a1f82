"""The numbers that decide on places along z, each with its reason (docs/decisions/0025-*.md has the table).

"Planted steps" are planes along the image axes of an isotropic volume, of which random steps of 1, 2 and 3
planes are kept (25, 50, 25%), and "an even axis" is the same with every plane kept: `benchmarks/exact_axes`.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.shared.limits import limit

_BENCHMARK = "benchmarks/exact_axes, cases steps and even"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLimits:
    """Limits of turning correlations into places along z."""

    reach: int = limit(
        8,
        unit="slices",
        why="pairs further apart tell how alike tissue is across lost material; near ones place the slices",
        measured_on=_BENCHMARK,
        too_small="a gap of several slices has nothing to be compared with",
        too_large="time: each distance takes as long as the first",
    )
    fewest_slices: int = limit(
        24,
        unit="slices",
        why="the curve of likeness over distance is a mean over the stack; a local mean spans some 20 slices",
        measured_on="not measured; chosen: twice the window of the local mean",
        too_small="a few slices tell a curve of their own noise",
        too_large="short stacks are told nothing",
    )
    least_correlation: float = limit(
        0.3,
        unit="median correlation of neighbours",
        why="below it tissue changes so much from slice to slice that likeness tells no distance",
        measured_on="published serial sections of 45 to 50 nm: 0.1 to 0.3",
        too_small="serial sections get thicknesses that are noise",
        too_large="coarse FIB-SEM stacks are told nothing",
    )
    least_fall: float = limit(
        0.02,
        unit="fall of the correlation from the nearest to the farthest distance",
        why="where likeness hardly falls with distance, noise alone places the slices",
        measured_on="not measured; chosen: far above the noise of a correlation of 512 x 512 px",
        too_small="a stack of one picture is told thicknesses",
        too_large="stacks of very thin slices are told nothing",
    )
    lowest: float = limit(
        0.05,
        unit="correlation",
        why="pairs below it are alike by chance only",
        measured_on="unrelated pictures stay within +-0.06 where shading is taken away",
        too_small="logarithms of noise",
        too_large="far pairs, which tell gaps, are lost",
    )
    knot_spacing: float = limit(
        0.5,
        unit="slices between the knots of the curve",
        why="the curve bends within a slice or two",
        measured_on="not measured; chosen",
        too_small="knots that no pair reaches",
        too_large="a curve of straight lines misplaces thin slices",
    )
    curve_smoothing: float = limit(
        1e-3,
        unit="weight of squared second differences, as a share of all pairs",
        why="knots between whole distances take their value from those beside them",
        measured_on="not measured; chosen: too little to bend what pairs tell",
        too_small="knots without a pair have no value",
        too_large="the curve is a straight line",
    )
    falloff: float = limit(
        6.0,
        unit="power of the distance by which the weight of a pair's wish falls",
        why="the error of a wish grows with the distance, and far pairs err together, as their tissue does",
        measured_on=f"{_BENCHMARK}: 2 has 0.24, 0.13, 0.21 (z, y, x), 4 0.16, 0.10, 0.12, 6 0.15, 0.10, 0.11",
        too_small="tissue that changes fast or slowly is taken for thickness",
        too_large="one pair decides on each step, and its noise with it",
    )
    rounds: int = limit(
        40,
        unit="rounds",
        why="curve and places are found in turn; the last rounds change nothing that is written",
        measured_on="planted steps: 20, 60 and 200 rounds differ by less than 0.01 of a step",
        too_small="places have not settled",
        too_large="time alone",
    )
    joint_rounds: int = limit(
        12,
        unit="rounds",
        why="places and qualities are found together, on the curve of the first rounds",
        measured_on="planted steps: 10 and 30 rounds give the same",
        too_small="qualities have not settled",
        too_large="time alone",
    )
    share_of_wish: float = limit(
        0.6,
        unit="share of what is asked for",
        why="curve and places would overshoot in turn",
        measured_on="Hanslovsky et al. 2017; not measured here",
        too_small="more rounds",
        too_large="rounds that swing",
    )
    least_step: float = limit(
        0.05,
        unit="slices",
        why="slices keep their order",
        measured_on="chosen: a twentieth of a slice is nothing that a microscope cuts",
        too_small="slices may change places for noise",
        too_large="slices cut twice at the same place are pulled apart",
    )
    local_sigma: float = limit(
        6.0,
        unit="slices, sigma of the local mean that steps are divided by",
        why="tissue changes its likeness over distance slowly along z; without this an even axis drifts by "
        "ten slices in five hundred",
        measured_on=f"{_BENCHMARK}; 12 is worse along every axis",
        too_small="true changes of several slices are taken away",
        too_large="tissue is taken for thickness",
    )
    drift_sigma: float = limit(
        48.0,
        unit="slices, sigma of a second local mean that steps are divided by",
        why="steps over their local mean are 1 in the mean but for a hundredth, and places would drift",
        measured_on="planted steps 1:2:3: 125 slices end 1.2 too far without it, 0.1 with it",
        too_small="true changes of several slices are taken away: three divisions by sigma 6 cost 0.02 of a "
        "step",
        too_large="a stack of 13,696 slices ends some slices too far or too near",
    )
    gap_ratio: float = limit(
        2.5,
        unit="steps, against the local median",
        why="a gap has no say in the local mean; steps of 3 among steps of 2 do",
        measured_on="a gap of six steps made the steps around it 0.75 of what they were",
        too_small="thick slices are left out of the mean",
        too_large="a gap thins the slices around it",
    )
    weight_of_first: float = limit(
        1e3,
        unit="weight of the first slice's place",
        why="distances alone leave the place of the whole stack open",
        measured_on="not measured; chosen: as much as a thousand pairs, far from round-off",
        too_small="the equations have no solution",
        too_large="round-off",
    )
    least_quality_sigma: float = limit(
        1e-3,
        unit="log of the correlation",
        why="the least scatter of qualities that is assumed",
        measured_on="not measured; chosen: slices of one exposure",
        too_small="the solve divides by nothing",
        too_large="even stacks lose to qualities what is thickness",
    )
    digits: int = limit(
        3,
        unit="digits after the point of a place",
        why="a hundredth of what the estimate can tell",
        measured_on="derived: 1-sigma is 0.05 to 0.2 of a slice",
        too_small="steps are rounded",
        too_large="the bytes of thickness.json depend on the processor",
    )


PLACES = PlaceLimits()
