"""Read the covariates of a panel and check them: names, lengths, kinds, codes for missing, spellings of levels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import listed
from cem.panel.arrays import Flat
from cem.panel.checks import check_keys
from cem.panel.containers import as_array, is_table
from cem.panel.covariates import (
    Columns,
    Covariate,
    Where,
    covariate_of,
    is_categorical,
    places_of_readings,
    places_of_units,
)
from cem.panel.label_checks import warn_of_levels
from cem.panel.missing_codes import declared_codes, refuse_codes

__all__ = ["checked_covariates", "columns_of_arrays", "given_columns"]


def given_columns(covariates: Any, unit_covariates: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options ``covariates`` and ``unit_covariates``, mappings of name to values, as dicts."""
    return _given(covariates, "covariates"), _given(unit_covariates, "unit_covariates")


def _given(columns: Any, option: str) -> dict[str, Any]:
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or is_table(columns):
        raise PanelError(
            f"{option} must be a mapping of name to values, such as {{'load': values}}; found a "
            f"{type(columns).__name__}. Only Panel.from_frame takes names of columns"
        )
    for name in columns:
        if not isinstance(name, str) or not name:
            raise PanelError(f"{option} are named by texts; found {name!r:.60}")
    return dict(columns)


def checked_covariates(
    covariates: dict[str, Any],
    unit_covariates: dict[str, Any],
    channels: Sequence[str],
    unit_ids: np.ndarray,
    offsets: np.ndarray,
    missing: Any = None,
) -> tuple[Columns, Columns]:
    """The covariates of readings and of units.

    Parameters
    ----------
    covariates, unit_covariates : dict
        From `given_columns`.
    missing
        As for `Panel`.
    channels, unit_ids, offsets
        Of the panel; readings in the order of the values.

    Raises
    ------
    PanelError
        A name is a channel too, or given twice; a wrong length; a cell that cannot be read; probable codes for missing.
    OptionError
        ``missing`` names no covariate or channel.
    """
    _check_roles(covariates, unit_covariates, channels)
    n_readings = int(offsets[-1])
    places, units = places_of_readings(unit_ids, offsets), places_of_units(unit_ids)
    columns = {name: covariate_of(name, values, places, "covariate", n_readings) for name, values in covariates.items()}
    of_units = {
        name: covariate_of(name, _by_unit(values, unit_ids, name), units, "unit covariate", unit_ids.size)
        for name, values in unit_covariates.items()
    }
    for what, some, where in (("covariate", columns, places), ("unit covariate", of_units, units)):
        _settle_codes(some, (*channels, *columns, *of_units), missing, what, where)
    warn_of_levels({name: column.levels for name, column in {**columns, **of_units}.items() if column.levels})
    return columns, of_units


def _check_roles(given: dict[str, Any], of_units: dict[str, Any], channels: Sequence[str]) -> None:
    for option, names in (("covariates", given), ("unit_covariates", of_units)):
        both = next((name for name in names if name in channels), None)
        if both is not None:
            raise PanelError(
                f"{both!r} is a channel and is named in {option} too; leave it out of one: a channel is what the model "
                "describes, a covariate what it takes as given"
            )
    both = next((name for name in given if name in of_units), None)
    if both is not None:
        raise PanelError(
            f"{both!r} is named in covariates and in unit_covariates; leave it out of covariates if it is constant "
            "within each unit, and out of unit_covariates if it is not"
        )


def _by_unit(values: Any, unit_ids: np.ndarray, name: str) -> Any:
    """One value per unit of a mapping; anything else unchanged."""
    if not isinstance(values, Mapping) or is_table(values):
        return values
    units: tuple[Hashable, ...] = tuple(unit_ids.tolist())
    check_keys(values, units, f"unit covariate {name!r}")
    return [values.get(unit) for unit in units]


def _settle_codes(columns: Columns, known: tuple[str, ...], missing: Any, what: str, where: Where) -> None:
    """Read declared codes as missing, in place; refuse probable ones if nothing is declared."""
    codes = declared_codes(missing, known)
    for name, column in columns.items():
        if codes is None:
            if column.levels is None:
                refuse_codes(name, column.values, what, where)
            continue
        numbers = codes.get(known.index(name))
        if numbers is None or not numbers.size:
            continue
        if column.levels is None:
            found = np.isin(column.values, numbers)
        else:
            coded = [type(level) is int and level in numbers for level in column.levels]
            found = np.isin(column.values, np.flatnonzero(coded))
        if found.any():
            column = Covariate(name, np.where(found, np.nan, column.values), column.levels)
            columns[name] = column.taken(slice(None))


# -- one array for each unit ------------------------------------------------------------------------------------


def columns_of_arrays(covariates: Any, flat: Flat) -> Columns | None:
    """The covariates of `Panel.from_arrays`: one array for each unit, or one for all.

    Parameters
    ----------
    covariates : mapping of name to a sequence of array_like of shape (n_l,), or an array of shape (n_units, n_times)
    flat : Flat
        The times and values, to which the arrays must fit.

    Raises
    ------
    PanelError
        Arrays that do not fit the times, or cells that cannot be read.
    """
    given = _given(covariates, "covariates")
    if not given:
        return None
    n_units = flat.unit_ids.size
    if flat.kept is None:
        offsets = flat.offsets
    else:  # padding was left out
        offsets = np.arange(n_units + 1, dtype=np.int64) * (flat.kept.size // n_units)
    where = places_of_readings(flat.unit_ids, offsets)
    columns = {}
    for name, values in given.items():
        declared = False
        if not isinstance(values, Covariate):
            values, declared = _end_to_end(values, flat.unit_ids, offsets, name)
        column = covariate_of(name, values, where, "covariate", int(offsets[-1]), declared=declared)
        columns[name] = column if flat.kept is None else column.taken(flat.kept)
    return columns


def _end_to_end(values: Any, unit_ids: np.ndarray, offsets: np.ndarray, name: str) -> tuple[Any, bool]:
    """All readings end to end, of any type that `covariate_of` reads; whether they are declared a category."""
    lengths = np.diff(offsets)
    units = unit_ids.tolist()
    if isinstance(values, Mapping) and not is_table(values):
        check_keys(values, tuple(units), f"covariate {name!r}")
        lacking = next((unit for unit in units if unit not in values), None)
        if lacking is not None:
            raise PanelError(f"covariate {name!r} has no array for unit {lacking!r}; give one array for each unit")
        values = [values[unit] for unit in units]
    if not isinstance(values, (list, tuple)):
        array = as_array(values, f"covariate {name!r}")
        if array.ndim == 2 and (lengths == array.shape[1]).all() and array.shape[0] == lengths.size:
            return array.reshape(-1), False
        if array.dtype != object or array.ndim != 1:
            raise PanelError(
                f"covariate {name!r} must hold one array for each unit, or one of shape (n_units, n_times) = "
                f"({lengths.size}, {listed(sorted(set(lengths.tolist())), 3)}); found shape {array.shape}"
            )
        values = list(array)
    if len(values) != lengths.size:
        raise PanelError(
            f"covariate {name!r} must hold one array for each unit, {lengths.size}; found {len(values)} items"
        )
    parts = []
    for unit, item, length in zip(units, values, lengths.tolist(), strict=True):
        if is_categorical(item):
            part: Any = item
        elif isinstance(item, (list, tuple)):  # as an array, numbers among texts would be texts
            part = item
        else:
            part = as_array(item, f"covariate {name!r} of unit {unit!r}")
        shape = np.shape(part) if isinstance(part, np.ndarray) else (len(part),)
        if shape != (length,):
            raise PanelError(
                f"covariate {name!r} of unit {unit!r} has shape {shape}; one value for each of its {length} readings "
                "was expected"
            )
        parts.append(part)
    if all(isinstance(part, np.ndarray) and part.dtype.kind in "fiu" for part in parts):
        return np.concatenate(parts), False
    items = [item for part in parts for item in (part.tolist() if isinstance(part, np.ndarray) else part)]
    return items, any(map(is_categorical, parts))
