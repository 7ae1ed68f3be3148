"""Recognise the container that a user's data come in by the attributes of its type, without importing its library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import listed
from cem.numerics.masks import unmasked

__all__ = ["as_array", "column_names", "is_table", "refuse_table", "row_names"]

_TABLE_ATTRIBUTES = ("columns", "column_names", "collect_schema", "data_vars", "to_table", "read_next_batch")


def is_table(x: object) -> bool:
    """True for data frames, tables, relations and data sets: anything with named columns, which `from_frame` reads."""
    if isinstance(x, np.ndarray):
        return x.dtype.names is not None
    kind = type(x)
    if kind.__module__.partition(".")[0] == "builtins":
        return False
    if hasattr(kind, "__arrow_c_stream__") and not hasattr(kind, "__array__"):
        return True
    return any(hasattr(kind, name) for name in _TABLE_ATTRIBUTES)


def column_names(table: Any) -> list[Any] | None:
    """Column names of a data frame; None if it is not a data frame in memory."""
    if isinstance(table, np.ndarray) or (hasattr(type(table), "collect_schema") and hasattr(type(table), "collect")):
        return None
    columns = getattr(table, "column_names", None)  # pyarrow: its `columns` are the data
    if columns is None:
        columns = getattr(table, "columns", None)
    if columns is None or callable(columns):
        return None
    return list(columns)


def row_names(x: Any) -> list[str] | None:
    """Names along the axis of a Series or DataArray if all of them are strings; None if they are positions."""
    kind = type(x)
    if hasattr(kind, "index") and hasattr(kind, "iloc"):  # pandas
        names = list(x.index)
    elif hasattr(kind, "coords") and hasattr(kind, "dims") and len(x.dims) == 1 and x.dims[0] in x.coords:  # xarray
        names = np.asarray(x.coords[x.dims[0]]).tolist()
    else:
        return None
    return names if names and all(isinstance(name, str) for name in names) else None


def refuse_table(table: Any, what: str) -> None:
    """PanelError that says which call reads a table."""
    kind = type(table)
    if isinstance(table, np.ndarray):
        raise PanelError(
            f"{what} is a structured array with the fields {listed(table.dtype.names or (), 8)}; "
            "call Panel.from_frame(pandas.DataFrame(array), unit=..., time=...)"
        )
    if hasattr(kind, "data_vars"):
        raise PanelError(
            f"{what} is an xarray {kind.__name__}; call "
            "Panel.from_frame(dataset.to_dataframe().reset_index(), unit=..., time=...)"
        )
    names = column_names(table)
    shown = f" with the columns {listed(names, 8)}" if names else ""
    index = [name for name in getattr(getattr(table, "index", None), "names", None) or () if name is not None]
    reset = ".reset_index()" if index else ""
    if _nested(table):
        raise PanelError(
            f"{what} is a data frame whose cells hold whole series (sktime's nested form); give one array for each "
            "unit: Panel.from_arrays(None, [numpy.column_stack([row[c] for c in frame]) for _, row in frame.iterrows()]"
            ", channels=list(frame))"
        )
    raise PanelError(
        f"{what} is a {kind.__name__}{shown}, and its rows are not units; for one row per reading call "
        f"Panel.from_frame(frame{reset}, unit=..., time=...), for one row per unit and one column per time "
        "give frame.to_numpy() and times=..."
    )


def _nested(table: Any) -> bool:
    try:
        cell = table.iloc[0, 0]
    except Exception:  # not a pandas frame, or an empty one
        return False
    return isinstance(cell, (np.ndarray, list)) or hasattr(type(cell), "iloc")


def as_array(x: Any, what: str) -> np.ndarray:
    """Anything array-like as a plain array, with masked cells missing; else a PanelError that names the type.

    Dask, Xarray, HDF5, PyTorch, JAX, Awkward, ... are read by their own conversion.
    """
    x = unmasked(x)
    if type(x) is np.ndarray:
        return x
    try:
        array = np.asarray(x)
    except Exception as error:  # each library has its own
        reason = f": {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    else:
        if array.ndim or array.dtype != object or x is None:
            return array
        reason = ""
    sparse = "sparse " if any(hasattr(type(x), name) for name in ("toarray", "todense")) else ""
    raise PanelError(
        f"{what} of {sparse}type {type(x).__name__} cannot be read as an array{reason}; give {_advice(x)}"
    ) from None


def _advice(x: Any) -> str:
    calls: Sequence[tuple[str, str]] = (
        ("toarray", "its .toarray()"),  # scipy.sparse
        ("todense", "its .todense()"),  # sparse
        ("cpu", "its .detach().cpu().numpy()"),  # PyTorch on a device
        ("get", "its .get()"),  # CuPy
    )
    if isinstance(x, (dict, set, frozenset)):
        return "a list of arrays, or an array"
    return next((call for name, call in calls if hasattr(type(x), name)), "a NumPy array, or a list of arrays")
