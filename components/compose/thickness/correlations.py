"""How alike slices are to those that follow, where the volume shows them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from components.compose.preview.correlate import FlatPicture, ReadFlat
from components.compose.solve.pairs import Floats
from components.compose.thickness.limits import LIKENESS, LikenessLimits
from components.shared.along_z.limits import PLACES
from components.shared.documents.transforms import SliceTransform
from components.shared.geometry import Matrix, at_scale, corner_points, transform_points, translation
from components.shared.pictures.warping import warped

_NEUTRAL = 128
"""Grey level of 0 in a picture of bytes."""


_Rectangle = tuple[int, int, int, int]
"""x, y, width and height in samples."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A picture at the samples that it covers, of a grid in the frame of the volume that all slices share."""

    levels: NDArray[np.uint8]
    x: int
    y: int
    _sums: dict[_Rectangle, tuple[float, float]] = field(default_factory=dict)
    """Sums of rectangles that were asked for: slices that hardly move share the same with all others."""

    def part(self, rectangle: _Rectangle) -> NDArray[np.uint8]:
        """The part in a rectangle of samples."""
        x, y, width, height = rectangle
        return self.levels[y - self.y : y - self.y + height, x - self.x : x - self.x + width]

    def sums(self, rectangle: _Rectangle) -> tuple[float, float]:
        """Sum of the grey levels in a rectangle of samples, and of their squares."""
        found = self._sums.get(rectangle)
        if found is None:
            part = self.part(rectangle)
            found = self._sums[rectangle] = cv2.sumElems(part)[0], cv2.norm(part, cv2.NORM_L2SQR)
        return found


@dataclass(frozen=True, slots=True)
class Likeness:
    """Correlations of each slice with those that follow, `[n, reach]`; NaN where there is none."""

    whole: Floats
    halves: tuple[Floats, Floats]
    """Those of the left and the right half of each pair, which hold different tissue."""


class LikenessAlongZ:
    """Compares slices with those that follow.

    It looks at one slice after another, z ascending, and holds as many pictures as slices are compared with.
    All are compared at samples as far from each other as those of the first (preview/correlate.py).
    """

    def __init__(self, scale: float, flat: ReadFlat, limits: LikenessLimits = LIKENESS) -> None:
        """Begin before the first slice.

        Args:
            scale: Scale of the thumbnails.
            flat: The flattened thumbnail of a slice.
            limits: How pictures are compared.
        """
        self._scale, self._flat, self._limits = scale, flat, limits
        self._every_px = 0
        self._earlier: deque[_Placed | None] = deque(maxlen=PLACES.reach)
        self._found: list[Floats] = []

    def look_at(self, entry: SliceTransform) -> None:
        """Compare a slice with those before it."""
        placed = self._placed(entry)
        self._found.append(np.full((PLACES.reach, 3), np.nan))
        for distance, other in enumerate(reversed(self._earlier), start=1):
            if placed is not None and other is not None:
                self._found[-1 - distance][distance - 1] = _correlations(other, placed, self._limits)
        self._earlier.append(placed)

    def found(self) -> Likeness:
        """The correlations of the slices that were looked at."""
        whole, left, right = np.moveaxis(np.array(self._found).reshape(-1, PLACES.reach, 3), 2, 0)
        return Likeness(whole, (left, right))

    def _placed(self, entry: SliceTransform) -> _Placed | None:
        flat = self._flat(entry.z)
        if flat is None:
            return None
        self._every_px = self._every_px or flat.every_px
        samples_from_frame = np.diag([1 / self._every_px, 1 / self._every_px, 1.0])
        samples_from_slice = samples_from_frame @ at_scale(np.array(entry.matrix), self._scale)
        return _placed(entry, flat, samples_from_slice, self._limits)


def _placed(
    entry: SliceTransform, picture: FlatPicture, samples_from_slice: Matrix, limits: LikenessLimits
) -> _Placed | None:
    """A slice without grain and shading, as bytes, where the volume shows it; None without texture."""
    mean, deviation = picture.samples.mean, picture.samples.deviation
    if deviation == 0:
        return None
    factor = limits.levels_per_deviation / deviation * (-1 if entry.action == "invert" else 1)
    levels = np.asarray(
        cv2.addWeighted(picture.grey, factor, picture.grey, 0, _NEUTRAL - factor * mean, dtype=cv2.CV_8U),
        np.uint8,
    )
    x, y, width, height = _covered(samples_from_slice, levels.shape)
    if width < 1 or height < 1:
        return None
    slice_from_part = np.linalg.inv(samples_from_slice) @ translation(x, y)
    return _Placed(warped(levels, slice_from_part, (height, width), outside=_NEUTRAL), x, y)


def _covered(matrix: Matrix, shape_yx: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The upright rectangle [x, y, width, height] of samples that lies within a picture."""
    top_left, top_right, bottom_left, bottom_right = transform_points(
        matrix, corner_points(shape_yx[1], shape_yx[0])
    )
    left = math.ceil(max(top_left[0], bottom_left[0]))
    right = math.floor(min(top_right[0], bottom_right[0]))
    top = math.ceil(max(top_left[1], top_right[1]))
    bottom = math.floor(min(bottom_left[1], bottom_right[1]))
    return left, top, right - left + 1, bottom - top + 1


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the pixels of two pictures: exact, since of bytes."""

    n_pixels: int
    totals: tuple[float, float]
    squares: tuple[float, float]
    products: float

    @classmethod
    def of(cls, one: _Placed, other: _Placed, rectangle: _Rectangle) -> _Sums:
        """The sums of two pictures in a rectangle of samples."""
        (total, square), (other_total, other_square) = one.sums(rectangle), other.sums(rectangle)
        # 2 a b = a^2 + b^2 - (a - b)^2: a pass over both, with no product of them in memory.
        difference = cv2.norm(one.part(rectangle), other.part(rectangle), cv2.NORM_L2SQR)
        n_pixels = rectangle[2] * rectangle[3]
        products = (square + other_square - difference) / 2
        return cls(n_pixels, (total, other_total), (square, other_square), products)

    def and_of(self, other: _Sums) -> _Sums:
        """The sums over the pixels of both."""
        a, b = self, other
        return _Sums(
            a.n_pixels + b.n_pixels,
            (a.totals[0] + b.totals[0], a.totals[1] + b.totals[1]),
            (a.squares[0] + b.squares[0], a.squares[1] + b.squares[1]),
            a.products + b.products,
        )

    def correlation(self, digits: int) -> float:
        """Normalised cross-correlation; NaN where a picture has no texture."""
        one, other = (
            square - total**2 / self.n_pixels for square, total in zip(self.squares, self.totals, strict=True)
        )
        if min(one, other) <= 0:
            return math.nan
        shared = self.products - self.totals[0] * self.totals[1] / self.n_pixels
        return round(float(shared) / math.sqrt(one * other), digits)


def _correlations(a: _Placed, b: _Placed, limits: LikenessLimits) -> tuple[float, float, float]:
    """Correlation over the rectangle that both cover, and over its halves; NaN where that is small."""
    (a_height, a_width), (b_height, b_width) = a.levels.shape, b.levels.shape
    x, y = max(a.x, b.x), max(a.y, b.y)
    width, height = min(a.x + a_width, b.x + b_width) - x, min(a.y + a_height, b.y + b_height) - y
    least = limits.least_overlap * min(a.levels.size, b.levels.size)
    if width < 2 or height < 1 or width * height < least:
        return math.nan, math.nan, math.nan
    middle = width // 2
    left = _Sums.of(a, b, (x, y, middle, height))
    right = _Sums.of(a, b, (x + middle, y, width - middle, height))
    whole = left.and_of(right).correlation(limits.digits)
    return whole, left.correlation(limits.digits), right.correlation(limits.digits)
