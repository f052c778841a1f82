"""A slice made ready to be matched: everything that is computed once per slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from components.align.features import Features, extract_features
from components.align.normalise import (
    MatchingPicture,
    Picture,
    Raw,
    band_passed,
    matching_picture,
    resized,
    smooth_picture,
)
from components.align.statistics import slice_statistics
from components.shared.documents import SliceStatistics


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

    @property
    def z(self) -> int:
        return self.statistics.z

    @cached_property
    def smooth_features(self) -> Features:
        """Features of the slice without its grain, computed when a pair asks for them."""
        return extract_features(smooth_picture(self.matching.picture))


def refinement_scale(match_scale: float) -> float:
    """The scale of refinement: a power of two, one to two times as fine as matching, at most 1.

    Half resolution is enough for 5k x 5k: the same windows see four times the tissue, and less noise.

    Example:
        >>> refinement_scale(1.0), refinement_scale(1280 / 5000), refinement_scale(1280 / 20_000)
        (1.0, 0.5, 0.125)
    """
    return 2.0 ** math.floor(math.log2(min(1.0, 2 * match_scale)))


def prepare(z: int, image: Raw, match_scale: float) -> PreparedSlice:
    """Compute the statistics, pictures and features of a raw slice.

    Args:
        z: number of the slice.
        image: [y, x] raw grey levels.
        match_scale: scale of feature matching, above 0, at most 1.
    """
    matching = matching_picture(resized(image, match_scale))
    features = extract_features(matching.picture)
    fine = resized(image, refinement_scale(match_scale))
    return PreparedSlice(
        statistics=slice_statistics(
            z,
            image,
            fine,
            content_fraction=float(matching.content.mean()),
            n_features=len(features),
        ),
        size_xy=(image.shape[1], image.shape[0]),
        match_scale=match_scale,
        matching=matching,
        features=features,
        band=band_passed(fine),
    )
