"""Cross-validation chooses what generated the data, the same way twice, and refuses what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from life_cases import fleet

import cem
from cem.basis.families import Constant, Exponential, Polynomial
from cem.errors import OptionError, PanelError
from cem.prognosis.selection import cross_validate


def estimator(
    n_modes: int, basis: cem.Basis, time_axis: str = "to_failure", covariance: str = "auto"
) -> cem.FailureModeEM:
    return cem.FailureModeEM(
        n_modes,
        basis=basis,
        time_axis=time_axis,  # type: ignore[arg-type]
        covariance=covariance,  # type: ignore[arg-type]
        n_init=2,
        max_iter=60,
        random_state=0,
    )


@pytest.fixture(scope="module")
def chosen():
    panel = fleet(40, 0, every=6.0).with_modes(None)
    steps = []
    result = cross_validate(
        panel,
        {
            "level": estimator(1, Constant()),
            "one mode": estimator(1, Exponential([40.0])),
            "truth": estimator(2, Exponential([40.0]), covariance="full"),
        },
        score="rmse", ages=3, cap=125.0, n_folds=3, progress=lambda *step: steps.append(step),
    )  # fmt: skip
    return panel, result, steps


def test_the_truth_is_chosen(chosen) -> None:
    """Two modes with the right curves beat one, and both beat a level that tells nothing of wear."""
    _, result, _ = chosen
    level, one, truth = result.scored
    assert result.best is truth and "<- best" in str(result).splitlines()[3]
    assert truth.rmse < one.rmse + 0.5 and one.rmse < 0.7 * level.rmse
    assert truth.crps < level.crps and truth.log_score < level.log_score
    assert truth.log_likelihood > one.log_likelihood > level.log_likelihood
    assert truth.bic < one.bic < level.bic and truth.aic < level.aic and truth.icl >= truth.bic
    assert 0 < truth.rmse_standard_error < truth.rmse


def test_progress_is_told_fold_by_fold(chosen) -> None:
    """A user of a long search sees where it is."""
    assert chosen[2] == [(name, i, 3) for name in ("level", "one mode", "truth") for i in (1, 2, 3)]


def test_it_is_reproducible_on_any_number_of_threads(chosen) -> None:
    """Committed seeds: the same figures to the bit."""
    panel, _, _ = chosen
    options = {"score": "crps", "ages": 2, "n_folds": 2}
    candidates = {1: estimator(1, Exponential([40.0]))}
    one = cross_validate(panel, candidates, **options)
    assert one == cross_validate(panel, candidates, n_jobs=2, **options)
    scored, again = one.scored[0], replace(one.scored[0], mae=float("nan"))
    assert np.isnan(scored.mae) and scored == again and hash(scored) == hash(again)
    assert scored != replace(scored, mae=0.0) and scored != replace(scored, crps=scored.crps + 1.0)
    assert not hasattr(candidates[1], "model_")


def test_the_forward_axis_is_judged_by_likelihood() -> None:
    """Without failures there is the held-out likelihood: a line beats a level."""
    panel = fleet(20, 1, every=9.0).with_modes(None).with_failure_times(None)
    candidates = {p: estimator(1, Polynomial(p), "forward") for p in (0, 2)}
    told = []
    result = cross_validate(
        panel, candidates, score="log_likelihood", n_folds=2, progress=lambda *step: told.append(step)
    )
    assert result.best.name == 2 and np.isnan(result.best.rmse)
    assert told == [(0, 1, 2), (0, 2, 2), (2, 1, 2), (2, 2, 2)]
    threads = cross_validate(panel, candidates, score="log_likelihood", n_folds=2, n_jobs=2)
    assert [one.log_likelihood for one in threads.scored] == [one.log_likelihood for one in result.scored]


@pytest.mark.parametrize(
    ("candidates", "options", "error", "message"),
    [
        ({}, {}, OptionError, "one or more"),
        ({"a": 3}, {}, OptionError, "FailureModeEM"),
        ({"a": estimator(1, Constant()), "b": estimator(1, Constant(), "forward")}, {}, OptionError, "time axes"),
        ({"a": estimator(1, Constant())}, {"score": "r2"}, OptionError, "score='r2'"),
        ({"a": estimator(1, Constant(), "forward")}, {"score": "rmse"}, OptionError, "to_failure"),
        ({"a": estimator(1, Constant())}, {"n_folds": 41}, OptionError, "n_folds is 41"),
    ],
)
def test_what_is_wrong_is_said(chosen, candidates, options, error, message: str) -> None:
    """Before anything is fitted."""
    with pytest.raises(error, match=message):
        cross_validate(chosen[0], candidates, **options)


def test_a_panel_where_nothing_failed(chosen) -> None:
    """There is nothing to predict."""
    with pytest.raises(PanelError, match="0 of 40"):
        cross_validate(chosen[0].with_failure_times(None), {1: estimator(1, Constant())})


@pytest.mark.parametrize("candidates", [estimator(1, Constant()), [estimator(1, Constant())], {}, {"one": 1}])
def test_candidates_that_are_no_mapping_are_refused(candidates) -> None:
    """An estimator in place of the mapping ended with a TypeError about an array."""
    with pytest.raises(OptionError, match="candidates must map names"):
        cross_validate(fleet(10, 0, every=6.0), candidates)


@pytest.mark.parametrize("time_axis", ["forward", "to_failure"])
def test_a_level_that_one_unit_has_is_said_to_be_the_folds_fault(time_axis: str) -> None:
    # Without the note a user would look for the level in his data, where it is.
    panel = fleet(12, seed=1)
    readings = np.diff(panel.offsets)
    panel = cem.Panel.from_arrays(
        np.split(panel.times, panel.offsets[1:-1]),
        np.split(panel.values, panel.offsets[1:-1]),
        units=panel.units,
        failure_times=panel.failure_times,
        covariates={"load": [["usual" if unit else "rare"] * n for unit, n in enumerate(readings)]},
    )
    em = cem.FailureModeEM(1, basis=Polynomial(1), covariates=["load"], time_axis=time_axis, random_state=0)
    score = "crps" if time_axis == "to_failure" else "log_likelihood"
    with pytest.raises(PanelError) as caught:
        cross_validate(panel, {"one": em}, score=score, ages=2, n_folds=4)
    assert "of 4: its 3 units were held out" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("score", ["log_likelihood", "rmse"])
def test_an_interruption_ends_the_comparison(monkeypatch, score):
    """Ctrl-C ends a fit early, with what it has; as a fold of a comparison that would be a wrong figure."""
    fit = cem.FailureModeEM.fit

    def interrupted(self, panel, *others, **options):
        fit(self, panel, *others, **options)
        self.interrupted_ = panel.n_units < 40
        return self

    monkeypatch.setattr(cem.FailureModeEM, "fit", interrupted)
    axis = "forward" if score == "log_likelihood" else "to_failure"
    with pytest.raises(KeyboardInterrupt):
        cross_validate(
            fleet(40, 0, every=6.0).with_modes(None), {"one": estimator(1, Constant(), axis)}, score=score, n_folds=2
        )


def test_lives_to_a_threshold_have_scores() -> None:
    """A line that is right beats a level; units that never cross take part, and the table says what it has."""
    rng = np.random.default_rng(3)
    times = np.arange(0.0, 100.0, 10.0)
    values = rng.normal(1.0, 0.2, (16, 1)) * times + rng.normal(0.0, 2.0, (16, len(times)))
    panel = cem.Panel.from_arrays(times, values[:, :, None], channels=["wear"], response="wear")
    assert 3 < (values.max(axis=1) < 90.0).sum() < 13
    candidates = {p: estimator(1, Polynomial(p), "forward") for p in (1, 2)}
    options = {"threshold": 90.0, "ages": 2, "n_folds": 2, "options": {"n_draws": 128, "n_cells": 48}}
    result = cross_validate(panel, candidates, score="mae", **options)
    line = result.scored[0]
    assert 0 < line.mae < result.without_sensors.mae and 0 < line.crps < result.without_sensors.crps
    assert 0 <= line.coverage_90 <= 1 and 0 <= line.brier <= 0.25 and np.isfinite(line.log_score + line.rmse)
    assert result.within > 0 and "coverage_90" in str(result) and "brier" in result._table()
    one = cross_validate(panel, {1: candidates[1]}, score="mae", n_jobs=2, **options)
    assert one.scored[0] == line
    for asked, said in (
        ({"score": "mae"}, "or a threshold"),
        ({"score": "log_likelihood", "channel": "wear"}, "channel is of a threshold"),
        ({"threshold": 40.0, "channel": "heat"}, "name the channel"),
        ({"threshold": 40.0, "within": -1.0}, "within"),
        ({"threshold": 40.0, "within": [10.0]}, r"within is \[10.0\]"),
        ({"threshold": "40"}, "threshold is '40'"),
        ({"threshold": 0.0}, "direction"),
    ):
        with pytest.raises(OptionError, match=said):
            cross_validate(panel, candidates, **asked)
    with pytest.raises(OptionError, match="forward time axis"):
        cross_validate(panel, {1: estimator(1, Constant())}, threshold=90.0)
