"""Random problems with columns whose coefficients do not vary from unit to unit, and their dense Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

    def log_densities(self) -> np.ndarray:
        """ln P(x_l | k) by dense Gaussians of all channels together, in internal coordinates, (L, K)."""
        from scipy.stats import multivariate_normal

        at, theta = self.statistics.coordinates, self.parameters
        wide = self.statistics.fixed.wide
        starts = self.statistics.fixed.starts
        result = np.zeros((self.panel.n_units, theta.n_modes))
        for l in range(self.panel.n_units):
            rows = slice(int(self.panel.offsets[l]), int(self.panel.offsets[l + 1]))
            for k in range(theta.n_modes):
                means, covariances, readings, loadings = [], [], [], []
                for c in range(self.panel.n_channels):
                    design = Design(
                        self.panel, self.bases[c], self.plan.random[c], self.plan.fixed[c], self.plan.features
                    )(rows)
                    x = self.panel.values[rows, c]
                    seen = np.isfinite(x)
                    design, x = design[seen], x[seen]
                    internal = (x - design @ wide.centre(c)) / at.scales[c]
                    columns = np.linalg.solve(wide.transform(c).T, design.T).T
                    p = theta.sizes[c]
                    beta = theta.fixed[k, starts[c] : starts[c + 1]]
                    means.append(columns[:, :p] @ theta.mean(k, c) + columns[:, p:] @ beta)
                    root = columns[:, :p] @ theta.factor(k, c)
                    covariances.append(root @ root.T + theta.noise_variances[k, c] * np.eye(len(x)))
                    readings.append(internal)
                    loadings.append(root @ theta.loading(k, c))
                n = sum(map(len, readings))
                covariance = np.zeros((n, n))
                first = 0
                for block in covariances:
                    covariance[first : first + len(block), first : first + len(block)] = block
                    first += len(block)
                W = np.concatenate(loadings)
                covariance += W @ W.T
                result[l, k] = multivariate_normal.logpdf(np.concatenate(readings), np.concatenate(means), covariance)
        return result


def random_problem(seed: int, *, rank: int = 0, by_mode: str = "some", kind: str = "plain") -> Problem:
    """A small fleet with missing cells and channels, and parameters with any kind of column."""
    rng = np.random.default_rng(seed)
    n_units, n_channels, K = int(rng.integers(4, 24)), int(rng.integers(2 if rank else 1, 4)), int(rng.integers(1, 4))
    lengths = rng.integers(1, 14, n_units)
    times = [np.sort(rng.uniform(0, 10, n)) for n in lengths]
    level = [rng.normal(size=n) * rng.choice([1.0, 1e-3]) + rng.normal() for n in lengths]
    if kind == "constant within units":
        level = [np.full(n, rng.normal()) for n in lengths]
    regime = [rng.integers(0, 3, n) for n in lengths]
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
    features = np.stack([w, w**2, (g == 1) * 1.0, (g == 2) * 1.0], 1)
    degrees = rng.integers(0, 4, n_channels)
    bases = tuple(Polynomial(int(d)).bind(panel.times) for d in degrees)
    random, fixed = [], []
    for d in degrees:
        n_random = int(rng.integers(0, d + 2))
        random.append(tuple(range(n_random)))
        own = [Column(-1, j, False) for j in range(n_random, d + 1)]
        own += [Column(int(f), -1, False) for f in rng.permutation(4)[: rng.integers(0, 4)]]
        if d and rng.random() < 0.3:
            own.append(Column(0, 1, False))
        if by_mode != "none":
            own = [Column(c.feature, c.function, by_mode == "all" or rng.random() < 0.5) for c in own]
        fixed.append(tuple(own))
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
