"""Correlation of residuals in time: white noise is found white, AR(1) noise is found, κ is what theory says."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.basis.families import Polynomial
from cem.errors import OptionError
from cem.model.diagnostics import residuals, time_correlation
from cem.panel.panel import Panel


def fleet(memory: float, n: int = 60, seed: int = 0) -> Panel:
    """Straight lines in white noise (channel a) and in AR(1) noise of this memory (channel b), variance 1 both."""
    rng = np.random.default_rng(seed)
    t = np.arange(n, dtype=float)
    values = []
    for _ in range(40):
        noise = rng.normal(size=n)
        for i in range(1, n):
            noise[i] = memory * noise[i - 1] + np.sqrt(1 - memory**2) * noise[i]
        lines = rng.normal(size=2)[:, None] * 3 + rng.normal(size=2)[:, None] * t / 10
        values.append(np.column_stack([lines[0] + rng.normal(size=n), lines[1] + noise]))
    return Panel.from_arrays(t, np.stack(values), channels=["a", "b"])


def model_of(panel: Panel) -> cem.FailureModeModel:
    return cem.FailureModeEM(1, basis=Polynomial(1), random_state=0).fit(panel).model_


def test_white_noise_is_white_and_ar_noise_is_not() -> None:
    """The diagnostic tells the two channels apart, and κ of AR(1) is (1 − φ)/(1 + φ)."""
    panel = fleet(0.6, n=150)
    found = time_correlation(model_of(panel), panel)
    np.testing.assert_array_equal(found.needed, [False, True])
    assert found.information[0] == 1.0
    assert found.autocorrelations[1, 0] == pytest.approx(0.6, abs=0.08)
    assert found.information[1] == pytest.approx(0.4 / 1.6, rel=0.3)
    assert "not white" in str(found) and str(found).count("not white") == 1


def test_fitted_curves_do_not_pass_for_negative_correlation() -> None:
    """Units of six readings under a line: residuals pull each other apart, and that is taken out."""
    panel = fleet(0.0, n=6, seed=3)
    found = time_correlation(model_of(panel), panel, n_lags=2)
    assert np.all(np.abs(found.autocorrelations) < 3 * found.standard_errors)


def test_kappa_makes_posteriors_honest() -> None:
    """What κ is for: n correlated readings counted κ n times give the error of a mean that is really there."""
    memory, n = 0.6, 200
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(400, n))
    for i in range(1, n):
        noise[:, i] = memory * noise[:, i - 1] + np.sqrt(1 - memory**2) * noise[:, i]
    kappa = (1 - memory) / (1 + memory)
    assert noise.mean(axis=1).std() == pytest.approx(1 / np.sqrt(kappa * n), rel=0.1)


def test_residuals_are_standardised_and_missing_cells_stay_missing() -> None:
    """Unit variance where nothing is fitted closely; NaN where there was no reading; the panel's order."""
    panel = fleet(0.0)
    values = panel.values.copy()
    values[5, 0] = np.nan
    holed = panel._replace(values=values)
    epsilon, leverages = residuals(model_of(panel), holed)
    assert np.isnan(epsilon[5, 0]) and np.isfinite(np.delete(epsilon[:, 0], 5)).all()
    assert np.nanvar(epsilon[:, 0]) + np.nanmean(leverages[:, 0]) == pytest.approx(1.0, abs=0.05)
    assert epsilon.shape == panel.values.shape


def test_few_readings_give_no_verdict() -> None:
    """Two readings a unit: no lag 2, no claim."""
    panel = Panel.from_arrays([0.0, 1.0], np.random.default_rng(0).normal(size=(30, 2, 1)))
    found = time_correlation(model_of(panel), panel, n_lags=3)
    assert np.isnan(found.autocorrelations[0, 1:]).all() and 0 < found.information[0] <= 1
    with pytest.raises(OptionError, match="n_lags is 0"):
        time_correlation(model_of(panel), panel, n_lags=0)
