"""The pictures of an export as formats are told of them, and what a format has to offer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import PixelType
from components.shared.grid import SizeXyz, VoxelXyz
from components.shared.text import count, product

Picture = NDArray[Any]
"""Grey levels of a slice, uint8 or uint16: [y, x], or [y, x, channel] of colours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutPictures:
    """Size, type and numbers of the pictures of an export."""

    size_xyz: SizeXyz
    """Width, height and number of the pictures."""
    voxel_nm: VoxelXyz
    data_type: PixelType
    n_channels: int
    """1, or 3 or 4 of colours."""
    identity: str
    """Hash of all that the voxels depend on."""
    slice_numbers: tuple[int, ...]
    """Number of the slice that each picture holds, of the first where it is the mean of several."""

    @property
    def is_colour(self) -> bool:
        return self.n_channels > 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array of all pictures: [z, y, x], or [z, y, x, channel] of colours."""
        x, y, z = self.size_xyz
        return (z, y, x, self.n_channels) if self.is_colour else (z, y, x)

    @property
    def picture_bytes(self) -> int:
        """Bytes of a picture in memory."""
        x, y, _ = self.size_xyz
        return x * y * self.n_channels * np.dtype(self.data_type).itemsize

    @property
    def title(self) -> str:
        """The slices, as a file says of itself what it holds."""
        return f"slices {self.slice_numbers[0]} to {self.slice_numbers[-1]}, aligned by fibstack"

    @property
    def sentence(self) -> str:
        """Number, size, type and slices of the pictures, for a person."""
        x, y, z = self.size_xyz
        numbers = f"slices {self.slice_numbers[0]} to {self.slice_numbers[-1]}"
        step = self.slice_numbers[1] - self.slice_numbers[0] if z > 1 else 1
        if step > 1:
            numbers += f", {step} in each, which has the number of the first"
        bits = 8 * np.dtype(self.data_type).itemsize
        return (
            f"{count(z, 'picture')} of {product((x, y), thousands=True)} px, {bits} bit; {numbers}; "
            f"voxels of {product(self.voxel_nm)} nm"
        )


class SliceFormat(ABC):
    """A format with a file for each slice."""

    suffix: str
    """End of the names of the files."""

    @abstractmethod
    def encode(self, picture: Picture, about: AboutPictures) -> bytes:
        """The file of a picture."""


class StackFormat(ABC):
    """A format with one file, in which the voxels lie one picture behind the other, uncompressed."""

    takes_colours: bool

    @abstractmethod
    def begin(self, file: BinaryIO, about: AboutPictures) -> int:
        """Write all but the voxels to an empty file, up to its end; returns the byte of the first voxel."""

    @abstractmethod
    def stored(self, picture: Picture) -> bytes:
        """A picture's bytes, as they lie in the file."""

    @abstractmethod
    def finish(self, file: BinaryIO, about: AboutPictures, levels: GreyLevels) -> None:
        """Write what is known when all voxels are written."""


@dataclass(frozen=True, slots=True)
class GreyLevels:
    """Least, greatest, number and sums of grey levels, exact, so that parts add up in any order."""

    least: int
    greatest: int
    n: int
    total: int
    total_of_squares: int

    @classmethod
    def of(cls, picture: Picture) -> Self:
        """Those of a picture."""
        counts = np.bincount(picture.ravel(), minlength=2)
        levels = np.flatnonzero(counts)
        counted = [(int(level), int(counts[level])) for level in levels]
        return cls(
            int(levels[0]),
            int(levels[-1]),
            picture.size,
            sum(level * n for level, n in counted),
            sum(level * level * n for level, n in counted),
        )

    def __add__(self, other: GreyLevels) -> GreyLevels:
        return GreyLevels(
            min(self.least, other.least),
            max(self.greatest, other.greatest),
            self.n + other.n,
            self.total + other.total,
            self.total_of_squares + other.total_of_squares,
        )

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def rms(self) -> float:
        """Deviation from the mean, root mean square."""
        variance = Fraction(self.total_of_squares, self.n) - Fraction(self.total, self.n) ** 2
        return math.sqrt(variance)
