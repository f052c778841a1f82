"""The header of an image file: size and type of its picture, or the reason why the file is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import PixelSize, PixelType
from components.shared.pictures.grey_levels import SampleType, pixel_type_of

Numbers = NDArray[Any]
"""[y, x] of a `SampleType`, or [y, x, channel]: red, green, blue and alpha, or as many as there are."""
ImageFormat = Literal["png", "tiff", "jpeg", "dat"]

CONVERT = "Convert the slices to grey or RGB PNG or TIFF of 8 or 16 bit"
COPY = "Copy the slice again"
MAX_CHANNELS = 16
"""Most channels of a file: more are taken for a stack that was saved as one picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """Size, type and format of the picture in a file."""

    width_px: int
    height_px: int
    sample_type: SampleType
    image_format: ImageFormat
    n_channels: int = 1
    pixel_size: PixelSize | None = None
    """Size of a pixel; None where the file tells none."""
    orientation: int = 1
    """Orientation that the file tells, 1 to 8, and the decoder applies; the sides are those of the result."""
    is_inverted: bool = False
    """Whether the file says that white is 0, so that the decoder inverts its numbers."""

    @property
    def pixel_type(self) -> PixelType:
        """The type of the grey levels that its numbers become."""
        return pixel_type_of(self.sample_type)

    @property
    def picture_bytes(self) -> int:
        """Size of the decoded picture in bytes."""
        return self.width_px * self.height_px * self.n_channels * np.dtype(self.sample_type).itemsize


class RefusedImageError(Exception):
    """A file is no slice: the rule that it breaks, what it is instead, and what to do; without its name."""

    def __init__(self, rule: str, got: str, remedy: str) -> None:
        super().__init__(rule, got, remedy)
        self.rule, self.got, self.remedy = rule, got, remedy


def truncated(got: str) -> RefusedImageError:
    """The error of a file that ends too early."""
    return RefusedImageError("must be whole", got, COPY)
