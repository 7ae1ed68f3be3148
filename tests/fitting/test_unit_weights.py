"""`sample_weight` of a fit: a unit of weight 3 is the unit three times; everything else is refused."""

import inspect

import numpy as np
import pytest

import cem
from cem.errors import OptionError
from cem.fitting.fit_keywords import FitKeywords
from cem.fitting.unit_weights import MOST_COPIES, Weights, with_copies

pytestmark = pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")

COUNTS = np.array([2, 0, 1, 3] * 5)


@pytest.fixture(scope="module")
def fleet():
    return cem.datasets.load_demo_fleet().select_channels(["vibration", "flow"])[:20]


def copies(fleet, counts=COUNTS):
    """The panel that a user would make by hand, with an id for each copy."""
    chosen = np.repeat(np.arange(len(fleet)), counts)
    arrays = [fleet[int(l)].to_arrays() for l in chosen]
    return cem.Panel.from_arrays(
        [one["times"][0] for one in arrays],
        [one["values"][0] for one in arrays],
        list(range(len(chosen))),
        fleet.channels,
        failure_times=fleet.failure_times[chosen],
        allow_empty_channels=True,
    )


def estimator(**options):
    return cem.FailureModeEM(2, **{"n_init": 2, "random_state": 0, "basis": cem.Polynomial(1), **options})


@pytest.mark.parametrize("options", [{}, {"linking_rank": 1}, {"time_axis": "to_failure"}], ids=str)
def test_a_weight_is_as_many_copies_of_the_unit(fleet, options):
    weighted = estimator(**options).fit(fleet, sample_weight=COUNTS)
    copied = estimator(**options).fit(copies(fleet))
    assert weighted.log_likelihood_ == pytest.approx(copied.log_likelihood_, rel=1e-12)
    np.testing.assert_allclose(weighted.means_, copied.means_, rtol=1e-10)
    first = (np.cumsum(COUNTS) - COUNTS)[COUNTS > 0]
    np.testing.assert_allclose(weighted.responsibilities_[COUNTS > 0], copied.responsibilities_[first], atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"linking_rank": 1}, {"time_axis": "to_failure"}], ids=str)
def test_criteria_are_those_of_the_copies(fleet, options):
    """BIC and ICL of an estimator and of the summary of its model are numbers of one fit."""
    options = {"covariance": "full", **options}
    weighted, copied = estimator(**options).fit(fleet, sample_weight=COUNTS), estimator(**options).fit(copies(fleet))
    for name in ("bic", "aic", "icl"):
        assert getattr(weighted, name)() == pytest.approx(getattr(copied, name)(), rel=1e-10)
    assert weighted.bic() == pytest.approx(weighted.model_.summary().facts["BIC"], rel=1e-12)
    weighted.fit(fleet)  # weights of an earlier fit count no longer
    assert weighted.bic() == estimator(**options).fit(fleet).bic()


def test_summary_file_and_report_say_how_many_units_there_were(fleet, tmp_path):
    """Copies are no evidence of more machines."""
    model = estimator().fit(fleet, sample_weight=COUNTS).model_
    model.save(tmp_path / "model.cem")
    for one in (model, cem.load(tmp_path / "model.cem")):
        facts = one.summary().facts
        assert (facts["units"], facts["distinct units"]) == (30, 15)
        assert "fitted to 30 units (copies of 15 units, by weights)" in one.report(fleet)
    assert "distinct units" not in estimator().fit(fleet).model_.summary().facts


def test_units_that_do_not_count_have_a_label_too(fleet):
    """Tools index `labels_` with the rows of X."""
    em = estimator().fit(fleet, sample_weight=COUNTS)
    assert em.labels_.shape == (20,) and em.responsibilities_.shape == (20, 2)
    silent = np.flatnonzero(COUNTS == 0)
    np.testing.assert_allclose(em.responsibilities_[silent], em.predict_proba(fleet[silent]), atol=1e-12)


def test_known_modes_of_units_that_do_not_count_are_kept(fleet):
    """A unit known to be worn must not be called sound in `labels_`."""
    modes = ["worn", "worn", None, "sound", *[None] * 16]
    plain = estimator().fit(fleet, modes=modes)
    wrong = ["sound" if label == "worn" else "worn" for label in plain.labels_]
    modes[1] = wrong[1]  # weight 0, and against what its readings say
    em = estimator().fit(fleet, modes=modes, sample_weight=COUNTS)
    assert em.labels_[1] == wrong[1] and sorted(em.responsibilities_[1]) == [0, 1]
    modes[1] = "unheard of"  # a label that no unit that counts has is no mode
    em = estimator().fit(fleet, modes=modes, sample_weight=COUNTS)
    assert em.mode_labels_ == ("sound", "worn") and em.labels_[1] in em.mode_labels_


def test_a_running_unit_that_does_not_count_does_not_end_the_fit(fleet):
    """On the time to failure such a unit has no prediction, and the finished fit was lost."""
    lives = np.where(COUNTS == 0, np.nan, fleet.failure_times)
    running = fleet.with_failure_times(lives)
    em = estimator(time_axis="to_failure").fit(running, sample_weight=COUNTS)
    silent = COUNTS == 0
    np.testing.assert_allclose(em.responsibilities_[silent].sum(axis=1), 1.0)
    counted = estimator(time_axis="to_failure").fit(running[~silent], sample_weight=COUNTS[~silent])
    assert em.log_likelihood_ == counted.log_likelihood_


def test_scores_count_units_by_their_weights(fleet):
    em = estimator().fit(fleet)
    by_unit = em.score_samples(fleet)
    assert em.score(fleet, sample_weight=COUNTS) == pytest.approx(np.repeat(by_unit, COUNTS).mean(), rel=1e-12)
    with pytest.raises(OptionError, match="sample_weight"):
        em.score(fleet, sample_weight=COUNTS[:3])


def test_weights_count_in_regimes_and_membership_too():
    """Offsets of regimes, and the odds of modes by site, are learned from the copies."""
    fleet = cem.datasets.load_compressor_fleet().select_channels(["temperature", "vibration"])[:40]
    counts = np.arange(40) % 3
    options = {"regimes": cem.Regimes(["speed"], n=2), "membership": ["site"], "covariance": "pooled", "n_init": 1}
    weighted = estimator(**options).fit(fleet, sample_weight=counts)
    copied = estimator(**options).fit(with_copies(counts, fleet))
    assert weighted.log_likelihood_ == copied.log_likelihood_ and weighted.bic() == copied.bic()
    np.testing.assert_array_equal(weighted.regimes_.offsets, copied.regimes_.offsets)
    silent = counts == 0
    np.testing.assert_allclose(weighted.responsibilities_[silent], weighted.predict_proba(fleet[silent]), atol=1e-9)


def test_weights_of_one_change_no_bit(fleet):
    plain, weighted = estimator().fit(fleet), estimator().fit(fleet, sample_weight=np.ones(20))
    np.testing.assert_array_equal(plain.means_, weighted.means_)


def test_a_warm_start_from_responsibilities_has_a_row_for_each_unit(fleet):
    start = np.random.default_rng(0).dirichlet([1, 1], 20)
    weighted = estimator().fit(fleet, sample_weight=COUNTS, init=start)
    copied = estimator().fit(copies(fleet), init=np.repeat(start, COUNTS, axis=0))
    assert weighted.log_likelihood_ == pytest.approx(copied.log_likelihood_, rel=1e-12)
    assert estimator().fit(fleet, sample_weight=COUNTS, init=start.tolist()).log_likelihood_ == weighted.log_likelihood_
    with pytest.raises(OptionError, match=r"shape \(30, 2\); \(20, 2\) was expected"):
        estimator().fit(fleet, sample_weight=COUNTS, init=np.repeat(start, COUNTS, axis=0))


@pytest.mark.parametrize(
    "weights, message",
    [
        ([0.5] + [1] * 19, r"sample_weight of unit '?\w+'? is 0.5; a whole number was expected"),
        ([-1] + [1] * 19, "is -1; a whole number"),
        ([np.nan] + [1] * 19, "is nan; a whole number"),
        ([np.inf] + [1] * 19, "is inf; a whole number"),
        ([1] * 19, r"shape \(19,\); one weight for each unit, shape \(20,\)"),
        (np.ones((20, 1)), r"shape \(20, 1\)"),
        (["a"] * 20, "whole numbers"),
        ([0] * 20, "zero for every unit"),
        ([MOST_COPIES] * 20, "copies of units; at most"),
        ([1j] * 20, "whole numbers"),
        (["1"] * 20, "sample_weight is .'1', .*whole numbers"),
        (np.array(["1"] * 20, dtype=object), "whole numbers"),
        (np.ones(20, dtype="m8[s]"), "whole numbers"),
        ([10**30] * 20, r"sums to 2e\+31 copies of units; at most"),
        ([MOST_COPIES // 100] * 20, "at most 1,000,000,000 are taken"),
    ],
)
def test_other_weights_are_refused_and_the_estimator_stays(fleet, weights, message):
    em = estimator().fit(fleet)
    before = em.log_likelihood_
    with pytest.raises(OptionError, match=message):
        em.fit(fleet, sample_weight=weights)
    assert em.log_likelihood_ == before


def test_the_checks_of_scikit_learn_for_weights_pass():
    """All but the one that fits a wide data frame, which `fit` would read as a long table without ids."""
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.utils import estimator_checks

    names = [
        "check_sample_weights_not_an_array",
        "check_sample_weights_list",
        "check_sample_weights_shape",
        "check_sample_weights_not_overwritten",
        "check_sample_weight_equivalence_on_dense_data",
        "check_all_zero_sample_weights_error",
    ]
    ran = [
        getattr(estimator_checks, name)("FailureModeEM", estimator(tol=1e-14, covariance="full"))
        for name in names
        if hasattr(estimator_checks, name)
    ]
    assert len(ran) >= 4


def test_methods_that_pass_keywords_on_declare_those_of_fit():
    """A type checker would refuse a keyword that `fit` takes, or let a misspelt one pass."""
    own = set(inspect.signature(cem.FailureModeEM.fit).parameters) - {"self", "X", "y", "weights"}
    assert set(FitKeywords.__annotations__) | set(Weights.__annotations__) == own | {"sample_weight"}
