"""FailureModeEM(uncertainty=...): a fit computes the law of its parameters only if it is asked to."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import cem
from cem.errors import OptionError, UncertaintyError
from cem.model.uncertain import UncertainModel


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(2)
    levels = np.where(np.arange(60) % 3 == 0, 0.0, 2.0) + 0.4 * rng.standard_normal(60)
    return cem.Panel.from_arrays([np.arange(6.0)] * 60, [(x + 0.3 * rng.standard_normal(6))[:, None] for x in levels])


def estimator(**options):
    return cem.FailureModeEM(2, basis=cem.Constant(), covariance="pooled", random_state=0, **options)


def test_a_fit_takes_parameters_as_known_unless_it_is_asked(panel):
    """Every fit would take as long as a bootstrap."""
    em = estimator().fit(panel)
    assert em.get_params()["uncertainty"] is None and type(em.model_) is cem.FailureModeModel
    assert em.uncertainty(panel).method == "information"  # the method of this name is there all the same


@pytest.mark.parametrize("method", ["information", "bootstrap"])
def test_the_model_carries_what_was_asked_for(panel, method):
    em, plain = estimator(uncertainty=method).fit(panel), estimator().fit(panel)
    assert type(em.model_) is UncertainModel and em.model_.uncertainty["method"] == method
    np.testing.assert_array_equal(em.means_, plain.means_)
    np.testing.assert_array_equal(em.responsibilities_, plain.responsibilities_)
    np.testing.assert_array_equal(em.predict_proba(panel), em.model_.predict_proba(panel))
    again = estimator(uncertainty=method).fit(panel)
    np.testing.assert_array_equal(again.predict_proba(panel), em.predict_proba(panel))
    sure = [x.predict_proba(panel).max(axis=1).mean() for x in (em, plain)]
    assert sure[0] < sure[1]


def test_the_option_goes_through_pickles_clones_and_set_params(panel):
    from sklearn.base import clone

    em = estimator(uncertainty="information")
    assert "uncertainty='information'" in repr(em)
    for found in (pickle.loads(pickle.dumps(em)), clone(em), estimator().set_params(uncertainty="information")):
        assert found.get_params()["uncertainty"] == "information"
    assert vars(em)["uncertainty"] == "information"


def test_a_law_that_there_is_not_is_refused(panel):
    with pytest.raises(OptionError, match="uncertainty='robust'"):
        estimator(uncertainty="robust").fit(panel)


def test_uncertainty_of_an_earlier_fit_is_taken(panel):
    """The two ways to the same model would differ."""
    em = estimator().fit(panel)
    known = em.uncertainty(panel, "bootstrap", n_replicates=30, kind="parametric")
    model = em.model_.with_uncertainty(known)
    assert model.uncertainty == {"method": "bootstrap", "n_draws": 30, "reflected": True, "spread": 1.25}
    information = em.model_.with_uncertainty(em.uncertainty(panel), n_draws=50)
    assert information.uncertainty == {"method": "information", "n_draws": 50, "reflected": False, "spread": 1.0}


def test_a_refusal_names_the_option_that_was_given(panel):
    """A user would look for an argument `method` or `kind` of the estimator, and there is none."""
    for options, fleet, weights, words in (
        ({"uncertainty": "information"}, panel[:8], None, "Take uncertainty='bootstrap'"),
        ({"uncertainty": "information", "max_iter": 1}, panel, None, r"raise max_iter\. |Take uncertainty='bootstrap'"),
        ({"uncertainty": "bootstrap"}, panel, [2] + [1] * 59, "uncertainty='information'"),
    ):
        with pytest.raises(UncertaintyError, match=words) as refused:
            estimator(**options).fit(fleet, sample_weight=weights)
        assert "method=" not in str(refused.value) and "kind=" not in str(refused.value)


def test_a_fit_whose_uncertainty_is_refused_after_the_search_is_kept(panel):
    """An hour's search would leave nothing but a message."""
    few, weights = panel[:8], [2, 0] + [1] * 6
    for weight in (None, weights):
        em = estimator(uncertainty="information").fit(panel)
        with pytest.raises(UncertaintyError, match="The fit itself is kept"):
            em.fit(few, sample_weight=weight)
        plain = estimator().fit(few, sample_weight=weight)
        assert type(em.model_) is cem.FailureModeModel
        assert em.log_likelihood_ == plain.log_likelihood_
        np.testing.assert_array_equal(em.responsibilities_, plain.responsibilities_)
    em = estimator().fit(panel)
    with pytest.raises(UncertaintyError) as refused:  # before a search: the earlier fit stays
        em.set_params(uncertainty="bootstrap").fit(panel, sample_weight=[2] + [1] * 59)
    assert "is kept" not in str(refused.value)
    assert em.log_likelihood_ == estimator().fit(panel).log_likelihood_


def test_a_bootstrap_that_cannot_be_drawn_is_refused_before_the_search_with_its_reason(panel, monkeypatch):
    """An hour's search would end in a refusal."""
    monkeypatch.setattr(cem.FailureModeEM, "_keep", lambda *_: pytest.fail("the search was run"))
    with pytest.raises(UncertaintyError, match="by sample_weight"):
        estimator(uncertainty="bootstrap").fit(panel, sample_weight=[2] + [1] * 59)


def aged(n_units: int, running: int) -> cem.Panel:
    """Units that wear out, of which some still run."""
    rng = np.random.default_rng(0)
    lives = np.exp(3.0 + 0.2 * rng.standard_normal(n_units))
    times = [np.linspace(0.1, 0.9, 6) * life for life in lives]
    values = [(life - t)[:, None] / life + rng.normal(0.0, 0.1, (6, 1)) for t, life in zip(times, lives, strict=True)]
    ended = np.where(np.arange(n_units) < running, np.nan, lives)
    return cem.Panel.from_arrays(times, values, failure_times=ended)


@pytest.mark.parametrize(("running", "rank"), [(0, 0), (4, 0), (4, 1)], ids=["unlinked", "running", "linked, running"])
def test_lives_of_few_units_are_less_sure_with_the_option(tmp_path, running, rank):
    """Ten failures do not tell a law of lifetimes; batch, streaming and a file must all know it."""
    fleet = aged(10 + running, running)
    options = {"basis": cem.Polynomial(1), "time_axis": "to_failure", "random_state": 0}
    if rank:
        options |= {"linking_rank": rank, "covariance": "full", "linking_penalty": 5.0}
    plain = cem.RemainingLife(cem.FailureModeEM(1, **options).fit(fleet).model_)
    em = cem.FailureModeEM(1, uncertainty="bootstrap", **options).fit(fleet)
    assert em.model_.uncertainty["method"] == "bootstrap"
    prognosis, young = cem.RemainingLife(em.model_), fleet.until(10.0)
    law = prognosis.predict(young)
    width, known = (np.mean(np.diff(one.interval(0.9), axis=0)) for one in (law, plain.predict(young)))
    assert width > 1.05 * known
    unit = prognosis.unit()
    for t, x in zip(young[2].times, young[2].values, strict=True):
        unit.update(float(t), x)
    np.testing.assert_allclose(unit.distribution().interval(0.9), law[2].interval(0.9), rtol=1e-3)  # grids differ
    prognosis.save(tmp_path / "lives.cem")
    again = cem.RemainingLife.load(tmp_path / "lives.cem").predict(young)
    np.testing.assert_allclose(again.interval(0.9), law.interval(0.9), rtol=1e-12)


def test_two_steps_give_the_same_kind_of_model():
    """A user of an earlier fit would need another search."""
    fleet = aged(30, 0)
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), time_axis="to_failure").fit(fleet)
    model = em.model_.with_uncertainty(em.uncertainty(fleet, "bootstrap", n_replicates=10))
    assert model.uncertainty["method"] == "bootstrap"
    with pytest.raises(UncertaintyError, match=r"not linked to the channels.*kind='units'"):
        em.uncertainty(fleet, "bootstrap", kind="parametric")
