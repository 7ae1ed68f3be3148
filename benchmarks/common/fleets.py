"""Fleets with known modes for the benchmarks, drawn without a Python loop over units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import cem
from common.moved import Expectation, Parameters, SufficientStatistics

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fleet:
    """A fleet, and what it was drawn from.

    Parameters
    ----------
    offsets : ndarray of shape (L + 1,), int64
        Unit l owns the rows offsets[l] : offsets[l + 1].
    times : ndarray of shape (N,)
        In [0, 1], sorted within each unit.
    values : ndarray of shape (N, C)
    modes : ndarray of shape (L,), int64
        The mode each unit was drawn from; no benchmark fits with it.
    truth : Parameters
        In terms of Legendre polynomials on [0, 1].
    """

    offsets: NDArray[np.int64]
    times: FloatArray
    values: FloatArray
    modes: NDArray[np.int64]
    truth: Parameters

    @property
    def n_units(self) -> int:
        return len(self.offsets) - 1

    @property
    def channels(self) -> list[str]:
        return [f"s{c + 1}" for c in range(self.values.shape[1])]

    @property
    def basis(self) -> cem.Polynomial:
        return cem.Polynomial(self.truth.sizes[0] - 1)

    def columns(self) -> dict[str, NDArray]:
        """The columns of a long table."""
        units = np.repeat(np.arange(self.n_units), np.diff(self.offsets))
        return {"unit": units, "time": self.times, **{name: self.values[:, c] for c, name in enumerate(self.channels)}}

    def panel(self) -> cem.Panel:
        return cem.Panel(np.arange(self.n_units), self.offsets, self.times, self.values, self.channels)


def draw_fleet(
    n_units: int,
    readings: tuple[int, int],
    *,
    n_modes: int,
    p: int,
    n_channels: int = 1,
    separation: float = 2.0,
    spread: float = 0.5,
    noise: float = 0.5,
    weights: FloatArray | None = None,
    seed: int = 0,
) -> Fleet:
    """Draw a fleet.

    Parameters
    ----------
    n_units : int
        L.
    readings : (int, int)
        Fewest and most readings of a unit; drawn evenly between.
    n_modes, p, n_channels : int
        K, coefficients of a channel, C.
    separation : float
        Standard deviation of the modes' mean coefficients.
    spread : float
        Standard deviation of a unit's coefficients about those of its mode.
    noise : float
        σ.
    weights : ndarray of shape (K,), optional
        π; by default falling from one mode to the next.
    seed : int
    """
    rng = np.random.default_rng(seed)
    if weights is None:
        weights = np.arange(n_modes, 0, -1) + 1.0
    weights = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    sizes = (p,) * n_channels
    means = separation * rng.standard_normal((n_modes, n_channels, p))
    factors = np.tril(0.4 * rng.standard_normal((n_modes, n_channels, p, p)), -1) + np.eye(p)
    factors *= spread / np.linalg.norm(factors, axis=-1, keepdims=True)
    sigma = noise * rng.uniform(0.8, 1.2, size=(n_modes, n_channels))

    counts = rng.integers(readings[0], readings[1] + 1, size=n_units)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    unit_of = np.repeat(np.arange(n_units), counts)
    times = rng.uniform(size=offsets[-1])
    times[0], times[1] = 0.0, 1.0  # the basis is bound to the times it sees
    times = times[np.lexsort((times, unit_of))]
    modes = rng.choice(n_modes, size=n_units, p=weights)
    design = cem.Polynomial(p - 1).bind(np.array([0.0, 1.0]))(times)
    values = np.empty((len(times), n_channels))
    for c in range(n_channels):
        coefficients = means[modes, c] + np.einsum("lij,lj->li", factors[modes, c], rng.standard_normal((n_units, p)))
        values[:, c] = sigma[modes, c][unit_of] * rng.standard_normal(len(times))
        for j in range(p):
            values[:, c] += design[:, j] * coefficients[unit_of, j]
    truth = Parameters(weights, means.reshape(n_modes, -1), factors.reshape(n_modes, -1), np.square(sigma), sizes)
    return Fleet(offsets, times, values, modes, truth)


def true_log_likelihood(fleet: Fleet) -> float:
    """ℓ at the parameters that the fleet was drawn from, in the units of its values."""
    statistics = compressed(fleet)
    expected, _ = Expectation(statistics)(internal(fleet.truth, statistics))
    return expected.log_likelihood + statistics.log_jacobian


def compressed(fleet: Fleet) -> SufficientStatistics:
    """The fleet's sufficient statistics."""
    basis = fleet.basis.bind(fleet.times)
    return SufficientStatistics.from_panel(fleet.panel(), (basis,) * len(fleet.channels))


def internal(parameters: Parameters, statistics: SufficientStatistics) -> Parameters:
    """Parameters in terms of the bases' coefficients, in the internal coordinates of the statistics."""
    coordinates, layout = statistics.coordinates, parameters.layout
    means, factors = np.empty_like(parameters.means), np.empty_like(parameters.factors)
    for c in range(parameters.n_channels):
        layout.vector(means, c)[:] = coordinates.internal_coefficients(layout.vector(parameters.means, c), c)
        layout.matrix(factors, c)[:] = coordinates.internal_covariance_factor(layout.matrix(parameters.factors, c), c)
    noise = parameters.noise_variances / np.square(coordinates.scales)
    return Parameters(parameters.weights, means, factors, noise, parameters.sizes)
