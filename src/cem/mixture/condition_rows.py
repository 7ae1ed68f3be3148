"""The covariates of a panel as rows of numbers, with the levels of conditions; errors name the unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import CemError, PanelError, PredictionError

if TYPE_CHECKING:
    from cem.covariates.columns import Column
    from cem.panel.panel import Panel

__all__ = ["reading_rows", "unit_rows", "where_in"]

FloatArray = NDArray[np.float64]


def reading_rows(panel: Panel, columns: Sequence[Column], error: type[CemError] = PredictionError) -> FloatArray:
    """The covariates of each reading, shape (N, m); those of a unit repeat over its readings.

    Parameters
    ----------
    panel : Panel
    columns : sequence of m Column
        Names and levels.
    error : type
        Of what is raised: `PanelError` in a fit.

    Raises
    ------
    CemError
        The panel lacks a covariate, a value is missing, or a level is not among those of the column.
    """
    w = _counted(panel, columns, error)
    missing = np.isnan(w)
    if missing.any():
        row, j = (int(i) for i in np.argwhere(missing)[0])
        unit = int(np.searchsorted(panel.offsets, row, side="right")) - 1
        where = f"of unit {panel.units[unit]!r}" if columns[j].of_unit else f"at {where_in(panel)(row)}"
        raise error(
            f"covariate {columns[j].name!r} is missing {where} ({int(missing[:, j].sum()):,} such readings); the model "
            "needs it with every reading: fill it in, or leave these readings out"
        )
    return w


def unit_rows(panel: Panel, columns: Sequence[Column], error: type[CemError] = PredictionError) -> FloatArray:
    """The covariates of each unit, shape (L, m); arguments and errors as for `reading_rows`."""
    rows = _counted(panel, columns, error)[np.asarray(panel.offsets[:-1])]
    missing = np.isnan(rows)
    if missing.any():
        unit, j = (int(i) for i in np.argwhere(missing)[0])
        raise error(
            f"covariate {columns[j].name!r} of unit {panel.units[unit]!r} is missing ({int(missing[:, j].sum()):,} "
            "such units); the probabilities of its modes depend on it: fill it in, or leave the unit out"
        )
    result: FloatArray = rows
    return result


def _counted(panel: Panel, columns: Sequence[Column], error: type[CemError]) -> FloatArray:
    try:
        w = panel.conditions([column.name for column in columns], {column.name: column.levels for column in columns})
    except PanelError as refused:
        raise error(str(refused)) from None
    return np.asarray(w, dtype=np.float64)


def where_in(panel: Panel) -> Callable[[int], str]:
    """What messages call a row of a panel."""

    def named(row: int) -> str:
        unit = int(np.searchsorted(panel.offsets, row, side="right")) - 1
        return f"time {panel.times[row]:g} of unit {panel.units[unit]!r}"

    return named
