"""Every report of held-out lives states what the same prediction is worth without sensors.

A model that follows the load instead of wear may predict lives worse than a table of lives does. Its user would not see
it from RMSE and coverage alone.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from life_cases import fitted, fleet, partly_running

import cem
from cem.basis.families import Constant
from cem.errors import NoSkillWarning
from cem.lifetimes.laws import Lognormal, Weibull
from cem.panel.panel import Panel
from cem.prognosis.calibration import Calibration
from cem.prognosis.heldout import cut_off_ages, folds_of_units, hold_out
from cem.prognosis.remaining_life import RemainingLife
from cem.prognosis.selection import cross_validate
from cem.prognosis.without_sensors import law_of_all_lives, lives_without_sensors


def blind(n_units: int, seed: int) -> Panel:
    """Units whose readings have nothing to do with their lives, but whose level differs from unit to unit."""
    rng = np.random.default_rng(seed)
    lives = 150.0 * np.exp(0.3 * rng.normal(size=n_units))
    times = [np.arange(1.0, life, 6.0) for life in lives]
    values = [rng.normal(size=2) + 0.3 * np.cumsum(rng.normal(size=(len(t), 2)), axis=0) for t in times]
    return Panel.from_arrays(times, values, failure_times=lives)


@pytest.fixture(scope="module")
def seeing() -> tuple[Panel, cem.FailureModeEM]:
    panel = fleet(40, 0, every=6.0).with_modes(None)
    return panel, fitted(panel)


def test_the_law_of_lives_is_the_mixed_law_of_the_training_lives_alone(seeing) -> None:
    """The baseline would be too strong if it saw the held-out units, and too weak if it forgot the age."""
    panel, em = seeing
    cuts = cut_off_ages(panel, 2, 0)
    fold_of = folds_of_units(panel.n_units, 4, 0)
    held = hold_out(panel, RemainingLife(em.model_).recipe(em), cuts, fold_of)
    for f, fold in enumerate(held.folds):
        training = panel.failure_times[fold_of != f]
        expected = Lognormal.fit(training)
        assert fold.all_lives == expected
        law = fold.law_without_sensors()
        np.testing.assert_allclose(law.median(), expected.residual_quantile(fold.ages, 0.5), rtol=0.02)
        np.testing.assert_allclose(law.mean(), expected.mean_residual_life(fold.ages), rtol=0.03)


def test_running_units_count_at_the_lives_that_they_may_still_have() -> None:
    """Left out, a fleet of which most still run would be thought to fail early, and sensors would look too good."""
    rng = np.random.default_rng(1)
    lives = 100.0 * np.exp(0.4 * rng.normal(size=4000))
    ages = rng.uniform(20.0, 180.0, size=4000)
    failed = lives <= ages
    law = law_of_all_lives(lives[failed], ages[~failed])
    assert law.median() == pytest.approx(100.0, rel=0.03)
    assert law.scale == pytest.approx(0.4, rel=0.05)
    assert Lognormal.fit(lives[failed]).median() < 90.0
    assert isinstance(law_of_all_lives(lives[failed], ages[~failed], "weibull"), Weibull)
    assert isinstance(law_of_all_lives(lives[failed], ages[~failed], "linked"), Lognormal)


def test_a_unit_older_than_every_training_unit_has_a_law_too() -> None:
    law = lives_without_sensors(Lognormal.fit([90.0, 100.0, 110.0]), np.array([5.0, 400.0]), 50)
    assert np.isfinite(law.mean()).all() and (law.mean() > 0).all()


def test_sensors_that_show_wear_have_skill_and_the_report_says_so(seeing) -> None:
    panel, em = seeing
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoSkillWarning)
        found = RemainingLife(em.model_).calibrated(panel, em, ages=3, n_folds=4).calibration
    assert found.skill == pytest.approx(1 - found.after.crps / found.without_sensors.crps)
    assert 0.3 < found.skill < 1
    assert found.without_sensors.n_predictions == found.before.n_predictions
    assert found.after.rmse < found.without_sensors.rmse
    assert f"skill against no sensors: {found.skill:.2f}" in str(found) and "without sensors" in str(found)


def test_sensors_that_show_nothing_are_reported_as_no_help() -> None:
    """The capped RMSE of the fit would look like any other figure."""
    panel = blind(40, 3)
    em = fitted(panel, 1)
    with pytest.warns(
        NoSkillWarning, match=r"this prognosis predicts lives no better than without sensors.*covariates="
    ):
        plain = RemainingLife(em.model_).calibrated(panel, em, ages=3, n_folds=4, correct=False).calibration
    assert plain.skill <= 0 and plain.after is None


def test_cross_validation_states_the_skill_of_each_candidate(seeing) -> None:
    panel, em = seeing
    candidates = {"level": cem.FailureModeEM(1, basis=Constant(), time_axis="to_failure"), "wear": em}
    found = cross_validate(panel, candidates, score="rmse", cap=125.0, ages=2, n_folds=3)
    level, wear = found.scored
    assert wear.skill == pytest.approx(1 - wear.rmse / found.without_sensors.rmse)
    assert wear.skill > 0.3 > level.skill
    table = str(found).splitlines()
    assert "skill" in table[0] and table[-1].startswith("without sensors")
    by_crps = cross_validate(panel, candidates, score="crps", ages=2, n_folds=3)
    assert by_crps.best.skill == pytest.approx(1 - by_crps.best.crps / by_crps.without_sensors.crps)


def test_cross_validation_warns_where_the_best_candidate_has_no_skill() -> None:
    panel = blind(40, 3)
    candidates = {"only one": fitted(panel, 1)}
    with pytest.warns(NoSkillWarning, match="the best candidate, 'only one', predicts lives no better"):
        cross_validate(panel, candidates, score="crps", ages=3, n_folds=4)


def test_running_units_take_part_in_the_law_of_each_fold() -> None:
    panel = partly_running(30, 2).with_modes(None)
    em = fitted(panel, 1)
    found = RemainingLife(em.model_).calibrated(panel, em, ages=2, n_folds=3).calibration
    assert found.without_sensors.n_units == int((~np.isnan(panel.failure_times)).sum())


def test_calibrations_of_earlier_releases_load_with_an_unknown_skill(seeing) -> None:
    """A file of 0.5.0 has neither the RMSE nor the score without sensors, and must keep working."""
    panel, em = seeing
    found = RemainingLife(em.model_).calibrated(panel, em, ages=2, n_folds=3).calibration
    saved = json.loads(json.dumps(found.to_dict()))
    assert Calibration.from_dict(saved) == found
    del saved["without_sensors"]
    for name in ("before", "after"):
        del saved[name]["rmse"]
    old = Calibration.from_dict(saved)
    assert old.skill is None and old.after.rmse is None and old.knots == found.knots
    assert "skill" not in str(old) and "RMSE" not in str(old)
    assert old.to_dict() == saved
