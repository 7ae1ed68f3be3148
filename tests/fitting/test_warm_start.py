"""Warm starts: a refit keeps the same modes, under the labels and numbers that monitoring already stores."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cem
from cem.errors import CemWarning, OptionError, PanelError
from cem.fitting.warm_start import matched_modes, numbered

TIMES = np.arange(12.0)


def fleet(n_slow, n_fast, seed):
    """Units that wear slowly ("seal"), then quickly ("bearing"); the panel and the truth."""
    rng = np.random.default_rng(seed)
    fast = np.r_[np.zeros(n_slow), np.ones(n_fast)]
    n = fast.size
    x = np.where(fast[:, None] == 0, 0.1, 0.9) * TIMES + rng.normal(0, 0.3, (n, 12))
    x += rng.normal(0, 0.3, (n, 1)) + rng.normal(0, 0.05, (n, 1)) * TIMES
    return cem.Panel.from_arrays(TIMES, x), np.array(["bearing" if f else "seal" for f in fast], dtype=object)


def estimator(n_modes=2, **options):
    given = {"basis": cem.Polynomial(1), "n_init": 4, "random_state": 0, "covariance": "full", **options}
    return cem.FailureModeEM(n_modes, **given)


def last_reading(em):
    """Mean reading of each mode at the end, by label: 1.1 of seals, 9.9 of bearings."""
    return {label: float(em.model_.curves([11.0])[k, 0, 0]) for k, label in enumerate(em.mode_labels_)}


@pytest.fixture(scope="module")
def old():
    panel, labels = fleet(60, 40, 1)
    return estimator().fit(panel.with_modes(labels))


@pytest.fixture(scope="module")
def unlabelled():
    return estimator().fit(fleet(60, 40, 1)[0])


def test_a_label_stays_with_its_mode_when_only_some_labels_come_again(old):
    """By position 'seal' took over the bearing's curve, 100 nats lower, converged and without a word."""
    panel, labels = fleet(40, 60, 2)
    some = panel.with_modes([x if x == "seal" and l % 4 == 0 else None for l, x in enumerate(labels)])
    warm, cold = estimator().fit(some, init=old.model_), estimator().fit(some)
    assert warm.mode_labels_ == ("bearing", "seal") and cold.mode_labels_ == ("seal", 0)
    assert warm.log_likelihood_ == pytest.approx(cold.log_likelihood_, abs=1e-4)
    assert last_reading(warm)["seal"] == pytest.approx(1.1, abs=0.3)
    assert (warm.predict(panel) == labels).mean() > 0.95


def test_labels_are_kept_on_new_units_without_any(old):
    panel, labels = fleet(40, 60, 2)
    warm = estimator().fit(panel, init=old.model_)
    assert warm.mode_labels_ == ("bearing", "seal")
    assert (warm.predict(panel) == labels).mean() > 0.95


def test_a_mode_keeps_its_number_when_it_becomes_the_rarer_one(unlabelled):
    warm = estimator().fit(fleet(40, 60, 2)[0], init=unlabelled.model_)
    assert unlabelled.mode_labels_ == warm.mode_labels_ == (0, 1)
    assert warm.weights_[0] < warm.weights_[1]  # a cold fit would number them the other way round
    assert last_reading(warm)[0] == pytest.approx(last_reading(unlabelled)[0], abs=0.3)
    again = estimator().fit(fleet(30, 70, 3)[0], init=warm.model_)
    assert last_reading(again)[0] == pytest.approx(1.1, abs=0.5)


@pytest.mark.parametrize("labelled", [["seal"], ["bearing"], ["bearing", "seal"]])
def test_labels_that_are_new_name_the_modes_that_describe_their_units(unlabelled, labelled):
    panel, labels = fleet(40, 60, 2)
    given = panel.with_modes([x if x in labelled and l % 5 == 0 else None for l, x in enumerate(labels)])
    warm = estimator().fit(given, init=unlabelled.model_)
    means = last_reading(warm)
    for label in labelled:
        assert means[label] == pytest.approx({"seal": 1.1, "bearing": 9.9}[label], abs=0.4)
    assert [type(label) for label in warm.mode_labels_].count(int) == 2 - len(labelled)
    # A mode with a label of its own cannot be given another one later.
    named = [k for k, label in enumerate(warm.mode_labels_) if label in labelled]
    assert warm.model_.training["unlabelled_modes"] == [k for k in range(2) if k not in named]


def test_a_number_that_the_fit_gave_is_not_taken_for_the_users_code(unlabelled):
    """Users who code failures 0 and 1 do not know how the last fit numbered its modes."""
    panel, labels = fleet(40, 60, 2)
    coded = panel.with_modes([int(x == "seal") if l % 4 == 0 else None for l, x in enumerate(labels)])
    warm = estimator().fit(coded, init=unlabelled.model_)
    assert last_reading(warm)[1] == pytest.approx(1.1, abs=0.4)
    assert warm.log_likelihood_ == pytest.approx(estimator().fit(coded).log_likelihood_, abs=1e-4)


def test_a_label_that_the_model_lacks_is_named(old, unlabelled):
    panel, _ = fleet(40, 60, 2)
    with pytest.raises(PanelError, match="label 'belt'; the modes of the model given as init are 'bearing', 'seal'"):
        estimator().fit(panel.with_modes(["belt"] * 100), init=old.model_)
    with pytest.raises(PanelError, match="only 2 of them are without a label"):
        estimator().fit(panel.with_modes(["a", "b", "c", None] * 25), init=unlabelled.model_)
    with pytest.raises(OptionError, match="the model has 2 modes, n_modes=3"):
        estimator(3).fit(panel, init=old.model_)


def test_parameters_and_responsibilities_number_the_modes(unlabelled):
    """Whoever gives modes in an order has numbered them: what comes back must be in that order, not by weight."""
    panel, labels = fleet(60, 40, 1)
    turned = unlabelled.model_.user_parameters().ordered(np.array([1, 0]))
    em = estimator().fit(panel, init=turned)
    assert em.weights_[0] < em.weights_[1] and last_reading(em)[0] == pytest.approx(9.9, abs=0.4)
    rho = np.stack([labels == "bearing", labels == "seal"], axis=1).astype(float)
    em = estimator().fit(panel, init=rho)
    assert em.weights_[0] < em.weights_[1] and em.responsibilities_[0].argmax() == 1


@pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")
@pytest.mark.parametrize("rank", [0, 1])
def test_on_the_time_to_failure_labels_and_laws_stay_with_their_modes(rank):
    def worn(n_slow, n_fast, seed):
        rng = np.random.default_rng(seed)
        slow = np.arange(n_slow + n_fast) < n_slow
        lives = np.where(slow, 40.0, 20.0) * rng.lognormal(0, 0.08, slow.size)
        times = [np.arange(0.0, life, 2.0) for life in lives]
        values = [
            np.stack([(6 if s else -6) * np.exp((t - life) / 10), (t - life) / 10], axis=1)
            + rng.normal(0, 0.3, (t.size, 2)) + rng.normal(0, 0.3, 2)
            for t, life, s in zip(times, lives, slow, strict=True)
        ]  # fmt: skip
        panel = cem.Panel.from_arrays(times, values, failure_times=lives)
        return panel, np.where(slow, "slow", "fast").astype(object)

    options = {"time_axis": "to_failure", "linking_rank": rank, "max_iter": 60}
    panel, labels = worn(24, 12, 0)
    old = estimator(**options).fit(panel.with_modes([x if l % 3 == 0 else None for l, x in enumerate(labels)]))
    panel, labels = worn(12, 24, 1)
    warm = estimator(**options).fit(panel, init=old.model_)
    assert old.mode_labels_ == warm.mode_labels_ == ("fast", "slow")
    medians = [float(law.median()) for law in warm.lifetimes_.laws]
    assert medians == pytest.approx([20.0, 40.0], rel=0.1)
    some = panel.with_modes([x if x == "slow" else None for x in labels])
    assert estimator(**options).fit(some, init=old.model_).mode_labels_ == ("fast", "slow")


def test_files_of_earlier_releases_keep_labels_too(old, tmp_path):
    """They do not say which labels a fit gave: a text is the user's, a number may be either."""
    training = old.model_.training
    del training["unlabelled_modes"]
    model = type(old.model_)(**{**old.model_._arguments(), "training": training})
    model.save(tmp_path / "old.cem")
    panel, labels = fleet(40, 60, 2)
    names, known, unlabelled = matched_modes(
        panel.with_modes([x if x == "seal" else None for x in labels]), cem.load(tmp_path / "old.cem"), 2
    )
    assert names == ("bearing", "seal") and unlabelled == ()
    assert set(known.tolist()) == {1, -1}


def test_numbers_of_modes_without_a_label_avoid_those_taken():
    assert numbered(["a", None, None]) == ("a", 0, 1)
    assert numbered([1, None, None]) == (1, 0, 2)
    assert numbered([None, "a"], before=(5, 1)) == (5, "a")
    assert numbered([None, 0], before=(0, 1)) == (1, 0)


def test_a_warm_start_warns_of_nothing_that_a_cold_one_does_not(old):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CemWarning)
        estimator().fit(fleet(40, 60, 2)[0], init=old.model_)
