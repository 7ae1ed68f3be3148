"""What a model with conditions is given to score: all that it needs, or a typed error that says what is expected."""

import numpy as np
import pandas as pd
import pytest
from conditioned_fleets import EVERYTHING, conditioned_estimator, conditioned_fleet, conditioned_lives, fitted

import cem
from cem import FailureModeEM, Panel
from cem.basis.families import Polynomial
from cem.errors import PanelError, PredictionError
from cem.mixture.conditioned import adjusted_panel


@pytest.fixture(scope="module")
def model():
    return conditioned_estimator().model_


@pytest.fixture(scope="module")
def plain():
    return fitted(conditioned_fleet(), basis=Polynomial(1)).model_


def fleet():
    return conditioned_fleet(4, 5)


def replaced(**changes):
    """The fleet with other covariates; a function changes a copy of the values."""
    panel = fleet()
    for name, change in changes.items():
        option = "unit_covariates" if name in panel.unit_covariates else "covariates"
        values = None
        if change is not None:
            values = panel.covariate(name).copy()
            values = change(values)
        panel = panel.with_covariates(**{option: {name: values}})
    return panel


def at(place, value):
    def change(values):
        values[place] = value
        return values

    return change


WRONG = {
    "no covariate of readings": (lambda: replaced(load=None), "no covariate 'load'; the model needs 'load', 'speed'"),
    "no covariate of units": (
        lambda: replaced(site=None), r"no covariate 'site'; .*of every unit \(unit_covariates=\)",
    ),
    "missing at a reading": (lambda: replaced(load=at(3, np.nan)), "'load' is missing at time .* of unit 0"),
    "missing of a unit": (lambda: replaced(site=at(1, None)), "'site' of unit 1 is missing"),
    "a level never seen": (lambda: replaced(stage=at(3, "mid")), "'stage' of unit 0 at row 3 is 'mid'"),
    "a regime never seen": (lambda: replaced(load=at(3, 1e5)), "regime at time .* of unit 0, load=100000"),
    "a number beyond all": (lambda: replaced(speed=at(3, 1e200)), "unit 0 are too far from all training readings"),
    "texts for numbers": (lambda: replaced(speed=lambda values: np.full(len(values), "fast")), "numbers were expected"),
    "of units as of readings": (
        lambda: replaced(site=None).with_covariates({"site": np.array(["A", "B"] * 25)}),
        r"'site' of the model is one of units.*unit_covariates=\['site'\]",
    ),
    "a channel as covariate": (
        lambda: fleet().select_channels(["a", "b"]).with_covariates({"c": fleet().values[:, 2]}),
        "'c' is a channel of the model and a covariate of the panel",
    ),
    "a covariate as channel": (
        lambda: Panel(
            list(fleet().units), fleet().offsets, fleet().times,
            np.column_stack([fleet().values, fleet().covariate("load")]), ("a", "b", "c", "load"),
        ),
        r"'load' is a covariate of the model and no channel; read the panel with covariates=\['load'\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("method", ["predict_proba", "score_samples", "novelty", "posterior"])
def test_covariates_that_are_wrong_are_refused_by_name(case, method, model):
    """Nothing is guessed: a wrong regime shifts every sensor."""
    make, message = WRONG[case]
    with pytest.raises(PredictionError, match=message):
        getattr(model, method)(make())


@pytest.mark.parametrize(
    "case",
    ["no covariate of readings", "missing at a reading", "a level never seen", "a channel as covariate",
     "a covariate as channel"],
)  # fmt: skip
def test_a_prognosis_refuses_them_too(case):
    make, message = WRONG[case]
    message = message.replace("the model needs 'load', 'speed'", "the model needs 'load', 'stage'")
    with pytest.raises(PredictionError, match=message):
        conditioned_lives().predict(make())


def test_an_array_is_refused_with_what_to_give_instead(model):
    for scored in (model, conditioned_estimator()):
        with pytest.raises(PredictionError, match=r"X is a ndarray, which has no covariates; the model needs 'load'"):
            scored.predict(np.zeros((5, 10, 3)), times=np.arange(10.0))


def test_a_panel_may_have_covariates_that_a_model_does_not_use(plain, model):
    """One panel serves models with and without conditions."""
    bare = replaced(load=None, speed=None, stage=None, site=None, rate=None)
    np.testing.assert_array_equal(plain.score_samples(fleet()), plain.score_samples(bare))
    more = fleet().with_covariates({"humidity": np.full(50, np.nan)})
    np.testing.assert_array_equal(model.score_samples(more), model.score_samples(fleet()))


def test_a_covariate_with_the_name_of_a_channel_is_refused_by_a_plain_model_too(plain):
    """The channel would silently count as missing."""
    make, message = WRONG["a channel as covariate"]
    with pytest.raises(PredictionError, match=message):
        plain.predict(make())


def test_a_load_of_the_whole_life_may_be_given_once_for_each_unit(model):
    once = replaced(load=None).with_covariates(unit_covariates={"load": [20.0] * 5})
    each = replaced(load=lambda values: np.full_like(values, 20.0))
    np.testing.assert_array_equal(model.score_samples(once), model.score_samples(each))


def test_a_reading_that_overflows_is_refused_rather_than_counted_as_missing(model):
    panel = fleet()
    values = panel.values.copy()
    values[7, 2] = 1.7e308
    extreme = panel._replace(values=values)
    conditions = model.conditions.with_maps(model.conditions.offsets, np.full((3, 3), 1e-10))
    narrow = type(model)(**{**model._arguments(), "conditions": conditions})
    with pytest.raises(PredictionError, match=r"channel 'c' is 1\.7e\+308 at time .* of unit 0"):
        adjusted_panel(narrow, extreme)


# -- data frames ------------------------------------------------------------------------------------------------------


def as_frame(panel):
    lengths = np.diff(panel.offsets)
    frame = pd.DataFrame(panel.values, columns=list(panel.channels))
    frame["unit"], frame["t"] = np.repeat(list(panel.units), lengths), panel.times
    for name in panel.covariates:
        frame[name] = panel.covariate(name)
    for name in panel.unit_covariates:
        frame[name] = np.repeat(panel.covariate(name), lengths)
    return frame


@pytest.fixture(scope="module")
def of_frame():
    columns = {
        "channels": ["a", "b", "c"], "time_unit": "h", "covariates": ["load", "speed", "stage"],
        "unit_covariates": ["site", "rate"],
    }  # fmt: skip
    em = FailureModeEM(
        2, unit="unit", time="t", columns=columns, n_init=2, max_iter=60, random_state=0, basis=Polynomial(2),
        **EVERYTHING,
    )  # fmt: skip
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.CemWarning)
        return em.fit(as_frame(conditioned_fleet()))


def test_a_frame_is_read_with_the_covariates_of_the_training_frame(of_frame, tmp_path):
    expected = of_frame.model_.score_samples(fleet())
    np.testing.assert_array_equal(of_frame.score_samples(as_frame(fleet())), expected)
    of_frame.model_.save(tmp_path / "m.cem")
    np.testing.assert_array_equal(cem.load(tmp_path / "m.cem").score_samples(as_frame(fleet())), expected)


@pytest.mark.parametrize("name", ["load", "site"])
def test_a_frame_without_a_covariate_is_refused(name, of_frame):
    frame = as_frame(fleet()).drop(columns=name)
    for scored in (of_frame, of_frame.model_):
        with pytest.raises(PredictionError, match=f"no column '{name}', a covariate that the model needs"):
            scored.predict(frame)


def test_a_frame_whose_unit_covariate_varies_is_refused(of_frame):
    frame = as_frame(fleet())
    frame.loc[3, "site"] = "B" if frame.loc[2, "site"] == "A" else "A"
    with pytest.raises(PanelError, match="site"):
        of_frame.predict(frame)


def test_further_columns_of_the_training_frame_need_not_be_there(of_frame):
    """A covariate that the model did not take is not asked for again."""
    frame = as_frame(conditioned_fleet())
    frame["shift"] = "day"
    em = FailureModeEM(
        2, n_init=1, max_iter=20, random_state=0, basis=Polynomial(1), covariates={"b": "speed"}, unit="unit", time="t",
        columns={"channels": ["a", "b", "c"], "covariates": ["speed", "shift"]},
    )  # fmt: skip
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.CemWarning)
        em.fit(frame)
    found = em.predict_proba(as_frame(fleet())[["unit", "t", "a", "b", "c", "speed"]])
    np.testing.assert_array_equal(found, em.predict_proba(as_frame(fleet()).assign(shift="night")))
