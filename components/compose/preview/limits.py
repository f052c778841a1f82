"""The numbers that decide in the check on thumbnails, each with its reason.

What passes: the sample, 60 published FIB-SEM slices (median NCC above 0.9) and 10 serial sections (above
0.25) as they lie, and the runs of `benchmarks/alignment`. What is stopped: wrong transforms, unrelated
halves, copies and empty volumes. Both in `tests/components/compose/preview/test_gate.py`; margins were not
measured but where a limit says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.shared.limits import limit

_GATE_TESTS = "tests/components/compose/preview/test_gate.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationLimits:
    """Limits of the correlation: how thumbnails are filtered, and how much they must overlap."""

    grain_sigma_px: float = limit(
        1.0,
        unit="px of the thumbnail",
        why="noise is smoothed away: it differs between slices, however well they lie",
        measured_on="not measured; chosen: the least that the sampling of a thumbnail can tell",
        too_small="noisy stacks correlate little, and a wrong slice is no exception",
        too_large="membranes are smoothed away, and slices that are a little off correlate too",
    )
    grain_reach_sigmas: float = limit(
        3.0,
        unit="grain_sigma_px",
        why="half the width of the Gaussian kernel: beyond lie 0.3% of its weight",
        measured_on="FIB-SEM and serial sections: no NCC differs by more than 0.0001 from that with 4 sigmas",
        too_small="the kernel is no Gaussian, and lets grain through",
        too_large="time; no result changes",
    )
    shading_fraction: float = limit(
        1 / 16,
        unit="share of the longer side",
        why="structures wider than this are taken away: shading, borders of resin and charging look alike "
        "in slices that have nothing to do with each other",
        measured_on="unrelated pictures under strong shading: NCC 0.5 with it, below 0.1 without",
        too_small="large structures of the tissue, which all slices share, count for nothing",
        too_large="unrelated slices correlate by their shading",
    )
    min_overlap_fraction: float = limit(
        1 / 16,
        unit="share of the picture's area",
        why="neighbours overlap nearly everywhere; where they hardly do, they correlate at 0",
        measured_on=_GATE_TESTS,
        too_small="a corner that correlates by chance excuses a slice that lies far off",
        too_large="true jumps of half a picture are called wrong",
    )
    every_px: int = limit(
        2,
        unit="px of the thumbnail, along both axes",
        why="pixels that lie closer say the same: they share the smoothing of the grain",
        measured_on="FIB-SEM and serial sections of 512 px, in place and moved by 6 px: worst change of an "
        "NCC 0.004; every third pixel 0.008, every fourth 0.015",
        too_small="every pixel is warped and summed, at twice the time of the whole check",
        too_large="too few pixels tell how well slices correlate",
    )
    sampled_from_px: int = limit(
        65_536,
        unit="pixels of a thumbnail",
        why="smaller ones, below 256 x 256, are compared at every pixel: they have few, and take little",
        measured_on="the same at 300 px: worst change of an NCC 0.007; its standard error at 16,384 "
        "independent samples is 0.008 or less",
        too_small="small thumbnails are compared at few samples",
        too_large="large thumbnails take more time than they need",
    )
    controls: int = limit(
        100,
        unit="pairs, at least as many where the stack has them twice over",
        why="the median of so many is good to the third digit",
        measured_on="derived",
        too_small="the control differs from stretch to stretch",
        too_large="time",
    )
    digits: int = limit(
        4,
        unit="digits after the point of an NCC",
        why="more would depend on the processor",
        measured_on="derived: sums of float32 products differ in the seventh digit",
        too_small="limits on the NCC are met by rounding",
        too_large="the bytes of preview.json depend on the processor",
    )
    slices_in_memory: int = limit(
        8,
        unit="thumbnails",
        why="each is compared with the two that follow, and may stand in for the next few",
        measured_on="derived: max_replaced is 3 by default; no result depends on it",
        too_small="thumbnails are read and flattened again",
        too_large="memory, a megabyte each",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """Limits of the check that stops a run before its costly steps. Each lets a good run pass."""

    window: int = limit(
        51,
        unit="slices of a running median",
        why="what is usual around a slice, 25 on each side",
        measured_on="chosen as the window of the verdicts",
        too_small="a run of bad slices becomes what is usual",
        too_large="a slow change of the tissue makes good slices look bad",
    )
    lowest_median: float = limit(
        0.1,
        unit="NCC of neighbours, median of the stack",
        why="unrelated pictures stay within +-0.06 where shading is taken away; serial sections in place "
        "reach 0.3",
        measured_on="unrelated synthetic textures; published stacks above 0.9 and 0.25",
        too_small="a stack in which nothing fits is written and paid for",
        too_large="serial sections of poor tissue are stopped",
    )
    worse_than_before: float = limit(
        0.5,
        unit="share of the median NCC as they lie",
        why="a static pattern may make slices correlate as they lie; an alignment that halves that has "
        "gone wrong",
        measured_on="synthetic tissue under a static pattern of its own strength passes",
        too_small="an alignment that makes a good stack worse is written",
        too_large="stacks under a static pattern are stopped, although the tissue fits",
    )
    far_below: float = limit(
        0.5,
        unit="share of the usual NCC",
        why="a pair is bad below it: a shift by a membrane's width costs more than half",
        measured_on="synthetic tissue moved by 15 px of 480 is stopped; margins not measured",
        too_small="slices that are off by a membrane pass",
        too_large="slices of poor quality in their right place count as wrong",
    )
    worse: float = limit(
        0.1,
        unit="NCC lost by the alignment",
        why="a pair is bad too if it lost this much, and is the exception (unusual)",
        measured_on="not measured; chosen",
        too_small="pairs that lost by noise count",
        too_large="a slice that was moved to a wrong place nearby is not noticed",
    )
    unusual: float = limit(
        0.8,
        unit="share of the usual NCC",
        why="a pair that lost NCC counts below this only: where all pairs lose, a static pattern is gone",
        measured_on="not measured; tissue under a static pattern passes",
        too_small="as with worse: slices moved to a wrong place nearby are not noticed",
        too_large="pairs of a static pattern count as bad",
    )
    most_bad_pairs: float = limit(
        0.02,
        unit="share of the pairs",
        why="bad slices that no verdict has caught are rarer than this, and a slice spoils two pairs",
        measured_on="planted defects (judge/limits.py): verdicts catch all 29",
        too_small="long stacks are stopped for a few odd slices",
        too_large="a stretch of 2% of a stack that is solved wrong is written",
    )
    few_bad_pairs: int = limit(
        4,
        unit="pairs",
        why="this many failed pairs pass in a stack of any length: those of two odd slices",
        measured_on=_GATE_TESTS,
        too_small="a short stack is stopped for one odd slice",
        too_large="a short stack that is half wrong is written",
    )
    unrelated: float = limit(
        0.25,
        unit="share of the usual NCC",
        why="where no pair across a place reaches it, what follows is another picture",
        measured_on="synthetic tissue in two unrelated halves is stopped; margins not measured",
        too_small="two samples in one stack are written as one",
        too_large="a true step with lost tissue stops the run",
    )
    most_replaced: float = limit(
        0.2,
        unit="share of the present slices",
        why="a volume in which every fifth slice is a copy shows less than it pretends",
        measured_on="not measured; chosen",
        too_small="poor stacks need force: true",
        too_large="a volume of copies is written",
    )
    few_replaced: int = limit(
        3,
        unit="slices",
        why="this many replaced slices pass in a stack of any length",
        measured_on=_GATE_TESTS,
        too_small="a short stack is stopped for one bad slice",
        too_large="a short stack of copies is written",
    )
    largest_box: float = limit(
        4.0,
        unit="area of the volume over that of the largest slice",
        why="beyond, most of what would be paid for is empty",
        measured_on="not measured; chosen: jumps by half a picture along both axes give 2.25",
        too_small="stacks with true jumps of the stage need force: true",
        too_large="one slice that is thrown far off multiplies the cost",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueLimits:
    """Limits that decide how many slices may lack grey levels, and what counts as an area of tissue."""

    most_slices: float = limit(
        0.1,
        unit="share of the slices that are shown as they are",
        why="a few slices of low contrast are the microscope's, not the range's, and are only named",
        measured_on="not measured; chosen",
        too_small="a few faint slices stop a long stack",
        too_large="a part of the stack with another exposure is written black or white",
    )
    cell_px: int = limit(
        8,
        unit="px of the thumbnail",
        why="side of the cells whose own middle half is looked at",
        measured_on="not measured; 64 pixels have quartiles",
        too_small="a few pixels decide",
        too_large="small areas of tissue in resin are not found",
    )
    area_cells: int = limit(
        3,
        unit="cells a side",
        why="so many together are an area of tissue; the edge of a border is narrower",
        measured_on="tests/components/compose/preview/test_tissue_levels.py",
        too_small="the edge of a border, which has every level, passes for tissue",
        too_large="small areas of tissue in resin are not found",
    )


CORRELATION, GATE, TISSUE = CorrelationLimits(), GateLimits(), TissueLimits()
"""The limits for stacks of FIB-SEM and of serial sections."""
