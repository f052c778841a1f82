"""What the header of an image file tells, and why a file is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import PixelType
from components.shared.pictures.grey_levels import SampleType, pixel_type_of

Numbers = NDArray[Any]
"""[y, x] of a `SampleType`, or [y, x, channel]: red, green, blue and alpha, or as many as there are."""
ImageFormat = Literal["png", "tiff", "jpeg", "dat"]

CONVERT = "Convert the slices to grey or RGB PNG or TIFF of 8 or 16 bit"
MAX_CHANNELS = 16
COPY = "Copy the slice again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What the header of a slice tells."""

    width_px: int
    height_px: int
    sample_type: SampleType
    image_format: ImageFormat
    n_channels: int = 1

    @property
    def pixel_type(self) -> PixelType:
        """The type of the grey levels that its numbers become."""
        return pixel_type_of(self.sample_type)

    @property
    def picture_bytes(self) -> int:
        """Of all its numbers."""
        return self.width_px * self.height_px * self.n_channels * np.dtype(self.sample_type).itemsize


class RefusedImageError(Exception):
    """Why a file is no slice, without its name: what it must be, what it is, what to do."""

    def __init__(self, rule: str, got: str, remedy: str) -> None:
        super().__init__(rule, got, remedy)
        self.rule, self.got, self.remedy = rule, got, remedy


def truncated(got: str) -> RefusedImageError:
    """The error of a file that ends too early."""
    return RefusedImageError("must be whole", got, COPY)
