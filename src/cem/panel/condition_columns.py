"""The covariates of a panel as a matrix, with categories counted in given levels."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cem.errors import PanelError
from cem.errors.names import listed
from cem.panel.covariates import kind_of, places_of_readings, places_of_units, positions

if TYPE_CHECKING:
    from cem.panel.covariate_access import WithCovariates
    from cem.panel.covariates import Covariate, Where

__all__ = ["conditions_of"]


def conditions_of(
    panel: WithCovariates, names: Iterable[str], levels: Mapping[str, Sequence[Hashable] | None]
) -> np.ndarray:
    """(n_readings, m) float64; arguments and errors as for `Panel.conditions`."""
    names = list(names)
    lengths = np.diff(panel.offsets)
    found = np.empty((int(panel.offsets[-1]), len(names)))
    for place, name in enumerate(names):
        column = panel._column(name)
        of_unit = name in panel._unit_covariate_columns
        where = places_of_units(panel._unit_ids) if of_unit else places_of_readings(panel._unit_ids, panel.offsets)
        values = _counted(column, levels[name], where) if name in levels else column.values
        found[:, place] = np.repeat(values, lengths) if of_unit else values
    return found


def _counted(column: Covariate, levels: Sequence[Hashable] | None, where: Where) -> np.ndarray:
    """The numbers, or the positions of the levels among the given ones."""
    if levels is None:
        if column.levels is not None and not np.isnan(column.values).all():
            raise PanelError(
                f"covariate {column.name!r} is {kind_of(column)} here, {listed(column.levels, 6)}; numbers were "
                "expected"
            )
        return column.values
    place = {level: position for position, level in enumerate(levels)}
    own: Sequence[Hashable]
    if column.levels is not None:
        own, codes = column.levels, positions(column)
    elif any(isinstance(level, str) for level in levels) and not np.isnan(column.values).all():
        raise PanelError(
            f"covariate {column.name!r} holds numbers here; one of the levels {listed(levels, 6)} was expected: "
            "convert the column to text"
        )
    else:  # a file holds whole numbers as numbers
        numbers, codes = np.unique(column.values, return_inverse=True)  # NaN is the last
        own = tuple(numbers[~np.isnan(numbers)].tolist())
        codes = np.minimum(codes.reshape(column.values.shape), len(own))
    rank = np.array([*(place.get(level, -1) for level in own), np.nan], dtype=np.float64)
    found: np.ndarray = rank[codes]
    unknown = found < 0
    if unknown.any():
        row = int(np.argmax(unknown))
        level = own[int(codes[row])]
        raise PanelError(
            f"covariate {column.name!r} of {where(row)} is {_whole(level)!r}, a level that is not known "
            f"({np.count_nonzero(unknown):,} such): {listed(levels, 12)} are; correct it, or fit with units that have "
            "it"
        )
    return found


def _whole(level: Hashable) -> Hashable:
    return int(level) if isinstance(level, float) and level.is_integer() else level
