"""Regimes are recognised exactly where they are discrete, and the model says so where they are not."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from covariate_cases import SETTINGS, turbofan_settings

import cem
from cem.covariates import Regimes
from cem.covariates.columns import Column
from cem.covariates.learning import learned_conditions
from cem.errors import OptionError, PanelError, PredictionError, RegimeWarning

LOAD, MODE = Column("load"), Column("mode", ("idle", "full", "test"))
NAMES = [column.name for column in SETTINGS]


def learned(columns, w, regimes):
    return learned_conditions(columns, np.asarray(w, float), channels=["x"], sizes=[1], regimes=regimes)


@pytest.mark.parametrize("seed", range(10))
def test_six_flight_conditions_are_recovered_exactly_without_a_warning(seed):
    """Every reading in its own condition, in the order of the altitudes, whatever the order of the readings."""
    w, true = turbofan_settings(np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conditions = learned(SETTINGS, w, Regimes(NAMES, n=6))
    assert np.array_equal(conditions.regimes_at(w), true)
    assert conditions.regimes.separation > 100 and conditions.regimes.between == 0
    assert np.array_equal(conditions.regimes.counts, np.bincount(true))
    assert conditions.regimes.centres == pytest.approx(np.array([w[true == g].mean(axis=0) for g in range(6)]))
    assert "discrete" in str(conditions.regimes)
    again = learned(SETTINGS, w[::-1], Regimes(NAMES, n=6))
    assert again.regimes.labels == conditions.regimes.labels


def test_a_regime_of_few_readings_is_found_among_many():
    """A test run of one hour in a year: starts drawn at random would miss it."""
    rng = np.random.default_rng(0)
    w = np.concatenate([rng.normal(20, 0.1, 30_000), rng.normal(60, 0.1, 30_000), rng.normal(90, 0.1, 12)])[:, None]
    counts = learned([LOAD], w, Regimes("load", n=3)).regimes.counts
    assert counts.tolist() == [30_000, 30_000, 12]


def test_a_few_wrong_settings_do_not_change_the_scale_of_the_others():
    """One reading of 1e6 makes a standard deviation in which all true regimes are alike."""
    w, true = turbofan_settings(np.random.default_rng(1))
    bad = np.concatenate([w, [[1e6, 0.5, 100.0]]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RegimeWarning)
        conditions = learned(SETTINGS, bad, Regimes(NAMES, n=7))
    assert np.array_equal(conditions.regimes_at(w), true)


@pytest.mark.parametrize(("n", "settings"), [(3, "uniform"), (5, "uniform"), (7, "turbofan"), (4, "turbofan")])
def test_settings_that_are_no_n_groups_are_warned_of(n, settings):
    """A load that varies continuously has no regimes; offsets by regime would be wrong between them."""
    rng = np.random.default_rng(2)
    if settings == "uniform":
        columns, w, names = [LOAD], rng.uniform(0, 100, (5000, 1)), "load"
    else:
        columns, w, names = SETTINGS, turbofan_settings(rng)[0], NAMES
    with pytest.warns(RegimeWarning, match="not form.*cuts.*covariates"):
        conditions = learned(columns, w, Regimes(names, n=n))
    assert not conditions.regimes.is_discrete and "not discrete" in str(conditions.regimes)


def test_a_reading_between_two_regimes_gets_the_nearer_one_and_one_beyond_all_is_refused():
    """As the documentation of `Regimes` says."""
    w = np.repeat([[20.0], [60.0], [90.0]], 50, axis=0) + np.random.default_rng(0).uniform(-1, 1, (150, 1))
    strict = learned([LOAD], w, Regimes("load", n=3))
    assert strict.regimes_at(np.array([[39.0], [41.0], [5.0], [103.0]])).tolist() == [0, 1, 0, 2]
    for beyond in (-5.0, 110.0):
        with pytest.raises(PredictionError, match=rf"regime at row 1, load={beyond:g}, is beyond the reach.*'load=20"):
            strict.regimes_at(np.array([[20.0], [beyond]]))
    lenient = learned([LOAD], w, Regimes("load", n=3, unknown="nearest"))
    assert lenient.regimes_at(np.array([[-5.0], [110.0]])).tolist() == [0, 2]


def test_cuts_are_open_on_the_right():
    """A load of exactly 20 is in the regime that begins there."""
    w = np.array([[0.0], [19.999], [20.0], [59.0], [60.0], [1e9]])
    conditions = learned([LOAD], w, Regimes("load", cuts=[20, 60]))
    assert conditions.regimes_at(w).tolist() == [0, 0, 1, 1, 2, 2]
    assert conditions.regimes.labels == ("load < 20", "20 <= load < 60", "load >= 60")


def test_an_interval_without_training_readings_is_an_error_or_the_nearest_one():
    """It has no offsets of its own."""
    w = np.array([[0.0], [10.0], [70.0], [80.0]])
    strict = learned([LOAD], w, Regimes("load", cuts=[20, 40, 60]))
    with pytest.raises(PredictionError, match="row 0, load=30, had no training readings"):
        strict.regimes_at(np.array([[30.0]]))
    lenient = learned([LOAD], w, Regimes("load", cuts=[20, 40, 60], unknown="nearest"))
    assert lenient.regimes_at(np.array([[21.0], [39.0], [41.0], [59.0]])).tolist() == [0, 0, 3, 3]
    ends = learned([LOAD], w, Regimes("load", cuts=[-20, 5, 75, 100], unknown="nearest"))
    assert ends.regimes_at(np.array([[-30.0], [200.0]])).tolist() == [1, 3]


def test_a_category_column_names_the_regime():
    """A level that no training reading had is refused, with unknown="nearest" too: levels have no distance."""
    for unknown in ("error", "nearest"):
        conditions = learned([MODE], [[1.0], [0.0], [1.0]], Regimes("mode", unknown=unknown))
        assert conditions.regimes.labels == ("mode=idle", "mode=full", "mode=test")
        assert conditions.regimes_at(np.array([[1.0], [0.0]])).tolist() == [1, 0]
        with pytest.raises(PredictionError, match="row 0, mode='test', had no training readings"):
            conditions.regimes_at(np.array([[2.0]]))
        with pytest.raises(PredictionError, match="'mode' has no level 3 at row 0"):
            conditions.regimes_at(np.array([[3.0]]))


@pytest.mark.parametrize(
    ("columns", "w", "regimes", "error", "message"),
    [
        ([LOAD], [[1.0], [2.0]], Regimes("laod", n=2), OptionError, "did you mean 'load'"),
        ([LOAD], [[1.0], [2.0], [2.0]], Regimes("load", n=3), OptionError, "have 2 distinct settings"),
        ([LOAD], [[1.0], [1.0]], Regimes("load", n=2), PanelError, "'load' is 1 at every training reading"),
        ([LOAD], [[1.0], [2.0]], Regimes("load"), OptionError, "'load' is a number; give n"),
        ([LOAD], [[1.0], [2.0]], Regimes("load", cuts=[5]), PanelError, "in one interval"),
        ([MODE], [[1.0], [0.0]], Regimes("mode", n=2), OptionError, "'mode', which is a category"),
        ([MODE], [[1.0], [1.0]], Regimes("mode"), PanelError, "one level"),
        (
            [LOAD, MODE],
            [[1.0, 0], [2.0, 1]],
            Regimes(["load", "mode"], n=2),
            OptionError,
            "'mode', which is a category",
        ),
        ([LOAD], [[1.0], [np.nan]], Regimes("load", n=2), PanelError, "'load' is missing at reading 1"),
        ([LOAD], [[1e308], [-1e308]], Regimes("load", n=2), PanelError, "another unit"),
    ],
)
def test_readings_that_do_not_fit_the_regimes_are_refused_by_name(columns, w, regimes, error, message):
    """Nothing is guessed."""
    with pytest.raises(error, match=message):
        learned(columns, w, regimes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "names of regimes is"),
        ((3,), "names of regimes is 3"),
        (([3],), "holds 3"),
        ((["a", "a"], 2), "occurs twice"),
        ((["a", "b"],), "need n"),
        (("a", 1), "n of regimes is 1"),
        (("a", 2.5), "n of regimes is 2.5"),
        (("a", 1000), "n of regimes is 1000"),
    ],
)
def test_options_that_cannot_be_are_refused(arguments, message):
    """Before any data are read."""
    with pytest.raises(OptionError, match=message):
        Regimes(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2, "cuts": [1]}, "n and cuts"),
        ({"cuts": []}, "cuts of regimes"),
        ({"cuts": [2, 1]}, "ascending"),
        ({"cuts": "12"}, "cuts of regimes"),
        ({"cuts": [1, float("inf")]}, "inf"),
        ({"n": 2, "unknown": "guess"}, "unknown of regimes is 'guess'"),
    ],
)
def test_keyword_options_that_cannot_be_are_refused(options, message):
    """Likewise."""
    with pytest.raises(OptionError, match=message):
        Regimes("a", **options)
    with pytest.raises(OptionError, match="cuts limit the regimes of one covariate"):
        Regimes(["a", "b"], cuts=[1])


def test_specifications_are_values():
    """Estimators compare, copy and print their options."""
    for regimes in (cem.Regimes(["a", "b"], n=3), Regimes("a", cuts=[1, 2], unknown="nearest"), Regimes("m")):
        again = eval(repr(regimes), {"Regimes": Regimes})
        assert again == regimes == pickle.loads(pickle.dumps(regimes)) and hash(again) == hash(regimes)
    assert Regimes("a", 2) != Regimes("a", 3)
