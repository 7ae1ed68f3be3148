"""Remaining lives under reading conditions, against dense Gaussians of readings placed before an assumed failure."""

from __future__ import annotations

import numpy as np
import pytest
from condition_cases import conditioned_model, dense, log_normal, panel_for, prior_weights, seen_parts, with_random

from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.shifted_form import shifted_form
from cem.prognosis.remaining_life import RemainingLife

LAWS = Lifetimes.fit(np.array([8.0, 9.0, 11.0, 12.0]), np.full((4, 2), 0.5))


def has_common_products(model):
    return any(j >= 0 for entries in model.conditions.common for _, j in entries)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("seed", range(12))
def test_densities_are_those_of_readings_before_the_assumed_failure(seed, rank):
    """A common product with a basis function depends on the time to failure, so a life has to be assumed first."""
    agrees(conditioned_model(seed, rank=rank, time_axis="to_failure"), seed)


@pytest.mark.parametrize("functions", [(), (0,), (1,), (2,), (0, 2), (1, 2)])
@pytest.mark.parametrize("rank", [0, 2])
def test_coefficients_without_variance_do_not_disturb_the_others(rank, functions):
    """The kernel of linked channels divides by variances: what does not vary must not be divided."""
    for seed in range(4):
        agrees(with_random(conditioned_model(seed, rank=rank, time_axis="to_failure"), functions), seed)


def agrees(model, seed):
    panel = panel_for(model, seed + 10, n_units=4, failed=True)
    grid = np.array([0.2, 1.0, 3.0])
    found = RemainingLife(model, lifetimes=LAWS).log_densities(panel, grid)
    ages = panel.times[np.asarray(panel.offsets[1:]) - 1]
    for unit in range(panel.n_units):
        for i, left in enumerate(grid):
            parts, x = seen_parts(panel, unit, ages[unit] + left)
            for k in range(model.n_modes):
                expected = log_normal(x, *dense(model, k, parts))
                np.testing.assert_allclose(found[unit, i, k], expected, rtol=1e-7, atol=1e-6)


def test_the_cases_have_common_products():
    """Else the test above would not test them."""
    assert sum(has_common_products(conditioned_model(s, time_axis="to_failure")) for s in range(12)) >= 3


@pytest.mark.parametrize("seed", range(12))
def test_the_shifted_form_is_the_same_mixture(seed):
    model = conditioned_model(seed, rank=1, time_axis="to_failure")
    panel = panel_for(model, seed + 10, failed=True)
    other = shifted_form(model)
    assert not has_common_products(other)
    np.testing.assert_allclose(other.score_samples(panel), model.score_samples(panel), rtol=1e-9)
    np.testing.assert_allclose(other.predict_proba(panel), model.predict_proba(panel), atol=1e-9)


def test_lives_start_from_the_units_own_mode_probabilities():
    """Units of different sites, none of which read anything that tells modes apart, have their sites' shares."""
    model = conditioned_model(3, time_axis="to_failure")
    panel = panel_for(model, 5, failed=True)
    unread = panel._replace(values=np.full(panel.values.shape, np.nan))
    law = RemainingLife(model, lifetimes=LAWS).predict(unread)
    np.testing.assert_allclose(law.mode_probabilities, prior_weights(model, unread), rtol=1e-9)
