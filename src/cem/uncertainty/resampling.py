"""Fleets like the one that was fitted, in the space of its sufficient statistics: the readings are not read again.

Both kinds of draws keep the coordinates of the fit. So the floors of its M step mean the same for every replicate, and
its parameters are a start without conversion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cem.mixture.membership import unit_log_weights
from cem.mixture.parameters import Parameters
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["ParametricDraws", "resampled_units"]

FloatArray = NDArray[np.float64]

# A diagonal entry of R below this share of its largest entry: the unit's design may lack a rank.
_SINGULAR = 1e-9


def resampled_units(statistics: SufficientStatistics, rng: np.random.Generator) -> SufficientStatistics:
    """As many units, drawn with replacement; each takes its known mode, its covariates and its columns along."""
    return statistics.subset(np.sort(rng.integers(statistics.n_units, size=statistics.n_units)))


@dataclass(frozen=True, eq=False)
class _Designs:
    """The designs of one channel, its fixed columns included.

    Parameters
    ----------
    observed : ndarray of shape (m,), int64
        Units that have the channel.
    random : ndarray of shape (d, p + q, p)
        The columns of R that belong to random coefficients, of d distinct designs.
    fixed : ndarray of shape (d, p + q, q) or None
        Those of fixed coefficients.
    which : ndarray of shape (m,), int64
        The design of each of these units.
    deficient : ndarray of shape (m',), int64
        Positions, among the m, of units whose R has fewer independent rows than p + q.
    spaces : ndarray of shape (m', p + q, p + q)
        Projections on the column space of their R.
    spare : ndarray of shape (m,)
        n − rank of R: the degrees of freedom of rss.
    """

    observed: NDArray[np.int64]
    random: FloatArray
    fixed: FloatArray | None
    which: NDArray[np.int64]
    deficient: NDArray[np.int64]
    spaces: FloatArray
    spare: FloatArray


class ParametricDraws:
    """Draws from a fitted mixture on the units' own designs.

    Given the mode, a unit's readings are Φ T + Ψ β + ε, so its statistics (9) are w = R (T, β) + σ ε' and
    rss = σ² χ² with n − rank R degrees of freedom: exactly the law that compressed readings would have, without the
    readings. R stays, and with it the units' times and missing cells. Where R lacks a rank, the noise ε' lies in its
    column space, and what readings leave beyond it is part of rss; the likelihood sees only their sum.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the panel; units of known mode keep it, and units with prior probabilities of their modes draw from these.
    parameters : Parameters
        Of K modes, in the same coordinates.
    """

    def __init__(self, statistics: SufficientStatistics, parameters: Parameters) -> None:
        self.statistics, self.parameters = statistics, parameters
        self._designs = [_designs(statistics, c) for c in range(statistics.n_channels)]
        logs = unit_log_weights(statistics, parameters)
        weights = parameters.weights if logs is None else np.exp(logs)
        self._cumulative = np.cumsum(np.atleast_2d(weights), axis=1)
        self._cumulative /= self._cumulative[:, -1:]

    def modes(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """A mode for each unit, shape (L,); known ones are as they are."""
        known = np.asarray(self.statistics.known_modes, dtype=np.int64)
        drawn = (rng.random((len(known), 1)) >= self._cumulative).sum(axis=1)
        return np.where(known >= 0, known, np.minimum(drawn, self.parameters.n_modes - 1))

    def draw(self, rng: np.random.Generator) -> SufficientStatistics:
        """The statistics of one drawn fleet.

        Parameters
        ----------
        rng : numpy.random.Generator
            The draw is a deterministic function of its state.

        Returns
        -------
        SufficientStatistics
            With the units, designs, coordinates and known modes of the panel; arrays of designs are shared.
        """
        statistics, parameters = self.statistics, self.parameters
        layout, modes = statistics.layout, self.modes(rng)
        projections = np.zeros_like(statistics.projections)
        residual_norms = np.zeros_like(statistics.residual_norms)
        fixed = statistics.fixed
        of_fixed = None if fixed is None else np.zeros_like(fixed.projections)
        factors = rng.standard_normal((statistics.n_units, parameters.rank)) if parameters.rank else None
        for c, designs in enumerate(self._designs):
            p, own = layout.sizes[c], modes[designs.observed]
            t = rng.standard_normal((len(own), p))
            if factors is not None and parameters.loadings is not None:
                loadings = layout.rows(parameters.loadings, c)
                t += np.einsum("lir,lr->li", loadings[own], factors[designs.observed])
            deviations = np.einsum("lij,lj->li", layout.matrix(parameters.factors, c)[own], t)
            coefficients = layout.vector(parameters.means, c)[own] + deviations
            w = np.einsum("lij,lj->li", designs.random[designs.which], coefficients)
            if designs.fixed is not None and fixed is not None and parameters.fixed is not None:
                beta = parameters.fixed[:, fixed.starts[c] : fixed.starts[c + 1]]
                w += np.einsum("lij,lj->li", designs.fixed[designs.which], beta[own])
            noise = rng.standard_normal(w.shape)
            if len(designs.deficient):
                noise[designs.deficient] = np.einsum("lij,lj->li", designs.spaces, noise[designs.deficient])
            deviation = np.sqrt(parameters.noise_variances[own, c])
            w += deviation[:, None] * noise
            layout.vector(projections, c)[designs.observed] = w[:, :p]
            if of_fixed is not None and fixed is not None:
                of_fixed[designs.observed, fixed.starts[c] : fixed.starts[c + 1]] = w[:, p:]
            # A gamma variable of shape 0 is 0: a unit with no more readings than its rank leaves no residual.
            residual_norms[designs.observed, c] = np.square(deviation) * 2.0 * rng.standard_gamma(0.5 * designs.spare)
        return replace(
            statistics,
            projections=projections,
            residual_norms=residual_norms,
            fixed=None if fixed is None or of_fixed is None else replace(fixed, projections=of_fixed),
        )


def _designs(statistics: SufficientStatistics, channel: int) -> _Designs:
    """The designs of a channel, and where they lack a rank."""
    starts = statistics.factor_offsets[:, channel]
    observed = np.flatnonzero(starts >= 0).astype(np.int64)
    distinct, which = np.unique(starts[observed], return_inverse=True)
    which = which.reshape(-1).astype(np.int64)
    p, fixed = statistics.sizes[channel], statistics.fixed
    random = statistics.factors[distinct[:, None] + np.arange(p * p)].reshape(-1, p, p)
    whole, of_fixed = random, None
    if fixed is not None and (q := fixed.sizes[channel]):
        first = np.zeros(len(distinct), dtype=np.int64)
        first[which] = fixed.block_offsets[observed, channel]  # units that share R share these blocks, too
        rows, columns = np.triu_indices(q)
        blocks = fixed.blocks[first[:, None] + np.arange(p * q + len(rows))]
        of_fixed = np.zeros((len(distinct), p + q, q))
        of_fixed[:, :p] = blocks[:, : p * q].reshape(-1, p, q)
        of_fixed[:, p + rows, columns] = blocks[:, p * q :]
        random = np.concatenate([random, np.zeros((len(distinct), q, p))], axis=1)
        whole = np.concatenate([random, of_fixed], axis=2)
    n = whole.shape[-1]
    sizes = np.abs(whole).max(axis=(1, 2), initial=0.0)
    diagonals = np.abs(np.diagonal(whole, axis1=1, axis2=2)).min(axis=1, initial=np.inf)
    singular = np.flatnonzero(diagonals <= _SINGULAR * sizes)
    ranks, spaces = np.full(len(distinct), n), np.zeros((len(singular), n, n))
    if len(singular):
        U, s, _ = np.linalg.svd(whole[singular])
        independent = s > _SINGULAR * s[:, :1]
        ranks[singular] = independent.sum(axis=1)
        spaces = np.einsum("dij,dj,dkj->dik", U, independent.astype(float), U)
    counts = statistics.counts[observed, channel]
    place = np.full(len(distinct), -1)
    place[singular] = np.arange(len(singular))
    deficient = np.flatnonzero(place[which] >= 0).astype(np.int64)
    spare = np.maximum(counts - ranks[which], 0).astype(np.float64)
    return _Designs(observed, random, of_fixed, which, deficient, spaces[place[which[deficient]]], spare)
