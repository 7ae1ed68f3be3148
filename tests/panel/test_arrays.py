"""Arrays, lists, frames and foreign containers: read as meant, or refused with the call that would do."""

import sys
from collections import deque
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

from cem import OptionError, Panel, PanelError
from cem.panel.given import panel_of_arrays

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 30, 2))
TIMES = np.arange(30.0)


def values_of(panel):
    return panel.values.reshape(panel.n_units, -1, panel.n_channels)


# -- axes -------------------------------------------------------------------------------------------------------


def test_sktime_arrays_are_refused_until_their_axes_are_named():
    turned = X.transpose(0, 2, 1)
    with pytest.raises(
        PanelError, match=r"shape \(6, 2, 30\) may be 2 times of 30 channels.*axes='units, channels, times'"
    ):
        Panel.from_arrays(None, turned)
    np.testing.assert_array_equal(values_of(Panel.from_arrays(None, turned, axes="units, channels, times")), X)
    assert Panel.from_arrays(None, turned, axes="units, times, channels").n_channels == 30
    np.testing.assert_array_equal(values_of(Panel.from_arrays(TIMES, turned, axes=("units", "channels", "times"))), X)


@pytest.mark.parametrize("shape", [(6, 1, 30), (6, 4, 4)])
def test_one_time_or_as_many_times_as_channels_may_be_either(shape):
    with pytest.raises(PanelError, match=r"axes="):
        Panel.from_arrays(None, np.ones(shape))


@pytest.mark.parametrize(
    ("times", "channels", "shape"),
    [
        (None, None, (6, 30, 2)),
        (None, None, (6, 2, 1)),  # tslearn, one channel
        (None, None, (6, 1, 1)),
        (np.arange(3.0), None, (6, 3, 7)),
        (np.tile(np.arange(3.0), (6, 1)), None, (6, 3, 7)),
        ([np.arange(3.0)] * 6, None, (6, 3, 7)),
        (None, list("abcdefg"), (6, 3, 7)),
        (None, list("abcd"), (6, 4, 4)),
        (np.arange(4.0), list("abcd"), (6, 4, 4)),
    ],
)
def test_arrays_that_fit_one_order_only_need_no_axes(times, channels, shape):
    panel = Panel.from_arrays(times, np.ones(shape), channels=channels, duplicates="keep")
    assert (panel.n_readings, panel.n_channels) == (shape[0] * shape[1], shape[2])


@pytest.mark.parametrize(("times", "channels"), [(TIMES, None), (None, ["a", "b"]), (TIMES, ["a", "b"])])
def test_times_or_names_that_fit_the_other_order_are_refused_with_the_axes(times, channels):
    with pytest.raises(PanelError, match=r"axes='units, channels, times'"):
        Panel.from_arrays(times, X.transpose(0, 2, 1), channels=channels)


def test_aeon_lists_of_unequal_length():
    units = [X[i, : 30 - i].T for i in range(6)]
    with pytest.raises(PanelError, match=r"one row per channel, as aeon holds them.*axes="):
        Panel.from_arrays(None, units)
    with pytest.raises(PanelError, match=r"give axes='units, channels, times'"):
        Panel.from_arrays([TIMES[: 30 - i] for i in range(6)], units)
    panel = Panel.from_arrays(None, units, axes="units, channels, times")
    np.testing.assert_array_equal(panel[5].values, X[5, :25])
    same = Panel.from_arrays(None, [unit.T for unit in units])
    np.testing.assert_array_equal(same.values, panel.values)
    assert same[1].times.tolist() == list(range(29))


@pytest.mark.parametrize(
    "axes", ["units, times, sensors, x", "times", 7, ("units", "units", "times"), "units channels"]
)
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(OptionError, match=r"axes="):
        Panel.from_arrays(None, X, axes=axes)


def test_axes_must_fit_the_array():
    with pytest.raises(PanelError, match=r"3 axes, but axes='units, times' names 2"):
        Panel.from_arrays(None, X, axes="units, times")
    turned = Panel.from_arrays(None, X[..., 0].T, axes="times, units")
    np.testing.assert_array_equal(values_of(turned), X[..., :1])


# -- names ------------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"vib": [1.0, 2.0], "temp": [10.0, 20.0]})


@pytest.mark.parametrize("kind", [lambda f: f, pl.from_pandas, lambda f: pa.Table.from_pandas(f, preserve_index=False)])
def test_frames_of_units_are_read_by_the_names_of_their_columns(kind):
    frames = [kind(FRAME), kind(FRAME[["temp", "vib"]])]
    for channels in (None, ["vib", "temp"]):
        panel = Panel.from_arrays([[0, 1], [0, 1]], frames, channels=channels)
        assert panel.channels == ("vib", "temp")
        assert panel.values.tolist() == [[1, 10], [2, 20]] * 2
    assert Panel.from_arrays(None, frames, channels=["temp", "vib"]).values[0].tolist() == [10, 1]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.rename(columns={"temp": "temps"}), "item 1 .* has the column 'temps'; did you mean 'temp'"),
        (FRAME.assign(extra=0.0), "item 1 .* has the column 'extra'"),
        (FRAME[["vib"]], "item 1 .* lacks the column 'temp'.*fill"),
        (FRAME.to_numpy(), "item 1 .* ndarray among data frames"),
    ],
)
def test_frames_with_other_columns_are_refused(frame, message):
    with pytest.raises(PanelError, match=message):
        Panel.from_arrays([[0, 1], [0, 1]], [FRAME, frame])


def test_frames_without_names_are_read_by_place():
    plain = pd.DataFrame(FRAME.to_numpy())
    assert Panel.from_arrays(None, [plain, plain], channels=["a", "b"]).values.tolist() == [[1, 10], [2, 20]] * 2


def test_an_index_of_times_is_not_dropped_without_a_word():
    timed = FRAME.set_index(pd.Index([5.0, 9.0], name="time"))
    with pytest.raises(PanelError, match=r"item 0 .* times=\[item.index for item in values\]"):
        Panel.from_arrays(None, [timed, timed])
    assert Panel.from_arrays([f.index for f in (timed, timed)], [timed, timed])[1].times.tolist() == [5, 9]
    with pytest.raises(PanelError, match=r"reset_index\(drop=True\)"):
        Panel.from_arrays(None, [FRAME, FRAME.set_axis([2, 3])])


def test_rows_of_a_frame_are_no_units():
    with pytest.raises(PanelError, match=r"a Series with the names 'vib', 'temp': one reading"):
        Panel.from_arrays([[0, 1]] * 2, [row for _, row in FRAME.iterrows()])


def test_dicts_by_unit():
    panel = Panel.from_arrays({"b": [0, 1], "a": [0, 1, 2]}, {"a": [1.0, 2, 3], "b": [4.0, 5]})
    assert panel.units == ("a", "b")
    assert panel[1].values.ravel().tolist() == [4, 5]
    with pytest.raises(PanelError, match=r"Panel.from_frame"):
        Panel.from_arrays(None, {"unit": [1, 2], "x": [1.0, 2.0]})
    with pytest.raises(PanelError, match=r"times are a dict"):
        Panel.from_arrays({"a": [1]}, [[1.0]])


def test_the_constructor_reads_a_frame_by_its_columns():
    swapped = FRAME[["temp", "vib"]]
    assert Panel([0], [0, 2], [0, 1], swapped, ["vib", "temp"]).values.tolist() == [[1, 10], [2, 20]]
    with pytest.raises(PanelError, match=r"'temp'"):
        Panel([0], [0, 2], [0, 1], swapped, ["vib", "heat"])


# -- tables and foreign containers --------------------------------------------------------------------------------

LONG = pd.DataFrame({"unit": [1, 1, 2, 2], "time": [0, 1, 0, 1], "x": [1.0, 2, 3, 4]})


class Stream:
    def __arrow_c_stream__(self, requested_schema=None):
        raise AssertionError("not asked")


class Relation:
    """As duckdb, ibis and dask have them: columns by name, rows only when asked."""

    columns = ("unit", "time", "x")


class Tensor:
    """As PyTorch, JAX, Dask, Xarray, HDF5 and zarr have them: converts itself."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array

    def __len__(self):
        return len(self.array)

    def __iter__(self):
        return iter(self.array)


class OnDevice(Tensor):
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self):
        return self


class Ragged(Tensor):
    """As Awkward: refuses to be one array where units are of unequal length."""

    def __array__(self, dtype=None, copy=None):
        raise ValueError("cannot convert to RegularArray because subarray lengths are not regular")

    def __getitem__(self, i):
        return self.array[i]


class DataArray(Tensor):
    dims = ("time", "channel", "unit")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (LONG, r"DataFrame with the columns 'unit', 'time', 'x'.*Panel.from_frame\(frame, unit=..., time=...\)"),
        (LONG.set_index(["unit", "time"]), r"Panel.from_frame\(frame.reset_index\(\)"),
        (pl.from_pandas(LONG), "Panel.from_frame"),
        (pl.from_pandas(LONG).lazy(), "Panel.from_frame"),
        (pa.Table.from_pandas(LONG), "Panel.from_frame"),
        (pa.Table.from_pandas(LONG).to_reader(), "Panel.from_frame"),
        (LONG.to_records(index=False), r"structured array .*Panel.from_frame\(pandas.DataFrame\(array\)"),
        (Stream(), "Panel.from_frame"),
        (Relation(), "Relation with the columns 'unit', 'time', 'x'.*Panel.from_frame"),
        (pd.DataFrame({"a": [pd.Series([1.0, 2.0])] * 2}), "cells hold whole series"),
        (scipy.sparse.csr_matrix(np.eye(3)), r"give its .toarray\(\)"),
        (OnDevice(X), r"cuda:0 .*give its .detach\(\).cpu\(\).numpy\(\)"),
        ({1.0, 2.0}, "values"),
        ("table.csv", "found str"),
        (3.0, "found float"),
        (None, "found NoneType"),
        (object(), "found object"),
        (np.array(["a", "b"]), "numbers"),
        ([["a", "b"]], "numbers"),
        ([[1.0, 2.0], None], "unit 1"),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, str) else "",
)
def test_tables_and_what_is_no_array_are_refused_with_the_call_that_would_do(table, message):
    for read in (lambda x: Panel.from_arrays(None, x), lambda x: panel_of_arrays(x)):
        with pytest.raises(PanelError, match=message):
            read(table)


@pytest.mark.parametrize(
    "container",
    [
        X[..., 0], X[..., 0].tolist(), tuple(X[..., 0]), deque(X[..., 0]), Tensor(X[..., 0]), pd.DataFrame(X[..., 0]),
        iter(X[..., 0]), X[..., 0].astype(object), [pd.Series(row) for row in X[..., 0]],
        [pl.Series(row) for row in X[..., 0]], [pa.array(row) for row in X[..., 0]], Ragged(X[..., 0]),
    ],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_every_array_like_is_read_alike(container):
    panel = Panel.from_arrays(None, container)
    np.testing.assert_array_equal(values_of(panel), X[..., :1])


def test_units_of_unequal_length_in_one_ragged_container():
    panel = Panel.from_arrays(None, Ragged([[1.0, 2.0], [3.0]]))
    assert panel.offsets.tolist() == [0, 2, 3]


def test_named_dimensions_say_the_axes():
    panel = Panel.from_arrays(None, DataArray(X.transpose(1, 2, 0)))
    np.testing.assert_array_equal(values_of(panel), X)


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
def test_every_word_for_missing_in_objects_is_missing(gap):
    panel = Panel.from_arrays(None, [[1.0, gap, 3.0], pd.array([1.0, None, 3.0], dtype="Float64")])
    assert panel.n_readings == 4


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (LONG.to_dict("records"), r"pandas.DataFrame\(frame\)"),
        (LONG.to_records(index=False), r"pandas.DataFrame\(frame\)"),
        (LONG.to_numpy(), r"Panel.from_arrays"),
        ("table.csv", r"cem.read"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_no_data_frame_is_refused_with_the_call_that_makes_one(frame, message):
    with pytest.raises(PanelError, match=message):
        Panel.from_frame(frame, unit="unit", time="time")


# -- for estimator and model --------------------------------------------------------------------------------------


def test_a_model_names_the_channels_and_may_lack_its_response():
    names = ("a", "b", "wear")
    assert panel_of_arrays(X, channels=names, may_lack="wear").channels == ("a", "b")
    assert panel_of_arrays(np.ones((2, 5, 3)), channels=names, may_lack="wear").channels == names
    with pytest.raises(PanelError):
        panel_of_arrays(X, channels=names)
    panel = panel_of_arrays([FRAME[["temp", "vib"]]] * 2, channels=("vib", "temp"))
    assert panel.values[0].tolist() == [1, 10]


def test_a_panel_passes_and_takes_labels():
    panel = Panel.from_arrays(None, X[..., 0])
    assert panel_of_arrays(panel) is panel
    assert panel_of_arrays(panel, modes=["u", None] * 3).modes[0] == "u"
    for option in ({"times": TIMES}, {"axes": "units, times"}, {"missing": -9}, {"units": range(6)}):
        with pytest.raises(OptionError, match=rf"{next(iter(option))} is for arrays"):
            panel_of_arrays(panel, **option)


def test_nothing_of_these_libraries_is_imported():
    assert isinstance(sys.modules.get("numpy"), ModuleType)
    assert not {"xarray", "torch", "dask", "duckdb"} & set(sys.modules)
