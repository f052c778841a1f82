"""What stays in place while the tissue moves: scratches, dirt, a label that is burnt in.

Such a pattern agrees perfectly with no motion at all, so it can outvote the tissue. It is recognised by a
second consensus among the features, and taken out of the pictures of that pair.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.matching import PointPairs, consensus
from components.align.models import fit_ladder
from components.align.normalise import GREY, MatchingPicture, blurred
from components.shared.geometry import Matrix, transform_points
from components.shared.pictures.warping import warped

_STILL_PX = 0.5
"""A static pattern moves by less, at matching scale; tissue jitters by more."""
_MOVING_PX = 1.5
"""Tissue must move by more to be told from a static pattern."""
_MIN_SHARE = 0.05
"""A static pattern has at least this part of the matches, and the tissue this part of the pattern's."""
_LOCAL_SIGMA_PX = 4.0
_MIN_STILL_CORRELATION = 0.5
_MARGIN_PX = 13


def moving_consensus(matches: PointPairs, min_inliers: int) -> PointPairs | None:
    """The consensus of the tissue where the matches hold a static pattern besides; None where they do not.

    A consensus of all matches would take the greater of the two, or a mean of both where the tissue moves by
    a few pixels.

    Args:
        matches: at matching scale.
        min_inliers: least size of a consensus, and of a static pattern.
    """
    is_still = np.linalg.norm(matches.neighbour_px - matches.slice_px, axis=1) < _STILL_PX
    least = max(min_inliers, _MIN_SHARE * len(matches))
    if np.count_nonzero(is_still) < least:
        return None
    moving = consensus(matches[~is_still])
    if len(moving) < max(min_inliers, _MIN_SHARE * np.count_nonzero(is_still)):
        return None
    motion = fit_ladder(moving)["rigid"].matrix
    still_px = matches.slice_px[is_still]
    # Near the centre of a rotation tissue is still, too.
    expected_px = np.linalg.norm(transform_points(motion, still_px) - still_px, axis=1)
    return moving if np.count_nonzero(expected_px > _MOVING_PX) >= least else None


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
    static = (agrees > _MIN_STILL_CORRELATION) & (agrees > _local_correlation(here, moved))
    return cv2.dilate(static.astype(np.uint8), np.ones((_MARGIN_PX, _MARGIN_PX), np.uint8)) > 0


def _local_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlation of pictures around 0 in the neighbourhood of each pixel."""
    energy = blurred(np.square(a), _LOCAL_SIGMA_PX) * blurred(np.square(b), _LOCAL_SIGMA_PX)
    correlation: NDArray[np.float32] = blurred(a * b, _LOCAL_SIGMA_PX) / np.sqrt(np.maximum(energy, 1))
    return correlation
