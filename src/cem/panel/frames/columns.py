"""Convert columns of a data frame to arrays: numbers, times, ids, labels; bad cells are refused by row."""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import CemError, PanelError
from cem.errors.names import encode_labels, object_array, unit_name
from cem.extras import extra
from cem.panel.clock import instants, is_missing
from cem.panel.frames.cells import NULL_NUMBERS, Missing, is_number
from cem.panel.frames.dates import formatted_dates, iso_dates, text_array

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "as_array",
    "bad_cells",
    "cell_of",
    "check_row_times",
    "constant",
    "factorise",
    "ids_of",
    "is_gap",
    "is_na",
    "is_real",
    "is_text",
    "kind_of",
    "labels",
    "narwhals_module",
    "numbers",
    "plain_items",
    "row_codes",
    "running_in_column",
    "times",
    "unit_column",
]

_LARGEST_EXACT = 2.0**53
_YES, _NO = ("true", "yes", "y", "1"), ("false", "no", "n", "0")


def narwhals_module() -> ModuleType:
    """The package through which data frames of any library are read and made; MissingPackageError without it."""
    return extra("narwhals", "frames", "reading data frames (arrays need none: Panel.from_arrays)")


# -- numbers ----------------------------------------------------------------------------------------------------


def numbers(nw: ModuleType, series: Any, name: str, missing: Missing) -> np.ndarray:
    """(n_rows,) float64, NaN where missing; no copy if the column is that already."""
    dtype = series.dtype
    if dtype in (nw.Decimal, nw.Int128, nw.UInt128):  # none of which NumPy has
        series = _as_floats(nw, series)
    elif is_text(nw, dtype) and missing.texts:
        return missing.applied(_from_cells(nw, series, name, missing))
    elif not dtype.is_numeric() and dtype not in (nw.Object, nw.Unknown, nw.Boolean):
        raise PanelError(_not_numeric(nw, name, dtype, series))
    array = as_array(series)
    if array.dtype.kind == "c":
        raise PanelError(f"channel {name!r} holds complex numbers; give real ones")
    if array.dtype.kind not in "mM":
        try:
            if array.dtype != object:
                return missing.applied(np.asarray(array, dtype=np.float64))
        except (TypeError, ValueError, OverflowError):
            pass
    return missing.applied(_from_cells(nw, series, name, missing))


def _as_floats(nw: ModuleType, series: Any) -> Any:
    """Decimals and wide integers as the nearest float64, the one that their text has; pyarrow's own cast misses it."""
    if series.dtype == nw.Decimal and not series.implementation.is_polars():
        series = series.cast(nw.String)
    return series.cast(nw.Float64)


def _from_cells(nw: ModuleType, series: Any, name: str, missing: Missing) -> np.ndarray:
    """Numbers of a column of objects or text: some texts mean missing, and all others must be numbers."""
    cells: list[Any] = [np.nan if is_na(item) else item for item in plain_items(series)]
    gone = {*missing.texts, *NULL_NUMBERS} if missing.texts else set()
    for row, item in enumerate(cells):
        if isinstance(item, str):
            text = item.strip()
            cells[row] = np.nan if text in gone else float(text) if is_number(text) else item
    bad = [row for row, item in enumerate(cells) if not is_real(item)]
    if bad:
        raise PanelError(_not_numeric(nw, name, series.dtype, series, bad))
    try:
        return object_array(cells).astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise PanelError(_not_numeric(nw, name, series.dtype, series)) from None


def is_text(nw: ModuleType, dtype: Any) -> bool:
    return dtype in (nw.String, nw.Categorical, nw.Enum)


def is_na(item: object) -> bool:
    return item is None or type(item).__name__ in ("NAType", "NaTType")


def is_gap(item: object) -> bool:
    """True for an item of a frame that means missing: None, NaN, NaT and pandas' own values."""
    return is_na(item) or (isinstance(item, float) and item != item)


def is_real(item: object) -> bool:
    """True for an object that is a number, not a text, array or duration."""
    kinds = (bool, int, float, np.number, np.bool_, decimal.Decimal)
    return isinstance(item, kinds) and not isinstance(item, np.timedelta64)


def bad_cells(cells: list[tuple[int, object]], n_bad: int, advice: bool = True) -> str:
    """``rows 7 and 19 hold 'Bad Input' and '-'``, with what to do about it."""
    rows = [f"row {row} holds {item!r}" for row, item in cells[:5]]
    shown = ", ".join(rows) + (f" and {n_bad - len(rows):,} more" if n_bad > len(rows) else "")
    if not advice:
        return shown
    texts = list(dict.fromkeys(item.strip() for _, item in cells if isinstance(item, str)))
    if texts and all(is_number(text, ",") for text in texts):
        return f"{shown}; read decimal commas with decimal=',' (on the command line: --decimal ,)"
    codes = texts[:3] or ["Bad Input"]
    return (
        f"{shown}; convert the column to numbers, with NaN for missing; or declare the codes for missing with "
        f"missing={codes!r} (on the command line: --missing {','.join(codes)!r}); or leave the column out by naming "
        "channels"
    )


def _not_numeric(nw: ModuleType, name: str, dtype: Any, series: Any, rows: list[int] | None = None) -> str:
    found = list[tuple[int, object]]()
    n_bad = 0
    if rows is not None:
        n_bad = len(rows)
        found = [(row, cell_of(series, row)) for row in rows[:5]]
    elif not dtype.is_temporal():
        items = plain_items(series[:100_000])
        texts = [
            (row, item) for row, item in enumerate(items) if not is_na(item) and not isinstance(item, (int, float))
        ]
        worse = [
            (row, item)
            for row, item in texts
            if not isinstance(item, str) or not (is_number(item.strip()) or item.strip() in NULL_NUMBERS)
        ]
        found = worse or texts
        n_bad = len(found)
    if not found:
        return (
            f"channel {name!r} is not numeric: it has type {kind_of(series)}; convert the column to numbers, with NaN "
            "for missing, or leave it out"
        )
    return f"channel {name!r} is not numeric: {bad_cells(found, n_bad)}"


# -- times ------------------------------------------------------------------------------------------------------


def times(nw: ModuleType, series: Any, what: str, time_format: str | None = None) -> np.ndarray:
    """(n_rows,) float64, datetime64 or timedelta64, before an origin is subtracted."""
    dtype = series.dtype
    label = f"{what} (column {series.name!r})"
    if time_format is not None and not dtype.is_temporal():
        items = plain_items(series)
        if dtype.is_float():
            items = [None if is_gap(item) else f"{item:.0f}" for item in items]
        return formatted_dates([None if is_na(item) else item for item in items], time_format, label)
    if dtype in (nw.Decimal, nw.Int128, nw.UInt128):  # none of which NumPy has
        series = _as_floats(nw, series)
    elif dtype == nw.Date:
        _check_days(series, label)
        with _as_panel_error(f"{label}: its dates cannot be read as instants"):
            series = series.cast(nw.Datetime("us"))
    elif dtype == nw.Datetime and dtype.time_zone is not None:
        with _as_panel_error(f"{label}: its instants cannot be read in UTC"):
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    elif dtype == nw.String:
        return _dates(series, label)
    elif not dtype.is_numeric() and not dtype.is_temporal() and dtype not in (nw.Object, nw.Unknown):
        raise PanelError(f"{label} must hold numbers, datetimes or durations; found type {kind_of(series)}")
    array = as_array(series)
    found = instants(object_array(list(array)) if array.dtype == object else array, label)
    if found.dtype.kind == "f":
        _check_compact(found, label)
    return found


def _check_days(series: Any, label: str) -> None:
    """Refuse days beyond microseconds of 64 bits, which polars 1.0 wraps around."""
    if series.implementation.is_polars():
        days = series.to_native().to_physical().to_numpy()
        far = np.abs(days.astype(np.float64)) > 106_751_991
        if far.any():
            row = int(np.argmax(far))
            raise PanelError(
                f"{label}: the date at row {row} is {days[row]:,.0f} days from 1970, too far for an instant; correct it"
            )


def _dates(series: Any, label: str) -> np.ndarray:
    try:
        texts = _ascii(series)
    except UnicodeEncodeError as error:
        items = plain_items(series)
        row = next(row for row, item in enumerate(items) if isinstance(item, str) and not item.isascii())
        raise PanelError(
            f"{label}: item {row} is {items[row]!r}, which is not an ISO 8601 date such as 2024-05-01T06:00:00; give "
            "the format of the dates by time_format= (on the command line: --time-format), or give numbers"
        ) from error
    if not np.count_nonzero(texts):
        return np.full(texts.size, np.nan)
    return iso_dates(texts, label)


def _ascii(series: Any) -> np.ndarray:
    """(n_rows,) bytes, straight from the buffer of an Arrow column of texts of equal length."""
    native = series.to_native()
    if series.implementation.is_pyarrow() and native.null_count == 0 and len(native):
        import pyarrow as pa

        whole = native.combine_chunks() if native.num_chunks != 1 else native.chunk(0)
        if whole.type in (pa.string(), pa.large_string()) and whole.offset == 0:
            width = np.int32 if whole.type == pa.string() else np.int64
            _, ends, letters = whole.buffers()
            ends = np.frombuffer(ends, dtype=width, count=len(whole) + 1)
            length = int(ends[1] - ends[0])
            if length and np.array_equal(np.diff(ends), np.full(len(whole), length)):
                flat = np.frombuffer(letters, dtype=f"S{length}", count=len(whole), offset=int(ends[0]))
                if flat[:1].tobytes().strip() == flat[:1].tobytes():
                    return flat
    return text_array(plain_items(series))


def _check_compact(numbers: np.ndarray, label: str) -> None:
    """Refuse numbers that are all dates such as 20240501: as numbers, months would be 100 apart."""
    if numbers.size < 3 or not 19_000_101 <= numbers[0] <= 21_001_231:
        return
    days = numbers[~np.isnan(numbers)]
    if not np.all((days >= 19_000_101) & (days <= 21_001_231) & (days == np.floor(days))) or np.ptp(days) == 0:
        return
    whole = days.astype(np.int64)
    year, month, day = whole // 10_000, whole // 100 % 100, whole % 100
    if np.all((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1900)):
        raise PanelError(
            f"{label}: all of its numbers are dates such as {whole[0]}; give time_format='%Y%m%d' (on the command "
            "line: --time-format), or give ISO 8601 dates"
        )


def check_row_times(raw: np.ndarray, units: Any, time: str) -> None:
    bad = is_missing(raw) if raw.dtype.kind in "mM" else ~np.isfinite(raw)
    if bad.any():
        row = int(np.argmax(bad))
        found = "infinite" if raw.dtype.kind == "f" and np.isinf(raw[row]) else "missing (NaN)"
        raise PanelError(
            f"the time (column {time!r}) of unit {cell_of(units, row)!r} at row {row} is {found}; "
            "give the row a time, or remove it"
        )


def row_codes(series: Any) -> np.ndarray:
    """(n_rows,) sortable codes of the units' ids: the ids themselves if they are numbers."""
    missing = series.is_null()
    if missing.any():
        row = int(missing.arg_true()[0])
        raise PanelError(f"the unit (column {series.name!r}) is missing at row {row}; fill it in, or remove the row")
    if _is_wide(series) or (not series.dtype.is_integer() and not series.dtype.is_float()):
        return _polars_codes(series) if series.implementation.is_polars() else factorise(series)[0]
    codes = as_array(series)
    if codes.dtype == object:
        codes = np.array(codes.tolist())
    if codes.dtype.kind == "f":
        if np.isnan(codes).any():
            row = int(np.argmax(np.isnan(codes)))
            raise PanelError(f"the unit (column {series.name!r}) is NaN at row {row}; fill it in, or remove the row")
        inexact = np.abs(codes.astype(np.float64)) >= 2.0 ** (np.finfo(codes.dtype).nmant + 1)
        if inexact.any():
            row = int(np.argmax(inexact))
            raise PanelError(
                f"the unit (column {series.name!r}) is the float {codes[row]:g} at row {row}, too large for "
                "exact integers; read the column as text or as integers"
            )
    return codes


def _is_wide(series: Any) -> bool:
    """Whether it holds integers of 128 bits, for which NumPy has no type."""
    return str(series.dtype) in ("Int128", "UInt128")


def _polars_codes(series: Any) -> np.ndarray:
    """Codes by a hash table; the ranks of `factorise` need a sort of the strings."""
    import polars as pl

    native = series.to_native()
    if native.dtype == pl.String:
        native = native.cast(pl.Categorical)
    if native.dtype in (pl.Categorical, pl.Enum):
        codes: np.ndarray = native.to_physical().to_numpy()
        return codes
    return factorise(series)[0]


def plain_items(series: Any) -> list[Any]:
    """The items as Python objects; PanelError for dates after the year 9999."""
    with _as_panel_error(f"column {series.name!r} of type {series.dtype} cannot be read"):
        items: list[Any] = series.to_list()
    return items


def as_array(series: Any) -> np.ndarray:
    """The column in NumPy; PanelError if its backend cannot make an array of it."""
    with _as_panel_error(f"column {series.name!r} of type {series.dtype} cannot be read"):
        array: np.ndarray = series.to_numpy()
    return array


@contextmanager
def _as_panel_error(what: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # polars, not an Exception
            raise
        if isinstance(error, (CemError, MemoryError)):
            raise
        raise PanelError(f"{what}: {error}") from None


def kind_of(series: Any) -> str:
    """The type of a column for messages: that of its library where narwhals has none."""
    dtype = series.dtype
    if str(dtype) not in ("Unknown", "Object"):
        return str(dtype)
    native = series.to_native()
    return str(getattr(native, "type", None) or getattr(native, "dtype", dtype))


def cell_of(series: Any, row: int) -> Any:
    """One item, as a Python object for messages."""
    return plain_items(series[row : row + 1])[0]


def unit_column(nw: ModuleType, series: Any) -> Any:
    """The column of the units' ids; whole decimals, as databases export keys, become integers."""
    if series.dtype != nw.Decimal:
        return series
    items = [item for item in plain_items(series[:1000]) if item is not None]
    if any(item != int(item) for item in items):
        return series
    try:
        whole = series.cast(nw.Int64)
        return whole if bool((whole.cast(nw.Float64) == series.cast(nw.Float64)).all()) else series
    except Exception:  # each backend has its own error for numbers that do not fit
        return series


def ids_of(series: Any, codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The ids at these rows: int64 if all fit, objects otherwise."""
    if not series.dtype.is_integer() or _is_wide(series):
        return object_array(plain_items(series[rows]))
    ids = codes[rows]
    if ids.dtype == np.uint64 and ids.size and ids.max() > np.iinfo(np.int64).max:
        return object_array(ids.tolist())
    whole: np.ndarray = ids if ids.dtype == object else ids.astype(np.int64)
    return whole


def factorise(series: Any) -> tuple[np.ndarray, list[Any]]:
    """Codes (n_rows,), -1 where missing, and their values, by the backend's own hash table."""
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
            chunks = [  # as int64: codes of DuckDB and polars have no sign
                chunk.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks
            ]
            return np.concatenate(chunks), encoded.chunk(0).dictionary.to_pylist()
        except (NotImplementedError, ValueError, OverflowError) as error:  # nested types, dates beyond the year 9999
            raise PanelError(
                f"column {series.name!r} of type {series.dtype} cannot identify rows: {error}; "
                "give strings, integers or dates"
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
                # Of the texts, as the ranks are: an Enum sorts its levels in an order of its own.
                texts = narwhals_module().from_native(native, series_only=True)
                distinct = plain_items(texts.drop_nulls().unique().sort())
            return native.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1, distinct
    table: dict[Any, int] = {}
    try:
        codes = [-1 if is_na(item) else table.setdefault(item, len(table)) for item in plain_items(series)]
    except TypeError:
        raise PanelError(f"column {series.name!r} holds items that cannot be hashed, such as lists") from None
    return np.asarray(codes, dtype=np.int64), list(table)


# -- columns that are constant within a unit --------------------------------------------------------------------


def constant(
    column: np.ndarray, order: np.ndarray | None, starts: np.ndarray, unit_ids: np.ndarray, name: str
) -> np.ndarray:
    """(n_units,) the one value of each unit, missing if it has none; PanelError if it has two."""
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


def labels(
    nw: ModuleType, series: Any, order: np.ndarray | None, starts: np.ndarray, unit_ids: np.ndarray
) -> np.ndarray:
    """(n_units,) label of each unit, NaN or None if unknown; PanelError if a unit has two."""
    if series.dtype.is_numeric() and not _is_inexact(series):
        column = np.array(numbers(nw, series, series.name, Missing(None)))
        column[column == -1] = np.nan
        return constant(column, order, starts, unit_ids, series.name)
    codes, distinct = factorise(series)
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


def running_in_column(
    nw: ModuleType, series: Any, order: np.ndarray | None, starts: np.ndarray, unit_ids: np.ndarray
) -> np.ndarray:
    """Mask (n_units,) of the units for which a column of truth values says that they run.

    Parameters
    ----------
    nw : module
    series : Series
        True or false, 1 or 0, yes or no; an empty cell: what the other rows of the unit say, else no.
    order, starts, unit_ids
        As for `labels`.

    Raises
    ------
    PanelError
        The column holds something else, or varies within a unit.
    """
    found = labels(nw, series, order, starts, unit_ids).tolist()
    mask = np.zeros(len(found), dtype=bool)
    for l, value in enumerate(found):
        if value is None or value != value:
            continue
        word = f"{value:g}" if isinstance(value, float) else str(value).strip().lower()
        if word not in (*_YES, *_NO):
            raise PanelError(
                f"column {series.name!r} says {value!r} of unit {unit_name(unit_ids, l)}; whether it still runs, as "
                "true or false, 1 or 0, yes or no, was expected"
            )
        mask[l] = word in _YES
    return mask


def _is_inexact(series: Any) -> bool:
    """True for integers that float64 cannot distinguish."""
    if not series.dtype.is_integer():
        return False
    low, high = series.min(), series.max()
    return low is not None and high is not None and not -_LARGEST_EXACT < low <= high < _LARGEST_EXACT
