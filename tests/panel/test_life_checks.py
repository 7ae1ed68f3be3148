"""On the time to failure a clock is no age, and 9999 is no failure: refused before a law of lifetimes is learned."""

import re

import numpy as np
import pytest

import cem
from cem import Panel, PanelError
from cem.panel.life_checks import check_ages, check_failure_codes, check_lives


def fleet(n_units=30, seed=0, shift=0.0, watched=1.0):
    rng = np.random.default_rng(seed)
    lives = np.exp(rng.normal(np.log(100), 0.25, n_units))
    times = [np.arange(max(0.0, life * (1 - watched)), life, 2.0) for life in lives]
    return [t + shift for t in times], [np.sin(t) + rng.normal(size=t.size) for t in times], lives + shift


@pytest.mark.parametrize(
    ("code", "count"), [(9999.0, 5), (9999.0, 1), (99999.0, 3), (1e6, 2), (1e6, 25), (4000.0, 2), (999.0, 30)]
)
def test_a_failure_time_that_means_not_yet_is_refused(code, count):
    times, values, failed = fleet()
    failed[:count] = code
    panel = Panel.from_arrays(times, values, failure_times=failed)
    with pytest.raises(
        PanelError, match=rf"failure time of unit 0 is {re.escape(format(code, 'g'))}.*'has not failed'.*NaN"
    ):
        check_failure_codes(panel)
    em = cem.FailureModeEM(1, basis=cem.Exponential([30]), time_axis="to_failure", n_init=1)
    with pytest.raises(PanelError, match=r"has not failed"):
        em.fit(panel)


@pytest.mark.parametrize("code", [-1.0, 0.0])
def test_failure_times_of_0_and_minus_1_are_refused_by_the_panel(code):
    times, values, failed = fleet()
    failed[3] = code
    with pytest.raises(PanelError, match=r"NaN for a unit that is still running"):
        Panel.from_arrays(times, values, failure_times=failed)


@pytest.mark.parametrize("shift", [1e6, 473352.0, 1.7e9, 19723.0])
def test_an_absolute_clock_is_no_age(shift):
    times, values, failed = fleet(shift=shift)
    panel = Panel.from_arrays(times, values, failure_times=failed)
    with pytest.raises(PanelError, match=r"times are not ages.*origin='first reading'"):
        check_ages(panel)


def test_calendars_of_a_fleet_that_was_renewed_over_decades_are_no_ages():
    times, values, failed = fleet()
    starts = np.linspace(250_000, 480_000, len(times))
    panel = Panel.from_arrays(
        [t + s for t, s in zip(times, starts, strict=True)], values, failure_times=failed + starts
    )
    with pytest.raises(PanelError, match=r"not ages"):
        check_lives(panel)


def test_dates_are_ages_from_the_first_reading_and_not_from_an_epoch():
    times, values, failed = fleet()
    start = np.datetime64("2020-01-01", "s")
    dates = [start + (t * 3600).astype("m8[s]") for t in times]
    failures = start + (failed * 3600 + 1).astype("m8[s]")
    check_lives(Panel.from_arrays(dates, values, failure_times=failures))
    with pytest.raises(PanelError, match=r"not ages"):
        check_lives(Panel.from_arrays(dates, values, failure_times=failures, origin="zero"))


@pytest.mark.parametrize("watched", [1.0, 0.3, 0.05])
def test_honest_lives_pass_also_where_units_were_watched_late(watched):
    times, values, failed = fleet(watched=watched)
    check_lives(Panel.from_arrays(times, values, failure_times=failed))


def test_replacements_at_a_fixed_age_and_single_long_lives_pass():
    times, values, failed = fleet()
    check_lives(Panel.from_arrays(times, values, failure_times=np.maximum(failed, 250.0)))
    failed[4] = 700.0
    check_lives(Panel.from_arrays(times, values, failure_times=failed))
    check_lives(Panel.from_arrays(times, values))


def test_the_demo_fleet_passes():
    check_lives(cem.datasets.load_demo_fleet())
