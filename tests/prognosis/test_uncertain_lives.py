"""Remaining lives that average over the law of the parameters."""

from __future__ import annotations

import numpy as np
import pytest
from uncertain_cases import uncertain

import cem
from cem.errors import OptionError
from cem.lifetimes.lifetimes import Lifetimes
from cem.prognosis.remaining_life import RemainingLife


@pytest.fixture(scope="module")
def fit():
    fleet = cem.datasets.load_demo_fleet().select_channels(["vibration", "temperature"])
    em = cem.FailureModeEM(
        2, basis=cem.Polynomial(1), covariance="pooled", time_axis="to_failure", n_init=2, random_state=0
    ).fit(fleet)
    return em, fleet


def test_laws_of_lifetimes_are_uncertain_too(fit, tmp_path):
    """A fleet of few failures would give intervals of lives that are too short."""
    em, fleet = fit
    model = em.model_.with_uncertainty(em.uncertainty(fleet))
    prognosis = RemainingLife(model)
    laws = prognosis.life_evidence.lifetimes
    assert laws.n_modes == 6 and len({law.location for law in laws.laws}) == 6
    assert prognosis.lifetimes.n_modes == 2  # those of the fit
    running = fleet.until(fleet.failure_times * 0.6)
    law, plain = prognosis.predict(running), RemainingLife(em.model_).predict(running)
    assert law.mode_labels == plain.mode_labels and law.pmf.shape[2] == 2
    np.testing.assert_allclose(law.median(), plain.median(), rtol=0.2)
    prognosis.save(tmp_path / "life.cem")
    np.testing.assert_array_equal(RemainingLife.load(tmp_path / "life.cem").predict(running).pmf, law.pmf)


def test_a_running_unit_has_the_life_that_a_batch_gives_it(fit):
    """A dashboard and the nightly report would disagree: each had another weight of the modes before the readings."""
    em, fleet = fit
    prognosis = RemainingLife(em.model_.with_uncertainty(em.uncertainty(fleet, "bootstrap", n_replicates=20)))
    for age in (10.0, 60.0):
        pump = fleet[1].until(age)
        unit = prognosis.unit()
        for t, x in zip(pump.times, pump.values, strict=True):
            unit.update(t, x)
        streamed, batch = unit.distribution(), prognosis.predict(pump)
        np.testing.assert_allclose(streamed.mode_probabilities, batch.mode_probabilities, atol=2e-5)
        np.testing.assert_allclose(streamed.mean(), batch.mean(), rtol=1e-5)


def test_laws_that_are_given_replace_those_of_the_fit(fit):
    em, fleet = fit
    model = em.model_.with_uncertainty(em.uncertainty(fleet))
    given = Lifetimes((cem.lifetimes.Lognormal(5.0, 0.2), cem.lifetimes.Lognormal(5.5, 0.1)))
    laws = RemainingLife(model, lifetimes=given).life_evidence.lifetimes
    assert [law.location for law in laws.laws] == [5.0] * 3 + [5.5] * 3


def test_log_densities_are_those_of_modes(fit):
    em, fleet = fit
    running, grid = fleet[:5].until(fleet[:5].failure_times * 0.5), np.array([20.0, 60.0, 150.0])
    known = em.model_.with_uncertainty([em.model_.internal_parameters] * 4, n_components=2)
    found, expected = (RemainingLife(model).log_densities(running, grid) for model in (known, em.model_))
    assert found.shape == (5, 3, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_fits_without_each_fold_have_no_uncertainty(fit):
    """The correction would be learned from other predictions than those that it corrects."""
    em, fleet = fit
    with pytest.raises(OptionError, match="without_uncertainty"):
        RemainingLife(uncertain(em.model_)).calibrated(fleet)


def test_held_out_fits_of_an_estimator_with_uncertainty_take_parameters_as_known(fit):
    """Calibration of a prognosis would fail, or bootstrap every fold, once its estimator asks for uncertainty."""
    em, fleet = fit
    options = {**em.get_params(deep=False), "uncertainty": "information", "n_init": 1}
    prognosis = RemainingLife(em.model_).calibrated(fleet, cem.FailureModeEM(**options), n_folds=2)
    assert prognosis.calibration is not None
