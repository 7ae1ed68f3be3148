"""Calibration: laws that are too narrow are detected on held-out units, and corrected to the nominal coverage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from life_cases import fitted, fleet
from scipy import stats
from scipy.special import ndtr

import cem
from cem.basis.families import Exponential
from cem.errors import OptionError, PanelError, PredictionError
from cem.panel.panel import Panel
from cem.prognosis.calibration import Calibration, Reliability, calibrate, normal_scores, reliability
from cem.prognosis.distribution import RemainingLifeDistribution
from cem.prognosis.heldout import cut_off_ages, folds_of_units, hold_out
from cem.prognosis.remaining_life import RemainingLife


def gaussian_laws(n: int, scale: float, seed: int) -> tuple[RemainingLifeDistribution, np.ndarray]:
    """Outcomes N(m, 10²) around known centres m, and laws around the same centres of another width."""
    rng = np.random.default_rng(seed)
    grid = np.arange(0.5, 300.0)
    centres = rng.uniform(100, 200, n)
    truth = centres + 10 * rng.normal(size=n)
    cells = np.concatenate([[0.0], np.arange(1.0, 301.0)])
    masses = np.diff(stats.norm.cdf((cells - centres[:, None]) / (10 * scale)), axis=1)
    pmf = masses[:, :, None] * np.array([0.3, 0.7])
    return RemainingLifeDistribution(grid, pmf / pmf.sum(axis=(1, 2), keepdims=True)), truth


def twin_channels(n_units: int, seed: int) -> Panel:
    """Four channels that show the same wear: (18) counts the same evidence four times."""
    rng = np.random.default_rng(seed)
    times, values, lives = [], [], []
    for _ in range(n_units):
        life = 150.0 * np.exp(0.2 * rng.normal())
        t = np.arange(1.0, life, 3.0)
        curve = 0.3 * rng.normal() + (4.0 + 1.2 * rng.normal()) * np.exp((t - life) / 40.0)
        values.append(curve[:, None] + 0.2 * rng.normal(size=(len(t), 4)))
        times.append(t)
        lives.append(life)
    return Panel.from_arrays(times, values, failure_times=lives)


@pytest.fixture(scope="module")
def overconfident() -> tuple[RemainingLife, Panel]:
    panel = twin_channels(50, 0)
    return RemainingLife(fitted(panel, 1).model_, n_points=100), panel


def test_coverage_is_mended_on_new_units(overconfident) -> None:
    """90 % intervals that hold far less, after calibration hold 90 % of units never seen, with better scores."""
    prognosis, panel = overconfident
    better = prognosis.calibrated(panel, ages=4, n_folds=4)
    report = better.calibration
    assert report.before.coverage[0.9] < 0.8
    for level, share in report.after.coverage.items():
        assert abs(share - level) < 3 * report.after.standard_errors[level] + 0.02
    assert report.after.crps < report.before.crps
    assert report.after.interval_scores[0.9] < report.before.interval_scores[0.9]
    new = twin_channels(60, 1)
    cut = new.until(np.random.default_rng(2).uniform(0.3, 0.95, 60) * new.failure_times)
    left = new.failure_times - cut.times[cut.offsets[1:] - 1]
    outcome = reliability([better.predict(cut)], left, range(60))
    assert abs(outcome.coverage[0.9] - 0.9) < 0.12
    assert "% intervals held" in str(report) and "PIT" in str(report)


def test_a_calibrated_prognosis_is_kept_whole(overconfident, tmp_path) -> None:
    """Saved and loaded it predicts the same, corrected laws."""
    prognosis, panel = overconfident
    better = prognosis.calibrated(panel, ages=2, n_folds=3)
    better.save(tmp_path / "m.cem")
    again = RemainingLife.load(tmp_path / "m.cem")
    cut = panel[:6].until(0.7 * panel.failure_times[:6])
    np.testing.assert_array_equal(again.replaced(n_points=100).predict(cut).pmf, better.predict(cut).pmf)
    assert again.calibration == better.calibration and "calibrated" in repr(again)
    assert Calibration.from_dict(json.loads(json.dumps(better.calibration.to_dict()))) == better.calibration


def test_measuring_alone_changes_nothing(overconfident) -> None:
    """correct=False reports coverage and leaves the laws as they are."""
    prognosis, panel = overconfident
    measured = prognosis.calibrated(panel, ages=2, n_folds=3, correct=False)
    cut = panel[:6].until(0.7 * panel.failure_times[:6])
    np.testing.assert_array_equal(measured.predict(cut).pmf, prognosis.predict(cut).pmf)
    assert measured.calibration.before.n_predictions == 100 and measured.calibration.after is None


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_the_map_undoes_a_wrong_width(scale: float) -> None:
    """Laws 0.3 or 2 times as wide as they should be: learned on 1500, right on as many others."""
    from cem.prognosis.calibration import _recalibration

    laws, truth = gaussian_laws(1500, scale, 0)
    recalibration = _recalibration(1.0, normal_scores(laws, truth))
    fresh, true = gaussian_laws(1500, scale, 1)
    mended = reliability([recalibration.corrected(fresh)], true, range(1500))
    for level, share in mended.coverage.items():
        assert share == pytest.approx(level, abs=0.05)
    assert mended.widths[0.8] == pytest.approx(2 * 10 * stats.norm.ppf(0.9), rel=0.12)
    np.testing.assert_allclose(recalibration.corrected(fresh).mode_probabilities, [[0.3, 0.7]] * 1500, atol=1e-6)


def test_normal_scores_reach_both_tails() -> None:
    """A law 20 standard deviations off: 1 − F is 0 in float64, its normal score is not lost."""
    grid = np.arange(0.5, 100.0)
    cells = np.arange(0.0, 101.0)
    for centre, truth, sign in ((80.0, 20.5, -1), (20.0, 79.5, 1)):
        log_mass = stats.norm.logpdf(grid, centre, 3.0)
        pmf = np.exp(log_mass)[None, :, None]
        law = RemainingLifeDistribution(grid, pmf / pmf.sum())
        score = normal_scores(law, [truth])[0]
        assert score * sign == pytest.approx(abs(truth - centre) / 3.0, rel=0.05)
    np.testing.assert_allclose(cells, law.edges)


def test_reliability_by_hand() -> None:
    """Two units, uniform laws on 0 … 30: outcomes 15 and 29.5 lie in and out of the 90 % interval."""
    law = RemainingLifeDistribution([5.0, 15.0, 25.0], np.full((2, 3, 1), 1 / 3))
    found = reliability([law], [15.0, 29.5], ["a", "b"])
    assert found.coverage == {0.5: 0.5, 0.8: 0.5, 0.9: 0.5}
    assert found.widths[0.9] == pytest.approx(27.0)
    assert found.interval_scores[0.9] == pytest.approx((27.0 + 27.0 + 20.0 * 1.0) / 2)
    assert found.pit[4:6] == (0.0, 0.5) and found.pit[-1] == 0.5
    assert Reliability.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_units_are_never_split() -> None:
    """A reading of a unit that is predicted was never trained on; running units are always trained on."""
    panel = fleet(12, 0)
    panel = panel.until(np.where(np.arange(12) < 3, 80.0, np.inf))
    seen: list[set[object]] = []

    def fit(part: Panel) -> RemainingLife:
        seen.append(set(part.units))
        return RemainingLife(fitted(part.with_modes(None), 1).model_)

    failed = panel[~np.isnan(panel.failure_times)]
    fold_of = folds_of_units(failed.n_units, 3, 0)
    held = hold_out(panel, fit, cut_off_ages(failed, 2), fold_of, n_points=20)
    running = set(panel.units) - set(failed.units)
    for fold, units in zip(held.folds, seen, strict=True):
        assert not {failed.units[i] for i in fold.positions} & units and running <= units
    assert sorted(held.collected("positions").tolist()) == sorted(2 * list(range(failed.n_units)))
    np.testing.assert_allclose(
        held.collected("truth") + held.collected("ages"), failed.failure_times[held.collected("positions")]
    )


def test_any_number_of_threads_gives_the_same() -> None:
    """Reproducible: folds side by side or one after the other."""
    panel = fleet(20, 1)
    prognosis = RemainingLife(fitted(panel).model_, n_points=40)
    one, two = (calibrate(panel, prognosis.recipe(), ages=2, n_folds=3, n_jobs=n) for n in (1, 2))
    assert one == two


def test_an_estimator_is_fitted_anew() -> None:
    """With an estimator no fold starts from parameters that have seen its units."""
    panel = fleet(24, 2).with_modes(None)
    em = cem.FailureModeEM(1, basis=Exponential([40.0]), time_axis="to_failure", random_state=0)
    prognosis = RemainingLife(fitted(panel, 1).model_, n_points=40)
    done: list[tuple[str, int, int]] = []
    found = prognosis.calibrated(panel, em, ages=2, n_folds=3, progress=lambda *step: done.append(step))
    assert done == [("fold", 1, 3), ("fold", 2, 3), ("fold", 3, 3)]
    assert found.calibration.before.n_units == 24 and not hasattr(em, "model_")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_folds": 1}, OptionError, "n_folds is 1"),
        ({"ages": 0}, OptionError, "ages is 0"),
        ({"ages": np.ones((3, 2))}, OptionError, r"\(50, n_cuts\)"),
        ({"ages": {0: [50.0]}}, OptionError, "none for unit 1"),
        ({"ages": np.full((50, 1), 1e4)}, PanelError, "cannot be cut off at 10000"),
        ({"tempers": [1.5]}, OptionError, "tempers"),
    ],
)
def test_what_is_wrong_is_said(overconfident, options, error, message: str) -> None:
    """Cut-offs after the failure, folds of nothing: said before an hour of fitting, naming the unit."""
    prognosis, panel = overconfident
    with pytest.raises(error, match=message):
        prognosis.calibrated(panel, **options)


def test_too_few_failures_and_wrong_numbers() -> None:
    """Three failures calibrate nothing; a forward estimator cannot; a saved calibration must be one."""
    panel = fleet(3, 0).with_modes(None)
    prognosis = RemainingLife(fitted(fleet(20, 0).with_modes(None), 1).model_)
    with pytest.raises(PanelError, match="at least 4"):
        prognosis.calibrated(panel)
    with pytest.raises(OptionError, match="'forward'"):
        prognosis.calibrated(panel, cem.FailureModeEM(1))
    with pytest.raises(OptionError, match="temper is 0"):
        Calibration(temper=0.0)
    with pytest.raises(OptionError, match="ascending"):
        Calibration(knots=(1.0, 0.0), images=(0.0, 1.0))
    with pytest.raises(OptionError, match="lacks 'before'"):
        Calibration.from_dict({"temper": 1.0, "knots": [], "images": []})


def test_scores_at_the_edges_show_where_the_map_takes_a_law() -> None:
    """Plots of a recalibration are made from `normal_scores(law)` and `Calibration.mapped`."""
    rng = np.random.default_rng(5)
    law = RemainingLifeDistribution(np.arange(1.0, 8.0), rng.dirichlet(np.ones(7), 3)[..., None])
    scores = normal_scores(law)
    np.testing.assert_allclose(ndtr(scores), law.cdf(law.edges), atol=1e-6)
    calibration = Calibration(1.0, (-1.0, 0.0, 2.0), (-2.0, 0.5, 1.0))
    np.testing.assert_allclose(calibration.mapped(np.array([-2.0, -1.0, 1.0, 4.0])), [-4.5, -2.0, 0.75, 1.5])
    inner = slice(1, -1)
    mapped = ndtr(calibration.mapped(scores))[:, inner]
    np.testing.assert_allclose(calibration.corrected(law).cdf(law.edges)[:, inner], mapped, atol=1e-6)


def with_column(panel: Panel, name: str, values: np.ndarray) -> Panel:
    """The panel with one more channel in front."""
    ends = panel.offsets[1:-1]
    columns = np.column_stack([values, panel.values])
    return Panel.from_arrays(
        np.split(np.asarray(panel.times), ends),
        np.split(columns, ends),
        channels=[name, *panel.channels],
        failure_times=panel.failure_times,
    )


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_constant_channel_left_in_the_panel_does_not_stop_calibration(is_warm: bool) -> None:
    """The fit left the dead sensor out, so the panel that it was fitted to calibrates it, with the same figures."""
    panel = twin_channels(16, 3)
    both = with_column(panel, "dead", np.full(len(panel.times), 518.67))
    estimator = cem.FailureModeEM(
        1, basis=Exponential([40.0]), covariance="diagonal", time_axis="to_failure", random_state=0
    )
    with pytest.warns(cem.errors.ConstantChannelWarning):
        prognosis = RemainingLife(estimator.fit(both).model_, n_points=60)
    given = None if is_warm else estimator
    found = prognosis.calibrated(both, given, ages=2, n_folds=2).calibration
    expected = prognosis.calibrated(panel, given, ages=2, n_folds=2).calibration
    assert found.before.crps == pytest.approx(expected.before.crps)
    assert found.temper == expected.temper


def test_a_channel_that_the_fit_never_saw_is_refused_by_calibration() -> None:
    """Nobody decided to leave it out, so it is named rather than dropped."""
    panel = twin_channels(16, 3)
    prognosis = RemainingLife(fitted(panel, 1).model_, n_points=60)
    with pytest.raises(PredictionError, match="no channel 'other'"):
        prognosis.calibrated(with_column(panel, "other", np.arange(len(panel.times))), ages=2, n_folds=2)
