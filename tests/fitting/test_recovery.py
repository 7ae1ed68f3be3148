"""Simulated fleets with known truth: parameters come back within sampling error, under the conditions of real fleets.

A mode of 3 %, units with fewer readings than coefficients, a channel missing on half of the units, sensors at
9062 ± 0.5. "Within sampling error" is four standard errors of an estimator that knew every unit's mode and curve,
widened by what the units' own uncertainty adds.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cem.basis.families import Polynomial
from cem.errors import CemWarning
from cem.fitting.estimator import FailureModeEM
from cem.panel.panel import Panel

LEVEL = 9062.0


def simulate(rng, n_units, weights, means, factors, sigma, *, n_readings, missing=0.2, half=None, level=LEVEL):
    """Power-series curves on [0, 1]; means (K, C, p), factors (K, C, p, p), sigma (K, C); exact mode counts."""
    K, C, p = means.shape
    counts = np.round(np.asarray(weights) * n_units).astype(int)
    counts[0] += n_units - counts.sum()
    modes = rng.permutation(np.repeat(np.arange(K), counts))
    times, values = [], []
    for l, k in enumerate(modes):
        t = np.sort(rng.uniform(0.0, 1.0, int(rng.integers(*n_readings))))
        T = means[k] + np.einsum("cij,cj->ci", factors[k], rng.normal(size=(C, p)))
        x = np.vander(t, p, increasing=True) @ T.T + sigma[k] * rng.normal(size=(len(t), C))
        x[rng.random(x.shape) < missing] = np.nan
        if half is not None and l % 2:
            x[:, half] = np.nan
        if np.isnan(x).all():
            x[0, 0] = T[0] @ t[0] ** np.arange(p) + sigma[k, 0] * rng.normal()
        times.append(t)
        values.append(level + x)
    return Panel.from_arrays(times, values), modes


def fit(panel, n_modes, p, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return FailureModeEM(n_modes, basis=Polynomial(p - 1), random_state=0, **options).fit(panel)


def power_series(em, p):
    """Means and covariances of the fit in powers of t, the level taken off."""
    grid = np.linspace(0.0, 1.0, p)
    to_powers = np.linalg.solve(np.vander(grid, p, increasing=True), em.model_.bases[0](grid))
    means = em.means_ @ to_powers.T
    means[..., 0] -= LEVEL
    return means, to_powers @ em.covariances_ @ to_powers.T


def errors_of(panel, modes, k, covariance, sigma, p):
    """Standard errors of a mode's mean coefficients, its units' modes known: generalised least squares, by channel."""
    result = []
    for c in range(panel.n_channels):
        information = np.zeros((p, p))
        for l in np.flatnonzero(modes == k):
            rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
            seen = ~np.isnan(panel.values[rows, c])
            design = np.vander(panel.times[rows][seen], p, increasing=True)
            V = design @ covariance[c] @ design.T + sigma[c] ** 2 * np.eye(len(design))
            information += design.T @ np.linalg.solve(V, design)
        result.append(np.sqrt(np.diagonal(np.linalg.inv(information))))
    return np.array(result)


def check(em, panel, modes, means, factors, sigma, p, *, accuracy):
    K = len(means)
    assigned = em.responsibilities_.argmax(axis=1)
    # Modes are numbered by falling weight, and so are the true ones here.
    assert np.mean(assigned == modes) >= accuracy
    found_means, found_covariances = power_series(em, p)
    for k in range(K):
        N = int((modes == k).sum())
        covariance = factors[k] @ np.swapaxes(factors[k], 1, 2)
        errors = errors_of(panel, modes, k, covariance, sigma[k], p)
        assert (np.abs(found_means[k] - means[k]) < 4 * errors).all(), (k, (found_means[k] - means[k]) / errors)
        assert abs(em.weights_[k] - N / len(modes)) < 0.5 / np.sqrt(len(modes))
        for c in range(panel.n_channels):
            n = np.isfinite(panel.values[np.repeat(modes, np.diff(panel.offsets)) == k, c]).sum()
            ratio = em.noise_variances_[k, c] / sigma[k, c] ** 2
            # A unit spends up to p of its readings on its own curve.
            spare = max(n - p * N, n / (2.0 * p))
            assert abs(ratio - 1) < 4 * np.sqrt(2.0 / spare), (k, c, ratio)
            # Spread of the curves in the middle of life: a variance of N units, blurred by their noise.
            phi = 0.5 ** np.arange(p)
            true = phi @ covariance[c] @ phi
            blurred = true + sigma[k, c] ** 2
            ratio = (phi @ found_covariances[k, c] @ phi) / true
            assert abs(ratio - 1) < 4 * np.sqrt(2.0 / N) * blurred / true, (k, c, ratio)


def truth(K, C, p, rng, gap):
    steps = rng.choice([-1.0, 1.0], size=(K, C, p)) * np.arange(1, K + 1)[:, None, None]
    means = rng.normal(size=(1, C, p)) + gap * steps
    roots = 0.25 * rng.normal(size=(K, C, p, p)) + 0.25 * np.eye(p)
    factors = np.linalg.cholesky(roots @ np.swapaxes(roots, 2, 3) + 0.01 * np.eye(p))
    return means, factors, rng.uniform(0.1, 0.3, size=(K, C))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_mode_of_three_percent_is_found_and_measured(seed):
    """The rare failure is the one that a fleet's owner does not know of yet."""
    rng = np.random.default_rng(seed)
    means, factors, sigma = truth(3, 4, 2, rng, 0.6)
    weights = [0.62, 0.35, 0.03]
    panel, modes = simulate(rng, 600, weights, means, factors, sigma, n_readings=(6, 25))
    em = fit(panel, 3, 2)
    check(em, panel, modes, means, factors, sigma, 2, accuracy=0.97)
    rare = modes == 2
    assert (em.responsibilities_[rare].argmax(axis=1) == 2).mean() > 0.85


def test_units_shorter_than_the_basis_still_teach_the_mode():
    """One to five readings for three coefficients: no unit's own curve is determined, the modes' curves are."""
    rng = np.random.default_rng(2)
    means, factors, sigma = truth(2, 3, 3, rng, 0.8)
    panel, modes = simulate(rng, 500, [0.6, 0.4], means, factors, sigma, n_readings=(1, 6), missing=0.2)
    counts = panel.counts
    assert np.mean(counts < 3) > 0.5
    em = fit(panel, 2, 3, n_init=3)
    check(em, panel, modes, means, factors, sigma, 3, accuracy=0.9)


def test_a_channel_missing_on_half_of_the_units_is_measured_on_the_other_half():
    """Half of the fleet lacks a sensor: neither the modes nor the sensor's own parameters may suffer."""
    rng = np.random.default_rng(3)
    means, factors, sigma = truth(2, 3, 2, rng, 0.6)
    panel, modes = simulate(rng, 400, [0.7, 0.3], means, factors, sigma, n_readings=(5, 20), half=1)
    assert np.mean(panel.counts[:, 1] == 0) >= 0.5
    em = fit(panel, 2, 2, n_init=6)
    check(em, panel, modes, means, factors, sigma, 2, accuracy=0.95)
    without = np.arange(400) % 2 == 1
    assert np.mean(em.responsibilities_[without].argmax(axis=1) == modes[without]) > 0.93


def test_a_few_labels_name_the_modes():
    """Ten labelled units are enough for every mode to carry its own name."""
    rng = np.random.default_rng(4)
    means, factors, sigma = truth(2, 3, 2, rng, 0.5)
    panel, modes = simulate(rng, 200, [0.7, 0.3], means, factors, sigma, n_readings=(5, 20))
    names = np.array(["bearing", "winding"], dtype=object)
    labels = [names[k] if l < 10 else None for l, k in enumerate(modes)]
    em = fit(panel.with_modes(labels), 2, 2, n_init=6)
    assert em.mode_labels_ == ("bearing", "winding")
    assert np.mean(em.predict(panel) == names[modes]) > 0.95
