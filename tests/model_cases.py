"""Small models and panels with everything that makes scoring hard, shared by the tests of the model."""

import numpy as np

from cem.basis.families import Constant, Exponential, Polynomial
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel
from cem.statistics.coordinates import Coordinates, Layout


def coordinates_for(bases, rng):
    layout = Layout(tuple(basis.size for basis in bases))
    centres = np.zeros(int(layout.mean_offsets[-1]))
    transforms = np.zeros(int(layout.factor_offsets[-1]))
    for c, p in enumerate(layout.sizes):
        layout.vector(centres, c)[:] = 0.3 * rng.standard_normal(p)
        layout.matrix(transforms, c)[:] = np.triu(0.3 * rng.standard_normal((p, p)), 1) + np.diag(
            rng.uniform(0.5, 2, p)
        )
    layout.vector(centres, 0)[0] = 9062.0  # a sensor that reads 9062 ± 0.5
    return Coordinates(centres, 10.0 ** rng.uniform(-1, 1, len(bases)), transforms, layout.sizes)


def example_model(seed=0, n_modes=3, **options):
    """Three channels with bases of three sizes, three modes one of which holds 3 %."""
    rng = np.random.default_rng(seed)
    times = np.array([0.0, 10.0]) if options.get("time_axis") != "to_failure" else np.array([-10.0, 0.0])
    bases = (Polynomial(2).bind(times), Constant().bind(times), Exponential([4.0]).bind(times))
    coordinates = coordinates_for(bases, rng)
    layout = coordinates.layout
    weights = np.array([0.6, 0.37, 0.03])[:n_modes]
    means = rng.standard_normal((n_modes, int(layout.mean_offsets[-1])))
    factors = np.zeros((n_modes, int(layout.factor_offsets[-1])))
    for c, p in enumerate(layout.sizes):
        lower = np.tril(rng.standard_normal((n_modes, p, p)), -1) * 0.3
        layout.matrix(factors, c)[:] = lower + np.eye(p) * rng.uniform(0.3, 1.0, (n_modes, 1, p))
    parameters = Parameters(
        weights / weights.sum(), means, factors, rng.uniform(0.05, 0.4, (n_modes, 3)), coordinates.sizes
    )
    arguments = {
        "parameters": parameters,
        "coordinates": coordinates,
        "bases": bases,
        "channels": ("a", "b", "y"),
        "response": "y",
        "mode_labels": ("wear", 7, "crack")[:n_modes],
        "time_unit": "h",
        "channel_units": {"a": "K"},
    }
    return FailureModeModel(**{**arguments, **options})


def ragged_panel(model, n_units=25, seed=1):
    """Units of 1 to 8 readings, a fifth of the cells missing, in another order of channels than the model's."""
    rng = np.random.default_rng(seed)
    low, high = model.domain
    times = [np.sort(rng.uniform(low, high, rng.integers(1, 9))) for _ in range(n_units)]
    drawn = model.sample(n_units, times, random_state=rng)
    values = drawn.values.copy()
    blank = rng.uniform(size=values.shape) < 0.2
    blank[drawn.offsets[:-1]] = False  # each unit keeps its first reading
    values[blank] = np.nan
    order = [2, 0, 1]
    return Panel(
        [f"unit {l}" for l in range(n_units)],
        drawn.offsets,
        drawn.times,
        values[:, order],
        [model.channels[c] for c in order],
        modes=drawn.true_modes,
        failure_times=drawn.failure_times,
        time_unit=model.time_unit,
    )


def dense_parts(model, panel, unit, mode):
    """Mean and covariance of all observed values of a unit under a mode, model.md (2), in the user's terms."""
    rows = slice(panel.offsets[unit], panel.offsets[unit + 1])
    times = panel.times[rows]
    x, means, blocks = [], [], []
    for c, name in enumerate(model.channels):
        if name not in panel.channels:
            continue
        column = panel.values[rows, panel.channels.index(name)]
        seen = ~np.isnan(column)
        part = model.parameters(model.mode_labels[mode], c)
        design = model.bases[c](times[seen])
        x.append(column[seen])
        means.append(design @ part.mean)
        blocks.append(design @ part.covariance @ design.T + part.noise_variance * np.eye(seen.sum()))
    n = sum(map(len, x))
    covariance, start = np.zeros((n, n)), 0
    for block in blocks:
        covariance[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return np.concatenate(x), np.concatenate(means), covariance
