"""Models and units for the tests of the scorer: modes that lie close together, sensors at 9062 ± 0.5."""

from __future__ import annotations

import types

import numpy as np

from cem.basis.families import BSpline, Constant, Custom, Exponential, Fourier, Polynomial
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Coordinates

HORIZON = 300.0


def wave(times):
    """A basis of our own, at the top of a module so that it can be saved."""
    return np.stack([np.ones_like(times), np.sin(times / 20), np.tanh(times / 100)], axis=1)


BASES = {
    "polynomial": Polynomial(2),
    "spline": BSpline(5),
    "fourier": Fourier(1, period=170.0),
    "exponential": Exponential([80.0, 200.0]),
    "constant": Constant(),
    "line": Polynomial(1),
    "custom": Custom(wave),
}


def make_model(kinds, n_modes=2, seed=0, level=9062.0, apart=0.15, same_noise=True, response=None):
    """Modes that lie so close together that a few dozen readings do not tell them apart."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, HORIZON, 200)
    bound = {kind: BASES[kind].bind(grid) for kind in set(kinds)}
    bases = tuple(bound[kind] for kind in kinds)
    sizes = tuple(basis.size for basis in bases)
    centres, transforms, factors, means = [], [], [[] for _ in range(n_modes)], [[] for _ in range(n_modes)]
    for basis, p in zip(bases, sizes, strict=True):
        upper = np.linalg.qr(basis(grid) / np.sqrt(len(grid)), mode="r")
        transforms.append((upper * np.sign(np.diag(upper))[:, None]).ravel())
        centres.append(np.linalg.lstsq(basis(grid), level + 0.01 * grid, rcond=None)[0])
        shared = rng.normal(size=p)
        for k in range(n_modes):
            means[k].append(shared + apart * rng.normal(size=p) / np.sqrt(len(kinds)))
            root = np.tril(0.3 * rng.normal(size=(p, p)))
            root[np.diag_indices(p)] = rng.uniform(0.3, 0.9, p)
            factors[k].append(root.ravel())
    noise = rng.uniform(0.05, 0.3, (1 if same_noise else n_modes, len(kinds)))
    weights = rng.dirichlet(np.full(n_modes, 20.0))
    parameters = Parameters(
        weights,
        np.array([np.concatenate(row) for row in means]),
        np.array([np.concatenate(row) for row in factors]),
        np.array(np.broadcast_to(noise, (n_modes, len(kinds)))),
        sizes,
    )
    scales = rng.uniform(0.3, 0.7, len(kinds))
    coordinates = Coordinates(np.concatenate(centres), scales, np.concatenate(transforms), sizes)
    channels = tuple(f"s{c}" for c in range(len(kinds)))
    return types.SimpleNamespace(
        parameters=parameters, internal_parameters=parameters, coordinates=coordinates, bases=bases,
        channels=channels, response=response, mode_labels=tuple("abcdefgh"[:n_modes]),
    )  # fmt: skip


def draw(model, times, seed=1, missing=0.2, mode=0):
    """Readings of one unit of a mode, in the channels' own units."""
    rng = np.random.default_rng(seed)
    values = np.empty((len(times), len(model.channels)))
    for c, basis in enumerate(model.bases):
        internal = model.parameters.mean(mode, c) + model.parameters.factor(mode, c) @ rng.normal(size=basis.size)
        own = model.coordinates.coefficients(internal, c)
        noise = np.sqrt(model.parameters.noise_variances[mode, c]) * model.coordinates.scales[c]
        values[:, c] = basis(times) @ own + noise * rng.normal(size=len(times))
    values[rng.random(values.shape) < missing] = np.nan
    return values
