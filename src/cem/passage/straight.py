"""First passage of a straight line: exact, by bivariate normal probabilities."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.numerics.normal import bivariate_normal_cdf, normal_cdf, normal_density
from cem.passage.law import FirstPassage, given_monotone

if TYPE_CHECKING:
    from cem.basis.family import Basis

__all__ = ["StraightPassage"]

FloatArray = NDArray[np.float64]

MOST_PAIRS = 100_000
"""Bivariate probabilities computed at once; this bounds the memory for a long list of times."""

LEAST_RISING = 1e-9
"""Least probability of a line that rises: below it, nothing is left of the law to condition on."""

ROUNDING = 1e-7
"""A slope with a standard deviation below this share of it is certain: the rest comes from floating point."""


class StraightPassage(FirstPassage):
    """First passage of g(t) = value + slope · t: a line below the threshold at two times is below it between them.

    So P(not crossed on [t_first, t]) = P(g(t_first) < c, g(t) < c), and its limit is P(g(t_first) < c, slope ≤ 0).
    Given that the line rises, it is P(g(t) < c, slope > 0) / P(slope > 0), and its limit is 0.
    """

    exact = True
    horizon = float("inf")
    _OF_UNITS: ClassVar[tuple[str, ...]] = (*FirstPassage._OF_UNITS, "_covariance", "_gap", "_slope", "_age")
    _rises = False

    def __init__(
        self,
        basis: Basis,
        rho: FloatArray,
        mean: FloatArray,
        covariance: FloatArray,
        start: FloatArray,
        now: FloatArray,
        level: FloatArray,
        names: Sequence[Hashable],
        monotone: bool = False,
    ) -> None:
        # The pair (value at t_now, slope), less the threshold: everything else is linear in it.
        low, high = basis.domain
        width = high - low if high > low else 1.0
        rows = np.stack([basis(now), (basis(now + width) - basis(now)) / width], axis=1)  # (L, 2, p)
        mean = np.einsum("lip,lkp->lki", rows, mean)
        self._covariance = np.einsum("lip,lkpq,ljq->lkij", rows, covariance, rows)
        self._gap, self._slope = mean[..., 0] - level, mean[..., 1]
        self._age = now - start
        self._rises = monotone
        if monotone:
            spread = np.sqrt(np.maximum(self._covariance[..., 1, 1], 0.0))
            z = np.divide(self._slope, spread, out=np.where(self._slope > 0, 40.0, -40.0), where=spread > 0)
            share = normal_cdf(z)
            rho = given_monotone(names, rho, share, LEAST_RISING, "look at its readings, or leave the unit out")
        now_below = self._both_below(np.zeros((len(now), 1)))[..., 0]
        self._conclude(names, rho, now_below, self._never_by_mode())
        if monotone:
            self.mode_probabilities = np.where(self._ended[:, None], rho * share, self.mode_probabilities)

    def _value(self, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of g(t_now + step) − c, both (L, K, m), from steps (L, m)."""
        v, s = self._covariance[..., None], step[:, None, :]
        variance = v[:, :, 0, 0] + 2.0 * s * v[:, :, 0, 1] + s * s * v[:, :, 1, 1]
        return self._gap[..., None] + s * self._slope[..., None], np.maximum(variance, 0.0)

    def _both_below(self, step: FloatArray) -> FloatArray:
        """P(g(t_first) < c, g(t_now + step) < c | k), (L, K, m), from steps (L, m)."""
        v, s, back = self._covariance[..., None], step[:, None, :], -self._age[:, None]
        if self._rises:  # then it was lower before
            gap, variance = self._value(step)
            falls = np.broadcast_to(-self._slope[..., None], gap.shape)
            cross = -(v[:, :, 0, 1] + s * v[:, :, 1, 1])
            return _both_negative(gap, variance, falls, np.broadcast_to(v[:, :, 1, 1], gap.shape), cross)
        m1, v1 = self._value(back)
        m2, v2 = self._value(step)
        cross = v[:, :, 0, 0] + (back[:, None] + s) * v[:, :, 0, 1] + back[:, None] * s * v[:, :, 1, 1]
        return _both_negative(m1, v1, m2, v2, cross)

    def _never_by_mode(self) -> FloatArray:
        if self._rises:
            return np.zeros(self._slope.shape)
        v, back = self._covariance, -self._age[:, None]
        m1, v1 = (part[..., 0] for part in self._value(back))
        return _both_negative(m1, v1, self._slope, v[..., 1, 1], v[..., 0, 1] + back * v[..., 1, 1], strict=False)

    def _survival(self, lives: FloatArray) -> FloatArray:
        result = np.empty(lives.shape)
        chunk = max(1, MOST_PAIRS // max(1, self._gap.size))
        for first in range(0, lives.shape[1], chunk):
            r = lives[:, first : first + chunk]
            below = self._both_below(np.where(np.isfinite(r), r, 0.0))
            value = (self._weights[..., None] * below).sum(axis=1)
            result[:, first : first + chunk] = np.where(np.isfinite(r), value, self.probability_never[:, None])
        return result

    def _density(self, lives: FloatArray) -> FloatArray:
        # Flux through the threshold: density of g at c times E[slope⁺ | g = c]. With a slope above 0 the line was
        # below c at every earlier time, so the condition on t_first holds automatically.
        v = self._covariance[..., None]
        step = np.where(np.isfinite(lives), lives, 0.0)
        gap, variance = self._value(step)
        solid = variance > 0
        safe = np.where(solid, variance, 1.0)
        cross = v[:, :, 0, 1] + step[:, None, :] * v[:, :, 1, 1]
        slope = self._slope[..., None] - cross / safe * gap
        spread = np.sqrt(np.maximum(v[:, :, 1, 1] - cross * cross / safe, 0.0))
        z = np.divide(slope, spread, out=np.where(slope > 0, 40.0, -40.0), where=spread > 0)
        rising = slope * normal_cdf(z) + spread * normal_density(z)
        flux = np.where(solid, normal_density(gap / np.sqrt(safe)) / np.sqrt(safe) * rising, 0.0)
        return np.where(np.isfinite(lives), (self._weights[..., None] * flux).sum(axis=1), 0.0)

    def _quantile(self, levels: FloatArray) -> FloatArray:
        if not self.n_units:
            return np.empty(levels.shape)
        reached = (levels < 1.0 - self.probability_never[:, None]) & ~self._ended[:, None]
        # Bracket by doubling from the scale on which this unit moves, then halve.
        high = np.ones(levels.shape) * np.maximum(self._age.mean(), 1e-3)
        for _ in range(1100):
            short = reached & (self.cdf(high) < levels)
            if not short.any():
                break
            high = np.where(short, np.minimum(2.0 * high, 1e300), high)
            reached &= high < 1e150  # larger than any time: caused by rounding of probability_never
        low = np.zeros(levels.shape)
        for _ in range(200):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < levels
            low, high = np.where(below, middle, low), np.where(below, high, middle)
            if np.all(~reached | (high - low <= 1e-12 * high)):
                break
        return np.where(reached, high, np.where(self._ended[:, None], 0.0, np.inf))

    def _mean(self, cap: float | None) -> FloatArray:
        if cap is None:
            # Finite only if the slope of no mode is uncertain, beyond rounding, and some mode rises.
            certain = self._covariance[..., 1, 1] <= np.square(ROUNDING * self._slope)
            rises = certain & (self._slope > 0)
            ever = 1.0 - self.probability_never
            sure = np.all(certain | (self._weights == 0), axis=1) & (ever > 0)
            sure &= np.any(rises & (self._weights > 0), axis=1)
            result = np.full(self.n_units, np.inf)
            if sure.any():
                # E[(c − g(t_now))⁺ / slope] per mode: the distance is normal, cut at 0 by the condition.
                spread = np.sqrt(np.maximum(self._covariance[..., 0, 0], 0.0))
                z = np.divide(-self._gap, spread, out=np.where(self._gap < 0, 40.0, -40.0), where=spread > 0)
                distance = -self._gap * normal_cdf(z) + spread * normal_density(z)
                left = np.divide(distance, self._slope, out=np.zeros_like(distance), where=rises)
                result[sure] = (self._weights * left).sum(axis=1)[sure] / ever[sure]
            return np.where(self._ended, 0.0, result)
        return self._capped_mean(cap)

    def standard_error(self, times: ArrayLike) -> FloatArray:
        return np.zeros(self._by_unit(times).shape)


def _both_negative(
    m1: FloatArray, v1: FloatArray, m2: FloatArray, v2: FloatArray, cross: FloatArray, *, strict: bool = True
) -> FloatArray:
    """P(X < 0, Y < 0) of a normal pair; with variance 0 the variable is a constant.

    With ``strict=False``, a constant Y of exactly 0 also counts: a curve without slope never crosses.
    """
    s1, s2 = np.sqrt(v1), np.sqrt(np.maximum(v2, 0.0))
    x = np.divide(-m1, s1, out=np.where(m1 < 0, np.inf, -np.inf), where=s1 > 0)
    met = (m2 < 0) if strict else (m2 <= 0)
    y = np.divide(-m2, s2, out=np.where(met, np.inf, -np.inf), where=s2 > 0)
    product = s1 * s2
    r = np.divide(cross, product, out=np.zeros(product.shape), where=product > 0)
    return bivariate_normal_cdf(x, y, r)
