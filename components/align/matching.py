"""Which features of two slices belong together: mutual nearest neighbours, then a consensus on one motion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.features import Features
from components.shared.geometry import Points

RATIO = 0.8
"""The nearest descriptor must be this much nearer than the second (Lowe 2004)."""
CONSENSUS_PX = 3.0
_CONSENSUS_ITERATIONS = 5000
_CONSENSUS_CONFIDENCE = 0.9999


@dataclass(frozen=True, slots=True)
class PointPairs:
    """Points of a slice and where the neighbour shows the same."""

    slice_px: Points
    neighbour_px: Points

    def __len__(self) -> int:
        return len(self.slice_px)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> PointPairs:
        return PointPairs(self.slice_px[chosen], self.neighbour_px[chosen])


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
    kept = rows[smallest_two[:, 0] < RATIO**2 * smallest_two[:, 1]]
    return PointPairs(features.points_px[kept], neighbour.points_px[nearest[kept]])


def consensus(matches: PointPairs) -> PointPairs:
    """The matches that agree on one affine motion (MAGSAC++, Barath et al. 2020); empty where none do."""
    if len(matches) < 4:
        return matches[np.zeros(len(matches), bool)]
    _, inliers = cv2.estimateAffine2D(
        matches.slice_px,
        matches.neighbour_px,
        method=cv2.USAC_MAGSAC,
        ransacReprojThreshold=CONSENSUS_PX,
        maxIters=_CONSENSUS_ITERATIONS,
        confidence=_CONSENSUS_CONFIDENCE,
    )
    if inliers is None:
        return matches[np.zeros(len(matches), bool)]
    return matches[inliers.ravel() > 0]


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
