"""Tables that are not in memory yet: only the columns that are needed are read, and failures are named."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.errors import PanelError

pytest.importorskip("narwhals")

NAMES = {"unit": "unit", "time": "time"}


def columns():
    return {"unit": np.array(["a", "a", "b"]), "time": np.arange(3.0), "x": np.array([1.0, 2.0, 3.0])}


def test_a_lazy_query_computes_only_the_columns_that_are_named():
    """A wide lake would not fit into memory for the sake of two sensors."""
    pl = pytest.importorskip("polars")

    def never(_):
        raise AssertionError("this column is not needed")

    lazy = pl.DataFrame(columns()).lazy().with_columns(y=pl.col("x").map_batches(never, return_dtype=pl.Float64))
    assert cem.Panel.from_frame(lazy, channels=["x"], **NAMES).values.ravel().tolist() == [1.0, 2.0, 3.0]


def test_an_unknown_column_of_a_lazy_query_is_refused_with_those_that_there_are():
    pl = pytest.importorskip("polars")
    with pytest.raises(PanelError, match="did you mean 'time'"):
        cem.Panel.from_frame(pl.DataFrame(columns()).lazy(), unit="unit", time="tme", channels=["x"])


def test_a_query_that_fails_is_an_error_of_ours_with_the_librarys_reason():
    pl = pytest.importorskip("polars")
    query = pl.DataFrame(columns()).lazy().filter(pl.col("zz") > 1)
    with pytest.raises(PanelError, match=r"LazyFrame could not be read into memory.*zz"):
        cem.Panel.from_frame(query, **NAMES)


def test_a_reader_that_was_used_up_is_refused_as_empty():
    pa = pytest.importorskip("pyarrow")
    reader = pa.table(columns()).to_reader()
    assert cem.Panel.from_frame(reader, **NAMES).n_readings == 3
    with pytest.raises(PanelError):
        cem.Panel.from_frame(reader, **NAMES)


class Stream:
    """Something of a database that exports itself as Arrow data."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


def test_an_arrow_stream_needs_pyarrow_or_polars_and_says_so(monkeypatch):
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("polars")
    from cem.panel.frames import in_memory

    stream = Stream(pa.table(columns()))
    assert cem.Panel.from_frame(stream, **NAMES).n_readings == 3
    if hasattr(pytest.importorskip("polars").DataFrame, "__arrow_c_stream__"):  # its first versions read none
        monkeypatch.setattr(in_memory, "find_spec", lambda name: None if name == "pyarrow" else True)
        assert cem.Panel.from_frame(stream, **NAMES)._backend == "polars"
    monkeypatch.setattr(in_memory, "find_spec", lambda name: None)
    with pytest.raises(PanelError, match=r"pip install 'cem-failure-modes\[frames\]'"):
        cem.Panel.from_frame(stream, **NAMES)


def test_a_dict_of_columns_has_masked_cells_missing():
    given = columns() | {"x": np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])}
    panel = cem.Panel.from_frame(given | {"y": [1, 2, 3]}, **NAMES)
    np.testing.assert_array_equal(panel.values, [[1.0, 1.0], [np.nan, 2.0], [3.0, 3.0]])


def test_columns_of_unequal_length_are_named():
    with pytest.raises(PanelError, match=r"'unit' has 3 and 'x' 2 entries"):
        cem.Panel.from_frame(columns() | {"x": [1.0, 2.0]}, **NAMES)


def test_a_dict_of_frames_or_of_nothing_is_still_refused_with_advice():
    pd = pytest.importorskip("pandas")
    for given in ({}, {"a": pd.DataFrame(columns())}, {"a": "text"}):
        with pytest.raises(PanelError, match="found a dict"):
            cem.Panel.from_frame(given, **NAMES)


def test_an_index_and_a_column_of_one_name_are_the_column():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(columns())
    frame.index = pd.Index(["z", "z", "z"], name="unit")
    assert cem.Panel.from_frame(frame, **NAMES).units == ("a", "b")
