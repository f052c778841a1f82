"""A search of the whole frame for how two slices lie: what is left where features fail.

Neighbours in serial sections share shapes and hardly any detail, so features find nothing to hold on to.
Small, smooth pictures still correlate, at one translation and angle alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from components.align.normalise import GREY, MatchingPicture, blurred, resized
from components.shared.geometry import (
    Matrix,
    at_full_resolution,
    at_scale,
    rotation_about,
    translation,
)
from components.shared.pictures.warping import warped

_SEARCH_SIZE_PX = 256
"""Longest side of the pictures that are searched."""
_ECC_SIZE_PX = 512
"""Longest side of those that then tell the angle to a fraction of a degree."""
_SMOOTHING_SIGMA_PX = 1.5
_ANGLES_DEG = tuple(range(-5, 6))
"""Half a degree off, the corners of the small picture lie a pixel off."""
_MIN_OVERLAP = 0.5
_ECC_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
_ECC_FILTER_PX = 5

Signal = NDArray[np.float32]
Spectrum = NDArray[np.complex64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMatch:
    """The result of a search over translations and angles."""

    matrix: Matrix
    """neighbour_from_slice, in pixels of the two pictures, to about a pixel of the small ones."""
    ncc: float
    """Correlation there."""
    chance: float
    """The best that the same search finds with the neighbour mirrored, where there is nothing to find."""


def whole_frame_search(slice_: MatchingPicture, neighbour: MatchingPicture) -> FrameMatch:
    """The translation and angle at which two matching pictures correlate best.

    Masked normalised cross-correlation (Padfield 2012) over every shift that leaves half of them in common;
    from there the enhanced correlation coefficient (Evangelidis and Psarakis 2008), rigid.
    """
    scale = min(1.0, _SEARCH_SIZE_PX / max(*slice_.picture.shape, *neighbour.picture.shape))
    signals = _signal(slice_, scale), _signal(neighbour, scale)
    found, ncc = _best_motion(*signals)
    neighbour_signal, shown = signals[1]
    mirrored = [(np.flip(neighbour_signal, axes), np.flip(shown, axes)) for axes in (0, 1, (0, 1))]
    chance = max(_best_motion(signals[0], other)[1] for other in mirrored)
    coarse = at_full_resolution(found, scale)
    return FrameMatch(matrix=_closer(slice_, neighbour, coarse), ncc=ncc, chance=chance)


def _signal(picture: MatchingPicture, scale: float) -> tuple[Signal, Signal]:
    """A picture around 0, reduced and smoothed, and the mask of where it is, 0 or 1."""
    small = blurred(resized(picture.picture, scale), _SMOOTHING_SIGMA_PX) - np.float32(GREY)
    mask = (resized(picture.shown.astype(np.float32), scale) > 0.99).astype(np.float32)
    return small * mask, mask


def _best_motion(slice_: tuple[Signal, Signal], neighbour: tuple[Signal, Signal]) -> tuple[Matrix, float]:
    """The best neighbour_from_slice over all angles and shifts, and the correlation there."""
    height, width = neighbour[0].shape
    shape = tuple(
        fft.next_fast_len(a + b - 1, real=True) for a, b in zip(slice_[0].shape, (height, width), strict=True)
    )
    fixed = _spectra(*slice_, shape)
    best, best_ncc = np.eye(3), -1.0
    for angle_deg in _ANGLES_DEG:
        turn = rotation_about(((width - 1) / 2, (height - 1) / 2), np.radians(angle_deg))
        turned, mask = (warped(part, turn, (height, width)) for part in neighbour)
        shown = (mask > 0.99).astype(np.float32)
        scores = _scores(fixed, _spectra(turned * shown, shown, shape), shape, float(slice_[1].sum()))
        y, x = (int(v) for v in np.unravel_index(int(scores.argmax()), shape))
        if scores[y, x] > best_ncc:
            best_ncc = float(scores[y, x])
            shift = translation(x - shape[1] * (x >= width), y - shape[0] * (y >= height))
            best = turn @ shift
    return best, best_ncc


def _spectra(signal: Signal, mask: Signal, shape: tuple[int, ...]) -> tuple[Spectrum, Spectrum, Spectrum]:
    first, second, third = (fft.rfft2(part, shape) for part in (signal, np.square(signal), mask))
    return first, second, third


def _scores(
    slice_: tuple[Spectrum, Spectrum, Spectrum],
    neighbour: tuple[Spectrum, Spectrum, Spectrum],
    shape: tuple[int, ...],
    slice_area: float,
) -> Signal:
    """[shape] correlation at every shift of the slice into the neighbour, -1 where too little is in common.

    Matching pictures have the same mean everywhere, so the mean of the common part is left out.
    """

    def correlated(a: Spectrum, b: Spectrum) -> Signal:
        result: Signal = fft.irfft2(np.conj(a) * b, shape)
        return result

    overlap = correlated(slice_[2], neighbour[2])
    enough = overlap >= _MIN_OVERLAP * slice_area
    energy = correlated(slice_[1], neighbour[2]) * correlated(slice_[2], neighbour[1])
    scores = correlated(slice_[0], neighbour[0]) / np.sqrt(np.maximum(energy, 1))
    return np.where(enough, scores, np.float32(-1))


def _closer(slice_: MatchingPicture, neighbour: MatchingPicture, coarse: Matrix) -> Matrix:
    """A rigid motion nearer to the truth than the small pictures tell; the same where that fails."""
    scale = min(1.0, _ECC_SIZE_PX / max(*slice_.picture.shape, *neighbour.picture.shape))
    (fixed, _), (moving, mask) = (_signal(picture, scale) for picture in (slice_, neighbour))
    start = at_scale(coarse, scale)[:2].astype(np.float32)
    try:
        _, found = cv2.findTransformECC(
            fixed, moving, start, cv2.MOTION_EUCLIDEAN, _ECC_STOP, mask.astype(np.uint8), _ECC_FILTER_PX
        )
    except cv2.error:  # it does not converge
        return coarse
    return at_full_resolution(np.vstack([found.astype(np.float64), [0.0, 0.0, 1.0]]), scale)
