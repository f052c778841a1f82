"""A slice made ready to be matched: everything that is computed once per slice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.features import Features, coarse_features, extract_features, inverted_features
from components.align.gates import ComparedPicture, compared_picture
from components.align.normalise import (
    GREY,
    MatchingPicture,
    PreparedPicture,
    Raw,
    band_passed,
    detail_picture,
    enlarged,
    inverted_picture,
    matching_picture,
    resized,
)
from components.align.normalise import LIMITS as PICTURES
from components.align.statistics import Tissue, slice_statistics
from components.shared.documents.align import SliceStatistics
from components.shared.documents.plan import Part
from components.shared.geometry import Matrix, at_scale, scaled_from_full
from components.shared.limits import limit
from components.shared.pictures.warping import warped


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleLimits:
    """Scales of the pictures that are used after matching; the plan chooses the scale of matching."""

    detail_side_px: int = limit(
        1280,
        unit="px, most of the longest side",
        why="the correction over the whole picture has three numbers, and needs no more pixels than these",
        measured_on="not measured apart; benchmarks/alignment has slices of 520 and 1,024 px",
        too_small="fine structures, which run straightest through the block, are lost",
        too_large="time and memory: a byte a pixel for every slice in reach",
    )
    refinement_factor: float = limit(
        2.0,
        unit="times the scale of matching, at most",
        why="half resolution is enough for 5k x 5k: a window sees four times the tissue, and less noise",
        measured_on="not measured apart; windows are good to 0.04 px of their own scale",
        too_small="the error of a window counts more at full resolution",
        too_large="time and memory; windows of 256 px see less tissue",
    )


LIMITS = ScaleLimits()


@dataclass(frozen=True, kw_only=True)
class PreparedSlice:
    """The pictures and features of a slice, kept while neighbours may match it; about 8 MB for 5k x 5k.

    All of them are of the part of the picture that is matched.
    """

    statistics: SliceStatistics
    corner_xy: tuple[int, int]
    """First column and row of the part in the picture, at full resolution."""
    size_xy: tuple[int, int]
    """Width and height of the part at full resolution."""
    match_scale: float
    matching: MatchingPicture
    """The picture for features, NCC and the search of the whole frame, at matching scale."""
    features: Features
    """Features of a coarser picture, their points at matching scale."""
    band: PreparedPicture
    """The band that windows are compared in, at refinement scale."""
    detail: PreparedPicture
    """The band that whole pictures are compared in, at detail scale."""

    @property
    def z(self) -> int:
        return self.statistics.z

    @property
    def detail_scale(self) -> float:
        return detail_scale(self.size_xy)

    @cached_property
    def fine_features(self) -> Features:
        """Features at matching scale, computed when a pair asks for them."""
        return extract_features(self.matching.picture, self.matching.shown)

    @cached_property
    def compared(self) -> ComparedPicture:
        """The picture that the gates correlate."""
        return compared_picture(self.matching)

    def inverted(self) -> PreparedSlice:
        """A copy whose pictures and features are those of the slice with its grey levels inverted."""
        return replace(
            self,
            matching=replace(self.matching, picture=inverted_picture(self.matching.picture)),
            features=inverted_features(self.features),
            band=inverted_picture(self.band),
            detail=inverted_picture(self.detail),
        )

    def without(self, hidden: NDArray[np.bool_]) -> PreparedSlice:
        """A copy with `hidden` pixels set to grey in every picture; `features` are not computed anew.

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


def seen_in(neighbour: PreparedSlice, slice_: PreparedSlice, neighbour_from_slice: Matrix) -> PreparedSlice:
    """A neighbour as the frame of a slice shows it after a motion; without coarse features.

    Args:
        neighbour: of any size.
        slice_: prepared at the same matching scale.
        neighbour_from_slice: at full resolution; also a large rotation or magnification.
    """
    scale, theirs, ours = neighbour.match_scale, neighbour.matching, slice_.matching
    motion, shape = at_scale(neighbour_from_slice, scale), ours.picture.shape
    inside = warped(theirs.shown.astype(np.uint8) * np.uint8(255), motion, shape) == 255
    content = cv2.resize(theirs.content, theirs.picture.shape[::-1]).astype(np.float32, copy=False)
    content = warped(content, motion, shape) * inside
    fine = at_scale(neighbour_from_slice, refinement_scale(scale))
    detailed = scaled_from_full(neighbour.detail_scale) @ neighbour_from_slice
    detailed = detailed @ np.linalg.inv(scaled_from_full(slice_.detail_scale))
    reduced = at_scale(motion, min(1.0, PICTURES.reduced_side_px / max(theirs.picture.shape)))
    return replace(
        neighbour,
        corner_xy=slice_.corner_xy,
        size_xy=slice_.size_xy,
        matching=MatchingPicture(
            picture=warped(theirs.picture, motion, shape, outside=GREY),
            shown=inside,
            content=cv2.resize(content, theirs.content.shape[::-1], interpolation=cv2.INTER_AREA).astype(
                np.float32, copy=False
            ),
            reduced=warped(theirs.reduced, reduced, ours.reduced.shape, outside=float(theirs.reduced.mean())),
        ),
        features=Features(neighbour.features.points_px[:0], neighbour.features.descriptors[:0]),
        band=warped(neighbour.band, fine, slice_.band.shape, outside=GREY),
        detail=warped(neighbour.detail, detailed, slice_.detail.shape, outside=GREY),
    )


def refinement_scale(match_scale: float) -> float:
    """The scale of refinement: a power of two, one to two times as fine as matching, at most 1.

    Example:
        >>> refinement_scale(1.0), refinement_scale(1280 / 5000), refinement_scale(1280 / 20_000)
        (1.0, 0.5, 0.125)
    """
    return 2.0 ** math.floor(math.log2(min(1.0, LIMITS.refinement_factor * match_scale)))


def detail_scale(size_xy: tuple[int, int]) -> float:
    """The scale at which whole pictures are compared: the largest power of two that keeps them small.

    Example:
        >>> detail_scale((1280, 900)), detail_scale((5000, 5000))
        (1.0, 0.25)
    """
    return 2.0 ** -max(math.ceil(math.log2(max(size_xy) / LIMITS.detail_side_px)), 0)


def prepare(z: int, image: Raw, match_scale: float, part: Part | None = None) -> PreparedSlice:
    """Compute the statistics, pictures and features of a raw slice.

    Args:
        z: number of the slice.
        image: [y, x] raw grey levels.
        match_scale: scale of feature matching, above 0, at most 1.
        part: of the picture that is measured and compared; None: all of it.
    """
    left, top, width, height = part or (0, 0, image.shape[1], image.shape[0])
    image = image[top : top + height, left : left + width]
    tissue = Tissue.of(image)
    small = resized(tissue.image, match_scale)
    matching = matching_picture(small, tissue.hidden)
    features = coarse_features(matching)
    fine = resized(tissue.image, refinement_scale(match_scale))
    size_xy = (image.shape[1], image.shape[0])
    detailed = resized(tissue.image, detail_scale(size_xy))
    return PreparedSlice(
        statistics=slice_statistics(
            z,
            tissue,
            fine,
            small,
            content=matching.content,
            n_features=len(features),
        ),
        corner_xy=(left, top),
        size_xy=size_xy,
        match_scale=match_scale,
        matching=matching,
        features=features,
        band=band_passed(fine, enlarged(matching.shown, fine.shape)),
        detail=detail_picture(detailed, enlarged(matching.shown, detailed.shape)),
    )
