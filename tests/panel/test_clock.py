"""Differences of dates: right at any distance and in any unit, or refused; never a wrapped 64-bit integer."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from cem import Panel, PanelError

NS = np.array(["2024-01-01T00", "2024-01-01T01:30"], "M8[ns]")
X = np.array([[1.0], [2.0]])


def hours(times, **options):
    return Panel.from_arrays([times], [X], **options)


@pytest.mark.parametrize("origin", ["1601-01-01", "0001-01-01", "1700-01-01", "1899-12-30", "1970-01-01", "9000-01-01"])
@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s", "m"])
def test_origins_far_away_are_counted_right_in_every_unit(origin, unit):
    expected = (datetime.datetime(2024, 1, 1) - datetime.datetime.fromisoformat(origin)).total_seconds() / 3600
    np.testing.assert_allclose(
        hours(NS.astype(f"M8[{unit}]"), origin=origin).times, [expected, expected + 1.5], rtol=1e-15
    )


def test_near_differences_keep_their_nanoseconds():
    times = NS[:1] + np.array([0, 7]).astype("m8[ns]")
    assert hours(times, time_unit="ns").times.tolist() == [0.0, 7.0]


def test_years_and_months_are_dates():
    months = np.array(["2024-01", "2024-03"], "M8[M]")
    assert hours(months, time_unit="d").times.tolist() == [0.0, 60.0]
    assert hours(months.astype("M8[Y]") + np.array([0, 1]), time_unit="d").times.tolist() == [0.0, 366.0]
    with pytest.raises(PanelError, match=r"months, which have no fixed length"):
        hours(np.array([1, 2], "m8[M]"))


def test_days_counted_in_nanoseconds_do_not_wrap():
    days = np.array(["1000-01-01", "2024-01-01"], "M8[D]")
    expected = float((days[1] - days[0]).astype(int)) * 86400e9
    assert hours(days, time_unit="ns").times[1] == pytest.approx(expected, rel=1e-15)
    durations = np.array([0, 200_000], "m8[D]")
    assert hours(durations, time_unit="ns").times[1] == pytest.approx(200_000 * 86400e9, rel=1e-15)


def test_dates_that_no_clock_can_tell_apart_are_refused():
    with pytest.raises(PanelError, match=r"hundreds of thousands of years"):
        hours(np.array(["-300000-01-01", "300000-01-01"], "M8[D]"), time_unit="ns")


@pytest.mark.parametrize("far", ["9999-12-31", "2999-12-31", "2262-04-11"])
@pytest.mark.parametrize("unit", ["us", "s", "D"])
def test_a_failure_at_the_end_of_time_is_refused_as_not_yet(far, unit):
    with pytest.raises(PanelError, match=r"more than a century after its last reading.*NaT"):
        hours(NS, failure_times=np.array([far], f"M8[{unit}]"))
    frame = pd.DataFrame({"u": [1, 1], "t": NS, "x": [1.0, 2.0], "f": np.array([far] * 2, "M8[us]")})
    for kind in (frame, pl.from_pandas(frame)):
        with pytest.raises(PanelError, match=r"century"):
            Panel.from_frame(kind, unit="u", time="t", failure_time="f", channels=["x"])


def test_objects_of_pandas_beyond_nanoseconds_are_kept():
    times = [pd.Timestamp("2024-01-01"), datetime.datetime(2024, 1, 1, 2), pd.Timestamp("9000-01-01")]
    panel = Panel.from_arrays([times], [np.ones(3)])
    assert panel.times[1] == 2.0
    assert panel.times[2] == (datetime.datetime(9000, 1, 1) - datetime.datetime(2024, 1, 1)).total_seconds() / 3600


def test_dicts_and_sets_have_no_order_of_times():
    for times in ({0.0: 1.0}, {0.0, 1.0}):
        with pytest.raises(PanelError, match=r"times"):
            Panel.from_arrays([times], [[1.0]])


@pytest.mark.parametrize("ids", [[2**63 + 5, 2**64 - 1], [3, 2**64 - 1], [3, 5]])
def test_unsigned_ids_of_64_bits_keep_their_value(ids):
    wide = np.array(ids, dtype=np.uint64)
    assert Panel(wide, [0, 1, 2], [0, 0], [[1.0], [2.0]], ["x"]).units == tuple(ids)
    frame = pd.DataFrame({"u": np.repeat(wide, 2), "t": [0, 1, 0, 1], "x": [1.0, 2, 3, 4]})
    for kind in (frame, frame.astype({"u": "UInt64"}), pl.from_pandas(frame)):
        assert Panel.from_frame(kind, unit="u", time="t").units == tuple(ids)
