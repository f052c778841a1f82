"""Tracks: how the numbers of the slices' transforms run along z, and the slow trend in them.

The linear part of a transform is read as `R(rotation) @ [[scale_x, shear / 2], [shear / 2, scale_y]]` (polar
decomposition), so that a turned picture has neither scale nor shear, and signs and axes are on a par.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import savgol_filter

from components.compose.solve.pairs import Floats
from components.shared.series import SIGMA_OF_MAD

LONG = 1000
"""Slices over which a trend is told from a walk: what a straight line through so many neighbours sees."""
_JUMP_SPREADS = 8.0
"""A step of a track that is so many robust spreads from the usual one is a jump, not a part of a trend."""


def linear_tracks(linear: Floats) -> Floats:
    """[n, 4] rotation in rad, log scale in x, log scale in y, shear, of `[n, 2, 2]` linear parts.

    Example:
        >>> linear_tracks(np.diag([2.0, 1.0])[None]).round(3).tolist()
        [[0.0, 0.693, 0.0, 0.0]]
    """
    rotation = np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    shape = _rotations(-rotation) @ linear
    # A part torn off may hold a mirrored slice's nonsense; a logarithm must not fail on it.
    scale_x, scale_y = np.maximum(shape[:, [0, 1], [0, 1]], 1e-6).T
    shear = shape[:, 0, 1] + shape[:, 1, 0]
    return np.column_stack([np.unwrap(rotation), np.log(scale_x), np.log(scale_y), shear])


def linear_parts(tracks: Floats) -> Floats:
    """[n, 2, 2] linear parts of `[n, 4]` tracks: the inverse of `linear_tracks`."""
    shape = np.empty((len(tracks), 2, 2))
    shape[:, 0, 0], shape[:, 1, 1] = np.exp(tracks[:, 1]), np.exp(tracks[:, 2])
    shape[:, 0, 1] = shape[:, 1, 0] = tracks[:, 3] / 2
    parts: Floats = _rotations(tracks[:, 0]) @ shape
    return parts


def slow_trend(tracks: Floats) -> Floats:
    """[n, t] the slow part of `[n, t]` tracks: at each slice, the straight line through the `LONG` around it.

    Savitzky-Golay filter of degree 1; a shorter stack has one line. Jumps are no part of a trend: they are
    taken out before, so that a true turn is not smeared into a slope.
    """
    n = len(tracks)
    if n < 3:
        return np.repeat(tracks.mean(axis=0, keepdims=True), n, axis=0)
    window = min(LONG + 1, n if n % 2 else n - 1)
    trend: Floats = savgol_filter(without_jumps(tracks), window, 1, axis=0, mode="interp")
    return trend


def without_jumps(tracks: Floats) -> Floats:
    """The tracks with each jump replaced by the usual step."""
    steps = np.diff(tracks, axis=0)
    usual = np.median(steps, axis=0)
    spread = SIGMA_OF_MAD * np.median(np.abs(steps - usual), axis=0)
    calm = np.where(np.abs(steps - usual) > _JUMP_SPREADS * spread, usual, steps)
    return np.concatenate([tracks[:1], tracks[:1] + np.cumsum(calm, axis=0)])


def _rotations(angles: Floats) -> Floats:
    c, s = np.cos(angles), np.sin(angles)
    return np.moveaxis(np.array([[c, -s], [s, c]]), -1, 0)
