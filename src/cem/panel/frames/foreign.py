"""Containers that are not a data frame in memory: what each is, and the call that converts it.

They are recognised by the attributes and the origin of their type; no library is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cem.errors import PanelError
from cem.errors.names import listed

__all__ = ["check_names", "no_frame", "refuse_foreign"]

_READ = "call cem.read(path, unit=..., time=...)"
_NAMED = ("dask", "duckdb", "ibis", "pyspark", "xarray")  # libraries whose type names other libraries use too


class _Known(NamedTuple):
    """What a container is, how to convert it, and whether `fit` reads it as arrays."""

    what: str
    advice: str = ""
    is_array: bool = False


def no_frame(x: Any) -> PanelError:
    """The error for an argument of `Panel.from_frame` that is not a data frame; it names the right call."""
    known = _known(x, "frame")
    return PanelError(
        f"a data frame is needed, found {known.what}; {known.advice or 'give one of pandas, polars or pyarrow'}"
    )


def refuse_foreign(x: Any, what: str) -> None:
    """Refuse anything but a panel, an array or a data frame in memory, with the call that converts it.

    Parameters
    ----------
    x : object
        The argument of `fit`, `predict` or `score`.
    what : str
        Its name in the message.

    Raises
    ------
    PanelError
        A lazy or remote table, a file, records, or a table of another library.
    """
    if isinstance(x, (np.ndarray, Iterator)) and not _is_reader(x):
        return
    known = _known(x, "X")
    if known.advice and not known.is_array:
        raise PanelError(f"{what} is {known.what}; {known.advice}")


def check_names(frame: Any, roles: Mapping[str, Any], channels: Any) -> None:
    """Refuse column arguments that are not names: names of other types, whole columns, levels of names.

    Parameters
    ----------
    frame : data frame
    roles : mapping of option to the argument, None if it was left out
    channels : the argument ``channels``

    Raises
    ------
    PanelError
        A name is not a string; the frame has columns without such names, or with several levels of them.
    """
    columns: Any = getattr(frame, "columns", None)
    if getattr(columns, "nlevels", 1) > 1:
        raise PanelError(
            f"the frame's columns have {columns.nlevels} levels of names, such as {tuple(columns[0])!r}; give each "
            "column one name, for example frame.columns = ['_'.join(map(str, name)) for name in frame.columns], or, if "
            "a level names units or sensors, turn it into rows by frame.stack(level).reset_index()"
        )
    names = list(columns) if hasattr(frame, "iloc") else []  # other libraries allow only strings
    numbered = [name for name in names if not isinstance(name, str)]
    remedy = "; give the columns names, for example by frame.rename(columns=str)" if numbered else ""
    for role, name in roles.items():
        if name is None and role in ("unit", "time"):
            raise PanelError(f"{role}=None: the name of a column was expected; there are {listed(names, 12)}")
        if name is not None and not isinstance(name, str):
            shown = f"{name!r:.60}" if np.ndim(name) == 0 else f"a {type(name).__name__}"
            raise PanelError(f"{role} is the name of a column, a string; found {shown}{remedy}")
    if channels is None and numbered:
        raise PanelError(
            f"the frame has columns whose names are not strings: {listed(numbered, 6)}; rename them, for example by "
            "frame.rename(columns=str), or choose channels=[...]"
        )
    if channels is not None and not isinstance(channels, str):
        try:
            asked = list(channels)
        except TypeError:
            raise PanelError(f"channels must be a list of columns; found {channels!r:.60}") from None
        unnamed = next((name for name in asked if not isinstance(name, str)), None)
        if unnamed is not None:
            raise PanelError(f"channels names columns by strings; found {unnamed!r:.60}{remedy}")


# -- which container it is -------------------------------------------------------------------------------------------


def _frame_of(expression: str) -> str:
    return f"call Panel.from_frame({expression}, unit=..., time=...)"


def _arrays_of(expression: str) -> str:
    return f"call Panel.from_arrays(times, {expression})"


def _known(x: Any, name: str) -> _Known:
    """What x is, and the call that reads it; `name` stands for x in it."""
    kind = type(x)
    library, title = kind.__module__.partition(".")[0].lstrip("_"), kind.__name__
    found = f"{'an' if title[:1].lower() in 'aeiou' else 'a'} {title}"
    if isinstance(x, type):
        return _Known(f"the class {x.__name__} itself")
    if x is None or isinstance(x, (bool, int, float, complex)):
        return _Known(repr(x))
    if isinstance(x, (str, os.PathLike)):
        return _Known(f"the {'text' if isinstance(x, str) else 'path'} {str(x)!r:.80}", _READ)
    if _has(x, "read") and _has(x, "readline"):
        return _Known("an open file", _READ)
    if isinstance(x, np.ndarray):
        if x.dtype.names is not None:
            fields = listed(x.dtype.names, 8)
            return _Known(f"a structured array with the fields {fields}", _frame_of(f"pandas.DataFrame({name})"))
        return _Known(f"an array of shape {x.shape}", _arrays_of("values"), is_array=True)
    if title == "Panel" and library == "cem":
        return _Known("a Panel", "use it as it is")
    if library in _NAMED:
        found = f"{found} of {library}"
    if _is_series(x):
        return _Known(found, "a single column has no units and times: give the whole data frame", True)
    if title.endswith("GroupBy"):
        return _Known(found, "give the frame that was grouped, with its column of units")
    if _has(x, "toarray"):  # scipy.sparse
        return _Known(found, _arrays_of(f"{name}.toarray()"), is_array=True)
    expression = _of_library(x, library, title, name)
    if expression:
        return _Known(found, _frame_of(expression))
    if isinstance(x, Mapping):
        return _mapping(x, name)
    if isinstance(x, (list, tuple)):
        return _sequence(x, name)
    if isinstance(x, Iterator):
        return _Known(found, _frame_of(f"pandas.DataFrame(list({name}))"))
    return _Known(found)


def _of_library(x: Any, library: str, title: str, name: str) -> str:
    """The expression that brings a lazy, remote or foreign table into memory as a data frame; '' for others."""
    if _has(x, "collect") and _has(x, "collect_schema"):
        return f"{name}.collect()"
    if library in ("duckdb", "ibis", "pyspark"):
        return f"{name}.{ {'duckdb': 'df', 'ibis': 'to_pandas', 'pyspark': 'toPandas'}[library] }()"
    if _has(x, "compute") and (_has(x, "columns") or not _has(x, "__array__")):  # dask; its arrays can be read
        return f"{name}.compute()"
    if _has(x, "data_vars"):
        return f"{name}.to_dataframe().reset_index()"
    if library == "xarray" and name == "frame":
        return f"{name}.to_dataframe(name='value').reset_index()"
    if library == "pyarrow" and title == "RecordBatch":
        return f"pyarrow.Table.from_batches([{name}])"
    if _has(x, "read_next_batch"):
        return f"{name}.read_all()"
    if _has(x, "to_table") and _has(x, "count_rows"):
        return f"{name}.to_table()"
    if title == "TextFileReader":
        return f"pandas.concat({name})"
    if _has(x, "__arrow_c_stream__") and not _is_frame(x) and not _has(x, "__array__"):
        return f"pyarrow.table({name})"
    return ""


def _mapping(x: Mapping[Any, Any], name: str) -> _Known:
    if not x:
        return _Known("an empty dict", "give one with a column of units, one of times, and one for each sensor")
    keys = listed(list(x), 8)
    if all(map(_is_frame, x.values())):
        expression = f"pandas.concat({name}, names=['name']).reset_index('name')"
        return _Known(f"a dict of data frames with the keys {keys}", _frame_of(expression))
    return _Known(f"a dict with the keys {keys}", _frame_of(f"pandas.DataFrame({name})"), is_array=True)


def _sequence(x: Sequence[Any], name: str) -> _Known:
    found, first = f"a {type(x).__name__}", x[0] if x else None
    if isinstance(first, Mapping):
        return _Known(f"{found} of records, one per row", _frame_of(f"pandas.DataFrame({name})"))
    if hasattr(type(first), "_fields") or _is_row(first):
        return _Known(f"{found} of rows", _frame_of(f"pandas.DataFrame({name}, columns=[...])"))
    if _is_frame(first):
        expression = "pandas.concat(dict(zip(units, frames)), names=['unit']).reset_index('unit')"
        return _Known(f"{found} of data frames", _frame_of(expression), is_array=True)
    return _Known(f"{found} of {len(x):,} items", _arrays_of("values") if x else "", is_array=True)


def _is_row(x: Any) -> bool:
    """A tuple of cells, some of them text."""
    return isinstance(x, tuple) and any(isinstance(cell, str) for cell in x)


def _is_frame(x: Any) -> bool:
    return _has(x, "columns") or _has(x, "column_names")


def _is_series(x: Any) -> bool:
    """One column of pandas or polars, or a (chunked) array of pyarrow."""
    kind = type(x)
    if kind.__module__.partition(".")[0] == "pyarrow":
        return hasattr(kind, "null_count") and not _is_frame(x)
    return kind.__name__ == "Series" and not _is_frame(x)


def _is_reader(x: Any) -> bool:
    """An iterator over a table, made by a library."""
    return _has(x, "read") or _has(x, "read_all") or type(x).__name__.endswith("GroupBy")


def _has(x: Any, name: str) -> bool:
    return hasattr(type(x), name)
