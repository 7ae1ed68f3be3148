"""Random problems with columns whose coefficients do not vary from unit to unit, and their dense Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import multivariate_normal

import cem
from cem.basis.families import Polynomial
from cem.em.constraints import Constraints, FixedColumns
from cem.mixture.parameters import Parameters
from cem.statistics.columns import Column, ColumnPlan, Design
from cem.statistics.sufficient import SufficientStatistics


@dataclass
class Problem:
    panel: cem.Panel
    bases: tuple
    plan: ColumnPlan
    statistics: SufficientStatistics
    parameters: Parameters
    constraints: Constraints

    def channel(self, unit: int, channel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The designs of the random and of the other columns, and the readings: internal, observed rows only."""
        at, wide = self.statistics.coordinates, self.statistics.fixed.wide
        rows = slice(int(self.panel.offsets[unit]), int(self.panel.offsets[unit + 1]))
        plan, p = self.plan, self.statistics.sizes[channel]
        design = Design(self.panel, self.bases[channel], plan.random[channel], plan.fixed[channel], plan.features)(rows)
        x = self.panel.values[rows, channel]
        seen = np.isfinite(x)
        design, x = design[seen], x[seen]
        columns = np.linalg.solve(wide.transform(channel).T, design.T).T
        return columns[:, :p], columns[:, p:], (x - design @ wide.centre(channel)) / at.scales[channel]

    def moments(self, unit: int, mode: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean and covariance of a unit's coefficients of all channels, then of its readings, given the mode."""
        theta, starts = self.parameters, self.statistics.fixed.starts
        mu, Sigma = theta.means[mode], np.zeros((theta.means.shape[1],) * 2)
        designs, offsets, noise = [], [], []
        W = np.zeros((len(mu), theta.rank))
        first = 0
        for c, p in enumerate(theta.sizes):
            own = slice(first, first + p)
            factor = theta.factor(mode, c)
            Sigma[own, own] = factor @ factor.T
            W[own] = factor @ theta.loading(mode, c)
            random, fixed, _ = self.channel(unit, c)
            whole = np.zeros((len(random), len(mu)))
            whole[:, own] = random
            designs.append(whole)
            offsets.append(fixed @ theta.fixed[mode, starts[c] : starts[c + 1]])
            noise.append(np.full(len(random), theta.noise_variances[mode, c]))
            first += p
        Sigma += W @ W.T
        Phi = np.concatenate(designs)
        covariance = Phi @ Sigma @ Phi.T + np.diag(np.concatenate(noise))
        return mu, Sigma, Phi @ mu + np.concatenate(offsets), covariance

    def readings(self, unit: int) -> np.ndarray:
        """Of all channels, internal."""
        return np.concatenate([self.channel(unit, c)[2] for c in range(self.panel.n_channels)])

    def log_densities(self) -> np.ndarray:
        """ln P(x_l | k) by dense Gaussians of all channels together, in internal coordinates, (L, K)."""
        result = np.zeros((self.panel.n_units, self.parameters.n_modes))
        for l, k in np.ndindex(result.shape):
            _, _, mean, covariance = self.moments(l, k)
            result[l, k] = multivariate_normal.logpdf(self.readings(l), mean, covariance)
        return result

    def log_likelihood(self) -> float:
        """ℓ, units of known mode with ln π of theirs alone."""
        with np.errstate(divide="ignore"):
            joint = self.log_densities() + np.log(self.parameters.weights)
        known = self.statistics.known_modes[:, None]
        joint[(known >= 0) & (known != np.arange(self.parameters.n_modes))] = -np.inf
        return float(np.logaddexp.reduce(joint, axis=1).sum())

    def posterior(self, unit: int, mode: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of a unit's coefficients given its readings and mode."""
        mu, Sigma, mean, covariance = self.moments(unit, mode)
        Phi = np.zeros((len(mean), len(mu)))
        first = row = 0
        for c, p in enumerate(self.parameters.sizes):
            random = self.channel(unit, c)[0]
            Phi[row : row + len(random), first : first + p] = random
            first, row = first + p, row + len(random)
        gain = np.linalg.solve(covariance, Phi @ Sigma).T
        return mu + gain @ (self.readings(unit) - mean), Sigma - gain @ Phi @ Sigma


def random_problem(
    seed: int, *, rank: int = 0, by_mode: str = "some", kind: str = "plain", leading: bool = True, ordered: bool = False
) -> Problem:
    """A small fleet with missing cells and channels, and parameters with any kind of column.

    Parameters
    ----------
    seed : int
    rank : int
        Of the factors that link channels.
    by_mode : {"none", "some", "all"}
        Which of the fixed columns have a coefficient for each mode.
    kind : {"plain", "constant within units", "nearly constant", "absent", "collinear"}
        What the covariates are: the level varies within units, or not, or hardly; a regime that no reading has; two
        covariates that are one.
    leading : bool
        Whether the random functions of a basis are its first ones.
    ordered : bool
        Columns of a mode before common ones, as in a fit.
    """
    rng = np.random.default_rng(seed)
    n_units, n_channels, K = int(rng.integers(4, 24)), int(rng.integers(2 if rank else 1, 4)), int(rng.integers(1, 4))
    lengths = rng.integers(1, 14, n_units)
    times = [np.sort(rng.uniform(0, 10, n)) for n in lengths]
    level = [rng.normal(size=n) * rng.choice([1.0, 1e-3]) + rng.normal() for n in lengths]
    if kind in ("constant within units", "nearly constant"):
        jitter = 0.0 if kind == "constant within units" else 1e-5
        level = [rng.normal() + jitter * rng.normal(size=n) for n in lengths]
    regime = [rng.integers(0, 2 if kind == "absent" else 3, n) for n in lengths]
    values = []
    for l, t in enumerate(times):
        x = np.stack([rng.normal() + rng.normal() * 0.2 * t + 2.0 * level[l] + regime[l] for _ in range(n_channels)], 1)
        x += 0.3 * rng.normal(size=x.shape)
        x[rng.random(x.shape) < 0.15] = np.nan
        if n_channels > 1 and rng.random() < 0.2:
            x[:, rng.integers(n_channels)] = np.nan
        if np.isnan(x).all():
            x[0, 0] = 0.0
        x[np.isnan(x).all(axis=1), 0] = 1.0
        values.append(x)
    panel = cem.Panel.from_arrays(times, values, allow_empty_channels=True)
    w, g = np.concatenate(level), np.concatenate(regime)
    features = np.stack([w, 2.0 * w - 1.0 if kind == "collinear" else w**2, (g == 1) * 1.0, (g == 2) * 1.0], 1)
    degrees = rng.integers(0, 4, n_channels)
    bases = tuple(Polynomial(int(d)).bind(panel.times) for d in degrees)
    random, fixed = [], []
    for d in degrees:
        n_random = int(rng.integers(0, d + 2))
        functions = np.arange(d + 1) if leading else rng.permutation(d + 1)
        random.append(tuple(sorted(functions[:n_random].tolist())))
        own = [Column(-1, j, False) for j in functions[n_random:].tolist()]
        own += [Column(int(f), -1, False) for f in rng.permutation(4)[: rng.integers(0, 4)]]
        if d and rng.random() < 0.3:
            own.append(Column(0, 1, False))
        if by_mode != "none":
            own = [Column(c.feature, c.function, by_mode == "all" or rng.random() < 0.5) for c in own]
        fixed.append(tuple(sorted(own, key=lambda column: not column.by_mode) if ordered else own))
    plan = ColumnPlan(tuple(random), tuple(fixed), features)
    known = np.where(rng.random(n_units) < 0.2, rng.integers(0, K, n_units), -1).astype(np.int32)
    statistics = SufficientStatistics.from_panel(panel, bases, known_modes=known, plan=plan)
    sizes, P = plan.sizes, sum(plan.sizes)
    Q = sum(plan.fixed_sizes)
    factors = np.zeros((K, sum(p * p for p in sizes)))
    at = 0
    for c, p in enumerate(sizes):
        lower = np.tril(rng.normal(size=(K, p, p))) * 0.4
        lower[:, np.arange(p), np.arange(p)] = rng.uniform(0.2, 1.0, (K, p))
        if not plan.random[c]:
            lower[:] = 1.0
        factors[:, at : at + p * p] = lower.reshape(K, -1)
        at += p * p
    beta = rng.normal(size=(K, Q)) * 0.5
    beta[:, ~plan.by_mode] = beta[0, ~plan.by_mode]
    loadings = rng.normal(size=(K, P, rank)) * 0.5 if rank else None
    parameters = Parameters(
        rng.dirichlet(np.ones(K) * 4), rng.normal(size=(K, P)), factors, rng.uniform(0.05, 0.5, (K, n_channels)), sizes,
        loadings, beta,
    )  # fmt: skip
    constraints = Constraints(
        np.full(n_channels, 1e-3), np.full(n_channels, 1e-6), "full", statistics.coordinates.transforms,
        np.ones(K) if rank else None, FixedColumns(statistics.fixed.kernel_sizes, plan.by_mode),
    )  # fmt: skip
    return Problem(panel, bases, plan, statistics, parameters, constraints)
