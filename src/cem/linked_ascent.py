"""EM with linked channels as em.py's loop sees it: the height is ℓ − ½ Σ λ_k ‖Γ_kc‖², and the loadings are free too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cem.expectation import Expectation, ExpectedStatistics
from cem.maximisation import Constraints, maximisation
from cem.parameters import Parameters
from cem.statistics import SufficientStatistics
from cem.unconstrained import Metric, UnconstrainedCoordinates

__all__ = ["LinkedCoordinates", "LinkedExpectation", "LinkedExpected", "mixture_coordinates"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinkedExpected:
    """The E step at linked parameters.

    Parameters
    ----------
    log_likelihood : float
        The objective: ℓ less the penalty of the loadings.
    sums : ExpectedStatistics
        Those that the M step needs.
    """

    log_likelihood: float
    sums: ExpectedStatistics

    @property
    def mode_counts(self) -> FloatArray:
        return self.sums.mode_counts


@dataclass(eq=False)
class LinkedExpectation:
    """The E step of a panel, in the place of `cem.expectation.Expectation`.

    Parameters
    ----------
    expectation : Expectation
    constraints : Constraints
        With the penalties of the loadings.
    log_likelihoods : dict
        ℓ alone, by the objective that it is part of: what every evaluation so far came to.
    """

    expectation: Expectation
    constraints: Constraints
    log_likelihoods: dict[float, float] = field(default_factory=dict)

    @property
    def statistics(self) -> SufficientStatistics:
        return self.expectation.statistics

    def __call__(self, parameters: Parameters) -> tuple[LinkedExpected, FloatArray]:
        sums, responsibilities = self.expectation(parameters)
        objective = sums.log_likelihood - self.constraints.penalty(parameters)
        self.log_likelihoods[objective] = sums.log_likelihood
        return LinkedExpected(objective, sums), responsibilities

    def maximised(
        self, expected: LinkedExpected, parameters: Parameters, constraints: Constraints
    ) -> tuple[Parameters, NDArray[np.int32]]:
        """The M step, from the sums."""
        return maximisation(expected.sums, parameters, constraints)


def mixture_coordinates(constraints: Constraints, parameters: Parameters) -> UnconstrainedCoordinates:
    """Free coordinates of parameters like these, linked or not."""
    if parameters.rank:
        return LinkedCoordinates(constraints, parameters.sizes, parameters.n_modes, parameters.rank)
    return UnconstrainedCoordinates(constraints, parameters.sizes, parameters.n_modes)


@dataclass(frozen=True, eq=False)
class LinkedMetric(Metric):
    """The plain metric, and the inverse curvature of a column of loadings.

    Parameters
    ----------
    loading_scales : list over sizes of ndarray
        (N (Ψ + σ²/n̄)⁻¹ + λ Ψ⁻¹)⁻¹, (K, C_p, p, p).
    """

    loading_scales: list[FloatArray]


class LinkedCoordinates(UnconstrainedCoordinates):
    """The plain coordinates, of μ, Ψ and σ², and after them the loadings W = Λ Γ of coefficients, (K, P, r).

    Parameters
    ----------
    constraints, sizes, n_modes
        As for `UnconstrainedCoordinates`.
    rank : int
        r.
    """

    def __init__(self, constraints: Constraints, sizes: tuple[int, ...], n_modes: int, rank: int) -> None:
        super().__init__(constraints, sizes, n_modes)
        self._shape = (n_modes, sum(sizes), rank)
        self._n_loadings = int(np.prod(self._shape))
        self._penalties = np.zeros(n_modes) if constraints.linking_penalties is None else constraints.linking_penalties

    def vector(self, parameters: Parameters) -> FloatArray:
        """Parameters to vector."""
        gamma = np.asarray(parameters.loadings)
        W = np.empty(self._shape)
        for block in self._blocks:
            W[:, block.vectors] = block.of(parameters.factors) @ gamma[:, block.vectors]
        return np.concatenate([super().vector(replace(parameters, loadings=None)), W.ravel()])

    def parameters(self, vector: FloatArray) -> Parameters:
        """Vector to parameters, which satisfy the constraints."""
        plain = super().parameters(vector[: -self._n_loadings])
        W = vector[-self._n_loadings :].reshape(self._shape)
        gamma = np.empty(self._shape)
        for block in self._blocks:
            gamma[:, block.vectors] = np.linalg.solve(block.of(plain.factors), W[:, block.vectors])
        return replace(plain, loadings=gamma)

    def gradient(
        self, vector: FloatArray, parameters: Parameters, expected: ExpectedStatistics | LinkedExpected
    ) -> tuple[FloatArray, LinkedMetric]:
        """Gradient of the objective, and a first guess at its curvature.

        That of μ and Ψ is the plain one of what the factors leave, T − W f: its moments are put in the place of those
        of T, and the penalty ½ λ tr(Wᵀ Ψ⁻¹ W) counts as scatter. A column of W is curved as μ is, since E f² is about
        1, and by the penalty, which is steep where Ψ lies on its floor.
        """
        sums = expected.sums if isinstance(expected, LinkedExpected) else expected
        gamma, layout = np.asarray(parameters.loadings), parameters.layout
        first, second = np.array(sums.first_moments), np.array(sums.second_moments)
        by_loading = np.empty(self._shape)
        moved = (sums.channel_counts >= 1.0) & (sums.observation_counts > 0.0)
        for block in self._blocks:
            G, tf = gamma[:, block.vectors], sums.cross_moments[:, block.vectors]  # (K, C_p, p, r)
            f, ff = sums.factor_sums[:, block.channels], sums.factor_moments[:, block.channels]
            penalties = self._penalties[:, None, None, None]
            transposed = np.swapaxes(G, -1, -2)
            first[:, block.vectors] -= (G @ f[..., None])[..., 0]
            crossed = tf @ transposed
            left = G @ (ff + penalties * np.eye(G.shape[-1])) @ transposed - crossed - np.swapaxes(crossed, -1, -2)
            second[:, block.matrices] += left.reshape(*left.shape[:2], -1)
            along = np.linalg.solve(np.swapaxes(block.of(parameters.factors), -1, -2), tf - G @ ff - penalties * G)
            by_loading[:, block.vectors] = np.where(moved[:, block.channels, None, None], along, 0.0)
        n_modes, C = sums.n_modes, layout.n_channels
        plain = np.concatenate(
            [
                sums.sums[: 1 + n_modes * (1 + C)],
                first.ravel(),
                second.ravel(),
                sums.noise_moments.ravel(),
                sums.observation_counts.ravel(),
            ]
        )
        gradient, metric = super().gradient(
            vector[: -self._n_loadings],
            replace(parameters, loadings=None),
            ExpectedStatistics(plain, n_modes, sums.sizes, sums.n_units),
        )
        loading_scales = []
        for block, L in zip(self._blocks, metric.mean_scales, strict=True):
            inverse, root = np.linalg.inv(block.of(parameters.factors)), np.linalg.inv(L)
            curvature = np.swapaxes(root, -1, -2) @ root
            curvature += self._penalties[:, None, None, None] * (np.swapaxes(inverse, -1, -2) @ inverse)
            loading_scales.append(np.asarray(np.linalg.inv(curvature), dtype=np.float64))
        return np.concatenate([gradient, by_loading.ravel()]), LinkedMetric(
            metric.mode_counts, metric.mean_scales, metric.noise_scales, metric.root_scales, loading_scales
        )

    def scaled(self, vector: FloatArray, metric: Metric) -> FloatArray:
        """The metric's inverse times a vector."""
        assert isinstance(metric, LinkedMetric)
        W = vector[-self._n_loadings :].reshape(self._shape)
        moved = np.empty(self._shape)
        for block, inverse in zip(self._blocks, metric.loading_scales, strict=True):
            moved[:, block.vectors] = inverse @ W[:, block.vectors]
        return np.concatenate([super().scaled(vector[: -self._n_loadings], metric), moved.ravel()])
