"""Correlates the slices as the volume will show them, on thumbnails (normalised cross-correlation, NCC)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from components.compose.preview.limits import CORRELATION, CorrelationLimits
from components.compose.solve.pairs import Floats
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.geometry import Matrix, at_scale, grid_points, transform_points
from components.shared.pictures.warping import warped

_FOLLOWING = ("next", "second")
"""The slices that each one is compared with: the next, and the next but one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Grey levels at the samples of a picture, with the sums that a correlation asks for."""

    grey: NDArray[np.float32]
    """[y, x]; 0 where it does not count, NaN where there is nothing."""
    total: float
    squares: float
    """Sum of the squares."""

    @classmethod
    def of(cls, grey: NDArray[np.float32]) -> _Samples:
        """These grey levels, summed in float64.

        By OpenCV: the last bits of BLAS depend on the number of threads, and NumPy takes six times as long.
        """
        return cls(grey, cv2.sumElems(grey)[0], cv2.norm(grey, cv2.NORM_L2SQR))

    @property
    def mean(self) -> float:
        """Mean of the grey levels."""
        return self.total / self.grey.size

    @property
    def deviation(self) -> float:
        """Standard deviation of the grey levels; 0 of those that are all the same, rounding aside."""
        variance = self.squares / self.grey.size - self.mean**2
        return math.sqrt(variance) if variance > 0 else 0.0

    @classmethod
    def inside(cls, area: NDArray[np.bool_], grey: NDArray[np.float32]) -> _Samples:
        """Those that lie inside an area."""
        return cls.of(np.asarray(cv2.copyTo(grey, area.view(np.uint8)), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class FlatPicture:
    """A thumbnail without grain and without slow shading, and the pixels of it that are compared."""

    grey: NDArray[np.float32]
    """[y, x]; NaN where there is nothing."""
    every_px: int
    """The distance of the samples along both axes, in pixels; the first is the first pixel."""
    samples: _Samples

    @classmethod
    def of(cls, grey: NDArray[np.float32], limits: CorrelationLimits = CORRELATION) -> FlatPicture:
        """A picture of these grey levels."""
        every_px = limits.every_px if grey.size >= limits.sampled_from_px else 1
        return cls(grey, every_px, _Samples.of(np.ascontiguousarray(grey[::every_px, ::every_px])))


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourCorrelations:
    """NCC of each z index with the next and the next but one, `[n]` each; NaN where unknown.

    `before` is as the slices lie in their files, `after` as the volume will show them.
    """

    next_before: Floats
    next_after: Floats
    second_before: Floats
    second_after: Floats
    next_control: Floats
    """NCC as they lie, the second of the two interpolated as for `next_after` and moved nowhere; known of
    some pairs along the stack."""


def correlate_neighbours(
    transforms: Transforms, scale: float, flat: ReadFlat, limits: CorrelationLimits = CORRELATION
) -> NeighbourCorrelations:
    """Correlate every slice with the two that follow, as they lie and as they are shown."""
    comparison = NeighbourComparison(transforms, scale, flat, limits)
    for index in range(len(transforms.slices)):
        comparison.look_at(index)
    return comparison.found()


@dataclass(frozen=True, slots=True)
class _Placed:
    """A picture and its place, both at the scale of thumbnails."""

    sources: tuple[int, ...]
    """z of the slices that the picture is made of."""
    picture: FlatPicture
    frame_from_picture: Matrix
    picture_from_frame: Matrix


ReadFlat = Callable[[int], FlatPicture | None]
"""The flattened thumbnail of a slice by its z; None where there is none."""


class NeighbourComparison:
    """Correlates every slice with the two that follow, as they lie and as they are shown.

    It looks at one slice after another, z ascending, and holds a few pictures, whatever the stack.
    """

    def __init__(
        self, transforms: Transforms, scale: float, flat: ReadFlat, limits: CorrelationLimits = CORRELATION
    ) -> None:
        """Begin before the first slice.

        Args:
            transforms: Where the slices lie and what is shown.
            scale: Scale of the thumbnails.
            flat: The flattened thumbnail of a slice.
            limits: What of a thumbnail is compared.
        """
        self._transforms, self._limits = transforms, limits
        self._placing = _Placing(transforms, scale, flat, limits)
        n_slices = len(transforms.slices)
        names = ("next_before", "next_after", "second_before", "second_after", "next_control")
        self._figures = {name: np.full(n_slices, np.nan) for name in names}
        self._control_every = math.ceil(n_slices / limits.controls)
        self._before: deque[_Placed | None] = deque(maxlen=len(_FOLLOWING))
        self._after: deque[_Placed | None] = deque(maxlen=len(_FOLLOWING))

    def look_at(self, index: int) -> None:
        """Compare the slice of a z index with the two before it."""
        for when, earlier, placed in (
            ("before", self._before, self._placing.as_it_lies(self._transforms.slices[index])),
            ("after", self._after, self._placing.as_shown(self._transforms.plane(index))),
        ):
            for distance, name in enumerate(_FOLLOWING, start=1):
                if index >= distance:
                    found = _compare(earlier[-distance], placed, self._limits)
                    self._figures[f"{name}_{when}"][index - distance] = found
            earlier.append(placed)
        if index and index % self._control_every == 0:
            control = _control(self._before, self._after, self._limits)
            self._figures["next_control"][index - 1] = control

    def found(self) -> NeighbourCorrelations:
        """The correlations of the slices that were looked at."""
        return NeighbourCorrelations(**self._figures)


class _Placing:
    """Puts the thumbnails of slices where they lie, or where the volume shows them."""

    def __init__(
        self,
        transforms: Transforms,
        scale: float,
        flat: ReadFlat,
        limits: CorrelationLimits,
    ) -> None:
        matrices = np.array([s.matrix for s in transforms.slices]).reshape(-1, 3, 3)
        self._index = {s.z: index for index, s in enumerate(transforms.slices)}
        self._frame_from_picture = at_scale(matrices, scale)
        self._picture_from_frame = np.linalg.inv(self._frame_from_picture)
        self._flat = flat
        self._limits = limits

    def as_it_lies(self, entry: SliceTransform) -> _Placed | None:
        picture = self._flat(entry.z)
        return None if picture is None else _Placed((entry.z,), picture, np.eye(3), np.eye(3))

    def as_shown(self, entry: SliceTransform) -> _Placed | None:
        if entry.action == "blank":
            return None
        source = entry.z if entry.replaced_from is None else entry.replaced_from
        picture = self._flat(source)
        if picture is None:
            return None
        index = self._index[source]
        frame_from_picture, picture_from_frame = (
            self._frame_from_picture[index],
            self._picture_from_frame[index],
        )
        if entry.action == "invert":
            picture = FlatPicture.of(-picture.grey, self._limits)
        if entry.blended_with is None:
            return _Placed((source,), picture, frame_from_picture, picture_from_frame)
        other = self._flat(entry.blended_with)
        if other is None:
            return None
        other_from_picture = self._picture_from_frame[self._index[entry.blended_with]] @ frame_from_picture
        moved = warped(other.grey, other_from_picture, picture.grey.shape, outside=np.nan)
        mean = FlatPicture.of(np.asarray((picture.grey + moved) / np.float32(2), np.float32), self._limits)
        return _Placed((source, entry.blended_with), mean, frame_from_picture, picture_from_frame)


def flattened(thumbnail: NDArray[np.uint8], limits: CorrelationLimits = CORRELATION) -> FlatPicture:
    """A picture without grain and without slow shading, `[y, x]`."""
    taps = 2 * math.ceil(limits.grain_reach_sigmas * limits.grain_sigma_px) + 1
    kernel = cv2.getGaussianKernel(taps, limits.grain_sigma_px, cv2.CV_32F)
    smooth = cv2.sepFilter2D(thumbnail, cv2.CV_32F, kernel, kernel)
    side = 2 * max(1, round(limits.shading_fraction * max(thumbnail.shape) / 2)) + 1
    # OpenCV sums bytes in half the time of floats; so wide a mean does not notice that they are rounded.
    rounded = cv2.convertScaleAbs(smooth)
    shading = cv2.boxFilter(rounded, cv2.CV_32F, (side, side), borderType=cv2.BORDER_REPLICATE)
    return FlatPicture.of(np.asarray(cv2.subtract(smooth, shading), np.float32), limits)


def _compare(a: _Placed | None, b: _Placed | None, limits: CorrelationLimits) -> float:
    """The correlation of two placed pictures; NaN where there is nothing to compare."""
    if a is None or b is None or set(a.sources) & set(b.sources):
        return np.nan
    return correlation(a.picture, b.picture, b.picture_from_frame @ a.frame_from_picture, limits)


def _control(before: deque[_Placed | None], after: deque[_Placed | None], limits: CorrelationLimits) -> float:
    """The correlation of two slices as they lie, where one has lost what interpolation takes from it.

    Linear interpolation between two pixels smooths, and smoothed noise correlates. At a fraction f of a pixel
    its kernel has the variance f (1 - f); here a kernel of that variance smooths about each pixel.
    """
    (lies, lies_next), (shown, shown_next) = list(before)[-2:], list(after)[-2:]
    if lies is None or lies_next is None or shown is None or shown_next is None:
        return np.nan
    height, width = lies.picture.grey.shape
    next_from_slice = shown_next.picture_from_frame @ shown.frame_from_picture
    points = grid_points(width, height)
    fractions = (transform_points(next_from_slice, points) - points) % 1
    of_x, of_y = (
        np.array([variance / 2, 1 - variance, variance / 2])
        for variance in np.mean(fractions * (1 - fractions), axis=0)
    )
    smooth = cv2.sepFilter2D(lies_next.picture.grey, cv2.CV_32F, of_x, of_y)
    alike = replace(lies_next, picture=FlatPicture.of(np.asarray(smooth, np.float32), limits))
    return _compare(lies, alike, limits)


def correlation(
    a: FlatPicture, b: FlatPicture, b_from_a: Matrix, limits: CorrelationLimits = CORRELATION
) -> float:
    """Normalised cross-correlation over the area that both cover, at the samples of the one.

    0 where they hardly overlap: slices that lie next to each other do. NaN where a picture has no texture.

    Args:
        a: The one picture, of which the samples are taken.
        b: The other, interpolated where these lie.
        b_from_a: From pixels of a to pixels of b.
        limits: How much the pictures must overlap.
    """
    of_a, of_b = a.samples, b.samples
    n_samples = of_a.grey.size
    moved = _at_samples(b, b_from_a, a)
    if moved is not of_b.grey or math.isnan(of_a.squares + of_b.squares):
        inside = np.isfinite(moved) & np.isfinite(of_a.grey)
        n_samples = int(np.count_nonzero(inside))
        if n_samples < limits.min_overlap_fraction * inside.size:
            return 0.0 if of_a.squares != 0 and of_b.squares != 0 else np.nan
        of_a, of_b = _Samples.inside(inside, of_a.grey), _Samples.inside(inside, moved)
    # 2 a b = a^2 + b^2 - (a - b)^2: a pass over both, with no product of them in memory.
    products = (of_a.squares + of_b.squares - cv2.norm(of_a.grey, of_b.grey, cv2.NORM_L2SQR)) / 2
    shared = products - of_a.total * of_b.total / n_samples
    variances = (of_a.squares - of_a.total**2 / n_samples) * (of_b.squares - of_b.total**2 / n_samples)
    return round(shared / math.sqrt(variances), limits.digits) if variances > 0 else np.nan


def _at_samples(picture: FlatPicture, picture_from_other: Matrix, other: FlatPicture) -> NDArray[np.float32]:
    """A picture at the samples of another; NaN outside of it."""
    if np.array_equal(picture_from_other, np.eye(3)) and picture.grey.shape == other.grey.shape:
        return picture.samples.grey
    picture_from_samples = picture_from_other @ np.diag([other.every_px, other.every_px, 1.0])
    return warped(picture.grey, picture_from_samples, other.samples.grey.shape, outside=np.nan)
