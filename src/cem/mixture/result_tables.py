"""Posteriors and forecasts as columns of a table."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors.names import object_array

if TYPE_CHECKING:
    from cem.mixture.prediction import Forecast, Posterior

__all__ = ["forecast_columns", "mode_cells", "posterior_columns", "unit_cells"]


def unit_cells(units: Sequence[Hashable]) -> np.ndarray:
    """Ids as an array (L,): int64 if all of them are whole numbers, else objects."""
    if units and all(type(unit) is int and abs(unit) < 2**63 for unit in units):
        return np.array(units, dtype=np.int64)
    return object_array(units)


def mode_cells(labels: Sequence[Hashable]) -> np.ndarray:
    """Labels of modes as they stand in the cells of a column: themselves if they have one type, else texts."""
    return unit_cells(labels if len({type(label) for label in labels}) == 1 else [str(label) for label in labels])


def posterior_columns(posterior: Posterior) -> dict[str, Any]:
    """One row for each unit, mode, channel and coefficient."""
    n_units, n_modes, n_channels, size = posterior.means.shape
    shape = (n_units, n_modes, n_channels, size)
    kept = np.broadcast_to(np.arange(size) < np.array(posterior.sizes)[:, None], shape)
    l, k, c, j = (index[kept] for index in np.indices(shape))
    variances = np.einsum("lkcii->lkci", posterior.covariances)
    return {
        "unit": unit_cells(posterior.units)[l],
        "mode": mode_cells(posterior.mode_labels)[k],
        "probability": posterior.mode_probabilities[l, k],
        "channel": object_array(posterior.channels)[c],
        "coefficient": j,
        "mean": posterior.means[kept],
        "standard_deviation": np.sqrt(np.maximum(variances[kept], 0.0)),
    }


def forecast_columns(forecast: Forecast, level: float = 0.9) -> dict[str, Any]:
    """One row for each unit and time."""
    from cem.panel.frames.out import interval_columns

    low, high = interval_columns(level)
    n_units, n_times = forecast.mode_means.shape[0], forecast.mode_means.shape[2]
    lower, upper = forecast.interval(level)
    return {
        "unit": np.repeat(unit_cells(forecast.units), n_times),
        "time": np.ravel(np.broadcast_to(forecast.times, (n_units, n_times))),
        "mean": forecast.mean.ravel(),
        "standard_deviation": np.sqrt(np.maximum(forecast.variance, 0.0)).ravel(),
        low: lower.ravel(),
        high: upper.ravel(),
    }
