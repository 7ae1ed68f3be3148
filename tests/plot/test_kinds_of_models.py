"""Every display draws every kind of model: under conditions, linked, on both time axes, with fixed coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from conditioned_fleets import conditioned_fleet, fitted

import cem
from cem.basis.families import Polynomial
from cem.covariates import Linear, Regimes
from cem.plot import (
    AlphaLambdaDisplay,
    CoefficientDisplay,
    LawDisplay,
    NoveltyDisplay,
    ProbabilityDisplay,
    QuantileResidualDisplay,
    RegimesDisplay,
    RemainingLifeDisplay,
    ResidualDisplay,
    StartsDisplay,
    TrajectoryDisplay,
)

KINDS = {
    "plain": {},
    "common": {"covariates": ["speed", "stage"]},
    "by mode": {"covariates": {"b": [Linear("speed", by_mode=True)]}},
    "regimes": {"regimes": Regimes("load", n=3)},
    "no random columns": {"random_columns": "none"},
    "membership": {"membership": ["site"]},
    "linked": {"linking_rank": 1},
    "all": {
        "covariates": {"b": [Linear("speed", by_mode=True), "stage"], "c": ["rate"]},
        "regimes": Regimes("load", n=3),
        "random_columns": {"a": [0], None: "all"},
        "noise": "pooled",
        "membership": ["site"],
    },
}


@pytest.fixture(scope="module", params=KINDS)
def forward(request):
    panel = conditioned_fleet(3, n_units=16, n_readings=8)
    return fitted(panel, basis=Polynomial(1), max_iter=20, **KINDS[request.param]).model_, panel


@pytest.fixture(scope="module", params=KINDS)
def to_failure(request):
    panel = conditioned_fleet(3, n_units=16, n_readings=8, failing=True)
    options = {**KINDS[request.param], "max_iter": 20, "time_axis": "to_failure"}
    return fitted(panel, basis=Polynomial(1), **options).model_, panel


def drawn(display):
    """The figure drawn whole, as it is when it is saved."""
    display.figure_.canvas.draw()
    return display


def test_a_model_over_time(forward):
    model, panel = forward
    trajectories = drawn(TrajectoryDisplay.from_model(model, panel))
    assert np.isfinite(trajectories.curves).all() and np.isfinite(trajectories.spreads).all()
    assert np.isfinite(drawn(ResidualDisplay.from_model(model, panel, "b")).residuals).all()
    assert np.isfinite(drawn(QuantileResidualDisplay.from_model(model, panel)).observed).all()
    np.testing.assert_array_equal(drawn(NoveltyDisplay.from_model(model, panel)).overall, model.novelty(panel))
    drawn(CoefficientDisplay.from_model(model, panel, "a"))
    drawn(StartsDisplay.from_model(model))
    display = drawn(ProbabilityDisplay.from_model(model, panel, unit=panel.units[2]))
    np.testing.assert_allclose(display.probabilities[-1], model.predict_proba(panel)[2], atol=1e-9)
    if model.regimes_ is not None:
        drawn(RegimesDisplay.from_model(model))


def test_a_model_to_failure(to_failure):
    model, panel = to_failure
    assert drawn(TrajectoryDisplay.from_model(model, panel)).time_axis == "to_failure"
    drawn(ResidualDisplay.from_model(model, panel, "b"))
    drawn(QuantileResidualDisplay.from_model(model, panel, "b"))
    drawn(NoveltyDisplay.from_model(model, panel))
    prognosis = cem.RemainingLife(model)
    fan = drawn(RemainingLifeDisplay.from_prognosis(prognosis, panel, unit=panel.units[2]))
    law = prognosis.predict(panel[[2]])
    np.testing.assert_allclose(fan.median[-1], law.median()[0])
    drawn(ProbabilityDisplay.from_prognosis(prognosis, panel, unit=panel.units[2]))
    drawn(LawDisplay.from_law(law))
    drawn(AlphaLambdaDisplay.from_prognosis(prognosis, panel, n_moments=3))


def test_a_threshold_under_conditions(forward):
    model, panel = forward
    options = {"channel": "b", "direction": "upper"}
    if model.covariates:
        options["covariates"] = "last"
    drawn(RemainingLifeDisplay.from_threshold(model, panel, 100.0, unit=panel.units[1], **options))
    drawn(model.remaining_life(panel, 100.0, **options).plot(panel.units[1]))
