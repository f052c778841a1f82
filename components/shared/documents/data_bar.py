"""Data bars: rectangles with text that a microscope has drawn into every picture of a stack."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from components.shared.documents.sealed import Document

Part = tuple[int, int, int, int]
"""x, y, width and height in px of a part of a picture, as the key `crop` has them."""


class DataBar(Document):
    """A rectangle that keeps its place in the pictures of a stack while the tissue moves."""

    x: int = Field(ge=0)
    """First column in px of the used part of the picture; `y` is the first row."""
    y: int = Field(ge=0)
    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)
    picture_size_px: tuple[int, int]
    """Width and height of the pictures that it was found in."""

    def sides_in(self, size_px: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and last + 1 column, and row, in a picture of another size: a bar keeps to the same edges.

        Example:
            >>> bar = DataBar(x=0, y=460, width_px=512, height_px=52, picture_size_px=(512, 512))
            >>> bar.sides_in((512, 512)), bar.sides_in((400, 300))
            (((0, 512), (460, 512)), ((0, 400), (248, 300)))
        """
        columns, rows = map(
            _sides, (self.x, self.y), (self.width_px, self.height_px), self.picture_size_px, size_px
        )
        return columns, rows


def _sides(start: int, length: int, side_px: int, other_side_px: int) -> tuple[int, int]:
    """Where something along a side of a picture lies along that side of another one."""
    if start + length < side_px:
        return min(start, other_side_px), min(start + length, other_side_px)
    return 0 if start == 0 else max(other_side_px - length, 0), other_side_px


def part_without(bars: Sequence[DataBar], size_px: tuple[int, int]) -> Part:
    """The part of a picture that is matched: what is left where each bar is cut off with the least loss.

    Example:
        >>> below = DataBar(x=0, y=460, width_px=512, height_px=52, picture_size_px=(512, 512))
        >>> label = DataBar(x=10, y=10, width_px=100, height_px=30, picture_size_px=(512, 512))
        >>> part_without([], (512, 512)), part_without([below, label], (512, 512))
        ((0, 0, 512, 512), (0, 40, 512, 420))
    """
    left, top, (right, bottom) = 0, 0, size_px
    for bar in bars:
        (bar_left, bar_right), (bar_top, bar_bottom) = bar.sides_in(size_px)
        left, top, right, bottom = max(
            (left, top, right, min(bottom, bar_top)),
            (left, max(top, bar_bottom), right, bottom),
            (left, top, min(right, bar_left), bottom),
            (max(left, bar_right), top, right, bottom),
            key=_area,
        )
    if _area((left, top, right, bottom)) == 0:  # a small picture that is all bar
        return 0, 0, *size_px
    return left, top, right - left, bottom - top


def _area(sides: tuple[int, int, int, int]) -> int:
    left, top, right, bottom = sides
    return max(right - left, 0) * max(bottom - top, 0)
