"""Data bars: text on a plain ground that a microscope or a program has drawn into every picture of a stack.

A bar keeps its place while the tissue moves, and its sharp text outvotes soft tissue. It is told from tissue,
empty resin, vignettes, charging and padding by what pictures from all over the stack share: the same numbers
at the same place, over a rectangle, with sharp structures in it, while the rest has changed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import DataBar
from components.shared.limits import limit
from components.shared.pictures.grey_levels import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class DataBarLimits:
    """Limits that decide which parts of the pictures are a data bar."""

    looked_at_px: int = limit(
        1024,
        unit="px, most of the longest side",
        why="pictures are reduced by a whole factor to this, so that nine of them fit into memory",
        measured_on="not measured; text of a bar is then 3 px high at least",
        too_small="text is averaged to grey, and the bar looks like padding",
        too_large="time and memory of planning",
    )
    same: float = limit(
        0.05,
        unit="of the usual change",
        why="a pixel that differs by no more between two pictures is the same in both: bars are drawn, and "
        "have no noise",
        measured_on="tests/components/shared/pictures/test_data_bar.py: PNG and JPEG of quality 90",
        too_small="a bar that went through arithmetic with rounding is not found",
        too_large="soft tissue is the same by chance",
    )
    least_texture: float = limit(
        0.25,
        unit="of the median standard deviation",
        why="a blank picture is the same as the ground of a bar and shows no text",
        measured_on="not measured",
        too_small="a blank picture hides the bar of the others",
        too_large="pictures of low contrast have no say",
    )
    least_change: float = limit(
        2.0,
        unit="grey levels, median of the pixels that change",
        why="pictures that differ by less hardly tell what stands still",
        measured_on="not measured; rounding makes a third of the pixels equal where the median is 1",
        too_small="smooth parts of still tissue are the same by rounding",
        too_large="bars over faint tissue are not found",
    )
    changing_share: float = limit(
        0.3,
        unit="of the pixels",
        why="so much of two pictures must differ: else the slices stand still, and nothing is told by that",
        measured_on="not measured; a bar of a third of the picture and as much padding leave a third",
        too_small="two copies of a slice make a bar of all that they show",
        too_large="bars beside wide padding are not found",
    )
    box_px: int = limit(
        9,
        unit="px of the reduced pictures, odd",
        why="neighbourhood in which most pixels must be the same, so that digits that change do not count",
        measured_on="tests/components/shared/pictures/test_data_bar.py",
        too_small="chance, along the lines where two pictures cross",
        too_large="thin bars are not found",
    )
    static_share: float = limit(
        0.6,
        unit="of a neighbourhood, or of a row",
        why="what is the same in more of its pixels stands still; text that changes covers less than that",
        measured_on="planted bars: 0.85 to 1; tissue: below 0.1, tests/components/shared/pictures",
        too_small="still tissue",
        too_large="bars with much text that changes are not found",
    )
    filled_share: float = limit(
        0.8,
        unit="of a rectangle",
        why="a bar that does not span the picture is a rectangle, and padding or burnt out tissue is none",
        measured_on="not measured",
        too_small="black corners around a round field of view",
        too_large="labels with much text that changes are not found",
    )
    least_pairs: int = limit(
        2,
        unit="pairs of pictures",
        why="a bar is in two pairs of pictures or, of a stack with a single pair, in this",
        measured_on="derived: a bar in three of nine pictures, a third of the stack, is in three pairs",
        too_small="two pictures that share a part by a fault of the recording make a bar",
        too_large="bars in a part of the stack are not found",
    )
    least_side_px: int = limit(
        8,
        unit="px of the reduced pictures",
        why="a lower bar has no room for text",
        measured_on="not measured",
        too_small="a line of dead pixels is called a bar",
        too_large="bars of small pictures are not found",
    )
    least_area_share: float = limit(
        0.002,
        unit="of the picture",
        why="a label is larger; burnt out specks meet by chance",
        measured_on="tests/components/shared/pictures/test_data_bar.py: specks of 0.0007",
        too_small="specks are called labels",
        too_large="short labels are not found",
    )
    most_share: float = limit(
        1 / 3,
        unit="of the picture's side, for one of the two sides",
        why="bars take 4 to 15 % of a picture's height",
        measured_on="not measured",
        too_small="high bars are not found",
        too_large="large areas that stand still for another reason are left out",
    )
    drawn_share: float = limit(
        0.7,
        unit="of the pairs that share a bar",
        why="text is the same in every picture; one of nine may lack it, which the median does not show",
        measured_on="derived: all but one of nine pictures make 28 of 36 pairs, all but two 21",
        too_small="an edge that charging burns out in most pictures is called text",
        too_large="one odd picture, black where the bar should be, hides the text of the others",
    )
    least_contrast: float = limit(
        4.0,
        unit="times the difference of pixels that count as the same",
        why="text differs from its ground by more than what may differ from picture to picture",
        measured_on="tests/components/shared/pictures/test_data_bar.py: burnt out edges and resin reach 2",
        too_small="faint noise in resin or in a burnt out edge is called text",
        too_large="faint text over noisy tissue is not found",
    )
    plain_step: float = limit(
        0.02,
        unit="of a bar's contrast, median step from pixel to pixel",
        why="text stands on a plain ground; noise that is the same in all pictures has steps everywhere",
        measured_on="derived: normal noise over 8 standard deviations has a median step of 0.12",
        too_small="bars with a shaded ground are not found",
        too_large="noise or tissue that stands still is called text",
    )
    sharp_step: float = limit(
        0.25,
        unit="of a bar's contrast",
        why="text has steps so large from pixel to pixel, along x and along y; shading has none",
        measured_on="not measured; smoothed text of 1 px strokes has steps of half its contrast",
        too_small="shading and steps of charging count as text",
        too_large="blurred text is not found",
    )
    sharp_share: float = limit(
        0.0002,
        unit="of a bar's pixels",
        why="a line that shows a length alone is as little as this; padding and resin have none",
        measured_on="derived: a line of 4 px in a bar of 512 x 48 px has upright edges of 8 px",
        too_small="a dead pixel in padding is called text",
        too_large="bars with nothing but a line are not found",
    )
    block_px: int = limit(
        8,
        unit="px",
        why="side of JPEG's blocks: those across the edge of a bar change with the tissue",
        measured_on="derived: ITU-T T.81",
        too_small="rows of the bar stay in slices that were JPEG",
        too_large="tissue beside the bar is left out",
    )


LIMITS = DataBarLimits()

Reduced = Picture
"""[y, x] a picture reduced by a whole factor, in the numbers of the file: nine are held."""
Grey = NDArray[np.float32]
Box = tuple[int, int, int, int]
"""First column, first row, last column + 1 and last row + 1 of a rectangle, in reduced pixels."""


def find_data_bars(pictures: Iterable[Picture]) -> tuple[DataBar, ...]:
    """The data bars that pictures of a stack share.

    Args:
        pictures: `[y, x]` of slices from all over the stack; those of the most frequent size have a say.

    Example:
        >>> random = np.random.default_rng(0)
        >>> pictures = [random.integers(0, 255, (100, 200), np.uint8) for _ in range(3)]
        >>> find_data_bars(pictures)
        ()
        >>> for picture in pictures:
        ...     picture[80:] = 0
        ...     _ = cv2.putText(picture, "HV 2 kV", (9, 95), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255,))
        >>> [(bar.x, bar.y, bar.width_px, bar.height_px) for bar in find_data_bars(pictures)]
        [(0, 80, 200, 20)]
    """
    # By map, which lets go of a picture before the next one is read.
    looked_at = [found for found in map(_looked_at, pictures) if found is not None]
    if not looked_at:
        return ()
    size_xy = Counter(size for size, _ in looked_at).most_common(1)[0][0]
    alike = [reduced for size, reduced in looked_at if size == size_xy]
    textures = [float(reduced.astype(np.float32).std()) for reduced in alike]
    least = LIMITS.least_texture * float(np.median(textures))
    samples = [reduced for reduced, std in zip(alike, textures, strict=True) if std >= least]
    found = _Sameness.of(samples, math.ceil(LIMITS.block_px / _factor(size_xy)))
    boxes = [box for box in map(found.bar_at, found.rectangles()) if box is not None]
    return tuple(_bar(box, size_xy) for box in sorted(boxes))


def _factor(size_xy: tuple[int, int]) -> int:
    """Whole factor by which a picture is reduced."""
    return math.ceil(max(size_xy) / LIMITS.looked_at_px)


def _looked_at(picture: Picture) -> tuple[tuple[int, int], Reduced] | None:
    """The size of a picture, and the picture reduced; None where it is too narrow for a bar."""
    size_xy = (picture.shape[1], picture.shape[0])
    factor = _factor(size_xy)
    if min(size_xy) < LIMITS.least_side_px * factor:
        return None
    reduced = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return size_xy, cast("Reduced", reduced)


def _bar(box: Box, size_xy: tuple[int, int]) -> DataBar:
    """A rectangle of reduced pixels at full resolution, with the pixels that show bar and tissue both."""
    factor = _factor(size_xy)
    width_px, height_px = size_xy
    mixed = 1 if factor > 1 else 0
    left, top = (max(0, edge - mixed) * factor for edge in box[:2])
    right, bottom = (
        min(size_px, (edge + mixed) * factor) for edge, size_px in zip(box[2:], size_xy, strict=True)
    )
    return DataBar(
        x=left,
        y=top,
        width_px=right - left,
        height_px=bottom - top,
        picture_size_px=(width_px, height_px),
    )


@dataclass(frozen=True, slots=True)
class _Sameness:
    """Pixels that are the same in pairs of pictures which differ elsewhere."""

    samples: Sequence[Reduced]
    block_px: int
    """Side of JPEG's blocks in reduced pixels."""
    pairs: Sequence[tuple[int, int]]
    tolerances: Sequence[float]
    """Greatest difference of pixels that are the same, in grey levels, for each pair."""
    static: NDArray[np.bool_]
    """[y, x] where the neighbourhood is the same in enough pairs."""

    @classmethod
    def of(cls, samples: Sequence[Reduced], block_px: int) -> _Sameness:
        pairs, tolerances = [], []
        counts = np.zeros(samples[0].shape, np.uint8)
        for pair in combinations(range(len(samples)), 2):
            change = cv2.absdiff(*(samples[index] for index in pair))
            tolerance = _tolerance(change)
            if tolerance is not None:
                pairs.append(pair)
                tolerances.append(tolerance)
                counts += _mostly(change <= tolerance)
        found = cls(samples, block_px, pairs, tolerances, counts > 0)
        return replace(found, static=counts >= found.least_pairs)

    @property
    def least_pairs(self) -> int:
        """Number of pairs that must share a bar: all, of a stack with fewer than are wanted."""
        return min(LIMITS.least_pairs, max(len(self.pairs), 1))

    def rectangles(self) -> Iterator[Box]:
        """Rectangles that stand still: those along a whole side of the picture, then what else there is."""
        height, width = self.static.shape
        rest = self.static.copy()
        top, bottom = (_depth(rows) for rows in _both_ways(self.static.mean(axis=1)))
        left, right = (_depth(columns) for columns in _both_ways(self.static.mean(axis=0)))
        bands = (
            (0, 0, width, top),
            (0, height - bottom, width, height),
            (0, top, left, height - bottom),
            (width - right, top, width, height - bottom),
        )
        for x, y, end_x, end_y in bands:
            if end_x > x and end_y > y:
                near = LIMITS.box_px
                rest[max(y - near, 0) : end_y + near, max(x - near, 0) : end_x + near] = False
                yield x, y, end_x, end_y
        _, _, boxes, _ = cv2.connectedComponentsWithStats(rest.astype(np.uint8), connectivity=4)
        for x, y, w, h, area in boxes[1:].tolist():
            box = x, y, x + w, y + h
            if area >= LIMITS.filled_share * w * h and self._has_size_of_bar(box):
                yield box

    def bar_at(self, box: Box) -> Box | None:
        """The data bar at a rectangle that stands still, with its exact sides; None where it is no bar."""
        x, y, end_x, end_y = box
        part = slice(y, end_y), slice(x, end_x)
        sharing = [
            index for index in range(len(self.pairs)) if self._same(index, part).mean() >= LIMITS.static_share
        ]
        if len(sharing) < self.least_pairs:
            return None
        same = np.asarray(sum(self._same(index) for index in sharing)) / len(sharing)
        having = sorted({picture for index in sharing for picture in self.pairs[index]})
        shown: Grey = np.median([self.samples[picture] for picture in having], axis=0).astype(np.float32)
        if self._is_free(end_x - x, axis=1):
            x, end_x = self._settled(x, end_x, same[y:end_y].mean(axis=0), shown[y:end_y].mean(axis=0))
        if self._is_free(end_y - y, axis=0):
            y, end_y = self._settled(y, end_y, same[:, x:end_x].mean(axis=1), shown[:, x:end_x].mean(axis=1))
        inside = slice(y, end_y), slice(x, end_x)
        least_contrast = LIMITS.least_contrast * max(self.tolerances[index] for index in sharing)
        is_bar = self._has_size_of_bar((x, y, end_x, end_y)) and _has_text(
            shown[inside], same[inside], least_contrast
        )
        return (x, y, end_x, end_y) if is_bar else None

    def _same(self, index: int, part: tuple[slice, slice] = (slice(None), slice(None))) -> NDArray[np.uint8]:
        """[y, x] 1 where the pictures of a pair are the same, or in a part of them; else 0."""
        first, second = (self.samples[picture][part] for picture in self.pairs[index])
        return (cv2.absdiff(first, second) <= self.tolerances[index]).astype(np.uint8)

    def _settled(
        self, start: int, end: int, same: NDArray[np.floating], shown: NDArray[np.floating]
    ) -> tuple[int, int]:
        """The ends of a bar along one axis, from ends that are known to half a neighbourhood.

        Args:
            start: first pixel of the bar, about.
            end: last pixel + 1, about.
            same: share of the pixels that are the same, along the axis.
            shown: mean grey level, along the axis.
        """
        length = len(same)
        first = length - self._settled_end(length - start, same[::-1], shown[::-1])
        return first, self._settled_end(end, same, shown)

    def _settled_end(self, end: int, same: NDArray[np.floating], shown: NDArray[np.floating]) -> int:
        """The last pixel that is the same, or the sharpest step within a block of JPEG beyond it, + 1."""
        length, reach = len(same), LIMITS.box_px // 2
        near = range(max(end - reach - 1, 0), min(end + reach, length))
        end = 1 + max((place for place in near if same[place] >= LIMITS.static_share), default=end - 1)
        if end > length - reach:
            return length
        steps = np.abs(np.diff(shown[end - 1 : end + self.block_px + 1]))
        return end + int(steps.argmax())

    def _is_free(self, length: int, axis: int) -> bool:
        """Whether a rectangle ends by itself along an axis, and not at the picture's edge or another bar."""
        return length <= (1 - LIMITS.most_share) * int(self.static.shape[axis])

    def _has_size_of_bar(self, box: Box) -> bool:
        x, y, end_x, end_y = box
        height, width = self.static.shape
        sides, shares = (end_x - x, end_y - y), ((end_x - x) / width, (end_y - y) / height)
        is_large = min(sides) >= LIMITS.least_side_px and math.prod(shares) >= LIMITS.least_area_share
        return is_large and bool(min(shares) <= LIMITS.most_share)


def _has_text(shown: Grey, same: NDArray[np.floating], least_contrast: float) -> bool:
    """Whether what is the same in a rectangle is plain, but for sharp steps along x and along y.

    Args:
        shown: the rectangle, the median of the pictures that share it.
        same: share of the pairs of these in which a pixel is the same.
        least_contrast: of the text, in grey levels.
    """
    is_drawn = same >= LIMITS.drawn_share
    contrast = float(np.ptp(shown[is_drawn])) if is_drawn.any() else 0.0
    if contrast <= least_contrast:
        return False
    least = max(1.0, LIMITS.sharp_share * shown.size)
    for steps in (_steps(shown, is_drawn, axis) for axis in (0, 1)):
        n_sharp = np.count_nonzero(steps >= LIMITS.sharp_step * contrast)
        if n_sharp < least or np.median(steps) > LIMITS.plain_step * contrast:
            return False
    return True


def _steps(picture: Grey, where: NDArray[np.bool_], axis: int) -> Grey:
    """[n] sizes of the steps along an axis from a pixel of a mask to the next, in the mask too; 0 if none."""
    first, second = (where.take(range(i, where.shape[axis] - 1 + i), axis) for i in (0, 1))
    steps: Grey = np.abs(np.diff(picture, axis=axis))[first & second]
    return steps if steps.size else np.zeros(1, np.float32)


def _tolerance(change: NDArray[Any]) -> float | None:
    """The greatest difference of pixels that count as the same; None where too little changes to tell.

    Args:
        change: [y, x] difference of two pictures in grey levels.
    """
    changed = change[change > 0]
    if changed.size < LIMITS.changing_share * change.size:
        return None
    usual = float(np.median(changed))
    return float(np.float32(LIMITS.same * usual)) if usual >= LIMITS.least_change else None


def _mostly(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[y, x] where most of the neighbourhood is the same."""
    share = cv2.blur(same.astype(np.float32), (LIMITS.box_px, LIMITS.box_px))
    mostly: NDArray[np.bool_] = share >= LIMITS.static_share
    return mostly


def _both_ways(profile: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return profile, profile[::-1]


def _depth(shares: NDArray[np.float64]) -> int:
    """Number of rows from the edge that stand still, each and on the whole."""
    still = (shares >= LIMITS.static_share) & (
        np.cumsum(shares) >= LIMITS.static_share * np.arange(1, len(shares) + 1)
    )
    return int(np.flatnonzero(still)[-1]) + 1 if still.any() else 0
