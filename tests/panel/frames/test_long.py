"""Long tables of every backend give the same panel, and tell what is wrong with them."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from cem.errors import ColumnsLeftOutWarning, MissingPackageError, OptionError, PanelError, TimeScaleWarning
from cem.panel.frames import channels as frame_channels
from cem.panel.frames.long import group_rows
from cem.panel.panel import Panel

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("narwhals")


def converted(columns, **options):
    with np.errstate(invalid="ignore"):  # pandas before 3 compares infinities with integers
        return pd.DataFrame(columns).convert_dtypes(**options)


BACKENDS = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "pandas-nullable": lambda columns: converted(columns),
    "pandas-arrow": lambda columns: converted(columns, dtype_backend="pyarrow"),
    "polars": lambda columns: pl.DataFrame(columns, strict=False),
    "pyarrow": lambda columns: pa.table(columns),
}


@pytest.fixture(params=BACKENDS)
def make(request):
    return BACKENDS[request.param]


def columns(**changes):
    """Rows of three units, interleaved, out of order in time, with a gap."""
    table = {
        "unit": ["b", "a", "b", "c", "a", "b"],
        "cycle": [3, 2, 1, 7, 1, 1],
        "s2": [1.5, 2.0, 3.0, 4.0, None, 6.0],
        "s3": [10, 20, 30, 40, 50, 60],
        "y": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        "mode": ["fan", None, "fan", "hpc", None, "fan"],
        "end": [9.0, None, 9.0, 8.0, None, 9.0],
        "note": ["x", "y", "z", "x", "y", "z"],
    }
    table.update(changes)
    return {name: values for name, values in table.items() if values is not None}


def read(frame, **options):
    defaults = {"unit": "unit", "time": "cycle", "channels": ["s2", "s3"], "response": "y", "mode": "mode"}
    return Panel.from_frame(frame, **{**defaults, "failure_time": "end", **options})


def test_units_come_in_order_of_appearance_and_rows_in_order_of_time(make):
    panel = read(make(columns()))
    assert panel.units == ("b", "a", "c") and panel.channels == ("s2", "s3", "y") and panel.response == "y"
    assert panel.offsets.tolist() == [0, 3, 5, 6] and panel.times.tolist() == [1.0, 1.0, 3.0, 1.0, 2.0, 7.0]
    np.testing.assert_array_equal(panel.values[:, 0], [3.0, 6.0, 1.5, np.nan, 2.0, 4.0])
    np.testing.assert_array_equal(panel.values[:, 1], [30, 60, 10, 50, 20, 40])
    assert panel.modes == ("fan", None, "hpc")
    np.testing.assert_array_equal(panel.failure_times, [9.0, np.nan, 8.0])


def test_integer_units_and_numeric_labels(make):
    table = columns(unit=[7, 5, 7, 9, 5, 7], mode=[1.0, None, 1.0, -1.0, None, None])
    panel = read(make(table))
    assert panel.units == (7, 5, 9) and panel.modes == (1, None, None)


def test_channels_default_to_the_numeric_columns_that_have_no_other_part(make):
    assert read(make(columns()), channels=None).channels == ("s2", "s3", "y")
    assert read(make(columns()), channels=None, response=None).channels == ("s2", "s3", "y")


def test_a_response_listed_among_the_channels_keeps_its_place(make):
    assert read(make(columns()), channels=["y", "s2"]).channels == ("y", "s2")


def test_datetimes_zones_and_failure_dates(make):
    stamps = np.datetime64("2024-03-30T12:00", "us") + np.array([30, 20, 0, 70, 10, 1]) * np.timedelta64(1, "h")
    ends = [stamps[0], None, stamps[0], None, None, stamps[0]]
    ends = [None if end is None else end.item() for end in ends]
    plain = read(make(columns(cycle=stamps.astype(object).tolist(), end=ends)), time_unit="h")
    assert plain.times.tolist() == [0.0, 1.0, 30.0, 0.0, 10.0, 0.0]
    np.testing.assert_array_equal(plain.failure_times, [30.0, np.nan, np.nan])
    text = read(make(columns(cycle=[str(stamp) for stamp in stamps], end=None)), failure_time=None)
    np.testing.assert_array_equal(text.times, plain.times)


def test_hours_are_real_hours_across_the_change_of_summer_time():
    stamps = pd.date_range("2024-03-30 12:00", periods=3, freq="12h", tz="UTC").tz_convert("Europe/Berlin")
    for frame in (pd.DataFrame({"unit": 1, "t": stamps, "x": [1.0, 2.0, 3.0]}),):
        for table in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
            assert Panel.from_frame(table, unit="unit", time="t").times.tolist() == [0.0, 12.0, 24.0]


def test_categorical_and_boolean_columns():
    frame = pd.DataFrame(columns()).astype({"unit": "category", "mode": "category"})
    for table in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        panel = read(table)
        assert panel.units == ("b", "a", "c") and panel.modes == ("fan", None, "hpc")
    flags = BACKENDS["polars"](columns(mode=[True, None, True, False, None, True]))
    assert read(flags).modes == (True, None, False)


def test_object_columns_of_numbers_and_tuples_as_units():
    frame = pd.DataFrame(columns())
    frame["s3"] = pd.Series([1, 2.5, None, 4, 5, 6], dtype=object)
    frame["unit"] = [("plant", unit) for unit in frame["unit"]]
    panel = read(frame)
    assert panel.units[0] == ("plant", "b") and panel.values[0, 1] != panel.values[0, 1]


def test_the_frame_is_left_as_it_was():
    frame = pd.DataFrame(columns()).sort_values(["unit", "cycle"], ignore_index=True)
    before = frame.copy()
    panel = read(frame)
    assert not np.shares_memory(panel.times, frame["cycle"].to_numpy())
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("seed", range(4))
def test_grouping_equals_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    codes, times = rng.integers(0, 9, 200), rng.integers(0, 6, 200).astype(float)
    if seed == 1:
        codes.sort()
    if seed == 2:
        codes, times = np.sort(codes), np.arange(200.0)
    order, offsets = group_rows(codes, times)
    rows = {}
    for row, code in enumerate(codes.tolist()):
        rows.setdefault(code, []).append(row)
    expected = [sorted(unit, key=lambda row: times[row]) for unit in rows.values()]
    assert offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert (order is None) == (seed == 2)
    found = np.arange(200) if order is None else order
    assert found.tolist() == [row for unit in expected for row in unit]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"unit": "unti"}, "unit='unti' is not a column of the frame; did you mean 'unit'"),
        ({}, {"time": "Cycle"}, "did you mean 'cycle'"),
        ({}, {"channels": ["s2", "s33"]}, "channel='s33' is not a column"),
        ({}, {"response": "yy"}, "response='yy'"),
        ({}, {"channels": ["s2", "note"]}, "channel 'note' is not numeric: row 0 holds 'x'"),
        ({}, {"channels": "s2"}, "must be a list"),
        ({}, {"channels": ["s2", "s2"]}, "'s2' is given twice"),
        ({}, {"channels": ["cycle"]}, "both time and a channel"),
        ({}, {"time": "unit"}, "both unit and time"),
        ({"unit": ["b", "a", None, "c", "a", "b"]}, {}, "missing at row 2"),
        ({"cycle": [3, 2, None, 7, 1, 1]}, {}, r"time \(column 'cycle'\) of unit 'b' at row 2 is missing"),
        ({"cycle": [3.0, 2.0, np.inf, 7.0, 1.0, 1.0]}, {}, "at row 2 is infinite"),
        ({"s3": [1.0, 2.0, 3.0, -np.inf, 5.0, 6.0]}, {}, r"channel 's3' of unit 'c' is infinite at row 3 \(cycle 7"),
        ({"s2": [np.nan] * 6}, {}, "channel 's2' has no observation on any unit"),
        ({"mode": ["fan", None, "hpc", "hpc", None, "fan"]}, {}, r"mode \(column 'mode'\) varies within unit 'b'"),
        ({"mode": [1, 2, 3, 1, 1, 1]}, {}, "'mode' varies within unit 'b'"),
        ({"end": [9.0, None, 9.5, 8.0, None, 9.0]}, {}, "'end' varies within unit 'b': 9.0 and 9.5"),
        ({"end": [2.0, None, None, None, None, None]}, {}, "failure time of unit 'b' is 2"),
    ],
)
def test_bad_frames_are_named(make, changes, options, message):
    with pytest.raises(PanelError, match=message):
        read(make(columns(**changes)), **options)


def test_a_unit_without_any_observation_is_named(make):
    table = columns(s2=[1.0, None, 1.0, 1.0, None, 1.0])
    with pytest.raises(PanelError, match="unit 'a' has no observation"):
        read(make(table), channels=["s2"], response=None)


def test_empty_frames_and_things_that_are_no_frames():
    with pytest.raises(PanelError, match="empty"):
        read(pd.DataFrame(columns()).iloc[:0])
    with pytest.raises(PanelError, match="found a list"):
        read([1, 2, 3])


@pytest.mark.parametrize("kind", ["pandas", "pyarrow"])
def test_duplicate_columns_are_named(kind):
    if kind == "pandas":
        frame = pd.DataFrame([[1, 2, 3.0, 4.0]], columns=["unit", "cycle", "s2", "s2"])
    else:
        frame = pa.table([[1], [2], [3.0], [4.0]], names=["unit", "cycle", "s2", "s2"])
    with pytest.raises(PanelError, match="column 's2' occurs twice"):
        Panel.from_frame(frame, unit="unit", time="cycle")


def test_levels_of_the_index_are_columns():
    expected = read(pd.DataFrame(columns()))
    for levels in ("unit", ["unit", "cycle"]):
        panel = read(pd.DataFrame(columns()).set_index(levels))
        assert panel.units == expected.units
        np.testing.assert_array_equal(panel.values, expected.values)
    with pytest.raises(PanelError, match="'unit' is not a column"):
        read(pd.DataFrame(columns()).set_index("unit").rename_axis("machine"))


def test_text_times_that_are_no_dates_name_the_row(make):
    with pytest.raises(PanelError, match="item 2 is 'soon'"):
        stamps = ["2024-01-01", "2024-01-02", "soon", "2024-01-03", "2024-01-04", "2024-01-05"]
        read(make(columns(cycle=stamps, end=None)), failure_time=None)


def test_without_narwhals_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(MissingPackageError, match=r"cem-failure-modes\[frames\]"):
        read(pd.DataFrame(columns()))


def test_memory_stays_below_three_times_the_columns():
    """What NumPy allocates beside a sorted and a shuffled pandas frame; 300,000 rows represent millions."""
    import tracemalloc

    n_rows = 300_000
    rng = np.random.default_rng(0)
    unit = np.sort(rng.integers(0, 20_000, n_rows))
    frame = pd.DataFrame({"unit": unit, "cycle": np.arange(n_rows), "x": rng.random(n_rows)})
    shuffled = frame.sample(frac=1.0, random_state=0).reset_index(drop=True)
    for table in (frame, shuffled):
        Panel.from_frame(table[:100], unit="unit", time="cycle")  # imports are not the data's
        size = table.memory_usage(index=False).sum()
        tracemalloc.start()
        Panel.from_frame(table, unit="unit", time="cycle")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size + peak <= 3 * size


def test_integers_of_128_bits_are_units_times_and_values():
    """Sums of 64-bit integers are such in polars; NumPy has no type for them."""
    pl = pytest.importorskip("polars")
    if not hasattr(pl, "Int128"):
        pytest.skip("this polars has no integers of 128 bits")
    frame = pl.DataFrame({"u": [1, 1, 2], "t": [1, 0, 5], "x": [8, 9, 7]}, schema=dict.fromkeys("utx", pl.Int128))
    panel = Panel.from_frame(frame, unit="u", time="t")
    assert list(panel.units) == [1, 2]
    assert panel.times.tolist() == [0.0, 1.0, 5.0] and panel.values[:, 0].tolist() == [9.0, 8.0, 7.0]


def test_units_beyond_signed_integers_keep_their_ids():
    """A hash as the id: it must not come back as a negative number."""
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"u": pl.Series([3, 2**64 - 1], dtype=pl.UInt64), "t": [0.0, 0.0], "x": [1.0, 2.0]})
    assert list(Panel.from_frame(frame, unit="u", time="t").units) == [3, 2**64 - 1]


def test_a_frame_of_many_columns_is_asked_for_their_names_a_few_times(monkeypatch):
    """A table of one row and 5,000 columns took 12 s: every channel asked for the names of all columns."""
    asked = []
    monkeypatch.setattr(frame_channels, "check_column", lambda table, frame, role, name: asked.append(name))
    columns = {"unit": [1, 1], "time": [0.0, 1.0], **{f"s{c}": [0.5, 0.25] for c in range(40)}}
    panel = Panel.from_frame(pd.DataFrame(columns), unit="unit", time="time")
    assert panel.n_channels == 40 and len(asked) <= 2


# ---- ids, dates, types -----------------------------------------------------------------------------------------------

UNSIGNED = {
    "pandas": lambda ids: pd.DataFrame({"unit": np.array(ids, dtype=np.uint64)}),
    "pandas-nullable": lambda ids: pd.DataFrame({"unit": pd.array(ids, dtype="UInt64")}),
    "pandas-arrow": lambda ids: pd.DataFrame({"unit": np.array(ids, dtype=np.uint64)}).astype("uint64[pyarrow]"),
    "polars": lambda ids: pl.DataFrame({"unit": pl.Series(ids, dtype=pl.UInt64)}),
    "pyarrow": lambda ids: pa.table({"unit": pa.array(ids, pa.uint64())}),
}


def with_columns(frame, **more):
    if isinstance(frame, pd.DataFrame):
        return frame.assign(**more)
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(**{name: pl.Series(values) for name, values in more.items()})
    for name, values in more.items():
        frame = frame.append_column(name, pa.array(values))
    return frame


@pytest.mark.parametrize("kind", UNSIGNED)
@pytest.mark.parametrize("largest", [2**64 - 1, 12])
def test_unsigned_ids_do_not_come_back_negative(kind, largest):
    ids = [largest] * 2 + [largest - 5] * 2
    frame = with_columns(UNSIGNED[kind](ids), t=[0, 1, 0, 1], x=[1.0, 2.0, 3.0, 5.0])
    assert Panel.from_frame(frame, unit="unit", time="t", channels=["x"]).units == (largest, largest - 5)


def test_ids_that_a_float_cannot_tell_apart_are_refused():
    frame = pd.DataFrame({"unit": [8949020000000000001.0, 8949020000000000002.0], "t": [0, 1], "x": [1.0, 2.0]})
    with pytest.raises(PanelError, match="too large for exact integers"):
        Panel.from_frame(frame, unit="unit", time="t")


def test_labels_beyond_the_floats_stay_apart(make):
    labels = [2**53, 2**53, 2**53, 2**53 + 1, None, 2**53]
    labels[4] = 2**53
    labels[1] = 2**53
    assert read(make(columns(mode=labels))).modes == (2**53, 2**53, 2**53 + 1)


@pytest.mark.parametrize("resolution", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_datetimes_of_any_unit_and_zone(resolution, zone):
    stamps = pd.Series(pd.date_range("2024-01-01", periods=3, freq="90min", tz=zone)).dt.as_unit(resolution)
    frame = pd.DataFrame({"u": 1, "t": stamps, "x": [1.0, 2.0, 4.0]})
    tables = [frame, pa.Table.from_pandas(frame)] + ([] if resolution == "s" else [pl.from_pandas(frame)])
    for table in tables:
        assert Panel.from_frame(table, unit="u", time="t").times.tolist() == [0.0, 1.5, 3.0]


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d-%m-%Y", "%m/%d/%Y %H:%M:%S", "%Y/%m/%d"])
def test_the_day_and_the_month_are_never_guessed(make, form):
    """5 to 10 April: each backend took another one for the day."""
    stamps = pd.date_range("2024-04-05", periods=6, freq="D").strftime(form).tolist()
    table = columns(unit=["a"] * 6, cycle=stamps, end=None, mode=None)
    roles = {"mode": None, "failure_time": None, "time_unit": "d"}
    with pytest.raises(PanelError, match="time_format="):
        read(make(table), **roles)
    assert read(make(table), time_format=form, **roles).times.tolist() == [0, 1, 2, 3, 4, 5]


def test_numbers_that_are_dates_are_not_counted_as_numbers(make):
    table = columns(
        unit=["a"] * 6, cycle=[20240128 + day for day in range(4)] + [20240201, 20240202], end=None, mode=None
    )
    roles = {"mode": None, "failure_time": None, "time_unit": "d"}
    with pytest.raises(PanelError, match="time_format='%Y%m%d'"):
        read(make(table), **roles)
    assert read(make(table), time_format="%Y%m%d", **roles).times.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_column_with_one_text_among_numbers_is_refused_though_not_named(make):
    table = columns(s2=["1.5", "2", "Bad Input", "4", None, "6"])
    with pytest.raises(PanelError, match="'s2' holds numbers, but 1 of 5 cells do not: row 2 holds 'Bad Input'"):
        read(make(table), channels=None)
    assert read(make(table), channels=None, missing="Bad Input").values[:, 0].tolist()[:3] == pytest.approx(
        [np.nan, 6.0, 1.5], nan_ok=True
    )


def test_mixed_objects_of_pandas_are_refused_by_row():
    frame = pd.DataFrame(columns()).assign(s2=pd.Series([1.5, 2.0, "-", 4.0, None, 6.0], dtype=object))
    for channels in (None, ["s2"]):
        with pytest.raises(PanelError, match="row 2 holds '-'"):
            read(frame, channels=channels)
    assert read(frame, missing={"s2": "-"}).channels == ("s2", "s3", "y")


def test_durations_dates_and_truth_values_are_no_sensors(make):
    import datetime

    table = columns(
        s2=[datetime.timedelta(seconds=i) for i in range(6)], note=[True, False] * 3, s3=[datetime.date(2024, 1, 1)] * 6
    )
    with pytest.warns(ColumnsLeftOutWarning, match="'s2' .*'s3' .*'note' "):
        assert read(make(table), channels=None, response=None).channels == ("y",)
    with pytest.raises(PanelError, match="channel 's2' is not numeric"):
        read(make(table), channels=["s2"])
    assert read(make(table), channels=["note"], response=None).values[:, 0].tolist() == [1, 0, 1, 1, 0, 0]


def test_decimals_and_dictionaries_are_read(make):
    from decimal import Decimal

    plain = pa.table(columns(unit=[Decimal(7), Decimal(5), Decimal(7), Decimal(9), Decimal(5), Decimal(7)]))
    for table in (plain, pl.from_arrow(plain)):
        panel = read(table)
        assert panel.units == (7, 5, 9) and {type(unit) for unit in panel.units} == {int}
    table = columns(s2=[Decimal("1.5"), Decimal("2.0"), None, Decimal("4.25"), None, Decimal("6.5")])
    assert read(make(table)).values[:, 0].tolist()[:2] == pytest.approx([np.nan, 6.5], nan_ok=True)
    coded = pa.table(columns())
    coded = coded.set_column(0, "unit", coded["unit"].dictionary_encode())
    assert read(coded).units == ("b", "a", "c")


def test_a_saved_row_index_is_no_sensor(tmp_path):
    import pyarrow.parquet

    frame = pd.DataFrame(columns(note=None)).sample(frac=1.0, random_state=0)
    path = tmp_path / "fleet.parquet"
    frame.to_parquet(path)
    table = pyarrow.parquet.read_table(path)
    assert "__index_level_0__" in table.column_names
    with pytest.warns(ColumnsLeftOutWarning, match="__index_level_0__.*a row index without a name"):
        assert read(table, channels=None).channels == ("s2", "s3", "y")


def test_a_tall_frame_of_every_backend(make):
    tall = {
        "unit": ["a"] * 5, "t": [0, 0, 1, 2, 2], "tag": ["p", "q", "p", "q", "p"], "v": [1.0, 2.0, 3.0, None, 5.0],
        "end": [9.0] * 5,
    }  # fmt: skip
    roles = {"unit": "unit", "time": "t", "sensor": "tag", "value": "v"}
    panel = Panel.from_frame(make(tall), failure_time="end", response="q", **roles)
    assert panel.channels == ("p", "q") and panel.response == "q" and panel.failure_times.tolist() == [9.0]
    np.testing.assert_array_equal(panel.values, [[1, 2], [3, np.nan], [5, np.nan]])
    numbered = Panel.from_frame(make({**tall, "tag": [7, 8, 7, 8, 7]}), channels=["8", "7"], **roles)
    assert numbered.channels == ("8", "7")
    with pytest.raises(PanelError, match=r"looks tall.*sensor='tag', value='v'"):
        Panel.from_frame(make({name: cells for name, cells in tall.items() if name != "end"}),
                         unit="unit", time="t")  # fmt: skip
    with pytest.raises(OptionError, match="value is given without sensor"):
        Panel.from_frame(make(tall), unit="unit", time="t", value="v")


def test_a_sparse_column_of_numbers_is_a_sensor():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"unit": [0, 0, 1, 1], "time": [0.0, 1.0, 0.0, 1.0], "x": [0.0, 2.0, 0.0, 3.0], "y": 1.0})
    sparse = frame.assign(x=frame["x"].astype(pd.SparseDtype("float64", 0.0)))
    panel = Panel.from_frame(sparse, unit="unit", time="time")
    assert panel.channels == ("x", "y") and panel.values[:, 0].tolist() == [0.0, 2.0, 0.0, 3.0]


def test_periods_as_times_are_refused_with_what_makes_instants_of_them():
    pd = pytest.importorskip("pandas")
    when = pd.period_range("2024-01", periods=2, freq="h")
    frame = pd.DataFrame({"unit": [0, 0], "time": when, "x": [0.0, 2.0]})
    with pytest.raises(PanelError, match=r"time \(column 'time'\) are periods \(2024-01-01 00:00\).*to_timestamp"):
        Panel.from_frame(frame, unit="unit", time="time")


@pytest.mark.parametrize("row", [0, 1, 7, 23])
def test_a_gap_in_any_row_of_a_sensor_is_a_missing_cell(make, row):
    """Also in the first and last rows, which say whether a column counts the rows."""
    counted = [None if i == row else float(i) for i in range(24)]
    columns = {
        "unit": [1] * 6 + [2] * 18,
        "time": [*range(6), *range(18)],
        "x": counted,
        "y": [i * i for i in range(24)],
    }
    panel = Panel.from_frame(make(columns), unit="unit", time="time")
    assert panel.channels == ("x", "y")
    assert np.flatnonzero(np.isnan(panel.values[:, 0])).tolist() == [row]
    objects = pd.DataFrame({**columns, "x": pd.Series(counted, dtype=object).where(lambda x: x.notna(), pd.NA)})
    panel = Panel.from_frame(objects, unit="unit", time="time")
    assert panel.channels == ("x", "y") and np.isnan(panel.values[row, 0])


@pytest.mark.parametrize("gap", [0, 23])
@pytest.mark.parametrize("given", ["missing", "arrays"])
def test_ids_of_units_that_cannot_be_compared_are_refused_by_name(given, gap):
    ids = pd.Series([1] * 6 + [2] * 18, dtype="Int64")
    ids[gap] = pd.NA
    if given == "arrays":
        ids = pd.Series([np.arange(2)] * 6 + [np.arange(2) + gap] * 18)
    frame = pd.DataFrame({"unit": ids, "time": [*range(6), *range(18)], "x": [i * i for i in range(24)]})
    named = f"column 'unit'.*missing at row {gap};" if given == "missing" else "column 'unit' holds items that cannot"
    with pytest.raises(PanelError, match=named):
        Panel.from_frame(frame, unit="unit", time="time")


def test_views_of_text_are_read_like_other_text():
    """pyarrow takes no rows of views, which newer writers of Parquet ask for."""
    texts = pa.array(["u1", "u1", "u2", "u2"])
    notes = pa.array(["ok", "ok", "worn", None])
    times = pa.array(["2024-05-01", "2024-05-02", "2024-05-01", "2024-05-03"])
    columns = {"unit": texts, "time": times, "mode": texts, "note": notes, "s": pa.array([1.0, 2.0, 3.0, 4.0])}
    if not hasattr(pa, "string_view"):
        pytest.skip("this pyarrow has no views")
    views = {name: c.cast(pa.string_view()) if name != "s" else c for name, c in columns.items()}
    roles = {"unit": "unit", "time": "time", "channels": ["s"], "mode": "mode"}
    plain = Panel.from_frame(pa.table(columns), **roles)
    viewed = Panel.from_frame(pa.table(views), **roles)
    assert viewed.units == plain.units == ("u1", "u2")
    assert viewed.times.tobytes() == plain.times.tobytes() and viewed.values.tobytes() == plain.values.tobytes()
    with pytest.warns(ColumnsLeftOutWarning, match="'note' .*text"):
        Panel.from_frame(pa.table(views), unit="unit", time="time")


def test_a_date_that_polars_cannot_turn_into_an_instant_is_refused():
    """polars ends with a panic, which no `except Exception` catches."""
    days = pl.Series([0, 2**31 - 1, 0, 1], dtype=pl.Int32).cast(pl.Date)
    frame = pl.DataFrame({"unit": [1, 1, 2, 2], "time": days, "s": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(PanelError, match="time"):
        Panel.from_frame(frame, unit="unit", time="time")


def test_a_time_near_the_largest_float_warns_by_type_alone():
    times = np.tile(np.arange(8.0), 5)
    times[10] = 1e308
    frame = {"unit": np.repeat(np.arange(5), 8), "time": times, "s": np.arange(40.0)}
    with pytest.warns(TimeScaleWarning), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        Panel.from_frame(pd.DataFrame(frame), unit="unit", time="time")


def test_a_column_that_its_backend_cannot_turn_into_an_array_is_refused_by_name():
    """pyarrow makes objects of times of day, and raises from datetime itself where one is beyond a day."""
    late = pa.array([0, 90_000_000_000, 1, 2], pa.int64()).view(pa.time64("us"))
    frame = pa.table({"unit": [1, 1, 2, 2], "time": late, "s": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(PanelError, match="'time'"):
        Panel.from_frame(frame, unit="unit", time="time")
