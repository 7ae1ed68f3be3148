"""The generator of benchmarks/published_simulation.py draws what its specification says."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from places import BENCHMARKS

sys.path.insert(0, str(BENCHMARKS))

from common import published_simulation as simulation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fleet() -> simulation.Fleet:
    return simulation.drawn((1500, 1500), 7)


def test_coefficients_have_the_means_and_covariances_written_down(fleet) -> None:
    """Four standard errors of a mean, and a tenth of each variance; the covariances are positive definite."""
    for k, mode in enumerate(simulation.MODES):
        own = fleet.coefficients[fleet.modes == k]
        for j in range(2):
            S = mode.covariance(j)
            assert np.linalg.eigvalsh(S)[0] > 0
            np.testing.assert_allclose(own[:, j].mean(axis=0), mode.means[j], atol=4 * np.sqrt(S.max() / len(own)))
            assert np.all(np.abs(own[:, j].mean(axis=0) - mode.means[j]) < 4 * np.sqrt(np.diag(S) / len(own)))
            np.testing.assert_allclose(own[:, j].var(axis=0), np.diag(S), rtol=0.15)


def test_readings_end_at_the_failure_and_carry_the_noise_written_down(fleet) -> None:
    """Times 1, 2, … and the life, which is no integer; residuals from the true curves have the noise's sd."""
    for unit in (0, 2999):
        own = slice(fleet.panel.offsets[unit], fleet.panel.offsets[unit + 1])
        times = fleet.panel.times[own]
        np.testing.assert_array_equal(times[:-1], np.arange(1.0, len(times)))
        assert times[-1] == fleet.lives[unit] and times[-1] - times[-2] <= 1.0
    for k, mode in enumerate(simulation.MODES):
        for j in range(2):
            rest = []
            for unit in np.flatnonzero(fleet.modes == k)[:200]:
                own = slice(fleet.panel.offsets[unit], fleet.panel.offsets[unit + 1])
                curve = mode.designs[j](fleet.panel.times[own]) @ fleet.coefficients[unit, j]
                rest.append(fleet.panel.values[own, j] - curve)
            assert np.concatenate(rest).std() == pytest.approx(mode.noise[j], rel=0.03)


def test_lives_follow_hazard_times_survival(fleet) -> None:
    """Against rejection from that density on [1, 200], unit by unit: the two samples of lives agree (Kolmogorov)."""
    rng = np.random.default_rng(3)
    grid = np.arange(0.0, 200.0 + 0.025, 0.05)
    for k, mode in enumerate(simulation.MODES):
        own = np.flatnonzero(fleet.modes == k)
        H = mode.cumulative_hazard(fleet.coefficients[own], grid)
        density = np.gradient(H, grid, axis=1) * np.exp(-H)
        rejected = np.empty(len(own))
        for i, one in enumerate(density):
            while True:
                t = rng.uniform(1.0, 200.0)
                if rng.uniform(0.0, one.max()) < np.interp(t, grid, one):
                    rejected[i] = t
                    break
        both = np.concatenate([fleet.lives[own], rejected])
        order = np.argsort(both)
        steps = np.where(order < len(own), 1.0, -1.0) / len(own)
        assert np.abs(np.cumsum(steps)).max() < 1.95 * np.sqrt(2 / len(own))  # exceeded once in a thousand
    for k, expected in enumerate((68.0, 110.0)):  # published of 60 units a mode, whose mean has a standard error of 2
        assert fleet.lives[fleet.modes == k].mean() == pytest.approx(expected, abs=4.0)


def test_the_figures_published_of_oracles(fleet) -> None:
    """Mode known with probability .866 and .998 at 10 and 20; realised lives 10.8 from their means at 20, 9.0 at 50.

    The latter two were published of 20 units, and have standard errors of about 2.
    """
    for age, expected in ((10.0, 0.866), (20.0, 0.998)):
        some = fleet[np.flatnonzero(fleet.lives > age)[::3]]
        found = (simulation.log_densities(some, age).argmax(axis=1) == some.modes).mean()
        assert found == pytest.approx(expected, abs=3.5 * np.sqrt(expected * (1 - expected) / len(some.modes)))
    for age, expected in ((20.0, 10.8), (50.0, 9.0)):
        alive = fleet[np.flatnonzero(fleet.lives > age)]
        off = np.abs(alive.lives - age - simulation.mean_residual_lives(alive, age)).mean()
        assert off == pytest.approx(expected, abs=1.5)
