"""Static patterns, which stay in place while the tissue moves: scratches, dirt, letters on the tissue.

Such a pattern agrees perfectly with no motion at all, so it can outvote the tissue. It is recognised by a
second consensus among the features, and taken out of the pictures of that pair. Data bars, whose place is
known for the whole stack, are gone before: `part_without`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.features import consensus
from components.align.models import PointPairs, fit_ladder
from components.align.normalise import GREY, MatchingPicture, blurred
from components.shared.geometry import Matrix, transform_points
from components.shared.limits import limit
from components.shared.pictures.warping import warped


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPatternLimits:
    """Limits that decide when something stands still while the tissue moves, and which pixels it covers."""

    still_px: float = limit(
        0.5,
        unit="px at matching scale",
        why="a static pattern moves by less; tissue jitters by more",
        measured_on="planted patterns, tests/components/align/test_pair.py; benchmarks/alignment: overlay",
        too_small="features of the pattern, good to half a pixel, count as tissue",
        too_large="tissue that hardly moves counts as a pattern",
    )
    moving_px: float = limit(
        1.5,
        unit="px at matching scale",
        why="tissue must move by more at the pattern's features to be told from it",
        measured_on="planted motion of 2.9 px under a pattern, tests/components/align/test_pair.py",
        too_small="a still stack has its tissue taken out",
        too_large="a pattern under a small motion holds the tissue",
    )
    min_share: float = limit(
        0.05,
        unit="of the matches",
        why="a static pattern has at least this part of the matches, the tissue this part of the pattern's",
        measured_on="not measured; benchmarks/alignment, case overlay: none of its pairs fails",
        too_small="a few chance matches call for a second consensus, which costs time",
        too_large="a small bright label holds the tissue",
    )
    local_sigma_px: float = limit(
        4.0,
        unit="px at matching scale",
        why="neighbourhood over which two pictures are correlated to find the pattern's pixels",
        measured_on="not measured",
        too_small="noise looks like a pattern",
        too_large="tissue around the pattern is taken out with it",
    )
    min_still_correlation: float = limit(
        0.5,
        unit="NCC",
        why="a pattern agrees at least so well as it lies, and better than after the tissue's motion",
        measured_on="planted patterns, tests/components/align/test_pair.py",
        too_small="tissue that resembles itself is taken out",
        too_large="faint patterns stay",
    )
    margin_px: int = limit(
        13,
        unit="px at matching scale, odd",
        why="side of the box by which the pattern's pixels grow, since its edges are blurred",
        measured_on="not measured; three local sigmas",
        too_small="the rim of the pattern holds the tissue",
        too_large="little tissue is left between dirt",
    )


LIMITS = StaticPatternLimits()


def moving_consensus(matches: PointPairs, min_inliers: int) -> PointPairs | None:
    """The consensus of the tissue where the matches hold a static pattern besides; None where they do not.

    A consensus of all matches would take the greater of the two, or a mean of both where the tissue moves by
    a few pixels.

    Args:
        matches: at matching scale.
        min_inliers: least size of a consensus, and of a static pattern.
    """
    is_still = np.linalg.norm(matches.neighbour_px - matches.slice_px, axis=1) < LIMITS.still_px
    least = max(min_inliers, LIMITS.min_share * len(matches))
    if np.count_nonzero(is_still) < least:
        return None
    moving = consensus(matches[~is_still])
    if len(moving) < max(min_inliers, LIMITS.min_share * np.count_nonzero(is_still)):
        return None
    motion = fit_ladder(moving)["rigid"].matrix
    still_px = matches.slice_px[is_still]
    # Near the centre of a rotation tissue is still, too.
    expected_px = np.linalg.norm(transform_points(motion, still_px) - still_px, axis=1)
    return moving if np.count_nonzero(expected_px > LIMITS.moving_px) >= least else None


def static_pixels(
    slice_: MatchingPicture, neighbour: MatchingPicture, neighbour_from_slice: Matrix
) -> NDArray[np.bool_]:
    """[y, x] where two slices agree as they lie, and better than after the motion of the tissue.

    Args:
        slice_: of any shape; the mask has its shape.
        neighbour: of any shape.
        neighbour_from_slice: motion of the tissue, in pixels of the two pictures.
    """
    here = slice_.picture.astype(np.float32) - GREY
    still, moved = (
        warped(neighbour.picture, matrix, slice_.picture.shape, outside=GREY).astype(np.float32) - GREY
        for matrix in (np.eye(3), neighbour_from_slice)
    )
    agrees = _local_correlation(here, still)
    static = (agrees > LIMITS.min_still_correlation) & (agrees > _local_correlation(here, moved))
    return cv2.dilate(static.astype(np.uint8), np.ones((LIMITS.margin_px, LIMITS.margin_px), np.uint8)) > 0


def _local_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """NCC of two pictures around each pixel; both vary around 0, so that no mean is subtracted."""
    energy = blurred(np.square(a), LIMITS.local_sigma_px) * blurred(np.square(b), LIMITS.local_sigma_px)
    correlation: NDArray[np.float32] = blurred(a * b, LIMITS.local_sigma_px) / np.sqrt(np.maximum(energy, 1))
    return correlation
