"""The pictures of a sample: each slice as the microscope shows it at its true position, with its defect."""

from __future__ import annotations

import functools

import numpy as np

from commands.sample.microscope import BLUR_SIGMA_PX, Microscope, Picture, digitise, microscope
from commands.sample.truth import Defect, Truth
from components.shared.documents.plan import PixelType

BLANK_GREY, BLANK_SIGMA = 14.0, 1.5
"""Level and noise of a slice that was read with the beam off, in 8-bit grey levels."""
DEFOCUS_SIGMA_PX = 6.0
"""Standard deviation of the Gaussian blur of a defocused slice."""


def slice_picture(truth: Truth, index: int, pixel_type: PixelType) -> Picture | None:
    """The raw picture of a slice, `[height, width]`; None where the defect is that it is missing."""
    lies = truth.slices[index]
    if lies.defect == "missing":
        return None
    z = truth.slices[index - 1].z if lies.defect == "duplicate" else lies.z
    picture = _microscope(truth.seed).picture(
        np.array(lies.matrix),
        z,
        (truth.width_px, truth.height_px),
        pixel_type,
        DEFOCUS_SIGMA_PX if lies.defect == "defocus" else BLUR_SIGMA_PX,
    )
    return with_defect(picture, lies.defect, noise=np.random.default_rng([truth.seed, 5, z]))


@functools.lru_cache(maxsize=1)
def _microscope(seed: int) -> Microscope:
    return microscope(seed)


def with_defect(picture: Picture, defect: Defect, noise: np.random.Generator) -> Picture:
    """The picture as a fault of the detector would leave it; other defects change nothing here.

    blank: the beam was off. half: the scan ended after the upper half, the rest holds 0. inverted: the
    detector's sign was wrong.
    """
    pixel_type: PixelType = "uint8" if picture.dtype == np.uint8 else "uint16"
    spoiled: Picture = picture.copy()
    if defect == "blank":
        spoiled = digitise(
            noise.normal(BLANK_GREY, BLANK_SIGMA, picture.shape).astype(np.float32), pixel_type
        )
    if defect == "half":
        spoiled[picture.shape[0] // 2 :] = 0
    if defect == "inverted":
        black, white = digitise(np.array([[0, 255]], dtype=np.float32), pixel_type)[0].astype(np.int64)
        negative = black + white - picture.astype(np.int64)
        spoiled = np.clip(negative, 0, np.iinfo(picture.dtype).max).astype(pixel_type)
    return spoiled
