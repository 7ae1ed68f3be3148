"""Scoring with linked channels, model.md (17): log-densities and posteriors. It needs only NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import KernelFailure, PredictionError
from cem.mixture import _linked
from cem.mixture.parameters import Parameters
from cem.numerics.threads import in_order, threads_told

if TYPE_CHECKING:
    from collections.abc import Hashable

    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["linked_log_densities", "linked_posteriors", "not_finite"]

FloatArray = NDArray[np.float64]


def linked_log_densities(
    statistics: SufficientStatistics, parameters: Parameters, n_threads: int = 1
) -> tuple[FloatArray, FloatArray]:
    """ln P(x_l | k) in internal coordinates, and the quadratic form of each unit's readings; both (L, K).

    Raises
    ------
    PredictionError
        A log-density is not finite; the message names the unit.
    """
    shape = (statistics.n_units, parameters.n_modes)
    densities, misfits = np.empty(shape), np.empty(shape)
    bundles = statistics.bundle, parameters.bundle

    def part(first: int, last: int) -> None:
        _linked.log_densities(*bundles, first, last, densities, misfits)

    n_parts = max(1, min(n_threads, statistics.n_units))
    bounds = [statistics.n_units * i // n_parts for i in range(n_parts + 1)]
    try:
        if n_parts == 1:
            part(*bounds)
        else:
            with threads_told(PredictionError):
                list(in_order(lambda i: part(bounds[i], bounds[i + 1]), range(n_parts), n_parts))
    except KernelFailure as failure:
        raise not_finite(statistics.units[failure.unit]) from failure
    return densities, misfits


def linked_posteriors(statistics: SufficientStatistics, parameters: Parameters) -> tuple[FloatArray, FloatArray]:
    """T̂ and a square root of each channel's Σ̂ in internal coordinates: (L, K, P) and (L, K, Σ p_c²).

    A channel without readings is predicted from the unit's other channels.

    Raises
    ------
    PredictionError
        A posterior could not be factored; the message names the unit.
    """
    means = np.empty((statistics.n_units, *parameters.means.shape))
    roots = np.empty((statistics.n_units, *parameters.factors.shape))
    try:
        _linked.posteriors(statistics.bundle, parameters.bundle, 0, statistics.n_units, means, roots)
    except KernelFailure as failure:
        raise not_finite(statistics.units[failure.unit]) from failure
    return means, roots


def not_finite(unit: Hashable) -> PredictionError:
    """The error for a unit whose log-density is not finite."""
    return PredictionError(
        f"the log-density of unit {unit!r} is not finite; its values or times are too far from the "
        "training data, or a parameter of the model is not finite"
    )
