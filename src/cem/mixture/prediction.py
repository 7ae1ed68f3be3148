"""Predictions of a fitted mixture for units: mode probabilities, posterior coefficients, forecasts, novelty.

Computed from sufficient statistics and parameters in internal coordinates; results are in the panel's units. This path
does not import SciPy.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PredictionError
from cem.errors.names import listed
from cem.mixture._bundle import ParametersBundle
from cem.mixture.membership import with_log_weights
from cem.mixture.parameters import Parameters
from cem.numerics.floating import overflow_at, underflow_is_zero
from cem.numerics.normal import normal_cdf, normal_quantile
from cem.numerics.special import chi_square_survival
from cem.statistics._bundle import StatisticsBundle
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.covariates.one_channel import ChannelAt
    from cem.mixture.process_forecast import Level

__all__ = [
    "Evidence",
    "Forecast",
    "Posterior",
    "evidence",
    "forecast_channel",
    "log_joint",
    "novelty",
    "of_backend",
    "posterior",
]

FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

Result = TypeVar("Result", "Posterior", "Forecast")

_MAX_STEPS = 200  # plain bisection needs 60 to 100; Newton's steps end it in about 6


class Evidence(NamedTuple):
    """The likelihood of each unit's data under the modes."""

    mode_probabilities: FloatArray  # (L, K)  (3)
    log_likelihoods: FloatArray  # (L,)    log Σ_k π_k P(x_l | k), in the panel's own units
    misfits: FloatArray  # (L, K)  quadratic form of (11)
    n_observations: NDArray[np.int64]  # (L,)    observed values


@dataclass(frozen=True, eq=False)
class Posterior:
    """Posterior of each unit's random effects under each mode, in the panel's units (model.md (4)).

    Parameters
    ----------
    units : tuple of hashable
        Length L.
    channels : tuple of str
        Length C.
    mode_labels : tuple of hashable
        Length K.
    sizes : tuple of int
        p_c, number of coefficients of each channel; arrays hold NaN beyond.
    mode_probabilities : ndarray of shape (L, K)
        ρ̂, posterior mode probabilities.
    means : ndarray of shape (L, K, C, p)
        T̂, posterior mean coefficients: ``model.bases[c](t) @ means[l, k, c, :p_c]`` is a unit's curve. Under reading
        conditions it is the curve at the reference conditions of `FailureModeModel.curves`.
    covariances : ndarray of shape (L, K, C, p, p)
        Σ̂, their posterior covariances.
    """

    units: tuple[Hashable, ...]
    channels: tuple[str, ...]
    mode_labels: tuple[Hashable, ...]
    sizes: tuple[int, ...]
    _backend: ClassVar[str | None] = None  # of the frame that the units came from
    mode_probabilities: FloatArray
    means: FloatArray
    covariances: FloatArray

    def to_frame(self, backend: str | None = None) -> Any:
        """Return the means and standard deviations as a data frame.

        Its columns are unit, mode, probability (of the mode), channel, coefficient (its position in the basis), mean
        and standard_deviation. Labels of modes are texts if they are of several types.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.mixture.result_tables import posterior_columns
        from cem.panel.frames.out import frame_of

        return frame_of(posterior_columns(self), backend, self._backend)

    def __repr__(self) -> str:
        return (
            f"Posterior of {len(self.units):,} units: coefficients of channels {listed(self.channels, 6)} under "
            f"{len(self.mode_labels)} modes; to_frame() has them as a table"
        )

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table
        from cem.panel.frames.out import mode_columns

        names = mode_columns(self.mode_labels, ("unit",))
        columns: dict[str, Any] = {"unit": self.units[:MOST_ROWS]}
        columns.update(zip(names, self.mode_probabilities[:MOST_ROWS].T, strict=True))
        title = f"Posterior of {len(self.units):,} units: mode probabilities"
        return html_table(title, columns, len(self.units), "units")


@dataclass(frozen=True, eq=False)
class Forecast:
    """Predictive mixture Σ_k ρ̂_k N(m_k, v_k) of one channel, for each unit and time (model.md, "Prognosis").

    Parameters
    ----------
    units : tuple of hashable
        Length L.
    channel : str
        The channel forecast.
    mode_labels : tuple of hashable
        Length K.
    times : ndarray of shape (m,) or (L, m)
        The times forecast.
    weights : ndarray of shape (L, K)
        ρ̂, mode probabilities given all readings of the unit.
    mode_means : ndarray of shape (L, K, m)
        φ(s)ᵀ T̂_k, in units of the channel.
    mode_variances : ndarray of shape (L, K, m)
        φ(s)ᵀ Σ̂_k φ(s), plus σ²_k if `noise`.
    noise : bool
        True: the forecast of a reading. False: of the curve behind it.
    """

    units: tuple[Hashable, ...]
    _backend: ClassVar[str | None] = None
    channel: str
    mode_labels: tuple[Hashable, ...]
    times: FloatArray
    weights: FloatArray
    mode_means: FloatArray
    mode_variances: FloatArray
    noise: bool

    def to_frame(self, backend: str | None = None, *, level: float = 0.9) -> Any:
        """Return the forecast as a data frame: unit, time, mean, standard_deviation and the ends of an interval.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        level : float
            Probability of the central interval; the ends' columns are ``lower_90`` and ``upper_90`` at 0.9.
        """
        from cem.mixture.result_tables import forecast_columns
        from cem.panel.frames.out import frame_of

        return frame_of(forecast_columns(self, level), backend, self._backend)

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table
        from cem.mixture.result_tables import forecast_columns

        n_units, n_times = len(self.units), self.mode_means.shape[2]
        head = self._head(max(1, -(-MOST_ROWS // max(n_times, 1))))
        columns = {name: values[:MOST_ROWS] for name, values in forecast_columns(head).items()}
        return html_table(repr(self), columns, n_units * n_times)

    def _head(self, n_units: int) -> Forecast:
        """The forecast of the first units."""
        return replace(
            self,
            units=self.units[:n_units],
            times=self.times[:n_units] if self.times.ndim == 2 else self.times,
            weights=self.weights[:n_units],
            mode_means=self.mode_means[:n_units],
            mode_variances=self.mode_variances[:n_units],
        )

    @property
    def mean(self) -> FloatArray:
        """Mean of the mixture, shape (L, m)."""
        result: FloatArray = np.einsum("lk,lkm->lm", self.weights, self.mode_means)
        return result

    @property
    def variance(self) -> FloatArray:
        """Variance of the mixture, shape (L, m): within modes plus between modes."""
        spread = self.mode_variances + np.square(self.mode_means - self.mean[:, None, :])
        result: FloatArray = np.einsum("lk,lkm->lm", self.weights, spread)
        return result

    def cdf(self, values: ArrayLike) -> FloatArray:
        """Return P(channel ≤ value); `values` broadcasts against (L, m)."""
        values = np.broadcast_to(np.asarray(values, dtype=np.float64), self.mode_means[:, 0].shape)
        z = (values[:, None] - self.mode_means) / np.sqrt(np.maximum(self.mode_variances, 1e-300))
        result: FloatArray = np.einsum("lk,lkm->lm", self.weights, normal_cdf(z))
        return result

    @underflow_is_zero
    def quantile(self, q: ArrayLike) -> FloatArray:
        """Quantiles of the mixture.

        Parameters
        ----------
        q : float or array_like of shape (n_quantiles,)
            Probabilities in (0, 1).

        Returns
        -------
        ndarray of shape (L, m), or (n_quantiles, L, m)
            In units of the channel.

        Raises
        ------
        OptionError
            A probability is not in (0, 1).
        """
        probabilities = np.asarray(q, dtype=np.float64)
        if probabilities.ndim > 1 or not np.all((probabilities > 0) & (probabilities < 1)):
            raise OptionError(f"q={q!r}: a probability between 0 and 1, or a list of them, was expected")
        n_units, n_modes, n_times = self.mode_means.shape
        centre = self.mean
        means = np.moveaxis(self.mode_means - centre[:, None], 1, 2).reshape(-1, n_modes)
        deviations = np.moveaxis(np.sqrt(self.mode_variances), 1, 2).reshape(-1, n_modes)
        weights = np.repeat(self.weights, n_times, axis=0)
        parts = [
            _mixture_quantile(float(p), weights, means, deviations).reshape(n_units, n_times) + centre
            for p in probabilities.reshape(-1)
        ]
        return parts[0] if probabilities.ndim == 0 else np.stack(parts)

    def interval(self, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Return the central prediction interval that holds the channel with probability `level`: two arrays (L, m).

        Raises
        ------
        OptionError
            `level` is not in (0, 1).
        """
        if not 0 < level < 1:
            raise OptionError(f"level={level!r}: a probability between 0 and 1 was expected")
        lower, upper = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return lower, upper

    def __repr__(self) -> str:
        what = "readings" if self.noise else "the curve"
        return f"Forecast of {what} of {self.channel!r}: {len(self.units):,} units, {self.times.shape[-1]:,} times"


def of_backend(result: Result, backend: str | None) -> Result:
    """The result, which makes frames of this library if none is asked for."""
    if backend is not None:
        object.__setattr__(result, "_backend", backend)  # it is frozen
    return result


def _mixture_quantile(q: float, weights: FloatArray, means: FloatArray, deviations: FloatArray) -> FloatArray:
    """The q-quantile of each row's Gaussian mixture, (n,) from arrays of shape (n, K).

    Newton's method within a shrinking bracket: the quantile lies between the smallest and the largest quantile of the
    components. An upper quantile is computed as a lower one of the mirrored mixture, whose tail keeps its digits.
    """
    if q > 0.5:
        return -_mixture_quantile(1 - q, weights, -means, deviations)
    used = weights > 0
    ends = means + normal_quantile(q) * deviations
    low = np.where(used, ends, np.inf).min(axis=1)
    high = np.where(used, ends, -np.inf).max(axis=1)
    x: FloatArray = np.clip(np.einsum("nk,nk->n", weights, ends), low, high)
    safe = np.maximum(deviations, 1e-300)
    smallest = np.where(used, deviations, np.inf).min(axis=1)
    active = np.flatnonzero(high > low)
    for _ in range(_MAX_STEPS):
        if not active.size:
            break
        w, here = weights[active], x[active]
        z = (here[:, None] - means[active]) / safe[active]
        excess = np.einsum("nk,nk->n", w, normal_cdf(z)) - q
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            density = np.einsum("nk,nk->n", w, np.exp(-0.5 * z * z) / safe[active]) / np.sqrt(2 * np.pi)
            proposed = here - excess / density
        high[active] = np.where(excess >= 0, here, high[active])
        low[active] = np.where(excess <= 0, here, low[active])
        inside = (proposed > low[active]) & (proposed < high[active])
        middle = 0.5 * (low[active] + high[active])
        x[active] = np.where(excess == 0, here, np.where(inside, proposed, middle))
        moved = np.abs(x[active] - here)
        tight = high[active] - low[active] <= 4e-16 * np.maximum(np.abs(low[active]), np.abs(high[active]))
        settled = inside & (moved <= 1e-14 * smallest[active] + 2e-16 * np.abs(here))
        active = active[~(tight | settled | (excess == 0))]
    return x


def evidence(statistics: SufficientStatistics, parameters: Parameters, n_threads: int = 1) -> Evidence:
    """Mode probabilities (3), log-likelihoods and misfits of each unit; known modes are ignored.

    Raises
    ------
    PredictionError
        A log-density is not finite.
    """
    from cem.mixture import _prediction

    shape = (statistics.n_units, parameters.n_modes)
    own, misfits, common = np.empty(shape), np.empty(shape), np.zeros(shape[0])
    if parameters.rank:
        from cem.mixture.linked_prediction import linked_log_densities

        own, misfits = linked_log_densities(statistics, parameters, n_threads)
    else:
        _prediction.log_densities(
            statistics.bundle,
            parameters.bundle,
            own,
            misfits,
            common,
            n_threads,
        )
    joint = with_log_weights(own, statistics, parameters)
    top = joint.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        probabilities = np.exp(joint - top)
    totals = probabilities.sum(axis=1, keepdims=True)
    return Evidence(
        probabilities / totals,
        common + (top + np.log(totals))[:, 0] + statistics.log_jacobians,
        misfits,
        statistics.counts.sum(axis=1, dtype=np.int64),
    )


def log_densities(statistics: SufficientStatistics, parameters: Parameters) -> FloatArray:
    """ln P(x_l | k) in internal coordinates, shape (L, K); known modes are ignored."""
    from cem.mixture import _prediction

    shape = (statistics.n_units, parameters.n_modes)
    result = np.empty(shape)
    if parameters.rank:
        from cem.mixture.linked_prediction import linked_log_densities

        result, _ = linked_log_densities(statistics, parameters)
    else:
        _prediction.log_densities(
            statistics.bundle,
            parameters.bundle,
            result,
            np.empty(shape),
        )
    return result


def log_joint(statistics: SufficientStatistics, parameters: Parameters) -> FloatArray:
    """ln π_lk P(x_l | k) in internal coordinates, shape (L, K); known modes are ignored.

    π_lk is π_k, unless covariates or prior probabilities of the unit say otherwise.
    """
    return with_log_weights(log_densities(statistics, parameters), statistics, parameters)


def internal_posterior(statistics: SufficientStatistics, parameters: Parameters) -> tuple[FloatArray, FloatArray]:
    """T̂ and a square root of Σ̂ in internal coordinates: (L, K, P) and (L, K, Σ p_c²), model.md (12) and (17)."""
    from cem.mixture._prediction import posteriors

    if parameters.rank:
        from cem.mixture.linked_prediction import linked_posteriors

        return linked_posteriors(statistics, parameters)
    means = np.empty((statistics.n_units, *parameters.means.shape))
    roots = np.empty((statistics.n_units, *parameters.factors.shape))
    posteriors(
        statistics.bundle,
        parameters.bundle,
        means,
        roots,
    )
    return means, roots


def posterior(statistics: SufficientStatistics, parameters: Parameters, mode_labels: tuple[Hashable, ...]) -> Posterior:
    """Posterior coefficients of the bases in the panel's units: T = b + s S⁻¹ T̃, Σ̂ = s² S⁻¹ Σ̃ S⁻ᵀ."""
    means, roots = internal_posterior(statistics, parameters)
    coordinates, layout = statistics.coordinates, statistics.layout
    # Columns of covariates come after the basis; their coefficients are those of the mode, for every unit.
    sizes = tuple(basis.size for basis in statistics.bases)
    shape = (statistics.n_units, parameters.n_modes, layout.n_channels, max(sizes))
    means_out, covariances_out = np.full(shape, np.nan), np.full((*shape, shape[-1]), np.nan)
    for c, p in enumerate(sizes):
        means_out[:, :, c, :p] = coordinates.coefficients(layout.vector(means, c), c)[..., :p]
        root = coordinates.scales[c] * np.linalg.solve(coordinates.transform(c), layout.matrix(roots, c))[..., :p, :]
        covariances_out[:, :, c, :p, :p] = root @ np.swapaxes(root, -1, -2)
    return Posterior(
        units=tuple(statistics.units),
        channels=statistics.channels,
        mode_labels=mode_labels,
        sizes=sizes,
        mode_probabilities=evidence(statistics, parameters).mode_probabilities,
        means=means_out,
        covariances=covariances_out,
    )


def _one_channel(
    statistics: SufficientStatistics, parameters: Parameters, channel: int
) -> tuple[StatisticsBundle, ParametersBundle]:
    """Statistics and parameters of one channel: given the mode, its coefficients depend on nothing else."""
    layout = statistics.layout
    p = layout.sizes[channel]

    def column(array: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(array[:, channel : channel + 1])

    sizes = np.array([p], dtype=np.int32)
    of_units = StatisticsBundle(
        statistics.factors,
        column(statistics.factor_offsets),
        np.ascontiguousarray(layout.vector(statistics.projections, channel)),
        column(statistics.residual_norms),
        column(statistics.counts),
        sizes,
    )
    return of_units, ParametersBundle(
        parameters.weights,
        np.ascontiguousarray(layout.vector(parameters.means, channel)),
        np.ascontiguousarray(layout.matrix(parameters.factors, channel)).reshape(parameters.n_modes, p * p),
        column(parameters.noise_variances),
        sizes,
    )


def channel_misfits(statistics: SufficientStatistics, parameters: Parameters) -> FloatArray:
    """The quadratic form of (11) of each channel alone, shape (L, K, C); 0 without readings.

    Parameters
    ----------
    statistics : SufficientStatistics
    parameters : Parameters
        In internal coordinates. If channels are linked, their loadings add to their covariances.
    """
    from cem.mixture import _prediction

    alone, shape = parameters.marginal(), (statistics.n_units, parameters.n_modes)
    found = np.empty((*shape, statistics.layout.n_channels))
    for c in range(found.shape[2]):
        misfits = np.empty(shape)
        _prediction.log_densities(*_one_channel(statistics, alone, c), np.empty(shape), misfits)
        found[..., c] = misfits
    return found


def forecast_channel(
    statistics: SufficientStatistics,
    parameters: Parameters,
    mode_labels: tuple[Hashable, ...],
    channel: int,
    times: FloatArray,
    asked_times: FloatArray,
    noise: bool,
    at: ChannelAt | None = None,
    level: Level | None = None,
) -> Forecast:
    """Predictive mixture of one channel (model.md, "Prognosis", "Forward").

    Parameters
    ----------
    statistics, parameters, mode_labels
        Of the units and the model.
    channel : int
        Position of the channel.
    times : ndarray of shape (m,) or (L, m)
        On the model's time axis.
    asked_times : ndarray of the same shape
        The same, as the user gave them.
    noise : bool
        Add the residual noise.
    at : ChannelAt, optional
        The channel under given conditions, at the times in order. Default: it has none.
    level : Level, optional
        Where the units are beside their curves, at the times. Default: on them.

    Raises
    ------
    PredictionError
        The forecast overflows at one of the times; the message names the channel and the time.
    """
    from cem.mixture._prediction import posteriors

    p = statistics.sizes[channel]
    n_units, n_modes, n_times = statistics.n_units, parameters.n_modes, times.shape[-1]
    means, roots = np.empty((n_units, n_modes, p)), np.empty((n_units, n_modes, p * p))
    if parameters.rank:  # with linked channels every channel is informative about this one
        whole_means, whole_roots = internal_posterior(statistics, parameters)
        means = statistics.layout.vector(whole_means, channel)
        roots = statistics.layout.matrix(whole_roots, channel).reshape(n_units, n_modes, p * p)
    else:
        posteriors(*_one_channel(statistics, parameters, channel), means, roots)
    coordinates = statistics.coordinates
    scale = coordinates.scales[channel]
    if level is not None:
        times, design = np.broadcast_to(times, (n_units, n_times)), level.design.reshape(-1, p)
    else:
        design = statistics.bases[channel](times.reshape(-1)) if at is None else at.design
    spread = np.empty((n_units, n_modes, n_times))
    with np.errstate(over="ignore", invalid="ignore"):  # far from the domain
        internal = np.linalg.solve(coordinates.transform(channel).T, design.T).T.reshape(*times.shape, p)
        centre = (design @ coordinates.centre(channel)).reshape(times.shape)
        rows = np.broadcast_to(internal, (n_units, n_times, p))
        mode_means = np.broadcast_to(centre, (n_units, n_times))[:, None] + scale * (means @ np.swapaxes(rows, 1, 2))
        for k in range(n_modes):  # mode by mode: (L, m, p) at a time, not K times that
            spread[:, k] = np.square(rows @ roots[:, k].reshape(n_units, p, p)).sum(axis=2)
        if level is not None:
            mode_means = mode_means + level.origins[:, None]
            spread += parameters.noise_variances[:, channel][None, :, None] * level.variances[:, None]
        if noise:
            spread += parameters.noise_variances[:, channel][None, :, None]
        mode_variances = np.square(scale) * spread
        if at is not None:
            factors = at.factors.reshape(times.shape)
            mode_means = at.origins.reshape(times.shape)[..., None, :] + factors[..., None, :] * mode_means
            mode_variances = np.square(factors)[..., None, :] * mode_variances
        # The variance of the mixture, too, is made of squares.
        wrong = overflow_at(
            mode_variances + np.square(mode_means), times, statistics.channels[channel],
            statistics.bases[channel].domain,
        )  # fmt: skip
    if wrong:
        raise PredictionError(wrong)
    return Forecast(
        units=tuple(statistics.units),
        channel=statistics.channels[channel],
        mode_labels=mode_labels,
        times=asked_times,
        weights=evidence(statistics, parameters).mode_probabilities,
        mode_means=mode_means,
        mode_variances=mode_variances,
        noise=noise,
    )


def novelty(found: Evidence) -> FloatArray:
    """Tail probability of each unit's misfit under its most probable mode, shape (L,).

    Given its mode, a unit's quadratic form of (11) has a chi-square distribution with as many degrees of freedom as
    the unit has observed values. A value near 0 means: like no training unit. 1 for a unit without observed values.
    """
    best = found.mode_probabilities.argmax(axis=1)
    misfit = found.misfits[np.arange(len(best)), best]
    return chi_square_survival(misfit, found.n_observations)
