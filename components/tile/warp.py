"""The one interpolation between a raw slice and the volume: a cubic B-spline.

OpenCV's cubic kernel (a = -0.75) moves fine detail: a shift of 0.30 px comes out as 0.34 px, and at 8 bit its
weights are rounded to 1/32 px steps. That is more than the alignment's error, so the interpolation is a cubic
B-spline with prefilter (Unser 1999), which moves it by 0.30 px; `bspline.c` computes it, and
docs/decisions/0023-one-part-is-compiled.md compares it with others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.shared.documents.transforms import RowShifts, WarpField
from components.shared.geometry import Matrix, corner_points, transform_points, translation
from components.shared.limits import limit
from components.shared.pictures.grey_levels import Picture
from components.shared.pictures.slice_map import inverse, nodes_of, shifts_of_rows
from components.tile import spline


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpLimits:
    """Limits that decide when pixels are copied."""

    exact_px: float = limit(
        1e-3,
        unit="px at every corner",
        why="a transform this close to whole pixels copies them: no grey level changes, and no time is spent",
        measured_on="test_warp; a shift of 0.001 px changes 8-bit grey levels by less than rounding does",
        too_small="the identity of unmoved slices is interpolated after rounding errors",
        too_large="true shifts below a pixel are lost",
    )


LIMITS = WarpLimits()


def warp_slice(
    picture: Picture,
    volume_from_slice: Matrix,
    out: Picture,
    rows: RowShifts | None = None,
    warp: WarpField | None = None,
) -> None:
    """Show a slice in a plane of the volume.

    Args:
        picture: `[y, x]`, the slice or one channel of it.
        volume_from_slice: 3 x 3, pixel centres at integers.
        out: `[y, x]` of the same type, the plane; pixels whose centre lies outside the slice become 0.
        rows: Shifts of the slice's rows; None where its rows lie as the matrix says.
        warp: Soft warp of the slice; None where there is none.
    """
    if rows is not None or warp is not None:
        shifts_px = None if rows is None else shifts_of_rows(rows, picture.shape[0])
        nodes = None if warp is None else nodes_of(warp, picture.shape)
        spline.warp(picture, inverse(volume_from_slice), out, shifts_px, nodes)
        return
    shift_xy = _whole_pixel_shift(volume_from_slice, picture.shape)
    if shift_xy is not None:
        _copy_shifted(picture, shift_xy, out)
        return
    spline.warp(picture, inverse(volume_from_slice), out)


def _whole_pixel_shift(volume_from_slice: Matrix, shape_yx: tuple[int, ...]) -> tuple[int, int] | None:
    """The shift (x, y) in px of a transform that moves every corner by the same whole numbers; else None."""
    x, y = (round(float(v)) for v in volume_from_slice[:2, 2])
    corners = corner_points(shape_yx[1], shape_yx[0])
    error_px = transform_points(volume_from_slice, corners) - transform_points(translation(x, y), corners)
    return (x, y) if np.abs(error_px).max() < LIMITS.exact_px else None


def _copy_shifted(picture: Picture, shift_xy: tuple[int, int], out: Picture) -> None:
    """Copy what lies inside of the volume; the rest of the plane becomes 0."""
    out[:] = 0
    (from_x, to_x), (from_y, to_y) = (
        (max(0, shift), max(0, min(shift + n_slice, n_volume)))
        for shift, n_slice, n_volume in zip(shift_xy, picture.shape[::-1], out.shape[::-1], strict=True)
    )
    x, y = shift_xy
    if from_x < to_x and from_y < to_y:
        out[from_y:to_y, from_x:to_x] = picture[from_y - y : to_y - y, from_x - x : to_x - x]
