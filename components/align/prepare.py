"""A slice made ready to be matched: everything that is computed once per slice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from components.align.features import Features, extract_features, turned_round
from components.align.normalise import (
    GREY,
    MatchingPicture,
    Picture,
    Raw,
    band_passed,
    detail_picture,
    enlarged,
    matching_picture,
    resized,
    smooth_picture,
)
from components.align.statistics import slice_statistics
from components.shared.documents.align import SliceStatistics

_DETAIL_SIDE_PX = 1280
"""The correction over the whole picture has three numbers, and needs no more pixels than these."""


@dataclass(frozen=True, kw_only=True)
class PreparedSlice:
    """What is kept of a slice while it is in reach of its neighbours; about 8 MB for 5k x 5k."""

    statistics: SliceStatistics
    size_xy: tuple[int, int]
    """At full resolution."""
    match_scale: float
    matching: MatchingPicture
    """At matching scale."""
    features: Features
    band: Picture
    """At refinement scale."""
    detail: Picture
    """At detail scale."""

    @property
    def z(self) -> int:
        return self.statistics.z

    @property
    def detail_scale(self) -> float:
        return detail_scale(self.size_xy)

    @cached_property
    def smooth_features(self) -> Features:
        """Features of the slice without its grain, computed when a pair asks for them."""
        return extract_features(smooth_picture(self.matching.picture), self.matching.shown)

    @cached_property
    def fine_features(self) -> Features:
        """Features at refinement scale, their points at matching scale; computed when a pair asks."""
        found = extract_features(self.band, np.ones(self.band.shape, bool))
        to_matching = self.match_scale / refinement_scale(self.match_scale)
        return Features((found.points_px + 0.5) * to_matching - 0.5, found.descriptors)

    def inverted(self) -> PreparedSlice:
        """The same slice with its grey levels turned round."""
        return replace(
            self,
            matching=replace(self.matching, picture=_turned_round(self.matching.picture)),
            features=turned_round(self.features),
            band=_turned_round(self.band),
            detail=_turned_round(self.detail),
        )

    def without(self, hidden: NDArray[np.bool_]) -> PreparedSlice:
        """The same slice with a part painted over. The features stay.

        Args:
            hidden: [y, x] at matching scale.
        """
        picture, band, detail = self.matching.picture.copy(), self.band.copy(), self.detail.copy()
        for painted in (picture, band, detail):
            painted[enlarged(hidden, painted.shape)] = GREY
        return replace(
            self,
            matching=replace(self.matching, picture=picture, shown=self.matching.shown & ~hidden),
            band=band,
            detail=detail,
        )


def refinement_scale(match_scale: float) -> float:
    """The scale of refinement: a power of two, one to two times as fine as matching, at most 1.

    Half resolution is enough for 5k x 5k: the same windows see four times the tissue, and less noise.

    Example:
        >>> refinement_scale(1.0), refinement_scale(1280 / 5000), refinement_scale(1280 / 20_000)
        (1.0, 0.5, 0.125)
    """
    return 2.0 ** math.floor(math.log2(min(1.0, 2 * match_scale)))


def detail_scale(size_xy: tuple[int, int]) -> float:
    """The scale at which whole pictures are compared: the largest power of two that keeps them small.

    Example:
        >>> detail_scale((1280, 900)), detail_scale((5000, 5000))
        (1.0, 0.25)
    """
    return 2.0 ** -max(math.ceil(math.log2(max(size_xy) / _DETAIL_SIDE_PX)), 0)


def prepare(z: int, image: Raw, match_scale: float) -> PreparedSlice:
    """Compute the statistics, pictures and features of a raw slice.

    Args:
        z: number of the slice.
        image: [y, x] raw grey levels.
        match_scale: scale of feature matching, above 0, at most 1.
    """
    small = resized(image, match_scale)
    matching = matching_picture(small)
    features = extract_features(matching.picture, matching.shown)
    fine = resized(image, refinement_scale(match_scale))
    size_xy = (image.shape[1], image.shape[0])
    detailed = resized(image, detail_scale(size_xy))
    return PreparedSlice(
        statistics=slice_statistics(
            z,
            image,
            fine,
            small,
            content=matching.content,
            n_features=len(features),
        ),
        size_xy=size_xy,
        match_scale=match_scale,
        matching=matching,
        features=features,
        band=band_passed(fine, enlarged(matching.shown, fine.shape)),
        detail=detail_picture(detailed, enlarged(matching.shown, detailed.shape)),
    )


def _turned_round(picture: Picture) -> Picture:
    """Grey levels 1..255 mirrored about the grey of the local mean."""
    turned: Picture = (2 * GREY - picture.astype(np.int16)).astype(np.uint8)
    return turned
