"""A file loaded twice, two machines under one id, clocks set back: named, and not taken for more data."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cem import OptionError, Panel, PanelError
from cem.errors import ClockSetBackWarning, RepeatedRowsWarning, SharedIdWarning, TimeScaleWarning


def table(n_units=6, n_times=10, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "unit": np.repeat(np.arange(n_units), n_times),
            "time": np.tile(np.arange(float(n_times)), n_units),
            "x": rng.normal(size=n_units * n_times),
            "y": np.where(rng.random(n_units * n_times) < 0.3, np.nan, 1.5),
        }
    )


def read(frame, **options):
    return Panel.from_frame(frame, unit="unit", time="time", **options)


def quietly(frame, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(frame, **options)


@pytest.mark.parametrize("copies", [2, 3])
def test_a_file_loaded_twice_is_refused_and_read_once_where_that_is_said(copies):
    once = table()
    twice = pd.concat([once] * copies)
    with pytest.raises(PanelError, match=rf"{60 * copies} of {60 * copies} readings occur more than once.*'drop'"):
        read(twice)
    panel, expected = quietly(twice, duplicates="drop"), quietly(once)
    assert panel.n_readings == 60
    np.testing.assert_array_equal(panel.values, expected.values)
    assert quietly(twice, duplicates="keep").n_readings == 60 * copies


def test_half_a_file_twice_is_refused_and_a_few_rows_are_one_warning():
    once = table()
    with pytest.raises(PanelError, match=r"80 of 100 readings"):
        read(pd.concat([once, once[:40]]))
    with pytest.warns(RepeatedRowsWarning, match=r"3 readings repeat another.*unit 0") as caught:
        assert read(pd.concat([once, once[:3]])).n_readings == 63
    assert len(caught) == 1
    assert quietly(pd.concat([once, once[:3]]), duplicates="drop").n_readings == 60


def test_two_machines_under_one_id_are_one_warning():
    one, other = table(), table(seed=1)
    both = pd.concat([one, other[other.unit.isin([2, 4])]])
    with pytest.warns(SharedIdWarning, match=r"units 2, 4 occurs twice") as caught:
        read(both)
    assert len(caught) == 1
    quietly(both, duplicates="keep")


def test_sensors_in_rows_of_their_own_are_not_two_machines():
    frame = table().assign(y=2.5)
    quietly(pd.concat([frame.assign(y=np.nan), frame.assign(x=np.nan)]))


def test_replicates_at_some_times_are_left_in_peace():
    frame = table().assign(y=2.5)
    quietly(pd.concat([frame, frame[frame.time < 3].assign(x=9.0)]))


def test_an_unknown_choice_is_refused():
    with pytest.raises(OptionError, match=r"duplicates='ignore'"):
        read(table(), duplicates="ignore")


def local(start, periods, freq, zone="Europe/Berlin"):
    return pd.date_range(start, periods=periods, freq=freq, tz="UTC").tz_convert(zone).tz_localize(None)


@pytest.mark.parametrize("freq", ["10min", "15min", "30min", "60min", "7min"])
def test_a_clock_that_was_set_back_is_one_warning(freq):
    times = local("2024-10-26 12:00", 200, freq)
    frame = pd.DataFrame({"unit": np.repeat(["a", "b"], 200), "time": [*times, *times], "x": np.arange(400.0)})
    with pytest.warns(ClockSetBackWarning, match=r"units 'a', 'b' go back by an hour") as caught:
        read(frame)
    assert len(caught) == 1
    split = [times.to_numpy()] * 2
    with pytest.warns(ClockSetBackWarning, match=r"units 0, 1"):
        Panel.from_arrays(split, [np.arange(200.0)] * 2)


def test_times_with_zone_in_any_order_or_a_little_out_of_order_are_left_in_peace():
    times = pd.date_range("2024-10-26 12:00", periods=200, freq="15min", tz="Europe/Berlin")
    frame = pd.DataFrame({"unit": "a", "time": times, "x": np.arange(200.0)})
    quietly(frame)
    naive = frame.assign(time=pd.date_range("2024-10-26 12:00", periods=200, freq="15min"))
    quietly(naive.sample(frac=1.0, random_state=0))
    late = naive.time.to_numpy().copy()
    late[50:52] = late[[51, 50]]
    late[90] -= np.timedelta64(20, "s")
    quietly(naive.assign(time=late, x=np.arange(200.0)))
    quietly(naive.iloc[::-1])


def test_some_units_in_milliseconds_are_one_warning():
    times = np.tile(np.arange(12.0), (20, 1))
    times[[3, 7]] *= 1000
    values = np.random.default_rng(0).normal(size=(20, 12))
    with pytest.warns(TimeScaleWarning, match=r"units 3, 7 are 1000 apart, those of most units 1"):
        Panel.from_arrays(times, values)
    times[[3, 7]] /= 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Panel.from_arrays(times, values)
