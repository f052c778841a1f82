"""Other ways to align, on the same files: each registers a slice with the one before, and composes.

All are given what a careful user would give them: single-channel pictures of full range, the start of one
method where another finds it, and the place of the slice before where they fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Matrix, at_full_resolution, translation

Raw = NDArray[np.integer]
Points = NDArray[np.float64]
Register = Callable[[Raw, Raw], Matrix | None]
"""From a slice and the next to the matrix next_from_slice; None where none is found."""

# The published settings of the older workflow (Fiji's SIFT, its affine and translation models).
SIFT_SIDE_PX, SIFT_RATIO, SIFT_EPSILON_PX = 1024, 0.92, 25.0
SIFT_MIN_INLIERS, SIFT_MIN_INLIER_RATIO, SIFT_DRAWS = 20, 0.05, 1000
SMALL_OFF_DIAGONAL = 0.0008
"""Below this the older workflow takes the translation. It compared with a sign; here both signs count."""
SATURATED = 0.35
"""Per cent of the pixels that its contrast stretch clips."""
ECC_STEPS, ECC_BLUR_PX = 100, 5


def sift_ransac(slice_: Raw, following: Raw) -> Matrix | None:
    """SIFT and RANSAC with the older workflow's settings."""
    scale = min(1.0, SIFT_SIDE_PX / max(slice_.shape))
    points, next_points = _sift_matches(_stretched(slice_, scale), _stretched(following, scale))
    if len(points) < SIFT_MIN_INLIERS:
        return None
    cv2.setRNGSeed(69_997)
    affine, mask = cv2.estimateAffine2D(
        points,
        next_points,
        method=cv2.RANSAC,
        ransacReprojThreshold=SIFT_EPSILON_PX,
        maxIters=SIFT_DRAWS,
        confidence=0.999999,
    )
    if affine is None or not _enough(int(mask.sum()), len(points)):
        return None
    matrix = np.vstack([affine, [0.0, 0.0, 1.0]])
    if abs(matrix[0, 1]) <= SMALL_OFF_DIAGONAL:
        shift = _agreed_shift(next_points - points)
        if shift is None:
            return None
        matrix = translation(*shift)
    return at_full_resolution(matrix, scale)


def _sift_matches(slice_: NDArray[np.uint8], following: NDArray[np.uint8]) -> tuple[Points, Points]:
    sift: Any = cv2.SIFT.create()
    keypoints, descriptors = sift.detectAndCompute(slice_, None)
    next_keypoints, next_descriptors = sift.detectAndCompute(following, None)
    if min(len(keypoints), len(next_keypoints)) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    candidates = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors, next_descriptors, k=2)
    kept = [first for first, second in candidates if first.distance < SIFT_RATIO * second.distance]
    points = np.array([keypoints[m.queryIdx].pt for m in kept], np.float64).reshape(-1, 2)
    next_points = np.array([next_keypoints[m.trainIdx].pt for m in kept], np.float64).reshape(-1, 2)
    return points, next_points


def _agreed_shift(shifts: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The mean of the largest set of shifts within epsilon of one of them, refitted until it stays."""
    draws = shifts[np.random.default_rng(0).permutation(len(shifts))[:SIFT_DRAWS]]
    counts = [(np.hypot(*(shifts - draw).T) < SIFT_EPSILON_PX).sum() for draw in draws]
    shift = draws[int(np.argmax(counts))]
    inside = np.zeros(len(shifts), np.bool_)
    for _ in range(100):
        now = np.hypot(*(shifts - shift).T) < SIFT_EPSILON_PX
        if not _enough(int(now.sum()), len(shifts)):
            return None
        if (now == inside).all():
            break
        inside, shift = now, shifts[now].mean(axis=0)
    return np.asarray(shift, dtype=np.float64)


def _enough(n_inliers: int, n_candidates: int) -> bool:
    return n_inliers >= max(SIFT_MIN_INLIERS, SIFT_MIN_INLIER_RATIO * n_candidates)


def _stretched(raw: Raw, scale: float) -> NDArray[np.uint8]:
    low, high = np.percentile(raw.astype(np.float32), [SATURATED / 2, 100 - SATURATED / 2])
    stretched = np.clip((raw.astype(np.float32) - low) * (255 / max(high - low, 1e-6)), 0, 255)
    if scale < 1:
        stretched = cv2.resize(stretched, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(stretched, dtype=np.uint8)


def stackreg_translation(slice_: Raw, following: Raw) -> Matrix | None:
    """`pystackreg`, translation."""
    return _stackreg(slice_, following, "TRANSLATION")


def stackreg_rigid(slice_: Raw, following: Raw) -> Matrix | None:
    """`pystackreg`, rigid body."""
    return _stackreg(slice_, following, "RIGID_BODY")


def _stackreg(slice_: Raw, following: Raw, model: str) -> Matrix | None:
    from pystackreg import StackReg

    # Its matrix leads from the reference to the picture that it would move onto it.
    found = StackReg(getattr(StackReg, model)).register(_grey(slice_), _grey(following))
    return np.asarray(found, dtype=np.float64) if np.isfinite(found).all() else None


def phase_correlation(slice_: Raw, following: Raw) -> Matrix | None:
    """Phase correlation of scikit-image under a Hann window, to a twentieth of a pixel."""
    from skimage.registration import phase_cross_correlation

    register: Any = phase_cross_correlation
    hann = np.outer(*(np.hanning(side) for side in slice_.shape))
    pictures = [(grey - grey.mean()) * hann for grey in (_grey(slice_), _grey(following))]
    if min(picture.std() for picture in pictures) == 0:
        return None
    (y, x), *_ = register(pictures[1], pictures[0], upsample_factor=20)
    return translation(float(x), float(y))


def phase_then_ecc(slice_: Raw, following: Raw) -> Matrix | None:
    """Phase correlation, then OpenCV's ECC for a rigid motion."""
    start = phase_correlation(slice_, following)
    if start is None:
        return None
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ECC_STEPS, 1e-6)
    try:
        _, found = cv2.findTransformECC(
            _grey(slice_),
            _grey(following),
            start[:2].astype(np.float32),
            cv2.MOTION_EUCLIDEAN,
            criteria,
            np.ones(slice_.shape, np.uint8),
            ECC_BLUR_PX,
        )
    except cv2.error:
        return start
    return np.vstack([found.astype(np.float64), [0.0, 0.0, 1.0]])


def one_correlation(slice_: Raw, following: Raw) -> Matrix | None:
    """A single phase correlation of OpenCV's: the least work of whatever compares all pixels of two pictures.

    With decoding, its time is what the times of the others are compared with.
    """
    hann = cv2.createHanningWindow((slice_.shape[1], slice_.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(slice_.astype(np.float32), following.astype(np.float32), hann)
    return translation(x, y) if np.isfinite([x, y]).all() else None


def _grey(raw: Raw) -> NDArray[np.float32]:
    low, high = np.percentile(raw.astype(np.float32), [0.1, 99.9])
    grey: NDArray[np.float32] = (raw.astype(np.float32) - low) * np.float32(255 / max(high - low, 1e-6))
    return grey


PEERS: dict[str, Register] = {
    "SIFT + RANSAC": sift_ransac,
    "pystackreg rigid": stackreg_rigid,
    "pystackreg shift": stackreg_translation,
    "phase": phase_correlation,
    "phase + ECC": phase_then_ecc,
    "one correlation": one_correlation,
}
