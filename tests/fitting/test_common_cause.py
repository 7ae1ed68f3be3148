"""A fleet whose sensors all follow its load is fitted with a warning; wear that all sensors show gives none.

Without the warning a user would get modes of the load, and lives worse than without sensors, from a fit whose other
diagnostics are fine. A warning on data without a load would soon be ignored.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from places import DATA, SHARED_DATA

import cem
from cem.basis.families import Polynomial
from cem.errors import CemWarning, CommonCauseWarning, HugeValuesWarning
from cem.fitting.common_cause import THRESHOLD, common_cause, warn_of_common_cause
from cem.panel.panel import Panel


def found(values, basis=None, times=None):
    """What `common_cause` finds in a fleet; one array of readings a unit."""
    times = [np.arange(len(x), dtype=float) for x in values] if times is None else times
    panel = Panel.from_arrays(times, values)
    bound = (basis or Polynomial(2)).bind(panel.times)
    return common_cause(panel.values, panel.times, panel.offsets, panel.channels, [bound] * panel.n_channels)


def under_load(rng, loads, weights, noise=1.0):
    return [load[:, None] * weights + noise * rng.normal(size=(len(load), len(weights))) for load in loads]


WEIGHTS = np.array([2.0, -1.5, 1.0, 0.0, 3.0])


def test_a_load_of_every_reading_is_found_and_the_channels_it_moves_are_named():
    rng = np.random.default_rng(1)
    cause = found(under_load(rng, rng.normal(size=(20, 40)), WEIGHTS))
    assert cause.correlation > THRESHOLD
    assert cause.channels[:2] == ("x5", "x1") and cause.channels[-1] == "x4"


def test_a_load_that_is_held_for_many_readings_is_found():
    rng = np.random.default_rng(2)
    loads = [np.repeat(rng.choice([0.0, 4.0, 8.0], size=30), 10) for _ in range(20)]
    assert found(under_load(rng, loads, np.ones(4))).correlation > THRESHOLD


def test_a_daily_cycle_that_is_smooth_from_reading_to_reading_is_found():
    """The temperature outside, read every hour: first differences are smooth, but the cycle recurs."""
    rng = np.random.default_rng(3)
    hours = np.arange(480.0)
    loads = [np.sin(2 * np.pi * (hours + phase) / 24) for phase in rng.uniform(0, 24, size=12)]
    assert found(under_load(rng, loads, np.ones(5), noise=0.05)).correlation > THRESHOLD


@pytest.mark.parametrize("basis", [Polynomial(2), Polynomial(5)], ids=["too small", "almost enough"])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_parallel_curves_with_hardly_any_noise_have_no_common_cause(basis, noise):
    """Wear that all sensors show is no load, though their differences all grow towards failure."""
    rng = np.random.default_rng(4)
    t = np.linspace(0, 1, 120)[:, None]
    curves = [np.exp(rng.uniform(1, 3, size=5) * t) for _ in range(30)]
    cause = found([curve + noise * rng.normal(size=curve.shape) for curve in curves], basis)
    assert cause is None or cause.correlation <= THRESHOLD


def test_channels_that_their_basis_reproduces_have_no_common_cause():
    """What is left of them is rounding, and rounding may be anything."""
    rng = np.random.default_rng(5)
    t = np.arange(50.0)[:, None]
    assert found([rng.normal(size=4) + rng.normal(size=4) * t + 0.1 * t * t for _ in range(20)]) is None


def test_the_noise_of_independent_sensors_is_no_common_cause():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert found([rng.normal(size=(8, 2)) for _ in range(30)]).correlation < THRESHOLD


@pytest.mark.parametrize("length", [30, 3000])
def test_one_unit_decides_for_no_fleet(length):
    """A machine on a test bench, or one with far more readings than the others."""
    rng = np.random.default_rng(6)
    values = [rng.normal(size=(30, 5)) for _ in range(19)]
    values.append(rng.normal(size=(length, 5)) + 100 * rng.normal(size=(length, 1)))
    assert found(values).correlation < THRESHOLD


def test_a_restart_that_all_sensors_show_once_is_no_common_cause():
    rng = np.random.default_rng(7)
    values = [rng.normal(size=(200, 5)) for _ in range(20)]
    for x in values:
        x[rng.integers(200)] += 1000.0
    assert found(values).correlation < THRESHOLD


def test_stuck_and_quantised_channels_neither_hide_a_load_nor_make_one():
    rng = np.random.default_rng(8)
    loaded = under_load(rng, 3 * rng.normal(size=(20, 60)), np.ones(5))
    quiet = [rng.normal(size=(60, 5)) for _ in range(20)]
    for values in (loaded, quiet):
        for x in values:
            x[:, 0] = 7.0
            x[:, 1] = np.rint(x[:, 1] / 4)
    assert found(loaded).correlation > THRESHOLD
    assert found(quiet).correlation < THRESHOLD


def test_gaps_and_sensors_that_are_read_in_turn():
    """Differences are between readings at which both sensors were read; sensors never read together have none."""
    rng = np.random.default_rng(9)
    values = under_load(rng, 3 * rng.normal(size=(40, 60)), np.ones(4))
    for x in values:
        x[rng.random(x.shape) < 0.3] = np.nan
        x[1::2, :2] = np.nan  # never at consecutive rows
    assert found(values).correlation > THRESHOLD
    in_turn = under_load(rng, rng.normal(size=(40, 60)), np.ones(2), noise=0.1)
    for x in in_turn:
        x[::2, 0], x[1::2, 1] = np.nan, np.nan
    assert found(in_turn) is None


def test_too_few_readings_and_one_channel_say_nothing():
    rng = np.random.default_rng(10)
    assert found(under_load(rng, rng.normal(size=(20, 5)), WEIGHTS)) is None  # 80 differences
    assert found(under_load(rng, rng.normal(size=(20, 40)), WEIGHTS[:1])) is None


def test_many_channels_and_huge_readings_do_no_harm():
    rng = np.random.default_rng(11)
    assert found([rng.normal(size=(20, 80)) for _ in range(20)]).correlation < THRESHOLD
    with pytest.warns(HugeValuesWarning):
        assert found([1e308 * rng.uniform(-1, 1, size=(20, 4)) for _ in range(20)]) is None


def test_a_fit_warns_once_and_says_what_to_do():
    rng = np.random.default_rng(12)
    values = under_load(rng, rng.normal(size=(20, 40)), WEIGHTS)
    panel = Panel.from_arrays([np.arange(40.0)] * 20, values, channels=["vib", "temp", "flow", "debris", "current"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CemWarning)
        cem.FailureModeEM(1).fit(panel)
    messages = [str(one.message) for one in caught if one.category is CommonCauseWarning]
    assert len(messages) == 1
    for words in ("'current', 'vib'", "covariates=", "regimes=cem.Regimes(", "load, speed"):
        assert words in messages[0]


def test_covariates_that_the_fit_does_not_use_are_named():
    """The user has read the load already, and only has to name it."""
    rng = np.random.default_rng(13)
    panel = Panel.from_arrays([np.arange(40.0)] * 20, under_load(rng, rng.normal(size=(20, 40)), WEIGHTS))
    bases = [Polynomial(2).bind(panel.times)] * panel.n_channels
    with pytest.warns(CommonCauseWarning, match="the panel has the covariates 'load', 'speed', which the fit does not"):
        warn_of_common_cause(panel.values, panel.times, panel.offsets, panel.channels, bases, unused=("load", "speed"))


def _cmapss(name):
    path = SHARED_DATA / "cmapss" / name
    if not path.exists():
        pytest.skip("C-MAPSS is not in the shared data")
    table = np.loadtxt(path)
    cut = np.flatnonzero(np.diff(table[:, 0])) + 1
    sensors = [4 + s for s in (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)]
    return np.split(table[:, sensors], cut), np.split(table[:, 1], cut)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train_FD001.txt", False),
        ("train_FD003.txt", False),
        ("train_FD002_part.txt", True),
        ("train_FD004_part.txt", True),
    ],
)
def test_turbofans_at_six_conditions_have_a_common_cause_and_those_at_one_have_none(name, expected):
    values, times = _cmapss(name)
    assert (found(values, times=times).correlation > THRESHOLD) == expected


def test_the_demo_fleet_and_fleets_of_one_channel_have_no_common_cause():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", CommonCauseWarning)
        cem.FailureModeEM(3, random_state=0).fit(cem.datasets.load_demo_fleet())
        for name, unit, time in (("orthodont", "Subject", "age"), ("sleepstudy", "Subject", "Days")):
            frame = np.genfromtxt(DATA / f"{name}.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
            response = next(column for column in frame.dtype.names if column in ("distance", "Reaction"))
            cut = [np.flatnonzero(frame[unit] == one) for one in np.unique(frame[unit])]
            panel = Panel.from_arrays([frame[time][rows] for rows in cut], [frame[response][rows] for rows in cut])
            cem.FailureModeEM(1, basis=Polynomial(1)).fit(panel)
