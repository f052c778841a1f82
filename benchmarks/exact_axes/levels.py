"""How far the grey levels that a method shows are from those of the planes, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.alignment.cases import IMAGE_PATTERN
from benchmarks.alignment.method import Found
from benchmarks.exact_axes.cases import Planted, seen
from benchmarks.exact_axes.planes import Planes

CLIPPED = (0, 255)
"""Levels that no line brings back."""


def level_figures(planes: Planes, planted: Planted, stack: Path, found: Found) -> dict[str, float]:
    """Figures of a row: the errors of the grey levels as they came, and as they are shown."""
    truth, came, shown = [], [], []
    for z in planted.good:
        picture = np.asarray(cv2.imread(str(stack / (IMAGE_PATTERN % z)), cv2.IMREAD_UNCHANGED), np.float64)
        counts = (picture > CLIPPED[0]) & (picture < CLIPPED[1])
        gain, offset = found.grey_lines.get(z, (1.0, 0.0))
        truth.append(seen(planes, z, planted.slices[z], planted.size_xy)[counts])
        came.append(picture[counts])
        shown.append(gain * picture[counts] + offset)
    (before, _), (after, means) = _errors(came, truth), _errors(shown, truth)
    return {
        "levels_before": float(np.sqrt(np.square(before).mean())),
        "levels_after": float(np.sqrt(np.square(after).mean())),
        "levels_step": float(np.sqrt(np.square(np.diff(means)).mean())),
        "levels_further": float((after - before).max()),
    }


def _errors(
    shown: list[NDArray[np.float64]], truth: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[slices] RMS and mean of the error of the pixels, in grey levels of the truth.

    It is about the median gain and offset of all slices, which no picture can tell.
    """
    lines = np.array([np.polyfit(true, grey, 1) for grey, true in zip(shown, truth, strict=True)])
    gain, offset = np.median(lines, axis=0)
    errors = [(grey - offset) / gain - true for grey, true in zip(shown, truth, strict=True)]
    rms = [np.sqrt(np.square(error).mean()) for error in errors]
    return np.array(rms), np.array([error.mean() for error in errors])
