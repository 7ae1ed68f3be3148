"""`converged_` says whether something is left to gain, in every unit of measurement."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from test_benchmarks import script

import cem
from cem.em.loop import _only_rounding_is_left
from cem.errors import ConvergenceWarning


@pytest.fixture(scope="module")
def benchmark(request):
    """The generator of benchmarks/convergence.py, so that the figure it reports is that of these tests."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(str(request.config.rootpath / "benchmarks"))
    yield script("convergence")
    monkeypatch.undo()


def test_easy_fits_converge_in_every_unit_of_measurement(benchmark):
    """Gains of rounding were taken for ascent, or a start that had stopped early was returned: 18 of 270 warned."""
    told = []
    for name, measured in benchmark.MEASURED.items():
        for seed in (3, 7, 13, 20, 23, 28):
            with warnings.catch_warnings():
                warnings.simplefilter("error", ConvergenceWarning)
                try:
                    cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=seed).fit(
                        benchmark.easy_panel(seed, measured)
                    )
                except ConvergenceWarning as warning:
                    told.append((name, seed, str(warning)))
    assert not told


@pytest.mark.parametrize("seed", [0, 3, 4, 6, 7])
def test_hard_fits_that_are_cut_short_say_so(benchmark, seed):
    """A rule that takes slow ascent for rounding would end them too early, without a word."""
    row = benchmark.hard_row(seed)
    assert row["told after 30 passes"] and row["converged"]
    assert row["gained by further plain passes"] < row["tolerance"]


@pytest.mark.parametrize(
    "gains, expected",
    [
        ([3e-14, -6e-14, 7e-14, -6e-14], True),  # to and fro
        ([1e-14, 0.0, -1e-9, 1.5e-9], True),  # rounding of ℓ is coarser than usual: the fall says how coarse
        ([1e-14, 2e-14, 4e-14, 8e-14], False),  # leaving a saddle: small gains, and no falls
        ([1e-13, 1e-13, 1e-13, 1e-13], False),
        ([1e-3, -1e-14, 1e-14, 1e-3], False),  # an ascent after rest
        ([8e-12, 4e-12, 2e-12, 1e-12], False),  # Aitken may judge these
    ],
)
def test_rounding_is_told_from_ascent(gains, expected):
    """Either mistake is silent: a fit that ends at a saddle, or one that says that it has not converged."""
    history = np.concatenate([[-10.0], -10.0 + np.cumsum(gains)])
    assert _only_rounding_is_left(history.tolist(), 1e-10) is expected


def test_a_start_near_a_saddle_goes_on():
    """Two modes that are nearly one: ℓ rises slowly for a hundred passes, and the fit must not end there."""
    rng = np.random.default_rng(0)
    values = 0.3 * rng.normal(size=(60, 12)) + rng.normal(size=(60, 1)) + 3.0 * (np.arange(60) % 2)[:, None]
    panel = cem.Panel.from_arrays(None, values)
    rho = 0.5 + 0.1 * rng.normal(size=(60, 1)) * np.array([1.0, -1.0])
    em = cem.FailureModeEM(2, basis=cem.Polynomial(0)).fit(panel, init=rho)
    best = cem.FailureModeEM(2, basis=cem.Polynomial(0), random_state=0).fit(panel)
    assert em.converged_ and em.log_likelihood_ > best.log_likelihood_ - 1e-3
