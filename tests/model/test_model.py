"""The model's face: what a user reads off it, and what it says of new units, against dense arithmetic."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from model_cases import dense_parts, example_model, ragged_panel
from scipy import stats

from cem.basis.families import Polynomial
from cem.errors import OptionError, PanelError, PredictionError
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel


def dense_scores(model, panel):
    logs = np.empty((panel.n_units, model.n_modes))
    for l in range(panel.n_units):
        for k in range(model.n_modes):
            x, mean, covariance = dense_parts(model, panel, l, k)
            logs[l, k] = stats.multivariate_normal(mean, covariance).logpdf(x) + np.log(model.weights_[k])
    totals = np.logaddexp.reduce(logs, axis=1)
    return np.exp(logs - totals[:, None]), totals


def test_probabilities_and_log_likelihoods_are_those_of_the_dense_normal_densities():
    model = example_model()
    panel = ragged_panel(model)
    probabilities, totals = dense_scores(model, panel)
    np.testing.assert_allclose(model.score_samples(panel), totals, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(model.predict_proba(panel), probabilities, atol=1e-8)
    assert model.score(panel) == pytest.approx(totals.mean(), rel=1e-9)
    expected = [model.mode_labels[k] for k in probabilities.argmax(axis=1)]
    assert model.predict(panel).tolist() == expected
    assert np.median(probabilities.max(axis=1)) < 0.999, "the units are too easy for this test to say anything"


def test_channels_are_matched_by_name_and_may_be_absent():
    model = example_model()
    panel = ragged_panel(model)
    fewer = panel.select_channels(["b", "a"])
    probabilities, totals = dense_scores(model, fewer)
    np.testing.assert_allclose(model.score_samples(fewer), totals, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(model.predict_proba(fewer), probabilities, atol=1e-8)


def test_labels_of_a_scored_panel_are_not_looked_at():
    model = example_model()
    panel = ragged_panel(model)
    np.testing.assert_array_equal(model.predict_proba(panel), model.predict_proba(panel.with_modes(None)))


def test_threads_do_not_change_a_bit():
    model = example_model()
    panel = ragged_panel(model, 40)
    np.testing.assert_array_equal(model.predict_proba(panel), model.predict_proba(panel, n_jobs=3))


def test_arrays_with_and_without_the_response_are_scored():
    model = example_model()
    values = model.sample(4, np.arange(5.0), random_state=0).values.reshape(4, 5, 3)
    panel = Panel.from_arrays(np.arange(5.0), values, channels=model.channels)
    np.testing.assert_array_equal(model.predict_proba(values), model.predict_proba(panel))
    sensors = panel.select_channels(["a", "b"])
    np.testing.assert_array_equal(
        model.predict_proba(values[..., :2], times=np.arange(5.0)), model.predict_proba(sensors)
    )
    with pytest.raises(PanelError, match="axes='units, times, channels'"):
        model.predict_proba(np.zeros((2, 3, 4)))
    turned = values.transpose(0, 2, 1)
    np.testing.assert_array_equal(
        model.predict_proba(turned, axes="units, channels, times"), model.predict_proba(panel)
    )


def test_unknown_channel_and_another_time_unit_are_refused_by_name():
    model = example_model()
    panel = Panel.from_arrays([np.arange(3.0)], [np.zeros((3, 2))], channels=["a", "vibraton"])
    with pytest.raises(PredictionError, match="'vibraton'"):
        model.predict_proba(panel)
    minutes = Panel.from_arrays([np.arange(3.0)], [np.zeros((3, 1))], channels=["a"], time_unit="min")
    with pytest.raises(PredictionError, match=r"'min'.*'h'"):
        model.score(minutes)


def test_views_are_in_the_users_terms_and_padded_with_nan():
    model = example_model()
    assert model.means_.shape == (3, 3, 3)
    assert model.basis_sizes_ == (3, 1, 2)
    assert np.isnan(model.means_[:, 1, 1:]).all()
    assert np.isnan(model.covariances_[:, 2, 2]).all()
    curves = model.curves([0.0, 5.0])
    for k in range(3):
        for c, p in enumerate(model.basis_sizes_):
            part = model.parameters(model.mode_labels[k], model.channels[c])
            np.testing.assert_array_equal(part.mean, model.means_[k, c, :p])
            np.testing.assert_allclose(part.covariance, model.covariances_[k, c, :p, :p], rtol=1e-14)
            np.testing.assert_allclose(part.covariance_factor @ part.covariance_factor.T, part.covariance, rtol=1e-12)
            assert np.all(np.triu(part.covariance_factor, 1) == 0)
            assert part.noise_variance == model.noise_variances_[k, c]
            np.testing.assert_allclose(curves[k, c], model.bases[c]([0.0, 5.0]) @ part.mean, rtol=1e-14)
    assert abs(model.curves([5.0])[0, 0, 0] - 9062) < 100


def test_parameters_by_position_label_and_unknown_name():
    model = example_model()
    np.testing.assert_array_equal(model.parameters(1, 0).mean, model.parameters(7, "a").mean)
    with pytest.raises(OptionError, match="'wer'"):
        model.parameters("wer", "a")
    with pytest.raises(PredictionError, match="'z'"):
        model.parameters("wear", "z")


def test_model_cannot_be_changed():
    model = example_model(training={"starts": [{"kind": "random"}]})
    with pytest.raises(AttributeError, match="not changed"):
        model.channels = ("x",)
    with pytest.raises(ValueError, match="read-only"):
        model.means_[0, 0, 0] = 1.0
    model.training["starts"].clear()
    model.channel_units["a"] = "F"
    assert model.training["starts"] and model.channel_units == {"a": "K"}


def test_pickled_and_copied_models_score_the_same():
    model = example_model()
    panel = ragged_panel(model)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict_proba(panel), model.predict_proba(panel))
        assert repr(other) == repr(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ("a", "b")}, "2 channels"),
        ({"channels": ("a", "a", "y")}, "distinct"),
        ({"mode_labels": (1, 2)}, "mode_labels"),
        ({"mode_labels": (1, 1, 2)}, "distinct"),
        ({"response": "z"}, "'z'"),
        ({"time_axis": "backward"}, "time_axis"),
        ({"bases": (Polynomial(2), Polynomial(0), Polynomial(1))}, "bound"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        example_model(**change)


def test_model_on_the_time_to_failure_aligns_failed_units_and_refuses_running_ones():
    model = example_model(time_axis="to_failure")
    panel = ragged_panel(model)
    lives = np.linspace(20, 60, panel.n_units)
    shifted = Panel(
        panel.units,
        panel.offsets,
        panel.times + np.repeat(lives, np.diff(panel.offsets)),
        panel.values,
        panel.channels,
        failure_times=lives,
    )
    np.testing.assert_allclose(model.predict_proba(shifted), model.predict_proba(panel), atol=1e-9)
    asked = np.stack([lives - 2.0, lives], axis=1)
    np.testing.assert_allclose(model.forecast(shifted, asked).mean, model.forecast(panel, [-2.0, 0.0]).mean, rtol=1e-9)
    with pytest.raises(PredictionError, match=r"'unit 3' is still running.*remaining life"):
        model.predict(shifted.with_failure_times({unit: 99.0 for unit in shifted.units if unit != "unit 3"}))


def test_summary_prints_curves_and_gives_frames():
    training = {
        "n_units": 30,
        "n_observations": 500,
        "log_likelihood": -1234.5,
        "n_parameters": 40,
        "entropy": 1.5,
        "assigned": [20, 9, 1],
        "classification": [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], None],
        "starts": [{"kind": "random", "log_likelihood": -1234.5, "n_iter": 30, "fate": "best"}],
        "floors": [{"mode": 2, "channel": "b", "floor": "noise_floor"}],
        "converged": True,
    }
    summary = example_model(training=training).summary()
    text = str(summary)
    for expected in ("wear", "crack", "response 'y'", "-1,234.50", "noise_floor", "P(crack)", "random", "entropy"):
        assert expected in text
    curves = summary.frames["curves"].to_frame()
    model = example_model()
    row = curves[(curves["mode"] == 7) & (curves["channel"] == "a")].iloc[0]
    np.testing.assert_allclose(row[["start", "middle", "end"]].astype(float), model.curves([0.0, 5.0, 10.0])[1, 0])
    assert summary.frames["floors"]["mode"] == ["crack"]
    assert summary.facts["BIC"] == pytest.approx(2469 + 40 * np.log(30))
    assert "Starts" not in str(model.summary()), "a model without a record of its fit has no empty tables"


def test_scoring_and_loading_import_no_scipy(tmp_path):
    path = tmp_path / "m.cem"
    example_model().save(path)
    program = (
        "import sys, numpy as np\n"
        "from cem.model.loading import load\n"
        f"model = load({str(path)!r})\n"
        "panel = model.sample(3, np.arange(4.0), random_state=0)\n"
        "model.predict(panel), model.posterior(panel), model.novelty(panel), model.summary()\n"
        "model.forecast(panel, [5.0]).interval(.9)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'scipy'], 'scipy was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_default_mode_labels_count_from_zero():
    model = example_model(mode_labels=None)
    assert model.mode_labels == (0, 1, 2)
    assert model.predict(ragged_panel(model)).dtype.kind == "i"
    assert isinstance(model, FailureModeModel)
