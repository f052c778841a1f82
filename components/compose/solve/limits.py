"""The numbers that decide in the solve, a frozen object for each stage, each with its reason.

"Planted" are the stacks of `benchmarks/solve/limits.py`, which changes each number by factors of 2 and 10;
the table stands in `benchmarks/solve/README.md`. The prior, its unit and its effect when doubled stand in
`PriorLimits`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from components.shared.limits import limit


@dataclass(frozen=True, slots=True, kw_only=True)
class TieLimits:
    """Limits of ties: the spread expected of a pair beforehand, and which pairs seem to stand still."""

    model_sigma_px: float = limit(
        0.15,
        unit="px at full resolution, for neighbours; grows with the root of the distance",
        why="tissue differs from slice to slice in ways that no transform explains; without it, a pair "
        "with many matches would count as exact",
        measured_on="planted: by half and twice, nothing; ten times, 2.3 px in place of 0.5 below a "
        "curtain. Chosen near the mean error between neighbours of the sample, 0.09 px, and of real "
        "FIB-SEM, 0.22 px (docs/figures.md)",
        too_small="honest pairs miss by more units than they should, and good slices lose their pairs",
        too_large="pairs that are a little wrong are kept",
    )
    still_px: float = limit(
        1.0,
        unit="px at full resolution, RMS over the common area",
        why="a curtain or dirt that stands still makes pairs that say so to a fraction of a px",
        measured_on="planted: nothing changes by a factor of ten either way, since still_share is the "
        "tighter one there; chosen",
        too_small="pairs of a static pattern with some noise get a full vote",
        too_large="pairs of a calm stretch lose their vote at first",
    )
    still_share: float = limit(
        0.1,
        unit="share of the usual motion of a pair",
        why="in a stack that hardly moves, a pair that does not move is nothing special",
        measured_on="planted: nothing changes by half and twice; chosen. "
        "test_a_stack_that_stands_still_is_believed",
        too_small="a static pattern is noticed only in stacks that move much",
        too_large="calm pairs of a calm stack are taken for a static pattern",
    )
    least_common_side: float = limit(
        0.1,
        unit="share of a side",
        why="a pair whose slices hardly overlap binds a strip, from which the rest of the picture swings "
        "freely",
        measured_on="planted: all slices overlap there; beyond, not measured. Chosen",
        too_small="a narrow strip decides on rotation and scale of its slices",
        too_large="slices of different size are bound where they do not overlap",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureLimits:
    """Limits of closures: when and how far they tell the spread of pairs."""

    min_closures: int = limit(
        8,
        unit="closures at a distance",
        why="the median of fewer is chance",
        measured_on="planted: nothing, since 200 slices have hundreds; in short stacks, not measured. "
        "Chosen: the error of a median of 8 is some 45%",
        too_small="short stacks weigh their far pairs by a few accidents",
        too_large="stacks that tell how their far pairs grow are taken for changing tissue, and drift more",
    )
    comparable_sigmas: float = limit(
        3.0,
        unit="usual expected 1-sigma of neighbours, times the root of the distance",
        why="a coarser pair misses by its own error: its closure tells nothing of the chain below it",
        measured_on="serial sections (VNC, walk) with coarse far pairs: 3.8 px where all closures counted, "
        "3.2 with this limit",
        too_small="few closures are left, and far pairs are weighed as they are stated",
        too_large="coarse far pairs make good neighbours count as coarse",
    )
    least_sigma_px: float = limit(
        0.03,
        unit="px at full resolution, for neighbours",
        why="interpolation and rounding leave this much in a pair, however well it closes",
        measured_on="planted: 0.1 px by ten times. Chosen between the 0.016 px that the median of 25 "
        "windows reached in a test and the 0.04 px of one window",
        too_small="pairs that close by accident, as copies do, count as exact",
        too_large="good stacks weigh near and far pairs alike",
    )
    slowest_growth: float = limit(
        0.5,
        unit="exponent of the distance",
        why="independent errors add as variances: a spread grows with the root of the distance at least",
        measured_on="derived; planted: twice makes poor tissue walk 32 px in place of 27, ten times "
        "doubles every error",
        too_small="neighbours are taken for as bad as far pairs",
        too_large="far pairs of a noisy stack are not worth their weight, and it drifts",
    )
    steepest_growth: float = limit(
        2.0,
        unit="exponent of the distance",
        why="changing tissue makes far pairs err with the square of the distance; what grows faster is "
        "taken for wrong pairs, and is not carried on to the neighbours, which nothing closes. Where too few "
        "closures tell, far pairs beside a chain of neighbours are taken to grow so",
        measured_on="planted changing tissue (square of the distance): half makes 2.0 px of 1.2; a steeper "
        "stack is planted in test_growth_beyond_the_steepest_is_not_carried_on_to_neighbours alone. Ten "
        "serial sections (VNC): 3.13 to 3.26 px in place of 3.20 to 3.35; 3.15 to 3.28 with the power 1",
        too_small="far pairs of changing tissue pull good neighbours apart",
        too_large="a few wrong far pairs make neighbours count as exact, and every other pair as nothing",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorLimits:
    """Priors of the solve, as 1-sigma in px: at the corner for linear parts, at the centre for steps.

    A pair's 1-sigma is some 0.15 px, so each of them is far weaker than a pair; they decide where pairs are
    few.
    """

    turn_sigma_px: float = limit(
        1.0,
        unit="px at the corner, second difference along z",
        why="a stage may rotate from slice to slice; robust, so that a true step may be, and never tighter "
        "than the usual bend from pair to pair",
        measured_on="planted: nothing changes by a factor of ten either way, where eight pairs hold each "
        "slice; in sparser ones, not measured. Doubled: a rotation of a single slice costs a quarter",
        too_small="true rotations are smeared over neighbours",
        too_large="noise of the pairs rotates single slices",
    )
    least_turn_step_px: float = limit(
        0.01,
        unit="px at the corner, from a slice to the next",
        why="rotation from slice to slice is expected to be as large as it changes; where it hardly changes, "
        "tissue that winds along z is not taken for a stage that turns",
        measured_on="pairs of benchmarks/exact_axes, planes that never turn: 0.050 px without this prior, "
        "0.047 with it (x: 0.064, 0.057); planes that turn by 0.05 degree: 0.051 and 0.051 (0.065, 0.063)",
        too_small="a stage whose turns change slowly is held to their median, up to turned_px a slice",
        too_large="tissue that winds along z is wound straight",
    )
    turned_px: float = limit(
        0.1,
        unit="px at the corner, from a slice to the next",
        why="a step that differs more from the median is a rotation: a quarter of the pull is left there, or "
        "at three times the usual change where that is more",
        measured_on="benchmarks/exact_axes: tissue winds by up to 0.08 px a slice there",
        too_small="tissue that winds along z is wound straight",
        too_large="a true step of rotation shrinks by some hundredths of a px",
    )
    shape_sigma_px: float = limit(
        0.2,
        unit="px at the corner, second difference along z",
        why="a block of tissue does not stretch from slice to slice; where serial sections do, the usual "
        "bend of their pairs takes this one's place",
        measured_on="planted: 0.1 px by ten times. Doubled: a stretch of a single slice costs a quarter. "
        "test_serial_sections.py",
        too_small="stretched slices are kept from fitting their neighbours",
        too_large="noise of the pairs stretches single slices",
    )
    upright_sigma_px: float = limit(
        3.0 * 1000.0**0.5,
        unit="px at the corner, for each slice",
        why="holds what no pair can tell, the rotation and scale of the whole: 3 px for the mean of 1,000 "
        "slices",
        measured_on="planted step with a rotation: by half 0.1 px more, by a tenth 4.3 px in place of 0.6. "
        "Doubled: the stack's walk of rotation and scale costs a quarter. A simulation of 13,696 slices "
        "ended 5.2 px off at the corners without such a prior, 1.5 px with it",
        too_small="a true slow rotation or growth is taken out by the solve",
        too_large="rotation and scale walk away along a long stack",
    )
    shear_sigma_px: float = limit(
        3.0 * 1000.0**0.5 / 3,
        unit="px at the corner, for each slice",
        why="from a similarity, three times as tight as upright_sigma_px: a rotation is cheaper than a shear",
        measured_on="planted: 0.2 px at most by a factor of ten, a tighter one being better there, where "
        "nothing shears. Doubled: a shear costs a quarter. Chosen",
        too_small="a true slow shear is taken out by the solve",
        too_large="a slow rotation in few pairs comes out as a shear",
    )
    step_sigma_px: float = limit(
        100.0,
        unit="px at the centre, between neighbours",
        why="places only what no pair holds: a slice between its neighbours, a part where the previous one "
        "ends; five orders below a pair's weight",
        measured_on="planted: nothing by half and twice; a tenth shortens the walk of poor tissue. "
        "Doubled: a free slice is placed as before, with a quarter of the force",
        too_small="true steps of tens of px shrink",
        too_large="the position of an unconnected part is lost in round-off",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustLimits:
    """Limits of the robust loss: how wrong pairs are found."""

    still_trust: float = limit(
        0.1,
        unit="share of a vote",
        why="where a static pattern makes all near pairs of a run say that nothing moves, the few far ones "
        "that see the tissue must win. A still pair that agrees with the others ends with full weight",
        measured_on="planted curtain: nothing by a tenth, half and twice; without it (1.0) 14 px in place "
        "of 0.5, and 2 good slices lost",
        too_small="calm slices rest on their far pairs alone",
        too_large="the curtain outvotes the tissue, and its slices stay where they are",
    )
    l1_rounds: int = limit(
        30,
        unit="rounds",
        why="the majority is found before any pair is switched off; starting with the redescending loss "
        "leaves breaks of hundreds of px",
        measured_on="planted: nothing by a factor of ten; started at the redescending loss, a simulation "
        "of 13,696 slices kept breaks of hundreds of px. benchmarks/solve: all 150 bad slices found, 149 "
        "in one seed",
        too_small="bad slices keep some of their neighbours out of place",
        too_large="seconds; a round of 13,696 slices takes 0.1 s",
    )
    l1_core_px: float = limit(
        0.1,
        unit="px at full resolution",
        why="misfits below count as squares, so that weights stay finite; below the usual misfit of a pair",
        measured_on="planted: nothing but 0.1 px in poor tissue by a factor of ten. Chosen below the usual "
        "misfit",
        too_small="a pair that fits by accident outweighs all others",
        too_large="the rounds become least squares, which wrong pairs bend",
    )
    annealed_from: float = limit(
        6.0,
        unit="units of the expected misfit",
        why="the redescending loss begins so wide that no pair near the majority is lost at once",
        measured_on="planted: 0.2 px in poor tissue by a factor of ten, nothing elsewhere. Chosen",
        too_small="good pairs beside bad slices are switched off before these are",
        too_large="wrong pairs bend the stack again",
    )
    annealed_rounds: int = limit(
        12,
        unit="rounds, from annealed_from to 1 in equal ratios",
        why="each is 0.85 of the last, so that the poses follow",
        measured_on="planted: nothing by half and twice; one round leaves 3.2 px below a curtain in place "
        "of 0.5",
        too_small="pairs are switched off before the poses have followed",
        too_large="seconds",
    )
    final_rounds: int = limit(
        3,
        unit="rounds",
        why="with the weights fixed the problem is nearly linear: Gauss-Newton ends in three steps",
        measured_on="planted: nothing changes by a factor of ten either way",
        too_small="poses are not yet at the minimum of their own weights",
        too_large="seconds",
    )
    vote_sigmas: float = limit(
        3.0,
        unit="expected 1-sigma of a pair",
        why="a unit of the loss: a pair loses three quarters of its weight at one unit, 3 sigma",
        measured_on="planted: nothing by a tenth, half and twice, since usual_misfits is the looser one "
        "there; ten times keeps the pairs of a curtain, 2.4 px in place of 0.5",
        too_small="honest pairs are switched off by their own noise",
        too_large="wrong pairs of a few px are kept",
    )
    usual_misfits: float = limit(
        3.0,
        unit="median misfits of the stack",
        why="a unit of the loss is this much at least: tissue that disagrees more everywhere is not wrong "
        "everywhere",
        measured_on="planted poor tissue: half loses 2 good slices of 200, a tenth 196; ten times keeps "
        "the pairs of a curtain, 2.5 px in place of 0.5",
        too_small="stacks of poor tissue lose their pairs",
        too_large="wrong pairs of poor tissue are kept",
    )
    kept_weight: float = limit(
        0.1,
        unit="weight, 0..1",
        why="below it a pair misses by 1.5 units or more, and is not kept",
        measured_on="derived: a pair of this weight misses by 1.47 units. Planted: 0.2 px in poor tissue "
        "by half and twice",
        too_small="contradicted pairs still hold their slices",
        too_large="good slices at the edge of what is usual lose pairs",
    )
    supported_weight: float = limit(
        0.3,
        unit="mean weight of a slice's accepted pairs, 0..1",
        why="a slice whose pairs have less rests on chance: one pair of nonsense always fits a place that "
        "is made for it",
        measured_on="planted, every tenth slice bad: half holds 3 bad slices of 20, twice loses 16 good "
        "ones of 180",
        too_small="bad slices are held by the pair that happens to fit",
        too_large="good slices between bad ones, half of whose pairs fail, lose the others too",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemountLimits:
    """Limits of remounts: from where on a step between slices is one, and not the jitter of a stage."""

    turned_deg: float = limit(
        5.0,
        unit="degrees, from a slice to a later one",
        why="a stage does not turn as far; align matches such pairs with the neighbour turned back",
        measured_on="real stacks turn by 0.9 degrees at most",
        too_small="jitter of the stage counts as remounts, and no prior holds it",
        too_large="priors on rotation and scale pull a remounted part back",
    )
    magnified: float = limit(
        1.015,
        unit="ratio, and its inverse",
        why="the area changes by 3 %, from where on align matches the neighbour at the slice's size",
        measured_on="pairs of three published stacks: areas of 0.999 to 1.015",
        too_small="breathing of the magnification counts as restarts, and no prior holds it",
        too_large="priors on rotation and scale pull a part of other magnification back",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLimits:
    """Limits of decisions: how firmly transforms and pins that a person gives are held."""

    given_sigma_px: float = limit(
        0.01,
        unit="px at full resolution",
        why="1-sigma of a transform that a person gives: better than any measured pair, and a number all "
        "the same",
        measured_on="test_a_given_matrix_replaces_every_pair_across",
        too_small="round-off in the equations",
        too_large="measured pairs bend what was given",
    )
    pin_sigma_px: float = limit(
        1e-5,
        unit="px at full resolution",
        why="1-sigma of a pinned centre: below what is written",
        measured_on="test_pins_hold_and_share_the_strain_between_them",
        too_small="round-off in the equations",
        too_large="pins give way to the pairs",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendLimits:
    """Limits of trends: how slow a motion must be, and how large a jump."""

    long_slices: int = limit(
        1000,
        unit="slices",
        why="a straight line through this many neighbours shows a trend; over fewer, a trend cannot be told "
        "from a walk of independent steps",
        measured_on="not measured against other values; planted stacks of 1,200 (tests) and 13,696 slices "
        "(benchmarks/solve)",
        too_small="bends of the tissue are taken for trends and removed",
        too_large="stacks of a few thousand slices keep their drift",
    )
    jump_spreads: float = limit(
        8.0,
        unit="robust standard deviations of the track's steps",
        why="such a step is a jump, not a part of a trend: a normal step reaches 8 once in 10^15",
        measured_on="derived: a normal step reaches 8 once in 10^15. test_the_least_jump_is_no_trend "
        "plants 5 and 12",
        too_small="the largest ordinary steps are cut, and the trend with them",
        too_large="a true jump is smeared into a slope over long_slices",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLimits:
    """Limits of drift: the slow motions that are worth a word to the user. Nothing else depends on them."""

    notable_ppm: float = limit(
        2000.0,
        unit="ppm of scale or shear",
        why="tissue does not stretch by 0.2%; beyond, the volume is warned of",
        measured_on="chosen; a planted stack that is magnified by 1.2% is warned of",
        too_small="warnings about what nobody sees",
        too_large="a drift of magnification goes unnoticed into measurements",
    )
    notable_growth: float = limit(
        1.1,
        unit="area of the box over that of the largest slice",
        why="a tenth more voxels to write and to pay for",
        measured_on="chosen; a planted stack that slides by 120 of 1,000 px is warned of",
        too_small="every stack that jitters is warned of",
        too_large="a lean that could be straightened is paid for",
    )
    notable_ratio: float = limit(
        3.0,
        unit="1-sigma",
        why="a net drift or a non-closure beyond this many sigmas is no chance",
        measured_on="usual rule of 3 sigma",
        too_small="chance is called drift: at 2, every twentieth track",
        too_large="drifts are named late",
    )
    step_length: int = limit(
        25,
        unit="slices",
        why="the walk is measured between means of this many slices: jitter of single slices, which does not "
        "add up, is left out",
        measured_on="not measured; chosen so that jitter of 4 px falls to 0.8 px",
        too_small="jitter is taken for a walk, and no drift is notable",
        too_large="too few steps to tell their spread",
    )
    least_steps: int = limit(
        8,
        unit="steps of the walk",
        why="a short stack is cut into at least this many steps",
        measured_on="not measured",
        too_small="the spread of the steps is chance",
        too_large="short stacks have steps of few slices, in which jitter counts",
    )
    min_closures: int = limit(
        10,
        unit="closures at a distance",
        why="the mean and spread of fewer tell nothing",
        measured_on="not measured",
        too_small="a non-closure is claimed from a few pairs",
        too_large="short stacks get no statement",
    )
    still_run: int = limit(
        5,
        unit="slices in a row",
        why="fewer may stand still by chance",
        measured_on="a curtain on 30 of 200 planted slices is warned of, a stack without one is not; "
        "beyond, not measured",
        too_small="calm slices are warned of",
        too_large="a pattern on a few slices goes unnoticed",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyLimits:
    """Limits of uncertainty: when the misfits of a stack tell how good its sigmas are."""

    least_left_over: float = limit(
        2.0,
        unit="degrees of freedom",
        why="one pair more than a chain needs; below, the misfits are 0 by construction",
        measured_on="derived",
        too_small="a chain of pairs states a sigma of 0",
        too_large="short stacks state the sigma of their matches, however they misfit",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOffLimits:
    """Limits of rounding: digits below any meaning, above what a processor's order of sums changes."""

    linear_digits: int = limit(
        10,
        unit="digits after the point, of a matrix's linear part",
        why="10 digits are a microscopic pixel at the corner of any slice",
        measured_on="derived: 1e-10 of 20,000 px is 2e-6 px",
        too_small="a long side of a slice is off by what can be seen",
        too_large="the bytes of a result depend on the processor",
    )
    translation_digits: int = limit(
        6,
        unit="digits after the point, in px",
        why="a microscopic pixel",
        measured_on="derived",
        too_small="slices are off by what can be measured",
        too_large="the bytes of a result depend on the processor",
    )
    trend_digits: int = limit(
        4,
        unit="digits after the point of a figure in trends.json",
        why="figures for people: a tenth of a thousandth of a px, a degree, a ppm",
        measured_on="derived",
        too_small="small rotations read as 0",
        too_large="the bytes of a result depend on the processor",
    )
    box_digits: int = limit(
        6,
        unit="digits after the point, in px",
        why="a corner counts so when the box of the volume is rounded outward to whole voxels",
        measured_on="test_round_off_costs_no_voxel",
        too_small="a pixel at the rim is cut off",
        too_large="a solve's 1e-12 costs a row of voxels",
    )
    frozen_weight: float = limit(
        1e12,
        unit="weight per px^2",
        why="of a number of a pose that must not move; Cholesky does not mind the scale of the diagonal",
        measured_on="test_straighten_brings_the_last_centre_above_the_first_and_nothing_else",
        too_small="pairs move what must not move",
        too_large="overflow",
    )
    least_scale: float = limit(
        1e-6,
        unit="scale of a slice",
        why="stands for a smaller or negative one before its logarithm is taken",
        measured_on="derived: no slice is shrunk a million times",
        too_small="overflow",
        too_large="a true scale is changed",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveLimits:
    """All limits of the solve; a problem carries its own."""

    ties: TieLimits = field(default_factory=TieLimits)
    closures: ClosureLimits = field(default_factory=ClosureLimits)
    priors: PriorLimits = field(default_factory=PriorLimits)
    robust: RobustLimits = field(default_factory=RobustLimits)
    remounts: RemountLimits = field(default_factory=RemountLimits)
    decisions: DecisionLimits = field(default_factory=DecisionLimits)
    trend: TrendLimits = field(default_factory=TrendLimits)
    drift: DriftLimits = field(default_factory=DriftLimits)
    uncertainty: UncertaintyLimits = field(default_factory=UncertaintyLimits)


SOLVE, ROUND_OFF = SolveLimits(), RoundOffLimits()
"""The limits for stacks of FIB-SEM and of serial sections."""
