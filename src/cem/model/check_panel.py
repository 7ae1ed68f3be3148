"""The check panel of a model file: units drawn from the model, so that a file contains no customer data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.model import rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.covariates.conditions import Conditions
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel

    FloatArray = NDArray[np.float64]
    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["check_panel", "drawn_check_panel", "log_likelihood_of_check"]

_CHECK_SEED = 20150204


def drawn_check_panel(model: FittedMixture, n_bytes: int) -> dict[str, NDArray[Any]]:
    """A small panel drawn from the model, as arrays; the same one each time.

    Parameters
    ----------
    model : FittedMixture
    n_bytes : int
        Bytes of the model's own arrays, which decide how long a reader may take.
    """
    from cem.model.sample import draw_units

    low, high = model.domain
    rng = np.random.default_rng(_CHECK_SEED)
    times = low + (high - low) * np.sort(rng.uniform(size=(rules.CHECK_UNITS, rules.CHECK_TIMES)), axis=1)
    if model.time_axis == "to_failure":
        times = np.minimum(times, 0.0)
    # Cycle through the modes, so that rare ones are checked too.
    n_units = rules.check_units(
        model.n_modes, model.coordinates.sizes, model.linking_rank, n_bytes, _per_reading(model)
    )
    drawn = [times[l % rules.CHECK_UNITS] for l in range(n_units)]
    arrays: dict[str, NDArray[Any]] = {}
    if model.conditions is None:
        modes = [model.mode_labels[l % model.n_modes] for l in range(n_units)]
        panel = draw_units(model, n_units, drawn, modes=modes, random_state=rng)
        offsets, flat, values = panel.offsets, panel.times, panel.values.copy()
    else:
        flat = np.concatenate(drawn)
        offsets = np.arange(n_units + 1, dtype=np.int64) * rules.CHECK_TIMES
        w = _covariates(model.conditions, offsets, rng)
        values = _drawn_values(model, np.arange(n_units) % model.n_modes, offsets, flat, w, rng)
        arrays["check_covariates"] = w
    if model.n_channels > 1:  # some channels missing at some times
        rows = np.arange(2, len(values), 5)
        values[rows, rows % model.n_channels] = np.nan
    if model.of_units is not None:
        arrays["check_unit_covariates"] = _of_units(model, offsets, rng, arrays.get("check_covariates"))
    return {"check_offsets": offsets, "check_times": flat, "check_values": values, **arrays}


def _per_reading(model: FittedMixture) -> int:
    if model.conditions is None and model.of_units is None:
        return 0
    from cem.model.condition_parts import work_per_reading

    return work_per_reading((model.conditions, model.of_units))


def _covariates(conditions: Conditions, offsets: NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
    """Covariates that training readings might have had, (N, m): of every regime in turn, and every level."""
    n_units, n_readings = len(offsets) - 1, int(offsets[-1])
    unit_of = np.repeat(np.arange(n_units), np.diff(offsets))
    w = np.empty((n_readings, len(conditions.columns)))
    for j, column in enumerate(conditions.columns):
        n = n_units if column.of_unit else n_readings
        if column.levels is None:
            own = column.low + (column.high - column.low) * rng.uniform(0.25, 0.75, n)
        else:
            own = (np.arange(n) % len(column.levels)).astype(np.float64)
        w[:, j] = own[unit_of] if column.of_unit else own
    regimes = conditions.regimes
    if regimes is not None:
        settings = list(regimes.columns)
        places = _settings(conditions)
        by_unit = any(conditions.columns[j].of_unit for j in settings)
        turns = unit_of if by_unit else np.arange(n_readings)
        w[:, settings] = places[turns % len(places)]
    return w


def _settings(conditions: Conditions) -> FloatArray:
    """Settings in the midst of each regime that has training readings, (n, S)."""
    regimes = conditions.regimes
    assert regimes is not None
    known, column = np.flatnonzero(regimes.counts), conditions.columns[regimes.columns[0]]
    if column.levels is not None:
        return known[:, None].astype(np.float64)
    if regimes.specification.cuts is None:
        return regimes.centres[known]
    cuts = np.array(regimes.specification.cuts)
    ends = np.concatenate([[min(column.low, cuts[0] - 1.0)], cuts, [max(column.high, cuts[-1] + 1.0)]])
    middle: FloatArray = 0.5 * (ends[:-1] + ends[1:])
    return middle[known, None]


def _of_units(
    model: FittedMixture, offsets: NDArray[np.int64], rng: np.random.Generator, w: FloatArray | None
) -> FloatArray:
    """Covariates of units, (U, m); those that readings have too are the same."""
    assert model.of_units is not None
    own = _covariates(model.of_units, np.arange(len(offsets)), rng)
    if w is not None and model.conditions is not None:
        names = model.conditions.names
        for j, name in enumerate(model.of_units.names):
            if name in names:
                own[:, j] = w[offsets[:-1], names.index(name)]
    return own


def _drawn_values(
    model: FittedMixture,
    modes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    times: FloatArray,
    w: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Readings (N, C) of units of these modes (U,) at covariates w (N, m)."""
    conditions, parameters, coordinates = model.conditions, model.internal_parameters, model.coordinates
    assert conditions is not None
    layout = coordinates.layout
    unit_of = np.repeat(np.arange(len(modes)), np.diff(offsets))
    bases = [basis(times) for basis in model.bases]
    rows = [design if uses else None for design, uses in zip(bases, conditions.uses_basis, strict=True)]
    shared = rng.standard_normal((len(modes), parameters.rank))
    values = np.empty((len(times), model.n_channels))
    for c, design in enumerate(bases):
        whole = np.concatenate([design, conditions.design(w, rows, c)], axis=1)
        whitened = rng.standard_normal((len(modes), layout.sizes[c]))
        if parameters.loadings is not None:
            whitened += np.einsum("lij,lj->li", layout.rows(parameters.loadings, c)[modes], shared)
        internal = layout.vector(parameters.means, c)[modes]
        internal = internal + np.einsum("lij,lj->li", layout.matrix(parameters.factors, c)[modes], whitened)
        own = coordinates.coefficients(internal, c)
        noise = np.sqrt(parameters.noise_variances[modes, c])[unit_of] * rng.standard_normal(len(times))
        values[:, c] = np.einsum("ni,ni->n", whole, own[unit_of]) + coordinates.scales[c] * noise
    return conditions.restored(values, w, rows)


def log_likelihood_of_check(model: FittedMixture, arrays: Arrays) -> float:
    """Marginal log-likelihood of the check panel, with only the code that scoring needs anyway.

    Times to failure count from the failure, so they are on the model's axis already.
    """
    offsets, times, values = arrays["check_offsets"], arrays["check_times"], arrays["check_values"]
    # The scorer of single readings takes channels as independent, and knows no covariates.
    if model.linking_rank or model.conditions is not None or model.of_units is not None:
        from cem.mixture.conditioned import map_jacobian
        from cem.mixture.prediction import evidence

        panel = check_panel(model, arrays)
        found = evidence(model.compressed(panel), model.internal_parameters).log_likelihoods
        if model.conditions is not None:
            found = found + map_jacobian(model, panel)
        return float(found.sum())
    from cem.scoring._scorer import PackedScorer

    scorer = PackedScorer(model.internal_parameters, model.coordinates, model.bases, model.channels)
    found = np.empty(len(offsets) - 1)
    if scorer._log_likelihood_rows(times, values, offsets, found) is not None:
        raise ValueError("the check panel holds a reading that cannot be scored")
    return float(found.sum())


def check_panel(model: FittedMixture, arrays: Arrays) -> Panel:
    """The check panel with its covariates, from the arrays of a file.

    Parameters
    ----------
    model : FittedMixture
    arrays : mapping of str to ndarray
    """
    from cem.panel.panel import Panel

    offsets = arrays["check_offsets"]
    panel = Panel(
        np.arange(len(offsets) - 1), offsets, arrays["check_times"], arrays["check_values"], model.channels,
        allow_empty_channels=True, missing=(), duplicates="keep",
    )  # fmt: skip
    if model.conditions is None and model.of_units is None:
        return panel
    from cem.panel.covariates import Covariate

    of_readings: dict[str, Covariate] = {}
    of_units: dict[str, Covariate] = {}
    if model.conditions is not None:
        w = arrays["check_covariates"]
        for j, column in enumerate(model.conditions.columns):
            own = w[:, j]
            if column.of_unit:
                of_units[column.name] = Covariate(column.name, own[offsets[:-1]], column.levels)
            else:
                of_readings[column.name] = Covariate(column.name, np.array(own), column.levels)
    if model.of_units is not None:
        for j, column in enumerate(model.of_units.columns):
            of_units[column.name] = Covariate(
                column.name, np.array(arrays["check_unit_covariates"][:, j]), column.levels
            )
    return panel._replace(_covariate_columns=of_readings, _unit_covariate_columns=of_units)
