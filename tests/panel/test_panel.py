"""The panel: what it takes, what it gives back, and what it refuses."""

from __future__ import annotations

import copy
import datetime
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.errors import CemError, OptionError, PanelError
from cem.errors.names import encode_labels
from cem.panel.clock import tick_of
from cem.panel.panel import Panel

NAN = np.nan


def fleet(**options):
    """Three units, two channels: unsorted and repeated times, missing cells, a channel missing on a whole unit."""
    times = [[2.0, 0.0, 1.0, 1.0], [5.0], [0.0, 3.0]]
    values = [
        [[3.0, 30.0], [1.0, NAN], [2.0, 20.0], [2.5, 25.0]],
        [[7.0, NAN]],
        [[NAN, 1.0], [8.0, 2.0]],
    ]
    defaults = {
        "units": ["a", ("b", 2), 3],
        "channels": ["temperature", "pressure"],
        "modes": ["fan", None, "hpc"],
        "failure_times": [4.0, None, NAN],
        "channel_units": {"temperature": "K"},
    }
    return Panel.from_arrays(times, values, **{**defaults, **options})


def same(one: Panel, two: Panel) -> None:
    for name in ("units", "channels", "response", "modes", "mode_labels", "time_unit", "origin", "channel_units"):
        assert getattr(one, name) == getattr(two, name), name
    for name in ("offsets", "times", "values", "mode_codes", "failure_times"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_readings_are_sorted_by_time_within_each_unit_and_ties_keep_their_order():
    panel = fleet()
    assert panel.offsets.tolist() == [0, 4, 5, 7]
    assert panel.times.tolist() == [0.0, 1.0, 1.0, 2.0, 5.0, 0.0, 3.0]
    assert panel.values[:4, 0].tolist() == [1.0, 2.0, 2.5, 3.0]
    assert panel.values.flags.c_contiguous and panel.values.dtype == np.float64


def test_units_modes_failures_and_counts_are_kept_unit_by_unit():
    panel = fleet(response="pressure")
    assert (len(panel), panel.n_units, panel.n_channels, panel.n_readings) == (3, 3, 2, 7)
    assert panel.units == ("a", ("b", 2), 3)
    assert panel.modes == ("fan", None, "hpc")
    assert panel.mode_labels == ("fan", "hpc") and panel.mode_codes.tolist() == [0, -1, 1]
    np.testing.assert_array_equal(panel.failure_times, [4.0, NAN, NAN])
    assert panel.counts.tolist() == [[4, 3], [1, 0], [1, 2]]
    assert panel.response == "pressure" and panel.channel_units == {"temperature": "K"}


def test_labels_of_every_kind_and_the_three_unknowns():
    codes, labels = encode_labels(["b", None, "a", float("nan"), -1, 2, 2.0, np.int64(2), np.str_("a")])
    assert labels == (2, "a", "b") and codes.tolist() == [2, -1, 1, -1, -1, 0, 0, 0, 1]
    codes, labels = encode_labels(np.array([3.0, NAN, -1.0, 1.5]))
    assert labels == (1.5, 3) and codes.tolist() == [1, -1, -1, 0]
    assert encode_labels([None, -1])[1] == ()


def test_readings_without_any_observed_cell_are_left_out_so_padded_arrays_work():
    values = np.arange(12.0).reshape(2, 3, 2)
    values[0, 2] = NAN
    values[1, 1, 0] = NAN
    panel = Panel.from_arrays([[0.0, 1.0, NAN], [0.0, 5.0, 9.0]], values)
    assert panel.offsets.tolist() == [0, 2, 5] and panel.times.tolist() == [0.0, 1.0, 0.0, 5.0, 9.0]
    assert panel.channels == ("x1", "x2") and panel.units == (0, 1)


@pytest.mark.parametrize(
    "times", [None, [0, 1, 2], np.arange(3), np.tile(np.arange(3.0), (2, 1)), [[0, 1, 2], [0, 1, 2]]]
)
@pytest.mark.parametrize("n_channels", [0, 1, 2])
def test_rectangular_arrays_take_one_time_axis_or_one_per_unit(times, n_channels):
    values = np.arange(6.0 * max(n_channels, 1)).reshape((2, 3, n_channels) if n_channels else (2, 3))
    panel = Panel.from_arrays(times, values)
    assert panel.times.tolist() == [0.0, 1.0, 2.0] * 2
    np.testing.assert_array_equal(panel.values.ravel(), values.ravel())
    same(panel, Panel.from_arrays(times, values.tolist()))


def test_arrays_of_the_caller_are_neither_changed_nor_frozen_nor_shared():
    times, values = np.array([[2.0, 1.0]]), np.array([[5.0, 6.0]])
    panel = Panel.from_arrays(times, values)
    values[0, 0] = 99.0
    assert panel.values.ravel().tolist() == [6.0, 5.0] and times.tolist() == [[2.0, 1.0]]
    with pytest.raises(ValueError, match="read-only"):
        panel.values[0, 0] = 1.0
    with pytest.raises(AttributeError, match="not changed"):
        panel.times = times


def test_masked_integer_and_none_cells():
    masked = np.ma.MaskedArray([[1, 2, 3]], mask=[[False, True, False]])
    assert Panel.from_arrays(None, masked).times.tolist() == [0.0, 2.0]
    assert Panel.from_arrays([[0, 1]], [[None, 4]]).values.tolist() == [[4.0]]


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_panel_travels_to_other_processes_and_stays_read_only(make):
    panel = fleet()
    other = pickle.loads(make(panel)) if make is pickle.dumps else make(panel)
    same(panel, other)
    assert not other.values.flags.writeable


def test_values_may_be_a_memory_map(tmp_path):
    file = tmp_path / "values.npy"
    np.save(file, np.arange(6.0).reshape(6, 1))
    mapped = np.load(file, mmap_mode="r")
    panel = Panel([1, 2], [0, 4, 6], np.arange(6.0), mapped, ["x"])
    assert np.shares_memory(panel.values, mapped)


# -- clocks -----------------------------------------------------------------------------------------------------

HOURS = [datetime.datetime(2024, 5, 1, hour) for hour in (6, 0, 12)]


def datetimes_of_every_kind():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    aware = [moment.replace(tzinfo=datetime.UTC).astimezone(datetime.timezone(datetime.timedelta(hours=3)))
             for moment in HOURS]  # fmt: skip
    return {
        "python": HOURS,
        "aware": aware,
        "numpy": np.array(HOURS, dtype="datetime64[s]"),
        "strings": [moment.isoformat(" ") for moment in HOURS],
        "pandas": pandas.Series(HOURS),
        "timestamps": [pandas.Timestamp(moment) for moment in HOURS],
        "index": pandas.DatetimeIndex(HOURS),
        "polars": polars.Series(HOURS),
    }


@pytest.mark.parametrize("kind", ["python", "aware", "numpy", "strings", "pandas", "timestamps", "index", "polars"])
def test_datetimes_are_counted_from_the_first_reading_in_hours(kind):
    panel = Panel.from_arrays([datetimes_of_every_kind()[kind]], [[1.0, 2.0, 3.0]], failure_times=[HOURS[2]])
    assert panel.times.tolist() == [0.0, 6.0, 12.0] and panel.values.ravel().tolist() == [2.0, 1.0, 3.0]
    assert panel.failure_times.tolist() == [12.0]
    assert (panel.time_unit, panel.origin) == ("h", "first reading")


@pytest.mark.parametrize(
    ("unit", "per_hour"), [("s", 3600), ("minutes", 60), ("h", 1), ("Days", 1 / 24), ("w", 1 / 168), ("ns", 3.6e12)]
)
def test_time_units_of_datetimes(unit, per_hour):
    panel = Panel.from_arrays([HOURS], [[1.0, 2.0, 3.0]], time_unit=unit)
    np.testing.assert_allclose(panel.times, np.array([0.0, 6.0, 12.0]) * per_hour, rtol=1e-15)
    assert panel.time_unit == tick_of(unit)[0]


def test_origins():
    values = [[1.0, 2.0, 3.0]]
    midnight = Panel.from_arrays([HOURS], values, origin="2024-04-30")
    assert midnight.times.tolist() == [24.0, 30.0, 36.0] and midnight.origin == np.datetime64("2024-04-30")
    epoch = Panel.from_arrays([HOURS], values, origin="zero", time_unit="d")
    assert epoch.times[0] == (np.datetime64("2024-05-01") - np.datetime64("1970-01-01")).astype(int)
    numbers = Panel.from_arrays([[7.0, 5.0, 6.0], [1.0, 2.0, 3.0]], values * 2, origin="first reading",
                                failure_times=[9.0, None])  # fmt: skip
    assert numbers.times.tolist() == [0.0, 1.0, 2.0] * 2 and numbers.failure_times[0] == 4.0
    assert Panel.from_arrays([[7.0, 5.0, 6.0]], values, origin=5).times.tolist() == [0.0, 1.0, 2.0]
    assert Panel.from_arrays([[7.0, 5.0, 6.0]], values).times.tolist() == [5.0, 6.0, 7.0]


def test_the_first_reading_is_the_first_with_an_observation():
    panel = Panel.from_arrays([HOURS], [[1.0, NAN, 3.0]])
    assert panel.times.tolist() == [0.0, 6.0]


def test_durations():
    spans = [np.array([30, 90], dtype="timedelta64[m]")]
    assert Panel.from_arrays(spans, [[1.0, 2.0]]).times.tolist() == [0.5, 1.5]
    assert Panel.from_arrays([[datetime.timedelta(days=1)]], [[1.0]], time_unit="d").times.tolist() == [1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_unit": "months"}, "months"),
        ({"origin": "first"}, "origin='first'"),
        ({"origin": 3.0}, "timestamp"),
    ],
)
def test_clock_options_that_cannot_be(options, message):
    with pytest.raises(OptionError, match=message):
        Panel.from_arrays([HOURS], [[1.0, 2.0, 3.0]], **options)


def test_failure_times_on_another_clock_are_refused():
    with pytest.raises(PanelError, match="one clock"):
        Panel.from_arrays([HOURS], [[1.0, 2.0, 3.0]], failure_times=[20.0])


# -- parts and derived panels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "units"),
    [
        (0, ("a",)),
        (-1, (3,)),
        (slice(0, 2), ("a", ("b", 2))),
        (slice(None, None, -1), (3, ("b", 2), "a")),
        ([2, 0], (3, "a")),
        (np.array([True, False, True]), ("a", 3)),
    ],
)
def test_units_are_chosen_by_position(which, units):
    panel = fleet()
    part = panel[which]
    assert part.units == units
    for unit in units:
        l, m = panel.units.index(unit), part.units.index(unit)
        rows, part_rows = slice(*panel.offsets[l : l + 2]), slice(*part.offsets[m : m + 2])
        np.testing.assert_array_equal(part.values[part_rows], panel.values[rows])
        np.testing.assert_array_equal(part.times[part_rows], panel.times[rows])
        assert part.modes[m] == panel.modes[l]
    assert set(part.mode_labels) == {mode for mode in part.modes if mode is not None}


def test_neighbouring_units_share_the_memory_of_the_panel():
    panel = fleet()
    assert np.shares_memory(panel[1:].values, panel.values)


@pytest.mark.parametrize("which", [3, -4, [], slice(5, 9), [True], [0.5], "a", [0, 0]])
def test_units_that_are_not_there_are_refused(which):
    with pytest.raises(PanelError):
        fleet()[which]
    if which == 3:
        with pytest.raises(IndexError):
            fleet()[which]


def test_iteration_gives_panels_of_one_unit():
    assert [part.units for part in fleet()] == [("a",), (("b", 2),), (3,)]


def test_units_by_id():
    assert fleet().select_units([3, "a"]).units == (3, "a")
    with pytest.raises(PanelError, match="no unit 'c'"):
        fleet().select_units(["c"])


def test_channels_by_name_drop_readings_that_only_others_had():
    panel = fleet(response="pressure")[[0, 2]]
    part = panel.select_channels(["pressure"])
    assert part.response == "pressure" and part.offsets.tolist() == [0, 3, 5] and part.channel_units == {}
    assert panel.select_channels(["temperature"]).response is None
    with pytest.raises(PanelError, match="did you mean 'pressure'"):
        panel.select_channels(["presure"])
    with pytest.raises(PanelError, match=r"unit \('b', 2\) has no observation of the channels 'pressure'"):
        fleet().select_channels(["pressure"])


def test_concatenate_restores_what_was_cut_apart():
    panel = fleet()
    same(Panel.concatenate([panel[:1], panel[1:]]), panel)
    numbered = fleet(units=[5, 6, 7])
    same(Panel.concatenate([numbered[[0, 1]], numbered[2]]), numbered)


def test_concatenate_refuses_what_does_not_belong_together():
    panel = fleet()
    with pytest.raises(PanelError, match="unit 'a' occurs twice"):
        Panel.concatenate([panel, panel])
    with pytest.raises(PanelError, match="lacks 'pressure'"):
        Panel.concatenate([panel, panel[[0, 2]].select_channels(["temperature"])])
    with pytest.raises(PanelError, match="another order"):
        Panel.concatenate([panel, panel.select_channels(["pressure", "temperature"])])
    with pytest.raises(PanelError, match="response"):
        Panel.concatenate([panel, fleet(response="pressure", units=[7, 8, 9])])
    with pytest.raises(PanelError, match="time_unit"):
        Panel.concatenate([panel, fleet(time_unit="h", units=[7, 8, 9])])
    with pytest.raises(PanelError, match="'K' in panel 0 and in 'C'"):
        Panel.concatenate([panel, fleet(channel_units={"temperature": "C"}, units=[7, 8, 9])])
    with pytest.raises(PanelError, match="at least one"):
        Panel.concatenate([])


def test_until_shows_no_later_reading_and_no_later_failure():
    panel = fleet()
    part = panel.until([1.0, np.inf, 0.0])
    assert part.times.tolist() == [0.0, 1.0, 1.0, 5.0, 0.0] and part.offsets.tolist() == [0, 3, 4, 5]
    assert np.isnan(part.failure_times[0])
    assert panel.until(np.inf).failure_times[0] == 4.0
    with pytest.raises(PanelError, match=r"unit \('b', 2\) has no reading up to 4"):
        panel.until(4.0)
    with pytest.raises(PanelError, match="one per unit"):
        panel.until([1.0, 2.0])
    with pytest.raises(PanelError, match="no reading up to nan"):
        panel.until(NAN)


def test_alignment_at_failure():
    part = fleet()[0].aligned_at_failure()
    assert part.times.tolist() == [-4.0, -3.0, -3.0, -2.0] and part.failure_times.tolist() == [0.0]
    assert part.origin == "failure"
    same(Panel.from_arrays(**part.to_arrays()), part)
    with pytest.raises(PanelError, match=r"unit \('b', 2\) has no failure time"):
        fleet().aligned_at_failure()


def test_modes_and_failure_times_from_another_table():
    panel = fleet().with_modes({3: "x"}).with_failure_times({"a": 9.0})
    assert panel.modes == (None, None, "x") and panel.failure_times[0] == 9.0
    assert panel.with_modes(None).mode_labels == ()
    with pytest.raises(PanelError, match="modes names unit 'zz'"):
        panel.with_modes({"zz": 1})
    with pytest.raises(PanelError, match="failure time of unit 'a'"):
        panel.with_failure_times({"a": 1.0})


@pytest.mark.parametrize("options", [{}, {"origin": "first reading"}, {"origin": 1.0}, {"origin": "2024-01-01"}])
def test_to_arrays_is_the_way_back(options):
    panel = fleet(**options)
    again = Panel.from_arrays(**panel.to_arrays())
    np.testing.assert_array_equal(again.times, panel.times)
    np.testing.assert_array_equal(again.failure_times, panel.failure_times)
    if options != {"origin": 1.0}:  # a number has been taken off and is not again
        same(again, panel)


def test_repr_says_what_there_is():
    text = repr(fleet(response="pressure", time_unit="h"))
    for part in ("3 units", "7 readings", "2 channels", "temperature [K]", "response pressure", " h,", "'fan' 1"):
        assert part in text
    assert "failed           1 of 3" in text and "21.4 %" in text


# -- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "values", "options", "message"),
    [
        ([], [], {}, "empty"),
        (None, np.empty((0, 3)), {}, "empty"),
        (None, np.empty((3, 0)), {}, "empty"),
        ([[0.0], []], [[1.0], []], {"units": ["a", "b"]}, "unit 'b' has no observation"),
        ([[0.0], [0.0]], [[1.0], [NAN]], {"units": ["a", "b"]}, "unit 'b' has no observation"),
        ([[0.0]], [[[1.0, NAN]]], {"channels": ["s1", "s2"]}, "channel 's2' has no observation on any unit"),
        ([[0.0, 1.0], [4.0, 12.0]], [[1.0, 2.0], [1.0, np.inf]], {"channels": ["s7"], "units": [1, 17]},
         r"channel 's7' of unit 17 is infinite at row 1 \(time 12.0\); remove"),
        ([[0.0, NAN]], [[1.0, 2.0]], {"units": ["a"]}, "time of unit 'a' at row 1 is missing"),
        ([[0.0, np.inf]], [[1.0, 2.0]], {}, "time of unit 0 at row 1 is infinite"),
        ([[0.0, None]], [[1.0, 2.0]], {}, "row 1 is missing"),
        ([[0.0]], [["high"]], {}, "must be numbers"),
        ([[0.0]], [[1j]], {}, "must be numbers"),
        ([[0.0]], [[1.0, 2.0]], {}, "unit 0 has 2 readings but times"),
        ([[0.0], [0.0]], [[[1.0, 2.0]], [[1.0]]], {}, "unit 1 has 1 channels"),
        ([[0.0]], [[1.0], [2.0]], {}, "one array per unit; found 1 and 2"),
        ([0.0, 1.0], np.ones((2, 3)), {}, "to fit values of shape"),
        ([[0.0]], [[[1.0, 2.0]]], {"channels": ["s1", "s1"]}, "'s1' is given twice"),
        ([[0.0]], [[1.0]], {"channels": "s1"}, "list of names"),
        ([[0.0]], [[1.0]], {"channels": [1]}, "must be strings"),
        ([[0.0]], [[1.0]], {"channels": ["s1", "s2"]}, "one column per channel"),
        ([[0.0]], [[1.0]], {"channels": ["load"], "response": "laod"}, "did you mean 'load'"),
        ([[0.0]], [[1.0]], {"channels": ["load"], "channel_units": {"laod": "N"}}, "did you mean 'load'"),
        ([[0.0]] * 2, [[1.0]] * 2, {"units": ["a", "a"]}, "unit 'a' occurs twice"),
        ([[0.0]] * 2, [[1.0]] * 2, {"units": [4, 4]}, "unit 4 occurs twice"),
        ([[0.0]], [[1.0]], {"units": [[1]]}, "cannot be hashed"),
        ([[0.0]], [[1.0]], {"units": [None]}, "has no id"),
        ([[0.0]], [[1.0]], {"units": [1, 2]}, "one id per unit, 1"),
        ([[0.0]], [[1.0]], {"modes": ["a", "b"]}, "one label per unit"),
        ([[0.0]], [[1.0]], {"modes": [["a"]]}, "hashable"),
        ([[0.0]], [[1.0]], {"failure_times": [1.0, 2.0]}, "one time per unit"),
        ([[0.0, 5.0]], [[1.0, 1.0]], {"units": ["a"], "failure_times": [4.0]},
         "failure time of unit 'a' is 4, but its last reading is at 5"),
        ([[0.0, "x"]], [[1.0, 1.0]], {}, "numbers, datetimes or durations"),
        ([HOURS[:1], [0.0]], [[1.0], [1.0]], {}, "one clock"),
        ([[HOURS[0], 5.0]], [[1.0, 1.0]], {}, "item 1 is 5.0"),
    ],
)  # fmt: skip
def test_bad_input_is_named(times, values, options, message):
    with pytest.raises(PanelError, match=message) as caught:
        Panel.from_arrays(times, values, **options)
    assert isinstance(caught.value, CemError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("offsets", "message"), [([0, 3], r"shape \(3,\)"), ([0, 2, 2], "rise"), ([0, 3, 2], "rise"), ([1, 2, 3], "rise")]
)
def test_offsets_that_do_not_fit(offsets, message):
    with pytest.raises(PanelError, match=message):
        Panel(["a", "b"], offsets, [0.0, 1.0, 2.0], np.ones((3, 1)), ["x"])


def test_empty_channels_are_taken_for_scoring():
    panel = Panel.from_arrays([[0.0]], [[[1.0, NAN]]], allow_empty_channels=True)
    assert panel.counts.tolist() == [[1, 0]]


def test_slices_may_lack_a_channel():
    assert fleet()[1].counts.tolist() == [[1, 0]]


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_extreme_values_are_kept_exactly(scale):
    values = np.array([[1.0, 2.0, 3.0]]) * scale
    assert Panel.from_arrays(None, values).values.ravel().tolist() == values.ravel().tolist()


@pytest.mark.slow
@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.data())
def test_every_observed_cell_is_kept_once_and_nothing_else(data):
    """Random ragged fleets: per unit the multiset of (time, channel, value) survives construction, slicing, joining."""
    n_channels = data.draw(st.integers(1, 3))
    cell = st.one_of(st.none(), st.integers(-5, 5).map(float))
    row = st.tuples(st.integers(0, 4), st.lists(cell, min_size=n_channels, max_size=n_channels))
    rows_of_units = data.draw(st.lists(st.lists(row, min_size=1, max_size=6), min_size=1, max_size=5))

    def cells(rows):
        return sorted((t, c, x) for t, row in rows for c, x in enumerate(row) if x is not None)

    expected = [cells(rows) for rows in rows_of_units]
    make = lambda rows: Panel.from_arrays(  # noqa: E731
        [[float(t) for t, _ in unit] for unit in rows],
        [[r for _, r in unit] for unit in rows],
        allow_empty_channels=True,
        duplicates="keep",
    )
    if not all(expected):
        with pytest.raises(PanelError, match="no observation"):
            make(rows_of_units)
        return
    panel = make(rows_of_units)
    which = data.draw(st.permutations(range(len(panel))))
    for subject, order in ((panel, range(len(panel))), (panel[list(which)], which)):
        for l, origin in enumerate(order):
            rows = slice(*subject.offsets[l : l + 2])
            times, values = subject.times[rows], subject.values[rows]
            assert np.all(np.diff(times) >= 0)
            found = [(t, c, x) for t, r in zip(times, values, strict=True) for c, x in enumerate(r) if not np.isnan(x)]
            assert sorted(found) == expected[origin]
            assert subject.counts[l].sum() == len(found)
    same(Panel.concatenate(list(panel)), panel)


def test_a_unit_without_any_row_is_not_told_to_pass_what_was_passed():
    times, values = [np.arange(3.0), np.empty(0)], [np.ones((3, 1)), np.empty((0, 1))]
    with pytest.raises(PanelError, match="unit 'b' has no reading, not even the time of one"):
        Panel.from_arrays(times, values, ["a", "b"], allow_empty_units=True)
    with pytest.raises(PanelError, match=r"unit 'b' has no observation.*allow_empty_units"):
        Panel.from_arrays(times, values, ["a", "b"])
