"""Places along z from correlations: how fast slices lose their likeness tells how far apart they lie.

The correlation of slices i and j is taken to be `m_i m_j f(z_j - z_i)`: one curve f of likeness over distance
for the stack, and a quality m of each slice (Hanslovsky, Bogovic and Saalfeld 2017). Three things are found:

1. *First places.* Curve and places in turn, qualities left out: a pair asks for the distance at which the
   curve has its correlation, and the places follow by weighted least squares. Qualities would take from the
   start what is thickness.
2. *Qualities.* Places and logarithms of qualities together, by Gauss-Newton on the logarithm of the
   correlations, the curve held. How much qualities scatter is found too: in a stack of one exposure hardly.
   The inverse of these normal equations gives 1-sigma.
3. *Jitter alone.* Steps are divided by their local mean, since tissue changes its curve along z: places of an
   even axis would drift by ten slices in five hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.shared.along_z.covariances import Floats, covariances
from components.shared.along_z.limits import PLACES, PlaceLimits
from components.shared.series import SIGMA_OF_MAD

Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]
_UNKNOWNS = 2
"""Numbers of a slice in the joint solve: its place, and the logarithm of its quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the slices of a stack lie along z, in mean slices; the first where its number says."""

    z: Integers
    """[n] numbers of the slices."""
    position: Floats
    """[n] places."""
    step: Floats
    """[n] distance from the slice before over that of their numbers; NaN for the first."""
    step_sigma: Floats
    """[n] 1-sigma of `step`."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """Logarithm of the likeness over distance: straight lines between knots, and on beyond the ends."""

    knots: Floats
    values: Floats

    def at(self, distance: Floats) -> Floats:
        """The logarithm of the correlation at a distance."""
        first, last = self._slope(0), self._slope(len(self.knots) - 2)
        inside = np.interp(distance, self.knots, self.values)
        below = first * np.minimum(distance - self.knots[0], 0)
        found: Floats = inside + below + last * np.maximum(distance - self.knots[-1], 0)
        return found

    def slope(self, distance: Floats) -> Floats:
        """The change of the logarithm with distance, over a knot's spacing."""
        half = (self.knots[1] - self.knots[0]) / 2
        found: Floats = np.minimum((self.at(distance + half) - self.at(distance - half)) / (2 * half), -1e-4)
        return found

    def distance(self, logarithm: Floats) -> Floats:
        """The distance at which the curve has a value; within 0 and its last knot."""
        first = self._slope(0)
        inside = np.interp(-logarithm, -self.values, self.knots)
        before = self.knots[0] + np.minimum((logarithm - self.values[0]) / first, 0)
        found: Floats = np.maximum(np.where(logarithm > self.values[0], before, inside), 0)
        return found

    def _slope(self, index: int) -> float:
        rise, run = np.diff(self.values)[index], np.diff(self.knots)[index]
        return float(rise / run)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of slices: [m] each."""

    first: Integers
    second: Integers
    logarithm: Floats
    """Logarithm of the correlation."""
    shortfall: Floats
    """Expected scatter of the logarithm, up to a factor: that of a correlation r is `1 - r^2` (Fisher)."""

    @classmethod
    def of(cls, correlations: Floats, limits: PlaceLimits) -> _Pairs:
        n, reach = correlations.shape
        first, ahead = np.meshgrid(np.arange(n), np.arange(1, reach + 1), indexing="ij")
        known = (first + ahead < n) & (np.nan_to_num(correlations) > limits.lowest)
        r = np.minimum(correlations[known], 1 - 1e-6)
        return cls(first[known], (first + ahead)[known], np.log(r), (1 - r**2) / r)

    def tell(self, distance: Floats, reach: int) -> Flags:
        """True of pairs within the curve, and of neighbours, which alone tell a gap that is wider."""
        found: Flags = (distance < reach) | (self.second - self.first == 1)
        return found


def places_of(z: Integers, correlations: Floats, limits: PlaceLimits = PLACES) -> Places | str:
    """The places of slices, or a clause that says why nothing is known of them.

    Args:
        z: [n] numbers of the slices, ascending.
        correlations: [n, reach] of each slice with those that follow in `z`, NaN where unknown.
        limits: What is enough to tell places.
    """
    unknown = _unknown(z, correlations, limits)
    if unknown:
        return unknown
    try:
        position, band = _raw_places(z, correlations, limits)
        sigma = _sigma_of_steps(band)
    except np.linalg.LinAlgError:  # as where two slices in a row are like no other
        return "some slices are like none of their neighbours, so that places do not hang together"
    even = _made_even(np.diff(position) / np.diff(z), limits)
    return Places(
        z=z,
        position=np.round(z[0] + np.concatenate([[0], np.cumsum(even * np.diff(z))]), limits.digits),
        step=np.round(np.concatenate([[np.nan], even]), limits.digits),
        step_sigma=np.round(np.concatenate([[np.nan], sigma * even / np.diff(position)]), limits.digits),
    )


def steps_of(z: Integers, correlations: Floats, limits: PlaceLimits = PLACES) -> Floats | None:
    """The steps alone, as `places_of` has them, in less time; None where nothing is known."""
    if _unknown(z, correlations, limits):
        return None
    try:
        position, _ = _raw_places(z, correlations, limits)
    except np.linalg.LinAlgError:
        return None
    even = _made_even(np.diff(position) / np.diff(z), limits)
    return np.round(np.concatenate([[np.nan], even]), limits.digits)


def with_observed_sigma(
    places: Places, halves: Sequence[Floats | None], limits: PlaceLimits = PLACES
) -> Places:
    """The places with a 1-sigma as large as halves of the pictures differ in what they tell.

    Two halves hold different tissue and other noise, but the same thickness. What each errs by is twice the
    variance of the whole, so that their difference has four times its variance. Pairs err together, which the
    normal equations do not know; so their sigma grows until it is as large as that, and never shrinks.

    Args:
        places: Of the whole pictures.
        halves: The steps of the same slices by two halves; None where nothing is known.
        limits: Which steps are gaps, that tell little.
    """
    known = [half[1:] for half in halves if half is not None]
    if len(known) < len(halves):
        return places
    one, other = known
    usual = np.maximum(one, other) < limits.gap_ratio
    expected = float(np.sqrt(np.mean(np.square(places.step_sigma[1:][usual])))) if usual.any() else 0.0
    if not expected:
        return places
    observed = float(np.sqrt(np.mean(np.square(one - other)[usual]))) / 2
    sigma = np.round(places.step_sigma * max(1.0, observed / expected), limits.digits)
    return replace(places, step_sigma=sigma)


def _unknown(z: Integers, correlations: Floats, limits: PlaceLimits) -> str:
    """Why nothing is said; empty where places can be told."""
    if len(z) < limits.fewest_slices:
        return f"fewer than {limits.fewest_slices} good slices tell no thickness"
    known = np.isfinite(correlations)
    if not known[:, 0].any():
        return "neighbours have no texture in common"
    medians = [float(np.median(c[k])) for c, k in zip(correlations.T, known.T, strict=True) if k.any()]
    if medians[0] < limits.least_correlation:
        return (
            f"the NCC of neighbours is {medians[0]:.2f}; below {limits.least_correlation:g} tissue changes "
            "too much from slice to slice"
        )
    if medians[0] - min(medians) < limits.least_fall:
        return f"slices {len(medians)} apart are as alike as neighbours"
    return ""


def _raw_places(z: Integers, correlations: Floats, limits: PlaceLimits) -> tuple[Floats, Floats]:
    """Places before steps are divided by their local mean, and the band of their normal matrix."""
    pairs = _Pairs.of(correlations, limits)
    first = _first_places(z, pairs, correlations.shape[1], limits)
    return _joint_places(z, first, pairs, correlations.shape[1], limits)


def _first_places(z: Integers, pairs: _Pairs, reach: int, limits: PlaceLimits) -> Floats:
    """Places by curve and wishes in turn, every quality being 1."""
    position = z.astype(np.float64)
    for _ in range(limits.rounds):
        distance = position[pairs.second] - position[pairs.first]
        weight = np.maximum(distance, limits.knot_spacing) ** -limits.falloff * pairs.tell(distance, reach)
        curve = _curve(distance, pairs.logarithm, np.ones_like(distance), reach, limits)
        moved = _by_wishes(len(z), pairs, curve.distance(pairs.logarithm), weight, reach, limits)
        position = _in_order(z, position + limits.share_of_wish * (moved - position), limits)
    return position


def _by_wishes(
    n: int, pairs: _Pairs, wish: Floats, weight: Floats, reach: int, limits: PlaceLimits
) -> Floats:
    """The places that meet the pairs' wishes best."""
    from scipy.linalg import solveh_banded  # here, since SciPy takes as long to start as all else

    band, right = np.zeros((reach + 1, n)), np.zeros(n)
    for at, sign in ((pairs.first, -1), (pairs.second, 1)):
        band[0] += np.bincount(at, weight, n)
        right += sign * np.bincount(at, weight * wish, n)
    band[pairs.second - pairs.first, pairs.first] = -weight
    band[0, 0] += limits.weight_of_first
    return np.asarray(solveh_banded(band, right, lower=True, check_finite=False))


def _joint_places(
    z: Integers, position: Floats, pairs: _Pairs, reach: int, limits: PlaceLimits
) -> tuple[Floats, Floats]:
    """Places with qualities, and the band of the normal matrix that they are solved by."""
    from scipy.linalg import solveh_banded

    n = len(z)
    quality, quality_sigma = np.zeros(n), 10 * limits.least_quality_sigma
    distance = position[pairs.second] - position[pairs.first]
    scatter = pairs.shortfall * np.maximum(distance, limits.knot_spacing)
    curve = _curve(distance, pairs.logarithm, scatter**-2, reach, limits)
    for _ in range(limits.joint_rounds):
        distance = position[pairs.second] - position[pairs.first]
        scatter = pairs.shortfall * np.maximum(distance, limits.knot_spacing)
        left = pairs.logarithm - quality[pairs.first] - quality[pairs.second] - curve.at(distance)
        spread = max(float(SIGMA_OF_MAD * np.median(np.abs(left / scatter))), 1e-4)
        weight = (spread * scatter) ** -2 * pairs.tell(distance, reach)
        band, right = _joint_equations(n, pairs, curve.slope(distance), left, weight, reach, limits)
        own = band[0, 1::_UNKNOWNS].copy()
        band[0, 1::_UNKNOWNS] += quality_sigma**-2
        right[1::_UNKNOWNS] -= quality * quality_sigma**-2
        change = solveh_banded(band, right, lower=True, check_finite=False).reshape(n, _UNKNOWNS)
        position = _in_order(z, position + limits.share_of_wish * change[:, 0], limits)
        quality = quality + limits.share_of_wish * change[:, 1]
        # Expectation and maximisation: what qualities scatter, that of their errors included.
        variance = float(np.mean(quality**2 + 1 / (own + quality_sigma**-2)))
        quality_sigma = max(variance**0.5, limits.least_quality_sigma)
    return position, band


def _sigma_of_steps(band: Floats) -> Floats:
    """[n - 1] 1-sigma of the distance of each slice from the one before, by the band of the joint solve."""
    from scipy.linalg import cholesky_banded

    factor = cholesky_banded(band, lower=True, check_finite=False)
    own_variance, ahead = covariances(factor, np.array([[1.0, 0.0]]))
    variance_of_step = own_variance[1:, 0] + own_variance[:-1, 0] - 2 * ahead[:, 0]
    return np.sqrt(np.maximum(variance_of_step, 0))


def _joint_equations(
    n: int, pairs: _Pairs, slope: Floats, left: Floats, weight: Floats, reach: int, limits: PlaceLimits
) -> tuple[Floats, Floats]:
    """Normal equations of `left = slope (dz_j - dz_i) + dq_i + dq_j`, as a lower band and a right side."""
    band, right = np.zeros((_UNKNOWNS * (reach + 1), _UNKNOWNS * n)), np.zeros(_UNKNOWNS * n)
    one = np.ones_like(slope)
    terms = (
        (_UNKNOWNS * pairs.first, -slope),
        (_UNKNOWNS * pairs.first + 1, one),
        (_UNKNOWNS * pairs.second, slope),
        (_UNKNOWNS * pairs.second + 1, one),
    )
    for index, (row, coefficient) in enumerate(terms):
        right += np.bincount(row, weight * coefficient * left, len(right))
        for column, other in terms[: index + 1]:
            np.add.at(band, (row - column, column), weight * coefficient * other)
    band[0, 0] += limits.weight_of_first
    return band, right


def _in_order(z: Integers, position: Floats, limits: PlaceLimits) -> Floats:
    """Places in the slices' order, their mean step that of the numbers."""
    numbers = np.diff(z)
    steps = np.maximum(np.diff(position), limits.least_step * numbers)
    steps *= numbers.sum() / steps.sum()
    return np.concatenate([[0], np.cumsum(steps)])


def _curve(distance: Floats, logarithm: Floats, weight: Floats, reach: int, limits: PlaceLimits) -> _Curve:
    """The falling curve through the pairs: least squares over straight lines between knots."""
    knots = np.arange(limits.knot_spacing, reach + limits.knot_spacing, limits.knot_spacing)
    at = np.clip((distance - knots[0]) / limits.knot_spacing, 0, len(knots) - 1 - 1e-9)
    knot, share = at.astype(np.int64), at % 1
    sums = np.diff(np.eye(len(knots)), 2, axis=0)
    matrix = limits.curve_smoothing * weight.sum() * sums.T @ sums
    right = np.zeros(len(knots))
    n = len(knots)
    for one, its in ((knot, 1 - share), (knot + 1, share)):
        right += np.bincount(one, weight * its * logarithm, n)
        for other, theirs in ((knot, 1 - share), (knot + 1, share)):
            matrix += np.bincount(n * one + other, weight * its * theirs, n * n).reshape(n, n)
    return _Curve(knots, _falling(np.linalg.solve(matrix, right)))


def _falling(values: Floats) -> Floats:
    """The nearest values that never rise (pool adjacent violators), and then fall by a hair."""
    blocks: list[list[float]] = []
    for value in values.tolist():
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            mean, count = blocks.pop()
            blocks[-1][0] = (blocks[-1][0] * blocks[-1][1] + mean * count) / (blocks[-1][1] + count)
            blocks[-1][1] += count
    pooled = np.repeat([mean for mean, _ in blocks], [int(count) for _, count in blocks])
    falling: Floats = pooled - 1e-6 * np.arange(len(pooled))
    return falling


def _made_even(steps: Floats, limits: PlaceLimits) -> Floats:
    """Steps over their local mean, which gaps have no say in; over some hundred slices it is then 1."""
    from scipy.ndimage import gaussian_filter1d, median_filter

    window = min(2 * round(2 * limits.local_sigma) + 1, len(steps) - 1 + len(steps) % 2)
    counts: Flags = steps < limits.gap_ratio * median_filter(steps, window, mode="nearest")
    for sigma in (limits.local_sigma, limits.drift_sigma):
        weight = gaussian_filter1d(counts.astype(np.float64), sigma, mode="constant")
        total = gaussian_filter1d(np.where(counts, steps, 0.0), sigma, mode="constant")
        steps = steps * np.maximum(weight, 1e-9) / np.maximum(total, 1e-9)
    return steps
