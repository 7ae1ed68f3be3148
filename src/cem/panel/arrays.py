"""Convert users' arrays (one per unit, or one for all units) to the end-to-end layout of a Panel."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cem.errors import OptionError, PanelError, PanelTypeError
from cem.errors.names import did_you_mean, listed, unit_array
from cem.panel.axes import axes_of, check_order, own_axes, standard
from cem.panel.checks import checked_channels
from cem.panel.clock import instants, is_missing
from cem.panel.containers import as_array, column_names, is_table, refuse_table, row_names

__all__ = ["Flat", "flatten", "float_rows"]


class Flat(NamedTuple):
    """All readings end to end."""

    offsets: np.ndarray  # (n_units + 1,), int64
    times: np.ndarray  # (n_readings,), float64, datetime64 or timedelta64
    values: np.ndarray  # (n_readings, n_channels), float64; never the caller's memory
    unit_ids: np.ndarray  # (n_units,)
    channels: tuple[str, ...]
    kept: np.ndarray | None = None  # (n_units * n_times,) bool of a padded array: its readings; None: all are


def flatten(
    times: Any,
    values: Any,
    units: Iterable[Hashable] | np.ndarray | None,
    *,
    channels: Sequence[str] | None = None,
    axes: str | Sequence[str] | None = None,
    may_lack: str | None = None,
) -> Flat:
    """All readings end to end, the units' ids and the channels' names; arguments as for `panel_of_arrays`."""
    order = axes_of(axes)
    units, times, values = _by_unit(units, times, values)
    unit_ids = None if units is None else unit_array(units)
    if channels is not None:
        channels = checked_channels(channels)
    if is_table(values):
        values = _wide(values)
    if not isinstance(values, (np.ndarray, list, tuple)):
        order = order or own_axes(values)
        values = _array_or_list(values)
    if not isinstance(values, np.ndarray) or (values.dtype == object and values.ndim == 1):
        values = list(values)
        if not values:
            raise PanelError("the panel is empty: it needs at least one unit with at least one reading")
        if times is None:
            _check_index(values)
        values, channels = _named(values, channels)
    lists = isinstance(values, list) and not (_one_axis(times) or (times is None and _alike(values)))
    if lists:
        n_units = len(values)
    else:
        values = _as_float(values, "values")
        if values.ndim not in (2, 3):
            raise PanelError(
                "values as one array must have shape (units, times) or (units, times, channels); "
                f"found shape {values.shape}. Reshape your data: one unit of one channel is array.reshape(1, -1). For "
                "units of unequal length give a list of arrays"
            )
        if order is not None:
            values = standard(values, order)
        elif values.ndim == 3:
            check_order(values.shape, _n_times(times), _n_channels(channels, may_lack), "values")
        n_units = values.shape[0]
    if unit_ids is None:
        unit_ids = np.arange(n_units, dtype=np.int64)
    elif unit_ids.size != n_units:
        raise PanelError(f"units must hold one id per unit, {n_units} as in values; found {unit_ids.size}")
    if lists:
        possible, kept = _n_channels(channels, may_lack), None
        offsets, raw, flat = _from_lists(times, values, unit_ids, order, possible)
    else:
        offsets, raw, flat, kept = _from_dense(times, values)
    if channels is None:
        channels = tuple(f"x{c + 1}" for c in range(flat.shape[1]))
    elif may_lack is not None and flat.shape[1] == len(channels) - 1:
        channels = tuple(name for name in channels if name != may_lack)
    return Flat(offsets, raw, flat, unit_ids, tuple(channels), kept)


def float_rows(values: Any, channels: Sequence[str]) -> np.ndarray:
    """(n_readings, n_channels) float64 of an array, a list of rows, or one data frame read by column name."""
    if is_table(values):
        (values,), _ = _named([values], channels)
    return _as_float(values, "values")


# -- containers -------------------------------------------------------------------------------------------------


def _by_unit(units: Any, times: Any, values: Any) -> tuple[Any, Any, Any]:
    """Lists from dicts of unit to array, if times and values have the same keys."""
    if not isinstance(values, Mapping) or is_table(values):
        return units, times, values
    if isinstance(times, Mapping) and units is None and set(times) == set(values):
        return list(values), [times[unit] for unit in values], list(values.values())
    raise PanelError(
        f"values are a dict with the keys {listed(list(values), 8)}; for columns of one table call "
        "Panel.from_frame(pandas.DataFrame(values), unit=..., time=...), for one array per unit give dicts of both "
        "times and values with the same keys"
    )


def _wide(table: Any) -> np.ndarray:
    """The array of a data frame with one row per unit and columns 0, 1, 2, ...; every other table is refused."""
    names = column_names(table)
    if names is None or names != list(range(len(names))) or any(isinstance(name, bool) for name in names):
        refuse_table(table, "values")
    array = as_array(table, "values")
    if array.dtype == object and array.size and not isinstance(array.flat[0], (int, float, type(None))):
        refuse_table(table, "values")
    return array


def _array_or_list(values: Any) -> Any:
    """Anything else as an array, or as a list of one item per unit if units have unequal lengths."""
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes)):
        if not hasattr(values, "__array__"):
            raise PanelError(f"values must be a list of arrays or an array; found {type(values).__name__}")
        return as_array(values, "values")
    if not hasattr(values, "__array__"):
        return as_array(values, "values") if hasattr(values, "toarray") or hasattr(values, "todense") else list(values)
    try:
        return as_array(values, "values")
    except PanelError:
        units: Any = values
        if not hasattr(values, "__len__") or hasattr(values, "todense") or hasattr(values, "cpu"):
            raise
        return [units[i] for i in range(len(units))]  # awkward arrays with units of unequal length


def _named(values: list[Any], channels: Sequence[str] | None) -> tuple[list[Any], Sequence[str] | None]:
    """A list of data frames, one per unit, as arrays with columns in the order of the channels, and their names."""
    for place, item in enumerate(values):
        names = None if is_table(item) else row_names(item)
        if names is not None:
            raise PanelError(
                f"item {place} of values is a Series with the names {listed(names, 6)}: one reading of several "
                "channels, not the readings of a unit; call Panel.from_frame(frame, unit=..., time=...) on the table"
            )
    if not any(is_table(item) for item in values):
        return values, channels
    found = [column_names(item) if is_table(item) else None for item in values]
    for place, columns in enumerate(found):
        if columns is None:
            raise PanelError(
                f"item {place} of values is a {type(values[place]).__name__} among data frames; give one data frame "
                "per unit, in memory"
            )
    first: list[Any] = found[0] or []
    places = not any(isinstance(name, str) for name in first)  # columns 0, 1, ...
    if places and (channels is None or all(columns == first for columns in found)):
        return [as_array(item, f"item {i} of values") for i, item in enumerate(values)], channels
    wanted = first if channels is None else list(channels)
    arrays = []
    for place, (item, columns) in enumerate(zip(values, found, strict=True)):
        columns = columns or []
        unknown = [name for name in columns if name not in wanted]
        lacking = [name for name in wanted if name not in columns]
        if unknown or lacking or len(columns) != len(wanted):
            fault = (
                f"has the column {unknown[0]!r}; {did_you_mean(unknown[0], wanted)}" if unknown
                else f"lacks the column {lacking[0]!r}" if lacking else "has a column twice"
            )  # fmt: skip
            of = "the channels" if channels is not None else "the columns of the first"
            raise PanelError(
                f"item {place} of values {fault}: every data frame must have {of}, {listed(wanted, 12)}, in any order; "
                "take frame[[...]], and fill a channel that a unit lacks with NaN"
            )
        arrays.append(_columns(item, columns, wanted, place))
    return arrays, tuple(wanted)


def _columns(table: Any, columns: list[Any], wanted: list[Any], place: int) -> np.ndarray:
    """(n_readings, n_channels) of a data frame, in the wanted order."""
    parts = []
    for name in wanted:
        column = table[name] if not hasattr(table, "column_names") else table.column(columns.index(name))
        parts.append(_as_float(column, f"column {name!r} of item {place} of values"))
    return np.column_stack(parts)


def _check_index(values: Sequence[Any]) -> None:
    """Without times, refuse pandas objects whose index is not 0, 1, 2, ...: it may hold times, or rows of a file."""
    for place, item in enumerate(values):
        if hasattr(type(item), "index") and hasattr(type(item), "iloc"):
            index = np.asarray(item.index)
            if index.dtype.kind not in "iu" or not np.array_equal(index, np.arange(index.size)):
                raise PanelError(
                    f"item {place} of values has an index of its own, from {index[0]!r} to {index[-1]!r}, and no times "
                    "were given; give times=[item.index for item in values] if it holds the times, or "
                    "item.reset_index(drop=True) if it does not"
                )


def _alike(values: list[Any]) -> bool:
    """True if all items have one shape, so that the list is one array."""
    shapes = {np.shape(item) if hasattr(item, "shape") else _shape(item) for item in values}
    return len(shapes) == 1 and None not in shapes


def _shape(item: Any) -> tuple[int, ...] | None:
    try:
        shape: tuple[int, ...] = np.shape(item)
    except Exception:  # rows of unequal length; a later message names the unit
        return None
    return shape


def _n_times(times: Any) -> int | None:
    if times is None:
        return None
    if _one_axis(times):
        return int(np.size(times)) if hasattr(times, "shape") else len(list(times))
    first = times[0] if hasattr(times, "__getitem__") else next(iter(times), ())
    return int(np.size(first)) if hasattr(first, "shape") else len(list(first))


def _n_channels(channels: Sequence[str] | None, may_lack: str | None) -> tuple[int, ...] | None:
    if channels is None:
        return None
    return (len(channels),) if may_lack is None else (len(channels), len(channels) - 1)


def _one_axis(times: Any) -> bool:
    """True if times are one axis for all units rather than one array per unit."""
    if times is None:
        return False
    if isinstance(times, np.ndarray) and times.dtype != object:
        return times.ndim == 1
    if isinstance(times, (Mapping, str, bytes)):
        raise PanelError(f"times are a {type(times).__name__}; give an array, or one array per unit")
    first = next(iter(times), None) if isinstance(times, Iterable) else None
    return (
        first is not None
        and (isinstance(first, (str, bytes)) or not isinstance(first, Iterable))
        and np.ndim(first) == 0
    )


def _as_float(values: Any, what: str) -> np.ndarray:
    array = as_array(values, what)
    try:
        if array.dtype.kind == "c":
            raise ValueError(f"dtype {array.dtype}. Complex data not supported: give real and imaginary parts apart")
        if array.dtype.kind in "USmMV":
            raise ValueError(f"dtype {array.dtype}")
        if array.dtype == object:
            array = _without_na(array)
        return array.astype(np.float64)  # None becomes NaN; always a copy
    except (TypeError, ValueError) as error:
        kind = PanelTypeError if isinstance(error, TypeError) else PanelError
        raise kind(
            f"{what} must be numbers, NaN or None where missing, in arrays of equal rows; found: {error}"
        ) from None


def _without_na(array: np.ndarray) -> np.ndarray:
    """Objects with None in place of pandas' NA and NaT."""
    items = array.ravel().tolist()
    if not any(type(item).__name__ in ("NAType", "NaTType") for item in items):
        return array
    plain = np.empty(len(items), dtype=object)
    plain[:] = [None if type(item).__name__ in ("NAType", "NaTType") else item for item in items]
    return plain.reshape(array.shape)


# -- layouts ----------------------------------------------------------------------------------------------------


def _from_dense(times: Any, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    n_units, n_times = values.shape[:2]
    flat = values.reshape(n_units * n_times, -1) if values.size else np.empty((0, 1))
    if not flat.size:
        none = f"0 feature(s) (shape={values.shape}) while a minimum of 1 is required: " if values.shape[0] else ""
        raise PanelError(f"the panel is empty: {none}values have shape {values.shape}")
    if times is None:
        raw = np.arange(n_times, dtype=np.float64)
    else:
        if not isinstance(times, np.ndarray) and not _one_axis(times):
            rows = [instants(row) for row in times]
            if len({row.size for row in rows}) > 1:
                raise PanelError("times of unequal length do not fit values given as one array; give lists of both")
            raw = np.stack(rows)
        else:
            raw = instants(times)
    if raw.shape not in ((n_times,), (n_units, n_times)):
        raise PanelError(
            f"times must have shape ({n_times},) or ({n_units}, {n_times}) to fit values of shape {values.shape}; "
            f"found {raw.shape}"
        )
    raw = np.ascontiguousarray(np.broadcast_to(raw, (n_units, n_times))).reshape(-1)
    offsets = np.arange(n_units + 1, dtype=np.int64) * n_times
    kept = None
    padding = is_missing(raw)
    if padding.any():  # no reading if both are missing; the Panel refuses a time that is missing on its own
        kept = ~(padding & np.isnan(flat).all(axis=1))
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(kept, dtype=np.int64)])
        offsets, raw, flat = before[offsets], raw[kept], flat[kept]
    return offsets, raw, flat, kept


def _from_lists(
    times: Any,
    values: Sequence[Any],
    unit_ids: np.ndarray,
    order: tuple[str, ...] | None,
    n_channels: Sequence[int] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = []
    for unit, x in zip(unit_ids.tolist(), values, strict=True):
        part = _as_float(_plain(x), f"values of unit {unit!r}")
        if part.ndim not in (1, 2):
            raise PanelError(
                f"values of unit {unit!r} must have shape (readings,) or (readings, channels); found {part.shape}"
            )
        parts.append(part[:, None] if part.ndim == 1 else part)
    if order is not None and order[0] != "units":
        raise OptionError(f"axes={', '.join(order)!r}: in a list of one array per unit the units come first")
    if order is not None and "channels" in order and order.index("channels") < order.index("times"):
        parts = [part.T for part in parts]
    if times is None:
        if order is None:
            _check_parts(parts, n_channels)
        raw_parts = [np.arange(len(part), dtype=np.float64) for part in parts]
    else:
        raw_parts = _times_of_units(times, unit_ids)
    for unit, part, raw in zip(unit_ids.tolist(), parts, raw_parts, strict=True):
        if raw.shape != part.shape[:1]:
            turned = raw.shape == part.shape[1:] and order is None
            advice = "; if they are (channels, times), give axes='units, channels, times'" if turned else ""
            raise PanelError(f"unit {unit!r} has {part.shape[0]} readings but times of shape {raw.shape}{advice}")
        if part.shape[1] != parts[0].shape[1]:
            raise PanelError(
                f"unit {unit!r} has {part.shape[1]} channels, the units before it {parts[0].shape[1]}; "
                "fill a channel that a unit lacks with NaN"
            )
    lengths = np.array([part.shape[0] for part in parts], dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    kinds = {raw.dtype.kind for raw in raw_parts if raw.size}
    if len(kinds) > 1:
        raise PanelError(
            "times are numbers for some units and datetimes or durations for others; give all on one clock"
        )
    raw_parts = [raw for raw in raw_parts if raw.size] or raw_parts[:1]
    return offsets, np.concatenate(raw_parts), np.concatenate(parts)


def _times_of_units(times: Any, unit_ids: np.ndarray) -> list[np.ndarray]:
    if isinstance(times, (str, bytes, Mapping)) or not isinstance(times, Iterable):
        raise PanelError(f"times must be a list of one array per unit; found {type(times).__name__}")
    times = list(times)
    if len(times) != unit_ids.size:
        raise PanelError(
            f"times and values must be lists of one array per unit; found {len(times)} and {unit_ids.size}"
        )
    return [instants(_plain(t), f"times of unit {unit!r}") for unit, t in zip(unit_ids.tolist(), times, strict=True)]


def _plain(x: Any) -> Any:
    """A list of an Arrow array of lists as one of Python: NumPy makes objects of it with pyarrow before 20."""
    return x.as_py() if hasattr(type(x), "as_py") else x


def _check_parts(parts: list[np.ndarray], n_channels: Sequence[int] | None) -> None:
    """Refuse arrays of unequal length without times if they look like (channels, times)."""
    rows, columns = {part.shape[0] for part in parts}, {part.shape[1] for part in parts}
    if len(rows) == 1 and len(columns) > 1:
        raise PanelError(
            f"the arrays of values have {rows.pop()} rows each and {min(columns)} to {max(columns)} columns: "
            "one row per channel, as aeon holds them? Give axes='units, channels, times'"
        )
    if len(columns) == 1 and len(rows) == 1:
        check_order((len(parts), rows.pop(), columns.pop()), None, n_channels, "values")
