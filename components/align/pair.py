"""Matching of a pair: from two prepared slices to the evidence on the transform between them.

A pair goes through attempts, the normal one first. Each proposes a transform; every proposal but that of the
last attempt is refined, and all pass gates. The first that passes is the evidence. Where none does, the pair
is refused for the reason of the normal attempt: there is never an identity in place of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from components.align import gates
from components.align.displacements.halves import LIMITS as OF_HALVES
from components.align.displacements.halves import Pictures
from components.align.displacements.rows import LIMITS as ROWS
from components.align.displacements.rows import row_shifts
from components.align.displacements.soft_warp import LIMITS as SOFT_WARP
from components.align.displacements.soft_warp import soft_warp
from components.align.features import (
    Features,
    cell_of,
    consensus,
    match_features,
    moving_consensus,
    static_pixels,
)
from components.align.gates import Reason, Refusal, agreement, agreement_as_they_lie
from components.align.models import PointPairs, choose, fit_ladder, motion_rms_px
from components.align.normalise import enlarged
from components.align.prepare import PreparedSlice, refinement_scale, seen_in
from components.align.refine import corrected, difference, refine
from components.align.search import FrameMatch, broad_search, turned_search, whole_frame_search
from components.shared.documents.align import Model, PairRecord
from components.shared.documents.transforms import Matrix3, RowShifts, WarpField
from components.shared.geometry import (
    Matrix,
    Points,
    at_full_resolution,
    at_scale,
    corner_points,
    grid_points,
    similarity_of,
    translation,
)
from components.shared.limits import limit
from components.shared.pictures.warping import warped_mask
from components.shared.row_shifts import packed


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLimits:
    """Limits on the neighbours that a slice is matched with, and on the inliers that count as independent."""

    independent_cells: int = limit(
        16,
        unit="cells a side",
        why="inliers in one cell see the same tissue and count once",
        measured_on="not measured apart; sigma of pairs against their closures, benchmarks/alignment",
        too_small="rich models are never taken, and sigma is promised too large",
        too_large="sigma is promised too small: inliers that share tissue count as independent",
    )
    wanted_pairs: int = limit(
        2,
        unit="accepted pairs of a slice with those that follow",
        why="a slice with fewer looks as far again; one pair alone cannot be checked against another",
        measured_on="a simulated stack of 13,696 slices with 1 % wrong pairs: two neighbours a slice leave "
        "good slices 500 px off, three 2 px",
        too_small="a wrong pair of a slice beside bad ones is not found out",
        too_large="time: up to twice as many pairs",
    )


LIMITS = PairLimits()
Rectangle = tuple[float, float, float, float]
"""Left, top, right and bottom in px of a slice."""
NORMAL_ATTEMPTS = ("", "whole_frame", "fine")
"""Attempts that see the slices as they are: a pair that they find further away is called `wide`."""


@dataclass(frozen=True)
class PreparedPair:
    """Two slices that are prepared at the same matching scale, and what several attempts ask of them."""

    slice_: PreparedSlice
    neighbour: PreparedSlice

    @property
    def match_scale(self) -> float:
        return self.slice_.match_scale

    @cached_property
    def as_they_lie(self) -> float:
        """NCC of the two slices without any motion."""
        return agreement_as_they_lie(self.slice_.compared, self.neighbour.compared)

    @cached_property
    def whole_frame(self) -> tuple[FrameMatch, FrameMatch]:
        """The search of the whole frame, of the neighbour as it is and inverted: four attempts share it."""
        return whole_frame_search(self.slice_.matching, self.neighbour.matching)

    @property
    def is_confirmed(self) -> bool:
        """Whether the largest structures tell the motion that the search of the whole frame has found."""
        found, _ = self.whole_frame
        if found.overlap < gates.LIMITS.min_overlap_confirmed:
            return False
        witness = broad_search(self.slice_.matching, self.neighbour.matching)
        enough = witness.above_chance >= gates.LIMITS.min_above_chance_broad
        return enough and witness.tells_the_same_as(found)

    @cached_property
    def inverted(self) -> PreparedPair:
        """The pair with the grey levels of the neighbour inverted."""
        return PreparedPair(self.slice_, self.neighbour.inverted())

    def in_whole_pictures(self, matrix: Matrix) -> Matrix:
        """A neighbour_from_slice of the parts that are matched as one of the whole pictures.

        Args:
            matrix: at full resolution.
        """
        left, top = self.slice_.corner_xy
        there = translation(*self.neighbour.corner_xy)
        whole: Matrix = there @ matrix @ translation(-left, -top)
        return whole

    def without_static(self, tissue_motion: Matrix) -> PreparedPair:
        """The pair without the pattern that stays in place while the tissue moves.

        Args:
            tissue_motion: neighbour_from_slice at matching scale.
        """
        here, there = self.slice_.matching, self.neighbour.matching
        backward = np.linalg.inv(tissue_motion).astype(np.float64, copy=False)
        return PreparedPair(
            self.slice_.without(static_pixels(here, there, tissue_motion)),
            self.neighbour.without(static_pixels(there, here, backward)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFit:
    """The transform that point pairs give, all at full resolution."""

    model: Model
    matrix: Matrix
    """neighbour_from_slice."""
    residuals_px: dict[Model, float]
    """RMS residual of each model of the ladder."""
    spread_px: float
    """Robust standard deviation of a point along one axis."""
    sigma_px: float
    """1-sigma of the transform near the picture's centre."""
    weights: NDArray[np.float64]
    """[n] weights of the point pairs, 0..1; 0 is an outlier."""
    support_px: Rectangle | None = None
    """Where the evidence lies in the slice; None where it is not known."""
    compared: NDArray[np.bool_] | None = None
    """[y, x] pixels at detail scale that the correction over the whole picture has compared."""

    @classmethod
    def of(cls, points: PointPairs, size_xy: tuple[int, int], scale: float, n_independent: float) -> PairFit:
        """The simplest model of the ladder that explains point pairs of pictures at a scale.

        Args:
            points: at that scale.
            size_xy: of the slice, at full resolution.
            scale: of the pictures.
            n_independent: number of points that tell something of their own.
        """
        fits = fit_ladder(points)
        width, height = size_xy
        chosen = choose(fits, points, (round(width * scale), round(height * scale)), scale, n_independent)
        # A mean of n points with an error of sigma has one of sigma / sqrt(n). A point of weight w counts as
        # w points: never more than Kish's effective number, (sum w)^2 / sum w^2, since no weight is above 1.
        effective = max(n_independent * float(chosen.weights.mean()), 1.0)
        return cls(
            model=chosen.model,
            matrix=at_full_resolution(chosen.matrix, scale),
            residuals_px={model: fit.rms_px / scale for model, fit in fits.items()},
            spread_px=chosen.sigma_px / scale,
            sigma_px=chosen.sigma_px / scale / effective**0.5,
            weights=chosen.weights,
            support_px=_support_px(points.slice_px, chosen.weights, scale),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Figures of a pair that an attempt has found so far, and why it is refused, if it is."""

    n_matches: int = 0
    n_inliers: int = 0
    coverage: float = 0.0
    static_pattern: bool = False
    """Something stays in place while the tissue moves, and is left out."""
    n_windows: int = 0
    fit: PairFit | None = None
    ncc: float = 0.0
    refused: Refusal | None = None
    unrefined: Refusal | None = None
    """Why windows do not carry a transform, so that the features carry it alone."""


def match_pair(slice_: PreparedSlice, neighbour: PreparedSlice) -> PairRecord:
    """Find and judge the transform between two slices that are prepared at the same matching scale.

    The record is a function of the two slices and that scale alone.
    """
    pair = PreparedPair(slice_, neighbour)
    first: Attempt | None = None
    for name, try_it in _ATTEMPTS:
        if (
            try_it is _by_whole_frame_alone
            and first is not None
            and first.refused is not None
            and first.refused.is_of_matrix
        ):
            break  # what many matches tell is not overruled by what no window confirms
        attempt = try_it(pair)
        if attempt.refused is None:
            found_by = "static_pattern" if attempt.static_pattern and not name else name
            return _record(pair, attempt, fallback=found_by)
        first = first or attempt
        if attempt.refused.reason in _FINAL:
            break
    assert first is not None
    refused = _with_its_motion(pair, first)
    turned = _turned_back(pair, refused)
    if turned is not None:
        return _record(pair, turned, fallback="turned")
    return _record(pair, refused, fallback="")


def _with_its_motion(pair: PreparedPair, refused: Attempt) -> Attempt:
    """A refusal of two neighbours that tells how far one is turned or magnified, where that is why."""
    known = refused.refused
    is_told = known is not None and (known.is_of_matrix or known.reason in _FINAL)
    if is_told or pair.neighbour.z - pair.slice_.z != 1:
        return refused
    motion = turned_search(pair.slice_.matching, pair.neighbour.matching)
    reason = None if motion is None else gates.refusal_of_matrix(motion)
    if motion is None or reason is None:
        return refused
    coarse_px = gates.LIMITS.settled_sigma_px / pair.match_scale
    fit = PairFit(
        model="affine",
        matrix=at_full_resolution(motion, pair.match_scale),
        residuals_px={},
        spread_px=coarse_px,
        sigma_px=coarse_px,
        weights=np.ones(0),
    )
    return replace(refused, fit=fit, refused=reason)


def _turned_back(pair: PreparedPair, refused: Attempt) -> Attempt | None:
    """A pair that is refused for its motion, matched with the neighbour turned back; None where that fails.

    What is asked of a pair that is not turned is asked of it then.
    """
    if refused.fit is None or refused.refused is None or not refused.refused.is_of_matrix:
        return None
    width, height = pair.slice_.size_xy
    similar = similarity_of(refused.fit.matrix, ((width - 1) / 2, (height - 1) / 2))
    if not gates.may_be_turned_back(similar):
        return None
    back = PreparedPair(pair.slice_, seen_in(pair.neighbour, pair.slice_, similar))
    near = np.linalg.inv(similar) @ refused.fit.matrix
    for attempt in (_examined(back, Attempt(), near), _by_whole_frame(back), _by_whole_frame_alone(back)):
        if attempt.refused is None and attempt.fit is not None:
            fit = replace(attempt.fit, matrix=similar @ attempt.fit.matrix, residuals_px={})
            return replace(refused, fit=fit, ncc=attempt.ncc, n_windows=attempt.n_windows, refused=None)
    return None


@dataclass(slots=True)
class Neighbourhood:
    """A slice that is matched with the next slices, and with as many again where these do not suffice.

    Which pairs are tried depends on the slices alone, so chunks of any length give the same.
    """

    slice_: PreparedSlice
    reach: int
    """Present slices that every slice is matched with."""
    n_tried: int = 0
    n_accepted: int = 0

    @property
    def wants_more(self) -> bool:
        """The next slice shall be matched too."""
        if self.n_tried < self.reach:
            return True
        return self.n_tried < 2 * self.reach and self.n_accepted < min(LIMITS.wanted_pairs, self.reach)

    def add(self, neighbour: PreparedSlice) -> PairRecord:
        """Match the slice with the next one."""
        pair = match_pair(self.slice_, neighbour)
        is_wide = self.n_tried >= self.reach
        self.n_tried += 1
        self.n_accepted += pair.accepted
        if is_wide and pair.accepted and pair.fallback in NORMAL_ATTEMPTS:
            return pair.model_copy(update={"fallback": "wide"})
        return pair


def _by_features(pair: PreparedPair) -> Attempt:
    return _from_features(pair, pair.slice_.features, pair.neighbour.features)


def _by_fine_features(pair: PreparedPair) -> Attempt:
    """Twice the scale of the first attempt: slices that share small structures alone."""
    return _from_features(pair, pair.slice_.fine_features, pair.neighbour.fine_features)


def _by_whole_frame(pair: PreparedPair) -> Attempt:
    return _from_search(pair, pair.whole_frame[0])


def _by_whole_frame_alone(pair: PreparedPair) -> Attempt:
    """The search by itself, where sections share shapes but no windows: coarse, and said to be.

    One that stands little above chance needs a second witness.
    """
    found, _ = pair.whole_frame
    stands_alone = found.above_chance >= gates.LIMITS.min_above_chance_alone
    may_be_confirmed = found.above_chance >= gates.LIMITS.min_above_chance_confirmed
    if not stands_alone and not (may_be_confirmed and pair.is_confirmed):
        least = gates.LIMITS.min_above_chance_alone
        words = f"NCC {found.above_chance:.3f} above chance, at least {least:g}"
        return Attempt(refused=Refusal("ncc_not_above_chance", words))
    coarse_px = gates.whole_frame_sigma_px(found.above_chance) / pair.match_scale
    seen_px = gates.content_in_common(pair.slice_.matching, pair.neighbour.matching, found.matrix)
    fit = PairFit(
        model="rigid",
        matrix=at_full_resolution(found.matrix, pair.match_scale),
        residuals_px={},
        spread_px=coarse_px,
        sigma_px=coarse_px,
        weights=np.ones(0),
        support_px=_support_px(seen_px, np.ones(len(seen_px)), pair.match_scale) if len(seen_px) else None,
    )
    return Attempt(fit=fit, ncc=found.ncc, refused=gates.refusal_of_matrix(fit.matrix))


def _inverted_by_features(pair: PreparedPair) -> Attempt:
    return _by_features(pair.inverted)


def _inverted_by_whole_frame(pair: PreparedPair) -> Attempt:
    return _from_search(pair.inverted, pair.whole_frame[1])


_FINAL: tuple[Reason, ...] = ("no_content", "second_consensus")
"""Refusals that no other attempt may overrule: where a pattern stays in place, the others would find that."""
_ATTEMPTS: tuple[tuple[str, Callable[[PreparedPair], Attempt]], ...] = (
    ("", _by_features),
    ("inverted", _inverted_by_features),
    ("whole_frame", _by_whole_frame),
    ("inverted", _inverted_by_whole_frame),
    ("fine", _by_fine_features),
    ("whole_frame_alone", _by_whole_frame_alone),
)
"""The attempts in their order, each with the name that a record gives as its `fallback`."""


def _from_search(pair: PreparedPair, found: FrameMatch) -> Attempt:
    """A search over all motions of small pictures; only windows that agree with it make it acceptable."""
    refused = gates.refusal_of_search(found.above_chance)
    if refused is not None:
        return Attempt(refused=refused)
    return _examined(pair, Attempt(), at_full_resolution(found.matrix, pair.match_scale))


def _from_features(pair: PreparedPair, features: Features, neighbour_features: Features) -> Attempt:
    """The attempt that starts from features: of the tissue alone where the slices share a static pattern."""
    if not (pair.slice_.matching.content.any() and pair.neighbour.matching.content.any()):
        return Attempt(refused=Refusal("no_content", ""))
    matches = match_features(features, neighbour_features)
    attempt = Attempt(n_matches=len(matches))
    moving = moving_consensus(matches, gates.LIMITS.min_inliers)
    if moving is None:
        return _from_inliers(pair, attempt, consensus(matches))
    attempt = replace(attempt, static_pattern=True)
    found = _from_inliers(pair.without_static(fit_ladder(moving)["rigid"].matrix), attempt, moving)
    if found.refused is None:
        return found
    return replace(found, refused=Refusal("second_consensus", found.refused.found))


def _from_inliers(pair: PreparedPair, attempt: Attempt, inliers: PointPairs) -> Attempt:
    """The attempt with a coarse transform from inliers, examined where they are many and cover the slice."""
    slice_, scale = pair.slice_, pair.match_scale
    attempt = replace(attempt, n_inliers=len(inliers))
    refused = gates.refusal_of_inliers(len(inliers))
    if refused is not None:
        return replace(attempt, refused=refused)
    fit = PairFit.of(inliers, slice_.size_xy, scale, _n_independent(slice_, inliers))
    at_match = at_scale(fit.matrix, scale)
    covered = gates.coverage(inliers.slice_px, slice_.matching, pair.neighbour.matching, at_match)
    attempt = replace(attempt, coverage=covered, fit=fit, refused=gates.refusal_of_coverage(covered))
    return attempt if attempt.refused is not None else _examined(pair, attempt, fit.matrix)


def _examined(pair: PreparedPair, attempt: Attempt, coarse: Matrix) -> Attempt:
    """The attempt refined from a coarse transform, with the answer of the gates."""
    refused = gates.refusal_of_matrix(coarse)
    if refused is not None:
        return replace(attempt, refused=refused)
    attempt = _refined(pair, attempt, coarse)
    if attempt.refused is not None:
        return attempt
    if attempt.fit is None:
        return replace(attempt, refused=attempt.unrefined)
    picture, scale = pair.slice_.matching.picture, pair.match_scale
    matrix = at_scale(attempt.fit.matrix, scale)
    corners = corner_points(*reversed(picture.shape))
    corrected_px = motion_rms_px(matrix, at_scale(coarse, scale), corners)
    found = agreement(pair.slice_.compared, pair.neighbour.compared, matrix)
    motion_px = motion_rms_px(matrix, np.eye(3), grid_points(*reversed(picture.shape)))
    refused = (
        gates.refusal_of_matrix(matrix)
        or gates.refusal_of_correction(corrected_px)
        or gates.refusal_of_agreement(found, pair.as_they_lie, motion_px)
    )
    return replace(attempt, ncc=found.moved, refused=refused)


def _refined(pair: PreparedPair, attempt: Attempt, coarse: Matrix) -> Attempt:
    """The attempt with a transform from windows near full resolution, where these tell one."""
    slice_, scale = pair.slice_, refinement_scale(pair.match_scale)
    found = refine(slice_.band, pair.neighbour.band, at_scale(coarse, scale))
    n_kept = len(found.pairs)
    too_few = gates.refusal_of_windows(n_kept, len(found.kept))
    if too_few is not None:
        return replace(attempt, unrefined=too_few)
    fit = PairFit.of(found.pairs, slice_.size_xy, scale, found.n_independent)
    scattered = gates.refusal_of_spread(fit.spread_px * scale)
    if scattered is not None:
        return replace(attempt, unrefined=scattered)
    whole = _over_whole_picture(pair, fit, found.trusted(fit.weights, slice_.band.shape))
    corners = corner_points(*slice_.size_xy)
    apart_px = motion_rms_px(whole.matrix, fit.matrix, corners) * slice_.detail_scale
    return replace(attempt, fit=whole, n_windows=n_kept, refused=gates.refusal_of_bands(apart_px))


def _over_whole_picture(pair: PreparedPair, fit: PairFit, trusted: NDArray[np.bool_]) -> PairFit:
    """A fit with its last correction, from the trusted pixels that both slices show."""
    slice_, neighbour = pair.slice_, pair.neighbour
    shape, matrix = slice_.detail.shape, at_scale(fit.matrix, slice_.detail_scale)
    seen = warped_mask(enlarged(neighbour.matching.shown, neighbour.detail.shape), matrix, shape)
    compared = enlarged(trusted, shape) & enlarged(slice_.matching.shown, shape) & seen
    found = corrected(slice_.detail, neighbour.detail, matrix, fit.model, compared)
    if not compared.any():
        return fit
    compared_px = np.argwhere(compared)[:, ::-1].astype(np.float64)
    return replace(
        fit,
        matrix=at_full_resolution(found, slice_.detail_scale),
        support_px=_support_px(compared_px, np.ones(len(compared_px)), slice_.detail_scale),
        compared=compared,
    )


def _support_px(points_px: Points, weights: NDArray[np.float64], scale: float) -> Rectangle:
    """The rectangle, at full resolution, with the mean and the variance of points at a scale.

    What is spread evenly over a length has a standard deviation of its half over sqrt(3).
    """
    mean = np.average(points_px, axis=0, weights=weights)
    half = np.sqrt(3 * np.average(np.square(points_px - mean), axis=0, weights=weights))
    left, top, right, bottom = ((np.concatenate([mean - half, mean + half]) + 0.5) / scale - 0.5).tolist()
    return left, top, right, bottom


def _n_independent(slice_: PreparedSlice, inliers: PointPairs) -> float:
    """Number of cells that hold inliers."""
    shape = slice_.matching.picture.shape
    return float(len(np.unique(cell_of(inliers.slice_px, shape, LIMITS.independent_cells))))


def _record(pair: PreparedPair, attempt: Attempt, *, fallback: str) -> PairRecord:
    accepted = attempt.fit if attempt.refused is None else None
    refused = attempt.refused
    too_far = attempt.fit if refused is not None and refused.is_of_matrix else None
    return PairRecord(
        z=pair.slice_.z,
        neighbour_z=pair.neighbour.z,
        accepted=accepted is not None,
        reason=refused.reason if refused is not None else "",
        refused_for=refused.found if refused is not None else "",
        n_matches=attempt.n_matches,
        n_inliers=attempt.n_inliers,
        coverage=attempt.coverage,
        model=accepted.model if accepted else None,
        residuals_px=attempt.fit.residuals_px if attempt.fit else {},
        matrix=_rows(pair.in_whole_pictures(accepted.matrix)) if accepted else None,
        support_px=_in_whole_picture(accepted.support_px, pair.slice_.corner_xy) if accepted else None,
        sigma_px=accepted.sigma_px if accepted else 0.0,
        n_windows=attempt.n_windows,
        ncc_before=pair.as_they_lie,
        ncc_after=attempt.ncc if accepted else pair.as_they_lie,
        fallback=fallback,
        refused_matrix=_rows(pair.in_whole_pictures(too_far.matrix)) if too_far else None,
        refused_motion=gates.motion_in_words(too_far.matrix) if too_far else "",
        difference=difference(pair.slice_.band, pair.neighbour.band),
        **_displacements(pair, accepted if fallback in NORMAL_ATTEMPTS else None),
    )


class _Displacements(TypedDict):
    """The displacements that a pair tells beyond its transform."""

    rows: RowShifts | None
    warp: WarpField | None


def _displacements(pair: PreparedPair, fit: PairFit | None) -> _Displacements:
    """The shifts of the slice's rows and its warp; none where pictures were not compared as a whole."""
    slice_, neighbour = pair.slice_, pair.neighbour
    if fit is None or fit.compared is None or neighbour.z - slice_.z > OF_HALVES.reach:
        return _Displacements(rows=None, warp=None)
    matrix = at_scale(fit.matrix, slice_.detail_scale)
    pictures = Pictures(slice_.detail, neighbour.detail, matrix, fit.compared)
    of_rows, of_parts = row_shifts(pictures), soft_warp(pictures)
    scale = slice_.detail_scale * of_rows.scale
    left, top = (corner + 0.5 / scale - 0.5 for corner in slice_.corner_xy)
    n_y, n_x = of_parts.halves.shape[2:]
    return _Displacements(
        rows=RowShifts(first_row_px=top, knot_px=ROWS.knot_px / scale, shifts=packed(of_rows.halves / scale)),
        warp=WarpField(
            first_xy_px=(left, top),
            knot_px=SOFT_WARP.knot_px / scale,
            n_xy=(n_x, n_y),
            displacements=packed(of_parts.halves / scale),
        ),
    )


def _in_whole_picture(rectangle: Rectangle | None, corner_xy: tuple[int, int]) -> Rectangle | None:
    """A rectangle of the part that is matched as one of the whole picture."""
    if rectangle is None:
        return None
    (left, top, right, bottom), (x, y) = rectangle, corner_xy
    return left + x, top + y, right + x, bottom + y


def _rows(matrix: Matrix) -> Matrix3:
    (a, b, c), (d, e, f), _ = matrix.tolist()
    return (a, b, c), (d, e, f), (0.0, 0.0, 1.0)
