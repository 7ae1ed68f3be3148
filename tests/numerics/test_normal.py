"""Normal probabilities in NumPy, held to SciPy: first passage and lifetimes stand on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from cem.numerics.normal import (
    bivariate_normal_cdf,
    log_normal_cdf,
    normal_cdf,
    normal_density,
    normal_quantile,
    normal_quantile_of_log,
)


def test_one_dimension_agrees_with_scipy_into_the_far_tails() -> None:
    """A unit ten times older than any other asks for probabilities of 1e-500."""
    z = np.r_[np.linspace(-80, 9, 700), -25.0, -np.inf, np.inf]
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(log_normal_cdf(z), special.log_ndtr(z), rtol=3e-14, atol=1e-300)
    np.testing.assert_allclose(normal_cdf(z), special.ndtr(z), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(normal_density(z), stats.norm.pdf(z), rtol=1e-12, atol=1e-300)
    p = np.array([0.0, 1e-300, 1e-20, 0.01, 0.3, 0.5, 0.5000001, 0.9, 1 - 1e-12, 1.0])
    np.testing.assert_allclose(normal_quantile(p), special.ndtri(p), rtol=1e-13, atol=1e-15)
    log_p = -np.logspace(-8, 5, 60)
    np.testing.assert_allclose(normal_quantile_of_log(log_p), special.ndtri_exp(log_p), rtol=1e-11)


def by_quadrature(x: float, y: float, r: float) -> float:
    """∫ φ(u) Φ((y − ru)/√(1 − r²)) du over u ≤ x."""
    steep = math.sqrt((1 - r) * (1 + r))
    points = [p for p in ((y / r) if r else 0.0,) if -9 < p < min(x, 9)]
    return integrate.quad(
        lambda u: stats.norm.pdf(u) * stats.norm.cdf((y - r * u) / steep),
        -9, min(x, 9), points=points or None, epsabs=1e-14, epsrel=1e-13, limit=400,
    )[0]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.0, 0.3, -0.9, 0.92, 0.93, -0.93, 0.99, -0.9999])
def test_two_dimensions_agree_with_quadrature(r: float) -> None:
    """Both branches and their seam at .925, with limits nearly equal and nearly opposite, where they are hardest."""
    rng = np.random.default_rng(0)
    x, y = 2 * rng.normal(size=12), 2 * rng.normal(size=12)
    y[:3], y[3:6] = x[:3] + 1e-3, -x[3:6] + 1e-3
    expected = [by_quadrature(a, b, r) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(bivariate_normal_cdf(x, y, r), expected, atol=1e-14)


def test_two_dimensions_agree_with_scipys_own() -> None:
    """An independent implementation, to its own tolerance."""
    rng = np.random.default_rng(1)
    for r in (-0.7, 0.2, 0.95):
        points = rng.normal(size=(6, 2))
        law = stats.multivariate_normal([0, 0], [[1, r], [r, 1]])
        np.testing.assert_allclose(bivariate_normal_cdf(points[:, 0], points[:, 1], r), law.cdf(points), atol=2e-6)


def test_two_dimensions_at_the_edges() -> None:
    """Infinite limits and correlation ±1 (a channel whose slope is certain) have plain answers."""
    phi = stats.norm.cdf
    x = np.array([np.inf, np.inf, -np.inf, 1.0, 1.0, -0.5, 0.7])
    y = np.array([1.0, np.inf, 0.0, 2.0, 2.0, 0.2, -1.0])
    r = np.array([0.5, 1.0, 0.99, 1.0, -1.0, -1.0, 1 - 1e-12])
    expected = [phi(1), 1.0, 0.0, phi(1), phi(1) - phi(-2), 0.0, phi(-1)]
    np.testing.assert_allclose(bivariate_normal_cdf(x, y, r), expected, atol=1e-15)
    assert bivariate_normal_cdf(0.0, 0.0, 0.5) == pytest.approx(1 / 3, abs=1e-15)  # 1/4 + asin(r)/2π
    assert bivariate_normal_cdf(np.zeros((2, 1)), np.zeros(3), 0.0).shape == (2, 3)
