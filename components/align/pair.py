"""One pair of slices, from what is prepared of them to the evidence on how they lie.

A pair goes through attempts, the normal one first. Each proposes a transform; every proposal but that of the
last attempt is refined, and all pass gates. The first that passes is the evidence. Where none does, the pair
is refused for the reason of the normal attempt: there is never an identity in place of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.align import gates
from components.align.correlation import agreement
from components.align.features import Features, cell_of
from components.align.gates import Reason
from components.align.matching import PointPairs, consensus, match_features
from components.align.models import choose, fit_ladder, motion_rms_px
from components.align.normalise import enlarged
from components.align.prepare import PreparedSlice, refinement_scale
from components.align.refine import difference, refine
from components.align.search import whole_frame_search
from components.align.static import moving_consensus, static_pixels
from components.align.whole import corrected
from components.shared.documents.align import Model, PairRecord
from components.shared.documents.transforms import Matrix3
from components.shared.geometry import (
    Matrix,
    at_full_resolution,
    at_scale,
    corner_points,
    grid_points,
)
from components.shared.pictures.warping import warped_mask

_INDEPENDENT_CELLS = 16
"""Inliers in one cell of this many per side see the same tissue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFit:
    """The transform that point pairs give, all at full resolution."""

    model: Model
    matrix: Matrix
    """neighbour_from_slice."""
    residuals_px: dict[Model, float]
    spread_px: float
    """Robust standard deviation of a point along one axis."""
    sigma_px: float
    """1-sigma of the transform near the picture's centre."""
    weights: NDArray[np.float64]
    """[n] of the point pairs, 0..1; 0 is an outlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an attempt has found out so far."""

    n_matches: int = 0
    n_inliers: int = 0
    coverage: float = 0.0
    static_pattern: bool = False
    """Something stays in place while the tissue moves, and is left out."""
    n_windows: int = 0
    fit: PairFit | None = None
    ncc: float = 0.0
    refused: Reason | None = None


def match_pair(slice_: PreparedSlice, neighbour: PreparedSlice) -> PairRecord:
    """Find and judge the transform between two slices that are prepared at the same matching scale.

    The record is a function of the two slices and that scale alone.
    """
    as_they_lie = agreement(slice_.matching, neighbour.matching, np.eye(3)).as_they_lie
    first: Evidence | None = None
    for name, attempt in _ATTEMPTS:
        evidence = attempt(slice_, neighbour)
        if evidence.refused is None:
            found_by = "static_pattern" if evidence.static_pattern and not name else name
            return _record(slice_, neighbour, evidence, as_they_lie, fallback=found_by)
        first = first or evidence
        if evidence.refused in _FINAL:
            break
    assert first is not None
    return _record(slice_, neighbour, first, as_they_lie, fallback="")


def _by_features(slice_: PreparedSlice, neighbour: PreparedSlice) -> Evidence:
    return _from_features(slice_, neighbour, slice_.features, neighbour.features)


def _by_smooth_features(slice_: PreparedSlice, neighbour: PreparedSlice) -> Evidence:
    return _from_features(slice_, neighbour, slice_.smooth_features, neighbour.smooth_features)


def _by_fine_features(slice_: PreparedSlice, neighbour: PreparedSlice) -> Evidence:
    """Twice the matching scale, where the source has more to show than matching looks at."""
    if refinement_scale(slice_.match_scale) <= slice_.match_scale:
        return Evidence(refused="too_few_inliers")
    return _from_features(slice_, neighbour, slice_.fine_features, neighbour.fine_features)


def _by_whole_frame(slice_: PreparedSlice, neighbour: PreparedSlice) -> Evidence:
    """A search over all motions of small pictures; only windows that agree with it make it believable."""
    found = whole_frame_search(slice_.matching, neighbour.matching)
    if found.ncc < found.chance + gates.MIN_ABOVE_CHANCE:
        return Evidence(refused="ncc_not_above_chance")
    return _examined(slice_, neighbour, Evidence(), at_full_resolution(found.matrix, slice_.match_scale))


def _by_whole_frame_alone(slice_: PreparedSlice, neighbour: PreparedSlice) -> Evidence:
    """The search by itself, where sections share shapes but no windows: coarse, and said to be."""
    found = whole_frame_search(slice_.matching, neighbour.matching)
    if found.ncc < found.chance + gates.MIN_ABOVE_CHANCE_ALONE:
        return Evidence(refused="ncc_not_above_chance")
    coarse_px = gates.WHOLE_FRAME_SIGMA_PX / slice_.match_scale
    fit = PairFit(
        model="rigid",
        matrix=at_full_resolution(found.matrix, slice_.match_scale),
        residuals_px={},
        spread_px=coarse_px,
        sigma_px=coarse_px,
        weights=np.ones(0),
    )
    return Evidence(fit=fit, ncc=found.ncc, refused=gates.refusal_of_matrix(fit.matrix))


def _inverted_by_features(slice_: PreparedSlice, neighbour: PreparedSlice) -> Evidence:
    return _by_features(slice_, neighbour.inverted())


def _inverted_by_whole_frame(slice_: PreparedSlice, neighbour: PreparedSlice) -> Evidence:
    return _by_whole_frame(slice_, neighbour.inverted())


_FINAL: tuple[Reason, ...] = ("no_content", "second_consensus")
"""Refusals that no other attempt may overrule: where a pattern stays in place, the others would find that."""
_ATTEMPTS: tuple[tuple[str, Callable[[PreparedSlice, PreparedSlice], Evidence]], ...] = (
    ("", _by_features),
    ("smooth", _by_smooth_features),
    ("inverted", _inverted_by_features),
    ("whole_frame", _by_whole_frame),
    ("inverted", _inverted_by_whole_frame),
    ("fine", _by_fine_features),
    ("whole_frame_alone", _by_whole_frame_alone),
)
"""The attempts in their order, each with the name that a record gives as its `fallback`."""


def _from_features(
    slice_: PreparedSlice, neighbour: PreparedSlice, features: Features, neighbour_features: Features
) -> Evidence:
    if not (slice_.matching.content.any() and neighbour.matching.content.any()):
        return Evidence(refused="no_content")
    matches = match_features(features, neighbour_features)
    moving = moving_consensus(matches, gates.MIN_INLIERS)
    if moving is None:
        return _from_inliers(slice_, neighbour, Evidence(n_matches=len(matches)), consensus(matches))
    found = Evidence(n_matches=len(matches), static_pattern=True)
    return _beside_static_pattern(slice_, neighbour, found, moving)


def _from_inliers(
    slice_: PreparedSlice, neighbour: PreparedSlice, evidence: Evidence, inliers: PointPairs
) -> Evidence:
    evidence = replace(evidence, n_inliers=len(inliers))
    if len(inliers) < gates.MIN_INLIERS:
        return replace(evidence, refused="too_few_inliers")
    fit = _fit(slice_, inliers, slice_.match_scale, _n_independent(slice_, inliers))
    at_match = at_scale(fit.matrix, slice_.match_scale)
    covered = gates.coverage(inliers.slice_px, slice_.matching, neighbour.matching, at_match)
    evidence = replace(evidence, coverage=covered, fit=fit)
    if covered < gates.MIN_COVERAGE:
        return replace(evidence, refused="coverage")
    return _examined(slice_, neighbour, evidence, fit.matrix)


def _beside_static_pattern(
    slice_: PreparedSlice, neighbour: PreparedSlice, evidence: Evidence, moving: PointPairs
) -> Evidence:
    """The evidence of the tissue, with the static pattern taken out of both slices."""
    motion = fit_ladder(moving)["rigid"].matrix
    backward = np.linalg.inv(motion).astype(np.float64, copy=False)
    found = _from_inliers(
        slice_.without(static_pixels(slice_.matching, neighbour.matching, motion)),
        neighbour.without(static_pixels(neighbour.matching, slice_.matching, backward)),
        evidence,
        moving,
    )
    return found if found.refused is None else replace(found, refused="second_consensus")


def _examined(
    slice_: PreparedSlice, neighbour: PreparedSlice, evidence: Evidence, coarse: Matrix
) -> Evidence:
    """The evidence refined from a coarse transform, with the verdict of the gates."""
    reason = gates.refusal_of_matrix(coarse)
    if reason is not None:
        return replace(evidence, refused=reason)
    evidence = _refined(slice_, neighbour, evidence, coarse)
    if evidence.refused is not None:
        return evidence
    if evidence.fit is None:
        return replace(evidence, refused="windows_disagree")
    matrix = at_scale(evidence.fit.matrix, slice_.match_scale)
    corners = corner_points(*reversed(slice_.matching.picture.shape))
    corrected_px = motion_rms_px(matrix, at_scale(coarse, slice_.match_scale), corners)
    found = agreement(slice_.matching, neighbour.matching, matrix)
    motion_px = motion_rms_px(matrix, np.eye(3), grid_points(*reversed(slice_.matching.picture.shape)))
    reason = (
        gates.refusal_of_matrix(matrix)
        or gates.refusal_of_correction(corrected_px)
        or gates.refusal_of_agreement(found, motion_px)
    )
    return replace(evidence, ncc=found.moved, refused=reason)


def _refined(slice_: PreparedSlice, neighbour: PreparedSlice, evidence: Evidence, coarse: Matrix) -> Evidence:
    """The evidence with a transform from windows near full resolution, where these tell one."""
    scale = refinement_scale(slice_.match_scale)
    found = refine(slice_.band, neighbour.band, at_scale(coarse, scale))
    n_kept = len(found.pairs)
    if not gates.windows_suffice(n_kept, len(found.kept)):
        return evidence
    fit = _fit(slice_, found.pairs, scale, found.n_independent)
    if fit.spread_px * scale > gates.MAX_WINDOW_SPREAD_PX:
        return evidence
    whole = _over_whole_picture(slice_, neighbour, fit, found.trusted(fit.weights, slice_.band.shape))
    corners = corner_points(*slice_.size_xy)
    apart_px = motion_rms_px(whole.matrix, fit.matrix, corners) * slice_.detail_scale
    return replace(evidence, fit=whole, n_windows=n_kept, refused=gates.refusal_of_bands(apart_px))


def _over_whole_picture(
    slice_: PreparedSlice, neighbour: PreparedSlice, fit: PairFit, trusted: NDArray[np.bool_]
) -> PairFit:
    """A fit with its last correction, from the trusted pixels that both slices show."""
    shape, matrix = slice_.detail.shape, at_scale(fit.matrix, slice_.detail_scale)
    seen = warped_mask(enlarged(neighbour.matching.shown, neighbour.detail.shape), matrix, shape)
    compared = enlarged(trusted, shape) & enlarged(slice_.matching.shown, shape) & seen
    found = corrected(slice_.detail, neighbour.detail, matrix, fit.model, compared)
    return replace(fit, matrix=at_full_resolution(found, slice_.detail_scale))


def _fit(slice_: PreparedSlice, pairs: PointPairs, scale: float, n_independent: float) -> PairFit:
    """The simplest model of the ladder that explains point pairs of pictures at a scale."""
    fits = fit_ladder(pairs)
    width, height = slice_.size_xy
    chosen = choose(fits, (round(width * scale), round(height * scale)), scale, n_independent)
    effective = max(n_independent * float(chosen.weights.mean()), 1.0)
    return PairFit(
        model=chosen.model,
        matrix=at_full_resolution(chosen.matrix, scale),
        residuals_px={model: fit.rms_px / scale for model, fit in fits.items()},
        spread_px=chosen.sigma_px / scale,
        sigma_px=chosen.sigma_px / scale / effective**0.5,
        weights=chosen.weights,
    )


def _n_independent(slice_: PreparedSlice, inliers: PointPairs) -> float:
    shape = slice_.matching.picture.shape
    return float(len(np.unique(cell_of(inliers.slice_px, shape, _INDEPENDENT_CELLS))))


def _record(
    slice_: PreparedSlice, neighbour: PreparedSlice, evidence: Evidence, as_they_lie: float, *, fallback: str
) -> PairRecord:
    accepted = evidence.fit if evidence.refused is None else None
    return PairRecord(
        z=slice_.z,
        neighbour_z=neighbour.z,
        accepted=accepted is not None,
        reason=evidence.refused or "",
        n_matches=evidence.n_matches,
        n_inliers=evidence.n_inliers,
        coverage=evidence.coverage,
        model=accepted.model if accepted else None,
        residuals_px=evidence.fit.residuals_px if evidence.fit else {},
        matrix=_rows(accepted.matrix) if accepted else None,
        sigma_px=accepted.sigma_px if accepted else 0.0,
        n_windows=evidence.n_windows,
        ncc_before=as_they_lie,
        ncc_after=evidence.ncc if accepted else as_they_lie,
        fallback=fallback,
        difference=difference(slice_.band, neighbour.band),
    )


def _rows(matrix: Matrix) -> Matrix3:
    (a, b, c), (d, e, f), _ = matrix.tolist()
    return (a, b, c), (d, e, f), (0.0, 0.0, 1.0)
