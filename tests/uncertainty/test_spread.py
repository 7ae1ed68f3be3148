"""How far the law of the parameters reaches: wider where modes overlap, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.fitting.fitted_problem import fitted_problem
from cem.mixture.component_draws import components_of_draws
from cem.uncertainty.replicates import bootstrap
from cem.uncertainty.resampling import ParametricDraws
from cem.uncertainty.spread import SPREADS, _about, calibrated_spread


def fitted(gap, n_units=40):
    rng = np.random.default_rng(5)
    levels = np.where(rng.random(n_units) < 0.5, 0.0, gap) + 0.5 * rng.standard_normal(n_units)
    times = [np.arange(6.0)] * n_units
    panel = cem.Panel.from_arrays(times, [(x + 0.3 * rng.standard_normal(6))[:, None] for x in levels])
    em = cem.FailureModeEM(2, basis=cem.Constant(), covariance="pooled", noise="pooled", random_state=0).fit(panel)
    problem = fitted_problem(em, panel)
    draws = bootstrap(problem.mixture, problem.parameters, n=40, kind="parametric").usable
    return problem.parameters, draws, problem.setting.statistics


def test_overlapping_modes_need_a_wider_law_than_modes_that_are_far_apart():
    """Sure calls between modes that overlap would stay surer than right."""
    close, apart = (calibrated_spread(*fitted(gap), 3) for gap in (1.2, 12.0))
    assert SPREADS[0] <= apart <= close <= SPREADS[-1]
    assert apart == SPREADS[0] < close


def test_the_same_seed_gives_the_same_spread():
    fit, draws, statistics = fitted(1.5)
    assert calibrated_spread(fit, draws, statistics, 3, 4) == calibrated_spread(fit, draws, statistics, 3, 4)


def test_the_modes_of_a_drawn_fleet_are_those_that_its_seed_gives():
    """The calls would be held against the modes of another fleet."""
    fit, _, statistics = fitted(12.0)
    fleets = ParametricDraws(statistics, fit)
    modes, fresh = fleets.modes(np.random.default_rng(3)), fleets.draw(np.random.default_rng(3))
    low, high = (fresh.projections[modes == k, 0] for k in (0, 1))
    assert max(low.max(), high.max()) > min(low.min(), high.min())
    assert low.max() < high.min() or high.max() < low.min()


def test_components_about_the_fit_itself_do_not_move():
    fit, draws, _ = fitted(1.5)
    law = components_of_draws(fit, draws, 3, reflect=True, record={})
    moved = _about(law, fit, fit).parameters
    for name in ("weights", "means", "factors", "noise_variances"):
        np.testing.assert_allclose(getattr(moved, name), getattr(law.parameters, name), rtol=1e-12, atol=1e-14)


def test_one_mode_makes_no_calls():
    fit = fitted(1.5)[0]
    one = fit.ordered([0])
    assert calibrated_spread(one, [one], fitted(1.5)[2], 3) == pytest.approx(1.0)


def test_a_longer_menu_changes_no_factor_within_the_shorter_one(monkeypatch):
    """Where modes are nearly apart, a fit would depend on factors that it never needs."""
    case = fitted(2.1)
    found = calibrated_spread(*case, 3)
    assert SPREADS[0] < found < SPREADS[-1]
    monkeypatch.setattr("cem.uncertainty.spread.SPREADS", (*SPREADS, 4.0, 5.0))
    assert calibrated_spread(*case, 3) == found
