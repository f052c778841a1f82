"""Limits of the room that finds the jitter of rows."""

from __future__ import annotations

from dataclasses import dataclass

from components.shared.limits import limit


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterLimits:
    """Limits that decide what counts as jitter of rows, and when it is corrected."""

    rows_a_knot: int = limit(
        2,
        unit="rows of the grid from a knot of the measured splines to the next",
        why="between them the shifts are interpolated by a cubic",
        measured_on="not measured; derived: half of the shortest wave that the splines hold",
        too_small="shifts that change fast are flattened",
        too_large="time and memory",
    )
    jitter_sigma_px: float = limit(
        10.0,
        unit="times the error of a pair",
        why="jitter is free to be large; without any evidence it is 0",
        measured_on="not measured; a wide prior",
        too_small="large jitter is flattened",
        too_large="rows that no pair tells run away",
    )
    tissue_stiffness: float = limit(
        100.0,
        unit="weight of the square of second differences along z, against the square of the jitter",
        why="of a first split, in which jitter and changes of course are told apart",
        measured_on="not measured apart; second differences hardly depend on it",
        too_small="slow changes of the jitter stay",
        too_large="tissue is taken for jitter",
    )
    pooled_waves: int = limit(
        7,
        unit="waves along y whose energies count together",
        why="of 40 slices each energy is known to a fifth, and waves of about one length jitter alike",
        measured_on="a planted stack of 40 slices, tests/components/compose/rows",
        too_small="chance weakens the correction of some waves",
        too_large="waves that hold noise alone are corrected with those that jitter",
    )
    stiffness_range: tuple[float, float] = limit(
        (3.0, 300.0),
        unit="weight of the square of second differences along z, against the square of the jitter",
        why="jitter over the tissue's changes of course, mean squares, where it is within reason",
        measured_on="published slices of the medulla, told 0.3: rows change by 0.04 px with 3, 0.03 with 30, "
        "0.1 with 300; planted jitter of 1.5 px: 350",
        too_small="what changes over four slices counts as tissue",
        too_large="tissue is taken for jitter",
    )
    path_weight: float = limit(
        1e-6,
        unit="against 1 of a pair",
        why="keeps the tissue's path in place, which pairs tell but for a constant",
        measured_on="derived",
        too_small="the equations have no solution",
        too_large="the path is drawn to 0, and jitter takes its place",
    )
    least_jitter: float = limit(
        0.05,
        unit="px of the pictures that rows are told from, RMS",
        why="tissue has some of its own that changes from slice to slice",
        measured_on="benchmarks/exact_axes, planes along x and y: up to 0.04 px; published slices of the "
        "medulla, whose rows jitter: 0.12 and 0.07",
        too_small="tissue is moved",
        too_large="small jitter stays",
    )
    knot_of_pictures: float = limit(
        12.0,
        unit="px of the pictures that rows are told from, from a knot to the next",
        why="as `align` has it: tells their scale",
        measured_on="derived",
        too_small="small jitter is taken for large",
        too_large="large jitter is taken for small",
    )
    least_of_noise: float = limit(
        0.7,
        unit="times the noise of the shifts, by how the halves differ",
        why="interpolated noise draws both halves toward whole pixels, alike",
        measured_on="benchmarks/exact_axes: up to 0.62 in noise; published slices of the medulla 1.7 and "
        "0.73, jitter of 1.5 px 14",
        too_small="noise is taken for jitter",
        too_large="jitter of noisy slices stays",
    )
    least_sigmas: float = limit(
        5.0,
        unit="standard deviations of the mean of all slices",
        why="a few bad slices shall not make a jittering stack",
        measured_on="benchmarks/exact_axes: up to 4.2 without jitter; planted jitter of 1.5 px has 9 in 40 "
        "slices, published slices of the medulla 6 along x and 10 along y in 60",
        too_small="bad slices make a jittering stack",
        too_large="short stacks are never corrected",
    )
    least_slices: int = limit(
        12,
        unit="good slices",
        why="jitter is told by how slices differ from those around them",
        measured_on="not measured",
        too_small="a chance of few slices decides",
        too_large="short stacks are never corrected",
    )
    most_turn_knots: float = limit(
        0.5,
        unit="knots, change of row between the middle and the sides of a neighbour",
        why="rows of slices that are turned against each other cross",
        measured_on="derived",
        too_small="pairs that turn a little are left out",
        too_large="rows are compared with others",
    )


LIMITS = JitterLimits()
