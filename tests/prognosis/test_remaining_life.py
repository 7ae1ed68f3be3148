"""RemainingLife on fitted models: simulated fleets of known truth, files, and what a user may get wrong."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from life_cases import MEDIANS, fitted, fleet

import cem
from cem.basis.families import BSpline, Exponential, Fourier, Polynomial
from cem.errors import BasisError, OptionError, PanelError, PredictionError
from cem.lifetimes.lifetimes import Lifetimes, Lognormal
from cem.metrics.metrics import crps_pmf
from cem.panel.panel import Panel
from cem.prognosis.remaining_life import RemainingLife


@pytest.fixture(scope="module")
def trained() -> cem.FailureModeModel:
    return fitted(fleet(60, 0).with_modes(None)).model_


@pytest.fixture(scope="module")
def running() -> tuple[Panel, np.ndarray]:
    panel = fleet(80, 1)
    ages = np.random.default_rng(2).uniform(0.4, 0.95, 80) * panel.failure_times
    cut = panel.until(ages)
    return cut, panel.failure_times - cut.times[cut.offsets[1:] - 1]


def test_a_fit_on_the_time_to_failure_predicts_running_units(trained, running) -> None:
    """What a planner buys: medians near the truth, honest intervals, the right mode, better than without sensors."""
    panel, left = running
    prognosis = cem.RemainingLife(trained)
    law = prognosis.predict(panel)
    assert law.pmf.shape == (80, 300, 2) and law.units == panel.units and law.time_unit == "h"
    low, high = law.interval(0.8)
    assert 0.68 < np.mean((low <= left) & (left <= high)) < 0.93
    silent = Panel(
        panel.units, np.arange(81), panel.times[panel.offsets[1:] - 1], np.full((80, 1), 9062.0), ["a"]
    )  # fmt: skip
    blind = prognosis.predict(silent)
    assert crps_pmf(left, law.grid, law.pmf.sum(axis=2)).mean() < 0.6 * np.mean(
        crps_pmf(left, blind.grid, blind.pmf.sum(axis=2))
    )
    # Modes are numbered by weight: the long-lived one is that of the larger median.
    longer = int(np.argmax(prognosis.lifetimes.quantile(0.5)))
    near_the_end = left < 40
    found = law.mode_probabilities[:, longer] > 0.5
    assert np.mean(found[near_the_end] == (np.array(panel.modes) == "long")[near_the_end]) > 0.95


def test_laws_of_lifetimes_are_found_by_mode(trained) -> None:
    """The mode tells how long a unit lives: medians of 150 and 220 from 60 units without labels."""
    medians = np.sort(RemainingLife(trained).lifetimes.quantile(0.5))
    np.testing.assert_allclose(medians, MEDIANS, rtol=0.1)


def test_missing_channels_and_their_order_do_not_matter(trained, running) -> None:
    """In the field one sensor is missing and the columns have another order."""
    panel, left = running
    prognosis = RemainingLife(trained)
    whole = prognosis.predict(panel)
    turned = prognosis.predict(panel.select_channels(["b", "a"]))
    np.testing.assert_allclose(turned.pmf, whole.pmf, rtol=1e-9, atol=1e-15)
    one = prognosis.predict(panel.select_channels(["b"]))
    assert crps_pmf(left, one.grid, one.pmf.sum(axis=2)).mean() < 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("basis", "rank"),
    [
        (Exponential([40.0]), 0),
        (Exponential([15.0, 50.0]), 1),
        (Polynomial(2), 0),
        (Fourier(1, period=500.0), 0),  # its shift is not triangular: the way without registers
        (Fourier(1, period=500.0), 1),
        (Exponential(np.geomspace(5.0, 300.0, 9).tolist()), 0),  # too large for registers
    ],
)
def test_the_life_of_a_unit_does_not_depend_on_the_others(running, basis, rank) -> None:
    """A grid for the whole batch moved the medians of all when one young unit joined it."""
    panel, left = running
    model = fitted(fleet(30, 1), basis=basis, linking_rank=rank, max_iter=30).model_
    prognosis = RemainingLife(model)
    together = prognosis.predict(panel)
    assert together.grid.shape == (panel.n_units, prognosis.n_points)
    wanted = [together.median(), *together.interval(0.9), together.mean(), together.mean(50.0)]
    wanted += [together.standard_deviation(), together.pit(left), *together.mode_probabilities.T]
    for i in (0, 7, 31):
        alone = prognosis.predict(panel[i])
        assert alone.grid.shape == (prognosis.n_points,)
        found = [alone.median(), *alone.interval(0.9), alone.mean(), alone.mean(50.0), alone.standard_deviation()]
        found += [alone.pit(left[i : i + 1]), *alone.mode_probabilities.T]
        np.testing.assert_allclose(np.array(found)[:, 0], np.array(wanted)[:, i], rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(together[i].grid, alone.grid)
        np.testing.assert_allclose(together.unit(panel.units[i]).median(), together.median()[i : i + 1], rtol=1e-12)


def test_many_units_are_as_one_by_one(trained, running) -> None:
    """Chunks are no part of the answer, nor is the way that takes candidates in common; those of each agree."""
    panel, _ = running
    prognosis = RemainingLife(trained)
    ages = panel.times[np.asarray(panel.offsets[1:]) - 1]
    common = prognosis.grid(ages)
    together = prognosis.predict(panel, grid=common)
    np.testing.assert_array_equal(together.grid, common)
    alone = prognosis.predict(panel[7], grid=common)
    np.testing.assert_allclose(alone.pmf[0], together.pmf[7], rtol=1e-10, atol=1e-16)
    own = prognosis.predict(panel, grid=np.broadcast_to(common, (panel.n_units, len(common))))
    np.testing.assert_allclose(own.pmf, together.pmf, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(prognosis.predict(panel).median(), together.median(), rtol=1e-2, atol=0.05)
    with pytest.raises(OptionError, match="grid has 3 rows; one for each of the"):
        prognosis.predict(panel, grid=prognosis.grids(ages[:3]))


def test_single_reading_and_very_old_units(trained) -> None:
    """One reading is little evidence, and three times the longest life leaves a law all the same."""
    prognosis = RemainingLife(trained)
    panel = Panel.from_arrays([[100.0], [900.0]], [[[9062.0, 0.0]], [[9062.5, 0.1]]], channels=["a", "b"])
    law = prognosis.predict(panel)
    assert np.isfinite(law.mean()).all() and (law.median() > 0).all()
    assert law.median()[1] < 300


def test_evidence_of_survival() -> None:
    """Silent sensors, median lives 150 and 300, alive at 220: .971 for the long-lived mode through the whole path."""
    model = fitted(fleet(40, 3)).model_
    lifetimes = Lifetimes((Lognormal(np.log(150.0), 0.2), Lognormal(np.log(300.0), 0.2)))
    weights_half = cem.FailureModeModel(
        **{
            **model._arguments(),
            "parameters": type(model.internal_parameters)(
                [0.5, 0.5],
                *(
                    np.repeat(getattr(model.internal_parameters, name)[:1], 2, axis=0)
                    for name in ("means", "factors", "noise_variances")
                ),
                model.internal_parameters.sizes,
            ),
        }
    )
    silent = Panel.from_arrays([[220.0]], [[[np.nan, 0.0]]], channels=["a", "b"], allow_empty_channels=True)
    # Both modes have the same curves, and noise so large that the reading is uninformative about the remaining life.
    law = RemainingLife(weights_half, lifetimes=lifetimes, information=1e-12).predict(silent)
    assert law.mode_probabilities[0, 1] == pytest.approx(0.971, abs=1e-3)


def test_it_is_kept_in_the_model_file(trained, running, tmp_path) -> None:
    """What was fitted yesterday predicts the same today, in another process."""
    panel, _ = running
    prognosis = RemainingLife.fit(trained, fleet(60, 0), family="weibull", information={"b": 0.5})
    before = prognosis.predict(panel[:5])
    prognosis.save(tmp_path / "fleet.cem")
    again = RemainingLife.load(tmp_path / "fleet.cem")
    np.testing.assert_array_equal(again.predict(panel[:5]).pmf, before.pmf)
    np.testing.assert_array_equal(again.information, [1.0, 0.5])
    np.testing.assert_array_equal(RemainingLife(cem.load(tmp_path / "fleet.cem")).predict(panel[:5]).pmf, before.pmf)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(prognosis)).predict(panel[:5]).pmf, before.pmf)
    assert "weibull" in repr(again)
    json.dumps(again.model.training["lifetimes"], allow_nan=False)


def test_it_cannot_be_changed(trained) -> None:
    """It is shared between threads."""
    prognosis = RemainingLife(trained)
    with pytest.raises(AttributeError, match="immutable"):
        prognosis.n_points = 3
    with pytest.raises(ValueError, match="read-only"):
        prognosis.information[0] = 0.5
    assert prognosis.replaced(n_points=50).n_points == 50


def test_polynomials_shift_too() -> None:
    """Any shift-invariant basis serves."""
    model = fitted(fleet(40, 4).with_modes(None), 1, basis=Polynomial(2)).model_
    panel = fleet(5, 5)
    law = RemainingLife(model).predict(panel.until(0.7 * panel.failure_times))
    assert np.isfinite(law.mean()).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, p: RemainingLife(m, information=[0.5]), None, ""),
        (lambda m, p: RemainingLife(m, information=[0.5, 2.0]), OptionError, "channel 'b' is 2.0"),
        (lambda m, p: RemainingLife(m, information=[1, 1, 1]), OptionError, "a dict by channel"),
        (lambda m, p: RemainingLife(m, information={"c": 1.0}), OptionError, "names channel 'c'"),
        (lambda m, p: RemainingLife(m, n_points=1), OptionError, "n_points is 1"),
        (lambda m, p: RemainingLife(m, lifetimes=Lifetimes((Lognormal(5, 0.2),))), OptionError, "has 1 laws"),
        (lambda m, p: RemainingLife.fit(m, p.with_failure_times(None)), PanelError, "none of the 80 units"),
        (lambda m, p: RemainingLife(m).predict(fleet(2, 0).select_channels(["a"])[:1]), None, ""),
        (
            lambda m, p: RemainingLife(m).predict(Panel.from_arrays([[1.0]], [[[1.0]]], channels=["q"])),
            PredictionError,
            "no channel 'q'",
        ),
        (
            lambda m, p: RemainingLife(m).predict(
                Panel.from_arrays([[1.0]], [[[1.0]]], channels=["a"], time_unit="cycles")
            ),
            PredictionError,
            "cycles",
        ),
        (lambda m, p: RemainingLife(m).predict(p, grid=[3.0, 2.0]), OptionError, "ascending"),
        (
            lambda m, p: RemainingLife(m).predict(
                Panel.from_arrays([[-9.0, -3.0]], [[[1.0], [1.0]]], channels=["a"], units=["m7"])
            ),
            PredictionError,
            "'m7' has its last reading at -3; ages count",
        ),
    ],
)
def test_what_is_wrong_is_said(trained, running, call, error, message: str) -> None:
    """A unit of time mixed up or a channel renamed is named, not predicted from."""
    if error is None:
        call(trained, running[0])
        return
    with pytest.raises(error, match=message):
        call(trained, running[0])


def test_models_that_cannot_are_refused() -> None:
    """A model of the forward axis, a basis that cannot be shifted, a unit that failed before it was new."""
    panel = fleet(20, 6)
    forward = cem.FailureModeEM(1, random_state=0).fit(panel.with_modes(None)).model_
    with pytest.raises(OptionError, match="'forward'"):
        RemainingLife(forward)
    splines = fitted(panel.with_modes(None), 1, basis=BSpline(5), max_iter=30).model_
    with pytest.raises(BasisError, match="not shift-invariant"):
        RemainingLife(splines).predict(panel)
    with pytest.raises(PanelError, match="ages count from"):
        RemainingLife.fit(forward, panel.aligned_at_failure())
    with pytest.raises(PanelError, match="'m0' failed at 0"):
        fitted(panel.aligned_at_failure(), 1)


def test_an_underflow_is_zero_for_callers_who_let_numpy_raise(running) -> None:
    """Tails underflow by design: `numpy.errstate(all="raise")` made an untyped error of them."""
    cut, truth = running
    with np.errstate(all="raise"):
        prognosis = RemainingLife(fitted(fleet(30, 0, every=6.0)).model_)
        law = prognosis.predict(cut[:5])
        assert np.isfinite(law.median()).all() and np.isfinite(law.mean(125.0)).all()
        assert np.isfinite(law.standard_deviation()).all() and (law.cdf([0.0, 50.0]) >= 0).all()
        assert np.isfinite(crps_pmf(truth[:5], law.grid, law.pmf.sum(axis=2))).all()
        unit = prognosis.unit()
        for t, x in zip(cut[0].times, cut[0].values, strict=True):
            unit.update(t, x)
        assert np.isfinite(unit.distribution().median()).all()


def test_what_is_no_model_no_laws_and_no_calibration_is_refused_by_name(trained) -> None:
    """The estimator in place of its model, and numbers: AttributeError of something inside."""
    with pytest.raises(OptionError, match=r"type FailureModeEM; .* em\.model_"):
        RemainingLife(cem.FailureModeEM(1))
    with pytest.raises(OptionError, match="lifetimes is 3; a Lifetimes was expected"):
        RemainingLife(trained, lifetimes=3)
    with pytest.raises(OptionError, match="calibration is 3; a Calibration was expected"):
        RemainingLife(trained, calibration=3)
