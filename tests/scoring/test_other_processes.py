"""What a cluster or a cache does with scorers, units and models: pickle them in its own way, hold them weakly."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from scorer_cases import make_model

import cem
from cem.scoring.scorer import Scorer, Unit


@pytest.fixture(scope="module")
def unit():
    scorer = Scorer(make_model(("polynomial", "line"), n_modes=2))
    running = scorer.unit()
    running.update(1.0, np.ones(scorer.n_channels))
    return running


def test_a_unit_is_pickled_by_a_function_that_can_be_imported(unit):
    """cloudpickle, as Dask and Ray use it, would copy the code of a bound method, and fail at what that refers to."""
    function, arguments = unit.__reduce__()
    assert getattr(__import__(function.__module__, fromlist=["x"]), function.__name__) is function
    assert function(*arguments).to_bytes() == unit.to_bytes()


def test_a_unit_goes_through_cloudpickle(unit):
    cloudpickle = pytest.importorskip("cloudpickle")
    assert cloudpickle.loads(cloudpickle.dumps(unit)).to_bytes() == unit.to_bytes()


def test_pickles_of_units_before_0_7_are_read(unit):
    """They call `Unit.from_bytes`."""
    assert Unit.from_bytes(unit.scorer, unit.to_bytes()).to_bytes() == unit.to_bytes()


def test_models_and_panels_can_be_keys_of_a_weak_cache():
    """A cache by `weakref` that frees a scorer with its model could not be written."""
    panel = cem.Panel.from_arrays([[0.0, 1.0]], [[[1.0], [2.0]]])
    fleet = cem.datasets.load_demo_fleet()[:20]
    model = cem.FailureModeEM(1, n_init=1, max_iter=2, random_state=0).fit(fleet).model_
    assert weakref.ref(panel)() is panel
    assert weakref.ref(model)() is model


def test_a_forecast_of_a_unit_prints_short(unit):
    found = unit.forecast(np.linspace(1, 9, 5000), 0)
    assert len(repr(found)) < 150 and "4,997 more" in repr(found)
