"""Simulated fleets: drawn from a fitted model, or from parameters that you write down."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.basis.families import Basis, resolve_bases
from cem.errors import OptionError
from cem.errors.names import did_you_mean
from cem.model.sampled_conditions import sampled_conditions
from cem.numerics.floating import overflow_at
from cem.panel.panel import Panel
from cem.statistics.coordinates import times_inverse

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture

__all__ = ["draw_units", "simulate_fleet"]

FloatArray = NDArray[np.float64]

_PASSAGE_GRID = 2000  # steps over the horizon in the search for a first passage, before interpolation


def draw_units(
    model: FittedMixture,
    n_units: int,
    times: Any,
    *,
    modes: Sequence[Hashable] | None = None,
    random_state: int | np.random.Generator | None = None,
    covariates: Mapping[str, Any] | None = None,
    unit_covariates: Mapping[str, Any] | None = None,
) -> Panel:
    """Draw units from a fitted model, in its internal coordinates (model.md §2); see `FailureModeModel.sample`."""
    rng = _generator(random_state)
    n_units = _count("n_units", n_units)
    unit_times = _unit_times(times, n_units)
    parameters, coordinates = model.internal_parameters, model.coordinates
    conditions = sampled_conditions(
        model, [len(row) for row in unit_times], covariates, unit_covariates, modes is not None
    )
    of_units = None if conditions is None else conditions.mode_probabilities(model)
    if modes is None and of_units is not None:
        passed = of_units.cumsum(axis=1)[:, :-1] <= rng.random((n_units, 1))
        k = passed.sum(axis=1)
    elif modes is None:
        k = rng.choice(model.n_modes, size=n_units, p=parameters.weights / parameters.weights.sum())
    else:
        modes = list(modes)
        if len(modes) != n_units:
            raise OptionError(f"modes must hold one label per unit, {n_units}; found {len(modes)}")
        k = np.array([model._mode_index(mode) for mode in modes])
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in unit_times])]).astype(np.int64)
    flat = np.concatenate(unit_times)
    to_failure = model.time_axis == "to_failure"
    if to_failure and (flat > 0).any():
        raise OptionError(
            f"times: {flat.max():g} lies after the failure; the model's time axis is the time to failure, at most 0"
        )
    unit_of = np.repeat(np.arange(n_units), np.diff(offsets))
    values = np.empty((len(flat), model.n_channels))
    shared = rng.standard_normal((n_units, parameters.rank)) if parameters.rank else None

    def where(row: int) -> str:
        return f"time {flat[row]:g} of unit number {unit_of[row]}"

    for c, basis in enumerate(model.bases):
        design = basis(flat)
        if conditions is not None:
            design = conditions.designs(model, c, design, where)
        whitened = rng.standard_normal((n_units, design.shape[1]))
        if shared is not None:  # t = Γ f + ε, (16)
            loadings = np.stack([parameters.loading(mode, c) for mode in range(parameters.n_modes)])
            whitened = whitened + np.einsum("lij,lj->li", loadings[k], shared)
        mean = parameters.layout.vector(parameters.means, c)[k]
        factor = parameters.layout.matrix(parameters.factors, c)[k]
        internal = mean + np.einsum("lij,lj->li", factor, whitened)
        noise = np.sqrt(parameters.noise_variances[k, c])[unit_of] * rng.standard_normal(len(flat))
        process = None if model.processes is None else model.processes[c]
        if process is not None:
            noise += np.sqrt(parameters.noise_variances[k, c])[unit_of] * process.drawn(flat, offsets, rng)
        with np.errstate(over="ignore", invalid="ignore"):  # far from the domain
            rows = times_inverse(design, coordinates.transform(c))
            departure = np.einsum("ni,ni->n", rows, internal[unit_of]) + noise
            values[:, c] = design @ coordinates.centre(c) + coordinates.scales[c] * departure
        wrong = overflow_at(values[:, c], flat, model.channels[c], basis.domain)
        if wrong:
            raise OptionError(f"times: {wrong}")
    if conditions is not None:
        values = conditions.restored(model, values, flat, where)
    panel = Panel(
        np.arange(n_units),
        offsets,
        flat,
        values,
        model.channels,
        response=model.response,
        failure_times=np.zeros(n_units) if to_failure else None,
        time_unit=model.time_unit,
        channel_units=model.channel_units,
        missing=(),
        duplicates="keep",
    )
    if conditions is not None:
        panel = conditions.carried_by(panel)
    # On the model's own time axis, whatever the origin of its training times.
    return panel._replace(_clock=None)._with_true_modes([model.mode_labels[i] for i in k])


def simulate_fleet(
    n_units: int,
    *,
    basis: Basis | Mapping[str | None, Basis],
    channels: Sequence[str],
    means: Mapping[Any, Mapping[str, ArrayLike]],
    covariances: Mapping[Any, Mapping[str, ArrayLike]],
    noise_variances: Mapping[str, float] | Mapping[Any, Mapping[str, float]],
    weights: Mapping[Any, float],
    interval: float,
    horizon: float,
    jitter: float = 0.0,
    lives: Mapping[Any, tuple[float, float]] | None = None,
    threshold: float | None = None,
    response: str | None = None,
    exact_shares: bool = False,
    missing: float | Mapping[str, float] = 0.0,
    absent: Mapping[str, float] | None = None,
    steps: Mapping[str, float] | None = None,
    time_step: float | None = None,
    time_unit: str | None = None,
    channel_units: Mapping[str, str] | None = None,
    random_state: int | np.random.Generator | None = None,
) -> Panel:
    """Draw a fleet that runs to failure, from parameters that you write down in the panel's units (model.md §2).

    Readings of a unit begin within one interval of 0 and end at its failure or at the horizon. If both `lives` and
    `threshold` are given, the unit fails at the earlier of the two.

    Parameters
    ----------
    n_units : int
        Number of units.
    basis : Basis or mapping of channel to Basis
        Unbound ones are bound to [0, horizon].
    channels : sequence of str
        Names of the channels.
    means : mapping of mode label to mapping of channel to array_like of shape (p_c,)
        μ, coefficients of the bound basis, in units of the channel.
    covariances : mapping of mode label to mapping of channel to array_like of shape (p_c, p_c), or (p_c,)
        Σ, random-effect covariance, or its diagonal; positive semi-definite.
    noise_variances : mapping of channel to float, or of mode label to such mappings
        σ², residual variance, in squared units of the channel.
    weights : mapping of mode label to float
        Shares of the modes; they add up to 1.
    interval : float
        Mean time between readings.
    horizon : float
        Latest time at which recording ends.
    jitter : float
        In [0, 1): each gap is `interval` × uniform on 1 ± jitter.
    lives : mapping of mode label to (median, log standard deviation), optional
        Lognormal lifetimes by mode.
    threshold : float, optional
        A unit fails when the noise-free curve of its response first reaches this value.
    response : str, optional
        The channel of the threshold.
    exact_shares : bool
        True: give each mode its share of the units, rounded, in random order. False: draw each unit's mode.
    missing : float, or mapping of channel to float
        Probability that a cell is missing.
    absent : mapping of channel to float, optional
        Probability that a unit lacks the channel altogether.
    steps : mapping of channel to float, optional
        Values are rounded to multiples of this.
    time_step : float, optional
        Times of readings are rounded down to multiples of this.
    time_unit, channel_units
        Labels.
    random_state : int or Generator, optional
        Seed of the draws.

    Returns
    -------
    Panel
        `modes`, which a fit keeps, and `true_modes` are the true ones; `failure_times` are NaN for units that reached
        the horizon.

    Raises
    ------
    OptionError
        An option has an invalid value; the message names it.
    """
    rng = _generator(random_state)
    n_units = _count("n_units", n_units)
    if not (0 < interval <= horizon < np.inf):
        raise OptionError(f"interval={interval!r}, horizon={horizon!r}: 0 < interval <= horizon was expected")
    if not 0 <= jitter < 1:
        raise OptionError(f"jitter={jitter!r}: a number in [0, 1) was expected")
    labels = list(weights)
    shares = np.array([float(weights[label]) for label in labels])
    if not labels or (shares < 0).any() or abs(shares.sum() - 1) > 1e-9:
        raise OptionError(f"weights={dict(weights)!r}: shares that are not negative and add up to 1 were expected")
    if threshold is not None and response is None:
        raise OptionError("threshold applies to the response; name the response")
    if response is not None and response not in channels:
        raise OptionError(f"response {response!r} is not a channel; {did_you_mean(response, channels)}")
    for option, given in (("steps", steps), ("absent", absent), ("missing", missing)):
        for name in given if isinstance(given, Mapping) else ():
            if name not in channels:
                raise OptionError(f"{option} names {name!r}, which is not a channel; {did_you_mean(name, channels)}")
    bases = [
        one if one.is_bound else one.bind(np.array([0.0, horizon])) for one in resolve_bases(basis, tuple(channels))
    ]

    k = _drawn_modes(rng, n_units, shares, exact_shares)
    coefficients = [
        _drawn_coefficients(rng, k, labels, name, one.size, means, covariances)
        for name, one in zip(channels, bases, strict=True)
    ]
    ends = np.full(n_units, np.inf)
    if lives is not None:
        ends = _drawn_lives(rng, k, labels, lives)
    if threshold is not None and response is not None:
        c = list(channels).index(response)
        ends = np.minimum(ends, _first_passage(bases[c], coefficients[c], float(threshold), horizon))
    failure_times = np.where(ends <= horizon, ends, np.nan)

    unit_times = _reading_times(rng, np.minimum(ends, horizon), interval, jitter, time_step)
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in unit_times])]).astype(np.int64)
    times = np.concatenate(unit_times)
    unit_of = np.repeat(np.arange(n_units), np.diff(offsets))
    values = np.empty((len(times), len(channels)))
    for c, (name, one) in enumerate(zip(channels, bases, strict=True)):
        sigma = np.sqrt([_noise(noise_variances, label, name) for label in labels])[k]
        values[:, c] = np.einsum("ni,ni->n", one(times), coefficients[c][unit_of])
        values[:, c] += sigma[unit_of] * rng.standard_normal(len(times))
        if steps and name in steps:
            values[:, c] = np.round(values[:, c] / steps[name]) * steps[name]
    _remove_cells(rng, values, unit_of, offsets, channels, missing, absent or {})
    labelled = [labels[i] for i in k]
    panel = Panel(
        np.arange(1, n_units + 1),
        offsets,
        times,
        values,
        channels,
        response=response,
        modes=labelled,
        failure_times=failure_times,
        time_unit=time_unit,
        channel_units=channel_units,
        allow_empty_channels=True,
    )
    return panel._with_true_modes(labelled)


def _generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    kinds = (int, np.integer, np.random.Generator, type(None))
    if isinstance(random_state, bool) or not isinstance(random_state, kinds):
        raise OptionError(f"random_state={random_state!r}: an integer, a numpy Generator or None was expected")
    if isinstance(random_state, (int, np.integer)) and random_state < 0:
        raise OptionError(f"random_state={random_state!r}: an integer that is not negative was expected")
    return np.random.default_rng(random_state)


def _count(option: str, value: object) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise OptionError(f"{option}={value!r}: an integer above 0 was expected")
    return int(value)


def _unit_times(times: Any, n_units: int) -> list[FloatArray]:
    """One finite, non-empty array of times for each unit."""
    try:
        ragged = not np.isscalar(times) and len(times) > 0 and not np.isscalar(times[0]) and np.ndim(times[0]) > 0
        rows = [np.asarray(row, dtype=np.float64) for row in times] if ragged else []
        shared = np.atleast_1d(np.asarray(times, dtype=np.float64)) if not ragged else np.empty(0)
    except (TypeError, ValueError) as error:
        raise OptionError(f"times must be numbers, one array for all units or one for each: {error}") from None
    if not ragged:
        rows = [shared] * n_units
    if len(rows) != n_units:
        raise OptionError(f"times holds arrays for {len(rows)} units; {n_units} were expected")
    for l, row in enumerate(rows):
        if row.ndim != 1 or not row.size or not np.isfinite(row).all():
            raise OptionError(
                f"times of unit number {l} must be one finite time or more, in one dimension; found {row}"
            )
    return rows


def _drawn_modes(rng: np.random.Generator, n_units: int, shares: FloatArray, exact_shares: bool) -> NDArray[np.int64]:
    if not exact_shares:
        return rng.choice(len(shares), size=n_units, p=shares / shares.sum())
    counts = np.floor(shares * n_units + 1e-9).astype(np.int64)
    left = np.argsort(counts - shares * n_units, kind="stable")[: n_units - counts.sum()]
    counts[left] += 1  # the largest remainders
    return rng.permutation(np.repeat(np.arange(len(shares)), counts))


def _drawn_coefficients(
    rng: np.random.Generator,
    k: NDArray[np.int64],
    labels: Sequence[Hashable],
    channel: str,
    p: int,
    means: Mapping[Any, Mapping[str, ArrayLike]],
    covariances: Mapping[Any, Mapping[str, ArrayLike]],
) -> FloatArray:
    """T, the coefficients of every unit, (L, p)."""
    mean, root = np.empty((len(labels), p)), np.empty((len(labels), p, p))
    for i, label in enumerate(labels):
        try:
            given_mean = np.asarray(means[label][channel], dtype=np.float64)
            given = np.asarray(covariances[label][channel], dtype=np.float64)
        except KeyError as error:
            raise OptionError(f"means and covariances of mode {label!r}, channel {channel!r} lack {error}") from None
        covariance = np.diag(given) if given.ndim == 1 else given
        if given_mean.shape != (p,) or covariance.shape != (p, p):
            raise OptionError(
                f"mode {label!r}, channel {channel!r}: the basis has {p} coefficients; found a mean of shape "
                f"{given_mean.shape} and a covariance of shape {given.shape}"
            )
        eigenvalues, vectors = np.linalg.eigh(covariance)
        if eigenvalues.min() < -1e-12 * abs(eigenvalues).max() or not np.allclose(covariance, covariance.T):
            raise OptionError(f"the covariance of mode {label!r}, channel {channel!r} is not positive semi-definite")
        mean[i], root[i] = given_mean, (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T
    drawn: FloatArray = mean[k] + np.einsum("lij,lj->li", root[k], rng.standard_normal((len(k), p)))
    return drawn


def _drawn_lives(
    rng: np.random.Generator,
    k: NDArray[np.int64],
    labels: Sequence[Hashable],
    lives: Mapping[Any, tuple[float, float]],
) -> FloatArray:
    absent = [label for label in labels if label not in lives]
    if absent:
        raise OptionError(f"lives has no law for mode {absent[0]!r}")
    laws = np.array([lives[label] for label in labels], dtype=np.float64)
    if laws.shape != (len(labels), 2) or not (laws[:, 0] > 0).all() or not (laws[:, 1] >= 0).all():
        raise OptionError(f"lives={dict(lives)!r}: (median > 0, log standard deviation >= 0) by mode was expected")
    drawn: FloatArray = laws[k, 0] * np.exp(laws[k, 1] * rng.standard_normal(len(k)))
    return drawn


def _first_passage(basis: Basis, coefficients: FloatArray, threshold: float, horizon: float) -> FloatArray:
    """First time at which each unit's curve is at or above the threshold; inf if that is after the horizon."""
    grid = np.linspace(0.0, horizon, _PASSAGE_GRID + 1)
    curves = coefficients @ basis(grid).T - threshold
    beyond = curves >= 0
    first = beyond.argmax(axis=1)
    passage = np.full(len(curves), np.inf)
    for l in np.flatnonzero(beyond.any(axis=1)):
        i = first[l]
        if i == 0:
            raise OptionError(
                f"threshold={threshold!r}: unit number {l} is beyond it at time 0; raise the threshold, or lower the "
                "mean or the covariance of the response's first coefficients"
            )
        before, after = curves[l, i - 1], curves[l, i]
        passage[l] = grid[i - 1] + (grid[i] - grid[i - 1]) * before / (before - after)
    return passage


def _reading_times(
    rng: np.random.Generator, ends: FloatArray, interval: float, jitter: float, time_step: float | None
) -> list[FloatArray]:
    """Irregular times from within one interval of 0 up to each unit's end; at least one for each unit."""
    rows = []
    for end in ends:
        n = int(np.ceil(end / (interval * (1 - jitter)))) + 1
        gaps = interval * (1 + jitter * rng.uniform(-1, 1, n))
        times = min(interval, end) * rng.uniform() + np.concatenate([[0.0], np.cumsum(gaps)])
        times = times[times <= end]
        rows.append(np.floor(times / time_step) * time_step if time_step else times)
    return rows


def _noise(noise_variances: Mapping[Any, Any], label: Hashable, channel: str) -> float:
    given = noise_variances.get(label)
    value = given.get(channel) if isinstance(given, Mapping) else noise_variances.get(channel)
    if not isinstance(value, (int, float, np.number)) or not (0 <= value < np.inf):
        raise OptionError(
            f"noise variance of mode {label!r}, channel {channel!r} is {value!r}; a number not below 0 was expected"
        )
    return float(value)


def _remove_cells(
    rng: np.random.Generator,
    values: FloatArray,
    unit_of: NDArray[np.int64],
    offsets: NDArray[np.int64],
    channels: Sequence[str],
    missing: float | Mapping[str, float],
    absent: Mapping[str, float],
) -> None:
    """Remove cells and whole channels of units, in place; every unit keeps at least one value."""
    kept = values[offsets[:-1]].copy()
    for c, name in enumerate(channels):
        rate = missing.get(name, 0.0) if isinstance(missing, Mapping) else missing
        lacking = absent.get(name, 0.0)
        for option, value in (("missing", rate), ("absent", lacking)):
            if not 0 <= value <= 1:
                raise OptionError(f"{option} of channel {name!r} is {value!r}; a probability was expected")
        values[rng.uniform(size=len(values)) < rate, c] = np.nan
        values[(rng.uniform(size=len(offsets) - 1) < lacking)[unit_of], c] = np.nan
    seen = np.zeros(len(kept), dtype=bool)
    np.logical_or.at(seen, unit_of, ~np.isnan(values).all(axis=1))
    values[offsets[:-1][~seen]] = kept[~seen]
