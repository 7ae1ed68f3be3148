"""Estimators in scikit-learn's searches, pipelines and stores, on panels and on arrays."""

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn
from sklearn import config_context
from sklearn.base import clone, is_clusterer
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import _safe_indexing, resample
from sklearn.utils.validation import _num_samples, check_is_fitted

import cem
from cem.errors import IgnoredLabelsWarning, NotFittedError, OptionError, PanelError, PanelIndexError, PanelTypeError

pytestmark = [
    pytest.mark.filterwarnings("ignore::cem.errors.FloorWarning", "ignore::cem.errors.LostModeWarning"),
]

SKLEARN = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
TRUTH = np.arange(40) % 2
TIMES = np.linspace(0.0, 12.0, 8)


def readings():
    """Mode 0 stays, mode 1 rises; shape (units, times)."""
    rng = np.random.default_rng(0)
    return 0.8 * TRUTH[:, None] * TIMES + rng.normal(0, 0.4, (40, 8)) + rng.normal(0, 0.5, (40, 1))


def panel(**options):
    values = np.stack([readings(), np.random.default_rng(1).normal(size=(40, 8))], axis=2)
    ids = [f"m{l:02d}" for l in range(40)]
    return cem.Panel.from_arrays(TIMES, values, ids, channels=["vib", "temp"], **options)


def estimator(n_modes=2, **options):
    return cem.FailureModeEM(n_modes, **{"basis": cem.Polynomial(1), "n_init": 2, "random_state": 0, **options})


@pytest.fixture(scope="module")
def fitted():
    return estimator().fit(panel())


# -------------------------------------------------------------------------------------------------------- attributes


def test_a_fit_says_what_it_saw_and_what_it_found(fitted):
    assert is_clusterer(fitted) and check_is_fitted(fitted) is None
    assert fitted.n_features_in_ == 2 and fitted.feature_names_in_.tolist() == ["vib", "temp"]
    assert fitted.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(fitted.labels_, fitted.predict(panel()))
    np.testing.assert_array_equal(fitted.labels_, estimator().fit_predict(panel()))
    told = estimator().fit(panel(modes=["stays", "rises"] * 20))
    assert told.classes_.tolist() == ["rises", "stays"] and told.labels_[:2].tolist() == ["stays", "rises"]
    assert not hasattr(estimator(), "labels_") and not hasattr(estimator(), "classes_")


def test_names_of_an_earlier_fit_do_not_remain():
    em = estimator().fit(panel())
    em.fit(readings())
    assert not hasattr(em, "feature_names_in_") and em.n_features_in_ == 8


def test_other_words_are_unknown():
    with pytest.raises(TypeError, match="unexpected keyword argument 'mode'"):
        estimator().fit(panel(), mode=TRUTH)


def test_a_search_slices_weights_with_the_units():
    """Units left out count by their weights in scores too; else scikit-learn warns of incorrect statistics."""
    weights = np.repeat([1, 2], 20)
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.filterwarnings("error", message="The scoring")
        em = estimator().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(em, {"n_modes": [1]}, cv=2, error_score="raise").fit(panel(), sample_weight=weights)
    assert search.best_estimator_.responsibilities_.shape == (40, 1)
    fold = estimator(1).fit(panel()[20:], sample_weight=weights[20:])
    assert search.cv_results_["split0_test_score"][0] == fold.score(panel()[:20], sample_weight=weights[:20])


def test_weights_reach_a_transformer_inside_a_pipeline():
    weights = np.arange(40) % 3
    with config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            estimator().set_fit_request(sample_weight=True), LogisticRegression().set_fit_request(sample_weight=False)
        )
        routed = pipe.fit(panel(), TRUTH, sample_weight=weights)[0]
    by_prefix = make_pipeline(estimator(), LogisticRegression())
    by_prefix.fit(panel(), TRUTH, failuremodeem__sample_weight=weights)
    alone = estimator().fit(panel(), sample_weight=weights)
    assert routed.log_likelihood_ == by_prefix[0].log_likelihood_ == alone.log_likelihood_


# ------------------------------------------------------------------------------------------------------------ labels


def test_labels_for_a_score_do_not_steer_the_fit():
    search = GridSearchCV(estimator(), {"n_modes": [2]}, cv=2, scoring="adjusted_rand_score", error_score="raise")
    with pytest.warns(IgnoredLabelsWarning, match="modes="):
        search.fit(panel(), np.where(TRUTH, "b", "a"))
    assert search.best_score_ > 0.8 and search.best_estimator_.mode_labels_ == (0, 1)


def test_labels_of_a_later_step_give_no_warning():
    """In a pipeline y belongs to the classifier."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredLabelsWarning)
        estimator().fit_transform(panel(), TRUTH)


# ---------------------------------------------------------------------------------------------------------- features


def test_features_are_probabilities_and_the_coefficients_of_curves(fitted):
    features = fitted.transform(panel())
    assert fitted.get_feature_names_out().tolist() == ["mode_0", "mode_1", "vib_0", "vib_1", "temp_0", "temp_1"]
    np.testing.assert_array_equal(features[:, :2], fitted.predict_proba(panel()))
    curves = features[:, 2:4] @ fitted.model_.bases[0](TIMES).T
    assert np.abs(curves - readings()).mean() < 0.5
    np.testing.assert_array_equal(estimator().fit_transform(panel()), features)


def test_units_without_readings_of_a_channel_have_features_all_the_same(fitted):
    one = cem.Panel.from_arrays(TIMES, readings()[:3, :, None], channels=["vib"])
    features = fitted.transform(one)
    assert np.isfinite(features).all()
    expected = np.einsum("lk,kp->lp", features[:, :2], fitted.means_[:, 1])
    np.testing.assert_allclose(features[:, 4:], expected, rtol=1e-10)


def test_bases_of_unequal_size_leave_no_gap():
    em = estimator(basis={"vib": cem.Polynomial(2), None: cem.Constant()}).fit(panel())
    assert em.get_feature_names_out()[2:].tolist() == ["vib_0", "vib_1", "vib_2", "temp_0"]
    assert em.transform(panel()).shape == (40, 6) and np.isfinite(em.transform(panel())).all()


def test_names_of_features_are_distinct():
    """polars refuses a frame with two columns of one name, and pandas gives both for one."""
    pytest.importorskip("polars")
    data = cem.Panel.from_arrays(TIMES, readings()[:, :, None], channels=["mode"])
    em = estimator().set_output(transform="polars")
    assert em.fit_transform(data).columns == ["mode_0", "mode_1", "mode_0_again", "mode_1_again"]
    em.fit(panel(modes=["0", *[None] * 39]))  # the mode of the label "0", and one that the fit numbers 0
    assert em.get_feature_names_out()[:2].tolist() == ["mode_0", "mode_0_again"]


def test_frames_come_out_where_they_are_asked_for(fitted):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    em = clone(copy.deepcopy(fitted).set_output(transform="pandas"))  # a clone keeps the choice
    frame = em.fit_transform(panel())
    assert isinstance(frame, pandas.DataFrame) and frame.index.tolist() == list(panel().units)
    assert frame.columns.tolist() == fitted.get_feature_names_out().tolist()
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(panel()))
    with config_context(transform_output="polars"):
        other = fitted.transform(panel())
    assert isinstance(other, polars.DataFrame) and other.columns == frame.columns.tolist()
    assert isinstance(fitted.transform(panel()), np.ndarray)
    assert em.set_output() is em and em.set_output(transform="default") is em
    assert isinstance(em.transform(panel()), np.ndarray)
    with pytest.raises(OptionError, match=r"set_output\(transform='arrow'\).*'polars'"):
        em.set_output(transform="arrow")


@pytest.mark.slow
def test_a_pipeline_classifies_panels_by_their_features():
    classifier = make_pipeline(estimator(), LogisticRegression())
    truth = np.where(TRUTH, "worn", "sound")
    assert classifier.fit(panel(), truth).score(panel(), truth) > 0.9
    assert cross_val_score(classifier, panel(), truth, cv=StratifiedKFold(4), error_score="raise").mean() > 0.9
    grid = {"failuremodeem__n_modes": [1, 2], "failuremodeem__basis__degree": [0, 1]}
    search = GridSearchCV(classifier, grid, cv=2, error_score="raise").fit(panel(), truth)
    assert search.best_score_ > 0.9
    classifier.set_output(transform="pandas")
    assert classifier[:-1].transform(panel()).shape == (40, 6)


# ---------------------------------------------------------------------------------------------------- parts of panels


def test_parts_of_a_panel_are_panels():
    """Lists of the units in them could not be plotted, saved or fitted with names."""
    p = panel()
    train, test, labels, _ = train_test_split(p, TRUTH, test_size=0.25, random_state=0)
    assert isinstance(train, cem.Panel) and (len(train), len(test), len(labels)) == (30, 10, 30)
    assert set(train.units) | set(test.units) == set(p.units)
    mask = TRUTH == 1
    for key in (np.flatnonzero(mask), np.flatnonzero(mask).tolist(), slice(1, None, 2), mask, mask.tolist()):
        assert _safe_indexing(p, key).units == p[mask].units
    assert _safe_indexing(p, 3).units == ("m03",) and _num_samples(p) == 40
    assert p.iloc[[3, 1]].units == p.take([3, 1]).units == ("m03", "m01")
    with pytest.raises(PanelIndexError, match=r"mask of bool.*select_units"):
        p.loc[["m01"]]
    with pytest.raises(OptionError, match=r"take\(axis=1\).*select_channels"):
        p.take([0], axis=1)
    with pytest.raises(PanelIndexError, match="no unit at position 40"):
        p.take([40])


def test_a_resample_with_replacement_is_refused_with_the_way_to_do_it():
    """A bootstrap is a fit with weights; the ids of a panel are distinct."""
    with pytest.raises(PanelError, match=r"unit 'm03' was chosen 3 times.*sample_weight=np.bincount\(positions"):
        panel().take([1, 3, 5, 3, 1, 3])
    with pytest.raises(PanelError, match=r"was chosen [2-9] times; .*To resample with replacement"):
        resample(panel(), random_state=0)
    assert resample(panel(), replace=False, n_samples=5, random_state=0).n_units == 5


def test_a_tool_that_makes_arrays_of_its_input_is_refused_with_a_word_on_panels():
    """NumPy took a panel for panels of panels, and spoke of 64 dimensions."""
    for made in (lambda: np.asarray(panel()), lambda: BaggingClassifier(LogisticRegression()).fit(panel(), TRUTH)):
        with pytest.raises(PanelTypeError, match=r"a Panel is no array.*to_arrays\(\)"):
            made()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_search_that_cuts_a_table_through_units_says_so(library):
    """Scores of units whose other readings were fitted are too good."""
    columns = {"id": np.repeat([f"m{l}" for l in range(40)], 8), "t": np.tile(TIMES, 40), "vib": readings().ravel()}
    frame = pytest.importorskip(library).DataFrame(columns)
    em = estimator(unit="id", time="t")
    with pytest.warns(cem.errors.SuspectDataWarning, match=r"unit 'm\d+' has readings in.*groups=frame\['id'\]"):
        cross_val_score(em, frame, cv=KFold(3), error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error", cem.errors.SuspectDataWarning)
        whole = cross_val_score(em, frame, groups=columns["id"], cv=GroupKFold(4), error_score="raise")
        em.fit(frame)
    assert np.isfinite(whole).all()


def test_scores_of_folds_are_those_of_the_units_in_them():
    scores = cross_val_score(estimator(), panel(), cv=4, error_score="raise")
    fold = np.arange(10)
    by_hand = estimator().fit(panel()[10:]).score(panel()[fold])
    assert scores[0] == by_hand and np.isfinite(scores).all()


def test_known_modes_reach_the_fit_of_each_fold():
    labels = ["a" if not mode else None for mode in TRUTH]
    with config_context(enable_metadata_routing=True):
        em = estimator().set_fit_request(modes=True)
        search = GridSearchCV(em, {"n_modes": [2]}, cv=4, error_score="raise").fit(panel(), modes=labels)
    assert search.best_estimator_.mode_labels_ == ("a", 0)


@pytest.mark.skipif(SKLEARN < (1, 8), reason="pipelines of this scikit-learn do not route to transformers in scores")
def test_times_of_an_array_reach_every_method_of_a_pipeline():
    requests = {"times": True}
    with config_context(enable_metadata_routing=True):
        em = estimator().set_fit_request(**requests).set_transform_request(**requests)
        em.set_predict_proba_request(**requests)
        classifier = make_pipeline(em, LogisticRegression())
        scores = cross_val_score(classifier, readings(), TRUTH, cv=2, params={"times": TIMES}, error_score="raise")
        assert classifier.fit(readings(), TRUTH, times=TIMES)[0].model_.domain == (0.0, 12.0)
    assert scores.mean() > 0.9


def loaded():
    """Readings that follow the load; the site says which mode is likely."""
    load = np.random.default_rng(2).normal(size=(40, 8))
    by_reading = np.zeros((40, 8), dtype=[("load", float)])
    by_reading["load"] = load
    by_unit = np.array([(f"s{mode}",) for mode in TRUTH], dtype=[("site", object)])
    return readings() + 3.0 * load, by_reading, by_unit


def test_covariates_of_an_array_reach_every_fold():
    """A named field is cut into the folds with the units; without it no model of loads could be chosen on arrays."""
    x, by_reading, by_unit = loaded()
    both = {"covariates": True, "unit_covariates": True}
    with config_context(enable_metadata_routing=True):
        em = estimator(covariates="load", membership="site").set_fit_request(**both).set_score_request(**both)
        search = GridSearchCV(em, {"n_modes": [1, 2]}, cv=2, error_score="raise")
        search.fit(x, covariates=by_reading, unit_covariates=by_unit)
        half = clone(em).set_score_request(covariates=False)
        with pytest.raises(OptionError, match=r"covariates reach fit but not score.*set_score_request\(covariates"):
            GridSearchCV(half, {"n_modes": [1]}, cv=2, error_score="raise").fit(
                x, covariates=by_reading, unit_covariates=by_unit
            )
    found = search.best_estimator_
    assert search.best_params_ == {"n_modes": 2} and abs(found.covariate_effects_["x1"]["load"] - 3.0) < 0.2
    pd = pytest.importorskip("pandas")
    given = {"covariates": {"load": by_reading["load"]}, "unit_covariates": pd.DataFrame({"site": by_unit["site"]})}
    same = cem.Panel.from_arrays(
        None, x, channels=["x1"], covariates=given["covariates"], unit_covariates={"site": by_unit["site"].tolist()}
    )
    for method in ("predict", "predict_proba", "score_samples", "transform", "score"):
        expected = getattr(found, method)(same)
        np.testing.assert_array_equal(getattr(found, method)(x, **given), expected)
        with pytest.raises(cem.PredictionError, match="has no covariates"):
            getattr(found, method)(x)
    with pytest.raises(OptionError, match=r"covariates is for arrays; a Panel has its own"):
        found.predict(same, covariates=by_reading)
    frame = pd.DataFrame({"unit": ["a"], "time": [0.0], "x1": [1.0]})
    with pytest.raises(OptionError, match=r"unit_covariates is for arrays; a data frame has columns"):
        estimator(unit="unit", time="time").fit(frame, unit_covariates=by_unit)
    with pytest.raises(cem.PanelError, match="load"):
        found.predict(x, **{**given, "covariates": {"load": by_reading["load"][:, :3]}})


# -------------------------------------------------------------------------------------------------- nested parameters


def test_a_search_over_the_degree_of_the_basis():
    curved = cem.Panel.from_arrays(TIMES, (readings() + 0.3 * TIMES**2)[:, :, None])
    search = GridSearchCV(estimator(1), {"basis__degree": [0, 1, 2]}, cv=2, error_score="raise").fit(curved)
    assert search.best_params_ == {"basis__degree": 2} and search.best_estimator_.basis == cem.Polynomial(2)


def test_nested_parameters_make_new_values():
    """A basis is shared by copies of an estimator, so it must not change under one of them."""
    basis = cem.Polynomial(1)
    em, other = estimator(basis=basis), estimator(basis=basis)
    assert em.get_params()["basis__degree"] == 1 and "basis__degree" not in em.get_params(deep=False)
    assert em.set_params(basis__degree=3) is em and em.basis == cem.Polynomial(3)
    assert other.basis == basis == cem.Polynomial(1)
    assert em.set_params(basis__n_basis=6, basis=cem.BSpline(n_basis=5)).basis == cem.BSpline(n_basis=6)
    by_channel = estimator(basis={"vib": cem.Polynomial(1), "oil__temp": cem.Constant(), None: cem.Polynomial(2)})
    by_channel.set_params(basis__vib__degree=2, basis__oil__temp=cem.Fourier(1, period=9.0))
    by_channel.set_params(basis__oil__temp__period=12.0)
    assert by_channel.basis["vib"] == cem.Polynomial(2) and by_channel.basis["oil__temp"].period == 12.0
    regimes = estimator(regimes=cem.Regimes(["load"], n=3)).set_params(regimes__n=4)
    assert regimes.regimes == cem.Regimes(["load"], n=4)
    assert clone(by_channel).get_params() == by_channel.get_params()
    both = estimator(basis=cem.Polynomial(3, random_degree=2)).set_params(basis__degree=1, basis__random_degree=1)
    assert both.basis == cem.Polynomial(1, random_degree=1)
    assert basis.get_params()["degree"] == 1 and basis.with_params(degree=2) == cem.Polynomial(2)


class Named(cem.FailureModeEM):
    """An estimator of a user, with an option of its own."""

    def __init__(self, n_modes=2, *, site="mill", **options):
        super().__init__(n_modes, **options)
        self.site = site


def test_a_subclass_that_passes_keywords_on_has_the_options_of_both():
    """Its fit was a KeyError, and a clone lost the basis."""
    em = clone(Named(site="mine", basis=cem.Polynomial(1), n_init=2, random_state=0))
    assert em.site == "mine" and em.get_params()["basis__degree"] == 1
    assert isinstance(em.fit(panel()), Named) and em.log_likelihood_ == estimator().fit(panel()).log_likelihood_
    assert em.set_params(basis__degree=2, site="mill").basis == cem.Polynomial(2)
    assert repr(em) == "Named(2, basis=Polynomial(degree=2), n_init=2, random_state=0)"


def test_an_estimator_is_made_of_the_parameters_of_another():
    """`FailureModeEM(**em.get_params())` is how a fit is repeated; nested names must not undo another basis unseen."""
    em = estimator(basis={"vib": cem.Polynomial(3), None: cem.Fourier(1, period=9.0)})
    assert cem.FailureModeEM(**em.get_params()).get_params() == em.get_params()
    with pytest.raises(OptionError, match=r"basis__vib=Polynomial.* contradicts basis=.*get_params\(deep=False\)"):
        cem.FailureModeEM(**{**em.get_params(), "basis": {"vib": cem.Polynomial(1)}})
    changed = cem.FailureModeEM(**{**em.get_params(deep=False), "basis": cem.Polynomial(1)})
    assert changed.basis == cem.Polynomial(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_mode'"):
        cem.FailureModeEM(2, n_mode=3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("basis__order", "Polynomial has no parameter 'order'; its parameters are degree"),
        ("init__kind", "init__kind: init is 'mixed', which has no parameters"),
        ("knots__degree", "no option 'knots__degree'"),
        ("basis__degree", "degree is -1"),
    ],
)
def test_a_nested_parameter_that_is_not_there_is_named(name, message):
    em = estimator()
    with pytest.raises(OptionError, match=message):
        em.set_params(**{"n_init": 9, name: -1})
    assert em.n_init == 2 and em.basis == cem.Polynomial(1)


def test_a_channel_without_a_basis_of_its_own_is_named():
    em = estimator(basis={"vib": cem.Polynomial(1)})
    with pytest.raises(OptionError, match=r"basis__vibe__degree.*vib"):
        em.set_params(basis__vibe__degree=2)
    with pytest.raises(OptionError, match=r"basis__degree: .*only channels have names"):
        estimator(basis={None: cem.Polynomial(1)}).set_params(basis__degree=2)


@pytest.mark.parametrize("names", ["vibration", 3, ["vib"]], ids=str)
def test_other_names_of_input_features_are_named(fitted, names):
    """A string was taken letter by letter, and a number was a TypeError."""
    with pytest.raises(OptionError, match=r"found '?(vibration|3|vib)'?, fitted with 'vib', 'temp'"):
        fitted.get_feature_names_out(names)


# ------------------------------------------------------------------------------------------------------------ errors


def test_errors_and_warnings_are_those_of_scikit_learn_too():
    with pytest.raises(SklearnNotFittedError) as caught:
        estimator().predict(panel())
    assert isinstance(caught.value, NotFittedError) and "FailureModeEM has not been fitted" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, NotFittedError) and str(again) == str(caught.value)
    with pytest.warns(SklearnConvergenceWarning, match="max_iter") as warned:
        estimator(max_iter=2, n_init=1).fit(panel())
    assert any(issubclass(one.category, cem.ConvergenceWarning) for one in warned)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", cem.CemWarning)
        estimator(max_iter=2, n_init=1).fit(panel())


def test_a_cell_that_is_no_number_is_an_error_of_type_and_of_value():
    cells = readings().astype(object)
    cells[0, 0] = {"vib": 1.0}
    with pytest.raises(PanelTypeError, match="must be numbers") as caught:
        estimator().fit(cells)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, TypeError)


def test_nothing_imports_scikit_learn():
    """Its import takes a second, which a process that scores does not have."""
    code = (
        "import sys, numpy as np, cem, cem.errors\n"
        "x = np.random.default_rng(0).normal(size=(12, 6)) + 5.0 * (np.arange(12) % 2)[:, None]\n"
        "em = cem.FailureModeEM(2, basis=cem.Polynomial(0), n_init=1, random_state=0)\n"
        "try: em.predict(x)\n"
        "except cem.NotFittedError as error: assert type(error) is cem.NotFittedError\n"
        "em.fit(x); em.transform(x); em.get_params(); em.set_params(basis__degree=1); em.model_.scorer().unit()\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


# ------------------------------------------------------------------------------------------------- copies and stores


def test_clones_pickles_and_text_of_nested_estimators():
    em = estimator(basis={"vib": cem.Polynomial(1), None: cem.Polynomial(2)}).fit(panel())
    for again in (pickle.loads(pickle.dumps(em)), copy.deepcopy(em)):
        assert again.get_params() == em.get_params()
        np.testing.assert_array_equal(again.transform(panel()), em.transform(panel()))
    assert repr(clone(em)) == repr(em)
    assert eval(repr(em), vars(cem).copy() | {name: getattr(cem, name) for name in cem.__all__}).basis == em.basis


@pytest.mark.parametrize("kind", ["plain", "mapping", "lives", "conditions"])
def test_skops_loads_what_it_dumps(kind):
    """skops stores models without pickles; a dict with the key None, or an object without __dict__, broke it."""
    store = pytest.importorskip("skops.io")
    data = panel()
    if kind == "plain":
        em = estimator()
    elif kind == "mapping":
        em = estimator(basis={"vib": cem.BSpline(n_basis=4), None: cem.Constant()}, noise_floor={None: 0.1})
    elif kind == "lives":
        data = panel(failure_times=np.linspace(12.5, 20.0, 40))
        em = estimator(1, time_axis="to_failure")
    else:
        data = cem.datasets.load_compressor_fleet()[:60]
        em = estimator(1, covariance="pooled", regimes=cem.Regimes(["speed"], n=2), membership=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em.fit(data).score(data)  # what a first score keeps is not stored
        for one in (em, em.model_, data, *([cem.RemainingLife(em.model_)] if kind == "lives" else [])):
            dumped = store.dumps(one)
            again = store.loads(dumped, trusted=store.get_untrusted_types(data=dumped))
            assert repr(again) == repr(one)
            if isinstance(one, (cem.FailureModeEM, cem.FailureModeModel)):
                np.testing.assert_array_equal(again.predict_proba(data), one.predict_proba(data))
        if kind == "lives":
            median = cem.RemainingLife(em.model_).predict(data).median()
            np.testing.assert_allclose(again.predict(data).median(), median, rtol=1e-12)
    with pytest.raises(Exception, match="Untrusted types"):
        store.loads(store.dumps(em))
