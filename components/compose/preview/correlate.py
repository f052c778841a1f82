"""Correlates the slices as the volume will show them, on thumbnails (normalised cross-correlation, NCC)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from components.compose.preview.limits import CORRELATION, CorrelationLimits
from components.compose.solve.pairs import Floats
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.geometry import Matrix, at_scale
from components.shared.pictures.warping import warped

_FOLLOWING = ("next", "second")
"""The slices that each one is compared with: the next, and the next but one."""


@dataclass(frozen=True, slots=True, eq=False)
class FlatPicture:
    """A thumbnail without grain and without slow shading, with the sums that a correlation asks for."""

    grey: NDArray[np.float32]
    """[y, x], 0 where it does not count."""
    total: float
    squares: float
    """Sum of the squares."""

    @classmethod
    def of(cls, grey: NDArray[np.float32]) -> FlatPicture:
        """A picture of these grey levels, summed in float64.

        By OpenCV: the last bits of BLAS depend on the number of threads, and NumPy takes six times as long.
        """
        return cls(grey, cv2.sumElems(grey)[0], cv2.norm(grey, cv2.NORM_L2SQR))


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourCorrelations:
    """NCC of each z index with the next and the next but one, `[n]` each; NaN where unknown.

    `before` is as the slices lie in their files, `after` as the volume will show them.
    """

    next_before: Floats
    next_after: Floats
    second_before: Floats
    second_after: Floats


@dataclass(frozen=True, slots=True)
class _Placed:
    """A picture and its place, both at the scale of thumbnails."""

    sources: tuple[int, ...]
    """z of the slices that the picture is made of."""
    picture: FlatPicture
    frame_from_picture: Matrix


def correlate_neighbours(
    transforms: Transforms,
    scale: float,
    thumbnail: Callable[[int], NDArray[np.uint8] | None],
    limits: CorrelationLimits = CORRELATION,
) -> NeighbourCorrelations:
    """Correlate every slice with the two that follow, as they lie and as they are shown.

    Memory holds a few thumbnails, whatever the length of the stack.

    Args:
        transforms: Where the slices lie and what is shown.
        scale: Scale of the thumbnails.
        thumbnail: The thumbnail `[y, x]` of a slice by its z; None where there is none.
        limits: What of a thumbnail is compared.
    """

    @lru_cache(limits.slices_in_memory)
    def flat(z: int) -> FlatPicture | None:
        picture = thumbnail(z)
        return None if picture is None else flattened(picture, limits)

    placing = _Placing(transforms, scale, flat)
    figures = {
        name: np.full(len(transforms.slices), np.nan)
        for name in ("next_before", "next_after", "second_before", "second_after")
    }
    before: deque[_Placed | None] = deque(maxlen=len(_FOLLOWING))
    after: deque[_Placed | None] = deque(maxlen=len(_FOLLOWING))
    for index, entry in enumerate(transforms.slices):
        for when, earlier, placed in (
            ("before", before, placing.as_it_lies(entry)),
            ("after", after, placing.as_shown(entry)),
        ):
            for distance, name in enumerate(_FOLLOWING, start=1):
                if index >= distance:
                    found = _compare(earlier[-distance], placed, limits)
                    figures[f"{name}_{when}"][index - distance] = found
            earlier.append(placed)
    return NeighbourCorrelations(**figures)


class _Placing:
    """Puts the thumbnails of slices where they lie, or where the volume shows them."""

    def __init__(
        self, transforms: Transforms, scale: float, flat: Callable[[int], FlatPicture | None]
    ) -> None:
        self._matrices = {s.z: at_scale(np.array(s.matrix), scale) for s in transforms.slices}
        self._flat = flat

    def as_it_lies(self, entry: SliceTransform) -> _Placed | None:
        picture = self._flat(entry.z)
        return None if picture is None else _Placed((entry.z,), picture, np.eye(3))

    def as_shown(self, entry: SliceTransform) -> _Placed | None:
        if entry.action == "blank":
            return None
        source = entry.z if entry.replaced_from is None else entry.replaced_from
        picture, matrix = self._flat(source), self._matrices[source]
        if picture is None:
            return None
        if entry.action == "invert":
            picture = FlatPicture.of(-picture.grey)
        if entry.blended_with is None:
            return _Placed((source,), picture, matrix)
        other = self._flat(entry.blended_with)
        if other is None:
            return None
        other_from_picture = np.linalg.inv(self._matrices[entry.blended_with]) @ matrix
        moved = _in_frame(other.grey, other_from_picture, picture.grey.shape)
        mean = np.asarray((picture.grey + moved) / np.float32(2), np.float32)
        return _Placed((source, entry.blended_with), FlatPicture.of(mean), matrix)


def flattened(thumbnail: NDArray[np.uint8], limits: CorrelationLimits = CORRELATION) -> FlatPicture:
    """A picture without grain and without slow shading, `[y, x]`."""
    smooth = cv2.GaussianBlur(thumbnail.astype(np.float32), (0, 0), limits.grain_sigma_px)
    side = 2 * max(1, round(limits.shading_fraction * max(thumbnail.shape) / 2)) + 1
    shading = cv2.blur(smooth, (side, side), borderType=cv2.BORDER_REPLICATE)
    return FlatPicture.of(np.asarray(smooth - shading, np.float32))


def _compare(a: _Placed | None, b: _Placed | None, limits: CorrelationLimits) -> float:
    """The correlation of two placed pictures; NaN where there is nothing to compare."""
    if a is None or b is None or set(a.sources) & set(b.sources):
        return np.nan
    b_from_a = np.linalg.inv(b.frame_from_picture) @ a.frame_from_picture
    return correlation(a.picture, b.picture, b_from_a, limits)


def correlation(
    a: FlatPicture, b: FlatPicture, b_from_a: Matrix, limits: CorrelationLimits = CORRELATION
) -> float:
    """Normalised cross-correlation over the area that both cover.

    0 where they hardly overlap: slices that lie next to each other do. NaN where a picture has no texture.

    Args:
        a: The one picture.
        b: The other.
        b_from_a: From pixels of a to pixels of b.
        limits: How much the pictures must overlap.
    """
    moved = _in_frame(b.grey, b_from_a, a.grey.shape)
    n_pixels = moved.size
    if moved is b.grey and not math.isnan(b.squares):
        both = b
    else:
        inside = np.isfinite(moved)
        n_pixels = int(np.count_nonzero(inside))
        if n_pixels < limits.min_overlap_fraction * inside.size:
            return 0.0 if a.squares != 0 and b.squares != 0 else np.nan
        a, both = _where(inside, a.grey), _where(inside, moved)
    # 2 a b = a^2 + b^2 - (a - b)^2: a pass over both, with no product of them in memory.
    products = (a.squares + both.squares - cv2.norm(a.grey, both.grey, cv2.NORM_L2SQR)) / 2
    shared = products - a.total * both.total / n_pixels
    variances = (a.squares - a.total**2 / n_pixels) * (both.squares - both.total**2 / n_pixels)
    return round(shared / math.sqrt(variances), limits.digits) if variances > 0 else np.nan


def _where(inside: NDArray[np.bool_], grey: NDArray[np.float32]) -> FlatPicture:
    """The part of a picture that lies inside."""
    return FlatPicture.of(np.asarray(cv2.copyTo(grey, inside.view(np.uint8)), np.float32))


def _in_frame(
    picture: NDArray[np.float32], picture_from_frame: Matrix, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """A picture in another frame; NaN outside of it."""
    if np.array_equal(picture_from_frame, np.eye(3)) and picture.shape == shape:
        return picture
    return warped(picture, picture_from_frame, shape, outside=np.nan)
