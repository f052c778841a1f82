"""The numbers that decide on verdicts and on the range of grey levels, each with its reason.

"Planted defects" are the 29 bad slices of `benchmarks/alignment`: blank, defocused, half, duplicated,
inverted and displaced ones. All are found under their right names and none of 1,541 good slices is called bad
(docs/figures.md); how far they lie from each limit was not printed. "Medulla" are 60
published FIB-SEM slices and "serial sections" 10 published ones, all good: their figures were printed once.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.shared.limits import limit

_EVEN_STACK = "the least scatter that counts: a stack more even than this has no meaningful sigma"
_FLOOR = {
    "too_small": "in an even stack a difference that nobody sees is called 5 sigma",
    "too_large": "bad slices of an even stack are less than 5 sigma away",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureLimits:
    """Limits of comparing a slice with the slices around it, and of calling a pair a copy or inverted.

    The eight `least_*` are floors of the scatter, in the units of what is compared: with 5 sigma, a slice
    must differ by five times its floor. Those of logarithms are ratios: 0.03 is 3%.
    """

    side: int = limit(
        12,
        unit="slices on each side",
        why="two medians, one of each side, so that a lasting change is no fault",
        measured_on="derived: up to five odd slices in a row are fewer than half of a side",
        too_small="a run of bad slices becomes what is usual",
        too_large="slow changes of the tissue look like faults",
    )
    scatter_side: int = limit(
        25,
        unit="slices on each side",
        why="tell how much the excess usually scatters",
        measured_on="chosen: the spread of 51 figures is known to about 15%",
        too_small="sigmas are chance",
        too_large="a noisy stretch of the stack lends its scatter to a quiet one",
    )
    fewest: int = limit(
        3,
        unit="slices on a side",
        why="the median of fewer is a single slice's figure",
        measured_on="test_a_slice_that_matches_nothing at z 0, 1, 38, 39 of 40",
        too_small="a slice beside a bad end is compared with it",
        too_large="the ends of a stack are compared with one side only",
    )
    least_log_std: float = limit(
        0.03,
        unit="log ratio of grey levels' standard deviation",
        why=_EVEN_STACK,
        measured_on="scatter and largest excess: medulla 0.007 and 0.02, serial sections 0.012 and 0.03",
        **_FLOOR,
    )
    least_log_contrast: float = limit(
        0.05,
        unit="log ratio of local contrast",
        why=_EVEN_STACK,
        measured_on="scatter and largest excess: medulla 0.009 and 0.015, serial sections 0.025 and 0.06",
        **_FLOOR,
    )
    least_log_sharpness: float = limit(
        0.04,
        unit="log ratio of sharpness",
        why=_EVEN_STACK,
        measured_on="scatter and largest excess: medulla 0.016 and 0.05, serial sections 0.06 and 0.12",
        **_FLOOR,
    )
    least_log_noise: float = limit(
        0.04,
        unit="log ratio of noise",
        why=_EVEN_STACK,
        measured_on="scatter and largest excess: medulla 0.015 and 0.08, serial sections 0.08 and 0.16",
        **_FLOOR,
    )
    least_content: float = limit(
        0.03,
        unit="fraction of the picture with content",
        why=_EVEN_STACK,
        measured_on="no excess in medulla and serial sections, both full of tissue; else not measured",
        **_FLOOR,
    )
    least_zero: float = limit(
        0.01,
        unit="fraction of pixels that are 0",
        why=_EVEN_STACK,
        measured_on="no excess in medulla and serial sections; else not measured",
        **_FLOOR,
    )
    least_saturated: float = limit(
        0.01,
        unit="fraction of saturated pixels",
        why=_EVEN_STACK,
        measured_on="no excess in medulla and serial sections; else not measured",
        **_FLOOR,
    )
    least_streaks: float = limit(
        0.01,
        unit="fraction of the contrast's energy",
        why=_EVEN_STACK,
        measured_on="scatter and largest excess: medulla 0.002 and 0.006, serial sections 0.003 and 0.004",
        **_FLOOR,
    )
    least_statistic: float = limit(
        1e-6,
        unit="of the statistic",
        why="stands for a smaller one, or 0, before its logarithm is taken",
        measured_on="derived: far below that of any picture",
        too_small="overflow",
        too_large="blank slices differ less from pictures",
    )
    opposite_ncc: float = limit(
        -0.3,
        unit="NCC of a refused pair as it lies",
        why="below it, one of the two slices has its grey levels inverted",
        measured_on="chosen: unrelated slices without shading stay within +-0.06 (preview/limits.py); "
        "inverted ones are planted in tests at -0.7",
        too_small="inverted slices far apart are not recognised: they are replaced, not inverted back",
        too_large="unrelated slices with opposite shading are called inverted",
    )
    copy_ncc: float = limit(
        0.999,
        unit="NCC of neighbours as they lie",
        why="a copy, even one that was stored again with losses, correlates almost fully",
        measured_on="not measured; docs/figures.md has no pair of true neighbours that comes near",
        too_small="still slices of resin count as copies",
        too_large="copies that were stored again are missed",
    )
    copy_difference: float = limit(
        0.02,
        unit="mean absolute difference as they lie, in standard deviations of the band-passed pictures",
        why="exact copies differ by nothing; noise alone makes true neighbours differ by more than this",
        measured_on="not measured",
        too_small="copies that were stored again are missed",
        too_large="slices without noise count as copies",
    )
    copy_part: float = limit(
        0.1,
        unit="share of the usual lack of correlation, 1 - NCC, of neighbours",
        why="in a stack whose neighbours all correlate above copy_ncc, a copy must stand out as well",
        measured_on="not measured",
        too_small="copies in a stack that correlates well are missed",
        too_large="the best ordinary pair of such a stack counts as a copy",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLimits:
    """Limits at which a figure gives a verdict: it must be unusual (sigmas), and large enough to matter."""

    notable_sigmas: float = limit(
        5.0,
        unit="sigma",
        why="beyond, a figure is no chance: once in 3 million slices",
        measured_on="never above 2.1 in medulla and serial sections; planted defects, margins not measured",
        too_small="long stacks have bad slices by chance",
        too_large="bad slices of stacks that scatter are missed",
    )
    saturated: float = limit(
        0.5,
        unit="fraction of pixels at the greatest grey level",
        why="less than half of the picture is left",
        measured_on="not measured; chosen. Tests plant 0.9",
        too_small="slices with much bright resin are replaced",
        too_large="slices that show next to nothing are kept",
    )
    empty: float = limit(
        0.02,
        unit="fraction of the picture, or contrast against the slices around",
        why="below, there is no picture",
        measured_on="planted defects; margins not measured",
        too_small="blank slices with a line of text or a hot pixel count as pictures",
        too_large="faint but true slices of resin are called blank",
    )
    faint: float = limit(
        0.25,
        unit="contrast against the slices around",
        why="a slice that no pair holds counts as blank from here on",
        measured_on="planted defects; margins not measured",
        too_small="blank slices with strong noise are called isolated, which says less",
        too_large="ordinary slices that match nothing are called blank",
    )
    lost_part: float = limit(
        0.2,
        unit="fraction of the picture",
        why="a fifth lost is worth a copy of a neighbour",
        measured_on="planted defects; margins not measured. Tests plant losses of 0.4 and 0.5",
        too_small="slices that lose a corner are replaced as a whole",
        too_large="slices with a large hole are shown",
    )
    soft: float = limit(
        0.7,
        unit="sharpness against the slices around",
        why="less of a loss is not seen, however unusual",
        measured_on="medulla never below 0.95, serial sections never below 0.88; planted defects, margins "
        "not measured",
        too_small="defocused slices are shown",
        too_large="slices are replaced for what nobody sees",
    )
    very_soft: float = limit(
        0.5,
        unit="sharpness against the slices around",
        why="below, a slice is defocused even where its pairs do not suffer",
        measured_on="medulla never below 0.95, serial sections never below 0.88; planted defects, margins "
        "not measured",
        too_small="defocused slices that still match are shown",
        too_large="slices of smooth tissue that match well are replaced",
    )
    loud: float = limit(
        1.15,
        unit="contrast or noise against the slices around",
        why="less is not seen, however unusual",
        measured_on="medulla and serial sections: contrast never above 1.03, noise never above 1.08. Tests "
        "plant 1.3 and 1.7",
        too_small="slices are replaced for what nobody sees",
        too_large="charged slices are shown",
    )
    streaked: float = limit(
        0.05,
        unit="fraction of the contrast's energy, above the slices around",
        why="less is not seen, however unusual",
        measured_on="medulla: never above 0.006. Tests plant 0.3",
        too_small="slices are replaced for what nobody sees",
        too_large="slices with scan lines are shown",
    )
    worse_than_bridge: float = limit(
        0.03,
        unit="NCC of the neighbours with each other, less that with the slice",
        why="good neighbours correlate better than slices two apart; a slice that lacks this much is poor",
        measured_on="planted defects; margins not measured. The model of tests gains 0.1 from one slice to "
        "two",
        too_small="noise of the correlations makes good slices suffer",
        too_large="charged and defocused slices seem to suffer nothing",
    )
    slip_steps: float = limit(
        8.0,
        unit="usual steps",
        why="a jump out and back: two jumps that agree are less likely by chance than one, so it is lower "
        "than a step",
        measured_on="chosen; tests plant a slip of 41 px in a stack with steps of 2 px",
        too_small="jitter is called a slip",
        too_large="displaced slices are not named; they are aligned all the same",
    )
    step_steps: float = limit(
        20.0,
        unit="usual steps",
        why="a jump that lasts is reported where nobody takes it for jitter",
        measured_on="chosen; tests plant a jump of 94 px in a stack with steps of 2 px",
        too_small="reports of ordinary jitter",
        too_large="a re-positioned stage is not reported; the slices are aligned all the same",
    )
    return_part: float = limit(
        0.3,
        unit="share of the jump",
        why="a slip comes back to within this part of it",
        measured_on="not measured; chosen: at 8 usual steps the jitter of two steps is some 0.2 of the jump",
        too_small="slips in a stack with jitter are called steps",
        too_large="two separate jumps are called a slip",
    )
    least_step_side: float = limit(
        0.02,
        unit="share of the longest side",
        why="in a stack that stands still, a jump of a few px is many usual steps and matters to nobody",
        measured_on="not measured; chosen: 100 px of 5,000",
        too_small="reports of small jumps in calm stacks",
        too_large="jumps of calm stacks are not reported",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GreyRangeLimits:
    """Limits of the range of grey levels that 16-bit slices are shown in, from black to white."""

    run: int = limit(
        25,
        unit="slices of a running median",
        why="up to twelve odd slices in a row have no say",
        measured_on="test_sixteen_bits_cover_drift_but_not_a_few_bad_slices",
        too_small="a few bad slices widen the range and take contrast from all others",
        too_large="brightness that changes within 25 slices is cut off",
    )
    tail_percent: float = limit(
        1.0,
        unit="percent of the slices",
        why="this part at each end may lie beyond the range: they lose grey levels, all others gain contrast",
        measured_on="the same test",
        too_small="the brightest slice alone decides",
        too_large="many slices are cut off at black or white",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlickerLimits:
    """When a change of brightness or contrast from slice to slice is the microscope's, not the tissue's."""

    side_px: int = limit(
        128,
        unit="px, longest side of the compared pictures",
        why="a line has two numbers: as many pixels tell it as well, in a quarter of the time",
        measured_on="fibsem_cube, 40 planes along x, y and z: errors of 128 px and of 250 px differ by 0.02 "
        "grey levels",
        too_small="tissue that changes decides the line",
        too_large="time, and nothing is gained",
    )
    grain_sigma_px: float = limit(
        1.0,
        unit="px of the compared pictures",
        why="noise is smoothed away, which would hide how far pixels agree",
        measured_on="not measured apart",
        too_small="the scatter is that of the noise, and true flicker is less than it",
        too_large="membranes are smoothed away, which tell the contrast",
    )
    tail_levels: int = limit(
        2,
        unit="of 256 grey levels of a thumbnail",
        why="levels at the ends of the type are clipped, and lie on no line",
        measured_on="flicker of 20% on fibsem_cube, which clips: errors as without clipping",
        too_small="slices that clip seem to have less contrast than they have",
        too_large="tissue that is truly dark or bright does not count",
    )
    least_overlap: float = limit(
        1 / 16,
        unit="share of the picture's area",
        why="neighbours overlap nearly everywhere; what shares less tells nothing",
        measured_on="not measured; that of the check on thumbnails",
        too_small="a corner decides on the whole slice",
        too_large="slices with a large blank part are not compared",
    )
    fewest_px: int = limit(
        64,
        unit="px that both pictures show",
        why="a line through fewer is anyone's",
        measured_on="not measured; chosen",
        too_small="slices of a few pixels are changed by their noise",
        too_large="small slices are not compared",
    )
    parts_per_side: int = limit(
        4,
        unit="parts along x and along y",
        why="enough to tell a change of the whole slice from one of a corner, and large enough for a median",
        measured_on="not measured apart",
        too_small="clouds of charging that fill a part are the same everywhere",
        too_large="single cells decide on a part",
    )
    least_of_pixels: float = limit(
        0.4,
        unit="times the scatter of the pixels",
        why="a change below this may be the tissue's own: it moves single pixels by more",
        measured_on="827 pairs of clean slices (fibsem_cube along x, y, z; fibsem_medulla; sstem_vnc): never "
        "above 0.23; with curtains of 6 levels never above 0.35; flicker of 20%: median above 3",
        too_small="clean stacks lose the true course of their brightness",
        too_large="flicker that people see is left",
    )
    least_of_parts: float = limit(
        2.5,
        unit="times the standard deviation of the parts",
        why="flicker is the same everywhere",
        measured_on="the same pairs: never above 1.7 (serial sections 2.2); clouds of charging never above "
        "1.1; flicker of 20%: median above 14",
        too_small="charging of half a slice changes the other half",
        too_large="flicker of slices that have a cloud or a curtain besides is left",
    )
    least_change: float = limit(
        0.02,
        unit="of the standard deviation of the grey levels",
        why="less is not seen, however well the pixels agree",
        measured_on="chosen: 0.7 of 256 grey levels in fibsem_cube",
        too_small="rounding of grey levels counts as flicker in slices without noise",
        too_large="flicker of very clean stacks is left",
    )
    even_share: float = limit(
        0.5,
        unit="share of the shared pixels",
        why="those where grey levels change least within a picture tell the line: edges move with the tissue",
        measured_on="clean planes of fibsem_cube and fibsem_medulla, what 20 changes add up to, RMS: 1.5 to "
        "2.9 grey levels; 1.9 to 4.2 with all pixels; 0.3 no less",
        too_small="the grain of few pixels decides",
        too_large="tissue that changes is taken for flicker, slice after slice",
    )
    line_reach: float = limit(
        3.0,
        unit="times the scatter of these pixels",
        why="a pixel further from the line shows other tissue",
        measured_on="the same planes, with noise of 16 grey levels too: as 2; texture that changes "
        "everywhere at once (tests): 0.9 grey levels, 1.2 with 2",
        too_small="the grain of few pixels decides",
        too_large="tissue that changes is taken for flicker, slice after slice",
    )
    line_rounds: int = limit(
        5,
        unit="rounds",
        why="weights and line follow from each other",
        measured_on="fibsem_cube and fibsem_medulla with flicker of 20%: errors within 0.1 grey levels of 3",
        too_small="the line is still that of all pixels",
        too_large="time",
    )
    reach: int = limit(
        2,
        unit="good slices",
        why="a slice that flickers alone is passed over: those before and after it are compared",
        measured_on="tests/components/compose/judge/test_grey_lines.py",
        too_small="errors of the change to an odd slice and back stay in all that follow",
        too_large="time; tissue changes more over longer distances",
    )
    same_weight: float = limit(
        100.0,
        unit="times the weight of a pair of neighbours that flickers",
        why="slices between which nothing flickers are the same, whatever the others say",
        measured_on="the same test",
        too_small="slices around one that flickers share its error",
        too_large="rounding of the solution",
    )
    pull_slices: float = limit(
        10.0,
        unit="slices",
        why="where every slice flickers, changes of the tissue add up unseen: further than this the slices' "
        "own levels are believed, about their running median",
        measured_on="250 planes with 20% flicker, fibsem_cube along y, x, z and fibsem_medulla along y, x: "
        "1.9, 3.0, 2.2, 3.4, 2.9 grey levels RMS; with 25 slices 1.4, 3.1, 2.1, 3.1, 2.9; with 50 2.5, 5.7, "
        "3.2, 3.4, 3.9; without 3.9, 9.9, 4.3, 4.3, 4.6. 40 planes, fibsem_cube along x: 3.1, with 25 3.7",
        too_small="tissue that is darker for some slices is made as bright as the others",
        too_large="long stacks drift",
    )
    own_slices: int = limit(
        51,
        unit="slices",
        why="the running median of the slices' own levels: the flicker of so many averages out, and tissue "
        "that is darker over a longer part of the stack stays so",
        measured_on="the same stacks, pulled over 25 slices: 1.3, 3.1, 2.1, 3.2, 2.8; with 101 slices 1.4, "
        "3.0, 2.4, 3.0, 3.3",
        too_small="the flicker of few slices moves those around them",
        too_large="parts of the stack that truly differ are made alike",
    )
    own_apart: float = limit(
        0.3,
        unit="standard deviations of the grey levels, or logarithm of a gain",
        why="a slice whose own levels are further from what the changes tell, against those around it, shows "
        "other tissue: a vessel, a fold",
        measured_on="planted: 20 slices that are darker (tests); the same stacks are not changed by it",
        too_small="the drift of the changes is taken for tissue, and long stacks drift",
        too_large="tissue that comes and goes is made as bright as the rest",
    )
    weak_pull_slices: float = limit(
        300.0,
        unit="slices",
        why="elsewhere a step keeps its height: values are pulled to zero only over more slices than this, "
        "ten times as many where few flicker",
        measured_on="fibsem_cube, a step of 15% from a third of the stack on: 0.3 grey levels are left",
        too_small="a step at a restart is not undone as a whole",
        too_large="long stacks drift",
    )
    around: int = limit(
        9,
        unit="changes from slice to slice",
        why="where most are flicker, so are the small ones among them: one that is left out displaces all "
        "slices that follow",
        measured_on="fibsem_cube with flicker of every slice; a step in a clean stack changes no neighbour",
        too_small="two steps near each other make flicker of the tissue around them",
        too_large="flicker that begins is recognised late",
    )
    least_move: float = limit(
        0.25,
        unit="of 256 grey levels",
        why="a line that moves no grey level by more is left out: nearly all of them round to themselves",
        measured_on="derived",
        too_small="slices are made anew for what nobody sees",
        too_large="differences between neighbours are left",
    )
    gain_digits: int = limit(
        5,
        unit="digits after the point of a gain",
        why="more would depend on the processor",
        measured_on="derived: 0.3 of 65,535 grey levels",
        too_small="lines are rounded to more than a grey level of 16 bit",
        too_large="the bytes of transforms.json depend on the processor",
    )
    offset_digits: int = limit(
        3,
        unit="digits after the point of an offset in raw grey levels",
        why="more would depend on the processor",
        measured_on="derived",
        too_small="lines are rounded to more than a grey level",
        too_large="the bytes of transforms.json depend on the processor",
    )


FIGURES, VERDICTS = FigureLimits(), VerdictLimits()
FLICKER, GREY_RANGE = FlickerLimits(), GreyRangeLimits()
"""The limits for stacks of FIB-SEM and of serial sections."""
