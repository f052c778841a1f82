"""The conditions under which a transform is believed: refuse, do not guess."""

from __future__ import annotations

from typing import Literal

import numpy as np

from components.align.correlation import Agreement
from components.align.features import cell_of
from components.align.normalise import CONTENT_CELLS, MatchingPicture
from components.shared.geometry import Matrix, Points, rotation_deg, transform_points

Reason = Literal[
    "no_content",
    "too_few_inliers",
    "coverage",
    "determinant",
    "rotation",
    "second_consensus",
    "windows_disagree",
    "bands_disagree",
    "ncc_not_better",
    "ncc_not_above_chance",
]
"""Why a pair is refused."""

MIN_INLIERS = 20
MIN_COVERAGE = 0.3
DETERMINANT_RANGE = (0.97, 1.03)
MAX_ROTATION_DEG = 5.0
"""Two slices that each turned by a degree or two pass; a wrong consensus has any angle."""
MIN_WINDOWS = 12
MIN_KEPT_WINDOWS = 0.3
"""Least fraction of the windows that find their place."""
MAX_WINDOW_SPREAD_PX = 3.0
"""Windows that find chance peaks scatter over the whole search, with a sigma of 4.6 px."""
MAX_CORRECTION_PX = 8.0
"""A coarse transform is better than this, at matching scale; else the windows have met chance peaks."""
MAX_BAND_DISAGREEMENT_PX = 3.0
"""Between the windows' coarse band and the whole picture's fine one, at detail scale; three times the most
that real neighbours, serial sections and overlays have shown."""
_MIN_CONTENT_OF_CELL = 0.25
SMALL_MOTION_PX = 3.0
"""Motion below this, at matching scale, need not improve the correlation: tissue itself moves as much."""
_NCC_SLACK = 0.02
MIN_ABOVE_CHANCE = 0.1
MIN_ABOVE_CHANCE_ALONE = 0.08
"""For a search that no window confirms: four times the spread that it has between mirrored slices."""
WHOLE_FRAME_SIGMA_PX = 6.0
"""Error of such a search at matching scale."""


def coverage(
    inliers_px: Points, slice_: MatchingPicture, neighbour: MatchingPicture, neighbour_from_slice: Matrix
) -> float:
    """Fraction of the cells with content in both slices that hold inliers; 0 where there are none."""
    height, width = slice_.picture.shape
    x, y = np.meshgrid(_cell_centers(width), _cell_centers(height))
    moved = np.rint(transform_points(neighbour_from_slice, np.column_stack([x.ravel(), y.ravel()])))
    neighbour_height, neighbour_width = neighbour.picture.shape
    shown = np.all((moved >= 0) & (moved < [neighbour_width, neighbour_height]), axis=1)
    has_content = shown & (slice_.content.ravel() >= _MIN_CONTENT_OF_CELL)
    if not has_content.any():
        return 0.0
    held = np.zeros(CONTENT_CELLS**2, bool)
    held[cell_of(inliers_px, (height, width), CONTENT_CELLS)] = True
    return float(np.count_nonzero(held & has_content) / np.count_nonzero(has_content))


def windows_suffice(n_kept: int, n_windows: int) -> bool:
    """Whether enough windows have found their place to carry a transform; else the features do, alone."""
    return n_kept >= max(MIN_WINDOWS, MIN_KEPT_WINDOWS * n_windows)


def refusal_of_correction(corrected_px: float) -> Reason | None:
    """Why the refined transform is not believed, or None.

    Args:
        corrected_px: RMS motion of the corners from coarse to refined, at matching scale.
    """
    return "windows_disagree" if corrected_px > MAX_CORRECTION_PX else None


def refusal_of_bands(apart_px: float) -> Reason | None:
    """Why two bands of the same pictures speak against a transform, or None.

    Args:
        apart_px: RMS motion of the corners between what they find, at detail scale.
    """
    return "bands_disagree" if apart_px > MAX_BAND_DISAGREEMENT_PX else None


def refusal_of_matrix(matrix: Matrix) -> Reason | None:
    """Why a motion cannot be one of neighbouring slices, or None."""
    determinant = float(np.linalg.det(matrix[:2, :2]))
    if not DETERMINANT_RANGE[0] <= determinant <= DETERMINANT_RANGE[1]:
        return "determinant"
    if abs(rotation_deg(matrix)) > MAX_ROTATION_DEG:
        return "rotation"
    return None


def refusal_of_agreement(found: Agreement, motion_px: float) -> Reason | None:
    """Why the pictures speak against a transform, or None.

    Args:
        found: correlation of the two slices.
        motion_px: RMS motion over the picture, at matching scale.
    """
    slack = _NCC_SLACK if motion_px < SMALL_MOTION_PX else 0.0
    if found.moved <= found.as_they_lie - slack:
        return "ncc_not_better"
    if found.moved < max(found.mirrored, 0.0) + MIN_ABOVE_CHANCE:
        return "ncc_not_above_chance"
    return None


def _cell_centers(length: int) -> Points:
    centers: Points = (np.arange(CONTENT_CELLS) + 0.5) * length / CONTENT_CELLS - 0.5
    return centers
