"""The normal distribution in one and two dimensions, with only NumPy, for prognosis and scoring."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.numerics.floating import underflow_is_zero

__all__ = [
    "bivariate_normal_cdf",
    "log_normal_cdf",
    "normal_cdf",
    "normal_density",
    "normal_quantile",
    "normal_quantile_of_log",
]

FloatArray = NDArray[np.float64]

_ROOT_2 = math.sqrt(2.0)
_LOG_ROOT_2_PI = 0.5 * math.log(2.0 * math.pi)
_FAR = 38.0  # beyond this many standard deviations a probability is 0 or 1 in float64


def _erfc(points: FloatArray) -> FloatArray:
    from cem.numerics import _normal  # imported on use, because scoring imports this module

    given = np.ascontiguousarray(points).reshape(points.shape)
    values = np.empty(points.shape)
    _normal.erfc(given, values, points.size)
    return values


@underflow_is_zero
def normal_density(z: ArrayLike) -> FloatArray:
    """Density of N(0, 1)."""
    points = np.clip(np.asarray(z, dtype=np.float64), -_FAR - 1, _FAR + 1)
    return np.exp(-0.5 * points * points - _LOG_ROOT_2_PI)


@underflow_is_zero
def normal_cdf(z: ArrayLike) -> FloatArray:
    """P(Z ≤ z), to full relative accuracy in the lower tail; accepts ±inf."""
    return 0.5 * _erfc(np.asarray(-np.asarray(z, dtype=np.float64) / _ROOT_2))


@underflow_is_zero
def log_normal_cdf(z: ArrayLike) -> FloatArray:
    """ln P(Z ≤ z), finite arbitrarily far in the lower tail (−inf at −inf)."""
    points = np.asarray(z, dtype=np.float64)
    near = np.maximum(points, -25.0)
    upper = 0.5 * _erfc(np.asarray(np.abs(near) / _ROOT_2))  # the smaller of the two tails
    result = np.where(near > 0, np.log1p(-upper), np.log(np.maximum(upper, 1e-300)))
    if not np.any(points < -25.0):
        return result
    far = np.minimum(points, -25.0)
    with np.errstate(invalid="ignore"):
        squared = far * far
        # ln of the asymptotic series 1 − 1/z² + 3/z⁴ − 15/z⁶ ...; nine terms are exact to float64 at 25.
        series, term = np.ones_like(far), np.ones_like(far)
        for n in range(1, 10):
            term = term * (-(2 * n - 1) / squared)
            series = series + term
        tail = -0.5 * squared - np.log(-far) - _LOG_ROOT_2_PI + np.log(series)
    return np.where(points < -25.0, tail, result)


@underflow_is_zero
def normal_quantile_of_log(log_p: ArrayLike) -> FloatArray:
    """z with ln P(Z ≤ z) = log_p: quantiles of probabilities too small for a float, by Newton's method.

    Parameters
    ----------
    log_p : array_like
        Logarithms of probabilities, at most 0; −inf gives −inf, 0 gives inf.
    """
    target = np.asarray(log_p, dtype=np.float64)
    lower = np.minimum(target, 0.0)
    # Start: the rational approximation of Abramowitz and Stegun, 26.2.23, in the smaller tail.
    small = lower < -math.log(2.0)
    with np.errstate(divide="ignore"):
        log_tail = np.where(small, lower, np.log(-np.expm1(np.where(small, -1.0, lower))))
    inside = np.isfinite(log_tail)
    log_tail = np.where(inside, log_tail, -1.0)
    t = np.sqrt(-2.0 * log_tail)
    z = -(t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))))
    for _ in range(4):
        log_cdf = log_normal_cdf(z)
        # d/dz ln Φ = φ/Φ; steps stay in the lower tail, where ln Φ is concave and nearly quadratic.
        z = z - (log_cdf - log_tail) * np.exp(log_cdf + 0.5 * z * z + _LOG_ROOT_2_PI)
    z = np.where(small, z, -z)
    return np.where(inside, z, np.where(small, -np.inf, np.inf))


def normal_quantile(p: ArrayLike) -> FloatArray:
    """z with P(Z ≤ z) = p, for p in [0, 1]."""
    chances = np.asarray(p, dtype=np.float64)
    upper = chances > 0.5
    with np.errstate(divide="ignore"):
        z = normal_quantile_of_log(np.log(np.where(upper, 1.0 - chances, chances)))
    return np.where(upper, -z, z)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_STEEP = 0.925  # above this correlation the integrand of the first form is too sharp for the nodes


@underflow_is_zero
def bivariate_normal_cdf(x: ArrayLike, y: ArrayLike, correlation: ArrayLike) -> FloatArray:
    """P(X ≤ x, Y ≤ y) for standard normal X and Y, to about 1e-15 absolutely, element by element.

    Parameters
    ----------
    x, y : array_like
        Limits, ±inf allowed.
    correlation : array_like
        Between −1 and 1, both included.

    References
    ----------
    Drezner, Wesolowsky (1990), "On the computation of the bivariate normal integral", Journal of Statistical
    Computation and Simulation 35; Genz (2004), "Numerical computation of rectangular bivariate and trivariate normal
    and t probabilities", Statistics and Computing 14.
    """
    h, k, r = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (x, y, correlation)))
    shape = h.shape
    # Upper orthant of the mirrored variables; limits beyond _FAR count as infinite.
    h, k = np.clip(-h.ravel(), -_FAR, _FAR), np.clip(-k.ravel(), -_FAR, _FAR)
    r = np.clip(r.ravel(), -1.0, 1.0)
    result = np.empty(h.shape)
    steep = np.abs(r) >= _STEEP
    result[~steep] = _moderate(h[~steep], k[~steep], r[~steep])
    result[steep] = _nearly_degenerate(h[steep], k[steep], r[steep])
    result = np.where(result < 1e-300, 0.0, np.minimum(result, 1.0))  # a remainder of the clipped limits
    return result.reshape(shape)


def _moderate(h: FloatArray, k: FloatArray, r: FloatArray) -> FloatArray:
    """P(X > h, Y > k) as Φ(−h)Φ(−k) + an integral over the angle whose sine is the correlation (Drezner)."""
    angle = np.arcsin(r)
    sine = np.sin(0.5 * angle[:, None] * (_NODES + 1.0))
    exponent = (sine * (h * k)[:, None] - 0.5 * (h * h + k * k)[:, None]) / (1.0 - sine * sine)
    return normal_cdf(-h) * normal_cdf(-k) + angle / (4.0 * math.pi) * (np.exp(exponent) @ _WEIGHTS)


def _nearly_degenerate(h: FloatArray, k: FloatArray, r: FloatArray) -> FloatArray:
    """P(X > h, Y > k): the value at correlation ±1 less an integral, whose sharp part is done in closed form (Genz)."""
    negative = r < 0
    k = np.where(negative, -k, k)
    product = h * k
    gap = np.square(h - k)
    distance = np.sqrt(gap)
    slack = (1.0 - r) * (1.0 + r)  # 1 − r²
    a = np.sqrt(slack)
    c, d = (4.0 - product) / 8.0, (12.0 - product) / 16.0
    positive = slack > 0
    safe = np.where(positive, slack, 1.0)
    # The part of the expansion that is integrated in closed form.
    exponent = np.maximum(-0.5 * (gap / safe + product), -745.0)
    closed = a * np.exp(exponent) * (1.0 - c * (gap - slack) * (1.0 - d * gap / 5.0) / 3.0 + c * d * slack**2 / 5.0)
    tail = np.exp(-0.5 * np.clip(product, -700.0, 1400.0)) * math.sqrt(2.0 * math.pi)
    tail = tail * normal_cdf(-distance / np.sqrt(safe)) * distance * (1.0 - c * gap * (1.0 - d * gap / 5.0) / 3.0)
    closed = closed - np.where(product > -100.0, tail, 0.0)
    # The smooth rest.
    s = np.square(0.5 * a[:, None] * (_NODES + 1.0))
    root = np.sqrt(1.0 - s)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = -0.5 * (gap[:, None] / s + product[:, None])
        exact = np.exp(-product[:, None] * s / (2.0 * np.square(1.0 + root))) / root
        rest = np.where(
            exponent > -100.0,
            np.exp(exponent) * (exact - (1.0 + c[:, None] * s * (1.0 + d[:, None] * s))),
            0.0,
        )
    correction = np.where(positive, -(closed + 0.5 * a * (np.nan_to_num(rest) @ _WEIGHTS)) / (2.0 * math.pi), 0.0)
    same = correction + normal_cdf(-np.maximum(h, k))
    # X > h and −Y < k: the strip between h and k where they overlap; the smaller tails keep the digits.
    strip = np.where(h < 0, normal_cdf(k) - normal_cdf(h), normal_cdf(-h) - normal_cdf(-k))
    opposite = np.where(k > h, strip, 0.0) - correction
    return np.where(negative, opposite, same)
