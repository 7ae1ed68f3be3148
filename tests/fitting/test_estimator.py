"""`FailureModeEM` as its users meet it: scikit-learn's conventions, warm starts, bad input, input that must work."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from cem.basis.families import Constant, Polynomial
from cem.errors import (
    CemWarning,
    ConstantChannelWarning,
    ConvergenceWarning,
    FitError,
    NotFittedError,
    OptionError,
    PanelError,
    PredictionError,
    ShortUnitsWarning,
)
from cem.fitting.estimator import FailureModeEM
from cem.panel.panel import Panel


def fleet(n_units=40, seed=0, gap=3.0, missing=0.2, n_channels=2):
    """Two modes in turn, ragged, with missing cells."""
    rng = np.random.default_rng(seed)
    times, values = [], []
    for l in range(n_units):
        t = np.sort(rng.uniform(0.0, 10.0, int(rng.integers(5, 15))))
        curve = np.vander(t / 10.0, 2, increasing=True) @ rng.normal(size=(2, n_channels)) * 0.5
        x = curve + 0.3 * rng.normal(size=(len(t), n_channels)) + gap * (l % 2) * (t / 10.0)[:, None]
        x[rng.random(x.shape) < missing] = np.nan
        x[0] = np.where(np.isnan(x[0]), 0.1, x[0])
        times.append(t)
        values.append(x)
    return Panel.from_arrays(times, values)


@pytest.fixture(scope="module")
def panel():
    return fleet()


def quick(n_modes=2, **options):
    return FailureModeEM(n_modes, **{"basis": Polynomial(1), "n_init": 4, "random_state": 0, **options})


@pytest.fixture(scope="module")
def fitted(panel):
    return quick().fit(panel)


def modes_agree(labels, n_units=40):
    truth = np.arange(n_units) % 2
    return max(np.mean(labels == truth), np.mean(labels != truth))


# ------------------------------------------------------------------------------------ scikit-learn's conventions


def test_clone_and_params_round_trip(fitted):
    em = quick(3, noise_floor={"x1": 0.1}, covariance="pooled")
    copy = clone(em)
    assert copy is not em and copy.get_params() == em.get_params()
    assert not hasattr(clone(fitted), "model_")
    assert em.set_params(n_init=7, tol=1e-6) is em and em.n_init == 7 and em.tol == 1e-6
    with pytest.raises(OptionError, match="no option 'n_clusters'; its options are"):
        em.set_params(n_clusters=2)


def test_the_constructor_only_stores():
    """Validation belongs to fit: scikit-learn's search tools set any value and then clone."""
    em = FailureModeEM("many", tol=-1, init="magic")
    assert em.n_modes == "many" and em.tol == -1 and em.init == "magic"


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(FailureModeEM(3)) == "FailureModeEM(3)"
    assert repr(FailureModeEM(3, n_init=20, covariance="pooled")) == "FailureModeEM(3, n_init=20, covariance='pooled')"
    assert "basis=Polynomial(degree=1)" in repr(FailureModeEM(2, basis=Polynomial(1)))


def test_nothing_fitted_says_so(panel):
    em = quick()
    for ask in (lambda: em.weights_, lambda: em.predict(panel), lambda: em.score(panel)):
        with pytest.raises(NotFittedError, match=r"call fit\(panel\) first"):
            ask()
    assert not hasattr(em, "means_")  # as hasattr and scikit-learn's check_is_fitted expect


def test_fitted_attributes_have_their_documented_shapes(panel, fitted):
    assert fitted.weights_.shape == (2,) and fitted.weights_.sum() == pytest.approx(1)
    assert fitted.means_.shape == (2, 2, 2) and fitted.covariances_.shape == (2, 2, 2, 2)
    assert fitted.noise_variances_.shape == (2, 2) and fitted.responsibilities_.shape == (40, 2)
    assert fitted.n_features_in_ == 2 and fitted.basis_sizes_ == (2, 2) and fitted.channels_ == ("x1", "x2")
    assert fitted.converged_ and not fitted.interrupted_
    assert len(fitted.log_likelihoods_) == fitted.n_iter_ + 1
    assert fitted.log_likelihoods_[-1] == pytest.approx(fitted.log_likelihood_, rel=1e-14)
    assert fitted.score_samples(panel).sum() == pytest.approx(fitted.log_likelihood_, rel=1e-10)
    assert fitted.score(panel) == pytest.approx(fitted.log_likelihood_ / 40, rel=1e-10)
    np.testing.assert_allclose(fitted.predict_proba(panel), fitted.responsibilities_, atol=1e-9)
    assert len(fitted.starts_) > 4 and [start["fate"] for start in fitted.starts_].count("best") == 1
    best = max(start["log_likelihood"] for start in fitted.starts_)
    assert fitted.log_likelihood_ == pytest.approx(best, rel=1e-14)
    kinds = [start["kind"] for start in fitted.starts_]
    assert kinds[:5] == ["coefficient", "kmeans", *["prototypes"] * 2, "known"]
    assert {"moved"} <= set(kinds[5:]) <= {"moved", "crossed"}
    assert (np.diff(fitted.weights_) <= 0).all()
    assert modes_agree(fitted.predict(panel)) > 0.95


def test_fit_predict_is_fit_then_predict(panel, fitted):
    np.testing.assert_array_equal(quick().fit_predict(panel), fitted.predict(panel))


def test_criteria_are_their_formulas(panel):
    """Lower is better in all three; a wrong sign or count would choose the wrong number of modes."""
    fitted, n_parameters = quick(covariance="full").fit(panel), 1 + 2 * 2 * (2 + 3 + 1)
    assert fitted.n_parameters_ == n_parameters
    ll, rho = fitted.log_likelihood_, fitted.responsibilities_
    assert fitted.aic(panel) == pytest.approx(-2 * ll + 2 * n_parameters)
    assert fitted.bic(panel) == pytest.approx(-2 * ll + n_parameters * np.log(40))
    entropy = -np.sum(rho[rho > 0] * np.log(rho[rho > 0]))
    assert fitted.icl(panel) == pytest.approx(fitted.bic(panel) + 2 * entropy, rel=1e-9)
    assert quick(covariance="diagonal").fit(panel).n_parameters_ == 1 + 2 * 2 * (2 + 2 + 1)
    assert quick(covariance="pooled").fit(panel).n_parameters_ == 1 + 2 * 2 * (2 + 1) + 2 * 3


def test_the_same_seed_gives_the_same_bits(panel, fitted):
    again = quick(n_jobs=3).fit(panel)
    for name in ("weights_", "means_", "covariances_", "noise_variances_", "responsibilities_", "log_likelihoods_"):
        assert np.array_equal(getattr(again, name), getattr(fitted, name)), name
    assert again.starts_ == fitted.starts_
    one, other = (quick(random_state=np.random.default_rng(3)).fit(panel) for _ in range(2))
    assert one.starts_ == other.starts_


@pytest.mark.filterwarnings("ignore::cem.errors.FloorWarning")
def test_an_array_is_a_panel_with_times_counted():
    values = np.random.default_rng(0).normal(size=(20, 6, 2)) + 4.0 * (np.arange(20) % 2)[:, None, None]
    values[3, 4] = np.nan
    em = quick().fit(values)
    assert em.n_features_in_ == 2 and modes_agree(em.predict(values), 20) == 1
    single = quick().fit(values[:, :, 0], times=np.linspace(0, 1, 6))
    assert single.n_features_in_ == 6 and single.model_.bases[0].domain == (0.0, 1.0)
    with pytest.raises(OptionError, match="a Panel has its own times"):
        quick().fit(fleet(), times=[0.0, 1.0])
    with pytest.raises(PanelError, match=r"shape \(20,\)"):
        quick().fit(values[:, 0, 0])


def test_a_fitted_estimator_pickles(panel, fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(panel), fitted.predict_proba(panel))


# ------------------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["fan", "hpc"], ("fan", "hpc")),
        ([7, 3], (3, 7)),
        ([True, False], None),
        ([("a", 1), ("b", 2)], (("a", 1), ("b", 2))),
        ([2.5, 0.5], (0.5, 2.5)),
    ],
)
def test_labels_of_any_kind_come_back_as_they_were_given(panel, labels, expected):
    """Known units stay at their mode, and predictions speak the user's labels."""
    y = np.empty(40, dtype=object)
    y[:] = [labels[l % 2] if l < 6 else [None, np.nan, -1][l % 3] for l in range(40)]
    em = quick().fit(panel, modes=y)
    if expected is not None:
        assert em.mode_labels_ == expected
    assert set(em.mode_labels_) == set(labels)
    for l in range(6):
        assert em.responsibilities_[l, em.mode_labels_.index(labels[l % 2])] == 1.0
    predicted = em.predict(panel)
    assert np.mean([predicted[l] == labels[l % 2] for l in range(40)]) > 0.95


def test_one_label_and_a_free_mode(panel):
    y = [None] * 40
    y[1] = "worn"
    em = quick().fit(panel, modes=y)
    assert em.mode_labels_ == ("worn", 0)
    assert np.mean(em.responsibilities_[1::2, 0] > 0.5) > 0.9


def test_more_labels_than_modes_is_an_error(panel):
    with pytest.raises(PanelError, match=r"3 labels .*more than n_modes=2"):
        quick().fit(panel, modes=["a", "b", "c", None] * 10)


# -------------------------------------------------------------------------------------------------- warm starts


def test_a_model_goes_on_where_it_stopped(panel, fitted):
    with pytest.warns(ConvergenceWarning, match=r"fit\(panel, init=model\)"):
        early = quick(max_iter=3).fit(panel)
    late = quick().fit(panel, init=early.model_)
    assert late.log_likelihoods_[0] == pytest.approx(early.log_likelihood_, abs=1e-6)
    assert late.objectives_[-1] >= early.objectives_[-1]
    assert [start["kind"] for start in late.starts_] == ["given"]
    done = quick().fit(panel, init=fitted.model_)
    assert done.log_likelihood_ == pytest.approx(fitted.log_likelihood_, abs=1e-4)
    assert done.n_iter_ < 15


def test_parameters_in_the_users_terms_are_a_start(panel, fitted):
    parameters = fitted.model_.user_parameters()
    em = quick(covariance="shrunk", shrinkage=fitted.shrinkage_).fit(panel, init=parameters)
    assert em.log_likelihoods_[0] == pytest.approx(fitted.log_likelihood_, abs=1e-6)
    with pytest.raises(OptionError, match="3 modes and sizes"):
        quick(3).fit(panel, init=parameters)


def test_responsibilities_are_a_reproducible_start(panel):
    rho = np.eye(2)[np.arange(40) % 2]
    one, other = quick(random_state=1).fit(panel, init=rho), quick(random_state=2).fit(panel, init=rho)
    assert np.array_equal(one.means_, other.means_)
    assert modes_agree(one.predict(panel)) > 0.95


@pytest.mark.parametrize(
    ("rho", "message"),
    [
        (np.ones((40, 3)) / 3, r"shape \(40, 3\); \(40, 2\)"),
        (np.ones((40, 2)), "unit 0 .*sum to 1"),
        (np.tile([1.0, 0.0], (40, 1)), "any responsibility for mode 1"),
        (np.full((40, 2), np.nan), "unit 0"),
    ],
)
def test_responsibilities_that_are_none_are_refused(panel, rho, message):
    with pytest.raises(OptionError, match=message):
        quick().fit(panel, init=rho)


def test_a_start_of_another_kind_is_refused(panel, fitted):
    """`user_parameters` without its parentheses was a TypeError of NumPy."""
    for start in (fitted.model_.user_parameters, "kmeans", {"rho": 1}):
        with pytest.raises(OptionError, match=r"init is .*FailureModeModel were expected"):
            quick().fit(panel, init=start)


def test_a_model_of_other_channels_is_no_start(panel, fitted):
    other = Panel.from_arrays([[0.0, 1.0]] * 4, np.random.default_rng(0).normal(size=(4, 2, 1)), channels=["p"])
    with pytest.raises(OptionError, match="the model has the channels 'x1', 'x2'; the panel has 'p'"):
        quick().fit(other, init=fitted.model_)


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_modes", 0),
        ("n_modes", 2.0),
        ("n_modes", True),
        ("init", "best"),
        ("n_init", 0),
        ("max_iter", -1),
        ("tol", 0.0),
        ("tol", np.inf),
        ("tol", "small"),
        ("covariance", "tied"),
        ("accelerate", True),
        ("kernel", "fast"),
        ("n_jobs", 0),
        ("time_axis", "backward"),
        ("random_state", -3),
        ("random_state", "lucky"),
        ("noise_floor", -1.0),
        ("noise_floor", {"x9": 1.0}),
        ("noise_floor", [1.0]),
        ("covariance_floor", 0.0),
        ("covariance_floor", {"x1": np.nan}),
        ("basis", "cubic"),
        ("basis", {"x1": Polynomial(1)}),
        ("basis", {"x1": Polynomial(1), "x9": Polynomial(1)}),
    ],
)
def test_an_option_that_cannot_be_is_named(panel, option, value):
    with pytest.raises(OptionError, match=option):
        quick(**{option: value}).fit(panel)


def test_fewer_units_than_modes():
    with pytest.raises(PanelError, match="3 units cannot be divided into n_modes=4"):
        quick(4).fit(fleet(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.where(np.arange(6)[:, None] == 2, np.inf, x), "infinite"),
        (lambda x: np.where(np.arange(2) == 1, np.nan, x), "x2"),
    ],
)
def test_infinite_and_empty_channels_are_named(change, message):
    values = np.random.default_rng(0).normal(size=(5, 6, 2))
    with pytest.raises(PanelError, match=message):
        quick().fit(np.stack([change(x) for x in values]))


def test_a_unit_without_any_observation_and_an_empty_panel():
    values = np.random.default_rng(0).normal(size=(5, 6, 2))
    values[3] = np.nan
    with pytest.raises(PanelError, match="unit 3"):
        quick().fit(values)
    with pytest.raises(PanelError, match="empty"):
        quick().fit(np.empty((0, 6, 2)))


def test_constant_channels_are_left_out_or_end_the_fit(panel):
    values = np.random.default_rng(0).normal(size=(12, 6, 2))
    values[:, :, 1] = 100.0
    with pytest.warns(ConstantChannelWarning, match="'x2'"):
        em = quick(1).fit(values)
    assert em.channels_ == ("x1",) and em.n_features_in_ == 2 and em.means_.shape == (1, 1, 2)
    values[:, :, 0] = -1.0
    with pytest.raises(PanelError, match="no channel varies"):
        quick(1).fit(values)


def test_a_channel_that_the_fit_left_out_is_no_obstacle_afterwards():
    """The very panel of the fit could not be scored, since one of its sensors is stuck."""
    varying = fleet()
    names = (*varying.channels, "stuck")
    values = np.concatenate([varying.values, np.full((len(varying.times), 1), 7.0)], axis=1)
    cuts = varying.offsets[1:-1]
    panel = Panel.from_arrays(np.split(varying.times, cuts), np.split(values, cuts), channels=names)
    with pytest.warns(ConstantChannelWarning, match="'stuck'"):
        em = quick(covariance="full").fit(panel)
    assert em.model_.training["left_out_channels"] == ["stuck"]
    without = panel.select_channels(varying.channels)
    np.testing.assert_array_equal(em.predict_proba(panel), em.predict_proba(without))
    np.testing.assert_array_equal(em.model_.predict_proba(panel), em.model_.predict_proba(without))
    assert em.bic(panel) == em.bic(without) and em.score(panel) == em.score(without)
    assert np.isfinite([em.aic(panel), em.icl(panel)]).all()
    moved = panel._replace(channels=(*varying.channels, "other"))
    with pytest.raises(PredictionError, match="'other'"):
        em.predict(moved)


def test_a_fleet_without_failures_cannot_be_aligned_at_them(panel):
    with pytest.raises(PanelError, match=r"time_axis='to_failure' needs units that failed"):
        quick(time_axis="to_failure").fit(panel)


# ------------------------------------------------------------------------------------------------- these work


def same_modes_scaled(scale, offset):
    panel = fleet()
    moved = Panel.from_arrays(
        np.split(panel.times, panel.offsets[1:-1]), np.split(panel.values * scale + offset, panel.offsets[1:-1])
    )
    return quick().fit(moved)


@pytest.mark.parametrize(("scale", "offset"), [(1e12, 0.0), (1e-12, 0.0), (1.0, 1e6), (0.5, 9062.0)])
def test_values_of_any_magnitude_and_offset_work(fitted, scale, offset):
    """The same fleet in other units has the same modes, and ℓ moves by n log scale."""
    em = same_modes_scaled(scale, offset)
    np.testing.assert_allclose(em.responsibilities_, fitted.responsibilities_, atol=1e-4)
    n = int(np.isfinite(fleet().values).sum())
    assert em.log_likelihood_ == pytest.approx(fitted.log_likelihood_ - n * np.log(scale), abs=1e-2)
    np.testing.assert_allclose(em.noise_variances_, fitted.noise_variances_ * scale**2, rtol=1e-2)


def test_identical_units_work():
    values = np.tile(np.random.default_rng(0).normal(size=(1, 8, 2)), (10, 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        em = quick(1).fit(values)
        assert np.isfinite(em.log_likelihood_)
        try:  # two modes of identical units: one loses its units, or they share them, but never NaN
            two = quick(2).fit(values)
            assert np.isfinite(two.log_likelihood_)
        except FitError as error:
            assert "lost mode" in str(error)


def test_one_observation_a_unit_works_with_one_mode():
    values = np.random.default_rng(0).normal(size=(30, 1, 1)) + 5.0
    em = quick(1, basis=Constant()).fit(values)
    total = em.covariances_[0, 0, 0, 0] + em.noise_variances_[0, 0]
    assert em.means_[0, 0, 0] == pytest.approx(values.mean())
    assert total == pytest.approx(values.var(), rel=1e-4)
    with pytest.raises(PanelError, match=r"'x1' \(1 of the 3 coefficients .*; use at most Polynomial\(degree=0\)"):
        quick(1, basis=Polynomial(2)).fit(values)


@pytest.mark.filterwarnings("ignore::cem.errors.FloorWarning")
def test_a_basis_larger_than_any_unit_warns_and_works():
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 1, 3)) for _ in range(40)]
    panel = Panel.from_arrays(times, [np.sin(6 * t)[:, None] + 0.1 * rng.normal(size=(3, 1)) for t in times])
    with pytest.warns(ShortUnitsWarning, match=r"'x1'.*3 .*5 coefficients"):
        em = quick(1, basis=Polynomial(4)).fit(panel)
    curve = em.model_.bases[0](np.linspace(0.05, 0.95, 9)) @ em.means_[0, 0]
    np.testing.assert_allclose(curve, np.sin(6 * np.linspace(0.05, 0.95, 9)), atol=0.2)


def test_bases_of_different_size_work(panel):
    em = quick(basis={"x1": Constant(), None: Polynomial(2)}).fit(panel)
    assert em.basis_sizes_ == (1, 3) and em.means_.shape == (2, 2, 3)
    assert np.isnan(em.means_[:, 0, 1:]).all() and np.isfinite(em.means_[:, 1]).all()


@pytest.mark.parametrize("covariance", ["full", "diagonal", "pooled"])
@pytest.mark.parametrize("init", ["mixed", "kmeans", "prototypes", "random", "tempered"])
def test_every_structure_and_start_finds_the_modes(panel, covariance, init):
    em = quick(covariance=covariance, init=init).fit(panel)
    assert modes_agree(em.predict(panel)) > 0.95
    if covariance == "pooled":
        np.testing.assert_allclose(em.covariances_[0], em.covariances_[1])
    if covariance == "diagonal":
        assert np.abs(em.covariances_[:, :, 0, 1]).max() < 1e-9


def test_floors_given_by_the_user_hold_in_the_channels_units(panel):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        em = quick(noise_floor={"x2": 0.5}).fit(panel)
    assert (em.noise_variances_[:, 1] >= 0.5 - 1e-12).all() and (em.noise_variances_[:, 0] < 0.2).all()


# ------------------------------------------------------------------------------------ progress and interruption


def test_an_interruption_keeps_the_best_so_far():
    """Ctrl-C gives a fitted estimator that says that it was interrupted."""

    def stop(stage, done, total, best):
        if done == total:
            raise KeyboardInterrupt

    panel = fleet(gap=0.7)  # modes that overlap: no start has converged after its first passes
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        em = quick(n_init=8).fit(panel, progress=stop)
    assert em.interrupted_ and not em.converged_
    assert np.isfinite(em.log_likelihood_)
    assert em.score_samples(panel).sum() == pytest.approx(em.log_likelihood_, rel=1e-10)


def test_verbose_prints_a_line_a_stage(panel, capsys):
    """What it says of the best start is the log-likelihood that the estimator will have."""
    em = quick(verbose=1, n_init=5).fit(panel)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("starts 1, round 1: 5 of 5 starts") and out[-1].startswith(
        f"shrinkage {em.shrinkage_:.4g}, full run: "
    )
    assert len(out) == len({line.split(":")[0] for line in out}) > 2
    assert float(out[-1].rsplit(" ", 1)[1]) == pytest.approx(em.log_likelihood_, abs=1e-3)


def test_too_few_passes_warn(panel):
    with pytest.warns(ConvergenceWarning, match="2 E steps were not enough; raise max_iter"):
        em = quick(max_iter=2).fit(panel)
    assert not em.converged_
