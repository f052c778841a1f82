"""How neighbouring planes of a volume move against each other, along z and along the axes of the pictures.

The raster of the microscope registers the rows and columns of a picture. So planes of an isotropic volume
along x and y lie exactly on each other, and what moves from one to the next is the tissue's own shape. Along
z the errors of the alignment come on top: that is what the two axes bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from components.report.run_document import PlaneMotion
from components.shared.limits import limit

Axis = Literal["z", "y", "x"]
Plane = NDArray[np.float32]
"""[rows, columns] grey levels."""
LEAST_PAIRS = 3
"""Pairs of planes that a figure is made of, at least: fewer have no two changes."""
_NO_MASK: Any = None
"""OpenCV's type stubs know no overload without a mask and with a filter size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionLimits:
    """Limits of the motion of planes: what of a picture is compared, and how many of them."""

    grain_sigma_px: float = limit(
        1.5,
        unit="px of the level",
        why="grain differs from plane to plane, and along a scan line it may not",
        measured_on="two cubes of FlyEM's medulla, 8 nm",
        too_small="noise moves the planes",
        too_large="nothing is left that tells a hundredth of a pixel",
    )
    shading_sigma_px: float = limit(
        16.0,
        unit="px of the level",
        why="shading and charging are no motion",
        measured_on="two cubes of FlyEM's medulla, 8 nm",
        too_small="little structure is left",
        too_large="shading moves the planes",
    )
    band_px: int = limit(
        60,
        unit="rows",
        why="rows that move by themselves do so over some tens of them",
        measured_on="520 planes of FlyEM's medulla: 0.17 px from pair to pair along its published z, 0.03 px "
        "along the image axes",
        too_small="a band holds too little structure",
        too_large="what moves in less rows is averaged away",
    )
    steps: int = limit(
        50,
        unit="steps of the search for the best correlation",
        why="planes lie within a pixel of each other, so that it ends long before",
        measured_on="two cubes of FlyEM's medulla: 5 to 20",
        too_small="the last hundredths are missing",
        too_large="time, where planes have nothing in common",
    )
    settled: float = limit(
        1e-6,
        unit="change of the correlation in a step",
        why="the motion is then found to a thousandth of a pixel",
        measured_on="planted motions of a tenth of a pixel",
        too_small="time",
        too_large="the last hundredths are missing",
    )


MOTION = MotionLimits()


def plane_motion(
    axis: Axis, voxel_nm: float, planes: Sequence[Plane | None], limits: MotionLimits = MOTION
) -> PlaneMotion | None:
    """How planes that follow each other move; None where fewer than three pairs tell.

    Args:
        axis: What the planes are stacked along.
        voxel_nm: Side of a voxel.
        planes: `[rows, columns]` each, of the same size; None where a plane takes no part.
        limits: What is compared.

    Example:
        >>> wave = np.sin(np.arange(64) / 4)[:, None] * np.cos(np.arange(64) / 5)
        >>> planes = [np.roll(wave, shift, axis=1).astype(np.float32) for shift in (0, 1, 1, 2, 2)]
        >>> found = plane_motion("x", 8, planes)
        >>> found.n_pairs, round(found.constant_px, 1), round(found.change_px, 1)
        (4, 0.5, 0.7)
    """
    flat = [None if plane is None else band_passed(plane, limits) for plane in planes]
    found = [_of_pair(one, other, limits) for one, other in pairwise(flat)]
    known = [shifts for shifts in found if shifts is not None]
    if len(known) < LEAST_PAIRS:
        return None
    unknown = np.full_like(known[0], np.nan)
    # [pairs, 1 + bands, 2]: the plane's own shift, then those of its bands.
    shifts = np.stack([unknown if pair is None else pair for pair in found])
    of_planes, of_bands = shifts[:, 0], shifts[:, 1:]
    return PlaneMotion(
        axis=axis,
        voxel_nm=voxel_nm,
        n_pairs=len(known),
        constant_px=float(np.hypot(*np.nanmean(of_planes, axis=0))),
        change_px=_rms(np.diff(of_planes, axis=0)),
        rows_px=_rms(np.diff(of_bands - of_planes[:, None], axis=0)) if of_bands.shape[1] > 1 else None,
    )


def _of_pair(one: Plane | None, other: Plane | None, limits: MotionLimits) -> NDArray[np.float64] | None:
    """[1 + bands, 2] shifts (x, y) of a plane and of its bands of rows; None where the planes tell none."""
    shift = None if one is None or other is None else _shift(one, other, (0.0, 0.0), limits)
    if one is None or other is None or shift is None:
        return None
    spans = (slice(i * limits.band_px, (i + 1) * limits.band_px) for i in range(len(one) // limits.band_px))
    bands = [_shift(one[rows], other[rows], shift, limits) or (np.nan, np.nan) for rows in spans]
    return np.array([shift, *bands])


def _rms(values: NDArray[np.float64]) -> float:
    """Root of the mean square of each component, NaN left out."""
    return float(np.sqrt(np.nanmean(np.square(values))))


def band_passed(plane: Plane, limits: MotionLimits = MOTION) -> Plane:
    """A plane without grain and without shading."""
    smooth = cv2.GaussianBlur(plane, (0, 0), limits.grain_sigma_px)
    return np.asarray(smooth - cv2.GaussianBlur(plane, (0, 0), limits.shading_sigma_px), np.float32)


def _shift(
    one: Plane, other: Plane, start_xy: tuple[float, float], limits: MotionLimits
) -> tuple[float, float] | None:
    """Where (x, y) the other plane shows what the one shows; None where that cannot be told.

    By the enhanced correlation coefficient (Evangelidis and Psarakis 2008), which knows no brightness.
    """
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    start = np.array([[1, 0, start_xy[0]], [0, 1, start_xy[1]]], np.float32)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, limits.steps, limits.settled)
    try:
        _, found = cv2.findTransformECC(one, other, start, cv2.MOTION_TRANSLATION, until, _NO_MASK, 1)
    except cv2.error:  # it does not converge
        return None
    return float(found[0, 2]), float(found[1, 2])
