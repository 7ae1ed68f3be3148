"""A small problem of candidate remaining lives."""

from __future__ import annotations

import numpy as np

from cem.basis.families import Basis, Exponential, Polynomial
from cem.lifetimes.lifetimes import Lifetimes, Lognormal, Weibull
from cem.mixture.parameters import Parameters
from cem.panel.panel import Panel
from cem.statistics.anchored import AnchoredStatistics


def problem(seed: int = 0) -> tuple[Panel, list[Basis], list[np.ndarray], list[np.ndarray], np.ndarray, Lifetimes]:
    """Five running units, one with a single reading, cells missing, a channel absent, one reading 9062 ± 0.5."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, 60, n)) for n in (12, 1, 5, 30, 3)]
    values = [np.column_stack([rng.normal(2, 1, len(t)), 9062 + 0.5 * rng.normal(size=len(t))]) for t in times]
    values[0][2:5, 0] = np.nan
    values[2][:, 1] = np.nan
    panel = Panel.from_arrays(times, values, units=list("abcde"), channels=["s1", "s2"])
    far = np.linspace(-200.0, 0.0, 60)
    bases: list[Basis] = [Exponential([25.0, 80.0]).bind(far), Polynomial(2).bind(far)]
    means = [rng.normal(size=(2, 3)), np.array([[9062.0, 0.5, 0.1], [9061.0, -0.4, 0.3]])]
    factors = [np.tril(rng.normal(size=(2, 3, 3))), 0.3 * np.tril(rng.normal(size=(2, 3, 3)))]
    return (
        panel,
        bases,
        means,
        factors,
        rng.uniform(0.2, 1.0, (2, 2)),
        Lifetimes((Lognormal(4.5, 0.3), Weibull(3.0, 140.0))),
    )


def linked_problem(seed, sizes, rank, n_modes, n_grid, n_units=3, spread=1.0):
    """Units of ragged histories, a channel or two of which nothing was read, and a model of linked channels."""
    rng = np.random.default_rng(seed)
    triangles, projections = [], []
    counts = rng.integers(0, 12, (n_units, len(sizes)))
    counts[:, rng.integers(len(sizes))] += 1
    for c, p in enumerate(sizes):
        R = np.zeros((n_units, p, p))
        w = np.zeros((n_units, p))
        for l in range(n_units):
            n = int(counts[l, c])
            if n:
                whole = np.linalg.qr(rng.normal(size=(n, p + 1)) * np.append(np.ones(p), 3.0), mode="r")
                kept = min(n, p, len(whole))
                R[l, :kept], w[l, :kept] = whole[:kept, :p], whole[:kept, p]
        triangles.append(R)
        projections.append(w)
    statistics = AnchoredStatistics(
        tuple(triangles), tuple(projections), rng.gamma(2.0, size=counts.shape), counts, np.ones(n_units), tuple("abc")
    )
    factors = [
        np.tril(rng.normal(size=(n_modes, p, p))) * np.exp(rng.uniform(-spread, spread, (n_modes, 1, p))) for p in sizes
    ]
    parameters = Parameters(
        np.full(n_modes, 1.0 / n_modes),
        rng.normal(size=(n_modes, sum(sizes))),
        np.concatenate([factor.reshape(n_modes, -1) for factor in factors], axis=1),
        rng.gamma(3.0, size=(n_modes, len(sizes))),
        sizes,
        rng.normal(size=(n_modes, sum(sizes), rank)),
    )
    shifts = [np.triu(rng.normal(size=(n_grid, p, p))) + np.eye(p) for p in sizes]
    return statistics, parameters, shifts, rng.uniform(0.2, 1.0, len(sizes)), rng.normal(size=(n_modes, rank))
