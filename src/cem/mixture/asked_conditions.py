"""The conditions of a forecast: covariates at times that no reading is known of, as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cem.covariates.one_channel import ChannelAt, channel_at, encoded, of_one_channel
from cem.errors import CemError, PredictionError
from cem.errors.names import did_you_mean, listed
from cem.errors.options import shortened
from cem.mixture.conditioned import condition_rows

if TYPE_CHECKING:
    from cem.covariates.conditions import Conditions
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel

__all__ = [
    "LAST",
    "GivenCovariates",
    "conditions_of_units",
    "forecast_conditions",
    "needed_covariates",
    "refuse_unknown",
]

FloatArray = NDArray[np.float64]

LAST = "last"
"""In place of covariates: those that each unit read last."""

GivenCovariates = Mapping[str, Any] | Literal["last"] | None


def needed_covariates(conditions: Conditions | None, *, of_unit: bool | None = None) -> tuple[str, ...]:
    """Names of covariates: of all, of those read with the sensors (False), or of those of units (True)."""
    columns = () if conditions is None else conditions.columns
    return tuple(column.name for column in columns if of_unit in (None, column.of_unit))


def refuse_unknown(
    model: FittedMixture,
    given: Mapping[str, Any],
    known: Sequence[str],
    option: str = "covariates",
    error: type[CemError] = PredictionError,
) -> None:
    """Refuse a name that is none of the model's covariates, or belongs to the other kind."""
    for name in given:
        if name in known:
            continue
        if name in model.unit_covariates:
            raise error(f"{option} names {name!r}, a covariate of units; each unit has its own value in the panel")
        if name in model.covariates:
            raise error(f"{option} names {name!r}, which is read with the sensors; give it in covariates=")
        if not known:
            raise error(f"{option} names {name!r}; the model has no such covariates, so leave {option} out")
        raise error(f"{option}: the model has no covariate {name!r}; {did_you_mean(str(name), known)}")


def conditions_of_units(
    model: FittedMixture,
    channel: int,
    panel: Panel,
    given: GivenCovariates,
    n_times: int | None,
) -> tuple[Conditions | None, FloatArray]:
    """The conditions of a channel, and its covariates at times of each unit, (L, m, n), or (L, n) if constant.

    Parameters
    ----------
    model : FittedMixture
        The model.
    channel : int
        Position of the channel.
    panel : Panel
        The units, with the covariates of units, and with those last read.
    given : mapping of name to value, "last" or None
        A value is a scalar, or of shape (m,) or (L, m); if constant, a scalar or of shape (L,).
    n_times : int or None
        m; None: conditions are constant.

    Raises
    ------
    PredictionError
        A covariate that the channel depends on is not given, a name is not the model's, or a value cannot be read.
    """
    if given is not None and not isinstance(given, Mapping) and not (isinstance(given, str) and given == LAST):
        raise PredictionError(
            f"covariates is {shortened(given)}; a mapping of the names {listed(model.covariates, 12)} to values, or "
            f"{LAST!r} for those that each unit read last, was expected"
        )
    if given is not None and not model.covariates:
        raise PredictionError(
            "covariates are given, and the model has none that are read with the sensors; leave them out"
        )
    if isinstance(given, Mapping):
        refuse_unknown(model, given, model.covariates)
    conditions = of_one_channel(model.conditions, channel)
    shape = (panel.n_units,) if n_times is None else (panel.n_units, n_times)
    if conditions is None:
        return None, np.zeros((*shape, 0))
    needed = needed_covariates(conditions, of_unit=False)
    if needed and given is None:
        raise PredictionError(
            f"channel {model.channels[channel]!r} depends on {listed(needed, 12)}: give "
            f"covariates={{{', '.join(f'{name!r}: ...' for name in needed)}}}, the values at the times that are asked "
            f"for, or covariates={LAST!r} to take those that each unit read last"
        )
    lacking = [name for name in needed if isinstance(given, Mapping) and name not in given]
    if lacking:
        raise PredictionError(
            f"channel {model.channels[channel]!r} depends on {listed(needed, 12)}, and covariates lack {lacking[0]!r}"
        )
    from_panel = [column for column in conditions.columns if column.of_unit or given == LAST]
    w = np.empty((*shape, len(conditions.columns)))
    if from_panel:
        last = condition_rows(conditions, panel, from_panel)[np.asarray(panel.offsets[1:]) - 1]
    for j, column in enumerate(conditions.columns):
        if column in from_panel:
            own = last[:, from_panel.index(column)]
            w[..., j] = own if n_times is None else own[:, None]
        else:
            assert isinstance(given, Mapping)
            w[..., j] = _spread(encoded(column, given[column.name]), shape, column.name)
    return conditions, w


def _spread(values: FloatArray, shape: tuple[int, ...], name: str) -> FloatArray:
    """Values for every unit, and time, from one, one for each time, or all of them."""
    fits = values.ndim == 0 or values.shape == shape or (len(shape) == 2 and values.shape == shape[1:])
    if not fits:
        expected = f"({shape[-1]},), one for each time" if len(shape) == 2 else f"({shape[0]},), one for each unit"
        whole = f", or {shape}, a row for each unit" if len(shape) == 2 else ""
        raise PredictionError(
            f"covariate {name!r} has shape {values.shape}; one value, or shape {expected}{whole}, was expected"
        )
    return np.broadcast_to(values, shape)


def forecast_conditions(
    model: FittedMixture,
    channel: int,
    panel: Panel,
    given: GivenCovariates,
    on_axis: FloatArray,
    asked: FloatArray,
) -> tuple[FloatArray, FloatArray, ChannelAt | None]:
    """Times on the model's axis and as asked, (L, m) each, and the channel at them; as given if it has no conditions.

    Parameters
    ----------
    model, channel, panel, given
        As for `conditions_of_units`, whose errors this raises.
    on_axis, asked : ndarray of shape (m,) or (L, m)
        Times on the model's axis, and as the user gave them.
    """
    conditions, w = conditions_of_units(model, channel, panel, given, asked.shape[-1])
    if conditions is None:
        return on_axis, asked, None
    shape = w.shape[:2]
    flat = np.broadcast_to(on_axis, shape).reshape(-1)

    def where(row: int) -> str:
        unit, i = divmod(row, shape[1])
        return f"time {np.broadcast_to(asked, shape)[unit, i]:g} of unit {panel.units[unit]!r}"

    at = channel_at(conditions, model.bases[channel](flat), w.reshape(len(flat), -1), where)
    return flat.reshape(shape), asked, at


def channels_at(model: FittedMixture, times: FloatArray, given: Mapping[str, Any]) -> list[ChannelAt]:
    """Every channel of a model at times and conditions that are the same for all units.

    Parameters
    ----------
    model : FittedMixture
        The model.
    times : ndarray of shape (m,)
        On the model's time axis.
    given : mapping of name to value
        A number or level, or an array of shape (m,), of all covariates that channels depend on.

    Raises
    ------
    PredictionError
        A covariate is lacking or unknown, or a value or shape cannot be used.
    """
    if not isinstance(given, Mapping):
        raise PredictionError(
            f"covariates is {shortened(given)}; a mapping of the names "
            f"{listed(needed_covariates(model.conditions), 12)} to values was expected"
        )
    known = needed_covariates(model.conditions)
    of_channels = [of_one_channel(model.conditions, c) for c in range(model.n_channels)]
    refuse_unknown(model, given, known)
    columns = {column.name: column for own in of_channels if own is not None for column in own.columns}
    lacking = [name for name in columns if name not in given]
    if lacking:
        raise PredictionError(
            f"covariates lack {lacking[0]!r}; the model's channels depend on {listed(list(columns), 12)}"
        )
    values = {name: _at_times(encoded(column, given[name]), len(times), name) for name, column in columns.items()}
    found = []
    for basis, conditions in zip(model.bases, of_channels, strict=True):
        w = np.zeros((len(times), 0 if conditions is None else len(conditions.columns)))
        for j, column in enumerate(() if conditions is None else conditions.columns):
            w[:, j] = values[column.name]
        found.append(channel_at(conditions, basis(times), w, lambda row: f"time {times[row]:g}"))
    return found


def _at_times(values: FloatArray, n_times: int, name: str) -> FloatArray:
    if values.ndim and values.shape != (n_times,):
        raise PredictionError(
            f"covariate {name!r} has shape {values.shape}; one value, or shape ({n_times},), one for each time, was "
            "expected"
        )
    return np.broadcast_to(values, (n_times,))
