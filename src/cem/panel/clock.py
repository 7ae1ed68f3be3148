"""Times of any kind as float64: numbers, datetimes and durations, counted from an origin in a unit of time."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean, is_unknown
from cem.numerics.masks import unmasked

__all__ = [
    "DATETIMES",
    "DURATIONS",
    "FAILURE",
    "FIRST_READING",
    "KINDS",
    "NUMBERS",
    "POSITIONS",
    "ZERO",
    "count_from",
    "instants",
    "is_missing",
    "tick_of",
]

ZERO, FIRST_READING, FAILURE = "zero", "first reading", "failure"
NUMBERS, POSITIONS, DATETIMES, DURATIONS = "numbers", "positions", "datetimes", "durations"
"""Types of given times; positions are 0, 1, 2, ... if no times were given."""
KINDS = {"f": NUMBERS, "M": DATETIMES, "m": DURATIONS}

_TICKS: dict[str, np.timedelta64] = {
    "ns": np.timedelta64(1, "ns"),
    "us": np.timedelta64(1, "us"),
    "ms": np.timedelta64(1, "ms"),
    "s": np.timedelta64(1, "s"),
    "min": np.timedelta64(1, "m"),
    "h": np.timedelta64(1, "h"),
    "d": np.timedelta64(1, "D"),
    "w": np.timedelta64(7, "D"),
}
_LONG_NAMES = {
    "nanosecond": "ns",
    "microsecond": "us",
    "millisecond": "ms",
    "sec": "s",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
    "week": "w",
}


_NANOSECONDS = 2**63 - 1
_SECONDS = {"W": 604800, "D": 86400, "h": 3600, "m": 60, "s": 1}
_FRACTIONS = {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}


def tick_of(time_unit: str) -> tuple[str, np.timedelta64]:
    """Short name and length of a unit of time; OptionError if it is unknown or has no fixed length (months)."""
    name = time_unit.lower()
    name = _LONG_NAMES.get(name, _LONG_NAMES.get(name.removesuffix("s"), name))
    if name not in _TICKS:
        known = [*_TICKS, *(f"{long}s" for long in _LONG_NAMES)]
        raise OptionError(
            f"time_unit={time_unit!r} is not a unit in which datetimes can be counted; "
            f"{did_you_mean(time_unit, known)} (units of fixed length: {', '.join(_TICKS)})"
        )
    return name, _TICKS[name]


def is_missing(raw: np.ndarray) -> np.ndarray:
    """(n,) bool: NaN or NaT."""
    missing: np.ndarray = np.isnat(raw) if raw.dtype.kind in "mM" else np.isnan(raw)
    return missing


def instants(times: Any, what: str = "times") -> np.ndarray:
    """Convert times to a float64, datetime64 or timedelta64 array of the same shape, before an origin is subtracted.

    Datetimes with a zone become UTC, those without are taken as they are; None and masked cells become NaN or NaT.
    """
    times = unmasked(times)
    array = times if type(times) is np.ndarray else _array_of(times, what)
    kind = array.dtype.kind
    if kind in "fiu":
        return np.asarray(array, dtype=np.float64)
    if kind in "mM":
        unit = np.datetime_data(array.dtype)[0]
        if unit == "generic":
            return array.astype(f"{kind}8[us]")
        if unit in ("Y", "M"):
            if kind == "m":
                raise PanelError(
                    f"{what} are durations in {'years' if unit == 'Y' else 'months'}, which have no fixed length; "
                    "give them in days"
                )
            return array.astype("M8[D]")
        return array
    if kind not in "OUS":
        raise PanelError(f"{what} must be numbers, datetimes or durations; found dtype {array.dtype}")
    flat = _from_objects(array.ravel().tolist(), what)
    return flat.reshape(array.shape)


def _array_of(times: Any, what: str) -> np.ndarray:
    if isinstance(times, (Mapping, Set)):
        raise PanelError(f"{what} are a {type(times).__name__}; give them in order, as an array or a list")
    if hasattr(times, "__array__"):
        try:
            return np.asarray(times)
        except Exception as error:  # each library has its own
            raise PanelError(
                f"{what} of type {type(times).__name__} cannot be read as an array: {error}; give a NumPy array"
            ) from None
    items = list(times) if isinstance(times, Iterable) and not isinstance(times, str) else [times]
    first = next((item for item in items if item is not None), None)
    if isinstance(first, (int, float, np.number, np.ndarray, list, tuple)) and None not in items:
        return np.asarray(items)
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _is_gap(item: Any) -> bool:
    """Whether an item of a list of times is missing; -1 is a time."""
    if item is None or type(item).__name__ in ("NAType", "NaTType"):  # pandas.NA has no truth value
        return True
    return not isinstance(item, (int, str)) and is_unknown(item) and item != -1


def _from_objects(items: list[Any], what: str) -> np.ndarray:
    missing = [_is_gap(item) for item in items]
    first = next((item for item, gone in zip(items, missing, strict=True) if not gone), None)
    if first is None:
        return np.full(len(items), np.nan)
    if isinstance(first, (datetime.date, np.datetime64, str, bytes)):
        kind, numpy_kind = "datetime", "datetime64"
    elif isinstance(first, (datetime.timedelta, np.timedelta64)):
        kind, numpy_kind = "duration", "timedelta64"
    else:
        kind, numpy_kind = "number", ""
    if type(first).__name__ == "Period":
        raise PanelError(
            f"{what} are periods ({first}), not instants; give the instant of each reading, for example the start of "
            "each period by .dt.to_timestamp()"
        )
    of_pandas = hasattr(first, "nanosecond") or hasattr(first, "nanoseconds")
    resolution = "ns" if of_pandas else "us"
    try:
        if not numpy_kind:
            return np.array([np.nan if gone else float(x) for x, gone in zip(items, missing, strict=True)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns when it drops a time zone from a string
            plain = [np.datetime64("NaT") if gone else _naive(x) for x, gone in zip(items, missing, strict=True)]
            if numpy_kind == "timedelta64":
                plain = [np.timedelta64("NaT") if gone else x for x, gone in zip(items, missing, strict=True)]
            coarse = np.array(plain, dtype=f"{numpy_kind}[us]")
            if resolution == "us" or _beyond_nanoseconds(coarse):
                return coarse
            return np.array(plain, dtype=f"{numpy_kind}[ns]")
    except (TypeError, ValueError, OverflowError, UserWarning, DeprecationWarning) as error:
        row = next((i for i, item in enumerate(items) if not missing[i] and not _alike(item, first)), None)
        found = f"item {row} is {items[row]!r}" if row is not None else str(error)
        raise PanelError(
            f"{what} must be numbers, datetimes or durations, all of one kind (the first is a {kind}); {found}"
        ) from None


def _beyond_nanoseconds(array: np.ndarray) -> bool:
    """True if 64 bits of nanoseconds (292 years on either side of 1970) do not hold all of them."""
    whole = array[~np.isnat(array)].astype(np.int64)
    return bool(whole.size) and max(int(whole.max()), -int(whole.min())) > _NANOSECONDS // 1000


def _naive(item: Any) -> Any:
    """A datetime without a zone: the UTC time of one that has a zone."""
    if isinstance(item, (str, bytes)):
        text = item.decode() if isinstance(item, bytes) else item
        item = datetime.datetime.fromisoformat(text.strip())
    if getattr(item, "tzinfo", None) is not None:
        item = item.astimezone(datetime.UTC).replace(tzinfo=None)
    if hasattr(item, "to_datetime64"):  # pandas.Timestamp has nanoseconds, a plain datetime has not
        return item.to_datetime64()
    return item


def _alike(item: Any, first: Any) -> bool:
    if isinstance(first, str):
        try:
            datetime.datetime.fromisoformat(item.strip())
        except (AttributeError, ValueError):
            return False
        return True
    families = ((datetime.date, np.datetime64), (datetime.timedelta, np.timedelta64), (int, float, np.number))
    return any(isinstance(item, family) and isinstance(first, family) for family in families)


def _timestamp(origin: Any) -> np.datetime64:
    if isinstance(origin, np.datetime64):
        return origin
    try:
        return np.datetime64(_naive(origin))
    except (TypeError, ValueError):
        raise OptionError(
            f"origin={origin!r} is not an origin of times; give {FIRST_READING!r}, {ZERO!r}, {FAILURE!r} "
            "or a timestamp such as '2024-05-01T00:00'"
        ) from None


def count_from(
    raw: np.ndarray,
    offsets: np.ndarray,
    failures: np.ndarray | None,
    *,
    origin: Any = None,
    time_unit: str | None = None,
) -> tuple[np.ndarray, np.ndarray, str | None, Any]:
    """Times and failure times as float64, counted from the origin.

    Parameters
    ----------
    raw : ndarray of shape (n_readings,)
        float64, datetime64 or timedelta64 (`instants`), none missing, sorted within each unit.
    offsets : ndarray of shape (n_units + 1,), int64
        First reading of each unit.
    failures : ndarray of shape (n_units,) or None
        Of the same kind as ``raw``; missing = still running.
    origin : "first reading", "zero", "failure", a timestamp, a number or None
        None: the first reading of each unit for datetimes, zero for numbers and durations. "zero" is the epoch
        1970-01-01 for datetimes. Numbers with a timestamp as origin count from it already.
    time_unit : str or None
        Unit in which datetimes and durations are counted (None: hours); only a label if times are numbers.

    Returns
    -------
    times : ndarray of shape (n_readings,)
    failure_times : ndarray of shape (n_units,)
        NaN = still running.
    time_unit : str or None
    origin : str, float or numpy.datetime64
    """
    kind = raw.dtype.kind
    n_units = offsets.size - 1
    none_failed = failures is None or bool(is_missing(failures).all())
    if failures is None or none_failed:
        failures = np.full(n_units, np.nan, dtype=raw.dtype) if kind == "f" else np.full(n_units, "NaT", raw.dtype)
    elif failures.dtype.kind != kind:
        names = {"f": "numbers", "M": "datetimes", "m": "durations"}
        raise PanelError(
            f"failure times are {names[failures.dtype.kind]} while times are {names[kind]}; give both on one clock"
        )
    if kind == "f":
        tick: np.timedelta64 | None = None
    else:
        time_unit, tick = tick_of("h" if time_unit is None else time_unit)
    if origin is None:
        origin = FIRST_READING if kind == "M" else ZERO

    start: Any
    if isinstance(origin, str) and origin == FIRST_READING:
        start = raw[offsets[:-1]]
    elif isinstance(origin, str) and origin == FAILURE:
        start = failures
        running = np.flatnonzero(is_missing(failures))
        if running.size:
            raise PanelError(
                f"origin='failure' needs the failure time of every unit; {running.size:,} have none, "
                f"the first at position {running[0]}: leave running units out, or give another origin"
            )
    elif isinstance(origin, str) and origin == ZERO:
        start = {"f": 0.0, "m": np.timedelta64(0, "s"), "M": np.datetime64(0, "s")}[kind]
    elif isinstance(origin, (int, float, np.number)) and not isinstance(origin, (bool, np.timedelta64)):
        if kind != "f" or not np.isfinite(origin):
            raise OptionError(f"origin={origin!r} is a number, but the times are not: give a timestamp")
        start = origin = float(origin)
    else:
        origin = _timestamp(origin)
        if kind == "m":
            raise OptionError(f"origin={origin!r} is a timestamp, but the times are durations: give 'zero'")
        start = origin if kind == "M" else 0.0

    if kind == "f" and not isinstance(start, np.ndarray) and start == 0.0:
        return raw, failures, time_unit, origin
    starts = np.repeat(start, np.diff(offsets)) if isinstance(start, np.ndarray) else start
    if tick is None:
        return raw - starts, failures - start, time_unit, origin
    first = raw[offsets[:-1]]
    ends = np.array([first.min(), raw[offsets[1:] - 1].max()])  # sorted within units, so all others lie between these
    if isinstance(origin, str) and origin == FIRST_READING:
        distinct = ends
    else:
        distinct = np.asarray(start)
    times = _ticks(raw, starts, tick, ends, distinct)
    if none_failed:
        return times, np.full(n_units, np.nan), time_unit, origin
    return times, _ticks(failures, start, tick), time_unit, origin


def _ticks(
    times: np.ndarray,
    start: Any,
    tick: np.timedelta64,
    ends: np.ndarray | None = None,
    distinct: np.ndarray | None = None,
) -> np.ndarray:
    """(times - start) / tick, correct even if the integers of datetimes do not hold the difference.

    ``ends`` and ``distinct`` are fewer items with the same ranges as times and start.
    """
    start = np.asarray(start)
    low, high = _bounds(times if ends is None else ends)
    first, last = _bounds(start if distinct is None else distinct)
    if low is None or high is None or first is None or last is None:
        return np.full(np.broadcast_shapes(times.shape, start.shape), np.nan)
    finest = max(_per_second(part.dtype) for part in (times, start, np.asarray(tick)))
    farthest = max(abs(low), abs(high), abs(first), abs(last), high - first, last - low) + 1
    if farthest * finest < 2**63:
        exact: np.ndarray = (times - start) / tick
        return exact
    if farthest * 10**6 >= 2**63:
        raise PanelError(
            f"times from {times[~np.isnat(times)].min()} to {times[~np.isnat(times)].max()}, counted from "
            f"{start[~np.isnat(start)].min()}, are hundreds of thousands of years apart; correct the times, or give "
            "another origin"
        )
    found = _micros(times) - _micros(start)
    whole = found.astype(np.float64)
    whole[np.isnat(found)] = np.nan
    # Microseconds lose at most one microsecond, which no clock of such a range resolves.
    ticks: np.ndarray = whole / (tick / np.timedelta64(1, "us"))
    return ticks


def _bounds(times: np.ndarray) -> tuple[int, int] | tuple[None, None]:
    """Smallest and largest in whole seconds; None if all are missing."""
    known = times.reshape(-1)
    if np.isnat(known).any():
        known = known[~np.isnat(known)]
    if not known.size:
        return None, None
    unit, count = np.datetime_data(times.dtype)
    ends = (int(known.min().astype(np.int64)) * count, int(known.max().astype(np.int64)) * count)
    if unit in _SECONDS:
        return ends[0] * _SECONDS[unit], ends[1] * _SECONDS[unit]
    return ends[0] // 10 ** _FRACTIONS[unit], -(-ends[1] // 10 ** _FRACTIONS[unit])


def _per_second(dtype: np.dtype) -> int:
    unit = np.datetime_data(dtype)[0]
    return int(10 ** _FRACTIONS.get(unit, 0))


def _micros(times: np.ndarray) -> np.ndarray:
    return times.astype(f"{times.dtype.kind}8[us]")
