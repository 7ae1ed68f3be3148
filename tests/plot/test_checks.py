"""Pictures that check a model: residuals, calibration, candidates, labels, starts, novelty, coefficients, regimes."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.calibration import Calibration, Reliability
from cem.plot import (
    AgreementDisplay,
    CalibrationDisplay,
    CoefficientDisplay,
    CrossValidationDisplay,
    FailureReliabilityDisplay,
    ModeChoiceDisplay,
    NoveltyDisplay,
    RegimesDisplay,
    ResidualDisplay,
    StartsDisplay,
)
from cem.selection import CrossValidation, Scored, WithoutSensors

NAN = float("nan")


def test_residuals_of_a_true_model_are_standard_normal(model):
    """Without the share that a curve follows its own readings they would look too small."""
    drawn = model.sample(150, np.linspace(0, 200, 6), random_state=1)
    display = ResidualDisplay.from_model(model, drawn, "vibration")
    assert abs(display.residuals.std() - 1) < 0.05 and abs(display.residuals.mean()) < 0.05
    assert np.abs(np.sort(display.residuals) - display.quantiles)[20:-20].max() < 0.2
    assert len(display.lines_[0].get_xdata()) == 12


def test_autocorrelations_are_those_of_the_diagnostics(model, fleet):
    display = ResidualDisplay.from_model(model, fleet, "flow", n_lags=5)
    found = cem.diagnostics.time_correlation(model, fleet, 5)
    np.testing.assert_array_equal(display.autocorrelations, found.autocorrelations[model.channel_index("flow")])


def test_residuals_need_a_channel_with_readings(model, fleet):
    with pytest.raises(cem.PredictionError, match="no channel 'flwo'; did you mean 'flow'"):
        ResidualDisplay.from_model(model, fleet, "flwo")
    nameless = cem.FailureModeModel(**{**model._arguments(), "response": None})
    with pytest.raises(cem.OptionError, match="name the channel to draw"):
        ResidualDisplay.from_model(nameless, fleet)
    without = fleet.select_channels([name for name in fleet.channels if name != "flow"])
    with pytest.raises(cem.PanelError, match="no reading of channel 'flow'"):
        ResidualDisplay.from_model(model, without, "flow")


def report(shift):
    tables = {level: level - shift for level in (0.5, 0.8, 0.9)}
    small = dict.fromkeys(tables, 0.02)
    return Reliability(tables, small, small, small, 1.0, (0.1,) * 10, 20, 100)


def test_coverage_is_drawn_before_and_after():
    display = CalibrationDisplay.from_calibration(Calibration(before=report(0.2), after=report(0.0)))
    assert list(display.reports) == ["before", "after"]
    before = display.lines_[0].lines[0]
    np.testing.assert_allclose(before.get_ydata(orig=False), [0.3, 0.6, 0.7])
    assert len(CalibrationDisplay.from_reliability(report(0.1)).lines_) == 1


@pytest.mark.parametrize("nothing", [None, Calibration()])
def test_a_calibration_without_a_report_is_refused(nothing):
    """A prognosis that was never calibrated has None."""
    with pytest.raises(cem.OptionError, match="has no report"):
        CalibrationDisplay.from_calibration(nothing)


def candidates(score="rmse"):
    one = Scored("K = 1", 12.0, 1.0, 5.0, 3.0, -10.0, 100.0, 90.0, 100.0)
    two = Scored("$K$ = 2", 10.0, 1.5, 6.0, 4.0, -8.0, 120.0, 95.0, 121.0)
    return CrossValidation((one, two), score, WithoutSensors(20.0, 9.0, 5.0))


@pytest.mark.parametrize(("score", "best"), [("rmse", 1), ("crps", 0), ("log_likelihood", 1), ("bic", 0)])
def test_the_best_candidate_is_marked(score, best):
    """A log-likelihood is better when larger, and all else when smaller."""
    display = CrossValidationDisplay.from_result(candidates(), score)
    assert display.best == best
    assert display.lines_[1].get_ydata()[0] == best
    display.figure_.canvas.draw()


def test_the_score_that_chose_is_the_default():
    display = CrossValidationDisplay.from_result(candidates("crps"))
    assert display.score == "crps" and display.without_sensors == 9.0
    with pytest.raises(cem.OptionError, match="score is 'mse'"):
        CrossValidationDisplay.from_result(candidates(), "mse")


def test_a_score_that_no_candidate_has_is_refused():
    forward = CrossValidation((Scored("a", NAN, NAN, NAN, NAN, -3.0, 1.0, 1.0, 1.0),), "log_likelihood")
    with pytest.raises(cem.OptionError, match="no candidate has the score 'rmse'"):
        CrossValidationDisplay.from_result(forward, "rmse")
    CrossValidationDisplay.from_result(forward)


def test_labels_are_counted_against_modes(model):
    drawn = model.sample(60, np.linspace(0, 250, 30), random_state=2)
    display = AgreementDisplay.from_model(model, drawn)
    best = model.predict(drawn)
    for i, label in enumerate(display.labels):
        for k, mode in enumerate(model.mode_labels):
            both = sum(a == label and b == mode for a, b in zip(drawn.true_modes, best, strict=True))
            assert display.counts[i, k] == both
    assert display.counts.sum() == 60 and display.adjusted_rand > 0.9


def test_units_without_a_label_are_left_out_and_said(model, fleet):
    labels = ["a", None, "b", float("nan"), -1] + ["a"] * (fleet.n_units - 5)
    display = AgreementDisplay.from_model(model, fleet, labels)
    assert display.n_without == 3 and display.counts.sum() == fleet.n_units - 3
    with pytest.raises(cem.PanelError, match="no label of the 160 units is known"):
        AgreementDisplay.from_model(model, fleet, [None] * fleet.n_units)
    with pytest.raises(cem.PanelError, match="labels has 1 entries"):
        AgreementDisplay.from_model(model, fleet, ["a"])


def test_starts_are_those_of_the_record(estimator):
    display = StartsDisplay.from_estimator(estimator)
    assert display.fates.count("best") == 1
    np.testing.assert_allclose(np.nanmax(display.log_likelihoods), estimator.log_likelihood_)
    assert display.passes[-1] == estimator.log_likelihoods_[-1] and display.converged
    of_model = StartsDisplay.from_model(estimator.model_)
    np.testing.assert_array_equal(of_model.log_likelihoods, display.log_likelihoods)
    assert of_model.passes is None and len(of_model.axes_) == 1


def test_starts_that_are_not_known_are_refused(model):
    bare = cem.FailureModeModel(**{**model._arguments(), "training": {}})
    with pytest.raises(cem.OptionError, match="no record of the starts"):
        StartsDisplay.from_model(bare)
    with pytest.raises(cem.NotFittedError):
        StartsDisplay.from_estimator(cem.FailureModeEM(2))


def test_novelty_names_the_channel_that_is_off(model):
    """An engineer has to see which sensor to look at."""
    drawn = model.sample(30, np.linspace(0, 200, 12), random_state=3)
    values = drawn.values.copy()
    c = drawn.channel_index("flow")
    values[drawn.offsets[7] : drawn.offsets[8], c] += 40 * np.sin(np.arange(12))
    display = NoveltyDisplay.from_model(model, drawn._replace(values=values))
    assert display.order[0] == 7
    assert display.channels[int(np.argmin(display.by_channel[7]))] == "flow"
    np.testing.assert_allclose(display.overall, model.novelty(drawn._replace(values=values)))


def test_novelty_of_one_channel_is_that_of_a_panel_with_it_alone(model):
    drawn = model.sample(20, np.linspace(0, 200, 12), random_state=4)
    display = NoveltyDisplay.from_model(model, drawn)
    alone = drawn.select_channels(["flow"])
    same = model.predict(alone) == model.predict(drawn)
    i = display.channels.index("flow")
    np.testing.assert_allclose(display.by_channel[same, i], model.novelty(alone)[same])
    assert same.any()


def test_a_unit_without_readings_of_a_channel_has_no_novelty_there(model):
    drawn = model.sample(5, np.linspace(0, 200, 12), random_state=5)
    values = drawn.values.copy()
    values[: drawn.offsets[1], drawn.channel_index("flow")] = np.nan
    display = NoveltyDisplay.from_model(model, drawn._replace(values=values))
    assert np.isnan(display.by_channel).sum() == 1
    assert np.isnan(display.by_channel[0, display.channels.index("flow")])


def test_an_ellipse_holds_its_share_of_coefficients(model):
    display = CoefficientDisplay.from_model(model, model.sample(3, [0.0, 9.0], random_state=0), "vibration", level=0.8)
    points = display.ellipse(0) - display.means[0, :2]
    precision = np.linalg.inv(display.covariances[0, :2, :2])
    radius = np.einsum("np,pq,nq->n", points, precision, points)
    np.testing.assert_allclose(radius, -2 * np.log(0.2))  # the 80 % quantile of a chi-square law with 2 degrees


def test_coefficients_are_posterior_means(model, fleet):
    display = CoefficientDisplay.from_model(model, fleet, "flow")
    posterior = model.posterior(fleet)
    c, k = model.channel_index("flow"), posterior.mode_probabilities[5].argmax()
    np.testing.assert_array_equal(display.coefficients[5], posterior.means[5, k, c, : display.coefficients.shape[1]])


@pytest.mark.parametrize("functions", [(0,), (0, 0), (0, 99), (-1, 0)])
def test_functions_that_a_basis_lacks_are_refused(model, fleet, functions):
    with pytest.raises(cem.OptionError, match="functions is"):
        CoefficientDisplay.from_model(model, fleet, "flow", functions=functions)


def test_a_basis_of_one_function_is_drawn_by_unit():
    rng = np.random.default_rng(0)
    panel = cem.Panel.from_arrays(
        np.tile(np.arange(4.0), (20, 1)), rng.normal(0, 1, (20, 4)) + rng.normal(0, 3, (20, 1))
    )
    model = cem.FailureModeEM(1, basis=cem.Constant(), random_state=0, n_init=1).fit(panel).model_
    display = CoefficientDisplay.from_model(model, panel, 0)
    assert display.functions == (0,) and display.ax_.get_xlabel() == "unit"


def test_regimes_are_those_of_the_model(model):
    rng = np.random.default_rng(1)
    load = rng.integers(0, 3, (30, 12)) * 10.0
    values = 1.0 + 2.0 * load + rng.normal(0, 0.1, load.shape) + rng.normal(0, 0.3, (30, 1))
    panel = cem.Panel.from_arrays(np.tile(np.arange(12.0), (30, 1)), values, channels=["x"], covariates={"load": load})
    options = {"regimes": cem.Regimes("load", cuts=[5, 15]), "random_state": 0, "n_init": 1}
    fitted = cem.FailureModeEM(1, basis=cem.Constant(), **options).fit(panel).model_
    display = RegimesDisplay.from_model(fitted)
    assert display.labels == ("load < 5", "5 <= load < 15", "load >= 15")
    np.testing.assert_array_equal(display.offsets, fitted.regimes_.offsets)
    assert [bar.get_width() for bar in display.axes_[0].patches] == fitted.regimes_.counts.tolist()
    with pytest.raises(cem.OptionError, match="no regimes"):
        RegimesDisplay.from_model(model)


def test_numbers_of_modes_are_drawn_with_the_recommendation(fleet):
    """A number without a figure leaves a gap, and the line of the recommendation is in every picture."""
    em = cem.FailureModeEM(1, covariance="pooled", n_init=2, random_state=0)
    found = cem.selection.choose_modes(em, fleet, (1, 2), n_replicates=19, n_folds=2)
    display = found.plot()
    assert isinstance(display, ModeChoiceDisplay) and display.recommended == found.n_modes
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), [one.bic for one in found.candidates])
    assert np.isnan(display.lines_[2].get_ydata()[1])
    assert all(any(line.get_label() == "recommended" for line in axes.lines) for axes in display.axes_)
    assert all(axes.get_xticks().tolist() == [1, 2] for axes in display.axes_)
    display.figure_.canvas.draw()


def test_figures_that_are_not_known_leave_words_and_no_empty_picture(fleet):
    em = cem.FailureModeEM(1, covariance="pooled", n_init=2, random_state=0)
    display = cem.selection.choose_modes(em, fleet, [2], n_folds=2).plot()
    assert [[text.get_text() for text in axes.texts] for axes in display.axes_] == [[], [], ["no test"]]
    assert display.axes_[0].get_xticks().tolist() == [2]


def test_probabilities_to_fail_are_drawn_against_what_happened():
    """Bins, intervals and the recalibration of one report, or of several to compare."""
    lives, claimed = np.linspace(1.0, 60.0, 40), np.tile([0.9, 0.7, 0.4, 0.2], 10)
    one = cem.metrics.failure_reliability(lives, claimed, 30.0)
    display = FailureReliabilityDisplay.from_reliability(one)
    assert list(display.reports) == ["within 30"]
    np.testing.assert_allclose(display.lines_[0].lines[0].get_xydata(), np.stack([one.claimed, one.observed], axis=1))
    assert len(display.ax_.lines) == 5  # the diagonal, the bins with two caps, and the recalibration
    sure = cem.metrics.failure_reliability(lives, (lives <= 30).astype(float), 30.0)  # without a recalibration
    both = FailureReliabilityDisplay.from_reliability({"$one$": one, "sure": sure})
    assert len(both.lines_) == 2 and r"\$one\$" in both.lines_[0].get_label()
    with pytest.raises(cem.OptionError, match="no report"):
        FailureReliabilityDisplay.from_reliability({})
