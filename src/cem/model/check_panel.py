"""The check panel of a model file: units drawn from the model (`check_draws`), so a file contains no customer data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel

    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["check_panel", "log_likelihood_of_check"]


def log_likelihood_of_check(model: FittedMixture, arrays: Arrays) -> float:
    """Marginal log-likelihood of the check panel, with only the code that scoring needs anyway.

    Times to failure count from the failure, so they are on the model's axis already.
    """
    offsets, times, values = arrays["check_offsets"], arrays["check_times"], arrays["check_values"]
    # The scorer of single readings takes channels as independent, and knows no covariates and no processes.
    others = (model.conditions, model.of_units, model.processes)
    if model.linking_rank or any(other is not None for other in others):
        from cem.mixture.conditioned import map_jacobian
        from cem.mixture.prediction import evidence

        panel = check_panel(model, arrays)
        if model.components is None:
            found = evidence(model.compressed(panel), model.internal_parameters).log_likelihoods
        else:
            found = model._evidence_of(model.compressed(panel), 1).log_likelihoods  # type: ignore[attr-defined]
        if model.conditions is not None:
            found = found + map_jacobian(model, panel)
        return float(found.sum())
    from cem.scoring._scorer import PackedScorer

    parameters = model.internal_parameters if model.components is None else model.components.parameters
    scorer = PackedScorer(parameters, model.coordinates, model.bases, model.channels)
    found = np.empty(len(offsets) - 1)
    if scorer._log_likelihood_rows(times, values, offsets, found) is not None:
        raise ValueError("the check panel holds a reading that cannot be scored")
    return float(found.sum())


def check_panel(model: FittedMixture, arrays: Arrays) -> Panel:
    """The check panel with its covariates, from the arrays of a file.

    Parameters
    ----------
    model : FittedMixture
    arrays : mapping of str to ndarray
    """
    from cem.panel.panel import Panel

    offsets = arrays["check_offsets"]
    panel = Panel(
        np.arange(len(offsets) - 1), offsets, arrays["check_times"], arrays["check_values"], model.channels,
        allow_empty_channels=True, missing=(), duplicates="keep",
    )  # fmt: skip
    if model.conditions is None and model.of_units is None:
        return panel
    from cem.panel.covariates import Covariate

    of_readings: dict[str, Covariate] = {}
    of_units: dict[str, Covariate] = {}
    if model.conditions is not None:
        w = arrays["check_covariates"]
        for j, column in enumerate(model.conditions.columns):
            own = w[:, j]
            if column.of_unit:
                of_units[column.name] = Covariate(column.name, own[offsets[:-1]], column.levels)
            else:
                of_readings[column.name] = Covariate(column.name, np.array(own), column.levels)
    if model.of_units is not None:
        for j, column in enumerate(model.of_units.columns):
            of_units[column.name] = Covariate(
                column.name, np.array(arrays["check_unit_covariates"][:, j]), column.levels
            )
    return panel._replace(_covariate_columns=of_readings, _unit_covariate_columns=of_units)
