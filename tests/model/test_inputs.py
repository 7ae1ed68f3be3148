"""What `fit`, `predict` and `score` take: frames, arrays and labels are read as meant, or refused with the way out."""

from __future__ import annotations

import pickle
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone

import cem
from cem.errors import IgnoredLabelsWarning, OptionError, PanelError, PredictionError

pd = pytest.importorskip("pandas")

L, N = 24, 8
HOURS = np.arange(N) * 10.0


def readings(seed=0):
    """Two modes in turn: one stays, one rises; shape (units, times, channels)."""
    rng = np.random.default_rng(seed)
    mode = np.arange(L) % 2
    x = (mode[:, None] * HOURS * 0.05)[:, :, None] * [1.0, -2.0]
    return (
        x
        + rng.normal(0, 0.3, (L, N, 2))
        + rng.normal(0, 0.2, (L, 1, 2))
        + rng.normal(0, 0.004, (L, 1, 2)) * HOURS[:, None]
    )


def long(values, **more):
    """One row per reading, as every data-frame library has it."""
    n, m, _ = values.shape
    frame = {"unit": np.repeat([f"m{l:02d}" for l in range(n)], m), "time": np.tile(HOURS[:m], n)}
    return pd.DataFrame({**frame, "vib": values[:, :, 0].ravel(), "temp": values[:, :, 1].ravel(), **more})


def estimator(n_modes=2, **options):
    given = {"basis": cem.Polynomial(1), "n_init": 3, "random_state": 0, "covariance": "full", **options}
    return cem.FailureModeEM(n_modes, **given)


@pytest.fixture(scope="module")
def by_panel():
    return estimator().fit(cem.Panel.from_frame(long(readings()), unit="unit", time="time"))


# ------------------------------------------------------------------------------------------------------------ frames


def test_a_long_frame_is_no_array_of_units(by_panel):
    """Each row was taken for a unit, and its id, time and sensors for four readings."""
    frame = long(readings())
    for call in (estimator().fit, by_panel.predict, by_panel.score, by_panel.model_.predict_proba, by_panel.bic):
        with pytest.raises(PanelError, match=r"Panel.from_frame\(frame, unit=\.\.\., time=\.\.\.\).*FailureModeEM\("):
            call(frame)


@pytest.mark.parametrize("where", ["constructor", "fit"])
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_are_read_once_the_columns_are_known(by_panel, where, library):
    frame = long(readings())
    given = {
        "pandas": lambda: frame,
        "polars": lambda: pytest.importorskip("polars").from_pandas(frame),
        "pyarrow": lambda: pytest.importorskip("pyarrow").Table.from_pandas(frame),
    }[library]()
    names = {"unit": "unit", "time": "time"}
    em = estimator(**names).fit(given) if where == "constructor" else estimator().fit(given, **names)
    assert em.channels_ == ("vib", "temp")
    np.testing.assert_array_equal(em.responsibilities_, by_panel.responsibilities_)
    panel = cem.Panel.from_frame(frame, unit="unit", time="time")
    np.testing.assert_array_equal(em.predict_proba(given), by_panel.predict_proba(panel))
    assert em.score(given) == by_panel.score(panel) and em.bic(given) == by_panel.bic(panel)
    np.testing.assert_array_equal(em.model_.novelty(given), by_panel.model_.novelty(panel))
    forecast = em.model_.forecast(given, [90.0], channel="temp").mean
    np.testing.assert_array_equal(forecast, by_panel.model_.forecast(panel, [90.0], channel="temp").mean)


def test_a_saved_model_remembers_the_columns(tmp_path, by_panel):
    frame = long(readings())
    estimator().fit(frame, unit="unit", time="time").model_.save(tmp_path / "m.cem")
    model = cem.load(tmp_path / "m.cem")
    np.testing.assert_array_equal(model.predict(frame), estimator(unit="unit", time="time").fit(frame).predict(frame))


def test_covariates_pass_through_the_estimator(tmp_path):
    """A frame's load would be a channel, or had to be dropped by hand before every call."""
    frame = long(readings(), load=np.tile(np.arange(N), L), site=np.repeat(["n", "s"] * (L // 2), N))
    columns = {"covariates": ["load"], "unit_covariates": ["site"]}
    em = estimator(unit="unit", time="time", columns=columns).fit(frame)
    assert em.channels_ == ("vib", "temp")
    em.model_.save(tmp_path / "m.cem")
    model = cem.load(tmp_path / "m.cem")
    expected = em.predict(frame)
    np.testing.assert_array_equal(model.predict(frame), expected)
    # A model that does not use them reads frames without them, but not by a misspelt option.
    np.testing.assert_array_equal(model.predict(frame.drop(columns=["load", "site"])), expected)
    with pytest.raises(PanelError, match="list of columns; found the one string 'load'"):
        estimator(unit="unit", time="time", columns={"covariates": "load"}).fit(frame)
    with pytest.raises(OptionError, match="did you mean 'covariates'"):
        estimator(unit="unit", time="time", columns={"covariate": ["load"]}).fit(frame)


def test_a_covariate_that_the_model_needs_is_missed_by_name(monkeypatch):
    """Scored without its load, a reading would be taken for one at the mean load."""
    frame = long(readings(), load=np.tile(np.arange(N), L))
    model = estimator().fit(frame, unit="unit", time="time", columns={"covariates": ["load"]}).model_
    monkeypatch.setattr(type(model), "covariates", ("load",), raising=False)
    message = "no column 'load', a covariate that the model needs; did you mean 'Load'"
    with pytest.raises(PredictionError, match=message):
        model.predict(frame.rename(columns={"load": "Load"}))


def test_scored_frames_are_read_by_name(by_panel):
    """Other columns, in another order, with rows of more kinds, are the same readings."""
    frame = long(readings(), note="ok", mode=np.repeat(["a", "b"] * (L // 2), N))
    em = estimator(unit="unit", time="time", columns={"channels": ["vib", "temp"], "mode": "mode"}).fit(frame)
    assert em.mode_labels_ == ("a", "b")
    turned = frame[["note", "temp", "time", "vib", "unit"]].assign(more=1.0)
    np.testing.assert_array_equal(em.predict_proba(turned), em.predict_proba(frame))
    with pytest.raises(PredictionError, match=r"no column 'vib', a channel of the model; did you mean 'Vib'\?"):
        em.predict(frame.rename(columns={"vib": "Vib"}))


def test_a_response_and_failure_times_may_be_absent_when_scoring():
    frame = long(readings(), died=np.repeat(HOURS[-1] + 5.0 + np.arange(L), N))
    em = estimator(
        unit="unit", time="time", columns={"response": "temp", "failure_time": "died"}, time_axis="to_failure"
    )
    em.fit(frame)
    assert em.model_.response == "temp" and em.lifetimes_.n_modes == 2
    np.testing.assert_array_equal(em.predict(frame), em.predict(frame.drop(columns="temp").assign(temp=np.nan)))
    with pytest.raises(PredictionError, match="'m00' is still running"):
        em.predict(frame.drop(columns="died"))


def test_datetimes_of_a_frame_count_as_in_training():
    frame = long(readings())
    frame["time"] = pd.Timestamp("2024-05-01") + pd.to_timedelta(frame["time"], unit="h")
    for origin in ("2024-04-30", "zero", None):
        em = estimator(unit="unit", time="time", columns={"time_unit": "d", "origin": origin}).fit(frame)
        again = pickle.loads(pickle.dumps(em.model_))
        np.testing.assert_allclose(again.predict_proba(frame), em.responsibilities_, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "unit"}, "time=None: name both columns"),
        ({"time": "time"}, "unit=None"),
        ({"unit": "unit", "time": "time", "columns": {"chanels": []}}, r"'chanels'.*did you mean 'channels'"),
        ({"unit": "unit", "time": "time", "columns": ["vib"]}, "a dict of further arguments"),
        ({"columns": {"channels": ["vib"]}}, "unit=None"),
    ],
)
def test_columns_half_named_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        estimator(**options).fit(long(readings()))
    with pytest.raises(OptionError, match=message):
        estimator().fit(long(readings()), **options)


def test_times_beside_a_frame_are_refused():
    with pytest.raises(OptionError, match="times is for arrays"):
        estimator(unit="unit", time="time").fit(long(readings()), times=HOURS)


# ------------------------------------------------------------------------------------------------------------ labels


def test_labels_go_into_modes_and_y_is_ignored():
    """scikit-learn's y is often the truth that a clustering is judged by, and must not be obeyed unasked."""
    x, labels = readings(), [None, "rises"] + [None] * (L - 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        em = estimator().fit(x, modes=labels, times=HOURS)
        assert estimator().fit(x, None, times=HOURS).mode_labels_ == (0, 1)
        panel = cem.Panel.from_arrays(HOURS, x)
        assert estimator().fit(panel, modes=labels).mode_labels_ == ("rises", 0)
    assert em.mode_labels_ == ("rises", 0)
    with pytest.warns(IgnoredLabelsWarning, match=r"y is ignored.*fit\(X, modes=labels\)") as caught:
        told = estimator().fit(x, labels, modes=labels, times=HOURS)
        untold = estimator().fit(x, labels, times=HOURS)
    assert caught[0].filename == __file__
    assert told.mode_labels_ == ("rises", 0) and untold.mode_labels_ == (0, 1)
    np.testing.assert_array_equal(told.responsibilities_, em.responsibilities_)
    frame = long(x)
    assert estimator(unit="unit", time="time").fit(frame, modes=labels).mode_labels_ == ("rises", 0)
    assert len(estimator().fit_predict(x, modes=labels, times=HOURS)) == L


# ------------------------------------------------------------------------------------------------------------- times


def test_an_array_without_times_is_not_scored_at_others():
    """Scored at 0, 1, 2, ... a search chose one mode for two."""
    x = readings()
    em = estimator().fit(x, times=HOURS)
    for call in (em.predict, em.predict_proba, em.score, em.bic, em.icl, em.score_samples, em.model_.novelty):
        with pytest.raises(PredictionError, match="without times, and the model was fitted at times from 0 to 70"):
            call(x)
    with pytest.raises(PredictionError, match=r"what the units have shown.*give a Panel"):
        em.model_.forecast(x, [90.0], channel="x1")
    np.testing.assert_array_equal(em.predict_proba(x, times=HOURS), em.predict_proba(cem.Panel.from_arrays(HOURS, x)))


def test_an_array_without_times_is_scored_where_the_fit_was_at_its_places_too():
    x = readings()
    blank = x.copy()
    blank[0, :2] = np.nan
    for em in (
        estimator().fit(blank),
        estimator().fit(x, times=np.arange(N)),
        estimator().fit(cem.Panel.from_arrays(np.arange(N), x)),
    ):
        np.testing.assert_array_equal(em.predict_proba(x), em.predict_proba(x, times=np.arange(N)))
    hours = cem.Panel.from_arrays(np.arange(N), x, time_unit="h")  # a place is no hour
    with pytest.raises(PredictionError, match="without times"):
        estimator().fit(hours).predict(x)


def test_axes_are_one_rule_for_fit_and_predict():
    """sktime and aeon hold (units, channels, times): taken as they are they would be N channels of two readings."""
    x = readings()
    turned = x.transpose(0, 2, 1)
    axes = "units, channels, times"
    em = estimator().fit(turned, times=HOURS, axes=axes)
    np.testing.assert_array_equal(em.responsibilities_, estimator().fit(x, times=HOURS).responsibilities_)
    np.testing.assert_array_equal(em.predict(turned, times=HOURS, axes=axes), em.predict(x, times=HOURS))
    assert em.model_.score(turned, times=HOURS, axes=axes) == em.score(x, times=HOURS)
    with pytest.raises(PanelError, match="axes="):
        estimator().fit(turned)


# ------------------------------------------------------------------------------------------------------ scikit-learn


def test_clone_and_parameters_know_the_columns():
    em = estimator(unit="unit", time="time", columns={"channels": ["vib"]})
    assert clone(em).get_params() == em.get_params() and em.get_params()["unit"] == "unit"
    assert clone(em).fit(long(readings())).channels_ == ("vib",)


def test_a_search_scores_at_the_times_that_it_fits_at():
    from sklearn import config_context
    from sklearn.model_selection import GridSearchCV

    x = readings()
    grid = {"n_modes": [1, 2]}
    with config_context(enable_metadata_routing=True):
        em = estimator().set_fit_request(times=True).set_score_request(times=True)
        found = GridSearchCV(em, grid, cv=2).fit(x, times=HOURS)
        assert clone(em).get_metadata_routing().score.requests["times"] is True
        with pytest.raises(OptionError, match="score takes no 'times_of'"):
            em.set_score_request(times_of=True)
    assert found.best_params_ == {"n_modes": 2}
    places = GridSearchCV(estimator(), grid, cv=2).fit(x)
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], places.cv_results_["mean_test_score"], atol=1e-3)
    with pytest.raises(OptionError, match="enable_metadata_routing=True"):
        estimator().set_score_request(times=True)


@pytest.mark.filterwarnings("ignore")  # as many a script has it: warnings alone would be silence
def test_a_search_whose_scores_lack_the_times_of_its_fits_ends_with_an_error():
    """Scores of NaN for all candidates would choose the first."""
    from sklearn import config_context
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    x = readings()
    grid = {"n_modes": [1, 2]}
    with pytest.raises(ValueError, match=r"(?s)fits failed.*times reach fit but not score.*set_score_request"):
        GridSearchCV(estimator(), grid, cv=2).fit(x, times=HOURS)
    with pytest.raises(OptionError, match="times reach fit but not score"):
        GridSearchCV(estimator(), grid, cv=2, error_score="raise").fit(x, times=HOURS)
    with pytest.raises(OptionError, match="times reach fit but not score"):
        cross_val_score(
            make_pipeline(estimator()), x, cv=2, params={"failuremodeem__times": HOURS}, error_score="raise"
        )
    with config_context(enable_metadata_routing=True), pytest.raises(ValueError, match="times reach fit but not score"):
        em = estimator().set_fit_request(times=True).set_score_request(times=False)
        GridSearchCV(em, grid, cv=2).fit(x, times=HOURS)
    # Scores that know the times themselves, and times that are those of an array without, are as before.
    own = GridSearchCV(estimator(), grid, cv=2, scoring=lambda em, x, y=None: em.score(x, times=HOURS))
    assert own.fit(x, times=HOURS).best_params_ == {"n_modes": 2}
    places = np.arange(float(x.shape[1]))
    assert GridSearchCV(estimator(), grid, cv=2).fit(x, times=places).best_params_ == {"n_modes": 2}


def test_a_search_over_a_panel():
    """scikit-learn takes a Panel apart and hands on lists of its units."""
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(estimator(), {"n_modes": [1, 2]}, cv=2, error_score="raise")
    panel = cem.Panel.from_arrays(HOURS, readings())
    assert search.fit(panel).best_params_ == {"n_modes": 2}
    np.testing.assert_array_equal(search.predict(list(panel)), search.predict(panel))


def test_a_search_over_groups_of_a_frame():
    from sklearn.model_selection import GridSearchCV, GroupKFold

    frame = long(readings())
    search = GridSearchCV(estimator(unit="unit", time="time"), {"n_modes": [1, 2]}, cv=GroupKFold(3))
    assert search.fit(frame, groups=frame["unit"]).best_params_ == {"n_modes": 2}


# ------------------------------------------------------------------------------------------------------ interruption


def state(em):
    return {name: value for name, value in em.__dict__.items() if name.endswith("_")}


@pytest.mark.slow
def test_a_refit_that_is_interrupted_anywhere_leaves_the_old_fit_or_the_new_one():
    """Mixed attributes would be of no fit at all: old weights beside new labels."""
    options = {"unit": "unit", "time": "time", "columns": {"failure_time": "died"}, "n_init": 1}
    died = np.repeat(HOURS[-1] + 5.0 + np.arange(L), N)
    old = estimator(**options, time_axis="to_failure").fit(long(readings(), died=died))
    before, frame = state(old), long(readings(1), died=died)
    assert "lifetimes_" in before
    old.set_params(time_axis="forward", n_modes=1)
    where = sys.modules["cem.fitting.estimator"].__file__
    n_lines = cut = 0

    def trace(stop):
        count = 0

        def each(frame, event, arg):
            nonlocal count
            if frame.f_code.co_filename != where:
                return None
            if event == "line":
                count += 1
                if count == stop:
                    raise KeyboardInterrupt
            return each

        return each, lambda: count

    for stop in range(1, 1000):
        em = pickle.loads(pickle.dumps(old))
        kept = state(em)
        each, count = trace(stop)
        sys.settrace(each)
        try:
            em.fit(frame)
            n_lines = count()
        except KeyboardInterrupt:
            cut += 1
        finally:
            sys.settrace(None)
        now = state(em)
        if "lifetimes_" in now:
            assert now.keys() == kept.keys() and all(now[name] is kept[name] for name in now)
        else:
            assert em.mode_labels_ == (0,) and em.responsibilities_.shape == (L, 1) and em.model_.n_modes == 1
        if n_lines:
            break
    assert cut > 50 and n_lines  # every line of the fit in that file was a place to stop at


def test_an_error_in_a_progress_callback_leaves_the_old_fit(by_panel):
    em = pickle.loads(pickle.dumps(by_panel))
    before = state(em)

    def fail(*_):
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        em.set_params(n_modes=1, n_init=8).fit(long(readings(1)), unit="unit", time="time", progress=fail)
    assert state(em) == before
