"""Thresholds are lives too: coverage measured on units left out, corrected laws, one file."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import stats

import cem
from cem.errors import OptionError, PanelError, PredictionError, ThresholdWarning
from cem.prognosis.calibration import Calibration
from cem.prognosis.corrected_passage import CorrectedPassage
from cem.prognosis.reliability import reliability
from cem.prognosis.threshold_life import ThresholdLife, first_crossings_of_readings


def worn(n_units: int, seed: int, until: float = 220.0) -> cem.Panel:
    """Lines that wander: a model without a process is too sure of them. They reach 100 after some 130 hours."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, until, 10.0)
    slopes = 0.8 * rng.lognormal(0.0, 0.15, n_units)
    wander = np.cumsum(rng.normal(0.0, 4.0, (n_units, len(t))), axis=1)
    values = slopes[:, None] * t + wander + rng.normal(0.0, 0.5, (n_units, len(t)))
    return cem.Panel.from_arrays(t, values[:, :, None], channels=["wear"], response="wear")


def estimator() -> cem.FailureModeEM:
    return cem.FailureModeEM(1, basis=cem.Polynomial(1), random_state=0, n_init=1)


@pytest.fixture(scope="module")
def plain() -> tuple[ThresholdLife, cem.Panel]:
    panel = worn(40, 0)
    return ThresholdLife(estimator().fit(panel).model_, 100.0), panel


@pytest.fixture(scope="module")
def better(plain) -> ThresholdLife:
    prognosis, panel = plain
    return prognosis.calibrated(panel, estimator(), ages=4, n_folds=4)


def test_crossings_lie_on_the_line_between_readings() -> None:
    """By hand; a gap is bridged, and who never crosses, or begins beyond, has no crossing."""
    values = [[0.0, np.nan, 4.0], [0.0, 1.0, 1.5], [3.0, 5.0, 6.0], [2.0, 1.0, 3.0]]
    panel = cem.Panel.from_arrays(np.array([0.0, 1.0, 2.0]), np.array(values)[:, :, None], channels=["x"])
    found = first_crossings_of_readings(panel, "x", 2.0, "upper")
    np.testing.assert_allclose(found, [1.0, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(first_crossings_of_readings(panel, "x", 1.5, "lower")[3], 0.5)


def test_intervals_that_hold_too_little_are_mended(plain, better) -> None:
    """On new units, 90 % intervals hold far less before, and about 90 % after; lives beyond the record count."""
    report = better.calibration
    assert report.before.coverage[0.9] < 0.75 < report.after.coverage[0.9]
    assert report.before.by_life is not None and report.after.interval_scores[0.9] < report.before.interval_scores[0.9]
    new = worn(60, 1, 400.0)
    truth = first_crossings_of_readings(new, "wear", 100.0, "upper")
    cut = new.until(0.6 * truth)
    left = truth - cut.times[cut.offsets[1:] - 1]
    for one, low, high in ((plain[0], 0.0, 0.75), (better, 0.8, 1.0)):
        held = reliability([one.predict(cut)], left, range(60), cap=400.0).coverage[0.9]
        assert low < held <= high


def test_a_corrected_law_answers_as_every_law(better) -> None:
    """cdf, quantiles, density, mass at never, slices and means agree with one another."""
    cut = worn(6, 2).until(np.full(6, 80.0))
    law, plain = better.predict(cut), better.model.remaining_life(cut, 100.0)
    held = better.calibration
    assert isinstance(law, CorrectedPassage) and isinstance(law, cem.RemainingLifeLaw)
    times = np.linspace(1.0, 250.0, 1001)
    cdf = law.cdf(times)
    assert np.all(np.diff(cdf, axis=1) >= 0)
    before = plain.cdf(times)
    sure = (before < 1e-12) | (before > 1 - 1e-12)  # a score says no more of these
    scores = held.mapped(stats.norm.ppf(np.clip(before, 1e-12, 1 - 1e-12)), plain.median()[:, None])
    np.testing.assert_allclose(cdf[~sure], stats.norm.cdf(scores)[~sure], atol=1e-9)
    for level in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.diag(law.cdf(law.quantile(level))), level, atol=1e-6)
    steps = np.diff(times)
    np.testing.assert_allclose(
        0.5 * (law.pdf(times)[:, 1:] + law.pdf(times)[:, :-1]) @ steps, cdf[:, -1] - cdf[:, 0], atol=0.02
    )
    np.testing.assert_array_equal(law[2:4].cdf(times), cdf[2:4])
    assert np.all(law.mean(60.0) <= 60.0) and len(law.summary()) == 6
    fine = np.linspace(0.0, 60.0, 4001)
    np.testing.assert_allclose(law.mean(60.0), np.trapezoid(1.0 - law.cdf(fine), fine, axis=1), rtol=1e-3)


def test_never_goes_with_the_cdf() -> None:
    """A line that may fall never crosses with probability q; after the correction with 1 − F'(∞)."""
    from cem.passage.first_passage import first_passage

    law = first_passage(
        cem.Polynomial(1).bind([0.0, 4.0]), [[1.0]], [[[0.0, 0.1]]], [[[[0.01, 0.0], [0.0, 0.04]]]], 0.0, 1.0, 5.0
    )  # fmt: skip
    held = Calibration(1.0, (-1.0, 0.0, 1.0), (-0.5, 0.2, 0.8))
    after = CorrectedPassage(law, held)
    wanted = 1.0 - stats.norm.cdf(held.mapped(stats.norm.ppf(1.0 - law.probability_never)))
    np.testing.assert_allclose(after.probability_never, wanted, rtol=1e-9)
    np.testing.assert_allclose(after.cdf(1e12)[:, 0], 1.0 - after.probability_never, atol=1e-6)
    assert after.quantile(0.99)[0] == np.inf and np.isfinite(after.quantile(0.5)[0])


def test_it_is_kept_whole(better, tmp_path) -> None:
    """Saved and loaded, pickled, or asked of the file: the same law, and another threshold has no correction."""
    cut = worn(3, 3).until(np.full(3, 80.0))
    wanted = better.predict(cut).cdf([20.0, 60.0])
    better.save(tmp_path / "m.cem")
    for again in (ThresholdLife.load(tmp_path / "m.cem"), pickle.loads(pickle.dumps(better))):
        np.testing.assert_array_equal(again.predict(cut).cdf([20.0, 60.0]), wanted)
        assert again.calibration == better.calibration and "calibrated" in repr(again)
    assert again.replaced(threshold=90.0).calibration is None
    assert cem.load(tmp_path / "m.cem").training["threshold"]["direction"] == "upper"


def test_what_cannot_be_is_refused(plain) -> None:
    prognosis, panel = plain
    model = prognosis.model
    for arguments, said in (
        ({"threshold": None}, "holds none"),
        ({"threshold": np.nan}, "finite"),
        ({"threshold": 100.0, "direction": "up"}, "direction"),
    ):
        with pytest.raises(OptionError, match=said):
            ThresholdLife(model, **arguments)
    with pytest.raises(PanelError, match="at least 4"):
        prognosis.calibrated(panel.until(np.full(panel.n_units, 30.0)), estimator())
    with pytest.raises(OptionError, match="time_axis"):
        prognosis.calibrated(panel, cem.FailureModeEM(1, time_axis="to_failure"))
    with pytest.raises(AttributeError, match="immutable"):
        prognosis.threshold = 3.0
    with pytest.raises(OptionError, match="cap"):
        reliability([prognosis.predict(panel[:2].until([30.0, 30.0]))], [1.0, 2.0], "ab")


@pytest.fixture(scope="module")
def short() -> cem.Panel:
    """Records that end after 130 hours: a third of the units have not crossed then."""
    return worn(40, 4, 400.0).until(np.full(40, 130.0))


@pytest.fixture(scope="module")
def of_short(short) -> ThresholdLife:
    model = estimator().fit(short).model_
    return ThresholdLife(model, 100.0).calibrated(short, estimator(), ages=3, n_folds=3)


def test_units_that_never_cross_count_with_what_is_known(short, of_short) -> None:
    """Left out, they would take the long lives with them. New units, none of them hidden, say whether it came right."""
    report = of_short.calibration.after
    running = int(np.isnan(first_crossings_of_readings(short, "wear", 100.0, "upper")).sum())
    assert running > 8 and report.n_running == running and report.n_units == 40
    assert f"({running} still running)" in str(report)
    again = Calibration.from_dict(of_short.calibration.to_dict())
    assert again.after.n_running == running and 0 < again.skill < 1
    new = worn(60, 1, 500.0)
    truth = first_crossings_of_readings(new, "wear", 100.0, "upper")
    cut = new.until(np.random.default_rng(0).random(60) * truth)
    left = truth - cut.times[cut.offsets[1:] - 1]
    held = [
        reliability([one.predict(cut)], left, range(60), cap=400.0).coverage[0.9]
        for one in (of_short.replaced(calibration=Calibration()), of_short)
    ]
    assert held[0] < 0.75 and 0.8 < held[1] < 0.97


def test_a_running_unit_earns_no_hit() -> None:
    """Seen running for ten medians, a unit was not held; of one seen for a hundredth, nothing is known."""
    from cem.passage.first_passage import first_passage

    law = first_passage(
        cem.Polynomial(1).bind([0.0, 4.0]), np.ones((4, 1)), np.tile([0.0, 1.0], (4, 1, 1)),
        np.tile(np.diag([0.01, 1e-4]), (4, 1, 1, 1)), 0.0, 1.0, 11.0,
    )  # fmt: skip
    median = law.median()[0]
    for seen, shares in (([10.0 * median] * 3, 0.25), ([0.01 * median] * 3, 1.0)):
        found = reliability(
            [law], [median, *seen], range(4), cap=20.0 * median, running=np.array([False, True, True, True])
        )
        assert found.coverage[0.9] == pytest.approx(shares) and found.n_running == 3
    with pytest.raises(OptionError, match="running has shape"):
        reliability([law], [10.0] * 4, range(4), cap=30.0, running=[1, 0])
    with pytest.raises(OptionError, match="still running"):
        reliability([law], [10.0] * 4, range(4), running=np.array([False, True, True, True]))


def test_units_that_begin_beyond_are_named() -> None:
    """Nothing is known of when they crossed; they must not vanish in silence."""
    panel = worn(12, 5, 400.0)
    values = panel.values.copy()
    values[: panel.offsets[1]] += 150.0
    panel = cem.Panel.from_arrays(
        panel.times[: panel.offsets[1]], values.reshape(12, -1, 1), channels=["wear"], response="wear"
    )
    prognosis = ThresholdLife(estimator().fit(panel).model_, 100.0, direction="upper")
    with pytest.warns(ThresholdWarning, match="1 of 12 units begin beyond"):
        found = prognosis.calibrated(panel, estimator(), ages=1, n_folds=2, correct=False)
    assert found.calibration.before.n_units <= 11 and found.calibration.after is None


def test_a_model_with_uncertainty_is_calibrated_with_it() -> None:
    """Each fold's fit finds the uncertainty of its own parameters; draws that no fit can find again are refused."""
    panel = worn(28, 6, 400.0)
    em = cem.FailureModeEM(
        1, basis=cem.Polynomial(1), covariance="full", random_state=0, n_init=1, uncertainty="information"
    )
    model = em.fit(panel).model_
    prognosis = ThresholdLife(model, 100.0)
    found = prognosis.calibrated(panel, ages=1, n_folds=2)
    plain = ThresholdLife(model.without_uncertainty(), 100.0).calibrated(panel, ages=1, n_folds=2)
    assert found.calibration.before.widths[0.9] > plain.calibration.before.widths[0.9]
    drawn = model.without_uncertainty().with_uncertainty([model.internal_parameters] * 3)
    with pytest.raises(OptionError, match="cannot find by themselves"):
        ThresholdLife(drawn, 100.0).calibrated(panel)


def test_the_report_has_the_calibration(short, of_short) -> None:
    """As that of lives that end in failures; and the lives on the page are the corrected ones."""
    pytest.importorskip("matplotlib")
    page = of_short.report(short[:3])
    assert 'id="calibration"' in page and "never crossed the threshold" in page and "are not calibrated" not in page
    median = of_short.predict(short[:3]).median()
    assert all(f"{value:.4g}" in page for value in median)
    plain = of_short.replaced(calibration=None)
    bare = ThresholdLife(plain.model, 100.0).report(short[:3])
    assert "ThresholdLife(model).calibrated(panel)" in bare


def test_a_file_keeps_how_far_the_law_looks(plain, tmp_path) -> None:
    """A horizon that was calibrated with was lost in the file: the loaded prognosis answered otherwise, silently."""
    model, panel = curved()
    life = ThresholdLife(model, 100.0, options={"horizon": 400.0, "n_draws": 128, "random_state": 3})
    life.save(tmp_path / "life.cem")
    loaded = ThresholdLife.load(tmp_path / "life.cem")
    assert loaded.options == life.options
    np.testing.assert_array_equal(loaded.predict(panel[:2]).cdf([300.0]), life.predict(panel[:2]).cdf([300.0]))
    again = ThresholdLife(loaded.model, 100.0, options={"monotone": False})  # as `cem rul` asks
    assert again.options["horizon"] == 400.0
    assert ThresholdLife(loaded.model, 90.0).options == {}


def curved() -> tuple[cem.FailureModeModel, cem.Panel]:
    panel = worn(12, 1, 120.0)
    return cem.FailureModeEM(1, random_state=0, n_init=1).fit(panel).model_, panel


def test_a_channel_may_be_named_by_its_position() -> None:
    """Position 0 was taken for "no channel", and the response answered in its place."""
    panel = worn(12, 1)
    both = cem.Panel.from_arrays(
        panel.times[: len(panel.times) // 12],
        np.stack([-panel.values.reshape(12, -1), panel.values.reshape(12, -1)], axis=2),
        channels=["down", "wear"], response="wear",
    )  # fmt: skip
    life = ThresholdLife(estimator().fit(both).model_, -100.0, channel=0)
    assert (life.channel, life.direction) == ("down", "lower")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"threshold": object()}, "threshold is "),
        ({"threshold": 3j}, "threshold is 3j"),
        ({"options": {"horizons": 3.0}}, "no option 'horizons'; did you mean 'horizon'"),
        ({"options": {"channel": "wear"}}, "no option 'channel'"),
        ({"options": [1]}, r"options is \[1\]"),
        ({"options": {"horizon": "x"}}, "horizon is 'x'"),
        ({"options": {"horizon": float("nan")}}, "horizon is nan"),
        ({"options": {"n_draws": 200.5}}, "n_draws is 200.5"),
        ({"options": {"n_cells": "x"}}, "n_cells is 'x'"),
        ({"options": {"random_state": -1}}, "random_state is -1"),
        ({"options": {"monotone": "no"}}, "monotone is 'no'"),
        ({"calibration": 3}, "calibration is 3"),
    ],
)
def test_options_are_refused_when_they_are_given(plain, options, named: str) -> None:
    """monotone='no' meant True, and the others failed in the middle of a prediction without their name."""
    with pytest.raises(OptionError, match=named):
        ThresholdLife(plain[0].model, **{"threshold": 100.0, **options})


def test_messages_name_what_is_at_fault(plain) -> None:
    """An estimator for its model, a panel without the channel, an argument that replaced does not have."""
    prognosis, panel = plain
    with pytest.raises(OptionError, match=r"type FailureModeEM; .* em\.model_"):
        ThresholdLife(estimator(), 100.0)
    with pytest.raises(PanelError, match="no channel 'wear'"):
        prognosis.calibrated(cem.Panel.from_arrays(np.arange(3.0), np.ones((5, 3, 1)), channels=["heat"]))
    with pytest.raises(OptionError, match="no argument 'foo'"):
        prognosis.replaced(foo=1)
    for cap in (0, float("nan"), "x"):
        with pytest.raises(OptionError, match="cap is"):
            prognosis.calibrated(panel, cap=cap)
    with pytest.raises(OptionError, match="ages is 'x'"):
        prognosis.calibrated(panel, ages="x")
    with pytest.raises(OptionError, match="no option 'foo'"):
        prognosis.model.remaining_life(panel, 100.0, foo=3)


@pytest.mark.parametrize("gate", [None, "on", "auto"])
def test_a_file_keeps_the_gate(plain, tmp_path, gate) -> None:
    """Saved with the gate off, a prognosis would leave readings out after it was loaded."""
    prognosis = plain[0].replaced(options={"gate": gate})
    prognosis.save(tmp_path / "m.cem")
    for again in (ThresholdLife.load(tmp_path / "m.cem"), pickle.loads(pickle.dumps(prognosis))):
        assert again.options.get("gate", "auto") == gate
    with pytest.raises(OptionError, match="gate is 'strict'"):
        prognosis.replaced(options={"gate": "strict"})


def test_what_is_no_panel_is_refused(plain) -> None:
    """An array has no times, and a threshold is crossed in time."""
    with pytest.raises(PredictionError, match="array without times"):
        plain[0].predict(np.zeros((2, 3, 1)))


def test_who_has_no_conditions_is_told_where_to_give_them() -> None:
    """The message named an option of another method, and neither cross_validate nor stacked has it."""
    panel = worn(12, 0)
    panel = panel.with_covariates({"load": np.random.default_rng(1).normal(size=panel.n_readings)})
    model = cem.FailureModeEM(1, basis=cem.Polynomial(1), covariates=["load"], random_state=0).fit(panel).model_
    with pytest.raises(PredictionError) as caught:
        ThresholdLife(model, 100.0, direction="upper").predict(panel)
    assert "at='last'" in caught.value.__notes__[0]
