"""The ladder of motion models, and the choice of the simplest that explains a motion.

A free affine mostly fits noise, and its noise adds up over thousands of slices; a model that is too stiff
shifts the corners. So all four are fitted, and the simplest that loses nothing is taken. Of pairs that
tell their rotation the simplest is rigid: how far a small angle counts is for the solve to weigh, which sees
all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.align import Model
from components.shared.geometry import Matrix, Points, grid_points, transform_points, translation
from components.shared.limits import limit
from components.shared.series import MEDIAN_OF_RAYLEIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """Limits that decide when a richer model of a motion is taken, and what an outlier is."""

    most_turn_sigma_px: float = limit(
        1.0,
        unit="px at full resolution, 1-sigma of the rotation at half the longer side",
        why="a pair that tells its rotation is at least rigid, however small: how far that counts is for "
        "the solve to weigh, which sees all pairs. Others turn where that explains their points better",
        measured_on="benchmarks/exact_axes, turns of 0.05 degree: 0.065 px where small turns were left out, "
        "0.050 without this limit; serial sections under dirt: 3.3 px with it, 4.2 at twice as much",
        too_small="a slow turn of the stage is left out of poor pairs",
        too_large="dirt and changing tissue turn serial sections",
    )
    shape_tau_px: float = limit(
        0.5,
        unit="px at full resolution, RMS over the picture",
        why="a smaller stretch or shear between neighbours is the tissue's own change of shape",
        measured_on="not measured apart; benchmarks/alignment, case drift: 0.8 % of magnification over 60 "
        "slices come out of the solve all the same",
        too_small="a free affine fits noise: 18 px at the corners after 13,696 slices in a simulation",
        too_large="a true stretch shifts the corners",
    )
    tukey_sigmas: float = limit(
        4.685,
        unit="robust standard deviations",
        why="residuals beyond it weigh nothing; 95 % efficient on normal errors (Beaton and Tukey 1974)",
        measured_on="derived",
        too_small="good points are thrown away, and the fit is noisy",
        too_large="outliers pull the fit",
    )
    reweightings: int = limit(
        12,
        unit="rounds",
        why="a fixed number, so that results repeat; weights hardly change in the last ones",
        measured_on="not measured",
        too_small="outliers still pull",
        too_large="time",
    )
    least_sigma_px: float = limit(
        1e-4,
        unit="px of the points",
        why="keeps the weights of points without any error finite",
        measured_on="not measured; far below what a window tells, 0.04 px",
        too_small="rounding decides which points of an exact copy weigh",
        too_large="outliers of very good points are kept",
    )


LIMITS = ModelLimits()
Linear = NDArray[np.float64]
"""[2, 2] part of an affine matrix."""


@dataclass(frozen=True, slots=True)
class PointPairs:
    """Points of a slice and where the neighbour shows the same."""

    slice_px: Points
    neighbour_px: Points

    def __len__(self) -> int:
        return len(self.slice_px)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> PointPairs:
        return PointPairs(self.slice_px[chosen], self.neighbour_px[chosen])


@dataclass(frozen=True, slots=True)
class _Family:
    """A family of linear parts; every family also translates freely."""

    tau_px: float
    """Least difference of its motion from that of a simpler model, RMS over the picture, to be taken; 0 for
    those that need no more reason than to be told."""
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
    "rigid": _Family(0.0, (0.0,), lambda p: _rotation(p[0]), lambda p: [_rotation_slope(p[0])]),
    "rigid_stretch": _Family(
        LIMITS.shape_tau_px,
        (0.0, 1.0),
        lambda p: _rotation(p[0]) @ np.diag([1.0, p[1]]),
        lambda p: [_rotation_slope(p[0]) @ np.diag([1.0, p[1]]), _rotation(p[0]) @ np.diag([0.0, 1.0])],
    ),
    "affine": _Family(LIMITS.shape_tau_px, (1.0, 0.0, 0.0, 1.0), lambda p: p.reshape(2, 2), lambda _: _UNITS),
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


def choose(
    fits: dict[Model, Fit], pairs: PointPairs, size_xy: tuple[int, int], scale: float, n_independent: float
) -> Fit:
    """The simplest model that no richer one beats; of pairs that tell their rotation, the simplest is rigid.

    A richer model beats a simpler one where it predicts a motion that differs by its tau or more (RMS over
    the picture, at full resolution) and its robust BIC is better.

    Args:
        fits: from `fit_ladder`.
        pairs: those that were fitted.
        size_xy: of the picture, in the pixels of the fits.
        scale: of that picture.
        n_independent: number of pairs that tell something of their own, for the BIC; neighbours see the same
            tissue.
    """
    turn_px = _turn_sigma_px(fits["rigid"], pairs, size_xy, n_independent) / scale
    ladder = list(LADDER)[1 if turn_px <= LIMITS.most_turn_sigma_px else 0 :]
    bic = _robust_bic(fits, n_independent)
    grid = grid_points(*size_xy)
    for index, model in enumerate(ladder):
        richer = ladder[index + 1 :]
        if all(
            bic[model] <= bic[other]
            or motion_rms_px(fits[model].matrix, fits[other].matrix, grid) < scale * LADDER[other].tau_px
            for other in richer
        ):
            break
    return fits[model]


def _turn_sigma_px(fit: Fit, pairs: PointPairs, size_xy: tuple[int, int], n_independent: float) -> float:
    """1-sigma of the rotation, as it moves a point at half the longer side.

    Errors of sigma across the arms r of n points turn them by sigma / sqrt(sum r^2).
    """
    center = np.average(pairs.slice_px, axis=0, weights=fit.weights)
    arms2 = np.square(pairs.slice_px - center).sum(axis=1)
    share = n_independent / len(pairs)
    told = share * float((fit.weights * arms2).sum())
    return fit.sigma_px / math.sqrt(max(told, LIMITS.least_sigma_px**2)) * max(size_xy) / 2


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
    for _ in range(LIMITS.reweightings):
        # One step: translation and affine are linear, and an angle has settled long before the weights.
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
    """Parameters after a Gauss-Newton step; where the model is linear, the least-squares solution."""
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
    """Standard deviation along one axis of points whose distances from their places are given."""
    return max(float(np.median(distances)) / MEDIAN_OF_RAYLEIGH, LIMITS.least_sigma_px)


def _tukey_weights(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tukey's biweight of each distance, 0..1."""
    u = distances / (LIMITS.tukey_sigmas * _robust_sigma(distances))
    weights: NDArray[np.float64] = np.square(1 - np.minimum(np.square(u), 1))
    return weights


def _robust_bic(fits: dict[Model, Fit], n_independent: float) -> dict[Model, float]:
    """The robust Schwarz criterion of each model: `2 sum rho(d / sigma) + p log n` (Machado 1993).

    Tukey's loss rho stands in the place of half the square. Sigma is that of the richest model for all, as in
    Mallows' Cp: each model's own would forgive a poor fit; it is what few points leave free, not what the
    fit leaves of them. Points nearby see the same tissue, so that the sum counts as one of `n_independent`
    points, each with two coordinates.
    """
    n_told = 2 * n_independent
    freedom = n_told - _n_parameters("affine")
    if freedom <= 0:  # the richest model passes through them all, and tells nothing of their errors
        return {model: float(_n_parameters(model)) for model in fits}
    sigma = fits["affine"].sigma_px * math.sqrt(n_told / freedom)
    share = n_independent / len(fits["affine"].distances_px)
    return {
        model: share * float(np.sum(2 * _tukey_loss(fit.distances_px / sigma)))
        + _n_parameters(model) * math.log(n_told)
        for model, fit in fits.items()
    }


def _n_parameters(model: Model) -> int:
    """Number of free parameters: two of translation, and those of the family."""
    return 2 + len(LADDER[model].start)


def _tukey_loss(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the square near 0, constant beyond `tukey_sigmas`; its slope over `u` is Tukey's weight."""
    inside = 1 - np.minimum(np.square(u / LIMITS.tukey_sigmas), 1)
    loss: NDArray[np.float64] = LIMITS.tukey_sigmas**2 / 6 * (1 - inside**3)
    return loss
