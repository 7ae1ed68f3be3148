"""Fleets with lives, and fits to them on the time to failure."""

from __future__ import annotations

import numpy as np

import cem
from cem.basis.families import Exponential
from cem.panel.panel import Panel

MEDIANS, SPREAD = (150.0, 220.0), 0.2


def fleet(n_units: int, seed: int, *, every: float = 3.0) -> Panel:
    """Two modes; curves a + b e^{τ/40} on the time to failure, b of the second channel of opposite sign by mode."""
    rng = np.random.default_rng(seed)
    times, values, lives, modes = [], [], [], []
    for _ in range(n_units):
        mode = int(rng.integers(2))
        life = MEDIANS[mode] * np.exp(SPREAD * rng.normal())
        t = np.arange(1.0, life, every)
        growth = np.exp((t - life) / 40.0)
        first = 9062.0 + 0.3 * rng.normal() + (6.0 + 0.5 * rng.normal()) * growth
        second = 0.3 * rng.normal() + ((5.0 if mode else -5.0) + 0.5 * rng.normal()) * growth
        times.append(t)
        values.append(np.column_stack([first, second]) + 0.4 * rng.normal(size=(len(t), 2)))
        lives.append(life)
        modes.append(("short", "long")[mode])
    return Panel.from_arrays(
        times, values, units=[f"m{i}" for i in range(n_units)], channels=["a", "b"], modes=modes,
        failure_times=lives, time_unit="h",
    )  # fmt: skip


def fitted(panel: Panel, n_modes: int = 2, **options: object) -> cem.FailureModeEM:
    arguments = {"basis": Exponential([40.0]), "time_axis": "to_failure", "random_state": 0, "n_init": 3, **options}
    return cem.FailureModeEM(n_modes, **arguments).fit(panel)  # type: ignore[arg-type]


def partly_running(n_units: int, seed: int, share: float = 0.4) -> Panel:
    """A fleet of which some units are cut off while they run, two modes, labels struck out but for a few."""
    panel = fleet(n_units, seed, every=9.0)
    rng = np.random.default_rng(seed + 100)
    cut = rng.random(n_units) < share
    cut[:4] = False
    ages = np.where(cut, rng.uniform(0.3, 0.9, n_units) * panel.failure_times, np.inf)
    return panel.until(np.maximum(ages, 1.0))
