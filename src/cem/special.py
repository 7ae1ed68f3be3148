"""Special functions that scoring needs, in NumPy alone: importing SciPy costs a cold start more than all of scoring.

Tests hold each of them to `scipy.special`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["chi_square_survival", "normal_cdf", "normal_quantile", "regularised_upper_gamma"]

FloatArray = NDArray[np.float64]

# Chebyshev coefficients of erfcx(y) (1 + 2y), erfcx(y) = exp(y²) erfc(y), on t = (y − 3) / (y + 3), y ≥ 0: that map
# and that factor make it smooth on all of [−1, 1]. Interpolated at Chebyshev points from scipy.special.erfcx; the
# terms left out are below 1e-14.
_ERFCX = np.array(
    [
        1.17756257419656, 0.005353904539615629, -0.09377550342284216, 0.054366525557443174,
        -0.018976596707845392, 0.004453426061462664, -0.0006335531710556486, 1.766171952321239e-05,
        1.2841532863687551e-05, -2.00722856594013e-06, -1.8075227968218962e-07, 7.549828354372131e-08,
        1.8856683073972174e-09, -2.6995189800902435e-09, -1.4600039126395795e-11, 1.0361615838842926e-10,
        1.4766008928400144e-12, -4.277219604139541e-12, -2.071163753323792e-13, 1.815043841719881e-13,
        2.1803072168215574e-14, -7.028565763588491e-15,
    ]
)  # fmt: skip
# log Γ(a + 1) = ½ log 2πa + a log a − a + Σ_j _STIRLING[j] a^(−2j−1)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_TINY = 1e-300
_EPSILON = 1e-16


def _chebyshev(t: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Σ_j c_j T_j(t) by Clenshaw's recurrence."""
    ahead, here = np.zeros_like(t), np.zeros_like(t)
    for coefficient in coefficients[:0:-1]:
        ahead, here = here, 2 * t * here - ahead + coefficient
    return t * here - ahead + coefficients[0]


def normal_cdf(x: ArrayLike) -> FloatArray:
    """P(Z ≤ x) of a standard normal Z, element by element; the lower tail keeps its relative accuracy."""
    x = np.asarray(x, dtype=np.float64)
    y = np.minimum(np.abs(x) / math.sqrt(2), 40.0)  # erfc(40) is 0 in double precision
    tail = 0.5 * np.exp(-y * y) * _chebyshev((y - 3) / (y + 3), _ERFCX) / (1 + 2 * y)
    return np.where(x > 0, 1 - tail, tail)


def normal_quantile(q: ArrayLike) -> FloatArray:
    """z with P(Z ≤ z) = q, for q in [0, 1]; −inf at 0, inf at 1, NaN outside."""
    q = np.asarray(q, dtype=np.float64)
    tail = np.minimum(q, 1 - q)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        inside = (tail > 0) & (tail <= 0.5)
        p = np.where(inside, tail, 0.25)
        root = np.sqrt(-2 * np.log(p))
        # Abramowitz and Stegun 26.2.23 is right to 4.5e-4; Halley's steps cube the relative error of the density ratio.
        z = -(root - (2.515517 + root * (0.802853 + root * 0.010328))
              / (1 + root * (1.432788 + root * (0.189269 + root * 0.001308))))  # fmt: skip
        for _ in range(3):
            density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
            step = (normal_cdf(z) - p) / np.maximum(density, _TINY)
            z = z - step / (1 + 0.5 * z * step)
    z = np.where(inside, np.where(q > 0.5, -z, z), np.nan)
    return np.where(q == 0, -np.inf, np.where(q == 1, np.inf, z))


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


def regularised_upper_gamma(a: ArrayLike, x: ArrayLike) -> FloatArray:
    """Q(a, x) = Γ(a, x) / Γ(a), element by element, for a > 0 and x ≥ 0; NaN elsewhere.

    Series for x < a + 1, continued fraction beyond: each converges in O(√a) terms where it is used.
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
    """P(χ²_degrees > x); 1 where ``degrees`` is 0, for the sum of no squares exceeds nothing."""
    x, degrees = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(degrees, dtype=np.float64))
    return np.where(degrees == 0, 1.0, regularised_upper_gamma(np.where(degrees == 0, 1.0, degrees) / 2, x / 2))
