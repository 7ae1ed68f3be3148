"""A small problem of candidate remaining lives."""

from __future__ import annotations

import numpy as np

from cem.basis.families import Basis, Exponential, Polynomial
from cem.lifetimes.lifetimes import Lifetimes, Lognormal, Weibull
from cem.panel.panel import Panel


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
