"""`choose_basis` and ``FailureModeEM(basis="auto")``: the menu is the fleet's, the simplest near the best wins."""

from __future__ import annotations

import io
import pickle
import warnings

import numpy as np
import pytest

import cem
from cem.errors import BasisMisfitWarning, CemWarning, OptionError, PanelError
from cem.metrics import crps_sample
from cem.prognosis.heldout import cut_off_ages, folds_of_units, hold_out
from cem.selection import choose_basis, cross_validate
from cem.selection.basis_choice import BasisCandidate
from cem.selection.basis_menu import default_bases, default_ranks
from cem.selection.basis_scores import crps_of_normals, losses_of
from cem.selection.choosing_basis import _by_the_rule

QUICK = {"n_folds": 3, "ages": 2}


def bent(n_units=24, seed=0, *, scale=1.0, n_channels=2, bend=5.0):
    """Units that wear ever faster towards their failure; time in any unit."""
    rng = np.random.default_rng(seed)
    times, values, died = [], [], []
    for _ in range(n_units):
        life = rng.uniform(30, 60)
        t = np.arange(1.0, life)
        wear = rng.normal(1, 0.1) * bend * np.exp((t - life) / 6.0)
        times.append(scale * t)
        values.append(np.stack([wear * (1 + 0.3 * c) for c in range(n_channels)], axis=1))
        values[-1] += 0.3 * rng.normal(size=values[-1].shape) + 0.2 * rng.normal(size=n_channels)
        died.append(scale * life)
    return cem.Panel.from_arrays(times, values, failure_times=died)


def parabolas(n_units=20, seed=1):
    rng = np.random.default_rng(seed)
    t = np.arange(20.0)
    x = rng.normal(0, 1, (n_units, 1)) + rng.normal(0.3, 0.1, (n_units, 1)) * t + 0.05 * t**2
    return cem.Panel.from_arrays([t] * n_units, list((x + 0.2 * rng.normal(size=x.shape))[..., None]))


def em(**options):
    return cem.FailureModeEM(1, **{"random_state": 0, "time_axis": "to_failure", **options})


@pytest.fixture(scope="module")
def found():
    return choose_basis(em(), bent(), ranks=[0], **QUICK)


def test_the_menu_is_in_the_units_of_the_fleet():
    """A menu of fixed time constants fits one fleet, and none whose time is counted in hours instead of days."""
    small, large = (default_bases(bent(scale=scale), "to_failure") for scale in (1.0, 1000.0))
    assert len(small) == len(large) > 10
    constants = [np.array(basis.time_constants) for basis in small if isinstance(basis, cem.Exponential)]
    thousands = [np.array(basis.time_constants) for basis in large if isinstance(basis, cem.Exponential)]
    for one, other in zip(constants, thousands, strict=True):
        np.testing.assert_allclose(other, 1000.0 * one, rtol=0.01)
    assert not any(isinstance(basis, cem.BSpline) for basis in small)  # not shift-invariant
    forward = default_bases(bent(), "forward")
    assert any(isinstance(basis, cem.BSpline) and basis.degree == 1 for basis in forward)


def test_a_menu_for_short_units_has_no_large_basis():
    t = np.arange(4.0)
    panel = cem.Panel.from_arrays([t] * 6, [np.sin(t + i)[:, None] for i in range(6)])
    assert {basis.size for basis in default_bases(panel, "forward")} <= {2, 3}


@pytest.mark.parametrize(
    ("options", "n_channels", "ranks"),
    [
        ({}, 14, (0, 4, 8)),
        ({}, 8, (0, 4)),
        ({}, 3, (0,)),
        ({"linking_rank": 2}, 14, (2,)),
        ({"covariance": "pooled"}, 14, (0,)),
        ({"lifetimes": "linked"}, 14, (4, 8)),
        ({"time_axis": "forward"}, 14, (0,)),
    ],
)
def test_links_are_compared_where_the_options_allow_them(options, n_channels, ranks):
    assert default_ranks(em(**options).get_params(deep=False), n_channels) == ranks


def test_wear_that_speeds_up_gets_an_exponential(found):
    assert isinstance(found.basis, cem.Exponential)
    assert found.estimator.basis == found.basis and found.estimator.model_.n_channels == 2
    sizes = [one.n_parameters for one in found.candidates]
    assert sizes == sorted(sizes)
    near = [one for one in found.candidates if one.gap <= one.gap_standard_error]
    assert found.taken is near[0] and found.best.gap == 0.0


def test_scores_are_those_of_cross_validate(found):
    """Two tables of one fleet with other figures for the same model would leave a user without either."""
    one = found.taken
    other = em(covariance=one.options["covariance"], basis=one.basis)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        scored = cross_validate(bent(), {"it": other}, score="crps", **QUICK).scored[0]
        of_rmse = choose_basis(em(), bent(), bases=[one.basis], ranks=[0], score="rmse", cap=20.0, **QUICK)
        capped = cross_validate(bent(), {"it": other}, score="rmse", cap=20.0, **QUICK).scored[0]
    assert one.score == pytest.approx(scored.crps, rel=1e-12)
    assert of_rmse.taken.score == pytest.approx(capped.rmse, rel=1e-12)


def test_threads_do_not_change_the_choice(found):
    again = choose_basis(em(), bent(), ranks=[0], n_jobs=2, **QUICK)
    assert str(again) == str(found)
    np.testing.assert_array_equal(again.table()["gap"], found.table()["gap"])


def test_the_rule_takes_the_simplest_within_a_paired_standard_error():
    from cem.selection.basis_scores import Losses

    rng = np.random.default_rng(0)
    common = rng.exponential(5.0, 200)  # hard units are hard for every candidate

    def candidate(n, losses):
        options = {"basis": cem.Polynomial(n), "n_modes": 1, "linking_rank": 0, "linking_penalty": 500.0,
                   "covariance": "full", "process": None}  # fmt: skip
        return options, Losses(common + losses, n)

    best, same = np.zeros(200), rng.normal(0.0, 0.3, 200)
    same += 0.01 - same.mean()  # a little worse, within its standard error of .02
    worse = rng.normal(0.2, 0.3, 200)  # far within the spread of the units, far beyond that of the difference
    table, chosen = _by_the_rule([candidate(3, best), candidate(1, worse), candidate(2, same)], "crps", 1.0)
    assert [one.n_parameters for one in table] == [1, 2, 3] and chosen == 1
    assert table[0].gap == pytest.approx(worse.mean()) and not table[0].is_near(1.0)
    assert table[0].gap_standard_error == pytest.approx(worse.std(ddof=1) / np.sqrt(200))
    for margin, expected in ((0.0, 2), (1e9, 0)):
        assert (
            _by_the_rule([candidate(3, best), candidate(1, worse), candidate(2, same)], "crps", margin)[1] == expected
        )


def test_a_margin_of_zero_takes_the_best_score(found):
    """Who needs the best lives and can afford the larger model asks for it, and is told that this is what it is."""
    best = choose_basis(em(), bent(), ranks=[0], standard_errors=0, **QUICK)
    assert best.taken is best.best and best.taken.name == found.best.name
    assert best.reason == "it has the best score." and best.standard_errors == 0.0
    assert best.table()["near_best"].sum() == 1 and best.table()["recommended"].sum() == 1
    wide = choose_basis(em(), bent(), ranks=[0], standard_errors=1e6, **QUICK)
    assert wide.chosen == 0 and "within 1e+06 standard errors of the best" in wide.reason


@pytest.mark.parametrize("margin", [-1.0, float("nan"), "1", True, None])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(cem.OptionError, match=r"standard_errors=.*a number from 0 was expected"):
        choose_basis(em(), bent(), standard_errors=margin, **QUICK)


def test_the_crps_of_a_forecast_is_that_of_its_draws():
    model = (
        cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=1, random_state=0, covariance="pooled")
        .fit(parabolas())
        .model_
    )
    forecast = model.forecast(parabolas()[:2], [25.0, 30.0], channel="x1")
    truth = np.array([[40.0, 50.0], [44.0, 70.0]])
    rng = np.random.default_rng(0)
    for i in range(2):
        modes = rng.choice(2, 20000, p=forecast.weights[i])
        draws = forecast.mode_means[i, modes] + np.sqrt(forecast.mode_variances[i, modes]) * rng.normal(size=(20000, 2))
        np.testing.assert_allclose(crps_of_normals(truth, forecast)[i], crps_sample(truth[i], draws.T), rtol=0.02)


@pytest.mark.parametrize("process", [None, "wiener"])
def test_losses_of_forecasts_are_those_of_the_public_calls(process):
    """The fast path compresses once for all channels; it must forecast what `forecast` does."""
    panel, one = parabolas(8), cem.FailureModeEM(1, basis=cem.Polynomial(1), process=process, random_state=0)
    fold_of = folds_of_units(8, 2, 0)
    values = losses_of(one, panel, fold_of, "forecast", np.zeros((0, 0)), None).values
    model = cem.FailureModeEM(**one.get_params(deep=False)).fit(panel[fold_of != fold_of[0]]).model_
    expected = []
    for share in (0.25, 0.5, 0.75):
        own = panel[[0]]
        later = own.times[own.times > 19.0 * share]
        later = later[np.linspace(0, len(later) - 1, min(8, len(later))).round().astype(int)]
        forecast = model.forecast(own.until(19.0 * share), later, channel="x1")
        truth = own.values[later.astype(int), 0][None]
        expected.append(crps_of_normals(truth, forecast).mean() / np.nanstd(panel.values))
    assert values[0] == pytest.approx(np.mean(expected), rel=1e-9)


def test_on_the_forward_axis_later_readings_are_forecast():
    found = choose_basis(cem.FailureModeEM(1, random_state=0), parabolas(), processes=[None], n_folds=3)
    assert found.score == "forecast" and found.basis == cem.Polynomial(2)
    assert "later readings" in str(found)
    by_density = choose_basis(
        cem.FailureModeEM(1, random_state=0), parabolas(), bases=[cem.Polynomial(1), cem.Polynomial(2)],
        score="log_likelihood", n_folds=3,
    )  # fmt: skip
    assert by_density.basis == cem.Polynomial(2)
    assert {one.options["process"] for one in by_density.candidates} == {None, "wiener", "integrated"}


def test_other_numbers_of_modes_take_part():
    fleet = cem.datasets.load_demo_fleet()[:45].select_channels(["wear", "debris"])
    found = choose_basis(
        cem.FailureModeEM(1, n_init=2, random_state=0), fleet, bases=[cem.Polynomial(1)], modes=(1, 2),
        processes=[None], n_folds=2,
    )  # fmt: skip
    assert {one.options["n_modes"] for one in found.candidates} == {1, 2}
    assert {one.options["covariance"] for one in found.candidates if one.options["n_modes"] == 2} == {"pooled"}
    assert found.estimator.n_modes == found.taken.options["n_modes"]


def test_a_candidate_that_cannot_be_fitted_is_left_out_by_name():
    found = choose_basis(em(), bent(), bases=[cem.BSpline(4), cem.Polynomial(1)], ranks=[0], **QUICK)
    assert found.basis == cem.Polynomial(1)
    ((name, why),) = found.left_out.items()
    assert "BSpline" in name and "shift-invariant" in why and "left out" in str(found)
    with pytest.raises(cem.CemError, match="shift-invariant"):
        choose_basis(em(), bent(), bases=[cem.BSpline(4)], ranks=[0], **QUICK)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"bases": []}, OptionError, "bases"),
        ({"bases": ["poly"]}, OptionError, "bases"),
        ({"score": "forecast"}, OptionError, "score='forecast' with time_axis='to_failure'"),
        ({"ranks": []}, OptionError, "ranks"),
        ({"n_jobs": 0}, OptionError, "n_jobs=0"),
        ({"n_folds": 1}, OptionError, "n_folds is 1"),
    ],
)
def test_options_that_cannot_be_used_are_named(options, error, words):
    with pytest.raises(error, match=words):
        choose_basis(em(), bent(6), **options)


def test_too_few_units_are_told_before_any_fit():
    with pytest.raises(PanelError, match="at least 4 units that failed are needed, and there are 3"):
        choose_basis(em(), bent(3))
    with pytest.raises(OptionError, match="of type int"):
        choose_basis(1, bent(3))


# ---- FailureModeEM(basis="auto") -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def automatic():
    return em(basis="auto", n_init=1).fit(bent(12))


def test_a_fit_chooses_and_its_model_keeps_the_table(automatic):
    chosen = automatic.basis_choice_
    assert automatic.basis == "auto" and automatic.model_.bases[0].with_params() == chosen.basis
    file = io.BytesIO()
    automatic.model_.save(file)
    record = cem.load(file.getvalue()).training["basis_choice"]
    assert record == chosen.record()
    assert [row["recommended"] for row in record["candidates"]].count(True) == 1
    shown = str(cem.load(file.getvalue()).summary())
    assert "Bases compared" in shown and repr(chosen.basis) in shown
    assert chosen.reason.split(",")[0] in automatic.model_.report()


def test_clones_and_pickles_choose_again(automatic):
    other = cem.FailureModeEM(**automatic.get_params())
    assert other.basis == "auto" and repr(other) == repr(automatic)
    again = pickle.loads(pickle.dumps(automatic))
    assert str(again.basis_choice_) == str(automatic.basis_choice_)
    assert again._options().basis == automatic.basis_choice_.basis  # what follows a fit, such as its uncertainty
    plain = again.set_params(basis=cem.Polynomial(1)).fit(bent(12))
    assert not hasattr(plain, "basis_choice_") and "basis_choice" not in plain.model_.training


def test_a_fit_that_continues_a_model_keeps_its_basis(automatic):
    more = em(basis="auto").fit(bent(12), init=automatic.model_)
    assert more.model_.bases == automatic.model_.bases
    assert more.model_.training["basis_choice"] == automatic.model_.training["basis_choice"]
    with pytest.raises(OptionError, match="basis='auto' with init=parameters"):
        em(basis="auto").fit(bent(12), init=automatic.model_.user_parameters())


def test_each_fold_of_a_calibration_chooses_for_itself(automatic, monkeypatch):
    """A basis that was chosen with the units left out would make their coverage look better than it is."""
    from cem.selection import choosing_basis

    seen = []
    whole = choosing_basis.automatic_basis
    monkeypatch.setattr(
        choosing_basis, "automatic_basis", lambda given, panel: seen.append(panel.n_units) or whole(given, panel)
    )
    monkeypatch.setattr(choosing_basis, "default_bases", lambda *_: (cem.Polynomial(1), cem.Polynomial(2)))
    fit = cem.RemainingLife(automatic.model_).recipe(em(basis="auto", n_init=1))
    failed = bent(12)
    hold_out(failed, fit, cut_off_ages(failed, 1, 0), folds_of_units(12, 2, 0))
    assert seen == [6, 6]


@pytest.mark.parametrize("basis", ["automatic", {"x1": "auto", None: cem.Polynomial(1)}])
def test_other_texts_are_no_basis(basis):
    with pytest.raises(OptionError, match="'auto' for all channels together"):
        em(basis=basis).fit(bent(5))


def test_options_are_refused_before_the_choice():
    with pytest.raises(OptionError, match="max_iter"):
        em(basis="auto", max_iter=-1).fit(bent(5))


# ---- a basis that misfits --------------------------------------------------------------------------------------------


def test_links_on_a_basis_that_misfits_are_warned_of():
    panel = bent(30, n_channels=3, bend=8.0)
    linked = {"linking_rank": 1, "linking_penalty": 5.0}
    with pytest.warns(BasisMisfitWarning, match="cannot follow channels .*take a richer basis"):
        em(basis=cem.Polynomial(1), **linked).fit(panel)
    with warnings.catch_warnings():
        warnings.simplefilter("error", BasisMisfitWarning)
        em(basis=cem.Exponential([6.0]), **linked).fit(panel)
        em(basis=cem.Polynomial(1)).fit(panel)  # no links, no warning


def test_a_unit_that_wanders_is_no_misfit():
    """Each unit wanders its own way: a richer basis would not help."""
    rng = np.random.default_rng(3)
    t = np.arange(60.0)
    walks = np.cumsum(0.3 * rng.normal(size=(30, 60, 2)), axis=1) + 0.3 * rng.normal(size=(30, 60, 2))
    panel = cem.Panel.from_arrays([t] * 30, list(walks))
    with warnings.catch_warnings():
        warnings.simplefilter("error", BasisMisfitWarning)
        cem.FailureModeEM(1, linking_rank=1, random_state=0).fit(panel)


def test_a_candidate_says_all_that_it_differs_in():
    options = {"n_modes": 2, "linking_rank": 4, "linking_penalty": 5.0, "covariance": "full", "process": None}
    one = BasisCandidate(cem.Polynomial(2), options, 10, 1.0, 0.0, 0.0)
    assert one.name == "Polynomial(degree=2), K=2, r=4, penalty 5, full"


def test_what_a_fit_chooses_besides_is_left_to_it(monkeypatch):
    """Choosing a process, or leaving readings out, for every candidate would take hours; for none would drop it."""
    from cem.selection import choosing_basis

    monkeypatch.setattr(choosing_basis, "default_bases", lambda *_: (cem.Polynomial(1), cem.Polynomial(2)))
    one = cem.FailureModeEM(1, basis="auto", process="auto", random_state=0).fit(parabolas(12))
    assert one.basis_choice_.basis == cem.Polynomial(2)
    assert {candidate.options["process"] for candidate in one.basis_choice_.candidates} == {None}
    assert one._options().process == "auto"
    without = cem.FailureModeEM(1, basis="auto", gross_errors="leave_out", random_state=0).fit(parabolas(12))
    assert without.basis_choice_.basis == cem.Polynomial(2)
    assert "basis_choice" in without.model_.training
