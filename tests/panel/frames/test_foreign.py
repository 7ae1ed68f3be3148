"""Containers that are no data frame: each is refused with the call that reads it, and the call does."""

from __future__ import annotations

import collections
import pathlib

import numpy as np
import pytest

import cem
from cem.errors import PanelError

pd = pytest.importorskip("pandas")
pytest.importorskip("narwhals")

NAMES = {"unit": "unit", "time": "time"}


def table():
    """20 units of two modes, two sensors, 12 readings each."""
    rng = np.random.default_rng(0)
    mode = np.repeat(np.arange(20) % 2, 12)
    time = np.tile(np.arange(12.0), 20)
    return pd.DataFrame(
        {
            "unit": np.repeat([f"m{i}" for i in range(20)], 12),
            "time": time,
            "a": mode * time + rng.normal(size=240),
            "b": rng.normal(size=240),
        }
    )


def stands_for(name, module, **members):
    """An object of a type that a library has, without the library: only its name and what it offers."""
    return type(name, (), {"__module__": module, **members})()


def by_call(self):
    return table()


def foreign():
    """What people have, the call that the message names, and the frame that the call makes."""
    pa, dataset, pl = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.dataset", "polars"))
    arrow = pa.Table.from_pandas(table(), preserve_index=False)
    Row = collections.namedtuple("Row", ["unit", "time", "a", "b"])
    stream = {"__arrow_c_stream__": lambda self, asked=None: arrow.__arrow_c_stream__(asked)}
    indexed = table().set_index(["unit", "time"])
    records = table().to_dict("records")
    columns = property(lambda self: ["unit", "time", "a", "b"])
    return {
        "polars lazy": (pl.from_pandas(table()).lazy(), "frame.collect()", lambda x: x.collect()),
        "arrow batch": (
            arrow.to_batches()[0],
            "pyarrow.Table.from_batches([frame])",
            lambda x: pa.Table.from_batches([x]),
        ),
        "arrow reader": (arrow.to_reader(), "frame.read_all()", lambda x: x.read_all()),
        "arrow dataset": (dataset.dataset(arrow), "frame.to_table()", lambda x: x.to_table()),
        "arrow stream": (stands_for("Result", "database", **stream), "pyarrow.table(frame)", pa.table),
        "dask": (
            stands_for("DataFrame", "dask.dataframe", columns=columns, compute=by_call),
            "frame.compute()",
            lambda x: x.compute(),
        ),
        "duckdb": (
            stands_for("DuckDBPyRelation", "_duckdb", columns=columns, df=by_call),
            "frame.df()",
            lambda x: x.df(),
        ),
        "ibis": (
            stands_for("Table", "ibis.expr.types", to_pandas=by_call),
            "frame.to_pandas()",
            lambda x: x.to_pandas(),
        ),
        "spark": (
            stands_for("DataFrame", "pyspark.sql", columns=columns, collect=by_call, toPandas=by_call),
            "frame.toPandas()",
            lambda x: x.toPandas(),
        ),
        "xarray": (
            stands_for("Dataset", "xarray.core", data_vars={}, to_dataframe=lambda self: indexed),
            "frame.to_dataframe().reset_index()",
            lambda x: x.to_dataframe().reset_index(),
        ),
        "dict of columns": (dict(table()), "pandas.DataFrame(frame)", pd.DataFrame),
        "structured array": (table().to_records(index=False), "pandas.DataFrame(frame)", pd.DataFrame),
        "records": (records, "pandas.DataFrame(frame)", pd.DataFrame),
        "named tuples": (
            [Row(**record) for record in records],
            "pandas.DataFrame(frame, columns=[...])",
            lambda x: pd.DataFrame(x, columns=["unit", "time", "a", "b"]),
        ),
        "generator": ((r for r in records), "pandas.DataFrame(list(frame))", lambda x: pd.DataFrame(list(x))),
        "list of frames": (
            [part.drop(columns="unit") for _, part in table().groupby("unit")],
            "pandas.concat(dict(zip(units, frames)), names=['unit']).reset_index('unit')",
            lambda x: pd.concat(dict(zip(range(20), x, strict=True)), names=["unit"]).reset_index("unit"),
        ),
    }  # fmt: skip


NAMED = [
    "polars lazy", "arrow batch", "arrow reader", "arrow dataset", "arrow stream", "dask", "duckdb", "ibis", "spark",
    "xarray", "dict of columns", "structured array", "records", "named tuples", "generator", "list of frames",
]  # fmt: skip


def test_every_container_is_tried():
    assert list(foreign()) == NAMED


READ = (
    "polars lazy", "arrow batch", "arrow reader", "arrow dataset", "arrow stream", "dask", "duckdb", "ibis", "spark",
    "dict of columns",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMED if name not in READ])
def test_from_frame_names_the_call_that_reads_a_container(name):
    """The call in the message gives the panel; "found dict" would only send people to a search engine."""
    container, call, read = foreign()[name]
    with pytest.raises(PanelError) as refused:
        cem.Panel.from_frame(container, **NAMES)
    assert f"call Panel.from_frame({call}, unit=..., time=...)" in str(refused.value)
    container = foreign()[name][0]  # a reader may have been used up
    assert cem.Panel.from_frame(read(container), **NAMES).n_readings == 240


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_from_frame_reads_what_can_be_brought_into_memory(name):
    """Lazy and remote tables, Arrow streams and dicts of columns are read like the data frame that they hold."""
    expected = cem.Panel.from_frame(table(), **NAMES)
    panel = cem.Panel.from_frame(foreign()[name][0], **NAMES)
    assert panel.units == expected.units and panel.channels == expected.channels
    np.testing.assert_array_equal(panel.values, expected.values)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMED if name not in ("dict of columns", "list of frames")])
def test_fit_and_predict_name_the_call_too(name):
    """A lazy or remote table that went through numpy.asarray said "0 dimensions"."""
    for call in (cem.FailureModeEM(2, n_init=1).fit, fitted().predict, fitted().model_.predict_proba):
        with pytest.raises(PanelError, match=r"call Panel\.from_frame\("):
            call(foreign()[name][0])


_fitted = []


def fitted():
    if not _fitted:
        values = table()[["a", "b"]].to_numpy().reshape(20, 12, 2)
        _fitted.append(cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=1, random_state=0).fit(values))
    return _fitted[0]


@pytest.mark.parametrize("given", ["fleet.csv", pathlib.Path("fleet.parquet")])
def test_a_path_is_sent_to_the_reader_of_files(given):
    for call in (lambda: cem.Panel.from_frame(given, **NAMES), lambda: fitted().predict(given)):
        with pytest.raises(PanelError, match=r"fleet.*call cem\.read\("):
            call()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((3, 4)), r"call Panel\.from_arrays\(times, values\)"),
        ([[1.0, 2.0]], r"call Panel\.from_arrays\(times, values\)"),
        (pd.Series([1.0, 2.0]), "give the whole data frame"),
        (pd.DataFrame({"unit": [1], "time": [0.0]}).groupby("unit"), "give the frame that was grouped"),
        (pd.DataFrame, "the class DataFrame itself"),
        (None, "found None; give one of pandas, polars or pyarrow"),
        (3, "found 3; give one of pandas, polars or pyarrow"),
        (b"unit,time", "give one of pandas, polars or pyarrow"),
        ([], "0 items; give one of pandas, polars or pyarrow"),
    ],
)
def test_what_is_no_table_is_named(given, words):
    with pytest.raises(PanelError, match=words):
        cem.Panel.from_frame(given, **NAMES)


def test_a_panel_is_sent_back():
    panel = cem.Panel.from_frame(table(), **NAMES)
    with pytest.raises(PanelError, match="found a Panel; use it as it is"):
        cem.Panel.from_frame(panel, **NAMES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unit": None}, "unit=None: the name of a column was expected; there are 'unit', 'time', 'a', 'b'"),
        ({"unit": ["unit"]}, "unit is the name of a column, a string; found a list"),
        ({"time": table()["time"]}, "time is the name of a column, a string; found a Series"),
        ({"mode": ["x", "y"]}, "mode is the name of a column, a string; found a list"),
        ({"response": 3}, "response is the name of a column, a string; found 3"),
        ({"channels": 3}, "channels must be a list of columns; found 3"),
        ({"channels": [0, 1]}, "channels names columns by strings; found 0"),
    ],
)
def test_columns_are_asked_for_by_name(options, words):
    """Columns themselves, positions and None went on to the backend, whose errors no handler of ours catches."""
    with pytest.raises(PanelError) as refused:
        cem.Panel.from_frame(table(), **{**NAMES, **options})
    assert words in str(refused.value)


def test_numbered_columns_are_refused_with_the_call_that_names_them():
    numbered = pd.DataFrame(table().to_numpy())
    for options in ({"unit": 0, "time": 1}, {"unit": "0", "time": "1"}):
        with pytest.raises(PanelError, match=r"frame\.rename\(columns=str\)"):
            cem.Panel.from_frame(numbered, **options)
    with pytest.raises(PanelError, match=r"not strings: 7.*frame\.rename\(columns=str\)"):
        cem.Panel.from_frame(table().rename(columns={"a": 7}), **NAMES)
    chosen = cem.Panel.from_frame(table().rename(columns={"a": 7}), **NAMES, channels=["b"])  # it plays no part
    assert chosen.channels == ("b",)


def test_columns_with_several_levels_of_names_are_refused():
    for frame in (pd.concat({"x": table()}, axis=1), table().set_index(["unit", "time"]).unstack("unit")):
        with pytest.raises(PanelError, match=r"2 levels of names.*frame\.columns ="):
            cem.Panel.from_frame(frame, **NAMES)
        with pytest.raises(PanelError, match="2 levels of names"):
            cem.Panel.from_frame(frame, unit=("x", "unit"), time=("x", "time"))


def test_a_generator_of_arrays_is_still_read():
    """What is no table keeps its way to the arrays."""
    rows = table()[["a", "b"]].to_numpy().reshape(20, 12, 2)
    expected = fitted().predict(rows)
    assert (fitted().predict(row for row in rows) == expected).all()
    assert (fitted().predict(memoryview(rows.copy())) == expected).all()
