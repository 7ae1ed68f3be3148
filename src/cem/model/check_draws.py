"""Draw the check panel of a model file; its readings may be those of any unit of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.model import rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.covariates.conditions import Conditions
    from cem.mixture.fitted import FittedMixture

    FloatArray = NDArray[np.float64]

__all__ = ["drawn_check_panel"]

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
    n_evaluated = model.n_modes if model.components is None else model.components.parameters.n_modes
    n_units = rules.check_units(n_evaluated, model.coordinates.sizes, model.linking_rank, n_bytes, _per_reading(model))
    drawn = [times[l % rules.CHECK_UNITS] for l in range(n_units)]
    arrays: dict[str, NDArray[Any]] = {}
    if model.conditions is None:
        modes = [model.mode_labels[l % model.n_modes] for l in range(n_units)]
        panel = draw_units(_without_membership(model), n_units, drawn, modes=modes, random_state=rng)
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


def _without_membership(model: FittedMixture) -> FittedMixture:
    """The model of units whose modes are given: their covariates say nothing of their readings."""
    if model.of_units is None:
        return model
    parameters = replace(model.internal_parameters, membership=None)
    return type(model)(**{**model._arguments(), "parameters": parameters, "of_units": None})


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
