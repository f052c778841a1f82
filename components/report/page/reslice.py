"""Sections across the stack, made of one line per slice.

A stack that lies well shows smooth structures in its XZ and YZ sections; slices that jump show as a jagged
edge. The sections are sampled from the thumbnails, one slice after the other, so that the memory is that of
one thumbnail and of the sections themselves, whatever the length of the stack.

Frames: a thumbnail is the slice resized by `thumbnail_scale`; a section's pixels along x or y are those of
the frame it shows, resized by the same scale. Pixel centres at integers, as in `geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Matrix, scaled_from_full, transform_points

MAX_ROWS = 1024
"""Longer stacks are shown by every second, third, ... slice: each row is a slice, never a mean of some."""

Axis = Literal["x", "y"]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A straight line in a frame, along x or y, sampled at the thumbnails' scale."""

    axis: Axis
    across_px: float
    """Position on the other axis, at full resolution."""
    length_px: int
    """Extent along the axis, at full resolution."""
    scale: float

    @property
    def n_samples(self) -> int:
        return max(1, round(self.length_px * self.scale))

    def points_px(self) -> NDArray[np.float64]:
        """The samples in the frame's full-resolution pixels, `[n, 2]`."""
        along = (np.arange(self.n_samples) + 0.5) / self.scale - 0.5
        across = np.full_like(along, self.across_px)
        return np.column_stack([along, across] if self.axis == "x" else [across, along])


@dataclass(frozen=True, slots=True)
class Section:
    """A section under construction: rows run along z, `values` is `[n_rows, n_samples]`."""

    line: Line
    values: Picture
    known: NDArray[np.bool_]
    """False where no slice has a pixel."""

    @classmethod
    def empty(cls, line: Line, n_rows: int) -> Section:
        """A section without any pixel yet."""
        shape = (n_rows, line.n_samples)
        return cls(line, np.zeros(shape, np.uint8), np.zeros(shape, np.bool_))

    def set_row(self, row: int, thumbnail: Picture, frame_from_slice: Matrix) -> None:
        """Sample a slice along the line into a row.

        Args:
            row: index of the row.
            thumbnail: `[y, x]`, the slice resized by the line's scale.
            frame_from_slice: from the slice to the section's frame, at full resolution.
        """
        slice_from_frame: Matrix = np.linalg.inv(frame_from_slice).astype(np.float64)
        in_slice = transform_points(slice_from_frame, self.line.points_px())
        in_thumbnail = transform_points(scaled_from_full(self.line.scale), in_slice).astype(np.float32)
        x, y = in_thumbnail[:, :1].T, in_thumbnail[:, 1:].T
        height, width = thumbnail.shape
        self.values[row] = cv2.remap(thumbnail, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        self.known[row] = ((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))[0]


def rows_shown(n_slices: int, most: int = MAX_ROWS) -> range:
    """The z indices that a section shows: all, or evenly spaced ones.

    Example:
        >>> len(rows_shown(60)), rows_shown(3000).step
        (60, 3)
    """
    return range(0, n_slices, -(-n_slices // most) if n_slices else 1)


def rows_around(z_index: int, n_slices: int, n_rows: int = 128) -> range:
    """Consecutive z indices around one, clipped to the stack.

    Example:
        >>> rows_around(5, 1000), rows_around(990, 1000)
        (range(0, 128), range(872, 1000))
    """
    first = max(0, min(z_index - n_rows // 2, n_slices - n_rows))
    return range(first, min(first + n_rows, n_slices))
