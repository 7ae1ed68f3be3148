"""Modes of two fits find each other: by label, by curves, by the units, also where their numbers differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conditioned_fleets import EVERYTHING, conditioned_fleet, fitted
from model_cases import example_model

import cem
from cem.basis.families import BSpline, Polynomial
from cem.mixture.mode_match import ModeMatch, matched


@pytest.fixture(scope="module")
def fleet():
    return cem.datasets.load_demo_fleet()


@pytest.fixture(scope="module")
def halves(fleet):
    """Two fits to different units, of 3 modes each."""
    options = {"covariance": "pooled", "random_state": 0, "n_init": 4}
    return [cem.FailureModeEM(3, **options).fit(fleet[part::2]) for part in (0, 1)]


def turned(model, order):
    """The same model with its modes in another order, numbered anew."""
    training = {**model.training, "unlabelled_modes": list(range(model.n_modes))}
    return cem.FailureModeModel(
        **{**model._arguments(), "parameters": model.internal_parameters.ordered(order), "training": training}
    )


def test_refits_to_other_units_find_the_same_modes(halves, fleet):
    """Otherwise folds and replicates would be averaged over different modes."""
    first, second = (em.model_ for em in halves)
    back = cem.match_modes(first, turned(second, [2, 0, 1]))
    units = cem.match_modes(first, turned(second, [2, 0, 1]), panel=fleet)
    assert back.places.tolist() == units.places.tolist() == [1, 2, 0]
    assert not back.doubtful.any() and not units.doubtful.any()
    assert back.ways == ("curves",) * 3 and units.ways == ("probabilities",) * 3
    assert cem.match_modes(*halves).places.tolist() == [0, 1, 2]  # estimators stand for their models


def test_a_model_matches_itself_at_no_cost(halves):
    found = cem.match_modes(halves[0], halves[0])
    np.testing.assert_allclose(np.diag(found.costs), 0.0, atol=1e-12)
    assert found.is_whole and (found.costs + np.eye(3) > 0.1).all()


def test_parameters_are_matched_as_their_models(halves):
    """Replicates are parameters in one system of coordinates."""
    model = halves[0].model_
    p = model.internal_parameters
    found = cem.match_modes(p, p.ordered([1, 2, 0]))
    assert found.places.tolist() == [2, 0, 1]
    np.testing.assert_allclose(found.costs[:, [2, 0, 1]], cem.match_modes(model, model).costs, atol=1e-10)


def test_a_label_goes_before_curves():
    """A mode that an expert named keeps its name, even if its curve has moved."""
    model = example_model()
    other = cem.FailureModeModel(**{**model._arguments(), "mode_labels": ("crack", "new", "wear")})
    found = cem.match_modes(model, other)
    assert found.places.tolist() == [2, 1, 0]
    assert found.ways == ("label", "curves", "label") and not found.doubtful.any()


def test_numbers_that_a_fit_chose_are_no_labels(halves):
    """Mode 0 of one fit is the largest there, which need not be the largest here."""
    model = halves[0].model_
    assert cem.match_modes(model, turned(model, [2, 1, 0])).places.tolist() == [2, 1, 0]


def test_modes_of_equal_curves_are_told_apart_by_their_spread_and_noise():
    """A quiet mode has the mean curve of its noisy brother."""
    model = example_model(n_modes=2)
    p = model.internal_parameters
    means = np.broadcast_to(p.means[0], p.means.shape)
    noise = np.array([[0.1] * 3, [1e-4] * 3])
    parts = {"parameters": replace(p, means=means, noise_variances=noise), "training": {"assigned": [1, 1]}}
    quiet = cem.FailureModeModel(**{**model._arguments(), **parts})
    back = cem.FailureModeModel(
        **{**quiet._arguments(), "parameters": quiet.internal_parameters.ordered([1, 0]), "mode_labels": (0, 1)}
    )
    found = cem.match_modes(quiet, back)
    assert found.places.tolist() == [1, 0] and not found.doubtful.any()


def test_modes_that_cannot_be_told_apart_are_doubtful():
    found = matched(np.array([[1.0, 1.2, 9.0], [1.2, 1.0, 9.0], [9.0, 9.0, 0.1]]), "curves")
    assert found.doubtful.tolist() == [True, True, False]
    assert "(doubtful)" in repr(found)
    assert not matched(np.array([[0.1, 1.0], [1.0, 0.1]]), "curves").doubtful.any()
    assert matched(np.zeros((2, 2)), "curves").doubtful.all()


def test_modes_without_a_partner_are_named(fleet, halves):
    two = cem.FailureModeEM(2, covariance="pooled", random_state=0, n_init=4).fit(fleet).model_
    found = cem.match_modes(halves[0], two)
    assert len(found.unmatched_reference) == 1 and not found.unmatched_other and not found.is_whole
    rows = two.predict_proba(fleet)
    ordered = found.in_order(rows)
    assert ordered.shape == (fleet.n_units, 3) and np.isnan(ordered).sum() == fleet.n_units
    back = cem.match_modes(two, halves[0])
    assert back.unmatched_other == found.unmatched_reference
    with pytest.raises(cem.OptionError, match="columns has shape"):
        found.in_order(rows[:, :1])


def test_other_bases_and_fewer_channels_are_compared(fleet, halves):
    """Candidates of a cross-validation differ in both."""
    part = fleet.select_channels(["vibration", "wear", "temperature"])
    spline = BSpline(5, degree=2)
    model = cem.FailureModeEM(3, basis=spline, covariance="pooled", random_state=3, n_init=4).fit(part).model_
    by_units = cem.match_modes(halves[0].model_, model, panel=fleet.select_channels(part.channels))
    assert cem.match_modes(halves[0], model).places.tolist() == by_units.places.tolist()


def test_probabilities_of_units_are_matched():
    first = np.eye(3)[[0, 0, 1, 2, 2]]
    found = cem.match_modes(first, first[:, [1, 2, 0]])
    assert found.places.tolist() == [2, 0, 1]
    np.testing.assert_allclose(np.diag(found.costs[:, found.places]), 0.0)
    soft = np.array([[0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_allclose(cem.match_modes(soft, np.array([[1.0, 0.0], [1.0, 0.0]])).costs[0, 0], 0.5 / 3.5)
    empty = np.array([[1.0, 0.0], [1.0, 0.0]])  # nobody is in mode 1
    assert np.isfinite(cem.match_modes(empty, empty).costs).all()


def test_models_under_conditions_and_on_the_time_to_failure_are_matched():
    for failing in (False, True):
        panel = conditioned_fleet(3, n_units=20, failing=failing)
        options = {**EVERYTHING, "max_iter": 10, **({"time_axis": "to_failure"} if failing else {})}
        model = fitted(panel, basis=Polynomial(2), **options).model_
        assert cem.match_modes(model, turned(model, [1, 0])).places.tolist() == [1, 0]
        assert cem.match_modes(model, turned(model, [1, 0]), panel=panel).places.tolist() == [1, 0]


def strange(model):
    """A model of other channels."""
    other = {"channels": ("p", "q", "r"), "response": None, "channel_units": {}}
    return cem.FailureModeModel(**{**model._arguments(), **other})


REFUSALS = {
    "kinds": (lambda m: cem.match_modes(m, np.eye(2)), "two models, two sets of parameters or two arrays"),
    "rows": (lambda m: cem.match_modes(np.eye(2), np.eye(3)), "reference has 2 rows and other 3"),
    "neither": (lambda m: cem.match_modes("a", "b"), "reference is 'a'"),
    "negative": (lambda m: cem.match_modes(np.eye(2), -np.eye(2)), "other is"),
    "panel": (lambda m: cem.match_modes(np.eye(2), np.eye(2), panel=3), "no fitted model"),
    "sizes": (
        lambda m: cem.match_modes(m.internal_parameters, m.internal_parameters.without_last_channel()),
        "of sizes",
    ),
    "channels": (lambda m: cem.match_modes(m, strange(m)), "at least one common channel"),
    "axes": (lambda m: cem.match_modes(m, example_model(time_axis="to_failure")), "time axis 'forward'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_compared_is_refused(case):
    call, message = REFUSALS[case]
    with pytest.raises(cem.OptionError, match=message):
        call(example_model())


def test_an_estimator_that_was_not_fitted_is_named():
    with pytest.raises(cem.NotFittedError, match="other is a FailureModeEM that has not been fitted"):
        cem.match_modes(example_model(), cem.FailureModeEM(3))


def test_the_table_has_pairs_and_modes_alone():
    pytest.importorskip("pandas")
    found = matched(np.array([[0.1, 5.0, 5.0], [5.0, 5.0, 0.2]]), "curves", ("a", "b"), (0, 1, 2))
    assert isinstance(found, ModeMatch)
    frame = found.to_frame("pandas")
    assert frame["reference"].tolist()[:2] == ["a", "b"] and frame["other"].tolist() == ["0", "2", "1"]
    assert "only in the other: 1" in repr(found) and "<table" in found._repr_html_()
