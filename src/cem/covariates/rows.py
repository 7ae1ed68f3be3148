"""Covariates of one reading or unit, as users give them, as a row of numbers and positions of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cem.covariates.columns import Column
from cem.covariates.features import level_position
from cem.errors import CemError, ScorerError
from cem.errors.names import did_you_mean, listed
from cem.errors.options import shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["number_of", "row_of"]


def row_of(columns: Sequence[Column], covariates: object, error: type[CemError] = ScorerError) -> FloatArray:
    """The covariates as a row (m,), by name or in the order of the columns; see `Conditions.row`."""
    names = tuple(column.name for column in columns)
    if isinstance(covariates, Mapping):
        unknown = [name for name in covariates if name not in names]
        if unknown:
            raise error(f"the model has no covariate {unknown[0]!r}; {did_you_mean(unknown[0], names)}")
        lacking = [name for name in names if name not in covariates]
        if lacking:
            raise error(f"covariate {lacking[0]!r} is missing; the model needs {listed(names, 12)}")
        given = [covariates[name] for name in names]
    elif isinstance(covariates, (Sequence, np.ndarray)) and not isinstance(covariates, (str, bytes)):
        given = list(covariates)
    elif len(columns) == 1:
        given = [covariates]
    else:
        raise error(
            f"covariates are {shortened(covariates)}; {len(columns)} values, or a mapping of the names "
            f"{listed(names, 12)}, were expected"
        )
    if len(given) != len(columns):
        raise error(f"there are {len(given)} covariates; the model needs {len(columns)}: {listed(names, 12)}")
    return np.array([number_of(column, value, error) for column, value in zip(columns, given, strict=True)])


def number_of(column: Column, value: object, error: type[CemError]) -> float:
    """A covariate's value as rows hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if (
        value is None
        or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant")
        or (isinstance(value, float) and value != value)
    ):
        raise error(f"covariate {column.name!r} is missing; the model needs it with every reading, so fill it in")
    if column.levels is not None:
        try:
            position = level_position(value, column.levels)
        except (TypeError, ValueError):  # an array, for example
            position = None
        if position is None:
            raise error(
                f"covariate {column.name!r} is {shortened(value)}, a level that no training reading had; their levels "
                f"are {listed(column.levels, 12)}"
            )
        return float(position)
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise error(f"covariate {column.name!r} is {shortened(value)}; a finite number was expected") from None
    if not np.isfinite(number):
        raise error(f"covariate {column.name!r} is {number:g}; a finite number was expected")
    return number
