"""Models with reading conditions of every kind, panels for them, and their dense Gaussians from the definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from covariate_cases import CHANNELS, SIZES, random_conditions, rows_of

from cem.basis.families import Constant, Polynomial
from cem.covariates import Category
from cem.covariates.columns import Column
from cem.covariates.features import values_of
from cem.covariates.learning import learned_conditions
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel
from cem.statistics.coordinates import Coordinates, Layout

SITES = ("A", "B", "C")


def conditioned_model(seed, *, rank=0, time_axis="forward", n_modes=2, membership=True):
    """Random regimes, common and by-mode columns, some of them products with basis functions, and membership."""
    rng = np.random.default_rng(seed)
    conditions, _ = random_conditions(rng)
    common, by_mode, coefficients = [], [], []
    for entries, own, beta in zip(conditions.common, conditions.by_mode, conditions.coefficients, strict=True):
        products = [i for i, (_, j) in enumerate(entries) if j >= 0]
        moved = products if rng.random() < 0.5 else []
        kept = [i for i in range(len(entries)) if i not in moved]
        common.append(tuple(entries[i] for i in kept))
        coefficients.append(0.3 * beta[kept])
        by_mode.append((*own, *(entries[i] for i in moved)))
    conditions = replace(
        conditions, common=tuple(common), by_mode=tuple(by_mode), coefficients=tuple(coefficients), sizes=SIZES
    )
    times = np.array([0.0, 10.0]) if time_axis == "forward" else np.array([-10.0, 0.0])
    bases = (Polynomial(2).bind(times), Constant().bind(times), Polynomial(3).bind(times))
    layout = Layout(tuple(p + len(own) for p, own in zip(SIZES, by_mode, strict=True)))
    n, m = int(layout.mean_offsets[-1]), int(layout.factor_offsets[-1])
    centres, transforms, factors = rng.normal(size=n), np.zeros(m), np.zeros((n_modes, m))
    loadings = rng.normal(size=(n_modes, n, rank)) if rank else None
    for c, p in enumerate(SIZES):
        size = layout.sizes[c]
        layout.matrix(transforms, c)[:] = np.triu(0.3 * rng.normal(size=(size, size)), 1) + np.diag(
            rng.uniform(0.5, 2.0, size)
        )
        layout.matrix(factors, c)[:, :p, :p] = np.tril(0.3 * rng.normal(size=(n_modes, p, p))) + 0.4 * np.eye(p)
        if loadings is not None:
            layout.rows(loadings, c)[:, p:] = 0.0
    gamma, of_units = None, None
    if membership:
        of_units = learned_conditions(
            (Column("site", SITES, of_unit=True),), np.arange(30.0)[:, None] % 3, unit_terms=[Category("site")]
        )
        gamma = rng.normal(size=(n_modes, 3))
        gamma -= gamma.mean(axis=0)
    parameters = Parameters(
        rng.dirichlet(np.full(n_modes, 5.0)), rng.normal(size=(n_modes, n)), factors,
        rng.uniform(0.05, 0.3, (n_modes, len(SIZES))), layout.sizes, loadings, membership=gamma,
    )  # fmt: skip
    return FailureModeModel(
        parameters=parameters,
        coordinates=Coordinates(centres, rng.uniform(0.5, 2.0, len(SIZES)), transforms, layout.sizes),
        bases=bases,
        channels=CHANNELS,
        response="T24",
        time_axis=time_axis,
        conditions=conditions,
        of_units=of_units,
    )


def panel_for(model, seed, n_units=6, n_readings=7, *, failed=False):
    """Ragged units with all covariates; readings near those that the model expects, some missing."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(n_readings - 3, n_readings + 1, n_units)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    site = rng.integers(0, 3, n_units)
    w = rows_of(rng, int(offsets[-1]))
    w[:, 1] = np.repeat(site, lengths)
    times = np.concatenate([np.sort(rng.uniform(0.0, 8.0, n)) for n in lengths])
    lives = np.maximum.reduceat(times, offsets[:-1]) + rng.uniform(0.5, 2.0, n_units)
    on_axis = times - np.repeat(lives, lengths) if model.time_axis == "to_failure" else times
    values = np.zeros((len(times), len(CHANNELS)))
    for c in range(len(CHANNELS)):
        mean, root, scale = reading_parts(model, on_axis, w, 0, c)
        values[:, c] = (
            mean + scale * rng.normal(size=len(times)) + np.abs(root).sum(axis=1) * rng.normal(size=len(times))
        )
    values[rng.random(values.shape) < 0.15] = np.nan
    panel = Panel(
        [f"u{i}" for i in range(n_units)], offsets, times, values, CHANNELS, response="T24",
        covariates={"load": w[:, 0], "speed": w[:, 2], "mode": w[:, 3] == 1.0},
        unit_covariates={"site": [SITES[i] for i in site]}, allow_empty_channels=True,
        failure_times=lives if failed else None, missing=(), duplicates="keep",
    )  # fmt: skip
    return panel


def rows_in(panel):
    """The covariates of a panel's readings as the cases' conditions count them, (N, 4)."""
    lengths = np.diff(panel.offsets)
    site = [SITES.index(name) for name in panel.covariate("site")]
    return np.column_stack(
        [panel.covariate("load"), np.repeat(site, lengths), panel.covariate("speed"),
         np.array([bool(x) for x in panel.covariate("mode")], float)]
    )  # fmt: skip


def reading_parts(model, times, w, mode, c):
    """Of a channel's readings: mean (n,), what unit coefficients of variance 1 add (n, p), and s (n,)."""
    conditions, user = model.conditions, model.user_parameters()
    phi = model.bases[c](times)
    features = values_of(conditions.features, w)

    def columns(entries):
        rows = [features[:, f] * (1.0 if j < 0 else phi[:, j]) for f, j in entries]
        return np.stack(rows, axis=1) if rows else np.zeros((len(times), 0))

    p = phi.shape[1]
    mu = user.mean(mode, c)
    curve = phi @ mu[:p] + columns(conditions.by_mode[c]) @ mu[p:]
    curve = curve + columns(conditions.common[c]) @ conditions.coefficients[c]
    offset, scale = np.zeros(len(times)), np.ones(len(times))
    if conditions.regimes is not None:
        regimes = conditions.regimes_at(w)
        offset, scale = conditions.offsets[regimes, c], conditions.scales[regimes, c]
    return offset + scale * curve, scale[:, None] * (phi @ user.factor(mode, c)[:p]), scale


def dense(model, mode, parts):
    """Mean and covariance of readings, noise included.

    `parts` holds (channel, times, rows of covariates) of the readings, stacked in this order.
    """
    user = model.user_parameters()
    found = [(c, *reading_parts(model, times, w, mode, c)) for c, times, w in parts]
    mean = np.concatenate([one[1] for one in found])
    starts = np.concatenate([[0], np.cumsum([len(one[1]) for one in found])])
    covariance = np.zeros((len(mean), len(mean)))
    for i, (c, _, root, scale) in enumerate(found):
        for j, (d, _, other, _) in enumerate(found):
            block = user.loading(mode, c) @ user.loading(mode, d).T
            if c == d:
                block = block + np.eye(root.shape[1])
            covariance[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = root @ block @ other.T
        here = np.arange(starts[i], starts[i + 1])
        covariance[here, here] += scale**2 * user.noise_variances[mode, c]
    return mean, covariance


def log_normal(x, mean, covariance):
    """ln N(x; mean, covariance)."""
    deviation = x - mean
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * (deviation @ np.linalg.solve(covariance, deviation) + log_determinant + len(x) * np.log(2 * np.pi))


def seen_parts(panel, unit, shift=0.0):
    """(channel, times, rows) and readings of a unit, without missing ones; times less `shift`."""
    rows = np.arange(*panel.offsets[unit : unit + 2])
    w, values, times = rows_in(panel), panel.values, panel.times
    parts, x = [], []
    for c in range(panel.n_channels):
        seen = rows[~np.isnan(values[rows, c])]
        parts.append((c, times[seen] - shift, w[seen]))
        x.append(values[seen, c])
    return parts, np.concatenate(x)


def prior_weights(model, panel):
    """pi_k(u), (L, K)."""
    if model.of_units is None:
        return np.tile(model.weights_, (panel.n_units, 1))
    site = np.array([SITES.index(name) for name in panel.covariate("site")], float)[:, None]
    scores = np.column_stack([np.ones(len(site)), values_of(model.of_units.features, site)])
    scores = np.exp(scores @ model.internal_parameters.membership.T)
    return scores / scores.sum(axis=1, keepdims=True)


def with_random(model, functions):
    """The model whose coefficients vary from unit to unit for these basis functions alone."""
    old, held, user = model.internal_parameters, model.coordinates, model.user_parameters()
    factors = np.array(old.factors)
    loadings = None if old.loadings is None else np.array(old.loadings)
    for c, p in enumerate(SIZES):
        own = np.array(user.layout.matrix(user.factors, c))
        own[:, [i for i in range(held.sizes[c]) if i >= p or i not in functions]] = 0.0
        root = held.transform(c) @ own / held.scales[c]
        factor = held.layout.matrix(factors, c)
        factor[:] = np.swapaxes(np.linalg.qr(np.swapaxes(root, -1, -2), mode="r"), -1, -2)
        for k in range(old.n_modes if loadings is not None else 0):
            W = root[k] @ held.layout.rows(loadings, c)[k]
            held.layout.rows(loadings, c)[k] = np.linalg.lstsq(factor[k], W, rcond=1e-12)[0]
    parameters = replace(old, factors=factors, loadings=loadings)
    kinds = tuple(tuple("random" if i in functions else "by mode" for i in range(p)) for p in SIZES)
    return type(model)(**{**model._arguments(), "parameters": parameters, "column_kinds": kinds})
