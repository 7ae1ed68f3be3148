"""An argument of another type is refused by name, and never fails inside with an AttributeError."""

from __future__ import annotations

import pytest

import cem
from cem import plot

CASES = {
    "trajectories": (lambda: plot.TrajectoryDisplay.from_model(3), "model is of type int; FailureModeModel"),
    "panel": (lambda: plot.TrajectoryDisplay.from_panel([[1.0]]), "panel is of type list; Panel"),
    "probabilities": (lambda: plot.ProbabilityDisplay.from_model(3, None), "model is of type int"),
    "by prognosis": (lambda: plot.ProbabilityDisplay.from_prognosis(3, None), "prognosis is of type int"),
    "fan": (lambda: plot.RemainingLifeDisplay.from_prognosis(None, None), "prognosis is of type NoneType"),
    "fan to a threshold": (lambda: plot.RemainingLifeDisplay.from_threshold(3, None, 1), "model is of type int"),
    "law": (lambda: plot.LawDisplay.from_law("law"), "law is of type str; RemainingLifeDistribution or FirstPassage"),
    "residuals": (lambda: plot.ResidualDisplay.from_model(3, None), "model is of type int"),
    "quantiles": (lambda: plot.QuantileResidualDisplay.from_model(3, None), "model is of type int"),
    "report": (lambda: plot.CalibrationDisplay.from_reliability({"a": 3}), "report is of type int; Reliability"),
    "failure": (
        lambda: plot.FailureReliabilityDisplay.from_reliability(3),
        "report is of type int; FailureReliability",
    ),
    "alpha-lambda": (lambda: plot.AlphaLambdaDisplay.from_prognosis(3, None), "prognosis is of type int"),
    "candidates": (lambda: plot.CrossValidationDisplay.from_result({}), "result is of type dict; CrossValidation"),
    "modes": (lambda: plot.ModeChoiceDisplay.from_result({}), "result is of type dict; ModeChoice"),
    "labels": (lambda: plot.AgreementDisplay.from_model(3, None), "model is of type int"),
    "stability": (lambda: plot.StabilityDisplay.from_result({}), "result is of type dict; Stability was expected"),
    "bands": (lambda: plot.BandDisplay.from_uncertainty(3), "uncertainty is of type int; Uncertainty"),
    "starts": (lambda: plot.StartsDisplay.from_model(3), "model is of type int"),
    "novelty": (lambda: plot.NoveltyDisplay.from_model(3, None), "model is of type int"),
    "coefficients": (lambda: plot.CoefficientDisplay.from_model(3, None, "x"), "model is of type int"),
    "regimes": (lambda: plot.RegimesDisplay.from_model(3), "model is of type int"),
}


@pytest.mark.parametrize("case", CASES)
def test_another_type_is_refused_by_name(case):
    call, message = CASES[case]
    with pytest.raises(cem.OptionError, match=message):
        call()


def test_an_estimator_in_place_of_its_model_is_pointed_out(estimator):
    with pytest.raises(cem.OptionError, match=r"estimator has its model as estimator\.model_"):
        plot.StartsDisplay.from_model(estimator)


def test_every_display_is_refused_something_here():
    """A new display needs a case above."""
    displays = {name for name in plot.__all__ if name.endswith("Display")}
    called = {name for call, _ in CASES.values() for name in call.__code__.co_names}
    assert displays <= called


def test_a_truth_that_is_no_number_is_refused(model, fleet):
    with pytest.raises(cem.OptionError, match="truth is 'soon'"):
        model.remaining_life(fleet[:1], 1.0).plot(truth="soon")


def test_a_model_has_no_passes_and_is_no_unfitted_estimator(model):
    """The message that it is not fitted would send the reader in a wrong direction."""
    with pytest.raises(cem.OptionError, match="FailureModeModel; FailureModeEM was expected"):
        plot.StartsDisplay.from_estimator(model)


def test_a_display_prints_one_short_line(model, fleet):
    """In a notebook it stands beside its picture; thousands of numbers would bury it."""
    display = plot.TrajectoryDisplay.from_model(model, fleet, channel="vibration")
    assert len(repr(display)) < 400 and "\n" not in repr(display) and "curves (3, 1, 101)" in repr(display)
    law = model.remaining_life(fleet[:1].until(60.0), 1.0).plot()
    assert repr(law).startswith("LawDisplay(") and "level=0.9" in repr(law)
