"""Long tables (pandas, polars, pyarrow, ... through narwhals) grouped by unit into a Panel.

Nothing here loops over rows or units in Python, and columns are converted one at a time: beside the table and the
panel there is at any moment one column and, where rows are not in order already, one permutation of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .clock import instants, is_missing
from .errors import PanelError
from .names import did_you_mean, encode_labels, listed, object_array, unit_name
from .panel import Panel

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["group_rows", "panel_from_frame"]


def panel_from_frame(
    frame: Any,
    *,
    unit: str,
    time: str,
    channels: Sequence[str] | None = None,
    response: str | None = None,
    mode: str | None = None,
    failure_time: str | None = None,
    time_unit: str | None = None,
    origin: Any = None,
    channel_units: Mapping[str, str] | None = None,
    allow_empty_channels: bool = False,
) -> Panel:
    """`Panel.from_frame`, whose documentation holds."""
    nw = _narwhals()
    table = _eager(nw, frame)
    roles = {"unit": unit, "time": time, "mode": mode, "failure_time": failure_time}
    used = {role: name for role, name in roles.items() if name is not None}
    for role, name in {**used, "response": response}.items():
        if name is not None:
            _check_column(table, frame, role, name)
    n_rows = len(table)
    if n_rows == 0:
        raise PanelError("the panel is empty: the frame has no rows")
    names = _channel_names(table, frame, used, channels, response)

    raw = _times(nw, table[time], "time")
    codes = _row_codes(table[unit])
    _check_row_times(raw, table[unit], time)
    order, offsets = group_rows(codes, raw)
    first = offsets[:-1] if order is None else order[offsets[:-1]]
    unit_ids = _unit_ids(table[unit], codes, first)
    del codes
    values = np.empty((n_rows, len(names)))
    for c, name in enumerate(names):
        column = _numbers(nw, table[name], name)
        infinite = np.isinf(column)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise PanelError(
                f"channel {name!r} of unit {_cell(table[unit], row)!r} is infinite at row {row} "
                f"({time} {_cell(table[time], row)}); remove the row, or set the value to NaN, which means missing"
            )
        if order is None:
            values[:, c] = column
        else:
            np.take(column, order, out=values[:, c])
        del column, infinite

    starts = offsets[:-1]
    labels = None if mode is None else _labels(nw, table[mode], order, starts, unit_ids)
    failed = None
    if failure_time is not None:
        failed = _constant(_times(nw, table[failure_time], "failure time"), order, starts, unit_ids, failure_time)
    if order is not None:
        raw = raw[order]
    elif table.implementation.is_pandas_like() or not raw.flags.writeable:  # the frame's own memory: not ours to keep
        raw = raw.copy()
    del order
    return Panel(
        unit_ids,
        offsets,
        raw,
        values,
        names,
        response=response,
        modes=labels,
        failure_times=failed,
        time_unit=time_unit,
        origin=origin,
        channel_units=channel_units,
        allow_empty_channels=allow_empty_channels,
    )


def group_rows(codes: np.ndarray, times: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Permutation that brings rows together by unit and sorts them by time, both stably.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        Equal for rows of one unit, of any sortable type.
    times : ndarray of shape (n_rows,)

    Returns
    -------
    order : ndarray of shape (n_rows,), int64, or None
        None where the rows are in order already, as those of most files are: then nothing is sorted or moved.
    offsets : ndarray of shape (n_units + 1,), int64
        Units come in order of first appearance.
    """
    n_rows = codes.size
    starts = _starts(codes)
    if _distinct(codes[starts]):  # each unit's rows lie together
        in_order = times[1:] >= times[:-1]
        in_order[starts[1:] - 1] = True
        if in_order.all():
            return None, np.append(starts, n_rows)
        dense = np.repeat(np.arange(starts.size, dtype=np.int32), np.diff(starts, append=n_rows))
    else:
        order = np.argsort(codes, kind="stable")
        starts = _starts(codes[order])
        lengths = np.diff(starts, append=n_rows)
        by_appearance = np.argsort(order[starts], kind="stable")
        rank = np.empty(starts.size, dtype=np.int32)
        rank[by_appearance] = np.arange(starts.size, dtype=np.int32)
        dense = np.empty(n_rows, dtype=np.int32)
        dense[order] = np.repeat(rank, lengths)
        del order
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths[by_appearance])[:-1]])
    return np.lexsort((times, dense)), np.append(starts, n_rows)


def _distinct(codes: np.ndarray) -> bool:
    """True where no code occurs twice; without a sort where they rise."""
    if np.all(codes[1:] > codes[:-1]):
        return True
    ordered = np.sort(codes)
    return not np.any(ordered[1:] == ordered[:-1])


def _starts(codes: np.ndarray) -> np.ndarray:
    """First row of each run of equal codes."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.flatnonzero(codes[1:] != codes[:-1]) + 1])


# -- the table --------------------------------------------------------------------------------------------------


def _narwhals() -> ModuleType:
    try:
        import narwhals
    except ImportError:
        raise PanelError(
            "reading data frames needs the package narwhals; install it with  pip install 'cem-failure-modes[frames]'  "
            "or give arrays to Panel.from_arrays"
        ) from None
    return narwhals


def _eager(nw: ModuleType, frame: Any) -> Any:
    columns = None
    if not hasattr(frame, "collect"):  # a lazy frame would have to plan its query for the names
        columns = getattr(frame, "column_names", getattr(frame, "columns", None))
    if columns is not None and not callable(columns):
        seen: set[object] = set()
        for name in columns:
            if isinstance(name, str) and name in seen:
                raise PanelError(f"column {name!r} occurs twice in the frame; rename or drop one of the two")
            seen.add(name)
    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError:
        advice = "call its .collect() first" if hasattr(frame, "collect") else "give pandas, polars or pyarrow"
        raise PanelError(f"a data frame is needed, found {type(frame).__name__}; {advice}") from None
    return table


def _check_column(table: Any, frame: Any, role: str, name: str) -> None:
    if name in table.columns:
        return
    if name in (getattr(getattr(frame, "index", None), "names", None) or ()):
        raise PanelError(f"{role}={name!r} is in the index of the frame, not a column; call its .reset_index() first")
    raise PanelError(f"{role}={name!r} is not a column of the frame; {did_you_mean(name, table.columns)}")


def _channel_names(
    table: Any, frame: Any, used: dict[str, str], channels: Sequence[str] | None, response: str | None
) -> list[str]:
    by_name: dict[str, str] = {}
    for role, name in used.items():
        if name in by_name:
            raise PanelError(f"column {name!r} cannot be both {by_name[name]} and {role}; give two columns")
        by_name[name] = role
    if channels is None:
        names = [
            name
            for name in table.columns
            if name not in by_name and name != response and table[name].dtype.is_numeric()
        ]  # fmt: skip
        if not names and response is None:
            raise PanelError(f"no numeric column is left to be a channel; the columns are {listed(table.columns, 12)}")
    elif isinstance(channels, str):
        raise PanelError(f"channels must be a list of columns; found the one string {channels!r}: write [{channels!r}]")
    else:
        names = list(channels)
    if response is not None and response not in names:
        names.append(response)
    known = set(table.columns)  # once: to ask for the names takes time for each of them
    for name in names:
        if not isinstance(name, str) or name not in known:
            _check_column(table, frame, "channel", name)
        if name in by_name:
            raise PanelError(f"column {name!r} cannot be both {by_name[name]} and a channel")
    return names


# -- one column -------------------------------------------------------------------------------------------------


def _numbers(nw: ModuleType, series: Any, name: str) -> np.ndarray:
    """(n_rows,) float64, NaN where missing; no copy where the column is that already."""
    dtype = series.dtype
    if dtype in (nw.Decimal, nw.Int128, nw.UInt128):  # none of which NumPy has
        series = series.cast(nw.Float64)
    elif not dtype.is_numeric() and dtype not in (nw.Object, nw.Unknown, nw.Boolean):
        raise PanelError(_not_numeric(name, dtype, series))
    array = series.to_numpy()
    if array.dtype.kind == "c":
        raise PanelError(f"channel {name!r} holds complex numbers; give real ones")
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    array = object_array([np.nan if _is_na(item) else item for item in array.tolist()])
    try:
        if any(isinstance(item, str) for item in array):
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise PanelError(_not_numeric(name, dtype, series)) from None


def _is_na(item: object) -> bool:
    return item is None or type(item).__name__ in ("NAType", "NaTType")


def _not_numeric(name: str, dtype: Any, series: Any) -> str:
    for row, item in enumerate(() if dtype.is_temporal() else _plain_items(series[:100_000])):
        if not _is_na(item) and not isinstance(item, (int, float)):
            found = f"row {row} holds {item!r}"
            break
    else:
        found = f"it has type {dtype}"
    return (
        f"channel {name!r} is not numeric: {found}; convert the column to numbers, NaN where missing, or leave it out"
    )


def _times(nw: ModuleType, series: Any, what: str) -> np.ndarray:
    """(n_rows,) float64, datetime64 or timedelta64; not counted from any origin yet."""
    dtype = series.dtype
    label = f"{what} (column {series.name!r})"
    if dtype in (nw.Decimal, nw.Int128, nw.UInt128):  # none of which NumPy has
        series = series.cast(nw.Float64)
    elif dtype == nw.Date:
        series = series.cast(nw.Datetime("us"))
    elif dtype == nw.Datetime and dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    elif dtype == nw.String:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # pandas warns, and guesses, where the format is unclear
                return _times(nw, series.str.to_datetime(), what)
        except PanelError:
            raise
        except Exception:  # every backend has its own; what follows names the row at fault
            return instants(object_array(_plain_items(series)), label)
    elif not dtype.is_numeric() and not dtype.is_temporal() and dtype not in (nw.Object, nw.Unknown):
        raise PanelError(f"{label} must hold numbers, datetimes or durations; found type {dtype}")
    array = series.to_numpy()
    return instants(object_array(list(array)) if array.dtype == object else array, label)


def _check_row_times(raw: np.ndarray, units: Any, time: str) -> None:
    bad = is_missing(raw) if raw.dtype.kind in "mM" else ~np.isfinite(raw)
    if bad.any():
        row = int(np.argmax(bad))
        found = "infinite" if raw.dtype.kind == "f" and np.isinf(raw[row]) else "missing (NaN)"
        raise PanelError(
            f"the time (column {time!r}) of unit {_cell(units, row)!r} at row {row} is {found}; "
            "give the row a time, or remove it"
        )


def _row_codes(series: Any) -> np.ndarray:
    """(n_rows,) sortable codes of the units' ids: the ids themselves where they are numbers."""
    missing = series.is_null()
    if missing.any():
        row = int(missing.arg_true()[0])
        raise PanelError(f"the unit (column {series.name!r}) is missing at row {row}; fill it in, or remove the row")
    if _is_wide(series) or (not series.dtype.is_integer() and not series.dtype.is_float()):
        return _polars_codes(series) if series.implementation.is_polars() else _factorise(series)[0]
    codes = series.to_numpy()
    if codes.dtype.kind == "f" and np.isnan(codes).any():
        row = int(np.argmax(np.isnan(codes)))
        raise PanelError(f"the unit (column {series.name!r}) is NaN at row {row}; fill it in, or remove the row")
    return codes


def _unit_ids(series: Any, codes: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(n_units,) int64 where the ids are such integers, else the objects that they are."""
    if series.dtype.is_integer() and not _is_wide(series):
        ids = codes[first]
        if ids.dtype != np.uint64 or ids.max() <= np.iinfo(np.int64).max:
            return ids.astype(np.int64)
    return _items(series, first)


def _is_wide(series: Any) -> bool:
    """Whether it holds integers of 128 bits, for which NumPy has no type."""
    return str(series.dtype) in ("Int128", "UInt128")


def _polars_codes(series: Any) -> np.ndarray:
    """Codes alone, by a hash table: ranks, which `_factorise` takes, need a sort of the strings."""
    import polars as pl

    native = series.to_native()
    if native.dtype == pl.String:
        native = native.cast(pl.Categorical)
    if native.dtype in (pl.Categorical, pl.Enum):
        return native.to_physical().to_numpy()
    return _factorise(series)[0]


def _plain_items(series: Any) -> list[Any]:
    """The items as objects of Python, whose dates end at the year 9999: PanelError beyond."""
    try:
        items: list[Any] = series.to_list()
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # polars: no Exception
            raise
        if isinstance(error, MemoryError):
            raise
        raise PanelError(f"column {series.name!r} of type {series.dtype} cannot be read: {error}") from None
    return items


def _cell(series: Any, row: int) -> Any:
    """One item, of which messages show the object of Python."""
    return _plain_items(series[row : row + 1])[0]


def _items(series: Any, rows: np.ndarray) -> np.ndarray:
    if series.implementation.is_pyarrow() and str(series.to_native().type) in ("string_view", "binary_view"):
        items = series.to_native().cast(f"large_{str(series.to_native().type)[:-5]}")  # of views it can take no rows
        return object_array(items.take(rows).to_pylist())
    return object_array(_plain_items(series[rows]))


def _factorise(series: Any) -> tuple[np.ndarray, list[Any]]:
    """Codes (n_rows,), -1 where missing, and the values that they stand for, by the backend's own hash table."""
    implementation = series.implementation
    native = series.to_native()
    if implementation.is_pandas():
        try:
            codes, distinct = native.factorize()
        except TypeError:
            raise PanelError(f"column {series.name!r} holds items that cannot be hashed, such as lists") from None
        return codes, distinct.tolist()
    if implementation.is_pyarrow():
        try:
            encoded = native.unify_dictionaries() if hasattr(native.type, "index_type") else native.dictionary_encode()
            encoded = encoded.unify_dictionaries()
            chunks = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
            return np.concatenate(chunks), encoded.chunk(0).dictionary.to_pylist()
        except (NotImplementedError, ValueError, OverflowError) as error:  # nested types, dates beyond the year 9999
            raise PanelError(
                f"column {series.name!r} of type {series.dtype} cannot tell rows apart: {error}; "
                "give strings, whole numbers or dates"
            ) from None
    if implementation.is_polars():
        import polars as pl

        if native.dtype in (pl.Categorical, pl.Enum):
            native = native.cast(pl.String)
        if native.dtype == pl.String or native.dtype.is_temporal() or native.dtype == pl.Boolean or _is_wide(series):
            if native.dtype == pl.Boolean:
                native = native.cast(pl.Int8)
                distinct = [bool(item) for item in native.drop_nulls().unique().sort().to_list()]
            else:
                distinct = _plain_items(series.drop_nulls().unique().sort())
            return native.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1, distinct
    table: dict[Any, int] = {}
    try:
        codes = [-1 if _is_na(item) else table.setdefault(item, len(table)) for item in _plain_items(series)]
    except TypeError:
        raise PanelError(f"column {series.name!r} holds items that cannot be hashed, such as lists") from None
    return np.asarray(codes, dtype=np.int64), list(table)


# -- columns that are constant within a unit --------------------------------------------------------------------


def _constant(
    column: np.ndarray, order: np.ndarray | None, starts: np.ndarray, unit_ids: np.ndarray, name: str
) -> np.ndarray:
    """(n_units,) the one value of each unit, missing where it has none; PanelError where it has two."""
    column = column if order is None else column[order]
    low, high = np.fmin.reduceat(column, starts), np.fmax.reduceat(column, starts)
    varies = low < high
    if varies.any():
        l = int(np.argmax(varies))
        raise PanelError(
            f"column {name!r} varies within unit {unit_name(unit_ids, l)}: {low[l]} and {high[l]} occur; "
            "it must be constant within a unit (or empty)"
        )
    return high


def _labels(
    nw: ModuleType, series: Any, order: np.ndarray | None, starts: np.ndarray, unit_ids: np.ndarray
) -> np.ndarray:
    """(n_units,) label of each unit, NaN or None where unknown; PanelError where a unit has two."""
    if series.dtype.is_numeric():
        column = np.array(_numbers(nw, series, series.name))
        column[column == -1] = np.nan
        return _constant(column, order, starts, unit_ids, series.name)
    codes, distinct = _factorise(series)
    label_codes, labels = encode_labels(distinct)  # None, NaN and -1 among the labels mean unknown
    codes = np.append(label_codes, np.int32(-1))[codes]
    codes = codes if order is None else codes[order]
    high = np.maximum.reduceat(codes, starts)
    codes[codes < 0] = len(labels)
    low = np.minimum.reduceat(codes, starts)
    varies = (low < high) & (high >= 0)
    if varies.any():
        l = int(np.argmax(varies))
        raise PanelError(
            f"mode (column {series.name!r}) varies within unit {unit_name(unit_ids, l)}: {labels[low[l]]!r} and "
            f"{labels[high[l]]!r} occur; a unit has one mode: keep one label, or split the unit"
        )
    return object_array((*labels, None))[high]
