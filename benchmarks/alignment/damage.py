"""What becomes of the picture of a slice: contrast and noise, an overlay, faults, the bits of the file."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.alignment.tissue import Image
from commands.sample.microscope import Picture, digitise
from commands.sample.slices import DEFOCUS_SIGMA_PX, with_defect
from commands.sample.truth import Defect

NARROW_16_BIT = (30_000.0, 4.0)
"""Raw level of grey 0 and raw levels for one grey: a 60th of the range of 16 bits."""
DEFOCUS_NOISE = 3.0
ELECTRONS = 6.0
"""Electrons a pixel of mean grey."""
RESIN_GREY, RESIN_NOISE = 170.0, 6.0
CURTAINS, CURTAIN_GREY = 24, 20.0


def uneven(grey: Image, rng: np.random.Generator) -> Image:
    """Another contrast, brightness and noise for each slice."""
    gain, offset, noise = rng.uniform(0.5, 1.3), rng.uniform(-25, 25), rng.uniform(2, 16)
    changed = (grey - 128) * gain + 128 + offset + noise * rng.standard_normal(grey.shape)
    return changed.astype(np.float32)


def noisy(grey: Image, snr: float, rng: np.random.Generator) -> Image:
    """The picture under white noise whose standard deviation is the picture's own over a ratio."""
    sigma = float(grey.std()) / snr
    return (grey + sigma * rng.standard_normal(grey.shape)).astype(np.float32)


def counted(grey: Image, rng: np.random.Generator) -> Image:
    """The picture as so few electrons show it: Poisson noise."""
    level = np.float64(grey.mean())
    counts: NDArray[np.int64] = rng.poisson(np.clip(grey, 0, None) / level * ELECTRONS)
    return (counts * (level / ELECTRONS)).astype(np.float32)


def in_resin(grey: Image, is_tissue: NDArray[np.bool_], rng: np.random.Generator) -> Image:
    """The picture with empty resin where there is no tissue."""
    resin = RESIN_GREY + RESIN_NOISE * rng.standard_normal(grey.shape)
    return np.where(is_tissue, grey, resin).astype(np.float32)


def with_curtains(grey: Image) -> Image:
    """The picture under streaks along y that stand still."""
    rng, curtains = np.random.default_rng(12), np.zeros(grey.shape[1], np.float32)
    for x in rng.integers(0, grey.shape[1], CURTAINS):
        curtains[x : x + int(rng.integers(1, 5))] += rng.choice([-CURTAIN_GREY, CURTAIN_GREY])
    return (grey + curtains).astype(np.float32)


def with_overlay(grey: Image) -> Image:
    """The picture under a pattern that stands still: dirt, fine texture, streaks along y."""
    return (grey + _overlay(grey.shape[0], grey.shape[1])).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _overlay(height: int, width: int) -> Image:
    rng = np.random.default_rng(11)
    fine = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 2.0)
    pattern = 8 * fine / fine.std()
    for x in rng.integers(0, width, 12):
        pattern[:, x : x + 2] += rng.choice([-12, 12])
    for _ in range(25):
        x, y, radius = int(rng.integers(0, width)), int(rng.integers(0, height)), int(rng.integers(3, 8))
        speck = np.zeros((height, width), np.float32)
        cv2.circle(speck, (x, y), radius, 60.0, -1)
        pattern -= cv2.GaussianBlur(speck, (0, 0), 1.0)
    return np.asarray(pattern, dtype=np.float32)


def eight_bit(grey: Image, defect: Defect, rng: np.random.Generator) -> Picture:
    """The 8-bit picture with its fault."""
    if defect == "defocus":
        blurred = cv2.GaussianBlur(grey, (0, 0), DEFOCUS_SIGMA_PX)
        grey = (blurred + DEFOCUS_NOISE * rng.standard_normal(grey.shape)).astype(np.float32)
    return with_defect(digitise(grey, "uint8"), defect, noise=rng)


def narrow_16_bit(grey: Image) -> Picture:
    """The picture as a detector of 16 bits that uses few of them writes it."""
    black, step = NARROW_16_BIT
    levels: Picture = np.clip(np.rint(black + step * grey), 0, 65_535).astype(np.uint16)
    return levels
