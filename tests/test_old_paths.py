"""Code and pickles of releases before 0.4.0 name modules that have moved; both must go on working."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from places import DATA, SOURCES

import cem
from cem.old_paths import NEW_PATHS


@pytest.mark.parametrize("old", sorted(NEW_PATHS))
def test_every_old_path_gives_the_module_that_took_its_place(old):
    found = importlib.import_module(f"cem.{old}")
    new = importlib.import_module(f"cem.{NEW_PATHS[old]}")
    for name in new.__all__:
        assert getattr(found, name) is getattr(new, name)


def test_coordinates_are_found_where_pickles_name_them():
    from cem.statistics.coordinates import Coordinates, Layout

    old = importlib.import_module("cem.parameters")
    assert old.Coordinates is Coordinates and old.Layout is Layout


def test_an_old_path_that_no_pickle_holds_is_gone():
    """0.4.0 warned of its removal; a module of that name would only confuse who looks for the code."""
    with pytest.raises(ModuleNotFoundError, match=r"cem\.codegen"):
        importlib.import_module("cem.codegen")


# What users had in hand with 0.3.1, by where its pickles say that it is.
IN_PICKLES = """
basis Polynomial; basis BSpline; basis Fourier; basis Exponential; basis Constant; bspline BSpline; custom_basis Custom;
basis_family _restored; calibration Calibration; calibration Reliability; diagnostics TimeCorrelation;
errors PanelError; estimator FailureModeEM; lifetime_laws Empirical; lifetime_laws LinkedLognormal;
lifetime_laws Lognormal; lifetime_laws Weibull; lifetimes Lifetimes; linked_scorer LinkedScorer;
model ChannelParameters; model _restore; panel _restore; parameters Coordinates; parameters Layout;
parameters Parameters; prediction Forecast; prediction Posterior; prognosis _restored;
remaining_life AnchoredStatistics; remaining_life SharedEvidence; remaining_life _restored; running_life RunningLife;
scorer _unpickled; selection CrossValidation; selection Scored; simulated_passage SimulatedPassage;
statistics SufficientStatistics; straight_passage StraightPassage; summary Frame; summary Summary;
unit_forecast UnitForecast
"""


@pytest.mark.parametrize("name", [" ".join(name.split()) for name in IN_PICKLES.split(";")])
def test_pickles_of_0_3_1_find_what_they_name_and_warn_of_nothing(name, monkeypatch):
    """Their owners have no line to change: a warning would only be noise, and an error under -W error."""
    module, attribute = name.split()
    if module in NEW_PATHS:
        monkeypatch.delitem(sys.modules, f"cem.{module}", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(f"ccem.{module}\n{attribute}\n.".encode()) is not None


def test_answers_pickled_by_0_3_1_say_what_they_said():
    """Laws, first passages, forecasts and running lives, from `tests/data/make_golden_answers.py`."""
    times = [5.0, 20.0, 60.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pickle.loads((DATA / "golden-answers-0.3.1.pickle").read_bytes())
        law = found["law"][0]
        said = {
            "straight": lambda passage: passage.cdf(times),
            "simulated": lambda passage: passage.cdf(times),
            "law": lambda law: law.cdf(times),
            "running": lambda unit: unit.distribution().cdf(times),
            "forecast": lambda forecast: forecast[0],
            "calibration": lambda calibration: calibration.corrected(law).cdf(times),
            "reliability": lambda reliability: reliability.crps,
        }
        for name, ask in said.items():
            answer, numbers = found[name]
            np.testing.assert_allclose(ask(answer), numbers, rtol=1e-9, atol=1e-9, err_msg=name)
            np.testing.assert_array_equal(ask(pickle.loads(pickle.dumps(answer))), ask(answer), err_msg=name)
    validation, text = found["validation"]
    assert str(validation) == text


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("remaining_life", "anchored_statistics"),
        ("remaining_life", "candidate_log_densities"),
        ("remaining_life", "remaining_life_grid"),
        ("remaining_life", "remaining_life_posterior"),
    ],
)
def test_a_name_that_has_left_its_module_is_found_at_the_old_path(old, name):
    assert callable(getattr(importlib.import_module(f"cem.{old}"), name))


def test_an_old_path_is_an_attribute_of_the_package():
    """`isinstance(x, cem.scorer.Scorer)` after `import cem` worked wherever a scorer had been made."""
    path = str(DATA / "golden-1.cem")
    code = f"import cem; scorer = cem.load({path!r}).scorer(); print(type(scorer) is cem.scorer.Scorer)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("name", ["calibration", "diagnostics"])
def test_static_checkers_find_the_public_modules(name):
    """`from cem.calibration import calibrate` runs; mypy and editors look for a file."""
    room = importlib.import_module(f"cem.{name}").__name__
    stub = (SOURCES / f"{name}.pyi").read_text()
    assert f"from {room} import *" in stub


def test_the_command_is_a_function_of_the_package():
    """Scripts and the entry points of earlier installations call `cem.cli.main`."""
    code = "from cem.cli import main; import cem.cli.commands; assert cem.cli.main is main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"cem {cem.__version__}"


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("cem.nothing_of_this_name")
