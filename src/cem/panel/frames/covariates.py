"""Columns of a data frame that are covariates: of each reading, or constant within a unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import unit_name
from cem.panel.checks import checked_names
from cem.panel.covariates import (
    Columns,
    Covariate,
    category_of,
    covariate_of,
    number_of,
)
from cem.panel.frames.cells import Missing, as_number, is_number
from cem.panel.frames.channels import check_column
from cem.panel.frames.columns import as_array, cell_of, factorise, is_gap, numbers, plain_items

if TYPE_CHECKING:
    from types import ModuleType

    from cem.panel.frames.tall import Tall

__all__ = ["FrameCovariates"]

_READING, _UNIT = "covariate", "unit covariate"


class FrameCovariates:
    """The covariates that a table has, by name; in a tall table some may be sensors.

    Parameters
    ----------
    nw : module
    table : narwhals DataFrame
    frame : data frame
        The user's.
    covariates, unit_covariates : sequence of str or None
        As for `Panel.from_frame`.
    unit, time : str
        Columns.
    is_tall : bool
        Covariates that are no column are sensors.
    missing : Missing

    Attributes
    ----------
    names, unit_names : tuple of str
    roles : dict of str to str
        What each column is, for messages about columns with two roles.
    sensors : list of str
        Covariates that are sensors of a tall table.

    Raises
    ------
    PanelError
        A name is no column, or is given twice.
    """

    def __init__(
        self,
        nw: ModuleType,
        table: Any,
        frame: Any,
        covariates: Sequence[str] | None,
        unit_covariates: Sequence[str] | None,
        *,
        unit: str,
        time: str,
        is_tall: bool,
        missing: Missing,
    ) -> None:
        self._nw, self._table, self._unit, self._time, self._missing = nw, table, unit, time, missing
        self.names = checked_names(covariates, "covariates")
        self.unit_names = checked_names(unit_covariates, "unit_covariates")
        both = next((name for name in self.names if name in self.unit_names), None)
        if both is not None:
            raise PanelError(
                f"{both!r} is named in covariates and in unit_covariates; leave it out of covariates if it is constant "
                "within each unit, and out of unit_covariates if it is not"
            )
        self.sensors = [name for name in self.names if is_tall and name not in table.columns]
        for option, names in (("covariates", self.names), ("unit_covariates", self.unit_names)):
            for name in names:
                if name not in self.sensors:
                    check_column(table, frame, option, name)
        self.roles = {name: "a covariate" for name in self.names if name not in self.sensors}
        self.roles.update(dict.fromkeys(self.unit_names, "a unit covariate"))

    def of_readings(self, order: np.ndarray | None) -> Columns:
        """The covariates of a long table, in order of unit and time."""
        columns = {name: self._read(name, _READING) for name in self.names}
        return columns if order is None else {name: column.taken(order) for name, column in columns.items()}

    def of_units(self, order: np.ndarray | None, starts: np.ndarray, unit_ids: np.ndarray) -> Columns:
        """The covariates of the units; PanelError if one varies within a unit."""

        def varies(name: str, l: int, one: object, other: object) -> PanelError:
            return PanelError(
                f"unit covariate {name!r} varies within unit {unit_name(unit_ids, l)}: {one!r} and {other!r} occur; "
                "give a unit one value (cells may be empty), or name the column in covariates"
            )

        return {name: _constant(self._read(name, _UNIT), order, starts, varies) for name in self.unit_names}

    def of_tall(
        self,
        tall: Tall,
        values: np.ndarray,
        raw: np.ndarray,
        order: np.ndarray | None,
        starts: np.ndarray,
        offsets: np.ndarray,
        unit_ids: np.ndarray,
    ) -> tuple[Columns, list[str], np.ndarray]:
        """The covariates of a tall table once it is spread, and the names and values of the sensors that are left.

        Parameters
        ----------
        tall : Tall
        values, raw, offsets : ndarray
            Of the readings, as `spread` returns them.
        order, starts : ndarray
            Order of the rows by unit and time, and the first of them of each reading.
        unit_ids : ndarray
        """

        def varies(name: str, reading: int, one: object, other: object) -> PanelError:
            l = int(np.searchsorted(offsets, reading, side="right")) - 1
            return PanelError(
                f"covariate {name!r} of unit {unit_name(unit_ids, l)} at {self._time} {raw[reading]} is {one!r} in one "
                f"row and {other!r} in another; a reading has one value of a covariate"
            )

        columns: Columns = {}
        for name in self.names:
            if name in self.sensors:
                columns[name] = Covariate(name, values[:, tall.names.index(name)].copy())
                continue
            if name in tall.known:
                raise PanelError(f"covariate {name!r} is a column of the table and a sensor too; rename one of the two")
            columns[name] = _constant(self._read(name, _READING), order, starts, varies)
        names = [name for name in tall.names if name not in self.sensors]
        if not names:
            raise PanelError("every sensor of the table is a covariate; a panel needs at least one channel")
        if self.sensors:
            values = np.ascontiguousarray(values[:, [tall.names.index(name) for name in names]])
        return columns, names, values

    def _where(self, row: int) -> str:
        return f"unit {cell_of(self._table[self._unit], row)!r} at row {row}"

    def _read(self, name: str, what: str) -> Covariate:
        """The covariate of every row of the table."""
        nw, series, missing = self._nw, self._table[name], self._missing.of(name)
        dtype = series.dtype
        gone = {*missing.texts, *missing.numbers.tolist()}
        if dtype.is_numeric():
            return number_of(name, numbers(nw, series, name, missing), self._where, what)
        if dtype in (nw.Categorical, nw.Enum, nw.Boolean, nw.String):
            codes, distinct = factorise(series)
            if dtype == nw.String and missing.texts:
                found = _numbers_besides(distinct, gone)
                if found is not None:
                    return number_of(name, found[codes], self._where, what)
            declared = dtype in (nw.Categorical, nw.Enum)
            return category_of(name, codes, distinct, self._where, what, gone, declared)
        if dtype in (nw.Object, nw.Unknown):
            array = as_array(series)
            if array.dtype != object:
                return covariate_of(name, missing.applied(array), self._where, what)
            items = [None if isinstance(item, str) and item.strip() in gone else item for item in plain_items(series)]
            return covariate_of(name, items, self._where, what)
        raise PanelError(
            f"{what} {name!r} has type {dtype}; numbers, truth values, texts or categories were expected"
            + ("; give times as numbers, such as hours since a date" if dtype.is_temporal() else "; convert the column")
        )


def _numbers_besides(distinct: Sequence[Any], gone: set[Any]) -> np.ndarray | None:
    """The numbers that a column of text holds besides codes for missing, NaN behind them; None if it holds none.

    Without such codes a column of text is a category, or refused if it is written in fractions.
    """
    stripped = [None if is_gap(item) else item.strip() for item in distinct]
    if not any(item in gone for item in stripped):
        return None
    given = [item for item in stripped if item and item not in gone]
    if not given or not all(map(is_number, given)):
        return None
    return np.array([as_number(item) if item and item not in gone else np.nan for item in [*stripped, None]])


def _constant(
    column: Covariate,
    order: np.ndarray | None,
    starts: np.ndarray,
    varies: Callable[[str, int, object, object], PanelError],
) -> Covariate:
    """The one value of each group of rows, missing if it has none."""
    values = column.values if order is None else column.values[order]
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    two = low < high
    if two.any():
        group = int(np.argmax(two))
        pair: list[Any] = [low[group].item(), high[group].item()]
        if column.levels is not None:
            pair = [column.levels[int(place)] for place in pair]
        raise varies(column.name, group, *pair)
    return Covariate(column.name, high, column.levels)
