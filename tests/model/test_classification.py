"""How surely units are classified: numbers of Nagin's diagnostics on cases that can be done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conditioned_fleets import conditioned_fleet, fitted
from model_cases import example_model, ragged_panel

import cem
from cem.basis.families import Polynomial


@pytest.fixture(scope="module")
def model():
    return example_model()


@pytest.fixture(scope="module")
def panel(model):
    return ragged_panel(model, 60)


def test_numbers_are_those_of_the_probabilities(model, panel):
    found = model.classification(panel)
    rho = model.predict_proba(panel)
    best = rho.argmax(axis=1)
    for k in range(3):
        own = rho[best == k]
        assert found.assigned[k] == len(own)
        if not len(own):
            assert math.isnan(found.odds[k])
            continue
        p, w = own[:, k].mean(), model.weights_[k]
        assert found.odds[k] == pytest.approx(p / (1 - p) / (w / (1 - w)))
        np.testing.assert_allclose(found.probabilities[k], own.mean(axis=0))
        np.testing.assert_allclose(found.shares[k], [(own[:, k] > level).mean() for level in (0.7, 0.8, 0.9)])
    np.testing.assert_allclose(found.overall_shares, [(rho.max(axis=1) > level).mean() for level in (0.7, 0.8, 0.9)])
    assert found.claimed_error == pytest.approx(1 - rho.max(axis=1).mean())
    entropy = -(rho * np.log(np.maximum(rho, 1e-300))).sum()
    assert found.relative_entropy == pytest.approx(1 - entropy / (60 * math.log(3)))


def test_odds_of_chance_are_one():
    """Units without any reading have the weights of the modes."""
    model = example_model()
    bare = ragged_panel(model, 5)
    values = np.full(bare.values.shape, np.nan)
    found = model.classification(bare._replace(values=values))
    assert found.odds[0] == pytest.approx(1.0) and found.assigned.tolist() == [5, 0, 0]


def test_one_mode_has_no_odds():
    """Nothing is classified, and no division by zero is warned of."""
    model = example_model(n_modes=1)
    found = model.classification(ragged_panel(model))
    assert math.isnan(found.odds[0]) and math.isnan(found.relative_entropy)
    assert found.overall_shares.tolist() == [1.0, 1.0, 1.0] and "entropy" not in repr(found)


def test_odds_compare_with_what_covariates_say_before_any_reading():
    """With membership, chance is what the covariates of the units say, on average."""
    panel = conditioned_fleet(3, n_units=20)
    model = fitted(panel, basis=Polynomial(1), max_iter=20, membership=["site"]).model_
    np.testing.assert_allclose(model.classification(panel).weights, model._mode_weights(panel).mean(axis=0))


def test_labels_of_units_do_not_make_a_model_look_sure(model, panel):
    labelled = panel.with_modes(["wear"] * panel.n_units)
    assert model.classification(labelled).overall_shares.tolist() == model.classification(panel).overall_shares.tolist()


def test_the_table_has_a_row_for_each_mode(model, panel):
    pytest.importorskip("pandas")
    found = model.classification(panel)
    frame = found.to_frame("pandas")
    assert list(frame.columns) == [
        "mode", "weight", "units", "mean_probability", "odds", "above_70", "above_80", "above_90",
    ]  # fmt: skip
    assert frame["mode"].tolist() == ["wear", "7", "crack"]
    assert "crack" in str(found) and "60 units" in repr(found) and "<table" in found._repr_html_()


def test_the_summary_has_the_odds_of_the_training_units():
    """As numbers in the table, and cut off where they are printed: a million says no more than a thousand."""
    fleet = cem.datasets.load_demo_fleet()
    em = cem.FailureModeEM(3, covariance="pooled", random_state=0, n_init=4).fit(fleet)
    odds = em.model_.summary().frames["classification"]["odds"]
    np.testing.assert_allclose(
        *(np.minimum(one, 1e6) for one in (odds, em.model_.classification(fleet).odds)), rtol=1e-3
    )
    assert "> 1,000" in str(em.model_.summary()) and all(isinstance(one, float) for one in odds)
    two = cem.FailureModeEM(3, covariance="pooled", random_state=0, n_init=4).fit(fleet.select_channels(["noise"]))
    shown = str(two.model_.classification(fleet.select_channels(["noise"])))
    assert shown.splitlines()[1].split()[4] == "odds"
