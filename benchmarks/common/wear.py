"""Simulated engines whose sensors wear exponentially, for the benchmarks of remaining lives."""

from __future__ import annotations

import numpy as np

from cem import Panel


def fleet(n_units: int, n_channels: int, seed: int) -> Panel:
    """Three modes, told apart by the signs of their wear."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(3, n_channels))
    times, values, lives = [], [], []
    for unit in range(n_units):
        mode = unit % 3
        life = (150.0, 200.0, 260.0)[mode] * np.exp(0.2 * rng.normal())
        t = np.arange(1.0, life)
        growth = 3.0 * np.exp((t[:, None] - life) / rng.uniform(25.0, 50.0, n_channels))
        values.append(signs[mode] * growth * rng.lognormal(0, 0.2, n_channels) + rng.normal(size=(len(t), n_channels)))
        times.append(t)
        lives.append(life)
    return Panel.from_arrays(times, values, failure_times=lives)
