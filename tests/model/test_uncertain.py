"""Models with the uncertainty of their parameters: what they are made of, and what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from model_cases import example_model, ragged_panel
from uncertain_cases import perturbed, uncertain

import cem
from cem.errors import OptionError, ScorerError
from cem.fitting.fitted_problem import fitted_problem
from cem.model.uncertain import UncertainModel
from cem.uncertainty.replicates import bootstrap


def test_predictions_are_the_average_over_components():
    """Probabilities would be those of one set of parameters after all."""
    model = uncertain(example_model())
    panel = ragged_panel(model)
    plain = model.of_components
    joint = np.log(plain.predict_proba(panel)) + plain.score_samples(panel)[:, None]
    total = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(model.score_samples(panel), total, rtol=1e-12)
    own = np.exp(joint - total[:, None]).reshape(len(joint), 3, 3).sum(axis=2)
    np.testing.assert_allclose(model.predict_proba(panel), own, rtol=0, atol=1e-12)


def test_forecast_intervals_are_those_of_the_whole_mixture():
    """Intervals from the modes' means and variances alone would miss heavy tails."""
    model = uncertain(example_model(), size=0.4)
    panel = ragged_panel(model, n_units=4)
    forecast = model.forecast(panel, [2.0, 11.0])
    low, high = forecast.interval(0.9)
    np.testing.assert_allclose(forecast.cdf(low), 0.05, rtol=1e-9)
    np.testing.assert_allclose(forecast.cdf(high), 0.95, rtol=1e-9)
    parts = forecast.components
    np.testing.assert_allclose(forecast.mean, parts.mean, rtol=1e-12)
    np.testing.assert_allclose(forecast.variance, parts.variance, rtol=1e-12)
    assert forecast.weights.shape == (4, 3) and forecast.mode_labels == model.mode_labels
    assert len(forecast.to_frame("pandas")) == 8 and "<table" in forecast._repr_html_()


def test_parameters_curves_and_samples_stay_those_of_the_fit():
    plain = example_model()
    model = uncertain(plain)
    np.testing.assert_array_equal(model.means_, plain.means_)
    np.testing.assert_array_equal(model.curves([1.0, 2.0]), plain.curves([1.0, 2.0]))
    drawn = [m.sample(3, [1.0, 2.0], random_state=1).values for m in (model, plain)]
    np.testing.assert_array_equal(*drawn)
    back = model.without_uncertainty()
    assert type(back) is cem.FailureModeModel and back.components is None
    panel = ragged_panel(plain)
    np.testing.assert_array_equal(back.predict_proba(panel), plain.predict_proba(panel))


def test_pickles_and_files_give_the_same_bits(tmp_path):
    model = uncertain(example_model())
    panel = ragged_panel(model)
    model.save(tmp_path / "m.cem")
    for found in (pickle.loads(pickle.dumps(model)), cem.load(tmp_path / "m.cem")):
        assert type(found) is UncertainModel and found.uncertainty == model.uncertainty
        np.testing.assert_array_equal(found.predict_proba(panel), model.predict_proba(panel))
        np.testing.assert_array_equal(found.novelty(panel), model.novelty(panel))
        assert found.scorer().fingerprint() == model.scorer().fingerprint()
    assert (tmp_path / "m.cem").stat().st_size < 500_000


def test_an_expert_speaks_of_modes_not_of_components():
    """Probabilities that an inspection gives would be refused, or be shared out among components wrongly."""
    model = uncertain(example_model(time_unit=None))
    panel = ragged_panel(model, n_units=3)
    given = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [np.nan] * 3])
    told = panel.with_mode_probabilities(given, ["wear", 7, "crack"])
    found = model.predict_proba(told)
    np.testing.assert_allclose(found[0], [1.0, 0.0, 0.0], atol=1e-12)
    plain = model.predict_proba(panel)
    odds = plain[1] / model.components.summed(model.components.parameters.weights) * np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(found[1], odds / odds.sum(), rtol=1e-9)
    np.testing.assert_allclose(found[2], plain[2], rtol=1e-12)


def test_thresholds_are_crossed_by_the_mixture_of_components():
    model = uncertain(example_model())
    panel = ragged_panel(model, n_units=4)
    law = model.remaining_life(panel, 1e4, channel="b", direction="upper")
    assert law.mode_probabilities.shape == (4, 3) and law.mode_labels == model.mode_labels
    np.testing.assert_allclose(law.mode_probabilities.sum(axis=1), 1.0, rtol=1e-12)
    by_mode = model.remaining_life(panel, {"wear": 1e4, 7: 1e4, "crack": 1e4}, channel="b", direction="upper")
    np.testing.assert_allclose(by_mode.probability_never, law.probability_never, rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (1,), (5, 1), (3,), (5, 3)])
def test_one_threshold_for_all_modes_has_every_shape_that_a_plain_model_takes(shape):
    model = uncertain(example_model())
    panel = ragged_panel(model, n_units=5)
    levels = np.full(shape, 3.0)
    channel = model.channels[0]
    found = model.remaining_life(panel, levels, channel=channel, direction="upper")
    alike = model.remaining_life(panel, 3.0, channel=channel, direction="upper")
    np.testing.assert_array_equal(found.probability_never, alike.probability_never)


def test_a_law_of_another_fit_is_refused():
    model = example_model()
    for law, words in (
        ([], "no draws"),
        ("bootstrap", "law is a str"),
        (perturbed(example_model(n_modes=2).internal_parameters), "3 modes"),
        ([1.0], "3 modes"),
    ):
        with pytest.raises(OptionError, match=words):
            model.with_uncertainty(law)
    draws = perturbed(model.internal_parameters)
    for options, words in (
        ({"n_components": 0}, "n_components"), ({"n_components": 17}, "n_components"), ({"n_draws": 1.5}, "n_draws"),
        ({"spread": -1}, "spread"), ({"spread": "wide"}, "spread"),
        ({"random_state": -1}, "random_state"), ({"random_state": "x"}, "random_state"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=words):
            model.with_uncertainty(draws, **options)


def test_the_uncertainty_of_another_fit_of_the_same_shape_is_refused(tmp_path):
    """Its draws are in other coordinates: predictions would be wrong, and nothing would show it."""
    fleet = cem.datasets.load_demo_fleet().select_channels(["vibration"])
    options = {"basis": cem.Polynomial(1), "covariance": "pooled", "n_init": 2, "random_state": 0}
    one, other = (cem.FailureModeEM(1, **options).fit(fleet[part]) for part in (slice(0, 80), slice(80, 160)))
    law = one.uncertainty(fleet[:80])
    replicates = bootstrap(fitted_problem(one, fleet[:80]).mixture, one.model_.internal_parameters, n=3)
    for given in (law, law.law, replicates):
        with pytest.raises(OptionError, match="another fit"):
            other.model_.with_uncertainty(given)
        assert one.model_.with_uncertainty(given).components is not None
    one.model_.save(tmp_path / "one.cem")
    assert cem.load(tmp_path / "one.cem").with_uncertainty(law).components is not None


def test_what_would_take_components_for_modes_is_refused():
    """A compiled caller, or a scorer made by hand, would return nine probabilities, or those of known parameters."""
    model = uncertain(example_model())
    with pytest.raises(ScorerError, match="carries the uncertainty"):
        cem.scoring.Scorer(model)
    with pytest.raises(ScorerError, match="as known"):
        type(model.scorer())(example_model())
    lives = uncertain(example_model(time_axis="to_failure"))
    with pytest.raises(ScorerError, match="to_failure"):
        lives.scorer()


def test_few_units_are_named_once_and_uncertainty_is_told():
    """A user of a small fleet would not learn that sure calls are surer than right."""
    record = {"n_units": 40, "n_parameters": 60}
    few, many = example_model(training=record), example_model(training={**record, "n_units": 100_000})
    assert "take the parameters as known" in str(few.summary()) and "'crack'" not in str(few.summary())
    assert "uncertainty" not in many.summary().facts and "uncertainty" not in example_model().summary().facts
    told = str(uncertain(few).summary())
    assert "average over the law" in told and "7 draws, 3 components" in told and "as known" not in told
    assert "with the uncertainty of its parameters" in repr(uncertain(few))


def test_a_mode_of_a_few_units_is_told_of_with_uncertainty_too():
    """With five units novelties below .01 were had by up to half of ordinary new ones, under draws as well."""
    record = {"n_units": 6, "n_parameters": 14}
    told = str(uncertain(example_model(training=record)).summary())
    assert "too few to tell how units scatter" in told and "surer than right" in told


def test_a_model_whose_components_make_its_file_large_says_so(monkeypatch):
    """A gateway with little room would learn it from the transfer."""
    from cem.model import known_parameters

    model = uncertain(example_model())
    assert "kB" not in repr(model)
    monkeypatch.setattr(known_parameters, "LARGE_FILE", 1000)
    assert "2 kB in a file" in repr(model)


def test_a_fingerprint_is_never_that_of_the_components_alone():
    """A unit that another thread saved meanwhile could not be restored."""
    scorer = uncertain(example_model()).scorer()
    own = scorer.fingerprint()
    assert scorer._fingerprint != own and scorer.fingerprint() == own
