"""Bring a table of any library into memory: lazy and remote ones, Arrow streams, and dicts of columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.extras import extra, installed
from cem.numerics.masks import unmasked
from cem.panel.frames.out import checked_backend

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["in_memory", "with_index_columns"]

# Methods by which libraries without a better way make a data frame in memory, in this order.
_CALLS = ("collect", "compute", "to_arrow_table", "df", "toPandas", "to_pandas")
_REMOTE = ("dask", "duckdb", "ibis", "pyspark", "sqlframe", "polars")


def in_memory(nw: ModuleType, frame: Any, wanted: Collection[str] | None) -> Any:
    """The frame as one in memory; itself if it is that already, or if it is no table.

    Parameters
    ----------
    nw : module
        narwhals.
    frame : object
        The user's.
    wanted : collection of str or None
        The columns that are used, so that a lazy table need not read the others; None: all.

    Raises
    ------
    PanelError
        The library of a lazy table failed, or what a dict holds is no columns of one length.
    MissingPackageError
        A stream or a dict needs a library that is not installed.
    """
    kind = type(frame)
    library = kind.__module__.partition(".")[0].lstrip("_")
    if isinstance(frame, Mapping) and not hasattr(kind, "columns") and not hasattr(kind, "data_vars"):
        return _of_columns(frame)
    if hasattr(kind, "read_next_batch"):  # a reader of Arrow batches
        return _read(frame, frame.read_all)
    if library == "pyarrow" and kind.__name__ == "RecordBatch":
        return extra("pyarrow", "frames", "reading a RecordBatch").Table.from_batches([frame])
    if hasattr(kind, "to_table") and hasattr(kind, "count_rows"):  # a data set of Arrow
        if not hasattr(kind, "schema"):  # a scanner, whose columns are chosen
            return _read(frame, frame.to_table)
        return _read(frame, lambda: frame.to_table(columns=_chosen(list(frame.schema.names), wanted)))
    if library == "dask" and hasattr(kind, "columns"):
        return _read(frame, lambda: _of_dask(frame, wanted))
    if library in _REMOTE and nw.dependencies.is_into_dataframe(frame) is False:
        return _of_lazy(nw, frame, wanted)
    if not _is_frame(frame) and (hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__arrow_c_array__")):
        return _of_capsule(frame) if not hasattr(kind, "__array__") else frame
    return frame


def with_index_columns(frame: Any, names: Collection[str]) -> Any:
    """A pandas frame in which levels of the index that are asked for by name are columns."""
    levels = [name for name in getattr(getattr(frame, "index", None), "names", None) or () if isinstance(name, str)]
    if not levels or not hasattr(frame, "reset_index"):
        return frame
    needed = [name for name in levels if name in names and name not in frame.columns]
    return frame.reset_index(level=needed) if needed else frame


def _of_columns(columns: Mapping[Any, Any]) -> Any:
    """A frame of a dict of arrays; the dict itself if it holds frames, or nothing."""
    if not columns or any(hasattr(type(values), "columns") for values in columns.values()):
        return columns
    _check_columns(columns)
    sizes = {name: len(values) for name, values in columns.items()}
    first, size = next(iter(sizes.items()))
    other = next((name for name, n in sizes.items() if n != size), None)
    if other is not None:
        raise PanelError(
            f"the columns of the dict have different lengths: {first!r} has {size:,} and {other!r} {sizes[other]:,} "
            "entries; give one for each reading"
        )
    library = checked_backend(None)
    module = extra(library, "frames", "reading a dict of columns")
    arrays = {name: _plain(unmasked(values)) for name, values in columns.items()}
    make = module.table if library == "pyarrow" else module.DataFrame
    try:
        return make(arrays)
    except Exception as error:  # each library has its own
        raise PanelError(f"the dict cannot be read as a table: {_first_line(error)}; give a data frame") from None


def _plain(values: Any) -> Any:
    """A column without its index, by which pandas would reorder the others' rows."""
    return values.array if hasattr(getattr(values, "index", None), "equals") else values


def _check_columns(columns: Mapping[Any, Any]) -> None:
    """Refuse what is no column, and Series that pandas would align by indices that differ."""
    index: Any = None
    for name, values in columns.items():
        if isinstance(values, (str, bytes, Mapping)) or np.ndim(values) == 0:
            is_plain = values is None or isinstance(values, (str, bytes, int, float, np.generic))
            found = f"{values!r:.60}" if is_plain else f"a {type(values).__name__}"
            raise PanelError(
                f"column {name!r} of the dict is {found}; a list or an array with one value for each reading was "
                "expected"
            )
        if np.ndim(values) != 1:
            raise PanelError(
                f"column {name!r} of the dict has shape {np.shape(values)}; an array with one value for each reading "
                "was expected. For one array for each unit call Panel.from_arrays"
            )
        own: Any = getattr(values, "index", None)
        if hasattr(own, "equals"):
            if index is not None and not own.equals(index):
                raise PanelError(
                    f"the Series {name!r} of the dict has another index than those before it, so its rows could be "
                    "meant in either order; give a data frame, or arrays by .to_numpy()"
                )
            index = own


def _of_lazy(nw: ModuleType, frame: Any, wanted: Collection[str] | None) -> Any:
    try:
        lazy = nw.from_native(frame)
    except TypeError:
        lazy = None
    if lazy is not None:

        def collected() -> Any:
            table = lazy
            names = _chosen(list(table.collect_schema().names()), wanted)
            if names is not None:
                table = table.select(names)
            return table.collect().to_native()

        return _read(frame, collected)
    call = next((name for name in _CALLS if hasattr(type(frame), name)), None)
    return frame if call is None else _read(frame, getattr(frame, call))


def _of_dask(frame: Any, wanted: Collection[str] | None) -> Any:
    """A pandas frame; narwhals is leaving the support of Dask to another package."""
    names = _chosen(list(frame.columns), wanted)
    return (frame if names is None else frame[names]).compute()


def _of_capsule(frame: Any) -> Any:
    """A table of whatever exports itself as Arrow data."""
    library = installed(("pyarrow", "polars"), "frames", f"reading {type(frame).__name__}, an Arrow stream,")
    if library == "pyarrow":
        pa = extra("pyarrow", "frames", f"reading {type(frame).__name__}")
        if hasattr(type(frame), "__arrow_c_stream__"):
            return _read(frame, lambda: pa.table(frame))
        return _read(frame, lambda: pa.Table.from_batches([pa.record_batch(frame)]))
    return _read(frame, lambda: extra("polars", "frames", "reading an Arrow stream").DataFrame(frame))


def _read(frame: Any, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # each library has its own
        raise PanelError(
            f"the {type(frame).__name__} could not be read into memory: {type(error).__name__}: {_first_line(error)}; "
            "run its query by itself, and give the data frame"
        ) from error


def _chosen(there: Sequence[str], wanted: Collection[str] | None) -> list[str] | None:
    """The columns to read; None for all, so that a message about an unknown column can name those that there are."""
    if wanted is None or not set(wanted) <= set(there):
        return None
    return [name for name in there if name in wanted]


def _is_frame(frame: Any) -> bool:
    return any(hasattr(type(frame), name) for name in ("columns", "column_names"))


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
