"""Fleets whose units wander about their curves, and models of them with known numbers."""

from __future__ import annotations

import numpy as np
from reference_process import cross_covariance, dense_covariance, ragged_times

from cem.basis.families import Polynomial
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel
from cem.process.channel_process import ChannelProcess
from cem.statistics.coordinates import Coordinates

__all__ = ["WANDERS", "DenseUnit", "four_channels", "model_of", "wandering_fleet"]

WANDERS = (
    ChannelProcess("wiener", 2.0),
    ChannelProcess("integrated", 0.3),
    ChannelProcess("ou", 4.0, 0.5),
    None,
)


def wandering_fleet(process, n_units=60, *, noise=0.3, seed=0, modes=1, longest=50.0):
    """One channel: lines with slopes that differ between units (and modes), a wander, and noise."""
    rng = np.random.default_rng(seed)
    times, values = [], []
    for l in range(n_units):
        t = np.sort(rng.uniform(0.0, longest, int(rng.integers(20, 60))))
        level, slope = rng.normal([2.0, 0.1 + 0.5 * (l % modes)], [1.0, 0.05])
        V = dense_covariance(process, t) if process is not None else np.eye(len(t))
        times.append(t)
        values.append(level + slope * t + noise * (np.linalg.cholesky(V) @ rng.normal(size=len(t))))
    return Panel.from_arrays(times, [x[:, None] for x in values])


def four_channels(seed=0):
    """Eight units of one to thirty readings; the third was never read in two of the four channels."""
    rng = np.random.default_rng(seed)
    times = [ragged_times(rng, n) for n in (1, 2, 12, 25, 7, 18, 3, 30)]
    values = [5.0 + 3.0 * rng.normal(size=(len(t), 4)) for t in times]
    for x in values:
        x[rng.random(x.shape) < 0.25] = np.nan
        x[0, 3] = 5.0
    values[2][:, :2] = np.nan
    return Panel.from_arrays(times, values)


def model_of(panel, processes=WANDERS, *, n_modes=2, seed=0):
    """A model of K modes whose numbers are drawn, and whose internal coordinates are not the user's."""
    rng = np.random.default_rng(seed)
    basis = Polynomial(2).bind(panel.times)
    C = panel.n_channels
    roots = [np.tril(rng.normal(size=(3, 3))) * 0.4 + 0.6 * np.eye(3) for _ in range(n_modes * C)]
    upper = [np.triu(rng.normal(size=(3, 3)), 1) * 0.3 for _ in range(C)]
    transforms = np.stack([own + np.diag(rng.uniform(0.5, 2.0, 3)) for own in upper])
    coordinates = Coordinates(rng.normal(size=3 * C) + 5, rng.uniform(0.5, 3.0, C), transforms.reshape(-1), (3,) * C)
    weights = rng.uniform(0.5, 1.0, n_modes)
    parameters = Parameters(
        weights / weights.sum(),
        rng.normal(size=(n_modes, 3 * C)),
        np.stack(roots).reshape(n_modes, -1),
        rng.uniform(0.1, 0.5, (n_modes, C)),
        (3,) * C,
    )
    return FailureModeModel(
        parameters=parameters,
        coordinates=coordinates,
        bases=(basis,) * C,
        channels=panel.channels,
        processes=processes,
    )


class DenseUnit:
    """A unit under a model, with the covariance of its readings written out; one channel at a time."""

    def __init__(self, model, panel, unit):
        rows = slice(int(panel.offsets[unit]), int(panel.offsets[unit + 1]))
        self.model, self.times, self.values = model, panel.times[rows], panel.values[rows]

    def parts(self, mode, channel, asked):
        """Means and covariances of readings and of the level at asked times, (n + m), and how many are readings."""
        own = self.model.parameters(mode, channel)
        x = self.values[:, channel]
        seen = ~np.isnan(x)
        t = np.concatenate([self.times[seen], asked])
        Phi = self.model.bases[channel](t)
        V = Phi @ own.covariance @ Phi.T
        process = None if self.model.processes is None else self.model.processes[channel]
        if process is not None and len(t):
            first = t[0]
            U = cross_covariance(process, np.maximum(t, first) if process.kind != "ou" else t, np.maximum(t, first)
                                 if process.kind != "ou" else t, first)  # fmt: skip
            V = V + own.noise_variance * U
        n = int(seen.sum())
        V[np.arange(n), np.arange(n)] += own.noise_variance
        return Phi @ own.mean, V, x[seen], own.noise_variance

    def log_density(self, mode):
        total = 0.0
        for c in range(self.values.shape[1]):
            mean, V, x, _ = self.parts(mode, c, np.zeros(0))
            if len(x):
                e = np.linalg.solve(np.linalg.cholesky(V), x - mean)
                total -= 0.5 * (e @ e + np.linalg.slogdet(2 * np.pi * V)[1])
        return total

    def log_joint(self):
        return np.array([np.log(w) + self.log_density(k) for k, w in enumerate(self.model.weights_)])

    def forecast(self, mode, channel, asked, noise):
        """Mean and variance at each asked time, by the formula for conditional normals."""
        mean, V, x, variance = self.parts(mode, channel, asked)
        n = len(x)
        gain = V[n:, :n] @ np.linalg.inv(V[:n, :n]) if n else np.zeros((len(asked), 0))
        means = mean[n:] + gain @ (x - mean[:n])
        covariance = V[n:, n:] - gain @ V[:n, n:]
        return means, np.diag(covariance) + (variance if noise else 0.0)
