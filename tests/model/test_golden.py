"""Files that release 0.1.0 wrote load, and give the numbers that it gave: what users have on disk stays of use.

The files are never written anew (tests/data/make_golden.py); a failure here is a change that breaks users' files.
"""

import pickle

import numpy as np
import pytest
from golden_cases import (
    CUSTOM,
    DATA,
    ESTIMATOR,
    FILES,
    FORWARD,
    LIVES,
    MODEL,
    PANEL,
    UNITS,
    forward_numbers,
    loaded_life_numbers,
    record,
    unit_numbers,
)
from golden_functions import wearing

import cem
from cem.basis import custom_functions
from cem.scoring.scorer import Unit

RECORD = record()
NAME = "golden_functions:wearing"


def assert_alike(found, expected, where=""):
    """The same structure, numbers to 1e-9."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), where
        for name in expected:
            assert_alike(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        np.testing.assert_allclose(
            np.array(found, float), np.array(expected, float), rtol=1e-9, atol=1e-9, err_msg=where
        )
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), where


def numbers(name):
    return RECORD["numbers"][name]


@pytest.mark.parametrize("name", FORWARD)
def test_model_over_time_scores_and_forecasts_as_it_did(name):
    assert_alike(forward_numbers(cem.load(DATA / name), RECORD["panel"]), numbers(name))


def test_labels_of_every_type_come_back():
    labels = cem.load(DATA / FORWARD[1]).mode_labels
    assert labels == (None, True, 2, 2.5, "läger", ("x", (1, None)), float("inf")) and labels[1] is True


@pytest.mark.parametrize("name", LIVES)
def test_model_over_the_time_to_failure_keeps_its_laws_information_and_calibration(name):
    assert_alike(loaded_life_numbers(name, RECORD["panel"]), numbers(name))


def test_custom_basis_takes_the_function_that_the_caller_gives():
    model = cem.load(DATA / CUSTOM, functions={NAME: wearing})
    assert_alike(forward_numbers(model, RECORD["panel"]), numbers(CUSTOM))


def test_custom_basis_takes_a_registered_function_and_is_refused_without_one(monkeypatch):
    for known in ("_registered", "_seen"):  # as in a process that has made no Custom basis
        monkeypatch.setattr(custom_functions, known, {})
    with pytest.raises(cem.ModelFileError, match=NAME):
        cem.load(DATA / CUSTOM)
    cem.register_function(NAME, wearing)
    assert_alike(forward_numbers(cem.load(DATA / CUSTOM), RECORD["panel"]), numbers(CUSTOM))


@pytest.mark.parametrize("name", UNITS)
def test_saved_unit_goes_on_from_where_it_was(name):
    scorer = cem.load(DATA / UNITS[name]).scorer()
    unit = type(scorer.unit()).from_bytes(scorer, (DATA / name).read_bytes())
    assert isinstance(unit, Unit)
    assert_alike(unit_numbers(unit), numbers(name))


def unpickled(name):
    return pickle.loads((DATA / name).read_bytes())


def test_pickled_estimator_predicts_as_it_did_on_the_pickled_panel():
    em, panel, expected = unpickled(ESTIMATOR), unpickled(PANEL), numbers(ESTIMATOR)
    assert em.log_likelihood_ == pytest.approx(expected["log_likelihood"], rel=1e-12)
    assert_alike(em.predict_proba(panel).tolist(), expected["probabilities"])
    assert em.predict(panel).tolist() == expected["labels"]
    assert float(np.nansum(np.abs(em.means_))) == pytest.approx(expected["means"], rel=1e-9)


@pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")
def test_pickled_estimator_can_be_fitted_anew():
    em, panel = unpickled(ESTIMATOR), unpickled(PANEL)
    assert em.fit(panel).log_likelihood_ == pytest.approx(numbers(ESTIMATOR)["log_likelihood"], rel=1e-6)


def test_pickled_model_scores_as_it_did():
    assert_alike(forward_numbers(unpickled(MODEL), RECORD["panel"]), numbers(MODEL))


def test_pickled_panel_holds_what_it_held():
    panel = unpickled(PANEL)
    assert panel.channels == ("a", "b", "c") and panel.response == "c" and panel.time_unit == "h"
    assert panel.times.tolist() == numbers(PANEL)["times"]
    assert float(np.nansum(panel.values)) == pytest.approx(numbers(PANEL)["values"], rel=1e-12)


def test_all_golden_files_are_small_and_compared():
    assert set(RECORD["numbers"]) == set(FILES)
    assert sum((DATA / name).stat().st_size for name in FILES) < 400_000
