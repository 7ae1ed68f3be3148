"""Fits whose columns are random, of a mode or of the fleet, as a user asks for them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cem
from cem.covariates import Linear
from cem.errors import CemWarning, OptionError


def fleet(seed: int, n_units: int = 40, n_channels: int = 2) -> cem.Panel:
    """Loads and three regimes that shift and stretch the readings of units that wear; all units failed."""
    rng = np.random.default_rng(seed)
    times, values, load, state = [], [], [], []
    for l in range(n_units):
        n = int(rng.integers(4, 16))
        t, w, g = np.sort(rng.uniform(1.0, 10.0, n)), rng.normal(size=n), np.arange(n) % 3
        slope = np.where(np.arange(n_channels) % 2, 1.0, -1.0) * (1.0 if l % 2 else 0.2)
        x = rng.normal(size=n_channels) + slope * t[:, None] + 0.5 * w[:, None] + 0.2 * rng.normal(size=(n, n_channels))
        times.append(t)
        values.append((1.0 + 0.5 * g[:, None]) * x + 2.0 * g[:, None])
        load.append(w)
        state.append([f"g{i}" for i in g])
    failures = [t[-1] + rng.gamma(2.0, 0.5) for t in times]
    return cem.Panel.from_arrays(
        times, values, failure_times=failures, covariates={"load": load, "state": state}
    )  # fmt: skip


def fitted(panel: cem.Panel, n_modes: int = 2, **options: object) -> cem.FailureModeEM:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        given = {"basis": cem.Polynomial(1), "n_init": 2, "max_iter": 200, "random_state": 0} | options
        return cem.FailureModeEM(n_modes, **given).fit(panel)


@pytest.mark.parametrize("by_mode", [False, True])
def test_a_common_function_of_the_basis_has_one_coefficient_in_the_panels_units(by_mode):
    """With a covariate by mode beside it, the modes would get slopes of their own that nobody asked for."""
    em = fitted(fleet(0), common_columns=[1], random_columns=[0], covariates=[Linear("load", by_mode=by_mode)])
    np.testing.assert_allclose(em.means_[0, :, 1], em.means_[1, :, 1], rtol=1e-10)
    assert np.abs(em.means_[0, :, 0] - em.means_[1, :, 0]).max() > 1e-3


@pytest.mark.parametrize("linking_rank", [0, 1])
def test_only_random_columns_vary_from_unit_to_unit(linking_rank):
    """Forecasts would be wider than the model says; and where channels are linked, it could not be given at all."""
    em = fitted(fleet(1), basis=cem.Polynomial(2), random_columns=[0, 2], linking_rank=linking_rank, n_modes=1)
    covariance = em.model_.parameters(0, 0).covariance
    assert not covariance[1].any() and not covariance[:, 1].any()
    assert (np.linalg.eigvalsh(covariance[np.ix_([0, 2], [0, 2])]) > 0).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_modes", [1, 2])
def test_the_objective_never_falls_when_regimes_are_refined(seed, n_modes):
    """The record of a fit would mix likelihoods of readings on different scales."""
    em = fitted(fleet(seed, n_units=12), n_modes, regimes=cem.Regimes("state"), random_columns=[0])
    objectives, logs = em.objectives_, em.log_likelihoods_
    assert np.diff(objectives).min() >= -1e-9 * (1.0 + np.abs(objectives).max())
    assert logs[-1] == pytest.approx(em.log_likelihood_, rel=1e-12)
    assert np.abs(np.diff(logs)).max() < 0.5 * np.abs(logs).max()


@pytest.mark.parametrize(
    "options", [{"random_columns": {None: "none", "x1": "all", "x2": "all"}}, {"covariates": {None: ["load"]}}]
)
def test_what_is_said_of_all_channels_is_not_said_of_lives(options):
    """Lives linked to the channels would depend on the load at the last reading, or not vary at all."""
    panel = fleet(2)
    em = fitted(panel, linking_rank=1, time_axis="to_failure", n_modes=1, **options)
    law = em.lifetimes_.laws[0]
    logs = np.log(panel.failure_times)
    assert law.location == pytest.approx(logs.mean(), abs=0.05)
    assert law.scale < 2.0 * logs.std()


@pytest.mark.parametrize("time_axis", ["forward", "to_failure"])
def test_links_without_random_columns_are_refused(time_axis):
    """Factors that channels share are shared between random coefficients; none would be linked, and nobody told."""
    with pytest.raises(OptionError, match="random columns, can share 0 factors at most"):
        fitted(fleet(3), linking_rank=1, time_axis=time_axis, random_columns="none")
