"""The search of the whole frame for how two slices lie: what is left where features fail.

Neighbours in serial sections share shapes and hardly any detail, so features find nothing to hold on to.
Small, smooth pictures still correlate, at one translation and angle alone. Where they hardly do, a second
search asks the largest structures, which these pictures leave out: two slices that show different tissue do
not agree in both on the same motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align import gates, normalise
from components.align.normalise import (
    GREY,
    MatchingPicture,
    blurred,
    inverted_picture,
    resized,
    standardised,
)
from components.shared.geometry import (
    Matrix,
    at_full_resolution,
    at_scale,
    rotation_about,
    transform_points,
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
        128,
        unit="px, longest side",
        why="pictures that are searched; a pixel is 10 px of matching scale, what is found is settled then",
        measured_on="true serial neighbours stand 0.35 to 0.46 above chance, others at most 0.03, as they do "
        "at 256 px for four times the time",
        too_small="shapes merge, and what is settled does not reach the truth",
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
    ecc_sigma_px: float = limit(
        1.5,
        unit="px of the pictures of ecc_size_px",
        why="they are smoothed once more: shapes alone are shared",
        measured_on="not measured",
        too_small="it settles on detail near the start",
        too_large="the angle is uncertain",
    )
    smoothing_sigma_px: float = limit(
        0.75,
        unit="px of the pictures that are searched",
        why="leaves shapes, which neighbours in serial sections share",
        measured_on="not measured; nothing is left of what pixels of this size could not show",
        too_small="detail that the sections do not share lowers the peak",
        too_large="broad peaks, and shading correlates anywhere",
    )
    angle_step_deg: int = limit(
        1,
        unit="degrees",
        why="half a degree off, the corners of the small picture lie half a pixel off",
        measured_on="derived: 64 px * sin(0.5 degrees) = 0.6 px; 2 degrees would take half the time",
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
        measured_on="not measured; 1,600 of 128 x 128 pixels hold some twenty independent grains",
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
    broad_size_px: int = limit(
        64,
        unit="px, longest side",
        why="pictures of the largest structures: somata, bundles, large vessels",
        measured_on="serial sections, next but one: 0.01 to 0.33 above chance, where pictures of size_px are "
        "-0.03 to 0.16; 96 px tell the same for twice the time",
        too_small="too few structures: different tissue correlates",
        too_large="detail that the sections do not share; time with the square",
    )
    broad_sigma_px: float = limit(
        6.0,
        unit="px of those pictures",
        why="neighbourhood of their local mean and deviation: a tenth of the side, as shading is broader",
        measured_on="serial sections: 4 and 8 px accept the same of 64 pairs, and none of 213 others",
        too_small="the same structures as in the first search: no second witness",
        too_large="shading correlates, which stands still",
    )
    most_apart_px: float = limit(
        3.0,
        unit="px of pictures of size_px, along x and along y, at the centre",
        why="two searches that differ by less have found one motion; a pixel of the coarser is two of these. "
        "Angles are not asked: the largest structures tell them to a few degrees",
        measured_on="serial sections: 38 of 38 neighbours agree, and 18 of 213 pairs of different tissue",
        too_small="the coarse pixels of the second search part them",
        too_large="different tissue agrees by chance",
    )
    any_angle_step_deg: int = limit(
        5,
        unit="degrees",
        why="where a neighbour may be turned by any angle: half of it moves the rim of a picture of "
        "broad_size_px by 1.4 px, less than its structures are wide",
        measured_on="serial sections turned by 12 to 180 degrees: 0.5 to 0.74, all other angles 0.36 at most",
        too_small="time",
        too_large="the truth lies between two angles, and neither correlates",
    )
    other_angle_deg: int = limit(
        15,
        unit="degrees",
        why="angles that differ by more are others: what they correlate at is chance",
        measured_on="serial sections: the peak is some 10 degrees wide to either side",
        too_small="the flank of the peak counts as chance",
        too_large="chance is told from fewer angles",
    )
    magnification_step: float = limit(
        1.1,
        unit="ratio",
        why="half of it moves the rim of a picture of broad_size_px by 1.6 px, as any_angle_step_deg does",
        measured_on="serial sections magnified by 0.8 to 1.25: 0.5 to 0.68, all others 0.36 at most",
        too_small="time",
        too_large="the truth lies between two magnifications, and neither correlates",
    )
    magnification_steps: tuple[int, ...] = limit(
        (-3, -2, -1, 0, 1, 2, 3),
        unit="powers of magnification_step",
        why="magnifications of 0.75 to 1.33",
        measured_on="a microscope's next setting is hardly nearer than that of the restart before",
        too_small="a section that was magnified is refused without a word",
        too_large="time, and what is shared becomes small",
    )
    ecc_steps: int = limit(
        100,
        unit="iterations",
        why="it starts four pixels and half a degree off",
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
Searched = tuple[Signal, Signal]
"""A small picture around 0, and the mask of the pixels that it shows, 0 or 1."""
Similar = tuple[float, float]
"""An angle in degrees, and a magnification."""
Spectra = tuple[Signal, Signal, Signal]
"""Spectra of a signal, of its square and of its mask, as OpenCV packs them."""


@dataclass(frozen=True, kw_only=True)
class FrameMatch:
    """The result of a search over translations and angles."""

    slice_: MatchingPicture
    neighbour: MatchingPicture
    """The neighbour as it was searched: inverted where that was looked for."""
    coarse: Matrix
    """neighbour_from_slice, in pixels of the two pictures, to about a pixel of the small ones."""
    ncc: float
    """NCC of the two small pictures under `coarse`."""
    chance: float
    """Greatest NCC that the search finds with the neighbour mirrored, where there is nothing to find."""
    overlap: float
    """Pixels that the two share under `coarse`, of those that the slice with the fewer of them shows."""

    @cached_property
    def matrix(self) -> Matrix:
        """neighbour_from_slice, rigid, settled in larger pictures; `coarse` where that fails."""
        return _settled(self.slice_, self.neighbour, self.coarse, cv2.MOTION_EUCLIDEAN)

    @property
    def above_chance(self) -> float:
        """How far the correlation stands above the best that there is between mirrored pictures."""
        return self.ncc - self.chance

    def tells_the_same_as(self, other: FrameMatch) -> bool:
        """Whether another search of the two slices has put the slice's centre at the same place."""
        height, width = self.slice_.picture.shape
        centre = [[(width - 1) / 2, (height - 1) / 2]]
        apart = transform_points(self.coarse, centre) - transform_points(other.coarse, centre)
        apart_px = float(np.abs(apart).max()) * _common_scale(self.slice_, self.neighbour, LIMITS.size_px)
        return apart_px <= LIMITS.most_apart_px


@dataclass(frozen=True, slots=True)
class _Peak:
    """The highest correlation so far, and the motion there."""

    ncc: float
    motion: Matrix
    overlap: float


def whole_frame_search(slice_: MatchingPicture, neighbour: MatchingPicture) -> tuple[FrameMatch, FrameMatch]:
    """The translation and angle at which two matching pictures correlate best, and where most inversely.

    Masked normalised cross-correlation (Padfield 2012) over every shift that leaves half of them in common.
    A neighbour with inverted grey levels correlates where the neighbour correlates inversely: one search
    answers for both.
    """
    scale = _common_scale(slice_, neighbour, LIMITS.size_px)
    here, there = (_signal(picture, scale, LIMITS.smoothing_sigma_px) for picture in (slice_, neighbour))
    return _found(slice_, neighbour, here, there, scale)


def broad_search(slice_: MatchingPicture, neighbour: MatchingPicture) -> FrameMatch:
    """The translation and angle at which the largest structures of two slices correlate best.

    Matching pictures show none of these, since a local mean is taken off them: the two searches see different
    things, and where they agree on a motion it is that of the tissue.
    """
    scale = _common_scale(slice_, neighbour, LIMITS.broad_size_px)
    here, there = (_broad_signal(picture, scale) for picture in (slice_, neighbour))
    found, _ = _found(slice_, neighbour, here, there, scale)
    return found


def turned_search(slice_: MatchingPicture, neighbour: MatchingPicture) -> Matrix | None:
    """The motion of a neighbour that was turned by any angle or magnified; None where none stands out.

    The largest structures tell angle and magnification roughly, among all that there are; the pictures of
    matching tell them closely, and whether there is anything to tell.
    """
    scale = _common_scale(slice_, neighbour, LIMITS.broad_size_px)
    here, there = (_broad_signal(picture, scale) for picture in (slice_, neighbour))
    angles = range(-180, 180, LIMITS.any_angle_step_deg)
    similar = [(float(a), LIMITS.magnification_step**k) for k in LIMITS.magnification_steps for a in angles]
    scores = np.array([_best_motions(here, there, [one])[0].ncc for one in similar])
    angle_deg, magnification = similar[int(scores.argmax())]
    others = [
        score
        for score, (a, m) in zip(scores.tolist(), similar, strict=True)
        if abs((a - angle_deg + 180) % 360 - 180) > LIMITS.other_angle_deg
        or abs(math.log(m / magnification)) > 1.5 * math.log(LIMITS.magnification_step)
    ]
    if scores.max() < max(others) + gates.LIMITS.min_above_chance:
        return None
    scale = _common_scale(slice_, neighbour, LIMITS.size_px)
    here, there = (_signal(picture, scale, LIMITS.smoothing_sigma_px) for picture in (slice_, neighbour))
    signal, shown = there
    near = range(-LIMITS.any_angle_step_deg, LIMITS.any_angle_step_deg + 1, LIMITS.angle_step_deg)
    similar = [
        (angle_deg + a, magnification * LIMITS.magnification_step ** (k / 5))
        for a in near
        for k in range(-3, 4)
    ]
    found = _best_motions(here, there, similar)[0]
    mirrored = _best_motions(here, (np.flip(signal, 1), np.flip(shown, 1)), similar)[0]
    if found.ncc < mirrored.ncc + gates.LIMITS.min_above_chance:
        return None
    return _settled(slice_, neighbour, at_full_resolution(found.motion, scale), cv2.MOTION_AFFINE)


def _settled(slice_: MatchingPicture, neighbour: MatchingPicture, coarse: Matrix, motion: int) -> Matrix:
    """A neighbour_from_slice that is settled in larger pictures; the coarse one where that fails.

    By the enhanced correlation coefficient (Evangelidis and Psarakis 2008).
    """
    pictures = (slice_, neighbour)
    scale = _common_scale(*pictures, LIMITS.ecc_size_px)
    (fixed, _), (moving, mask) = (_signal(picture, scale, LIMITS.ecc_sigma_px) for picture in pictures)
    start = at_scale(coarse, scale)[:2].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, LIMITS.ecc_steps, LIMITS.ecc_epsilon)
    try:
        _, found = cv2.findTransformECC(
            fixed, moving, start, motion, stop, mask.astype(np.uint8), LIMITS.ecc_filter_px
        )
    except cv2.error:  # it does not converge
        return coarse
    return at_full_resolution(np.vstack([found.astype(np.float64), [0.0, 0.0, 1.0]]), scale)


def _found(
    slice_: MatchingPicture, neighbour: MatchingPicture, here: Searched, there: Searched, scale: float
) -> tuple[FrameMatch, FrameMatch]:
    """The best motions of two small pictures at a scale, and of the first and the other inverted."""
    searched, (signal, shown) = here, there
    found = _best_motions(searched, (signal, shown))
    mirrored = [
        _best_motions(searched, (np.flip(signal, axes), np.flip(shown, axes))) for axes in (0, 1, (0, 1))
    ]
    inverted = replace(neighbour, picture=inverted_picture(neighbour.picture))
    as_it_is, as_inverted = (
        FrameMatch(
            slice_=slice_,
            neighbour=other,
            coarse=at_full_resolution(found[i].motion, scale),
            ncc=found[i].ncc,
            overlap=found[i].overlap,
            chance=max(peaks[i].ncc for peaks in mirrored),
        )
        for i, other in enumerate((neighbour, inverted))
    )
    return as_it_is, as_inverted


def _common_scale(slice_: MatchingPicture, neighbour: MatchingPicture, most_px: int) -> float:
    """The scale at which no side of the two pictures is longer than this."""
    longest_px: int = max(*slice_.picture.shape, *neighbour.picture.shape)
    return min(1.0, most_px / longest_px)


def _signal(picture: MatchingPicture, scale: float, sigma_px: float) -> Searched:
    """A picture around 0, reduced and smoothed, and the mask of the pixels that it shows, 0 or 1."""
    small = blurred(resized(picture.picture, scale), sigma_px) - np.float32(GREY)
    mask = (resized(picture.shown.astype(np.float32), scale) > LIMITS.min_shown).astype(np.float32)
    return small * mask, mask


def _broad_signal(picture: MatchingPicture, scale: float) -> Searched:
    """The largest structures of a picture around 0, and the mask of the pixels that it shows, 0 or 1."""
    own_scale = min(1.0, normalise.LIMITS.reduced_side_px / max(picture.picture.shape))
    small = resized(picture.reduced, scale / own_scale)
    shown = resized(picture.shown.astype(np.float32), scale) > LIMITS.min_shown
    height, width = (min(a, b) for a, b in zip(small.shape, shown.shape, strict=True))  # they round apart
    small, shown = small[:height, :width], shown[:height, :width]
    standard = blurred(standardised(small, shown, LIMITS.broad_sigma_px), LIMITS.smoothing_sigma_px)
    return standard * shown, shown.astype(np.float32)


def _best_motions(slice_: Searched, neighbour: Searched, similar: Sequence[Similar] = ()) -> list[_Peak]:
    """The best neighbour_from_slice over all shifts: of the neighbour, and of it inverted.

    Args:
        slice_: small picture of the slice.
        neighbour: of the neighbour.
        similar: angles and magnifications to try; empty for the angles that the gates accept.
    """
    height, width = neighbour[0].shape
    shape = tuple(
        cv2.getOptimalDFTSize(a + b - 1) for a, b in zip(slice_[0].shape, (height, width), strict=True)
    )
    fixed = _spectra(*slice_, shape)
    best = [_Peak(-1.0, np.eye(3), 0.0) for _ in range(2)]
    for angle_deg, magnification in similar or [(angle, 1.0) for angle in _angles_deg()]:
        turn = _similarity(((width - 1) / 2, (height - 1) / 2), angle_deg, magnification)
        turned, mask = (warped(part, turn, (height, width)) for part in neighbour)
        shown = (mask > LIMITS.min_shown).astype(np.float32)
        smaller, larger = sorted((float(slice_[1].sum()), float(shown.sum())))
        least = max(LIMITS.min_overlap * smaller, LIMITS.min_overlap_of_larger * larger)
        scores, shared = _scores(fixed, _spectra(turned * shown, shown, shape))
        for i, signed in enumerate((scores, -scores)):
            allowed = np.where(shared >= least, signed, np.float32(-1))
            y, x = (int(v) for v in np.unravel_index(int(allowed.argmax()), shape))
            if allowed[y, x] > best[i].ncc:
                shift = translation(x - shape[1] * (x >= width), y - shape[0] * (y >= height))
                best[i] = _Peak(float(allowed[y, x]), turn @ shift, float(shared[y, x]) / smaller)
    return best


def _similarity(centre_xy: tuple[float, float], angle_deg: float, magnification: float) -> Matrix:
    """A rotation and magnification about a point."""
    similar = rotation_about(centre_xy, np.radians(angle_deg))
    similar[:2, :2] *= magnification
    similar[:2, 2] += (1 - magnification) * (np.array(centre_xy) - similar[:2, 2])
    return similar


def _angles_deg() -> range:
    """The rotations that are tried, as far as the gates accept one."""
    most = math.floor(gates.LIMITS.max_rotation_deg)
    return range(-most, most + 1, LIMITS.angle_step_deg)


def _spectra(signal: Signal, mask: Signal, shape: tuple[int, ...]) -> Spectra:
    first, second, third = (_spectrum(part, shape) for part in (signal, np.square(signal), mask))
    return first, second, third


def _spectrum(part: Signal, shape: tuple[int, ...]) -> Signal:
    padded = np.zeros(shape, np.float32)
    padded[: part.shape[0], : part.shape[1]] = part
    spectrum: Signal = cv2.dft(padded).astype(np.float32, copy=False)
    return spectrum


def _scores(slice_: Spectra, neighbour: Spectra) -> tuple[Signal, Signal]:
    """[shape] NCC at every shift of the slice into the neighbour, and the number of pixels in common.

    Masked NCC of Padfield 2012 without the terms that subtract the mean of the common part, in the numerator
    and in both sums of squares. A matching picture has its local mean subtracted already, over far less than
    the overlap, so that those means are near 0; two of six correlations are saved.
    """

    def correlated(a: Signal, b: Signal) -> Signal:
        product = cv2.mulSpectrums(b, a, 0, conjB=True)
        return cv2.idft(product, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT).astype(np.float32, copy=False)

    shared = correlated(slice_[2], neighbour[2])
    energy = correlated(slice_[1], neighbour[2]) * correlated(slice_[2], neighbour[1])
    scores: Signal = correlated(slice_[0], neighbour[0]) / np.sqrt(np.maximum(energy, 1))
    return scores, shared
