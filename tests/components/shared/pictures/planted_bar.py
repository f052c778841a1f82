"""Soft tissue that moves by less than 2 px a slice, and bars with text that do not move."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Points

Grey = NDArray[np.uint8]
SIDE_PX = 256
BAR_PX = 28
_MARGIN_PX = 32


def soft_tissue(
    n: int, *, seed: int = 0, softness_px: float = 5.0, most_step_px: float = 1.8
) -> tuple[list[Grey], Points]:
    """Slices of blurred noise that changes slowly along z, and how far each has moved, `[n, 2]` x, y."""
    rng = np.random.default_rng(seed)
    side = SIDE_PX + 2 * _MARGIN_PX

    def field() -> NDArray[np.float32]:
        noise = rng.normal(size=(side, side)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), softness_px)
        return np.asarray(smooth / smooth.std(), np.float32)

    steps = rng.uniform(-most_step_px, most_step_px, (n, 2))
    places: Points = np.cumsum(steps, axis=0) - np.cumsum(steps, axis=0).mean(axis=0)
    tissue, pictures = field(), []
    for x, y in places:
        tissue = np.sqrt(np.float32(0.98)) * tissue + np.sqrt(np.float32(0.02)) * field()
        moved = cv2.warpAffine(
            tissue,
            np.float32([[1, 0, x - _MARGIN_PX], [0, 1, y - _MARGIN_PX]]),
            (SIDE_PX, SIDE_PX),
            flags=cv2.INTER_CUBIC,
        )
        noisy = 128 + 35 * moved + rng.normal(0, 3, moved.shape)
        pictures.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return pictures, places


def bar(width_px: int, number: int | None = None, *, ground: int = 0, text: int = 255) -> Grey:
    """A bar of BAR_PX rows: text, with digits that follow `number`, and a line that shows a length."""
    strip = np.full((BAR_PX, width_px), ground, np.uint8)
    digits = "" if number is None else f" {12 + number}:{7 * number % 60:02d}:{13 * number % 60:02d}"
    font, size = cv2.FONT_HERSHEY_SIMPLEX, width_px / 620
    cv2.putText(strip, f"HV 2.00 kV  WD 4.1 mm  TLD{digits}", (4, 12), font, size, (text,), 1, cv2.LINE_AA)
    cv2.rectangle(strip, (width_px // 2, 20), (width_px - 12, 23), (text,), -1)
    return strip


def with_bar(picture: Grey, strip: Grey, place: str = "bottom") -> Grey:
    """A copy of a picture with a strip along an edge, or from (12, 200) on."""
    painted = picture.copy()
    if place == "bottom":
        painted[-BAR_PX:] = strip
    elif place == "top":
        painted[:BAR_PX] = strip
    elif place == "left":
        painted[:, :BAR_PX] = np.rot90(strip)
    elif place == "right":
        painted[:, -BAR_PX:] = np.rot90(strip)
    else:
        painted[200 : 200 + BAR_PX, 12 : 12 + strip.shape[1]] = strip
    return painted
