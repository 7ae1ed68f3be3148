"""Tall tables, one row per unit, time and sensor, as historians export them: spread to one row per unit and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError, RepeatedRowsWarning
from cem.errors.names import did_you_mean
from cem.errors.warning import warn
from cem.panel.frames.cells import NULL_NUMBERS, Missing, is_number
from cem.panel.frames.columns import bad_cells, cell_of, factorise, is_gap, is_text, numbers, plain_items
from cem.panel.frames.text_columns import number_mask, numbers_of, stripped

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Tall", "sensor_name", "spread"]


class Tall:
    """The columns of a tall table with the sensor's name and its value.

    Attributes
    ----------
    names : list of str
        Sensors, in the requested order, or else of first appearance; those that are covariates too.
    known : list of str
        All sensors of the table.
    codes : ndarray of shape (n_rows,), int64
        Index into ``names``; -1 if the row's sensor was not requested.
    values : ndarray of shape (n_rows,), float64
        NaN if missing, and if the sensor was not requested.

    Raises
    ------
    PanelError
        A sensor is unknown or a row has none; a value is not a number, or infinite.
    """

    def __init__(
        self,
        nw: ModuleType,
        table: Any,
        sensor: str,
        value: str,
        channels: Sequence[str] | None,
        response: str | None,
        missing: Missing,
        covariates: Sequence[str] = (),
    ) -> None:
        codes, distinct = factorise(table[sensor])
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            raise PanelError(f"the sensor (column {sensor!r}) is missing at row {row}; fill it in, or remove the row")
        known = self.known = [sensor_name(item) for item in distinct]
        if channels is None:
            _, first = np.unique(codes, return_index=True)
            self.names = [known[int(codes[row])] for row in np.sort(first)]
        else:
            self.names = list(channels)
        if response is not None and response not in self.names:
            self.names.append(response)
        for name in covariates:
            if name not in known:
                raise PanelError(
                    f"covariate {name!r} is neither a sensor in column {sensor!r} nor a column of the frame; "
                    f"{did_you_mean(name, [*known, *table.columns])}"
                )
            if name == response or (channels is not None and name in self.names):
                raise PanelError(f"sensor {name!r} cannot be both a covariate and a channel; leave it out of one")
            if name not in self.names:
                self.names.append(name)
        for name in self.names:
            if name not in known:
                raise PanelError(f"column {sensor!r} has no sensor {name!r}; {did_you_mean(name, known)}")
        place = {name: position for position, name in enumerate(self.names)}
        self.codes = np.array([place.get(name, -1) for name in known], dtype=np.int64)[codes]
        self.values = self._numbers(nw, table, sensor, value, missing)
        infinite = np.isinf(self.values)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise PanelError(
                f"column {value!r} is infinite at row {row} (sensor {self.names[self.codes[row]]!r}); remove the row, "
                "or set the value to NaN, which means missing"
            )

    def _numbers(self, nw: ModuleType, table: Any, sensor: str, value: str, missing: Missing) -> np.ndarray:
        series = table[value]
        chosen = self.codes >= 0
        if is_text(nw, series.dtype):
            if series.dtype != nw.String:
                series = series.cast(nw.String)
            cells = stripped(series, {*NULL_NUMBERS, *missing.every_text()})
            numeric = number_mask(cells)
            self._check(series, chosen & ~numeric & ~np.asarray(cells.is_null().to_numpy(), dtype=bool), value)
            found = np.full(chosen.size, np.nan)
            rows = np.flatnonzero(chosen & numeric)
            if rows.size:
                found[rows] = numbers_of(cells[rows])
            return found
        if series.dtype == nw.Object:
            gone = {*NULL_NUMBERS, *missing.every_text()}
            items = [item.strip() if isinstance(item, str) else item for item in plain_items(series)]
            is_text_cell = np.array([isinstance(item, str) and item not in gone for item in items])
            bad = [cell and not is_number(item) for cell, item in zip(is_text_cell, items, strict=True)]
            self._check(series, chosen & np.array(bad, dtype=bool), value)
            if any(isinstance(item, str) for item in items):
                found = np.full(chosen.size, np.nan)
                for row in np.flatnonzero(chosen):
                    item = items[row]
                    if not is_gap(item) and not (isinstance(item, str) and item in gone):
                        found[row] = float(item)
                return found
        return np.where(chosen, numbers(nw, series, value, Missing(None)), np.nan)

    def _check(self, series: Any, bad: np.ndarray, value: str) -> None:
        rows = np.flatnonzero(bad)
        if rows.size:
            sensors = list(dict.fromkeys(self.names[self.codes[row]] for row in rows[:1000].tolist()))
            cells = [(int(row), cell_of(series, int(row))) for row in rows[:5]]
            shown = ", ".join(map(repr, sensors[:5])) + (f" and {len(sensors) - 5} more" if len(sensors) > 5 else "")
            raise PanelError(f"column {value!r} holds texts for the sensors {shown}: {bad_cells(cells, rows.size)}")


def sensor_name(item: object) -> str:
    """A sensor's name as text; for numeric tags, the integer."""
    return str(int(item)) if isinstance(item, float) and item.is_integer() else str(item)


def spread(
    tall: Tall, units: Any, order: np.ndarray | None, offsets: np.ndarray, raw: np.ndarray, time: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Spread a tall table to one row per unit and time.

    Parameters
    ----------
    tall : Tall
    units : narwhals Series
        The column of the units' ids, for messages.
    order, offsets : as `cem.panel.frames.long.group_rows` returns them
    raw : ndarray of shape (n_rows,)
        Times of the rows of the tall table, in its order.
    time : str
        Column of the times, for messages.

    Returns
    -------
    offsets : ndarray of shape (n_units + 1,), int64
    raw : ndarray of shape (n_readings,)
    values : ndarray of shape (n_readings, n_sensors)
    firsts : ndarray of shape (n_readings,)
        First of the rows of each reading, in order of unit and time.

    Raises
    ------
    PanelError
        A sensor has two different values for one unit at one time. Two equal ones count once, with a warning.
    """
    rows = np.arange(raw.size) if order is None else order
    raw, codes, values = raw[rows], tall.codes[rows], tall.values[rows]
    is_first = np.ones(raw.size, dtype=bool)
    is_first[1:] = raw[1:] != raw[:-1]
    is_first[offsets[:-1]] = True
    reading = np.cumsum(is_first) - 1
    wide = np.full((int(reading[-1]) + 1, len(tall.names)), np.nan)
    given = np.flatnonzero((codes >= 0) & ~np.isnan(values))
    cells = reading[given] * len(tall.names) + codes[given]
    wide.ravel()[cells] = values[given]
    if np.count_nonzero(~np.isnan(wide)) < given.size:
        _check_repeated(tall, units, time, raw, rows[given], cells, values[given], raw[given])
    offsets = np.append(reading[offsets[:-1]], wide.shape[0]).astype(np.int64)
    return offsets, raw[is_first], wide, np.flatnonzero(is_first)


def _check_repeated(
    tall: Tall,
    units: Any,
    time: str,
    raw: np.ndarray,
    rows: np.ndarray,
    cells: np.ndarray,
    values: np.ndarray,
    times: np.ndarray,
) -> None:
    order = np.argsort(cells, kind="stable")
    again = np.flatnonzero(cells[order[1:]] == cells[order[:-1]])
    former, later = order[again], order[again + 1]
    differs = np.flatnonzero(values[former] != values[later])
    which = int(differs[0]) if differs.size else 0
    one, other = int(former[which]), int(later[which])
    where = (
        f"sensor {tall.names[int(cells[one]) % len(tall.names)]!r} of unit {cell_of(units, int(rows[one]))!r} at "
        f"{time} {times[one]}"
    )
    if differs.size:
        raise PanelError(
            f"{where} has the values {values[one]:g} (row {rows[one]}) and {values[other]:g} (row {rows[other]}); a "
            f"sensor has one value at a time ({differs.size:,} such): keep one of them"
        )
    warn(
        f"{again.size:,} rows repeat another row, the first of {where} (row {rows[other]}); each counts once",
        RepeatedRowsWarning,
    )
