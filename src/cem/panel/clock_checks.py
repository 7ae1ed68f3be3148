"""Checks of clocks that were set back at the end of summer time, or that count in milliseconds on some units only."""

from __future__ import annotations

import numpy as np

from cem.errors import ClockSetBackWarning, TimeScaleWarning
from cem.errors.warning import warn
from cem.panel.repeated_rows import same_times, unit_list

__all__ = ["repeated_hours", "set_back_units", "warn_of_clocks", "warn_of_scales"]

_HOUR = np.timedelta64(3600, "s")
_SCALE = 500.0
"""Intervals that differ by a larger factor are probably counted in another unit of time."""


def set_back_units(offsets: np.ndarray, raw: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Positions of units whose datetimes, in the order of their rows, go back by an hour once or twice a year.

    Parameters
    ----------
    offsets : ndarray of shape (n_units + 1,), int64
        First reading of each unit.
    raw : ndarray of shape (n_readings,), datetime64
        In the order of rows; if ``order`` is given, in time order.
    order : ndarray of shape (n_readings,), int64, optional
        Row of each reading, if rows have been sorted by unit and time.
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
    years = (
        int(times.max().astype("M8[D]").astype(np.int64)) - int(times.min().astype("M8[D]").astype(np.int64))
    ) / 365
    hour = np.abs(back.astype(np.float64) - (usual - 3600.0)) <= usual + 60.0
    return bool(hour.all()) and back.size <= 1 + years


def repeated_hours(offsets: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Positions of units of hourly times in which one night hour of a Sunday occurs twice, as clocks repeat it."""
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
    """Name the units whose clock was set back in one warning."""
    if units.size:
        warn(
            f"times of {unit_list(unit_ids, np.unique(units))} go back by an hour: a clock that was set back at the "
            "end of summer time? Readings of that hour are mixed; give times with their zone, or in UTC",
            ClockSetBackWarning,
        )


def warn_of_scales(unit_ids: np.ndarray, offsets: np.ndarray, times: np.ndarray) -> None:
    """Name a minority of units whose readings are some thousand times as far apart as those of the rest in one warning.

    Parameters
    ----------
    unit_ids, offsets, times
        Of the panel; times in order within each unit.
    """
    lengths = np.diff(offsets)
    spans = times[offsets[1:] - 1] - times[offsets[:-1]]
    usable = (lengths > 2) & (spans > 0)
    several = None if usable.all() else np.flatnonzero(usable)
    if (usable.size if several is None else several.size) < 3:
        return
    intervals = spans / (lengths - 1) if several is None else spans[several] / (lengths[several] - 1)
    if not intervals.max() > _SCALE * intervals.min():  # the usual case, decided without a median
        return
    several = np.arange(usable.size) if several is None else several
    usual = float(np.median(intervals[:: 1 + several.size // 4096]))
    odd = several[(intervals > _SCALE * usual) | (intervals < usual / _SCALE)]
    if 0 < 2 * odd.size < several.size:
        l = int(odd[0])
        warn(
            f"readings of {unit_list(unit_ids, odd)} are {spans[l] / (lengths[l] - 1):g} apart, those of most units "
            f"{usual:g}: another unit of time? Give all times in the same unit",
            TimeScaleWarning,
        )
