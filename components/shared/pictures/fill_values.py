"""Fill values: exact numbers far from all others, which programs write where a slice shows nothing.

A border of -9999, of 0 or of 65535 says nothing about the tissue. It would stretch a range of grey levels
until the tissue has few of them, and its edge stands still while the tissue moves. So fill values take no
part in ranges and in matching. Those that lie along the sides of a slice are its padding: they are shown as
the margin of the volume is, black.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.documents.transforms import FillLevel
from components.shared.limits import limit

Mask = NDArray[np.bool_]
"""[y, x]"""
_SIDES = (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1])
"""Indices of the four sides of a picture."""
_COLOURS = 3
"""Channels of a colour picture that are not alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillLimits:
    """Limits that decide which numbers are fill values, and which of these are padding."""

    min_share: float = limit(
        0.0005,
        unit="of the pixels",
        why="a number that stands in fewer pixels moves neither end of a range, which leave out 0.1 percent",
        measured_on="derived: half of what the percentiles of a range leave out",
        too_small="a few dead pixels are named as fill values",
        too_large="a narrow border stretches the range",
    )
    fewest_px: int = limit(
        16,
        unit="px",
        why="a number in fewer pixels is no border, however small the picture",
        measured_on="not measured",
        too_small="a bright pixel of a small picture counts as a fill value",
        too_large="borders of small pictures are not found",
    )
    far: float = limit(
        0.5,
        unit="of the range of the others",
        why="a number that is nearer than this takes less than a third of the grey levels",
        measured_on="derived; planted borders, tests/components/shared/pictures/test_fill_values.py",
        too_small="resin that is cut off at 0, or a saturated detector, counts as a fill value",
        too_large="a border of 0 takes most of the grey levels",
    )
    between: float = limit(
        0.01,
        unit="of the other pixels",
        why="as many may lie between: the edge of a border that was interpolated",
        measured_on="a rotated picture of 256 px, tests/components/shared/pictures/test_fill_values.py",
        too_small="borders of slices that were rotated before are not found",
        too_large="dim or bright structures are passed over, and what they end in counts as a fill value",
    )
    between_part: float = limit(
        0.25,
        unit="of the pixels with fill values",
        why="what lies between is an edge only if it is much less than what it is the edge of",
        measured_on="not measured; a border of 8 px with an edge of 2 px",
        too_small="interpolated edges of narrow borders are no edges",
        too_large="a saturated structure and its halo count as a fill value and its edge",
    )
    most: int = limit(
        4,
        unit="numbers at each end",
        why="more fill values at one end are not to be expected; the others must be of more kinds than these",
        measured_on="not measured",
        too_small="of several fill values the nearest stay",
        too_large="pictures of few grey levels, such as labels, are taken for fill values",
    )
    edge_px: int = limit(
        3,
        unit="px",
        why="pixels this near to a fill value are no tissue: the border was interpolated, or is uneven",
        measured_on="a rotated picture, cubic: its kernel reaches 2 px",
        too_small="pixels between tissue and fill value decide where the range ends",
        too_large="narrow strips of tissue have no say",
    )
    whole_side: float = limit(
        0.95,
        unit="of the pixels along one side",
        why="padding takes a whole side of the slice, but for odd pixels",
        measured_on="not measured",
        too_small="a saturated structure that is cut by a side is shown black",
        too_large="uneven borders are shown white where their number is great",
    )
    sides_share: float = limit(
        0.125,
        unit="of the pixels along the four sides",
        why="or it takes as much of the sides: wedges beside a slice that was rotated",
        measured_on="a rotated picture, tests/components/shared/pictures/test_fill_values.py",
        too_small="a saturated spot at a side is shown black",
        too_large="small wedges are shown white where their number is great",
    )
    sides_excess: float = limit(
        3.0,
        unit="times the share of all pixels",
        why="and far more of the sides than of the slice: a saturated structure is anywhere",
        measured_on="wedges of 3 degrees: 10 times; saturated blobs of 22 percent of a slice: up to 1.7",
        too_small="saturated structures are shown black",
        too_large="wedges are shown white where their number is great",
    )


LIMITS = FillLimits()


def is_fill(values: NDArray[Any], counts: NDArray[Any], limits: FillLimits = LIMITS) -> NDArray[np.bool_]:
    """[n] whether each of the different numbers of a picture is a fill value.

    Args:
        values: `[n]` the different numbers, ascending and finite.
        counts: `[n]` number of pixels of each.
        limits: When a number is a fill value.

    Example:
        >>> values = np.concatenate([[0], np.arange(30_000, 33_000), [65535]])
        >>> values[is_fill(values, np.array([200, *[1] * 3000, 200]))].tolist()
        [0, 65535]
    """
    found = np.zeros(len(values), np.bool_)
    is_frequent = counts >= max(limits.fewest_px, limits.min_share * float(counts.sum()))
    frequent = np.flatnonzero(is_frequent)
    cuts = [
        (int(low), int(high))
        for low in [0, *(frequent[: limits.most] + 1)]
        for high in [len(values), *frequent[::-1][: limits.most]]
        if high - low > limits.most and high - low < len(values)
    ]
    numbers = values.astype(np.float64) / 4  # so that no difference of two is infinite
    for low, high in sorted(cuts, key=lambda cut: cut[1] - cut[0]):
        if _are_apart(numbers, counts, low, high, limits):
            found[:low], found[high:] = is_frequent[:low], is_frequent[high:]
            break
    return found


def _are_apart(
    numbers: NDArray[np.float64], counts: NDArray[Any], low: int, high: int, limits: FillLimits
) -> bool:
    """Whether the numbers before index `low`, and those from `high` on, lie far from those between."""
    between = numbers[low:high]
    cumulated = np.cumsum(counts[low:high])
    n_between = float(cumulated[-1])

    def edge(n_outside: float) -> float:
        """Pixels that may lie on the way to the numbers outside, or far out by themselves."""
        few = limits.min_share * n_between
        return max(min(limits.between * n_between, limits.between_part * n_outside), few)

    first = between[np.searchsorted(cumulated, edge(float(counts[:low].sum())), side="right")]
    last = between[np.searchsorted(cumulated, n_between - edge(float(counts[high:].sum())), side="left")]
    gap = limits.far * (last - first)
    is_far_below = low == 0 or first - numbers[low - 1] > gap
    is_far_above = high == len(numbers) or numbers[high] - last > gap
    return bool(last > first and is_far_below and is_far_above)


def fill_levels(image: NDArray[Any], counts: NDArray[Any]) -> tuple[FillLevel, ...]:
    """The fill values of a slice, ascending.

    Args:
        image: `[y, x]` grey levels.
        counts: `[256 or 65536]` number of pixels of each grey level.

    Example:
        >>> slice_ = np.arange(20_000, 30_000, dtype=np.uint16).reshape(100, 100)
        >>> slice_[:5] = 0
        >>> (fill,) = fill_levels(slice_, np.bincount(slice_.ravel()))
        >>> fill.level, fill.share, fill.is_padding
        (0, 0.05, True)
    """
    levels = np.flatnonzero(counts)
    found = levels[is_fill(levels, counts[levels])]
    if not len(found):
        return ()
    anywhere = where_one_of(image, found.tolist())
    return tuple(
        FillLevel(
            level=int(level),
            share=round(float(counts[level]) / image.size, 6),
            is_padding=_is_along_sides(image == level, anywhere & (image != level)),
        )
        for level in found
    )


def _is_along_sides(mask: Mask, others: Mask, limits: FillLimits = LIMITS) -> bool:
    """Whether a fill value takes a whole side of a slice, or far more of the sides than of all.

    Args:
        mask: `[y, x]` where the fill value is.
        others: `[y, x]` where other fill values are, with which it may share a side.
        limits: How much is a side.
    """
    sides = [(mask[side], others[side]) for side in _SIDES]
    takes_one = any(
        own.any() and own.sum() >= limits.whole_side * (own.size - other.sum()) for own, other in sides
    )
    of_sides = float(np.concatenate([own for own, _ in sides]).mean())
    return takes_one or of_sides >= max(limits.sides_share, limits.sides_excess * float(mask.mean()))


def sampled_tissue(picture: NDArray[Any], step_px: int) -> tuple[NDArray[Any], dict[float, float]]:
    """The numbers of a picture at every so many pixels, and its fill values, which are not among them.

    Their edge is left out too, and what is not finite.

    Args:
        picture: `[y, x]` or `[y, x, channel]`.
        step_px: Every so many pixels along x and y are looked at.

    Returns:
        `[n]` numbers, and the fraction of the pixels that has each fill value.

    Example:
        >>> picture = np.arange(10_000, dtype=np.float32).reshape(100, 100)
        >>> picture[:8] = -99_999
        >>> numbers, fill = sampled_tissue(picture, 4)
        >>> float(numbers.min()), fill
        (1200.0, {-99999.0: 0.08})
    """
    if picture.ndim == 3:  # what is a fill value in one channel may be a level of another
        found = [sampled_tissue(picture[:, :, channel], step_px) for channel in range(picture.shape[2])]
        fill: dict[float, float] = {}
        for _, of_channel in found:
            for number, share in of_channel.items():
                fill[number] = fill.get(number, 0.0) + share / len(found)
        return np.concatenate([numbers for numbers, _ in found]), fill
    seen = picture[::step_px, ::step_px]
    finite = seen[np.isfinite(seen)]
    values, counts = np.unique(finite, return_counts=True)
    is_far = is_fill(values, counts)
    if not is_far.any() and finite.size >= (1 - LIMITS.min_share) * seen.size:
        return finite, {}
    hidden = np.isin(picture, values[is_far]) | ~np.isfinite(picture)
    for mask in (with_edge(hidden), hidden):
        numbers = seen[~mask[::step_px, ::step_px]]
        if numbers.size:
            break
    shares = counts[is_far] / seen.size
    return numbers.ravel(), dict(zip(values[is_far].astype(float).tolist(), shares.tolist(), strict=True))


def where_one_of(picture: NDArray[Any], numbers: Sequence[float]) -> Mask:
    """True where a picture has one of some numbers; of colours, where all three have it.

    Args:
        picture: `[y, x]`, or `[y, x, channel]`: colours, or channels of which the first counts.
        numbers: Numbers or grey levels.

    Example:
        >>> where_one_of(np.array([[0, 1, 2, 3]]), (0, 3)).tolist()
        [[True, False, False, True]]
    """
    found = np.zeros(picture.shape[:2], np.bool_)
    for number in numbers:
        same = picture == number
        if picture.ndim == 3:
            same = same[:, :, :_COLOURS].all(axis=2) if picture.shape[2] >= _COLOURS else same[:, :, 0]
        found |= same
    return found


def parts_at_sides(mask: Mask) -> Mask:
    """The connected parts of a mask that touch a side of the picture: padding, and no spots inside.

    Args:
        mask: `[y, x]` where a picture has a fill value that is padding.

    Example:
        >>> int(parts_at_sides(np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]], bool)).sum())
        3
    """
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    at_sides = np.unique(np.concatenate([labels[side] for side in _SIDES]))
    return np.isin(labels, at_sides[at_sides > 0])


def where_fill(image: NDArray[Any], fill: Sequence[FillLevel]) -> Mask:
    """True where a slice has a fill value, and at its edge; never everywhere.

    Args:
        image: `[y, x]` grey levels.
        fill: Its fill values.
    """
    exactly = where_one_of(image, [found.level for found in fill])
    grown = with_edge(exactly)
    return exactly if grown.all() else grown


def with_edge(mask: Mask) -> Mask:
    """A mask of fill values that holds their edge, too, which may have been interpolated."""
    side = 2 * LIMITS.edge_px + 1
    grown: Mask = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return grown
