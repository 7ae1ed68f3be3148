"""Columns of covariates: what a model must know of each to read it again."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cem.errors import PanelError
from cem.errors.names import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["Column", "learned_columns", "training_rows"]


@dataclass(frozen=True)
class Column:
    """A covariate as a fitted model knows it.

    Parameters
    ----------
    name : str
    levels : tuple of hashable, optional
        The distinct levels of a category, in sorted order; rows hold positions in it. None: a number.
    of_unit : bool
        One value for each unit, rather than one for each reading.
    low, high : float
        Range of the training readings; of a category, of its positions.
    """

    name: str
    levels: tuple[Hashable, ...] | None = None
    of_unit: bool = False
    low: float = math.nan
    high: float = math.nan

    @property
    def is_category(self) -> bool:
        return self.levels is not None

    def shown(self, value: float) -> str:
        """A value of the column as messages show it: a number, or the level at that position."""
        if self.levels is None or not (value == int(value) and 0 <= value < len(self.levels)):
            return f"{value:g}"
        return repr(self.levels[int(value)])


def training_rows(columns: Sequence[Column], w: FloatArray) -> FloatArray:
    """The covariates of the training readings, checked, (N, m) float64 C-contiguous.

    Raises
    ------
    PanelError
        There are no readings, or a covariate is missing, infinite or no position of a level at one of them.
    """
    rows = np.ascontiguousarray(w, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(columns):
        raise PanelError(f"covariates have shape {rows.shape}; (n, {len(columns)}) was expected, a column each")
    if not len(rows):
        raise PanelError("there are no readings to learn covariates from")
    for j, column in enumerate(columns):
        bad = ~np.isfinite(rows[:, j])
        if column.levels is not None:
            bad |= (rows[:, j] < 0) | (rows[:, j] >= len(column.levels)) | (rows[:, j] != np.floor(rows[:, j]))
        if bad.any():
            row = int(np.argmax(bad))
            value = rows[row, j]
            what = "is missing" if math.isnan(value) else f"is {value:g}"
            expected = "a finite number" if column.levels is None else f"one of its levels {listed(column.levels)}"
            raise PanelError(
                f"covariate {column.name!r} {what} at reading {row}; {expected} was expected. Fill it in, or leave the "
                "reading out"
            )
    return rows


def learned_columns(columns: Sequence[Column], rows: FloatArray) -> tuple[Column, ...]:
    """The columns with the ranges of checked training rows (N, m)."""
    return tuple(
        replace(column, low=float(rows[:, j].min()), high=float(rows[:, j].max())) for j, column in enumerate(columns)
    )
