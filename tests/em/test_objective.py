"""`objectives_` never falls, on random fleets of every family of laws; where it may, a warning says so."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cem
from cem.errors import ConvergenceWarning, FitError

N_PROBLEMS = 24


def random_fleet(seed: int) -> tuple[cem.Panel, int]:
    """Ragged and rounded readings, missing cells, noises two decades apart, a third of the units still running."""
    rng = np.random.default_rng(seed)
    n_units, n_modes = int(rng.integers(12, 40)), int(rng.integers(1, 4))
    n, modes = int(rng.integers(4, 15)), rng.integers(0, n_modes, n_units)
    times = np.sort(rng.uniform(1.0, 10.0, (n_units, n)), axis=1)
    channels = [
        rng.normal(0.0, 1.0, n_modes)[modes][:, None] * times
        + 10.0 ** rng.uniform(-2.0, 0.0) * rng.normal(size=(n_units, n))
        + rng.normal(0.0, 0.5, (n_units, 1))
        for _ in range(int(rng.integers(2, 4)))
    ]
    values = np.stack(channels, axis=-1)
    if seed % 3 == 0:
        values = np.round(values, 1)
    values[rng.random(values.shape) < 0.1] = np.nan
    failures = times[:, -1] + rng.gamma(2.0, 1.0, n_units) * (1.0 + modes)
    failures[rng.random(n_units) < 0.3] = np.nan
    return cem.Panel.from_arrays(times, values, failure_times=failures), n_modes


def falls(options: dict[str, object]) -> tuple[int, list[tuple[int, float, bool]]]:
    """Number of fits, and of those whose objective fell: seed, by how much, and whether a warning said so."""
    n_fits, found = 0, []
    for seed in range(N_PROBLEMS):
        panel, n_modes = random_fleet(seed)
        em = cem.FailureModeEM(
            n_modes,
            basis=cem.Polynomial(seed % 2),
            random_state=seed,
            n_init=2,
            max_iter=60,
            accelerate=("auto", "none")[seed // 2 % 2],
            **options,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                em.fit(panel)
            except FitError:  # too few units for so many modes
                continue
        n_fits += 1
        told = any(issubclass(w.category, ConvergenceWarning) and "fell in" in str(w.message) for w in caught)
        fall = -np.diff(em.objectives_).min(initial=0.0)
        assert em.log_likelihoods_[-1] == pytest.approx(em.log_likelihood_, rel=1e-12)
        if fall > 1e-12 * (panel.counts.sum() + abs(em.log_likelihood_)):
            found.append((seed, float(fall), told))
        else:
            assert not told
    return n_fits, found


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariance": "pooled"},
        {"covariance": "diagonal"},
        {"linking_rank": 1},
        {"time_axis": "to_failure", "lifetimes": "lognormal"},
        {"time_axis": "to_failure", "lifetimes": "weibull"},
        {"time_axis": "to_failure", "lifetimes": "linked", "linking_rank": 1},
    ],
    ids=str,
)
def test_the_objective_never_falls(options):
    """A fall means that a fit may end below where it has been, and says that it has converged."""
    n_fits, found = falls(options)
    assert n_fits > N_PROBLEMS // 2
    assert not found


@pytest.mark.slow
def test_empirical_laws_say_so_where_it_falls():
    """Smoothed lives are not maximum likelihood: the user must hear that the last pass is not the best."""
    n_fits, found = falls({"time_axis": "to_failure", "lifetimes": "empirical"})
    assert n_fits > N_PROBLEMS // 2
    assert found and all(told for *_, told in found)
