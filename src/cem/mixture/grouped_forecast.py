"""Posteriors and forecasts whose modes are mixtures of components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.mixture.grouped import Components, moments_by_mode
from cem.mixture.prediction import Forecast, Posterior

__all__ = ["UncertainForecast", "grouped_forecast", "grouped_posterior"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UncertainForecast(Forecast):
    """A `Forecast` that averages over the law of the parameters: each mode is a mixture of components.

    `mode_means` and `mode_variances` are the moments of each mode. Quantiles, intervals and cdf are those of the whole
    mixture of components.

    Parameters
    ----------
    components : Forecast
        Of the n components in place of the K modes.
    """

    components: Forecast

    def cdf(self, values: ArrayLike) -> FloatArray:
        """Return P(channel ≤ value); `values` broadcasts against (L, m)."""
        return self.components.cdf(values)

    def quantile(self, q: ArrayLike) -> FloatArray:
        """Quantiles of the mixture, (L, m) or (n_quantiles, L, m); as for `Forecast.quantile`."""
        return self.components.quantile(q)

    def _head(self, n_units: int) -> Forecast:
        head = super()._head(n_units)
        object.__setattr__(head, "components", self.components._head(n_units))
        return head


def grouped_forecast(found: Forecast, components: Components, mode_labels: tuple[Any, ...]) -> UncertainForecast:
    """The forecast of the modes from that of their components.

    Parameters
    ----------
    found : Forecast
        Of the components.
    components : Components
    mode_labels : tuple of hashable
        Of the modes.
    """
    means, variances = moments_by_mode(found.weights, found.mode_means, found.mode_variances, components)
    return UncertainForecast(
        units=found.units,
        channel=found.channel,
        mode_labels=mode_labels,
        times=found.times,
        weights=components.probabilities(found.weights),
        mode_means=means,
        mode_variances=variances,
        noise=found.noise,
        components=found,
    )


def grouped_posterior(found: Posterior, components: Components, mode_labels: tuple[Any, ...]) -> Posterior:
    """Posterior means and covariances of the coefficients within each mode, from those within its components.

    Parameters
    ----------
    found : Posterior
        Of the components.
    components : Components
    mode_labels : tuple of hashable
        Of the modes.
    """
    means, covariances = moments_by_mode(found.mode_probabilities, found.means, found.covariances, components)
    return Posterior(
        units=found.units,
        channels=found.channels,
        mode_labels=mode_labels,
        sizes=found.sizes,
        mode_probabilities=components.probabilities(found.mode_probabilities),
        means=means,
        covariances=covariances,
    )
