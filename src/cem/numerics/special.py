"""Special functions for scoring, with only NumPy: importing SciPy takes longer than all of scoring.

Tests compare each of them with `scipy.special`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.numerics.floating import underflow_is_zero

__all__ = ["chi_square_survival", "regularised_upper_gamma"]

FloatArray = NDArray[np.float64]

# log Γ(a + 1) = ½ log 2πa + a log a − a + Σ_j _STIRLING[j] a^(−2j−1)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_TINY = 1e-300
_EPSILON = 1e-16


def _log_prefactor(a: FloatArray, x: FloatArray) -> FloatArray:
    """log[xᵃ e⁻ˣ / Γ(a + 1)] without the cancellation of its large terms; a > 0, x > 0."""
    result = np.empty_like(a)
    small = a < 10
    if small.any():
        shapes, where = np.unique(a[small], return_inverse=True)
        log_gamma = np.array([math.lgamma(shape + 1) for shape in shapes])[where]
        result[small] = a[small] * np.log(x[small]) - x[small] - log_gamma
    large = ~small
    if large.any():
        shape, u = a[large], (x[large] - a[large]) / a[large]
        # log(1 + u) − u: near 0 by the series of atanh in r = u / (2 + u), which does not cancel
        near = np.abs(u) < 0.6
        r = np.where(near, u / (2 + u), 0.0)
        square, odd = r * r, np.zeros_like(r)
        for j in range(43, 1, -2):
            odd = odd * square + 1 / j
        series = -2 * square / (1 - r) + 2 * r * square * odd
        log_excess = np.where(near, series, np.log1p(np.where(near, 0.0, u)) - u)
        inverse, correction = 1 / shape, np.zeros_like(shape)
        for term in reversed(_STIRLING):
            correction = correction * inverse * inverse + term
        result[large] = shape * log_excess - 0.5 * np.log(2 * np.pi * shape) - correction * inverse
    return result


def _lower_series(a: FloatArray, x: FloatArray) -> FloatArray:
    """P(a, x) = xᵃ e⁻ˣ / Γ(a + 1) · Σ_n xⁿ / ((a + 1) … (a + n)), for x < a + 1."""
    term, total = np.ones_like(a), np.ones_like(a)
    n = 0
    while True:
        n += 1
        term = term * (x / (a + n))
        total = total + term
        if not np.any(term > _EPSILON * total):
            return np.exp(_log_prefactor(a, x)) * total


def _upper_fraction(a: FloatArray, x: FloatArray) -> FloatArray:
    """Q(a, x) by its continued fraction, x ≥ a + 1, evaluated forwards (modified Lentz)."""
    b = x + 1 - a
    c, d = np.full_like(a, 1 / _TINY), 1 / b
    fraction = d.copy()
    n = 0
    while True:
        n += 1
        numerator = -n * (n - a)
        b = b + 2
        d = numerator * d + b
        d = 1 / np.where(np.abs(d) < _TINY, _TINY, d)
        c = b + numerator / c
        c = np.where(np.abs(c) < _TINY, _TINY, c)
        change = c * d
        fraction = fraction * change
        if not np.any(np.abs(change - 1) > 4 * _EPSILON):
            return np.exp(_log_prefactor(a, x)) * a * fraction


@underflow_is_zero
def regularised_upper_gamma(a: ArrayLike, x: ArrayLike) -> FloatArray:
    """Q(a, x) = Γ(a, x) / Γ(a), element by element, for a > 0 and x ≥ 0; NaN elsewhere.

    It uses a series for x < a + 1 and a continued fraction above; each converges in O(√a) terms there.
    """
    a, x = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(x, dtype=np.float64))
    result = np.full(a.shape, np.nan)
    valid = (a > 0) & np.isfinite(a) & (x >= 0)
    result[valid & (x == 0)] = 1.0
    result[valid & np.isposinf(x)] = 0.0
    inside = valid & (x > 0) & np.isfinite(x)
    series = inside & (x < a + 1)
    if series.any():
        result[series] = 1 - _lower_series(a[series], x[series])
    fraction = inside & ~series
    if fraction.any():
        result[fraction] = _upper_fraction(a[fraction], x[fraction])
    return result


def chi_square_survival(x: ArrayLike, degrees: ArrayLike) -> FloatArray:
    """P(χ²_degrees > x); 0 degrees of freedom give 1."""
    x, degrees = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(degrees, dtype=np.float64))
    return np.where(degrees == 0, 1.0, regularised_upper_gamma(np.where(degrees == 0, 1.0, degrees) / 2, x / 2))
