"""Fleets of known parameters for coverage.py: kinds of fleet, what is true of them, and units that they draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import cem

__all__ = ["DESIGNS", "Design", "NewUnits", "fleet", "new_units", "true_probabilities", "true_values"]


@dataclass(frozen=True)
class Design:
    """A kind of fleet: the truth, what is read of it, and the options of its fit.

    Curves are polynomials in time over [0, 1], or in the time to failure; `gap` is the distance between the levels of
    neighbouring modes.
    """

    K: int = 2
    C: int = 2
    p: int = 2
    gap: float = 4.0
    weights: tuple[float, ...] = (0.5, 0.5)
    readings: tuple[int, int] = (8, 14)
    missing: float = 0.0  # share of channels that a unit does not report
    labelled: float = 0.0
    covariance: str = "full"
    rank: int = 0
    noise: float = 0.3
    failing: bool = False  # on the time to failure, some units running


DESIGNS = {
    "apart": Design(),
    "close": Design(gap=1.8),
    "apart, shrunk": Design(covariance="shrunk"),
    "close, shrunk": Design(gap=1.8, covariance="shrunk"),
    "three modes": Design(K=3, C=3, weights=(0.4, 0.35, 0.25), gap=2.5, covariance="pooled"),
    "fewer readings than coefficients": Design(C=3, p=3, readings=(1, 4), covariance="pooled", gap=5.0),
    "fewer readings, close": Design(C=3, p=3, readings=(1, 4), covariance="pooled", gap=3.0),
    "missing channels": Design(C=3, missing=0.3, gap=2.5, covariance="pooled"),
    "a small mode": Design(weights=(0.85, 0.15), gap=3.0),
    "labels": Design(gap=1.5, labelled=0.3),
    "linked": Design(C=3, p=1, rank=1, gap=6.0),
    "linked, close": Design(C=3, p=1, rank=1, gap=2.5),
    "lives": Design(gap=2.5, failing=True, covariance="pooled"),
}
MEDIANS, SPREAD = np.array([1.0, 1.4, 1.9]), 0.25  # of lives


def truth_of(design: Design) -> dict[str, np.ndarray]:
    """Means (K, C, p), covariances (K, C, p, p) given the factor, loadings (K, C, p), noises (K, C)."""
    rng = np.random.default_rng(8)
    K, C, p = design.K, design.C, design.p
    means = np.zeros((K, C, p))
    means[:, :, 0] = design.gap * 0.5 * np.arange(K)[:, None] / np.sqrt(C)
    if p > 1:
        means[:, :, 1] = np.where(np.arange(K) % 2, -0.6, 0.8)[:, None]
    root = np.diag([0.5, 0.6, 0.5][:p])
    if p > 1:
        root[1, 0] = -0.2
    own = 1.0 if design.covariance == "pooled" else 1.0 + 0.3 * np.arange(K)
    covariances = np.multiply.outer(np.broadcast_to(own, K), root @ root.T)[:, None] * np.ones((1, C, 1, 1))
    loadings = np.zeros((K, C, p))
    if design.rank:
        loadings += 0.4 * rng.choice([1.0, 0.8], size=(1, C, 1))
    noises = np.broadcast_to(np.square(design.noise * (1.0 + 0.2 * np.arange(K)))[:, None], (K, C))
    return {"means": means, "covariances": covariances, "noises": np.array(noises), "loadings": loadings}


class _Unit(NamedTuple):
    times: np.ndarray
    values: np.ndarray
    failure: float  # NaN: it runs, or does not fail
    life: float


def _unit(
    rng: np.random.Generator, design: Design, truth: dict[str, np.ndarray], k: int, *, more: int = 0, runs: bool = False
) -> _Unit:
    """A unit of mode k; `more` readings than a unit of the fleet has, the last ones."""
    n = int(rng.integers(design.readings[0], design.readings[1] + 1)) + more
    life = failure = np.nan
    if not design.failing:
        t = np.sort(rng.uniform(0.0, 1.0, n))
        axis = t
    else:
        while True:
            life, age = MEDIANS[k] * np.exp(SPREAD * rng.standard_normal()), rng.uniform(0.4, 2.0)
            if age < life or not runs:
                break
        if life <= age:
            failure = life
        t = np.sort(rng.uniform(0.0, min(life, age), n))
        if age < life:
            t[-1] = age  # a running unit is known to have reached the age of its last reading
        axis = t - life
    functions = axis[:, None] ** np.arange(design.p)
    x = np.empty((n, design.C))
    factor = rng.standard_normal()
    for c in range(design.C):
        root = np.linalg.cholesky(truth["covariances"][k, c])
        coefficients = truth["means"][k, c] + root @ rng.standard_normal(design.p) + truth["loadings"][k, c] * factor
        x[:, c] = functions @ coefficients + np.sqrt(truth["noises"][k, c]) * rng.standard_normal(n)
    return _Unit(t, x, failure, life)


def _without_channels(rng: np.random.Generator, design: Design, x: np.ndarray) -> np.ndarray:
    gone = rng.random(design.C) < design.missing
    if gone.all():
        gone[rng.integers(design.C)] = False
    return np.where(gone, np.nan, x)


def fleet(design: Design, n_units: int, seed: int) -> tuple[cem.Panel, np.ndarray]:
    """A panel and the modes of its units."""
    rng = np.random.default_rng([seed, n_units])
    truth = truth_of(design)
    while True:
        modes = rng.choice(design.K, size=n_units, p=design.weights)
        if np.bincount(modes, minlength=design.K).min() >= 3:
            break
    units = [_unit(rng, design, truth, int(k)) for k in modes]
    values = [_without_channels(rng, design, unit.values) for unit in units]
    failures = [unit.failure for unit in units] if design.failing else None
    panel = cem.Panel.from_arrays([unit.times for unit in units], values, failure_times=failures)
    if not design.labelled:
        return panel, modes
    labels = [f"mode {k}" if rng.random() < design.labelled else None for k in modes]
    return panel.with_modes(labels), modes


class NewUnits(NamedTuple):
    """Units that the fit has not seen.

    Parameters
    ----------
    seen : Panel
        What is known of them.
    modes : ndarray of shape (L,)
    times, readings : ndarray of shape (L, 1)
        The next reading of channel 0; without one where units fail.
    lives : ndarray of shape (L,)
        Remaining lives; NaN where units do not fail.
    """

    seen: cem.Panel
    modes: np.ndarray
    times: np.ndarray
    readings: np.ndarray
    lives: np.ndarray


def new_units(design: Design, n: int, seed: int) -> NewUnits:
    """Units of the same law as those of a fleet."""
    rng, truth = np.random.default_rng([seed, n, 1]), truth_of(design)
    modes, units = [], []
    while len(units) < n:
        k = int(rng.choice(design.K, p=design.weights))
        unit = _unit(rng, design, truth, k, more=0 if design.failing else 1)
        if not np.isnan(unit.failure):
            continue  # what has failed needs no prediction: the law of a running fleet's modes
        modes.append(k)
        units.append(unit)
    ahead = 0 if design.failing else 1
    values = [_without_channels(rng, design, unit.values[: len(unit.times) - ahead]) for unit in units]
    return NewUnits(
        cem.Panel.from_arrays([unit.times[: len(unit.times) - ahead] for unit in units], values),
        np.array(modes),
        np.array([unit.times[-1:] for unit in units]),
        np.array([unit.values[-1:, 0] for unit in units]),
        np.array([unit.life - unit.times[-1] for unit in units]),
    )


def true_probabilities(design: Design, panel: cem.Panel) -> np.ndarray:
    """Mode probabilities (L, K) at the true parameters, by dense normal densities."""
    truth, logs = truth_of(design), np.empty((panel.n_units, design.K))
    for unit, (first, last) in enumerate(zip(panel.offsets[:-1], panel.offsets[1:], strict=True)):
        x = panel.values[first:last]
        functions = panel.times[first:last, None] ** np.arange(design.p)
        there = ~np.isnan(x[0])
        for k in range(design.K):
            away, shared, blocks = [], [], []
            for c in np.flatnonzero(there):
                away.append(x[:, c] - functions @ truth["means"][k, c])
                shared.append(functions @ truth["loadings"][k, c])
                own = functions @ truth["covariances"][k, c] @ functions.T
                blocks.append(own + truth["noises"][k, c] * np.eye(len(x)))
            V = np.zeros((len(x) * len(blocks),) * 2)
            for i, block in enumerate(blocks):
                place = slice(i * len(x), (i + 1) * len(x))
                V[place, place] = block
            V += np.multiply.outer(np.concatenate(shared), np.concatenate(shared))
            root = np.linalg.cholesky(V)
            z = np.linalg.solve(root, np.concatenate(away))
            logs[unit, k] = np.log(design.weights[k]) - 0.5 * z @ z - np.log(np.diagonal(root)).sum()
    found = np.exp(logs - logs.max(axis=1, keepdims=True))
    probabilities: np.ndarray = found / found.sum(axis=1, keepdims=True)
    return probabilities


def true_values(model: cem.FailureModeModel, design: Design, order: np.ndarray) -> dict[tuple[Any, ...], float]:
    """What the rows of the table would be under the truth, in the model's bases: by kind, mode, channel and term.

    `order` has the true mode of each mode of the model.
    """
    truth = truth_of(design)
    found: dict[tuple[Any, ...], float] = {}
    modes = list(zip(model.mode_labels, order.tolist(), strict=True))
    for label, k in modes:
        found["weight", label, None, ""] = design.weights[k]
        if design.failing:
            found["life", label, None, "median"], found["life", label, None, "spread"] = MEDIANS[k], SPREAD
    for c, channel in enumerate(model.channels):
        basis = model.bases[c]
        t = np.linspace(*basis.domain, 50)
        change = np.linalg.lstsq(basis(t), t[:, None] ** np.arange(design.p), rcond=None)[0]
        for label, k in modes:
            loading = truth["loadings"][k, c]
            if design.rank:
                found["loading", label, channel, "0, factor 0"] = float((change @ loading)[0])
            covariance = change @ (truth["covariances"][k, c] + np.outer(loading, loading)) @ change.T
            mean = change @ truth["means"][k, c]
            mode = None if design.covariance == "pooled" else label
            for i in range(design.p):
                found["mean", label, channel, str(i)] = mean[i]
                found["variance", mode, channel, str(i)] = covariance[i, i]
                for j in range(i):
                    found["covariance", mode, channel, f"{j}, {i}"] = covariance[j, i]
            found["noise", label, channel, ""] = truth["noises"][k, c]
    return found
