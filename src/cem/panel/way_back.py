"""The arguments of `Panel.from_arrays` and `Panel.from_frame` that make a panel again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cem.panel.covariates import Covariate
    from cem.panel.panel import Panel

__all__ = ["arguments_of", "settings_of"]


def arguments_of(panel: Panel) -> dict[str, Any]:
    """Lists of arrays, names and labels, by argument of `Panel.from_arrays`."""
    cuts = panel.offsets[1:-1]
    return {
        "times": np.split(panel.times, cuts),
        "values": np.split(panel.values, cuts),
        "units": panel.units,
        "modes": panel.modes,
        "failure_times": panel.failure_times,
        "covariates": {name: _by_unit(column, cuts) for name, column in panel._covariate_columns.items()},
        "unit_covariates": {name: _values(column) for name, column in panel._unit_covariate_columns.items()},
        **settings_of(panel),
    }


def settings_of(panel: Panel) -> dict[str, Any]:
    """Arguments that every constructor of a panel has, and that are no data."""
    origin = panel.origin
    if isinstance(origin, float) or (origin == "first reading" and np.any(panel.times[panel.offsets[:-1]] != 0.0)):
        origin = None  # already subtracted
    return {
        "channels": panel.channels,
        "response": panel.response,
        "time_unit": panel.time_unit,
        "origin": origin,
        "channel_units": panel.channel_units,
        "allow_empty_channels": True,
        "allow_empty_units": True,
        "missing": (),
        "duplicates": "keep",
    }


def _by_unit(column: Covariate, cuts: np.ndarray) -> Any:
    values = _values(column)
    return np.split(values, cuts) if isinstance(values, np.ndarray) else values


def _values(column: Covariate) -> Any:
    """Numbers or labels; the covariate itself if an array of its labels would be read as numbers."""
    words = column.levels is None or (column.levels and type(column.levels[0]) in (str, bool))
    return column.plain() if words else column
