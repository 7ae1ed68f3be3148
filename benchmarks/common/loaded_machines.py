"""Simulated machines of which load drives the sensors, and wear drives the load: a fleet with a real confounder.

Wear moves the sensors of the three modes in different directions; nothing else differs between modes. A controller
raises the load as a machine wears, to keep up its output, so load and wear rise together. Most of the load is demand:
it differs from machine to machine, drifts, and changes from reading to reading. All sensors follow the load.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cem import Panel

N_CHANNELS = 8
SHARES = {"a": 0.5, "b": 0.35, "c": 0.15}
WEAR_AT_END = 3.0  # typical move of a sensor by wear, over a history
NOISE, UNIT_LEVEL, UNIT_WEAR = 0.5, 0.3, 0.2  # standard deviations: readings, levels, logarithm of a machine's wear
DEMAND, DRIFT, FLUCTUATION, MEMORY = 2.0, 1.5, 1.0, 0.7  # of a machine, over its history, of a reading, lag-1
CONTROL = 4.0  # what the load rises by while a machine wears


@dataclass(frozen=True)
class LoadedMachines:
    """One array a machine; `modes` are the true ones."""

    times: list[np.ndarray]
    values: list[np.ndarray]
    loads: list[np.ndarray]
    wear: list[np.ndarray]
    modes: list[str]

    def panel(self, *, with_load: bool) -> Panel:
        """Sensors only, or with the load as a covariate."""
        covariates = {"covariates": {"load": self.loads}} if with_load else {}
        return Panel.from_arrays(self.times, self.values, **covariates)

    def correlation(self) -> float:
        """Of load and wear, over all readings."""
        return float(np.corrcoef(np.concatenate(self.loads), np.concatenate(self.wear))[0, 1])


def loaded_machines(seed: int, n_units: int = 150) -> LoadedMachines:
    """Draw a fleet; its modes, and what a unit of load does to each sensor, are drawn as well.

    Parameters
    ----------
    seed : int
        Of the draws.
    n_units : int
        Number of machines.
    """
    rng = np.random.default_rng(seed)
    directions = WEAR_AT_END * rng.standard_normal((len(SHARES), N_CHANNELS))
    gains = rng.uniform(0.5, 1.5, N_CHANNELS) * rng.choice([-1.0, 1.0], N_CHANNELS)
    counts = np.rint(np.array(list(SHARES.values())) * n_units).astype(int)
    counts[0] = n_units - counts[1:].sum()
    k = rng.permutation(np.repeat(np.arange(len(SHARES)), counts))
    machines = LoadedMachines([], [], [], [], [list(SHARES)[mode] for mode in k])
    for mode in k:
        t = np.arange(float(rng.integers(60, 101)))
        age = t / 100.0
        wear = (0.3 * age + 0.7 * age**2) * np.exp(UNIT_WEAR * rng.standard_normal())
        load = DEMAND * rng.standard_normal() + DRIFT * rng.standard_normal() * age + CONTROL * wear
        load = load + _fluctuation(rng, len(t))
        level = UNIT_LEVEL * rng.standard_normal(N_CHANNELS)
        noise = NOISE * rng.standard_normal((len(t), N_CHANNELS))
        machines.times.append(t)
        machines.values.append(level + wear[:, None] * directions[mode] + load[:, None] * gains + noise)
        machines.loads.append(load)
        machines.wear.append(wear)
    return machines


def _fluctuation(rng: np.random.Generator, n: int) -> np.ndarray:
    """A stationary autoregressive path."""
    path = np.empty(n)
    path[0] = FLUCTUATION * rng.standard_normal()
    shocks = FLUCTUATION * np.sqrt(1.0 - MEMORY**2) * rng.standard_normal(n)
    for i in range(1, n):
        path[i] = MEMORY * path[i - 1] + shocks[i]
    return path
