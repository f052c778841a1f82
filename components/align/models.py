"""The ladder of motion models, and the choice of the simplest that explains a motion.

A free affine mostly fits noise, and its noise adds up over thousands of slices; a model that is too stiff
shifts the corners. So all four are fitted, and the simplest that loses nothing is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.align.matching import PointPairs
from components.shared.documents.align import Model
from components.shared.geometry import Matrix, Points, grid_points, transform_points, translation
from components.shared.series import MEDIAN_OF_RAYLEIGH

_ROTATION_TAU_PX = 0.1
"""A stage does turn, and a small angle that is left out adds up from slice to slice."""
_SHAPE_TAU_PX = 0.5
"""A smaller stretch or shear between neighbouring slices is the tissue's own change of shape."""
_TUKEY = 4.685
"""Residuals beyond this many sigma weigh nothing; 95% efficient (Beaton and Tukey 1974)."""
_REWEIGHTINGS = 12
_NEWTON_STEPS = 3
_MIN_SIGMA = 1e-4

Linear = NDArray[np.float64]
"""[2, 2] part of an affine matrix."""


@dataclass(frozen=True, slots=True)
class _Family:
    """A family of linear parts; every family also translates freely."""

    tau_px: float
    """Its motion must differ from a simpler one by this much, RMS over the picture, to be believed."""
    start: tuple[float, ...]
    linear: Callable[[NDArray[np.float64]], Linear]
    derivatives: Callable[[NDArray[np.float64]], list[Linear]]


def _rotation(angle_rad: float) -> Linear:
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s], [s, c]])


def _rotation_slope(angle_rad: float) -> Linear:
    return _rotation(angle_rad + math.pi / 2)


_UNITS = [np.eye(4)[i].reshape(2, 2) for i in range(4)]
LADDER: dict[Model, _Family] = {
    "translation": _Family(0.0, (), lambda _: np.eye(2), lambda _: []),
    "rigid": _Family(_ROTATION_TAU_PX, (0.0,), lambda p: _rotation(p[0]), lambda p: [_rotation_slope(p[0])]),
    "rigid_stretch": _Family(
        _SHAPE_TAU_PX,
        (0.0, 1.0),
        lambda p: _rotation(p[0]) @ np.diag([1.0, p[1]]),
        lambda p: [_rotation_slope(p[0]) @ np.diag([1.0, p[1]]), _rotation(p[0]) @ np.diag([0.0, 1.0])],
    ),
    "affine": _Family(_SHAPE_TAU_PX, (1.0, 0.0, 0.0, 1.0), lambda p: p.reshape(2, 2), lambda _: _UNITS),
}
"""The models, simplest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A model fitted to point pairs."""

    model: Model
    matrix: Matrix
    """neighbour_from_slice."""
    distances_px: NDArray[np.float64]
    """[n] how far each pair lies off."""
    weights: NDArray[np.float64]
    """[n] 0..1; 0 is an outlier."""

    @property
    def rms_px(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.distances_px))))

    @property
    def sigma_px(self) -> float:
        """Robust standard deviation of the distances along one axis."""
        return _robust_sigma(self.distances_px)


def fit_ladder(pairs: PointPairs) -> dict[Model, Fit]:
    """Fit every model by weighted least squares with Tukey weights.

    Args:
        pairs: at least 4, without gross outliers, in the pixels the matrices shall have.
    """
    return {model: _fit(model, pairs) for model in LADDER}


def choose(fits: dict[Model, Fit], size_xy: tuple[int, int], scale: float, n_independent: float) -> Fit:
    """The simplest model that no richer one beats.

    A richer model beats a simpler one where it predicts a motion that differs by its tau or more (RMS over
    the picture, at full resolution) and its robust BIC is better.

    Args:
        fits: from `fit_ladder`.
        size_xy: of the picture, in the pixels of the fits.
        scale: of that picture.
        n_independent: number of pairs that tell something of their own, for the BIC; neighbours see the same
            tissue.
    """
    bic = _robust_bic(fits, n_independent)
    grid = grid_points(*size_xy)
    ladder = list(LADDER)
    for index, model in enumerate(ladder):
        richer = ladder[index + 1 :]
        if all(
            bic[model] <= bic[other]
            or motion_rms_px(fits[model].matrix, fits[other].matrix, grid) < scale * LADDER[other].tau_px
            for other in richer
        ):
            break
    return fits[model]


def motion_rms_px(a: Matrix, b: Matrix, points: Points) -> float:
    """RMS distance between where two matrices send some points."""
    apart = transform_points(a, points) - transform_points(b, points)
    return float(np.sqrt(np.mean(np.sum(np.square(apart), axis=1))))


def _fit(model: Model, pairs: PointPairs) -> Fit:
    # About the centre of the points, where translation and the linear part hardly disturb each other.
    center = pairs.slice_px.mean(axis=0)
    to_center, from_center = translation(*-center), translation(*center)
    source, target = pairs.slice_px - center, pairs.neighbour_px - center
    weights = np.ones(len(source))
    parameters = np.array([*np.median(target - source, axis=0), *LADDER[model].start])
    for _ in range(_REWEIGHTINGS):
        for _ in range(_NEWTON_STEPS):
            parameters = _newton_step(LADDER[model], parameters, source, target, weights)
        centred = _matrix(LADDER[model], parameters)
        distances = np.linalg.norm(transform_points(centred, source) - target, axis=1)
        weights = _tukey_weights(distances)
    return Fit(model=model, matrix=from_center @ centred @ to_center, distances_px=distances, weights=weights)


def _matrix(family: _Family, parameters: NDArray[np.float64]) -> Matrix:
    matrix = np.eye(3)
    matrix[:2, :2] = family.linear(parameters[2:])
    matrix[:2, 2] = parameters[:2]
    return matrix


def _newton_step(
    family: _Family,
    parameters: NDArray[np.float64],
    source: Points,
    target: Points,
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """One Gauss-Newton step; exact at once for the models that are linear."""
    error = (target - transform_points(_matrix(family, parameters), source)).ravel()
    one = np.ones(len(source))
    slopes = [np.outer(one, [1.0, 0.0]), np.outer(one, [0.0, 1.0])]
    slopes += [source @ derivative.T for derivative in family.derivatives(parameters[2:])]
    jacobian = np.column_stack([slope.ravel() for slope in slopes])
    weighted = jacobian * np.repeat(weights, 2)[:, None]
    # Sums without BLAS, whose last bits depend on the number of threads.
    normal = np.einsum("ni,nj->ij", weighted, jacobian)
    step: NDArray[np.float64] = np.linalg.lstsq(normal, np.einsum("ni,n->i", weighted, error), rcond=None)[0]
    return parameters + step


def _robust_sigma(distances: NDArray[np.float64]) -> float:
    return max(float(np.median(distances)) / MEDIAN_OF_RAYLEIGH, _MIN_SIGMA)


def _tukey_weights(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    u = distances / (_TUKEY * _robust_sigma(distances))
    weights: NDArray[np.float64] = np.square(1 - np.minimum(np.square(u), 1))
    return weights


def _robust_bic(fits: dict[Model, Fit], n_independent: float) -> dict[Model, float]:
    """BIC with Tukey's loss in the place of the squares, all at the noise of the richest model."""
    sigma = fits["affine"].sigma_px
    share = n_independent / len(fits["affine"].distances_px)
    return {
        model: share * float(np.sum(2 * _tukey_loss(fit.distances_px / sigma)))
        + (2 + len(LADDER[model].start)) * math.log(2 * n_independent)
        for model, fit in fits.items()
    }


def _tukey_loss(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the square near 0, constant beyond `_TUKEY`."""
    inside = 1 - np.minimum(np.square(u / _TUKEY), 1)
    loss: NDArray[np.float64] = _TUKEY**2 / 6 * (1 - inside**3)
    return loss
