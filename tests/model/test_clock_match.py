"""A model knows its clock and its units of measurement: panels of others are refused by name, doubtful ones named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cem
from cem.errors import CemWarning, ClockWarning, PanelError, PredictionError
from cem.model.clock_match import CLOCK

L, N = 20, 8
HOURS = np.arange(N) * 10.0
START = np.datetime64("2024-05-01T06:00")
DATES = START + (HOURS * 3600).astype("m8[s]")


def readings(seed=0):
    rng = np.random.default_rng(seed)
    mode = np.arange(L) % 2
    own = rng.normal(0, 0.2, (L, 1)) + rng.normal(0, 0.004, (L, 1)) * HOURS
    return mode[:, None] * HOURS * 0.05 + own + rng.normal(0, 0.3, (L, N))


def panel(times=HOURS, **options):
    return cem.Panel.from_arrays(times, readings(), channels=["temp"], **options)


def model(training):
    return cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=2, random_state=0).fit(training).model_


def dated():
    return model(panel(DATES, channel_units={"temp": "degC"}))


def silently(model, panel):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CemWarning)
        return model.predict_proba(panel)


# ------------------------------------------------------------------------------------------------------------ origin


@pytest.mark.parametrize("origin", ["zero", "2024-04-01", np.datetime64("2024-05-01")])
def test_datetimes_counted_from_elsewhere_are_refused(origin):
    """Hours since 1970 against hours since the first reading gave sure and wrong modes."""
    own = dated()
    with pytest.raises(PredictionError, match=r"the model's from the first reading; .*origin='first reading'"):
        own.predict(panel(DATES, origin=origin))
    theirs = model(panel(DATES, origin=origin))
    with pytest.raises(PredictionError, match="the panel's times count from the first reading"):
        theirs.predict(panel(DATES))
    silently(theirs, panel(DATES, origin=origin))


def test_a_saved_model_remembers_its_origin(tmp_path):
    own = model(panel(DATES, origin="2024-04-01T12:00"))
    own.save(tmp_path / "m.cem")
    again = cem.load(tmp_path / "m.cem")
    silently(again, panel(DATES.astype("M8[ns]"), origin=np.datetime64("2024-04-01T12", "h")))
    with pytest.raises(PredictionError, match="2024-04-01T12:00"):
        again.predict(panel(DATES))


def test_numbers_that_state_another_origin_are_refused():
    late = model(panel(HOURS + 5.0))
    with pytest.raises(PredictionError, match="count from the first reading, the model's from zero"):
        late.predict(panel(HOURS + 5.0, origin="first reading"))
    with pytest.raises(PredictionError, match=r"count from 3\.0"):
        late.predict(panel(HOURS + 5.0, origin=3.0))
    # Where every unit begins at 0 the two are one.
    silently(model(panel()), panel(HOURS + 7.0, origin="first reading"))
    first = model(panel(HOURS + 7.0, origin="first reading"))
    silently(first, panel())
    with pytest.warns(ClockWarning, match="unit 0 is at 7 .*first reading of each unit"):
        first.predict(panel(HOURS + 7.0))


def test_times_to_failure_are_not_read_as_ages():
    failed = panel(failure_times=np.full(L, 75.0)).aligned_at_failure()
    own = model(failed)
    assert own.training[CLOCK]["origin"] == "failure"
    silently(own, failed)
    with pytest.raises(PredictionError, match="the model's from the failure"):
        own.predict(panel(origin="first reading"))
    with pytest.warns(ClockWarning, match="lie far outside"):
        own.predict(panel(HOURS + 400.0))


# ------------------------------------------------------------------------------------------------------ unit of time


@pytest.mark.parametrize("name", ["h", "hours", "Hour", " H "])
def test_spellings_of_one_unit_of_time_are_accepted(name):
    silently(dated(), panel(time_unit=name))
    silently(model(panel(time_unit="cycles")), panel(time_unit="Cycle"))


@pytest.mark.parametrize(("ours", "theirs"), [("h", "min"), ("cycles", "h"), ("cycles", "km"), ("ms", "m")])
def test_another_unit_of_time_is_refused(ours, theirs):
    with pytest.raises(PredictionError, match=f"{theirs!r}, the model's in {ours!r}"):
        model(panel(time_unit=ours)).predict(panel(time_unit=theirs))


def test_numbers_without_a_unit_against_datetimes_are_named():
    """Seconds were read as the model's hours."""
    own = dated()
    with pytest.warns(ClockWarning, match="numbers without a unit; the model was fitted to datetimes, counted in 'h'"):
        own.predict(panel(HOURS * 3600.0))
    with pytest.warns(ClockWarning, match="datetimes, counted in 'h'.* numbers without a unit"):
        model(panel()).predict(panel(DATES))
    silently(model(panel(time_unit="h")), panel(DATES))
    with pytest.warns(ClockWarning, match="do not begin at 0"):
        model(panel(HOURS + 5.0, time_unit="h")).predict(panel(DATES))


def test_numbers_far_from_all_that_the_model_has_seen_are_named():
    own = model(panel())
    with pytest.warns(ClockWarning, match="at 1e.06 to .* lie far outside .*, 0 to 70"):
        own.predict(panel(HOURS + 1e6))
    silently(own, panel(HOURS + 100.0))  # later than training, as a unit that goes on running is


# -------------------------------------------------------------------------------------------------- units of measure


def test_another_unit_of_measurement_is_refused():
    own = dated()
    with pytest.raises(PredictionError, match="channel 'temp' is in 'degF', in the model's training data in 'degC'"):
        own.predict(panel(DATES, channel_units={"temp": "degF"}))
    with pytest.raises(PredictionError, match="'mPa'"):
        model(panel(channel_units={"temp": "MPa"})).predict(panel(channel_units={"temp": "mPa"}))
    silently(own, panel(DATES))
    silently(own, panel(DATES, channel_units={"temp": " degC"}))
    silently(model(panel(channel_units={"temp": "\u00b5m"})), panel(channel_units={"temp": "\u03bcm"}))


def test_a_warm_start_is_held_to_the_model_s_clock_too():
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1))
    with pytest.raises(PredictionError, match="degF"):
        em.fit(panel(DATES, channel_units={"temp": "degF"}), init=dated())
    with pytest.raises(PredictionError, match="origin='first reading'"):
        em.fit(panel(DATES, origin="zero"), init=dated())
    assert not hasattr(em, "model_")


def test_models_of_earlier_releases_and_drawn_panels_are_not_held_to_a_clock():
    own = dated()
    silently(own, own.sample(5, HOURS, random_state=0))
    training = own.training
    del training[CLOCK]
    old = type(own)(**{**own._arguments(), "training": training})
    silently(old, panel(DATES, origin="zero"))
    silently(old, panel(HOURS * 3600.0))


# -------------------------------------------------------------------------------------------------------------- ages


def worn(n_units, seed, shift=0.0, share=None):
    rng = np.random.default_rng(seed)
    lives = rng.lognormal(np.log(100.0), 0.25, n_units)
    ends = lives if share is None else lives * share
    times = [np.arange(0.0, end, 2.0) for end in ends]
    values = [5 * np.exp((t - life) / 30) * rng.lognormal(0, 0.1) + rng.normal(0, 0.2, t.size)
              for t, life in zip(times, lives, strict=True)]  # fmt: skip
    failed = lives + shift if share is None else None
    return cem.Panel.from_arrays([t + shift for t in times], values, failure_times=failed)


@pytest.fixture(scope="module")
def remaining():
    em = cem.FailureModeEM(1, basis=cem.Exponential([30.0]), time_axis="to_failure", random_state=0)
    return cem.RemainingLife(em.fit(worn(40, 0)).model_)


@pytest.mark.parametrize("shift", [1e6, 473352.0])
def test_clocks_are_not_taken_for_ages(remaining, shift):
    """Hours since 1970 gave remaining lives that were wrong by years, without a word."""
    em = cem.FailureModeEM(1, basis=cem.Exponential([30.0]), time_axis="to_failure", random_state=0)
    with pytest.raises(PanelError, match="times are not ages"):
        em.fit(worn(40, 0, shift))
    running = worn(10, 1, shift, share=0.6)
    with pytest.raises(PanelError, match="times are not ages"):
        remaining.predict(running)
    with pytest.raises(PanelError, match="times are not ages: the first reading of unit 3"):
        remaining.predict(running[3])


def test_a_failure_time_that_stands_for_not_yet_is_refused():
    em = cem.FailureModeEM(1, basis=cem.Exponential([30.0]), time_axis="to_failure", random_state=0)
    panel = worn(40, 0)
    lives = np.where(np.arange(40) < 5, 9999.0, panel.failure_times)
    with pytest.raises(PanelError, match=r"9999.*Give NaN"):
        em.fit(panel.with_failure_times(lives))


def test_units_older_than_any_in_training_are_named_once(remaining):
    limit = 1.5 * remaining.model.training[CLOCK]["longest"]
    times = [np.arange(0.0, 60.0, 2.0), np.linspace(0.0, limit + 1.0, 30), np.linspace(0.0, limit + 2.0, 30)]
    old = cem.Panel.from_arrays(times, [np.full(30, 0.3)] * 3, units=["new", "p", "q"])
    with pytest.warns(
        ClockWarning, match="units 'p', 'q' are older than 1.5 times the longest training life"
    ) as caught:
        law = remaining.predict(old)
    assert len(caught) == 1 and np.isfinite(law.median()).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CemWarning)
        remaining.predict(worn(10, 1, share=0.8))
