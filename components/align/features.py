"""SIFT features of a slice, spread evenly over it, and which features of two slices belong together.

Two slices share a feature where each is the other's nearest; the matches that agree on one motion, their
consensus, are the inliers.

A static pattern stays in place while the tissue moves: scratches, dirt, letters on the tissue. It agrees
perfectly with no motion at all, so it can outvote the tissue. It is recognised by a second consensus, and
taken out of the pictures of that pair. Data bars, whose place is known for the whole stack, are gone before:
`Plan.matched_part`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.models import PointPairs, fit_ladder
from components.align.normalise import GREY, MatchingPicture, PreparedPicture, blurred, enlarged, resized
from components.shared.geometry import Matrix, transform_points
from components.shared.limits import limit
from components.shared.pictures.warping import warped


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLimits:
    """Which features are kept of a slice (SIFT, Lowe 2004)."""

    coarse_scale: float = limit(
        0.5,
        unit="of the scale of matching",
        why="half of it shows what neighbours share and hides their grain; windows refine what it finds",
        measured_on="slices of 5,000 px: 1.2 s at the scale of matching, 0.1 s at half of it; fourth "
        "neighbours share 45 inliers there and 115 here",
        too_small="small slices hold fewer than 20 inliers",
        too_large="time; grain, which matches nothing, gives most of the features",
    )
    max_features: int = limit(
        2000,
        unit="features a slice",
        why="all of two slices are compared; 2,000 cost 17 ms a pair and 0.3 MB a slice",
        measured_on="time of 1,000, 2,000 and 4,000 features: 4, 17 and 140 ms; a fourth of the features of "
        "a slice of 5,000 px at half of the scale of matching, all of one of 400 px",
        too_small="small matching parts of two slices hold fewer than 20 inliers",
        too_large="time grows with the square",
    )
    selection_cells: int = limit(
        16,
        unit="cells a side",
        why="features are selected in them by turns, so that one busy corner does not take them all",
        measured_on="not measured; 7 features a cell",
        too_small="a busy cell still takes the features of a calm one",
        too_large="weak features are taken before strong ones",
    )
    contrast_threshold: float = limit(
        0.02,
        unit="of OpenCV's SIFT, grey levels 0..1",
        why="half of OpenCV's default: membranes are faint, and too many features are no harm",
        measured_on="not measured; others use 0.025 to 0.04 on FIB-SEM and match at full resolution",
        too_small="noise gives features, which match nothing and take the place of others",
        too_large="a slice of faint tissue has too few",
    )
    octave_layers: int = limit(
        3,
        unit="scales an octave",
        why="Lowe's choice: repeatability is greatest there",
        measured_on="Lowe 2004, figure 3",
        too_small="fewer features are found again",
        too_large="time, and less stable features",
    )
    edge_threshold: float = limit(
        10.0,
        unit="ratio of principal curvatures",
        why="Lowe's and OpenCV's choice: a feature on an edge slides along it",
        measured_on="Lowe 2004, section 4.1",
        too_small="membranes, which are edges, lose their features",
        too_large="features slide along membranes",
    )
    first_sigma_px: float = limit(
        1.6,
        unit="px of the doubled picture",
        why="Lowe's and OpenCV's choice of the first blur",
        measured_on="Lowe 2004, figure 4",
        too_small="noise gives features",
        too_large="fine structures give none",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchingLimits:
    """Limits that decide when two features belong together, and when matches agree on a motion."""

    ratio: float = limit(
        0.8,
        unit="of the distance to the second nearest descriptor",
        why="the nearest must be this much nearer than the second (Lowe 2004)",
        measured_on="two real FIB-SEM slices: 0.7, 0.8 and 0.92 give 880, 1,087 and 1,303 inliers "
        "of 894, 1,160 and 1,953 matches",
        too_small="blurred slices have too few matches",
        too_large="many more matches, few more inliers",
    )
    consensus_px: float = limit(
        3.0,
        unit="px at matching scale",
        why="a match further from the common affine motion is an outlier (MAGSAC++ weighs below it)",
        measured_on="603 of 603 inliers found among 2,000 matches with 70 % outliers",
        too_small="tissue that changes between slices is no inlier",
        too_large="wrong motions gather inliers",
    )
    consensus_iterations: int = limit(
        5000,
        unit="samples of three matches",
        why="3 % of inliers are found with a probability of 0.13, 10 % with 0.99",
        measured_on="about 1 ms for 2,000 matches, which end long before",
        too_small="few inliers among many outliers are missed",
        too_large="time on pairs that have no consensus",
    )
    consensus_confidence: float = limit(
        0.9999,
        unit="probability",
        why="sampling ends when a better consensus is less likely than 1 in 10,000",
        measured_on="not measured; bit-identical on repeat, OpenCV's seed is fixed",
        too_small="a stack of 13,696 slices has pairs with the second best consensus",
        too_large="time",
    )


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


LIMITS = FeatureLimits()
MATCHING = MatchingLimits()
STATIC = StaticPatternLimits()
DESCRIPTOR_NORM = 512.0
"""Length of a descriptor before rounding: scalar products stay whole numbers below 2^24, exact in float32."""


@dataclass(frozen=True, slots=True)
class Features:
    """Points of a picture with descriptors of what surrounds them."""

    points_px: NDArray[np.float64]
    """[n, 2] x, y at matching scale."""
    descriptors: NDArray[np.uint8]
    """[n, 128] RootSIFT (Arandjelovic and Zisserman 2012), of length 512."""

    def __len__(self) -> int:
        return len(self.points_px)


def coarse_features(matching: MatchingPicture) -> Features:
    """The features of a slice in its picture at `coarse_scale`, their points at matching scale."""
    scale = LIMITS.coarse_scale
    small: PreparedPicture = np.rint(resized(matching.picture, scale)).astype(np.uint8)
    found = extract_features(small, enlarged(matching.shown, small.shape))
    return Features((found.points_px + 0.5) / scale - 0.5, found.descriptors)


def extract_features(picture: PreparedPicture, shown: NDArray[np.bool_]) -> Features:
    """The features of a picture where it is shown, at most `max_features`, in a fixed order.

    Descriptors take longer than all else, so only those that are chosen get one. Needs about 220 bytes a
    pixel.
    """
    # Without the precise upscale, positions are biased by 0.25 px under scaling and rotation (OpenCV #23123).
    sift = cv2.SIFT.create(
        0,  # all features: the strongest alone would crowd
        LIMITS.octave_layers,
        LIMITS.contrast_threshold,
        LIMITS.edge_threshold,
        LIMITS.first_sigma_px,
        enable_precise_upscale=True,
    )
    found = sift.detect(picture, shown.astype(np.uint8))
    if not found:
        return Features(np.empty((0, 2)), np.empty((0, 128), np.uint8))
    points = np.array([keypoint.pt for keypoint in found], np.float64)
    responses = np.array([keypoint.response for keypoint in found], np.float64)
    chosen = spread_selection(points, responses, picture.shape, LIMITS.max_features)
    _, descriptors = sift.compute(picture, [found[i] for i in chosen])
    return Features(points[chosen], _root_sift(descriptors.astype(np.float32)))


def inverted_features(features: Features) -> Features:
    """The features of the same picture with its grey levels inverted.

    Every gradient points the other way, the main one of a feature included: SIFT sees the same spots, rotated
    by half a circle. So the 4 x 4 cells of a descriptor change places, and its 8 directions stay.
    """
    cells = features.descriptors.reshape(-1, 4, 4, 8)[:, ::-1, ::-1]
    return Features(features.points_px, np.ascontiguousarray(cells).reshape(-1, 128))


def spread_selection(
    points_px: NDArray[np.float64],
    responses: NDArray[np.float64],
    shape_yx: tuple[int, ...],
    most: int,
) -> NDArray[np.int64]:
    """Indices of the strongest points of each cell, then of the strongest that are left, ascending."""
    if len(points_px) <= most:
        return np.arange(len(points_px))
    cell = cell_of(points_px, shape_yx, LIMITS.selection_cells)
    order = np.lexsort((np.arange(len(cell)), -responses, cell))
    first_of_cell = np.searchsorted(cell[order], cell[order])
    rank = np.arange(len(order)) - first_of_cell
    late = rank >= most // LIMITS.selection_cells**2
    by_turn = np.lexsort((order, -responses[order], late))
    return np.sort(order[by_turn[:most]])


def cell_of(points_px: NDArray[np.float64], shape_yx: tuple[int, ...], per_side: int) -> NDArray[np.int64]:
    """Number of the cell that each point lies in, of `per_side`^2; points outside go to the rim.

    Example:
        >>> cell_of(np.array([[0.0, 0.0], [99.0, 0.0], [0.0, 49.0]]), (50, 100), 2).tolist()
        [0, 1, 2]
    """
    size_xy = np.array([shape_yx[1], shape_yx[0]])
    column_row = np.clip(((points_px + 0.5) * per_side / size_xy).astype(np.int64), 0, per_side - 1)
    cells: NDArray[np.int64] = column_row[:, 1] * per_side + column_row[:, 0]
    return cells


def match_features(features: Features, neighbour: Features) -> PointPairs:
    """The mutual nearest neighbours that pass the ratio test, by exhaustive comparison.

    Approximate search would be no faster at this size and does not repeat.
    """
    if min(len(features), len(neighbour)) < 2:
        return PointPairs(np.empty((0, 2)), np.empty((0, 2)))
    distance2 = _squared_distances(features.descriptors, neighbour.descriptors)
    nearest = distance2.argmin(axis=1)
    mutual = distance2.argmin(axis=0)[nearest] == np.arange(len(features))
    rows = np.flatnonzero(mutual)
    smallest_two = np.partition(distance2[rows], 1, axis=1)[:, :2]
    passed = rows[smallest_two[:, 0] < MATCHING.ratio**2 * smallest_two[:, 1]]
    return PointPairs(features.points_px[passed], neighbour.points_px[nearest[passed]])


def consensus(matches: PointPairs) -> PointPairs:
    """The matches that agree on one affine motion (MAGSAC++, Barath et al. 2020); empty where none do."""
    if len(matches) < 4:
        return matches[np.zeros(len(matches), bool)]
    _, inliers = cv2.estimateAffine2D(
        matches.slice_px,
        matches.neighbour_px,
        method=cv2.USAC_MAGSAC,
        ransacReprojThreshold=MATCHING.consensus_px,
        maxIters=MATCHING.consensus_iterations,
        confidence=MATCHING.consensus_confidence,
    )
    if inliers is None:
        return matches[np.zeros(len(matches), bool)]
    return matches[inliers.ravel() > 0]


def moving_consensus(matches: PointPairs, min_inliers: int) -> PointPairs | None:
    """The consensus of the tissue where the matches hold a static pattern besides; None where they do not.

    A consensus of all matches would take the greater of the two, or a mean of both where the tissue moves by
    a few pixels.

    Args:
        matches: at matching scale.
        min_inliers: least size of a consensus, and of a static pattern.
    """
    is_still = np.linalg.norm(matches.neighbour_px - matches.slice_px, axis=1) < STATIC.still_px
    least = max(min_inliers, STATIC.min_share * len(matches))
    if np.count_nonzero(is_still) < least:
        return None
    moving = consensus(matches[~is_still])
    if len(moving) < max(min_inliers, STATIC.min_share * np.count_nonzero(is_still)):
        return None
    motion = fit_ladder(moving)["rigid"].matrix
    still_px = matches.slice_px[is_still]
    # Near the centre of a rotation tissue is still, too.
    expected_px = np.linalg.norm(transform_points(motion, still_px) - still_px, axis=1)
    return moving if np.count_nonzero(expected_px > STATIC.moving_px) >= least else None


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
    static = (agrees > STATIC.min_still_correlation) & (agrees > _local_correlation(here, moved))
    return cv2.dilate(static.astype(np.uint8), np.ones((STATIC.margin_px, STATIC.margin_px), np.uint8)) > 0


def _root_sift(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Descriptors whose Euclidean distance is the Hellinger distance of the histograms."""
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    rooted: NDArray[np.uint8] = np.clip(np.rint(np.sqrt(share) * DESCRIPTOR_NORM), 0, 255).astype(np.uint8)
    return rooted


def _squared_distances(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[n, m] squared distances; every sum is a whole number below 2^24, so exact in whatever order."""
    a_exact, b_exact = a.astype(np.float32), b.astype(np.float32)
    a_norm = np.square(a_exact).sum(axis=1)
    b_norm = np.square(b_exact).sum(axis=1)
    distances: NDArray[np.float32] = a_exact @ b_exact.T
    distances *= -2
    distances += a_norm[:, None]
    distances += b_norm
    return distances


def _local_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """NCC of two pictures around each pixel; both vary around 0, so that no mean is subtracted."""
    energy = blurred(np.square(a), STATIC.local_sigma_px) * blurred(np.square(b), STATIC.local_sigma_px)
    correlation: NDArray[np.float32] = blurred(a * b, STATIC.local_sigma_px) / np.sqrt(np.maximum(energy, 1))
    return correlation
