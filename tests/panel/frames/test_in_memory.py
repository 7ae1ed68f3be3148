"""Tables that are not in memory yet: only the columns that are needed are read, and failures are named."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.errors import MissingPackageError, PanelError

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
    stream = Stream(pa.table(columns()))
    assert cem.Panel.from_frame(stream, **NAMES).n_readings == 3
    if hasattr(pytest.importorskip("polars").DataFrame, "__arrow_c_stream__"):  # its first versions read none
        monkeypatch.setattr("cem.extras.find_spec", lambda name: None if name == "pyarrow" else True)
        assert cem.Panel.from_frame(stream, **NAMES)._backend == "polars"
    monkeypatch.setattr("cem.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'cem-failure-modes\[frames\]'"):
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
    for given, found in (({}, "found an empty dict"), ({"a": pd.DataFrame(columns())}, "found a dict")):
        with pytest.raises(PanelError, match=found):
            cem.Panel.from_frame(given, **NAMES)


@pytest.mark.parametrize(
    ("values", "found"),
    [("text", "is 'text'"), (3.0, "is 3.0"), (None, "is None"), ({1, 2}, "is a set"), (np.ones((3, 2)), r"\(3, 2\)")],
)
def test_what_is_no_column_of_a_dict_is_named(values, found):
    """Advice to make a data frame of the dict would fail with it too."""
    with pytest.raises(PanelError, match=f"column 'y' of the dict .*{found}"):
        cem.Panel.from_frame({**columns(), "y": values}, **NAMES)


def test_series_of_a_dict_are_columns_in_their_order():
    """pandas would align them by their indices, and the rows of a unit would get readings of another one."""
    pd = pytest.importorskip("pandas")
    series = {name: pd.Series(values, index=[2, 1, 0]) for name, values in columns().items()}
    panel = cem.Panel.from_frame(series, **NAMES)
    assert panel.units == ("a", "b") and panel.values[:, 0].tolist() == [1.0, 2.0, 3.0]
    with_array = cem.Panel.from_frame({**columns(), "x": series["x"]}, **NAMES)
    assert with_array.values[:, 0].tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(PanelError, match="Series 'x' of the dict has another index"):
        cem.Panel.from_frame({**series, "x": series["x"].sort_index()}, **NAMES)


def test_a_scanner_of_arrow_and_columns_that_are_run_length_encoded_are_read():
    pa, dataset = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    table = pa.table(columns())
    assert cem.Panel.from_frame(dataset.dataset(table).scanner(), **NAMES).n_readings == 3
    runs = pytest.importorskip("pyarrow.compute").run_end_encode(pa.array(["a", "a", "b"]))
    encoded = table.set_column(0, "unit", pa.chunked_array([runs]))
    assert cem.Panel.from_frame(encoded, **NAMES).units == ("a", "b")


def test_categories_whose_codes_have_no_sign_are_ids():
    """Columns of ENUM of DuckDB, and of polars, come so."""
    pa = pytest.importorskip("pyarrow")
    codes = pa.DictionaryArray.from_arrays(pa.array([1, 1, 0], pa.uint8()), pa.array(["b", "a"]))
    assert cem.Panel.from_frame(pa.table({**columns(), "unit": codes}), **NAMES).units == ("a", "b")


def test_decimals_are_the_numbers_that_they_show():
    """pyarrow's own conversion of 6.10 is one digit off in the last place."""
    pa = pytest.importorskip("pyarrow")
    decimals = pa.array([6.1, 5.9, 0.5]).cast(pa.decimal128(10, 2))
    panel = cem.Panel.from_frame(pa.table({**columns(), "x": decimals}), **NAMES)
    assert panel.values[:2, 0].tolist() == [6.1, 5.9]


def test_a_column_that_is_left_out_is_named_with_its_type():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {**columns(), "y": pd.arrays.IntervalArray.from_breaks(range(4)), "z": pd.Categorical([1.5, 2.5, 1.5])}
    )
    with pytest.warns(cem.errors.ColumnsLeftOutWarning, match=r"'y' \(its type is interval.*'z' \(categories\)"):
        cem.Panel.from_frame(frame, **NAMES)


def test_an_index_and_a_column_of_one_name_are_the_column():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(columns())
    frame.index = pd.Index(["z", "z", "z"], name="unit")
    assert cem.Panel.from_frame(frame, **NAMES).units == ("a", "b")
