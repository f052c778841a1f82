"""Limits of the room that finds soft warps; how displacements part from tissue, the room of the rows says."""

from __future__ import annotations

from dataclasses import dataclass

from components.shared.limits import limit


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpLimits:
    """Limits that decide when the slices of a stack count as warped, and are straightened."""

    points_a_knot: int = limit(
        2,
        unit="points of the grid from a knot of the measured splines to the next",
        why="between them displacements are interpolated by a cubic spline",
        measured_on="benchmarks/exact_axes, case soft warp: 0.25 px is left with 1, 0.16 px with 2",
        too_small="parts at the sides of a slice are not told",
        too_large="time and memory, with the square",
    )
    points_at_first: int = limit(
        1,
        unit="points of the grid from a knot to the next, in a first look",
        why="most stacks have no warps, and are left at that for a quarter of the time",
        measured_on="benchmarks/exact_axes: 0.00 to 0.09 px at first without a warp, bad slices and noise "
        "included (0.00 to 0.10 closer); planted warps of 1.5 px: 0.69 to 0.88 (0.58 to 0.78)",
        too_small="warps that vary from knot to knot are overlooked",
        too_large="time",
    )
    seen_at_first: float = limit(
        0.5,
        unit="of least_warp",
        why="a stack with less at first is not looked at closer",
        measured_on="as points_at_first",
        too_small="time",
        too_large="warps near the least are overlooked",
    )
    least_warp: float = limit(
        0.1,
        unit="px of the pictures that warps are told from, RMS",
        why="tissue has some of its own that changes from slice to slice",
        measured_on="benchmarks/exact_axes, planes along x and y: up to 0.04 px, in noise 0.08 px; published "
        "slices of the medulla: 0.07 px; planted warps of 1.5 px: 0.7 px along each axis",
        too_small="tissue is moved",
        too_large="small warps stay",
    )
    knot_of_pictures: float = limit(
        80.0,
        unit="px of the pictures that warps are told from, from a knot to the next",
        why="as `align` has it: tells their scale",
        measured_on="derived",
        too_small="small warps are taken for large",
        too_large="large warps are taken for small",
    )
    least_of_noise: float = limit(
        1.5,
        unit="times the noise of the displacements, by how the halves differ",
        why="interpolated noise draws both halves toward whole pixels, alike",
        measured_on="benchmarks/exact_axes: up to 0.9 without a warp, also in noise; planted warps of "
        "1.5 px: 3 to 5",
        too_small="noise is taken for a warp",
        too_large="warps of noisy slices stay",
    )
    least_sigmas: float = limit(
        5.0,
        unit="standard deviations of the mean of all slices",
        why="a few bad slices shall not make a warped stack",
        measured_on="benchmarks/exact_axes: up to 4.1 without a warp; planted warps of 1.5 px have 7 to 8 in "
        "40 slices",
        too_small="bad slices make a warped stack",
        too_large="short stacks are never corrected",
    )
    least_slices: int = limit(
        12,
        unit="good slices",
        why="warps are told by how slices differ from those around them",
        measured_on="not measured; as that of the rows",
        too_small="a chance of few slices decides",
        too_large="short stacks are never corrected",
    )
    spline_stiffness: float = limit(
        1e-4,
        unit="weight of the square of second differences, against the square of a misfit",
        why="splines beyond the sides of a slice go on straight",
        measured_on="not measured; derived: changes displacements by less than a hundredth",
        too_small="the outermost splines are not told",
        too_large="warps are flattened",
    )


LIMITS = WarpLimits()
