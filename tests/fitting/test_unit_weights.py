"""`sample_weight` of a fit: a unit of weight 3 is the unit three times; everything else is refused."""

import numpy as np
import pytest

import cem
from cem.errors import OptionError
from cem.fitting.unit_weights import MOST_COPIES

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


def test_units_that_do_not_count_have_a_label_too(fleet):
    """Tools index `labels_` with the rows of X."""
    em = estimator().fit(fleet, sample_weight=COUNTS)
    assert em.labels_.shape == (20,) and em.responsibilities_.shape == (20, 2)
    silent = np.flatnonzero(COUNTS == 0)
    np.testing.assert_array_equal(em.responsibilities_[silent], em.predict_proba(fleet[silent]))


def test_weights_of_one_change_no_bit(fleet):
    plain, weighted = estimator().fit(fleet), estimator().fit(fleet, sample_weight=np.ones(20))
    np.testing.assert_array_equal(plain.means_, weighted.means_)


def test_a_warm_start_from_responsibilities_has_a_row_for_each_unit(fleet):
    start = np.random.default_rng(0).dirichlet([1, 1], 20)
    weighted = estimator().fit(fleet, sample_weight=COUNTS, init=start)
    copied = estimator().fit(copies(fleet), init=np.repeat(start, COUNTS, axis=0))
    assert weighted.log_likelihood_ == pytest.approx(copied.log_likelihood_, rel=1e-12)


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
        getattr(estimator_checks, name)("FailureModeEM", estimator(tol=1e-14))
        for name in names
        if hasattr(estimator_checks, name)
    ]
    assert len(ran) >= 4
