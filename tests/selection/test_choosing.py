"""`choose_modes`: one table and one recommendation, whatever kind of fit it is."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import cem
from cem.errors import OptionError, PanelError
from cem.selection import choose_modes


def fleet(n_units=60, n_modes=2, seed=1, *, lives=False, labels=False):
    rng = np.random.default_rng(seed)
    times, values, modes, died = [], [], [], []
    for unit in range(n_units):
        k = unit % n_modes
        end = rng.uniform(8, 12)
        t = np.sort(rng.uniform(0, end, rng.integers(5, 12)))
        slope = 1.0 - 2.0 * k + 0.15 * rng.normal()
        x = np.column_stack([rng.normal() * 0.3 + slope * (t - 5), rng.normal() * 0.3 + (k - 0.5) * t])
        times.append(t)
        values.append(x + 0.4 * rng.normal(size=x.shape))
        modes.append("ab"[k] if labels and unit < 8 and k < 2 else None)
        died.append(end if unit % 6 else np.nan)
    panel = cem.Panel.from_arrays(times, values, **({"failure_times": died} if lives else {}))
    return panel.with_modes(modes) if labels else panel


LINEAR = {"basis": cem.Polynomial(1), "n_init": 2, "random_state": 0}
FEW = {"n_replicates": 19, "n_folds": 3}


@pytest.fixture(scope="module")
def found():
    return choose_modes(cem.FailureModeEM(1, **LINEAR), fleet(), range(1, 4), **FEW)


def test_the_true_number_is_recommended_and_fitted(found):
    assert found.n_modes == 2
    assert found.estimator.n_modes == 2 and len(found.estimator.weights_) == 2
    assert found.candidates[0].p_value == 0.05 and found.candidates[1].p_value > 0.05
    assert found.candidates[2].test is None
    assert [one.held_out_standard_error == 0.0 for one in found.candidates].count(True) == 1


@pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")
def test_figures_are_those_of_the_fits(found):
    """Covariances are shrunk by default: criteria are those of a maximum-likelihood fit, and the result says so."""
    assert found.maximum_likelihood == "full" and "covariance='full'" in str(found)
    for one in found.candidates:
        em = cem.FailureModeEM(one.n_modes, covariance="full", **LINEAR).fit(fleet())
        assert (one.bic, one.aic, one.icl) == (em.bic(), em.aic(), em.icl())
        assert one.n_parameters == em.n_parameters_ and one.log_likelihood == em.log_likelihood_
        rho = em.responsibilities_
        assert one.entropy == pytest.approx(-(rho * np.log(np.where(rho > 0, rho, 1))).sum(), abs=1e-6)
        rho = cem.FailureModeEM(one.n_modes, **LINEAR).fit(fleet()).responsibilities_
        for k in range(one.n_modes):
            own = rho[rho.argmax(axis=1) == k, k]
            assert one.mean_posteriors[k] == pytest.approx(own.mean())


def test_one_mode_is_compared_by_the_covariance_that_was_asked_for():
    """A full covariance of one mode beside diagonal ones of two would win by its shape, not by its number."""
    found = choose_modes(
        cem.FailureModeEM(1, **LINEAR), fleet(), (1, 2), test=False, n_folds=2, maximum_likelihood="diagonal"
    )
    for one in found.candidates:
        em = cem.FailureModeEM(one.n_modes, covariance="diagonal", **LINEAR).fit(fleet())
        assert (one.log_likelihood, one.n_parameters) == (em.log_likelihood_, em.n_parameters_)


def test_held_out_scores_are_those_of_cross_validate():
    found = choose_modes(cem.FailureModeEM(1, covariance="full", **LINEAR), fleet(), (1, 2, 3), test=False, n_folds=3)
    assert found.maximum_likelihood == ""
    candidates = {k: cem.FailureModeEM(k, covariance="full", **LINEAR) for k in (1, 2, 3)}
    scored = cem.selection.cross_validate(fleet(), candidates, score="log_likelihood", n_folds=3).scored
    assert [one.held_out for one in found.candidates] == pytest.approx([one.log_likelihood for one in scored])


def test_two_threads_say_the_same(found):
    again = choose_modes(cem.FailureModeEM(1, **LINEAR), fleet(), range(1, 4), n_jobs=2, **FEW)
    assert str(again) == str(found)


def test_the_table_is_readable_and_pickles(found):
    lines = str(found).splitlines()
    assert lines[0].split()[:3] == ["modes", "log-lik.", "par."]
    assert lines[2].endswith("<-")
    assert lines[-1] == f"2 modes: {found.reason}"
    assert repr(found).startswith("ModeChoice: 2 modes of 1, 2, 3; ")
    assert str(pickle.loads(pickle.dumps(found))) == str(found)
    assert "<table" in found._repr_html_()
    frame = found.to_frame()
    assert list(frame["n_modes"]) == [1, 2, 3] and list(frame["recommended"]) == [False, True, False]
    assert np.isnan(frame["p_value"].iloc[2])


def test_numbers_below_the_labels_are_left_out_by_name():
    found = choose_modes(cem.FailureModeEM(1, **LINEAR), fleet(labels=True), range(1, 4), test=False, n_folds=3)
    assert [one.n_modes for one in found.candidates] == [2, 3]
    assert found.left_out == {1: "the units have 2 labels"}
    assert found.estimator.mode_labels_[:2] == ("a", "b")
    with pytest.raises(OptionError, match="2 labels"):
        choose_modes(cem.FailureModeEM(1, **LINEAR), fleet(labels=True), [1])


def test_labelled_units_keep_their_mode_in_the_drawn_fleets():
    found = choose_modes(cem.FailureModeEM(1, **LINEAR), fleet(labels=True), (2, 3), **FEW)
    assert found.n_modes == 2 and found.candidates[0].p_value > 0.05


@pytest.mark.parametrize(
    ("options", "lives", "why"),
    [
        ({"linking_rank": 1, "linking_penalty": 5.0}, False, "linked channels"),
        ({"time_axis": "to_failure", "covariance": "pooled"}, True, "time to failure"),
    ],
)
def test_fits_that_cannot_be_tested_say_why_and_are_compared_by_the_rest(options, lives, why):
    em = cem.FailureModeEM(1, **LINEAR, **options)
    found = choose_modes(em, fleet(lives=lives), (1, 2), **FEW)
    assert why in found.without_test and why in str(found)
    assert all(one.p_value is None and one.held_out is not None for one in found.candidates)
    assert found.n_modes == 2


def test_units_with_covariates_are_drawn_with_them():
    rng = np.random.default_rng(0)
    panel = fleet()
    load = rng.normal(size=len(panel.times))
    values = panel.values + np.multiply.outer(load, [1.0, -0.5])
    rows = [slice(*panel.offsets[l : l + 2]) for l in range(panel.n_units)]
    panel = cem.Panel.from_arrays(
        [panel.times[r] for r in rows], [values[r] for r in rows], covariates={"load": [load[r] for r in rows]}
    )
    found = choose_modes(cem.FailureModeEM(1, **LINEAR, covariates="load"), panel, (1, 2, 3), **FEW)
    assert found.n_modes == 2 and found.candidates[1].p_value > 0.05


def test_fleets_with_regimes_are_tested():
    """Each fit refines the offsets of the regimes; in a test both numbers of modes have those of the smaller one."""
    rng = np.random.default_rng(0)
    frame = fleet().to_frame("pandas")
    frame["load"] = np.where(rng.random(len(frame)) < 0.5, "high", "low")
    frame.loc[frame["load"] == "high", ["x1", "x2"]] += 3.0
    panel = cem.Panel.from_frame(frame, unit="unit", time="time", covariates=["load"])
    em = cem.FailureModeEM(1, covariance="full", regimes=cem.Regimes("load"), **LINEAR)
    found = choose_modes(em, panel, (1, 2, 3), **FEW)
    assert found.n_modes == 2 and found.candidates[0].p_value == 0.05 and found.candidates[1].p_value > 0.05


@pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")
def test_a_number_that_cannot_be_fitted_is_left_out_with_the_reason():
    small = fleet(5)
    found = choose_modes(cem.FailureModeEM(1, covariance="pooled", **LINEAR), small, (1, 6), test=False, n_folds=2)
    assert [one.n_modes for one in found.candidates] == [1]
    assert "5 units cannot be divided" in found.left_out[6]
    with pytest.raises(PanelError, match="5 units cannot be divided"):
        choose_modes(cem.FailureModeEM(1, **LINEAR), small, (6, 7))


def test_only_the_fit_that_is_returned_carries_the_uncertainty_of_its_parameters():
    """Candidates and folds would take minutes, and their figures are of plain fits."""
    em = cem.FailureModeEM(1, covariance="pooled", uncertainty="information", **LINEAR)
    found = choose_modes(em, fleet(), (1, 2), test=False, n_folds=2)
    assert found.estimator.model_.uncertainty is not None
    plain = choose_modes(cem.FailureModeEM(1, covariance="pooled", **LINEAR), fleet(), (1, 2), test=False, n_folds=2)
    assert str(found) == str(plain)


def test_a_law_that_is_refused_at_the_end_leaves_the_comparison():
    """All fits, folds and tests would be lost for an option of the last fit."""
    em = cem.FailureModeEM(1, covariance="full", uncertainty="information", **LINEAR)
    with pytest.warns(cem.CemWarning, match="without uncertainty='information': the fit has"):
        found = choose_modes(em, fleet(12), (2, 3), test=False, n_folds=2)
    assert found.estimator.model_.components is None and len(found.candidates) == 2


def test_warnings_of_the_recommended_fit_come_once():
    em = cem.FailureModeEM(1, covariance="pooled", uncertainty="information", max_iter=60, tol=1e-14, **LINEAR)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        choose_modes(em, fleet(), (2,), test=False, n_folds=2)
    told = [str(one.message) for one in caught]
    assert len(told) == len(set(told))


def test_the_fit_that_is_returned_is_that_of_the_table_without_a_seed_too():
    em = cem.FailureModeEM(
        1, covariance="pooled", uncertainty="information", basis=cem.Polynomial(1), n_init=2, random_state=None
    )
    found = choose_modes(em, fleet(), (2,), test=False, n_folds=2)
    assert isinstance(found.estimator.random_state, int) and em.random_state is None
    assert found.candidates[0].log_likelihood == found.estimator.log_likelihood_


def test_a_law_that_no_fit_has_is_refused_before_the_comparison(monkeypatch):
    monkeypatch.setattr(cem.FailureModeEM, "fit", lambda *args, **options: pytest.fail("a fit was made"))
    with pytest.raises(OptionError, match="uncertainty='bayes'"):
        choose_modes(cem.FailureModeEM(1, uncertainty="bayes"), fleet(), (1, 2))


def test_a_generator_as_random_state_gives_every_fit_the_same_starts():
    """Threads would use it in another order each time."""
    options = {**LINEAR, "covariance": "pooled"}
    one, two = (
        choose_modes(
            cem.FailureModeEM(1, **{**options, "random_state": np.random.default_rng(3)}), fleet(), (2, 3), test=False,
            n_folds=2, n_jobs=n_jobs,
        )
        for n_jobs in (1, 2)
    )  # fmt: skip
    assert str(one) == str(two)


@pytest.mark.parametrize(
    "options",
    [
        {"modes": 3}, {"modes": []}, {"modes": [0, 1]}, {"modes": [1.5]}, {"n_folds": 1}, {"n_replicates": 0},
        {"level": 1.0}, {"n_replicates": 9}, {"n_replicates": 18}, {"level": "x"}, {"n_jobs": 0}, {"n_jobs": "two"},
        {"random_state": "x"}, {"random_state": -1}, {"test": "no"}, {"progress": 3}, {"modes": range(1, 10**9)},
    ],
)  # fmt: skip
def test_options_are_checked_before_anything_is_fitted(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        choose_modes(cem.FailureModeEM(1), fleet(4), **options)


def test_why_there_is_no_held_out_likelihood_is_said():
    """A level of one unit is unknown where that unit is left out: no score, and not because of the modes."""
    frame = fleet(30).to_frame("pandas")
    frame["site"] = ["C" if unit == frame["unit"].iloc[0] else "AB"[int(unit) % 2] for unit in frame["unit"]]
    panel = cem.Panel.from_frame(frame, unit="unit", time="time", covariates=["site"])
    em = cem.FailureModeEM(1, covariance="pooled", covariates="site", **LINEAR)
    found = choose_modes(em, panel, (1, 2), test=False, n_folds=2)
    assert [one.held_out for one in found.candidates] == [None, None]
    assert list(found.without_held_out) == [1, 2]
    line = next(line for line in str(found).splitlines() if "no held-out figure" in line)
    assert line.startswith("1, 2: no held-out figure, without the units of fold ") and "'C'" in line


def test_numbers_that_are_not_successive_have_no_test_and_the_result_says_so():
    found = choose_modes(cem.FailureModeEM(1, covariance="pooled", **LINEAR), fleet(30), (1, 3), n_folds=2)
    assert "no test: no two numbers of modes are successive" in str(found)


def test_an_interruption_ends_the_comparison(monkeypatch):
    """Ctrl-C ends a fit early, with what it has; as a fold of a comparison that would be a wrong figure."""
    fit = cem.FailureModeEM.fit

    def interrupted(self, panel, *others, **options):
        fit(self, panel, *others, **options)
        self.interrupted_ = panel.n_units < 30
        return self

    monkeypatch.setattr(cem.FailureModeEM, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        choose_modes(cem.FailureModeEM(1, covariance="pooled", **LINEAR), fleet(30), (1, 2), test=False, n_folds=2)


@pytest.mark.parametrize("random_state", [None, np.random.default_rng(0)])
def test_folds_and_draws_take_every_kind_of_random_state(random_state):
    em = cem.FailureModeEM(1, covariance="pooled", **LINEAR)
    assert choose_modes(em, fleet(30), (1, 2), random_state=random_state, **FEW).n_modes == 2


def test_one_mode_is_written_in_the_singular():
    found = choose_modes(cem.FailureModeEM(1, covariance="pooled", **LINEAR), fleet(30, 1), (1, 2), **FEW)
    assert str(found).splitlines()[-1].startswith("1 mode: ")
    assert repr(found).startswith("ModeChoice: 1 mode of 1, 2; ")
    assert repr(found.candidates[0].test).startswith("ModeTest(1 mode against 2: ")


def test_more_folds_than_units_that_failed_are_refused_before_the_fits():
    rng = np.random.default_rng(0)
    panel = cem.Panel.from_arrays(
        [np.arange(4.0)] * 8, [rng.normal(size=(4, 1)) for _ in range(8)], failure_times=[5.0] * 3 + [np.nan] * 5
    )
    with pytest.raises(OptionError, match="3 of the 8 units failed"):
        choose_modes(cem.FailureModeEM(1, time_axis="to_failure"), panel, (1, 2))
    with pytest.raises(OptionError, match="n_folds is 5"):
        choose_modes(cem.FailureModeEM(1), fleet(4), (1, 2))


def test_something_else_than_an_estimator_is_refused():
    with pytest.raises(OptionError, match="FailureModeEM"):
        choose_modes(3, fleet(4))


def test_a_data_frame_is_read_as_by_fit():
    pandas = pytest.importorskip("pandas")
    panel = fleet(30)
    frame = panel.to_frame("pandas")
    em = cem.FailureModeEM(1, unit="unit", time="time", covariance="pooled", **LINEAR)
    found = choose_modes(em, pandas.DataFrame(frame), (1, 2), test=False, n_folds=2)
    assert found.n_modes == 2


def test_old_names_are_still_there():
    from cem.prognosis import selection as old

    for name in ("cross_validate", "CrossValidation", "Scored", "WithoutSensors", "SCORES"):
        assert getattr(cem.selection, name) is getattr(old, name)


def test_the_least_number_of_folds_is_not_to_be_lowered():
    """A user would be sent to one fold, which is refused as well."""
    panel = fleet()
    for units, n_folds, words in ((1, 2, "one, so give more units"), (2, 3, "take fewer folds, or give more units")):
        with pytest.raises(cem.OptionError, match=f"{words}$"):
            choose_modes(cem.FailureModeEM(1, **LINEAR), panel[:units], (1, 2), n_folds=n_folds, test=False)
