"""Simulated fleets: they follow their parameters, and the truth is known."""

import pickle

import numpy as np
import pytest
from model_cases import example_model

from cem.basis.families import Constant, Polynomial
from cem.errors import OptionError
from cem.fitting.estimator import FailureModeEM
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.model.sample import simulate_fleet
from cem.panel.panel import Panel

RECIPE = {
    "basis": {"x": Constant(), "y": Polynomial(1)},
    "channels": ("x", "y"),
    "means": {"slow": {"x": [5.0], "y": [0.5, 0.5]}, "fast": {"x": [7.0], "y": [1.0, 1.0]}},
    "covariances": {
        "slow": {"x": [0.25], "y": [[0.0, 0.0], [0.0, 0.0]]},
        "fast": {"x": [0.25], "y": [0.0, 0.0]},
    },
    "noise_variances": {"slow": {"x": 0.01, "y": 0.0}, "fast": {"x": 0.04, "y": 0.0}},
    "weights": {"slow": 0.75, "fast": 0.25},
    "interval": 2.0,
    "horizon": 100.0,
    "response": "y",
    "random_state": 0,
}


def test_units_drawn_from_a_model_have_its_moments():
    model = example_model()
    times = np.array([0.0, 5.0, 10.0])
    panel = model.sample(6000, times, modes=["crack"] * 6000, random_state=1)
    assert set(panel.true_modes) == {"crack"} and panel.response == "y"
    values = panel.values.reshape(6000, 3, 3)
    for c in range(3):
        part = model.parameters("crack", c)
        design = model.bases[c](times)
        covariance = design @ part.covariance @ design.T + part.noise_variance * np.eye(3)
        sd = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(values[:, :, c].mean(axis=0), design @ part.mean, atol=4.5 * sd.max() / 77)
        np.testing.assert_allclose(
            np.cov(values[:, :, c].T) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.09
        )


def test_a_refit_of_drawn_units_has_to_find_their_modes():
    """With the truth as labels a refit would be supervised without a word, and every study of it too good."""
    drawn = example_model().sample(60, np.arange(6.0), random_state=2)
    assert set(drawn.modes) == {None} and drawn.mode_labels == ()
    em = FailureModeEM(2, basis=Polynomial(1), n_init=2, random_state=0).fit(drawn)
    assert em.mode_labels_ == (0, 1) and not np.isin(em.responsibilities_, (0.0, 1.0)).all()


def test_the_truth_of_drawn_units_goes_with_them():
    drawn = example_model().sample(8, np.arange(6.0), random_state=2)
    truth = np.array(drawn.true_modes, dtype=object)
    assert drawn[[5, 1]].true_modes == tuple(truth[[5, 1]])
    assert drawn.until(2.0).select_channels(["a"]).true_modes == drawn.true_modes
    assert drawn.with_modes(drawn.true_modes).modes == drawn.true_modes
    assert Panel.concatenate([drawn[:3], drawn[3:]]).true_modes == drawn.true_modes
    assert pickle.loads(pickle.dumps(drawn)).true_modes == drawn.true_modes
    plain = Panel.from_arrays(None, np.ones((2, 3)), units=["p", "q"], channels=["v"])
    assert plain.true_modes == (None, None)
    mixed = Panel.concatenate([plain, plain._replace(_unit_ids=np.array([7, 8]))._with_true_modes(["wear", None])])
    assert mixed.true_modes == (None, None, "wear", None)


def test_modes_come_in_the_models_shares_and_draws_repeat():
    model = example_model()
    panel = model.sample(4000, [1.0], random_state=3)
    shares = [panel.true_modes.count(label) / 4000 for label in model.mode_labels]
    np.testing.assert_allclose(shares, model.weights_, atol=0.03)
    np.testing.assert_array_equal(panel.values, model.sample(4000, [1.0], random_state=3).values)


def test_ragged_times_and_the_time_to_failure():
    model = example_model(time_axis="to_failure")
    panel = model.sample(2, [[-3.0, -1.0], [-2.0]], random_state=0)
    assert panel.offsets.tolist() == [0, 2, 3] and panel.failure_times.tolist() == [0.0, 0.0]
    with pytest.raises(OptionError, match="after the failure"):
        model.sample(1, [0.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [1.0]), "n_units"),
        ((2, [[1.0], [2.0], [3.0]]), "3 units"),
        ((2, [np.nan]), "finite"),
        ((1, []), "one finite time or more"),
        ((1, "soon"), "numbers"),
    ],
)
def test_draws_that_cannot_be_made_name_the_option(arguments, message):
    with pytest.raises(OptionError, match=message):
        example_model().sample(*arguments)
    with pytest.raises(OptionError, match="random_state"):
        example_model().sample(1, [1.0], random_state="seed")
    with pytest.raises(OptionError, match="modes"):
        example_model().sample(2, [1.0], modes=["wear"])


def test_units_fail_where_the_response_reaches_the_threshold():
    panel = simulate_fleet(40, threshold=1.2, **RECIPE)
    expected = {"slow": np.nan, "fast": 60.0}  # y is 0.5 + 0.5 u and 1 + u, with u from -1 at 0 to 1 at 100
    np.testing.assert_allclose(panel.failure_times, [expected[mode] for mode in panel.modes], atol=1e-9)
    last = panel.times[panel.offsets[1:] - 1]
    assert (last <= np.where(np.isnan(panel.failure_times), 100.0, panel.failure_times)).all()
    assert np.isnan(panel.failure_times).any()


def test_response_is_below_its_threshold_before_the_failure():
    panel = simulate_fleet(40, threshold=0.6, **RECIPE)
    fast = np.array([mode == "fast" for mode in panel.modes])
    np.testing.assert_allclose(panel.failure_times[fast], 30.0, atol=1e-6)
    np.testing.assert_allclose(panel.failure_times[~fast], 60.0, atol=1e-6)
    assert panel.values[:, 1].max() <= 0.6 + 1e-9


def test_lives_follow_their_law_by_mode():
    panel = simulate_fleet(3000, lives={"slow": (40.0, 0.2), "fast": (10.0, 0.1)}, **RECIPE)
    fast = np.array([mode == "fast" for mode in panel.modes])
    for chosen, median, spread in ((fast, 10.0, 0.1), (~fast, 40.0, 0.2)):
        logs = np.log(panel.failure_times[chosen])
        assert abs(logs.mean() - np.log(median)) < 5 * spread / np.sqrt(chosen.sum())
        assert abs(logs.std() / spread - 1) < 0.15


def test_exact_shares_gaps_missing_cells_and_steps():
    options = {**RECIPE, "random_state": 4}
    panel = simulate_fleet(
        60,
        exact_shares=True,
        jitter=0.5,
        missing={"x": 0.3},
        absent={"y": 0.2},
        steps={"x": 0.5},
        time_step=0.25,
        **options,
    )
    assert panel.modes.count("slow") == 45
    whole = simulate_fleet(60, jitter=0.5, time_step=0.25, **options)
    gaps = np.diff(whole.times)[np.diff(np.repeat(np.arange(60), np.diff(whole.offsets))) == 0]
    assert gaps.min() >= 0.75 and gaps.max() <= 3.25 and gaps.std() > 0.2
    x = panel.values[:, 0]
    assert np.all(x[~np.isnan(x)] % 0.5 == 0)
    assert np.all(panel.times % 0.25 == 0)
    lacking = panel.counts[:, 1] == 0
    assert 3 <= lacking.sum() <= 25
    assert 0.2 < np.isnan(x).mean() < 0.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {"slow": 0.5, "fast": 0.4}}, "weights"),
        ({"interval": 0.0}, "interval"),
        ({"jitter": 1.0}, "jitter"),
        ({"response": "z"}, "'z'"),
        ({"response": None, "threshold": 1.0}, "response"),
        ({"threshold": -1.0}, "time 0"),
        ({"lives": {"slow": (1.0, 0.1)}}, "'fast'"),
        ({"steps": {"z": 1.0}}, "steps names 'z'"),
        ({"missing": 1.5}, "missing"),
        ({"noise_variances": {"x": 1.0}}, "'y'"),
        ({"means": {"slow": {"x": [1.0], "y": [0.0, 0.0]}}}, "'fast'"),
        ({"covariances": {m: {"x": [-1.0], "y": [1.0, 1.0]} for m in ("slow", "fast")}}, "semi-definite"),
        ({"covariances": {m: {"x": [1.0, 1.0], "y": [1.0, 1.0]} for m in ("slow", "fast")}}, "1 coefficients"),
    ],
)
def test_recipes_that_cannot_be_drawn_name_the_option(change, message):
    with pytest.raises(OptionError, match=message):
        simulate_fleet(10, **{**RECIPE, **change})


def test_readings_drawn_too_far_out_are_refused_by_name_not_returned_as_nan():
    model = example_model()
    own = model.internal_parameters
    parameters = Parameters(own.weights, 1e10 * own.means, own.factors, own.noise_variances, own.sizes)
    model = FailureModeModel(**{**model._arguments(), "parameters": parameters})
    named = r"times: .*'a' overflow at time 5.4e\+154; .* 0 to 10"
    with np.errstate(all="raise"), pytest.raises(OptionError, match=named):
        model.sample(2, [[1.0, 2.0], [1.0, 5.4e154]], random_state=0)
