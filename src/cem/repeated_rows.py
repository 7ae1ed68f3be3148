"""Readings of a unit that stand at one time: a file loaded twice, two machines under one id, a clock set back."""

from __future__ import annotations

import numpy as np

from .errors import ClockSetBackWarning, OptionError, PanelError, RepeatedRowsWarning, SharedIdWarning
from .names import listed
from .warning import warn

__all__ = ["checked_duplicates", "repeated_hours", "same_times", "set_back_units", "settle_duplicates", "warn_of_clocks"]

_HOUR = np.timedelta64(3600, "s")


def checked_duplicates(duplicates: object) -> str | None:
    """The option ``duplicates``; OptionError where it has a value that it cannot take."""
    if duplicates is not None and duplicates not in ("keep", "drop"):
        raise OptionError(
            f"duplicates={duplicates!r}: 'keep' (repeated readings are readings), 'drop' (take one of each), or None "
            "(refuse a table that stands twice) was expected"
        )
    return duplicates  # type: ignore[return-value]


def same_times(offsets: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Rows (m,) that stand at the time of the row before them, in the same unit; times in order."""
    tied = raw[1:] == raw[:-1]
    tied[offsets[1:-1] - 1] = False
    return np.flatnonzero(tied) + 1 if tied.any() else np.empty(0, dtype=np.int64)


def settle_duplicates(
    unit_ids: np.ndarray, offsets: np.ndarray, raw: np.ndarray, values: np.ndarray, duplicates: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets, times and values once repeated rows have been refused, warned of, kept or dropped.

    Parameters
    ----------
    unit_ids, offsets, raw, values
        Of the panel, in order of time within each unit.
    duplicates : {None, "keep", "drop"}

    Raises
    ------
    PanelError
        At least half of all readings stand more than once, and ``duplicates`` does not say what to do.
    """
    if duplicates == "keep":
        return offsets, raw, values
    later = same_times(offsets, raw)
    if not later.size:
        return offsets, raw, values
    repeated, n_involved = _equal_rows(later, values)
    if duplicates == "drop":
        if not repeated.size:
            return offsets, raw, values
        kept = np.ones(raw.size, dtype=bool)
        kept[repeated] = False
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(kept, dtype=np.int64)])
        return before[offsets], raw[kept], values[kept]
    if 2 * n_involved >= raw.size and raw.size > 2:
        raise PanelError(
            f"{n_involved:,} of {raw.size:,} readings stand more than once, equal in unit, time and every value: was a "
            "file loaded twice? Say duplicates='drop' to take one of each, or duplicates='keep' where they are readings"
        )
    if repeated.size:
        units = np.unique(np.searchsorted(offsets, repeated, side="right") - 1)
        warn(
            f"{repeated.size:,} {'reading repeats' if repeated.size == 1 else 'readings repeat'} another of the unit, "
            f"equal in time and every value: {_units(unit_ids, units)}. Say duplicates='drop' to take one of each, or "
            "duplicates='keep' where they are readings",
            RepeatedRowsWarning,
        )
    shared = _shared_ids(offsets, later, repeated, values)
    if shared.size:
        warn(
            f"every time of {_units(unit_ids, shared)} occurs twice, with different values: two machines under one id? "
            "Give each an id of its own, or say duplicates='keep' where one machine gives several readings at a time",
            SharedIdWarning,
        )
    return offsets, raw, values


def _units(unit_ids: np.ndarray, positions: np.ndarray) -> str:
    shown = unit_ids[positions[:6]].tolist() + [None] * max(0, positions.size - 6)
    return f"{'unit' if positions.size == 1 else 'units'} {listed(shown)}"


def _equal_rows(later: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Rows that equal an earlier one at their time, and how many rows are equal to any other at all."""
    previous = np.empty(later.size, dtype=bool)  # the row before it is tied too, so a group of three or more
    previous[0], previous[1:] = False, later[1:] == later[:-1] + 1
    if not previous.any():
        equal = np.ones(later.size, dtype=bool)
        for c in range(values.shape[1]):
            one, other = values[later, c], values[later - 1, c]
            equal &= (one == other) | (np.isnan(one) & np.isnan(other))
            if not equal.any():
                break
        return later[equal], 2 * int(np.count_nonzero(equal))
    group = np.cumsum(~previous)
    firsts = np.flatnonzero(~previous)
    rows = np.concatenate([later, later[firsts] - 1])
    group = np.concatenate([group, group[firsts]])
    order = np.argsort(rows, kind="stable")
    rows, group = rows[order], group[order]
    keys = [values[rows, c] for c in range(values.shape[1])]
    order = np.lexsort((*reversed(keys), group))  # stable: the earliest of equal rows stays first
    same = group[order][1:] == group[order][:-1]
    for key in keys:
        one, other = key[order][1:], key[order][:-1]
        same &= (one == other) | (np.isnan(one) & np.isnan(other))
    heads = np.count_nonzero(same & ~np.append(False, same[:-1]))
    return np.sort(rows[order[1:][same]]), int(np.count_nonzero(same) + heads)


def _shared_ids(offsets: np.ndarray, later: np.ndarray, repeated: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Positions of units of which every time occurs at least twice with different values of a channel."""
    lengths = np.diff(offsets)
    unit = np.searchsorted(offsets, later, side="right") - 1
    n_tied = np.bincount(unit, minlength=lengths.size)
    candidates = np.flatnonzero((2 * n_tied >= lengths) & (lengths >= 6))
    shared = []
    for l in candidates[:1000].tolist():
        rows = later[unit == l] if candidates.size <= 32 else later[slice(*np.searchsorted(unit, [l, l + 1]))]
        alone = np.ones(int(lengths[l]), dtype=bool)
        start = int(offsets[l])
        alone[rows - start] = alone[rows - 1 - start] = False
        if alone.any() or np.isin(rows, repeated).all():
            continue
        both = ~np.isnan(values[rows]) & ~np.isnan(values[rows - 1])
        if np.mean(both.any(axis=1)) > 0.5:  # not one row for each of several sensors
            shared.append(l)
    return np.asarray(shared, dtype=np.int64)


# -- clocks -----------------------------------------------------------------------------------------------------


def set_back_units(offsets: np.ndarray, raw: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Positions of units whose datetimes, in the order of their rows, go back by an hour once or twice a year.

    Parameters
    ----------
    offsets : ndarray of shape (n_units + 1,), int64
    raw : ndarray of shape (n_readings,), datetime64
        In the order of rows; where ``order`` is given, in order of time.
    order : ndarray of shape (n_readings,), int64, optional
        Row of each reading, where rows have been sorted by unit and time.
    """
    if order is None:
        disorder = raw[1:] < raw[:-1]
    else:
        disorder = order[1:] < order[:-1]
    disorder[offsets[1:-1] - 1] = False
    places = np.flatnonzero(disorder)
    found: list[int] = []
    if places.size:
        unit = np.searchsorted(offsets, places, side="right") - 1
        counts = np.bincount(unit, minlength=offsets.size - 1)
        few = np.flatnonzero((counts > 0) & (counts <= np.maximum(0.4 * np.diff(offsets), 1)))
        for l in few[:1000].tolist():
            part = slice(int(offsets[l]), int(offsets[l + 1]))
            times = raw[part] if order is None else raw[part][np.argsort(order[part], kind="stable")]
            if _goes_back_an_hour(times):
                found.append(l)
    return np.asarray(found, dtype=np.int64)


def _goes_back_an_hour(times: np.ndarray) -> bool:
    steps = np.diff(times.astype("M8[s]").astype(np.int64))
    back = steps[steps < 0]
    forward = steps[steps > 0]
    if not back.size or not forward.size:
        return False
    usual = float(np.median(forward))
    years = (int(times.max().astype("M8[D]").astype(np.int64)) - int(times.min().astype("M8[D]").astype(np.int64))) / 365
    hour = np.abs(back - usual + 3600.0) <= usual + 60.0
    return bool(hour.all()) and back.size <= 1 + years


def repeated_hours(offsets: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Positions of units of hourly naive times in which one small hour of a Sunday stands twice, as clocks repeat it."""
    later = same_times(offsets, raw)
    if not later.size:
        return later
    unit = np.searchsorted(offsets, later, side="right") - 1
    counts = np.bincount(unit, minlength=offsets.size - 1)
    found = []
    for l in np.flatnonzero((counts > 0) & (counts <= 3))[:1000].tolist():
        start, end = int(offsets[l]), int(offsets[l + 1])
        times = raw[start:end].astype("M8[s]")
        steps = np.diff(times)
        forward = steps[steps > np.timedelta64(0, "s")]
        if not forward.size or np.median(forward.astype(np.int64)) != 3600.0:
            continue
        twice = times[later[unit == l] - start]
        days = twice.astype("M8[D]")
        sunday = (days.astype(np.int64) + 4) % 7 == 0
        hour = (twice - days) <= 3 * _HOUR
        month = twice.astype("M8[M]").astype(np.int64) % 12 + 1
        if np.all(sunday & hour & np.isin(month, (3, 4, 9, 10, 11))):
            found.append(l)
    return np.asarray(found, dtype=np.int64)


def warn_of_clocks(unit_ids: np.ndarray, units: np.ndarray) -> None:
    """One warning that names the units whose clock was set back."""
    if units.size:
        warn(
            f"times of {_units(unit_ids, np.unique(units))} go back by an hour: a clock that was set back at the end of "
            "summer time? Readings of that hour are mixed; give times with their zone, or in UTC",
            ClockSetBackWarning,
        )
