"""Stability: firm where modes are apart, and open about every other optimum where they are not."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from conditioned_fleets import EVERYTHING, conditioned_fleet, fitted

import cem
from cem.basis.families import Polynomial
from cem.metrics.agreement import adjusted_rand_index


def close_fleet(seed=0, n_units=40):
    """Three modes that hardly differ, asked of one cloud of units."""
    rng = np.random.default_rng(seed)
    times, values = [], []
    for l in range(n_units):
        t = np.sort(rng.uniform(-1, 1, 6))
        level, slope = np.array(((0.0, 1.0), (0.5, 0.6))[l % 2]) + 0.4 * rng.normal(size=2)
        times.append(t)
        values.append((level + slope * t + 0.4 * rng.normal(size=6))[:, None])
    return cem.Panel.from_arrays(times, values)


@pytest.fixture(scope="module")
def apart():
    fleet = cem.datasets.load_demo_fleet()
    em = cem.FailureModeEM(3, covariance="pooled", random_state=0, n_init=4).fit(fleet)
    return em, fleet, em.stability(fleet, n_starts=10, n_replicates=5)


@pytest.fixture(scope="module")
def close():
    panel = close_fleet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = cem.FailureModeEM(3, basis=Polynomial(1), covariance="full", random_state=0).fit(panel)
    return em, panel, em.stability(panel, n_starts=20, n_replicates=10)


def test_modes_that_are_apart_are_firm(apart):
    """Every start of a clear fleet finds what the fit found, and other units would say the same."""
    em, fleet, found = apart
    assert len(found.optima) == 1 and found.n_met >= 3 and found.gain == 0.0
    assert found.firm.all() and found.share_of_replicates.min() >= 0.8
    np.testing.assert_array_equal(found.modes, em.responsibilities_.argmax(axis=1))
    assert found.optima[0].log_likelihood == pytest.approx(em.log_likelihood_)
    assert found.optima[0].adjusted_rand == 1.0 and found.optima[0].n_moved == 0
    assert "no other optimum within 3 nats" in repr(found) and "160 calls are firm" in repr(found)
    assert found.units == fleet.units


def test_modes_that_nothing_separates_are_not_firm(close):
    """Otherwise a user takes calls for facts that another seed turns round."""
    _, _, found = close
    assert len(found.optima) > 1 and not found.firm.all()
    assert found.share_of_replicates.mean() < 0.95
    assert "whose mode is not firm" in str(found)


def test_a_run_that_creeps_is_no_other_optimum():
    """Lives of running units move slowly: cut short, runs of one optimum seemed to be a second one, 2 nats below."""
    fleet = conditioned_fleet(3, failing=True)
    failures = np.array(fleet.failure_times)
    failures[::4] = np.nan
    panel = fleet._replace(failure_times=failures)
    em = fitted(panel, basis=Polynomial(1), time_axis="to_failure", lifetimes="weibull", max_iter=1000)
    found = em.stability(panel, n_starts=4, n_replicates=1)
    assert len(found.optima) == 1 and found.n_met == 4
    assert "1 replicate agrees on" in repr(found)


def test_optima_are_those_that_a_refit_from_them_reaches(close):
    """Their responsibilities are a warm start: the user can take another optimum than the fit's."""
    em, panel, found = close
    for one in found.optima[:3]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = cem.FailureModeEM(3, basis=Polynomial(1), covariance="full").fit(panel, init=one.responsibilities)
        assert again.log_likelihood_ == pytest.approx(one.log_likelihood, abs=0.1)
        assert again.log_likelihood_ - em.log_likelihood_ == pytest.approx(one.difference, abs=0.1)


def test_a_better_optimum_is_said_first(close):
    """The fit has missed the best optimum, and the user has to know before anything else."""
    _, _, found = close
    better = replace(found, optima=(found.optima[0], replace(found.optima[1], difference=0.8, n_met=3)))
    assert " starts led to the fit; the best optimum is 0.80 nats above it" in repr(better)
    assert better.gain == 0.8


def test_numbers_of_an_optimum_are_those_of_its_calls(close):
    _, _, found = close
    for one in found.optima:
        calls = one.responsibilities.argmax(axis=1)
        assert one.n_moved == (calls != found.modes).sum()
        assert one.adjusted_rand == pytest.approx(adjusted_rand_index(found.modes.tolist(), calls.tolist()))
        assert one.difference >= found.gain - found.within
    by_hand = np.mean([one.responsibilities.argmax(axis=1) == found.modes for one in found.optima], axis=0)
    np.testing.assert_allclose(found.share_of_optima, by_hand)


def test_a_seed_gives_the_same_result_twice(close):
    em, panel, found = close
    again = em.stability(panel, n_starts=20, n_replicates=10)
    np.testing.assert_array_equal(again.replicate_modes, found.replicate_modes)
    assert [one.difference for one in again.optima] == [one.difference for one in found.optima]
    threaded = cem.FailureModeEM(**{**em.get_params(deep=False), "n_jobs": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threaded.fit(panel)
    side_by_side = threaded.stability(panel, n_starts=20, n_replicates=10)
    np.testing.assert_array_equal(side_by_side.replicate_modes, found.replicate_modes)
    assert [one.difference for one in side_by_side.optima] == [one.difference for one in found.optima]


def test_the_fit_is_left_as_it_was(close):
    em, panel, _ = close
    before = em.responsibilities_.copy()
    em.stability(panel, n_starts=2, n_replicates=1)
    np.testing.assert_array_equal(em.responsibilities_, before)


KINDS = {
    "linked": {"linking_rank": 1},
    "everything": EVERYTHING,
    "membership": {"membership": ["site"]},
    "shrunk": {"covariance": "shrunk"},
}


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fit_has_a_stability(kind, failing):
    """Links, regimes, covariates, membership, lives: the fit's own optimum is met in its own problem."""
    panel = conditioned_fleet(3, n_units=20, failing=failing)
    options = {**KINDS[kind], "max_iter": 400, **({"time_axis": "to_failure"} if failing else {})}
    em = fitted(panel, basis=Polynomial(2 if kind == "everything" else 1), **options)
    found = em.stability(panel, n_starts=3, n_replicates=2)
    assert found.optima[0].difference == 0.0 and found.n_met >= 1
    assert found.optima[0].log_likelihood == pytest.approx(em.log_likelihood_)
    assert found.share_of_replicates.mean() > 0.9


def test_a_fit_with_uncertainty_has_the_stability_of_its_parameters():
    """Replicates must not compute uncertainties of their own."""
    panel = conditioned_fleet(3, n_units=20)
    options = {"basis": Polynomial(1), "covariance": "pooled", "max_iter": 400}
    found = [fitted(panel, **options, **more).stability(panel, n_starts=3, n_replicates=2) for more in ({}, UNCERTAIN)]
    np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)
    np.testing.assert_array_equal(found[0].replicate_modes, found[1].replicate_modes)


UNCERTAIN = {"uncertainty": "bootstrap"}


@pytest.mark.parametrize("links", [{}, {"linking_rank": 1}])
def test_running_units_take_part(links):
    """Replicates are refits with lives, in which running units count at every life they may have."""
    panel = conditioned_fleet(3, n_units=24, failing=True)
    failures = np.array(panel.failure_times)
    failures[[1, 4, 9]] = np.nan
    panel = panel._replace(failure_times=failures)
    em = fitted(panel, basis=Polynomial(1), time_axis="to_failure", **links)
    found = em.stability(panel, n_starts=3, n_replicates=2)
    assert len(found.units) == 24 and len(found.replicate_modes) >= 1 and found.n_met >= 1
    np.testing.assert_array_equal(found.modes, em.responsibilities_.argmax(axis=1))


def test_lives_at_given_parameters_are_refitted_to_each_draw():
    """Every call would look firm, because no replicate had moved."""
    rng = np.random.default_rng(5)
    lives = np.where(np.arange(30) % 10, rng.uniform(8.0, 12.0, 30), np.nan)
    ages = [np.linspace(1.0, 7.0, 6)] * 30
    values = [(rng.normal() + rng.normal() * t / 7 + 0.4 * rng.normal(size=6))[:, None] for t in ages]
    panel = cem.Panel.from_arrays(ages, values, failure_times=lives)
    options = {"basis": Polynomial(1), "covariance": "pooled", "time_axis": "to_failure"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = cem.FailureModeEM(2, n_init=3, random_state=0, **options).fit(panel)
        at = cem.FailureModeEM(2, max_iter=0, **options).fit(panel, init=em.model_)
        found, whole = (one.stability(panel, n_starts=1, n_replicates=3) for one in (at, em))
    assert not (whole.replicate_modes == whole.modes).all()
    np.testing.assert_array_equal(found.replicate_modes, whole.replicate_modes)


def test_known_modes_keep_their_units(close):
    """A labelled unit has its mode in every optimum and every replicate."""
    _, panel, _ = close
    labels = ["a", "b"] * 6 + [None] * 28
    labelled = panel.with_modes(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = cem.FailureModeEM(3, basis=Polynomial(1), random_state=0).fit(labelled)
    found = em.stability(labelled, n_starts=6, n_replicates=5)
    assert (found.share_of_optima[:12] == 1.0).all() and (found.share_of_replicates[:12] == 1.0).all()


def test_units_of_weight_0_are_left_out():
    fleet = cem.datasets.load_demo_fleet()[:60]
    weights = np.ones(60, dtype=int)
    weights[:5], weights[5:15] = 0, 3
    em = cem.FailureModeEM(2, covariance="pooled", random_state=0, n_init=2).fit(fleet, sample_weight=weights)
    found = em.stability(fleet, n_starts=2, n_replicates=2)
    assert found.units == tuple(fleet.units[5:]) and found.replicate_modes.shape == (2, 55)
    np.testing.assert_array_equal(found.modes, em.responsibilities_[5:].argmax(axis=1))


def test_one_mode_is_always_firm():
    panel = close_fleet()
    em = cem.FailureModeEM(1, basis=Polynomial(1), random_state=0).fit(panel)
    found = em.stability(panel, n_starts=2, n_replicates=3)
    assert found.firm.all() and len(found.optima) == 1 and (found.share_of_replicates == 1.0).all()


def test_without_replicates_no_call_is_firm(close):
    """Nothing would be known of other units, and every call would pass for as sure as with 20 replicates."""
    em, panel, _ = close
    found = em.stability(panel, n_starts=2, n_replicates=0)
    assert np.isnan(found.share_of_replicates).all() and not found.firm.any()
    assert repr(found).endswith("; no replicates, without which no call is firm") and "not firm" not in str(found)
    assert ("to which another optimum gives another mode" in str(found)) == bool((found.share_of_optima < 1.0).any())


def test_replicates_that_lost_a_mode_count_against_every_call():
    """Two units of two modes: half of the draws have one unit only, and the rest agree, so all seemed firm."""
    t = np.linspace(-1, 1, 6)
    panel = cem.Panel.from_arrays(t, np.stack([t + 1, -t - 1])[..., None] + 0.1 * np.sin(40 * t)[:, None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        found = cem.FailureModeEM(2, basis=Polynomial(1), random_state=0, n_init=3).fit(panel).stability(panel)
    kept = len(found.replicate_modes)
    assert 0 < kept < 16 and found.n_lost == 20 - kept
    np.testing.assert_allclose(found.share_of_replicates, kept / 20)
    assert not found.firm.any()
    said = f"{20 - kept} of 20 replicates lost a mode or could not be fitted, which counts against every call, and the "
    assert said + f"other {kept} agree on 100 % of the calls; 0 calls are firm" in repr(found)
    assert "2 units whose mode is not firm" in str(found)
    none = replace(found, replicate_modes=found.replicate_modes[:0])
    assert "20 of 20 replicates lost a mode or could not be fitted; 0 calls are firm" in repr(none)
    assert (none.share_of_replicates == 0.0).all() and not none.firm.any()


REFUSALS = {
    "starts": ({"n_starts": 0}, "n_starts is 0; a whole number of at least 1"),
    "replicates": ({"n_replicates": 1.5}, "n_replicates is 1.5; a whole number of at least 0"),
    "within": ({"within": -1}, "within is -1; a positive number of nats"),
    "seed": ({"random_state": "now"}, "random_state is 'now'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_options_are_refused_by_name(close, case):
    em, panel, _ = close
    options, message = REFUSALS[case]
    with pytest.raises(cem.OptionError, match=message):
        em.stability(panel, **options)


def test_another_panel_and_no_fit_are_refused(close):
    """Starts on other units would be of another likelihood, and its nats mean nothing here."""
    em, panel, _ = close
    with pytest.raises(cem.PanelError, match="not the panel of the fit"):
        em.stability(panel[:30])
    with pytest.raises(cem.NotFittedError):
        cem.FailureModeEM(2).stability(panel)


def test_tables_have_units_and_optima(close):
    pytest.importorskip("pandas")
    _, panel, found = close
    assert found.to_frame("pandas")["unit"].tolist() == list(panel.units)
    assert len(found.optima_frame("pandas")) == len(found.optima)
    assert "<table" in found._repr_html_()
    with pytest.raises(ValueError, match="read-only"):
        found.modes[0] = 1
