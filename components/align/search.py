"""The search of the whole frame for how two slices lie: what is left where features fail.

Neighbours in serial sections share shapes and hardly any detail, so features find nothing to hold on to.
Small, smooth pictures still correlate, at one translation and angle alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from components.align import gates
from components.align.normalise import GREY, MatchingPicture, blurred, resized
from components.shared.geometry import (
    Matrix,
    at_full_resolution,
    at_scale,
    rotation_about,
    translation,
)
from components.shared.limits import limit
from components.shared.pictures.warping import warped


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """Limits of the whole-frame search: the size of its pictures, and its steps.

    The search rotates by up to `AcceptanceLimits.max_rotation_deg` to either side: the gates refuse more.
    """

    size_px: int = limit(
        256,
        unit="px, longest side",
        why="pictures that are searched; a pixel is 5 px of matching scale, and the windows reach 4 to 8",
        measured_on="benchmarks/alignment/margins.py: true serial neighbours stand 0.36 to 0.46 above chance",
        too_small="shapes merge, and the windows do not reach the truth",
        too_large="detail that the sections do not share; time with the square",
    )
    ecc_size_px: int = limit(
        512,
        unit="px, longest side",
        why="pictures that then tell the angle to a fraction of a degree",
        measured_on="not measured; half a matching picture",
        too_small="the corners stay pixels off",
        too_large="detail that the sections do not share",
    )
    smoothing_sigma_px: float = limit(
        1.5,
        unit="px of the small pictures",
        why="leaves shapes, which neighbours in serial sections share",
        measured_on="not measured; the same blur as for NCC in the gates",
        too_small="detail that the sections do not share lowers the peak",
        too_large="broad peaks, and shading correlates anywhere",
    )
    angle_step_deg: int = limit(
        1,
        unit="degrees",
        why="half a degree off, the corners of the small picture lie a pixel off",
        measured_on="derived: 128 px * sin(0.5 degrees) = 1.1 px",
        too_small="time",
        too_large="the truth lies between two angles, and neither correlates",
    )
    min_overlap: float = limit(
        0.5,
        unit="of the pixels that the slice with the fewer of them shows",
        why="slices share at least half; small overlaps correlate by chance. The other slice may be larger",
        measured_on="not measured; scikit-image's default is 0.3",
        too_small="corners that resemble each other win",
        too_large="a large jump of the stage is not found",
    )
    min_overlap_of_larger: float = limit(
        0.1,
        unit="of the pixels that the slice with the more of them shows",
        why="half of a speck of tissue resembles some place of any slice",
        measured_on="not measured; 1,600 of 128 x 128 small pixels hold some twenty independent grains",
        too_small="a speck is found anywhere",
        too_large="a quarter of a section is not found in a whole one",
    )
    min_shown: float = limit(
        0.99,
        unit="of a small pixel",
        why="a pixel counts where nothing of it is padding, but for rounding",
        measured_on="derived",
        too_small="edges of padding correlate",
        too_large="rounding hides pixels",
    )
    ecc_steps: int = limit(
        100,
        unit="iterations",
        why="it starts a pixel and half a degree off",
        measured_on="not measured",
        too_small="it stops on the way",
        too_large="time where it does not converge",
    )
    ecc_epsilon: float = limit(
        1e-5,
        unit="change of the correlation in a step",
        why="below it the motion has settled; windows go on from there",
        measured_on="not measured",
        too_small="time",
        too_large="it stops on the way",
    )
    ecc_filter_px: int = limit(
        5,
        unit="px of the pictures of ecc_size_px, odd",
        why="blurs what sections do not share; the bias that it gives a scale is no matter to a rigid motion",
        measured_on="not measured",
        too_small="it settles on detail near the start",
        too_large="the angle is uncertain",
    )


LIMITS = SearchLimits()

Signal = NDArray[np.float32]
Spectrum = NDArray[np.complex64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMatch:
    """The result of a search over translations and angles."""

    matrix: Matrix
    """neighbour_from_slice, in pixels of the two pictures, to about a pixel of the small ones."""
    ncc: float
    """NCC of the two pictures under `matrix`."""
    chance: float
    """Greatest NCC that the search finds with the neighbour mirrored, where there is nothing to find."""


def whole_frame_search(slice_: MatchingPicture, neighbour: MatchingPicture) -> FrameMatch:
    """The translation and angle at which two matching pictures correlate best.

    Masked normalised cross-correlation (Padfield 2012) over every shift that leaves half of them in common;
    from there the enhanced correlation coefficient (Evangelidis and Psarakis 2008), rigid.
    """
    scale = min(1.0, LIMITS.size_px / max(*slice_.picture.shape, *neighbour.picture.shape))
    signals = _signal(slice_, scale), _signal(neighbour, scale)
    found, ncc = _best_motion(*signals)
    neighbour_signal, shown = signals[1]
    mirrored = [(np.flip(neighbour_signal, axes), np.flip(shown, axes)) for axes in (0, 1, (0, 1))]
    chance = max(_best_motion(signals[0], other)[1] for other in mirrored)
    coarse = at_full_resolution(found, scale)
    return FrameMatch(matrix=_settled(slice_, neighbour, coarse), ncc=ncc, chance=chance)


def _signal(picture: MatchingPicture, scale: float) -> tuple[Signal, Signal]:
    """A picture around 0, reduced and smoothed, and the mask of the pixels that it shows, 0 or 1."""
    small = blurred(resized(picture.picture, scale), LIMITS.smoothing_sigma_px) - np.float32(GREY)
    mask = (resized(picture.shown.astype(np.float32), scale) > LIMITS.min_shown).astype(np.float32)
    return small * mask, mask


def _best_motion(slice_: tuple[Signal, Signal], neighbour: tuple[Signal, Signal]) -> tuple[Matrix, float]:
    """The best neighbour_from_slice over all angles and shifts, and the correlation there."""
    height, width = neighbour[0].shape
    shape = tuple(
        fft.next_fast_len(a + b - 1, real=True) for a, b in zip(slice_[0].shape, (height, width), strict=True)
    )
    fixed = _spectra(*slice_, shape)
    best, best_ncc = np.eye(3), -1.0
    for angle_deg in _angles_deg():
        turn = rotation_about(((width - 1) / 2, (height - 1) / 2), np.radians(angle_deg))
        turned, mask = (warped(part, turn, (height, width)) for part in neighbour)
        shown = (mask > LIMITS.min_shown).astype(np.float32)
        smaller, larger = sorted((float(slice_[1].sum()), float(shown.sum())))
        least = max(LIMITS.min_overlap * smaller, LIMITS.min_overlap_of_larger * larger)
        scores = _scores(fixed, _spectra(turned * shown, shown, shape), shape, least)
        y, x = (int(v) for v in np.unravel_index(int(scores.argmax()), shape))
        if scores[y, x] > best_ncc:
            best_ncc = float(scores[y, x])
            shift = translation(x - shape[1] * (x >= width), y - shape[0] * (y >= height))
            best = turn @ shift
    return best, best_ncc


def _angles_deg() -> range:
    """The rotations that are tried, as far as the gates accept one."""
    most = math.floor(gates.LIMITS.max_rotation_deg)
    return range(-most, most + 1, LIMITS.angle_step_deg)


def _spectra(signal: Signal, mask: Signal, shape: tuple[int, ...]) -> tuple[Spectrum, Spectrum, Spectrum]:
    first, second, third = (fft.rfft2(part, shape) for part in (signal, np.square(signal), mask))
    return first, second, third


def _scores(
    slice_: tuple[Spectrum, Spectrum, Spectrum],
    neighbour: tuple[Spectrum, Spectrum, Spectrum],
    shape: tuple[int, ...],
    least_overlap: float,
) -> Signal:
    """[shape] NCC at every shift of the slice into the neighbour, -1 where too little is in common.

    `least_overlap` is the number of pixels in common that suffice.

    Masked NCC of Padfield 2012 without the terms that subtract the mean of the common part, in the numerator
    and in both sums of squares. A matching picture has its local mean subtracted already, over far less than
    the overlap, so that those means are near 0; two of six correlations are saved.
    """

    def correlated(a: Spectrum, b: Spectrum) -> Signal:
        result: Signal = fft.irfft2(np.conj(a) * b, shape)
        return result

    overlap = correlated(slice_[2], neighbour[2])
    enough = overlap >= least_overlap
    energy = correlated(slice_[1], neighbour[2]) * correlated(slice_[2], neighbour[1])
    scores = correlated(slice_[0], neighbour[0]) / np.sqrt(np.maximum(energy, 1))
    return np.where(enough, scores, np.float32(-1))


def _settled(slice_: MatchingPicture, neighbour: MatchingPicture, coarse: Matrix) -> Matrix:
    """The rigid motion that larger pictures tell, from a coarse one; the coarse one where that fails."""
    scale = min(1.0, LIMITS.ecc_size_px / max(*slice_.picture.shape, *neighbour.picture.shape))
    (fixed, _), (moving, mask) = (_signal(picture, scale) for picture in (slice_, neighbour))
    start = at_scale(coarse, scale)[:2].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, LIMITS.ecc_steps, LIMITS.ecc_epsilon)
    try:
        _, found = cv2.findTransformECC(
            fixed, moving, start, cv2.MOTION_EUCLIDEAN, stop, mask.astype(np.uint8), LIMITS.ecc_filter_px
        )
    except cv2.error:  # it does not converge
        return coarse
    return at_full_resolution(np.vstack([found.astype(np.float64), [0.0, 0.0, 1.0]]), scale)
