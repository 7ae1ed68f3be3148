"""Readings under known conditions: what a fitted model makes of a panel's covariates before and after it scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import PredictionError
from cem.errors.names import listed
from cem.mixture.condition_rows import reading_rows, unit_rows, where_in
from cem.statistics.columns import Column, ColumnPlan

if TYPE_CHECKING:
    from cem.covariates.columns import Column as Covariate
    from cem.covariates.conditions import Conditions
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel
    from cem.statistics.sufficient import SufficientStatistics

__all__ = [
    "adjusted_panel",
    "by_mode_coefficients",
    "check_covariates",
    "compressed_readings",
    "condition_rows",
    "map_jacobian",
    "mode_curves",
    "needed_covariates",
    "plan_of",
    "unit_design",
]

FloatArray = NDArray[np.float64]


def check_covariates(model: FittedMixture, panel: Panel) -> None:
    """Refuse a panel whose covariates are not those that a model needs; further ones are allowed.

    Raises
    ------
    PredictionError
        A covariate has the name of a channel of the model, one that the model needs is absent, or one of units was read
        with the sensors.
    """
    known = (*panel.covariates, *panel.unit_covariates)
    for name in known:
        if name in model.channels:
            raise PredictionError(
                f"{name!r} is a channel of the model and a covariate of the panel, so the channel would count as "
                f"missing; read the panel with {name!r} among its channels"
            )
    lacking = [name for name in (*model.covariates, *model.unit_covariates) if name not in known]
    if lacking:
        raise PredictionError(f"the panel has no covariate {lacking[0]!r}; {needed_covariates(model)}")
    for name in model.unit_covariates:
        if name in panel.covariates:
            raise PredictionError(
                f"covariate {name!r} of the model is one of units, and the panel has it with each reading; read the "
                f"panel with unit_covariates=[{name!r}]"
            )


def needed_covariates(model: FittedMixture) -> str:
    """What messages say of the covariates that a model needs, and how they are given."""
    parts = []
    if model.covariates:
        parts.append(f"{listed(model.covariates, 12)} with every reading (covariates=)")
    if model.unit_covariates:
        parts.append(f"{listed(model.unit_covariates, 12)} of every unit (unit_covariates=)")
    return (
        f"the model needs {' and '.join(parts)}: give them to Panel.from_frame, Panel.from_arrays or "
        "panel.with_covariates"
    )


def condition_rows(conditions: Conditions, panel: Panel, columns: Sequence[Covariate] | None = None) -> FloatArray:
    """The covariates of a panel's readings, as the model counts them, shape (N, m).

    Parameters
    ----------
    conditions : Conditions
    panel : Panel
    columns : sequence of m Column, optional
        All columns of the conditions by default.

    Raises
    ------
    PredictionError
        The panel lacks a covariate, a value is missing, or a level was never seen.
    """
    return reading_rows(panel, conditions.columns if columns is None else columns)


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
    overflown = ~np.isfinite(values) & np.isfinite(panel.values)
    if overflown.any():  # infinities that cancel would count as missing
        row, c = (int(i) for i in np.argwhere(overflown)[0])
        raise PredictionError(
            f"channel {model.channels[c]!r} is {panel.values[row, c]:g} at {where_in(panel)(row)}, too far from the "
            "training readings under its covariates; correct it"
        )
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
        processes=model.processes,
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


def mode_curves(model: FittedMixture, panel: Panel, channel: int) -> FloatArray:
    """What by-mode columns of covariates add to a channel's curve at each reading and in each mode, (N, K).

    Parameters
    ----------
    model : FittedMixture
    panel : Panel
        With the model's channels in order, on the model's time axis.
    channel : int
        Position of the channel.
    """
    conditions = model.conditions
    n = len(panel.times)
    if conditions is None or not conditions.by_mode[channel]:
        return np.zeros((n, model.n_modes))
    w = condition_rows(conditions, panel)
    psi = conditions.design(w, basis_rows(model, panel.times), channel, where_in(panel))
    return psi @ by_mode_coefficients(model, channel).T


def by_mode_coefficients(model: FittedMixture, channel: int) -> FloatArray:
    """beta_k of a channel's by-mode columns of covariates, (K, q), in units of the channel as modelled."""
    user = model.user_parameters()
    return user.layout.vector(user.means, channel)[:, model.bases[channel].size :]


def unit_design(of_units: Conditions, panel: Panel) -> FloatArray:
    """(1, f(u)) of a panel's units, shape (L, 1 + F).

    Raises
    ------
    PredictionError
        A unit's covariate is missing or unknown.
    """
    rows = unit_rows(panel, of_units.columns)
    features = of_units.features_at(rows, lambda row: f"unit {panel.units[row]!r}")
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)
