"""Covariates for a scorer and its units, as users give them and as a panel has them; for models that have some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cem.covariates.rows import number_of, row_of
from cem.errors import PredictionError, ScorerError
from cem.errors.names import did_you_mean, listed
from cem.scoring.condition_layout import reading_columns, unit_columns

if TYPE_CHECKING:
    from cem.covariates.columns import Column
    from cem.covariates.conditions import Conditions
    from cem.panel.panel import Panel
    from cem.scoring.scorer import Scorer, Unit

__all__ = [
    "are_rows_of",
    "covariate_error",
    "covariate_row",
    "covariate_rows",
    "future_rows",
    "lacks_unit_covariates",
    "no_covariates",
    "panel_error",
    "panel_rows",
    "unit_row",
]

FloatArray = NDArray[np.float64]


class HasModel(Protocol):
    """A scorer, or a running unit on the time to failure."""

    @property
    def model(self) -> Any: ...


def conditions_of(scorer: HasModel) -> Conditions | None:
    found: Conditions | None = getattr(scorer.model, "conditions", None)
    return found


def covariate_row(scorer: HasModel, covariates: object) -> FloatArray:
    """The covariates of one reading, (m,), by name or in the order of `model.covariates`.

    Raises
    ------
    ScorerError
        One is missing, unknown, no number, or of a level never seen.
    """
    columns = reading_columns(conditions_of(scorer))
    if covariates is None:
        raise ScorerError(
            f"this model needs the covariates {listed([column.name for column in columns], 12)} with every reading; "
            "give covariates=, in this order or by name"
        )
    return row_of(columns, _by_name(covariates))


def unit_row(scorer: HasModel, covariates: object) -> FloatArray:
    """The covariates of a unit, (m,), by name or in the order of `model.unit_covariates`; errors likewise."""
    columns = unit_columns(conditions_of(scorer), getattr(scorer.model, "of_units", None))
    if not columns:
        raise ScorerError(
            "this model has no covariates of units; leave covariates= out here, and give those of readings to update"
        )
    if covariates is None:
        raise lacks_unit_covariates(scorer)
    return row_of(columns, _by_name(covariates))


def lacks_unit_covariates(scorer: HasModel) -> ScorerError:
    columns = unit_columns(conditions_of(scorer), getattr(scorer.model, "of_units", None))
    return ScorerError(
        f"this model needs the covariates {listed([column.name for column in columns], 12)} of every unit; begin it "
        "with scorer.unit(covariates=...)"
    )


def no_covariates(scorer: HasModel) -> ScorerError:
    names = [column.name for column in unit_columns(conditions_of(scorer), getattr(scorer.model, "of_units", None))]
    own = f"; those of the unit, {listed(names, 12)}, are given once, to scorer.unit" if names else ""
    return ScorerError(f"this model has no covariates of readings; leave covariates= out{own}")


def _by_name(covariates: object) -> object:
    """A mapping, where the covariates have names; else as they were."""
    structured = isinstance(covariates, np.ndarray) and covariates.dtype.names is not None
    if isinstance(covariates, (Mapping, str, list, int, float, np.ndarray)) and not structured:
        if isinstance(covariates, np.ndarray) and covariates.ndim != 1:
            raise ScorerError(f"covariates have shape {covariates.shape}; one row of them was expected")
        return covariates
    from cem.panel.readings import named_items

    named = named_items(covariates)
    if named is not None:
        return dict(named)
    if hasattr(covariates, "__array__"):
        return np.asarray(covariates)
    return covariates


def covariate_rows(columns: Sequence[Column], covariates: object, n: int, what: str = "row") -> FloatArray:
    """The covariates of n readings, (n, m): columns by name, or rows in the order of the columns.

    Parameters
    ----------
    columns : sequence of Column
    covariates : mapping of name to n values or to one for all, data frame, or array of shape (n, m)
    n : int
    what : str
        What messages call one of the readings.

    Raises
    ------
    ScorerError
        Names or shapes are not these, or a value is missing, no number, or a level never seen.
    """
    from cem.panel.containers import column_names, is_table

    names = [column.name for column in columns]
    if is_table(covariates) or isinstance(covariates, Mapping):
        given: Any = covariates
        found = list(given) if isinstance(given, Mapping) else list(column_names(given) or given.dtype.names)
        unknown = [name for name in found if name not in names]
        if unknown:
            raise ScorerError(f"the model has no covariate {unknown[0]!r}; {did_you_mean(unknown[0], names)}")
        lacking = [name for name in names if name not in found]
        if lacking:
            raise ScorerError(f"covariate {lacking[0]!r} is missing; the model needs {listed(names, 12)}")
        values = [given.column(found.index(name)) if hasattr(given, "column_names") else given[name] for name in names]
        return np.stack([_column(column, own, n, what) for column, own in zip(columns, values, strict=True)], axis=1)
    if isinstance(covariates, np.ma.MaskedArray):
        shown = np.asarray(covariates.data).astype(object)
        shown[np.ma.getmaskarray(covariates)] = None
        covariates = shown
    rows = np.asarray(covariates, dtype=None if _plain(covariates) else object)
    if rows.ndim == 1 and len(columns) == 1:
        rows = rows[:, None]
    if rows.shape != (n, len(columns)):
        raise ScorerError(
            f"covariates have shape {rows.shape}; ({n}, {len(columns)}), a row for each {what} and a column for each "
            f"of {listed(names, 12)}, was expected"
        )
    return np.stack([_column(column, rows[:, j], n, what) for j, column in enumerate(columns)], axis=1)


def _plain(covariates: object) -> bool:
    return isinstance(covariates, np.ndarray) and not isinstance(covariates, np.ma.MaskedArray)


def _column(column: Column, values: Any, n: int, what: str) -> FloatArray:
    """One covariate of n readings, (n,)."""
    if np.ndim(values) == 0:
        return np.full(n, number_of(column, values, ScorerError))
    if hasattr(values, "to_pylist"):  # pyarrow
        values = values.to_pylist()
    if len(values) != n:
        raise ScorerError(
            f"covariate {column.name!r} has {len(values)} values; {n}, one for each {what}, were expected"
        )
    if isinstance(values, np.ndarray) and _plain(values) and values.dtype == np.float64 and not column.is_category:
        return values
    result = np.empty(n)
    for i, value in enumerate(values):
        try:
            result[i] = number_of(column, value, ScorerError)
        except ScorerError as error:
            raise ScorerError(f"{what} {i}: {error}") from None
    return result


def covariate_error(scorer: Scorer, row: FloatArray, t: float) -> ScorerError:
    """The error of a row of conditions (n_columns,) that the compiled scorer refused at time t."""
    conditions = conditions_of(scorer)
    assert conditions is not None
    try:
        conditions.regimes_at(row[None], lambda _: f"time {t:g}", ScorerError)
        conditions.features_at(row[None], lambda _: f"time {t:g}", ScorerError)
    except ScorerError as error:
        return error
    return ScorerError(f"the covariates at time {t:g} cannot be used; check their units")


def future_rows(unit: Unit, own: Conditions | None, covariates: object, times: FloatArray) -> FloatArray:
    """The rows of a channel's conditions at the times of a forecast, (n, columns of own).

    Parameters
    ----------
    unit : Unit
        Whose own covariates hold then too.
    own : Conditions or None
        Of the channel, with the covariates that it depends on; None: it depends on none.
    covariates : mapping, data frame, array of shape (n, m), or "last"
        As for `covariate_rows`; by name at least those that the channel depends on. "last": as read last.
    times : ndarray of shape (n,)

    Raises
    ------
    ScorerError
        Covariates are missing, wrong, or given to a model that has none.
    """
    scorer, n = unit.scorer, len(times)
    columns, needed = reading_columns(conditions_of(scorer)), reading_columns(own)
    names = [column.name for column in columns]
    memory = unit._get_memory()
    n_own = len(memory) - len(columns)
    of_unit = unit_columns(conditions_of(scorer), getattr(scorer.model, "of_units", None))
    if not columns and covariates is not None:
        raise no_covariates(scorer)
    lacking = unit._lacks_own()
    if lacking is not None:
        raise lacking
    known = {column.name: np.full(n, value) for column, value in zip(of_unit, memory[:n_own].tolist(), strict=True)}
    if covariates is None:
        if needed:
            raise ScorerError(
                f"a forecast needs the covariates {listed([column.name for column in needed], 12)} at its times; give "
                "covariates=, or covariates='last' for those that were read last"
            )
    elif isinstance(covariates, str):
        if covariates != "last":
            raise ScorerError(
                f"covariates={covariates!r}; values of {listed(names, 12)} at the times, or 'last', were expected"
            )
        if np.isnan(memory[n_own:]).any():
            raise ScorerError("covariates='last': this unit has no reading yet; give the values")
        known |= {name: np.full(n, value) for name, value in zip(names, memory[n_own:].tolist(), strict=True)}
    else:
        chosen = columns
        if isinstance(covariates, Mapping):
            # Those that the channel does not depend on may be left out, but none of a name that the model lacks.
            chosen = tuple(column for column in columns if column in needed or column.name in covariates)
        future = covariate_rows(chosen, covariates, n, "time")
        known |= {column.name: future[:, j] for j, column in enumerate(chosen)}
    rows = np.empty((n, 0 if own is None else len(own.columns)))
    for j, column in enumerate(() if own is None else own.columns):
        rows[:, j] = known[column.name]
    return rows


def are_rows_of(scorer: Scorer, memories: FloatArray) -> bool:
    """Whether the model can read the covariates at units' last readings, (L, m_u + m) with their own before."""
    conditions = conditions_of(scorer)
    if conditions is None:
        return True
    own = {column.name: i for i, column in enumerate(unit_columns(conditions, getattr(scorer.model, "of_units", None)))}
    last = iter(range(memories.shape[1] - len(reading_columns(conditions)), memories.shape[1]))
    places = [own[column.name] if column.of_unit else next(last) for column in conditions.columns]
    rows = np.ascontiguousarray(memories[:, places], dtype=np.float64)
    try:
        conditions.regimes_at(rows)
        conditions.features_at(rows)
    except PredictionError:
        return False
    return True


def panel_rows(scorer: Scorer, panel: Panel) -> tuple[FloatArray | None, FloatArray | None]:
    """The covariates of a panel's readings (N, m) and units (L, m_u), None where the model has none.

    Raises
    ------
    ScorerError
        The panel lacks one, or a value is missing or of a level never seen.
    """
    from cem.mixture.conditioned import condition_rows

    conditions = conditions_of(scorer)
    of_units: Conditions | None = getattr(scorer.model, "of_units", None)
    firsts = np.asarray(panel.offsets[:-1])
    readings: FloatArray | None = None
    of_unit: dict[str, FloatArray] = {}
    try:
        for each in (conditions, of_units):
            if each is None:
                continue
            w, columns = condition_rows(each, panel), each.columns
            if each is conditions:
                chosen = [j for j, column in enumerate(columns) if not column.of_unit]
                readings = np.ascontiguousarray(w[:, chosen]) if chosen else None
            for j, column in enumerate(columns):
                if column.of_unit or each is of_units:
                    of_unit[column.name] = w[firsts, j]
    except PredictionError as error:
        raise ScorerError(str(error)) from None
    names = [column.name for column in unit_columns(conditions, of_units)]
    units = np.ascontiguousarray(np.stack([of_unit[name] for name in names], axis=1)) if names else None
    return readings, units


def panel_error(scorer: Scorer, panel: Panel, row: int) -> ScorerError:
    """The error of a panel's reading whose covariates the compiled scorer refused."""
    from cem.mixture.condition_rows import where_in
    from cem.mixture.conditioned import condition_rows

    conditions = conditions_of(scorer)
    assert conditions is not None
    w, where = condition_rows(conditions, panel)[row : row + 1], where_in(panel)(row)
    try:
        conditions.regimes_at(w, lambda _: where, ScorerError)
        conditions.features_at(w, lambda _: where, ScorerError)
    except ScorerError as error:
        return error
    return ScorerError(f"the covariates at {where} cannot be used; check their units")
