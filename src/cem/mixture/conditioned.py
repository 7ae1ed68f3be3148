"""Readings under known conditions: what a fitted model makes of a panel's covariates before and after it scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import PredictionError
from cem.statistics.columns import Column, ColumnPlan

if TYPE_CHECKING:
    from cem.covariates.conditions import Conditions
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["adjusted_panel", "compressed_readings", "condition_rows", "map_jacobian", "plan_of", "unit_design"]

FloatArray = NDArray[np.float64]


def condition_rows(conditions: Conditions, panel: Panel) -> FloatArray:
    """The covariates of a panel's readings, as the model counts them, shape (N, m).

    Raises
    ------
    PredictionError
        The panel lacks a covariate, a value is missing, or a level was never seen.
    """
    from cem.errors import PanelError

    try:
        w = panel.conditions(conditions.names, conditions.levels)
    except PanelError as error:
        raise PredictionError(str(error)) from None
    missing = np.argwhere(np.isnan(w))
    if len(missing):
        row, j = (int(i) for i in missing[0])
        raise PredictionError(
            f"covariate {conditions.names[j]!r} is missing at {where_in(panel)(row)} ({len(missing):,} such values); "
            "the model needs it with every reading: fill it in, or leave these readings out"
        )
    return w


def where_in(panel: Panel) -> Callable[[int], str]:
    """What messages call a row of a panel."""

    def named(row: int) -> str:
        unit = int(np.searchsorted(panel.offsets, row, side="right")) - 1
        return f"time {panel.times[row]:g} of unit {panel.units[unit]!r}"

    return named


def basis_rows(model: FittedMixture, times: FloatArray) -> list[FloatArray | None] | None:
    """Each channel's basis at some times, where columns of covariates multiply it; None if none do."""
    conditions = model.conditions
    if conditions is None or not any(conditions.uses_basis):
        return None
    return [basis(times) if uses else None for basis, uses in zip(model.bases, conditions.uses_basis, strict=True)]


def adjusted_panel(model: FittedMixture, panel: Panel) -> Panel:
    """The panel whose readings have lost their regimes and what common columns explain.

    Parameters
    ----------
    model : FittedMixture
    panel : Panel
        With the model's channels in order, on the model's time axis.

    Raises
    ------
    PredictionError
        A covariate is missing or unknown, or a reading's regime is; the message names the unit and the time.
    """
    conditions = model.conditions
    if conditions is None or not conditions.maps_readings:
        return panel
    w = condition_rows(conditions, panel)
    values = conditions.adjusted(panel.values, w, basis_rows(model, panel.times), where_in(panel))
    return panel._replace(values=values)


def plan_of(model: FittedMixture, panel: Panel) -> ColumnPlan | None:
    """The columns of a model's channels where some have covariates and a coefficient for each mode; else None.

    Parameters
    ----------
    model : FittedMixture
    panel : Panel
        With the model's channels, for its covariates.
    """
    conditions = model.conditions
    if conditions is None or not any(conditions.by_mode):
        return None
    features = conditions.features_at(condition_rows(conditions, panel), where_in(panel))
    return ColumnPlan(
        tuple(tuple(range(basis.size)) for basis in model.bases),
        tuple(tuple(Column(f, j, True) for f, j in own) for own in conditions.by_mode),
        features,
    )


def compressed_readings(model: FittedMixture, panel: Panel) -> SufficientStatistics:
    """Sufficient statistics of a panel in the model's coordinates.

    Parameters
    ----------
    model : FittedMixture
    panel : Panel
        With the model's channels in order, on the model's time axis.
    """
    from cem.statistics.sufficient import SufficientStatistics

    return SufficientStatistics.from_panel(
        adjusted_panel(model, panel),
        model.bases,
        coordinates=model.coordinates,
        kernel="plain",
        plan=plan_of(model, panel),
        whole=True,
    )


def map_jacobian(model: FittedMixture, panel: Panel) -> FloatArray:
    """ln |dx'/dx| of each unit's readings, shape (L,): what the regimes' scales add to a log-density.

    Parameters
    ----------
    model : FittedMixture
    panel : Panel
        With the model's channels in order, as its readings were read.
    """
    conditions = model.conditions
    if conditions is None or conditions.regimes is None:
        return np.zeros(panel.n_units)
    of_readings = conditions.log_jacobian(panel.values, condition_rows(conditions, panel))
    return np.add.reduceat(of_readings, np.asarray(panel.offsets[:-1]))


def unit_design(of_units: Conditions, panel: Panel) -> FloatArray:
    """(1, f(u)) of a panel's units, shape (L, 1 + F).

    Raises
    ------
    PredictionError
        A unit's covariate is missing or unknown.
    """
    rows = condition_rows(of_units, panel)[np.asarray(panel.offsets[:-1])]
    features = of_units.features_at(rows, lambda row: f"unit {panel.units[row]!r}")
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)
