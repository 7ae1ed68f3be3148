"""The mixture at its fitted parameters, in internal coordinates and in the panel's units; no training data."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.basis.family import Basis
from cem.errors import OptionError, PredictionError
from cem.errors.names import all_distinct, did_you_mean, listed
from cem.mixture.column_kinds import ColumnKinds, checked_kinds, still_columns, without_variance
from cem.mixture.parameters import Parameters, whitened
from cem.statistics.coordinates import Coordinates

if TYPE_CHECKING:
    from cem.covariates.conditions import Conditions
    from cem.panel.panel import Panel
    from cem.process.channel_process import ChannelProcess
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["ChannelParameters", "FittedMixture"]

FloatArray = NDArray[np.float64]

_TIME_AXES = ("forward", "to_failure")
_SLOTS = (
    "_cache",
    "_channel_units",
    "_training",
    "bases",
    "channels",
    "column_kinds",
    "conditions",
    "coordinates",
    "internal_parameters",
    "mode_labels",
    "of_units",
    "processes",
    "response",
    "time_axis",
    "time_unit",
)


class ChannelParameters(NamedTuple):
    """Parameters of one channel in one mode, in the panel's units and without padding."""

    mean: FloatArray  # (p_c,)      μ_kc
    covariance: FloatArray  # (p_c, p_c)  Σ_kc
    covariance_factor: FloatArray  # (p_c, p_c)  Λ_kc, lower triangular
    noise_variance: float  # σ²_kc, in squared units of the channel


def require_model(model: object) -> None:
    """OptionError for what is no fitted model, such as the estimator.

    Parameters
    ----------
    model : object
        What was given.
    """
    if not isinstance(model, FittedMixture):
        hint = "; the model of an estimator is em.model_" if hasattr(model, "get_params") else ""
        raise OptionError(f"model is of type {type(model).__name__}; a FailureModeModel was expected{hint}")


class FittedMixture:
    """A fitted mixture of linear mixed-effects models (model.md §2): parameters only; immutable.

    `cem.FailureModeModel` adds the operations on data, and documents the parameters and attributes.
    """

    __slots__ = (*_SLOTS, "__weakref__")

    components: Any = None  # of a model that carries the uncertainty of its parameters: `cem.mixture.grouped`
    internal_parameters: Parameters
    coordinates: Coordinates
    bases: tuple[Basis, ...]
    channels: tuple[str, ...]
    response: str | None
    mode_labels: tuple[Hashable, ...]
    time_unit: str | None
    time_axis: str
    conditions: Conditions | None  # of the readings: covariates, regimes, columns of channels
    of_units: Conditions | None  # features of units, by which π depends on their covariates
    column_kinds: ColumnKinds | None  # of the bases' functions; None: all are random
    processes: tuple[ChannelProcess | None, ...] | None  # how units wander about their curves; None: they do not
    _channel_units: dict[str, str]
    _training: dict[str, Any]
    _cache: dict[str, FloatArray]

    def __init__(
        self,
        *,
        parameters: Parameters,
        coordinates: Coordinates,
        bases: Sequence[Basis],
        channels: Sequence[str],
        response: str | None = None,
        mode_labels: Sequence[Hashable] | None = None,
        time_unit: str | None = None,
        channel_units: Mapping[str, str] | None = None,
        time_axis: str = "forward",
        training: Mapping[str, Any] | None = None,
        conditions: Conditions | None = None,
        of_units: Conditions | None = None,
        column_kinds: Sequence[Sequence[str]] | None = None,
        processes: Sequence[ChannelProcess | None] | None = None,
    ) -> None:
        channels, bases = tuple(channels), tuple(bases)
        labels = tuple(range(parameters.n_modes)) if mode_labels is None else tuple(mode_labels)
        sizes = tuple(basis.size for basis in bases)
        if conditions is not None:
            if conditions.channels != channels:
                raise OptionError(
                    f"conditions are of the channels {listed(conditions.channels, 20)}; {listed(channels, 20)} were "
                    "expected"
                )
            sizes = tuple(p + len(own) for p, own in zip(sizes, conditions.by_mode, strict=True))
        if not (len(channels) == len(bases) == parameters.n_channels == len(coordinates.sizes)) or not (
            sizes == parameters.sizes == coordinates.sizes
        ):
            raise OptionError(
                f"a model of {len(channels)} channels whose bases have sizes {sizes} cannot have parameters of sizes "
                f"{parameters.sizes} in coordinates of sizes {coordinates.sizes}"
            )
        if len(set(channels)) != len(channels):
            raise OptionError(f"channels must have distinct names; found {listed(channels, 20)}")
        if len(labels) != parameters.n_modes or not all_distinct(labels):
            raise OptionError(
                f"mode_labels must be {parameters.n_modes} distinct labels, one per mode; found {labels!r}"
            )
        if response is not None and response not in channels:
            raise OptionError(f"response {response!r} is not a channel; {did_you_mean(response, channels)}")
        if time_axis not in _TIME_AXES:
            raise OptionError(f"time_axis={time_axis!r}: one of {', '.join(map(repr, _TIME_AXES))} was expected")
        if processes is not None and len(processes) != len(channels):
            raise OptionError(
                f"processes has {len(processes)} entries; None, or one for each of {len(channels)} channels, was "
                "expected"
            )
        if processes is not None and any(processes) and (
            conditions is not None or parameters.rank or time_axis != "forward"
        ):  # fmt: skip
            raise OptionError(
                "a model with processes has no covariates of readings, no linked channels, and the forward time axis"
            )
        if not all(basis.is_bound for basis in bases):
            raise OptionError("a model's bases must be bound to a domain; give basis.bind(times)")
        parts: dict[str, Any] = {
            "internal_parameters": parameters,
            "coordinates": coordinates,
            "bases": bases,
            "channels": channels,
            "response": response,
            "mode_labels": labels,
            "time_unit": time_unit,
            "time_axis": time_axis,
            "conditions": conditions,
            "of_units": of_units,
            "column_kinds": checked_kinds(column_kinds, tuple(basis.size for basis in bases)),
            "processes": None if processes is None or not any(processes) else tuple(processes),
            "_channel_units": dict(channel_units or {}),
            "_training": _copied(dict(training or {})),
            "_cache": {},
        }
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    # -- parameters in the panel's units --------------------------------------------------------------------------

    @property
    def n_modes(self) -> int:
        return self.internal_parameters.n_modes

    @property
    def n_channels(self) -> int:
        return len(self.channels)

    @property
    def channel_units(self) -> dict[str, str]:
        """Labels of the channels' units of measurement."""
        return dict(self._channel_units)

    @property
    def training(self) -> dict[str, Any]:
        """Record of the fit (a copy)."""
        return copy.deepcopy(self._training)

    def _adopt_record(self, training: dict[str, Any]) -> None:
        """Take over a record of the fit without a copy; only for the loader, before the model is used."""
        object.__setattr__(self, "_training", training)

    @property
    def basis_sizes_(self) -> tuple[int, ...]:
        """p_c, the number of coefficients of each channel's basis."""
        return tuple(basis.size for basis in self.bases)

    @property
    def weights_(self) -> FloatArray:
        """π, mode probabilities, shape (K,)."""
        return self.internal_parameters.weights

    @property
    def means_(self) -> FloatArray:
        """μ, mean coefficients, shape (K, C, p), NaN beyond p_c.

        ``bases[c](t) @ means_[k, c, :p_c]`` is the mean curve of mode k, in units of the channel.
        """
        return self._padded("means_")

    @property
    def covariance_factors_(self) -> FloatArray:
        """Λ, lower Cholesky factors of the random-effect covariances, shape (K, C, p, p), NaN beyond p_c."""
        return self._padded("covariance_factors_")

    @property
    def covariances_(self) -> FloatArray:
        """Σ = Λ Λᵀ, random-effect covariances, shape (K, C, p, p), NaN beyond p_c."""
        return self._padded("covariances_")

    @property
    def linking_rank(self) -> int:
        """r, the number of latent factors that the channels of a mode share, model.md (16); 0: independent."""
        return self.internal_parameters.rank

    @property
    def loadings_(self) -> FloatArray:
        """Loadings: what a shared factor adds to the coefficients, shape (K, C, p, r), NaN beyond p_c.

        ``bases[c](t) @ loadings_[k, c, :p_c, j]`` is what one standard deviation of factor j adds to a curve, in units
        of the channel; two channels have the covariance ``loadings_[k, c] @ loadings_[k, g].T``.
        """
        return self._padded("loadings_")

    @property
    def noise_variances_(self) -> FloatArray:
        """σ², residual variances, shape (K, C), in squared units of the channel."""
        return self._view("noise_variances_", self.user_parameters().noise_variances)

    def _view(self, name: str, values: FloatArray) -> FloatArray:
        if name not in self._cache:
            frozen = np.array(values)
            frozen.setflags(write=False)
            self._cache[name] = frozen
        return self._cache[name]

    def _padded(self, name: str) -> FloatArray:
        if name in self._cache:
            return self._cache[name]
        user = self.user_parameters()
        sizes = self.basis_sizes_
        p = max(sizes)
        last = {"means_": (p,), "loadings_": (p, user.rank)}.get(name, (p, p))
        values = np.full((self.n_modes, self.n_channels, *last), np.nan)
        if name == "loadings_":
            for k, c in np.ndindex(self.n_modes, self.n_channels):
                values[k, c, : sizes[c]] = (user.factor(k, c) @ user.loading(k, c))[: sizes[c]]
            return self._view(name, values)
        user = user.marginal()
        for c, p_c in enumerate(sizes):
            if name == "means_":
                values[:, c, :p_c] = user.layout.vector(user.means, c)[:, :p_c]
            else:
                factors = user.layout.matrix(user.factors, c)
                block = factors if name == "covariance_factors_" else factors @ np.swapaxes(factors, -1, -2)
                values[:, c, :p_c, :p_c] = block[:, :p_c, :p_c]
        return self._view(name, values)

    def user_parameters(self) -> Parameters:
        """Return the parameters in the panel's units: coefficients of `bases`, packed by channel.

        With linked channels, `factors` are those of Ψ = Cov(T | f), and `loadings` are whitened by them;
        `Parameters.marginal` gives Σ.

        Raises
        ------
        PredictionError
            Channels are linked, and the numbers of one channel are too far apart for float64.
        """
        internal, coordinates, layout = self.internal_parameters, self.coordinates, self.coordinates.layout
        means, factors = coordinates.in_user_terms(internal.means, internal.factors)
        noise = internal.noise_variances * np.square(coordinates.scales)
        without_variance(factors, layout, still_columns(self.column_kinds, self.basis_sizes_, coordinates.sizes))
        if internal.loadings is None:
            return replace(internal, means=means, factors=factors, noise_variances=noise)
        loadings = np.empty_like(internal.loadings)
        for c in range(self.n_channels):
            rows = slice(*layout.mean_offsets[c : c + 2])
            own = layout.matrix(internal.factors, c) @ internal.loadings[:, rows]  # Λ̃ Γ̃, then s S⁻¹ Λ̃ Γ̃
            own = coordinates.scales[c] * np.linalg.solve(coordinates.transform(c), own)
            try:
                loadings[:, rows] = whitened(layout.matrix(factors, c), own)
            except np.linalg.LinAlgError:
                raise PredictionError(
                    f"channel {self.channels[c]!r}: the factors of its coefficients' covariances are numerically "
                    "singular in the panel's units; the model's numbers are too far apart"
                ) from None
        return replace(internal, means=means, factors=factors, noise_variances=noise, loadings=loadings)

    def parameters(self, mode: Hashable, channel: str | int) -> ChannelParameters:
        """Return the parameters of one channel in one mode, in the panel's units.

        Parameters
        ----------
        mode : label or int
            A label of `mode_labels`; an integer that is not a label counts modes from 0.
        channel : str or int
            A name, or a position.

        Returns
        -------
        ChannelParameters
            mean (p_c,), covariance and covariance_factor (p_c, p_c), noise_variance.

        Raises
        ------
        OptionError
            There is no such mode.
        PredictionError
            There is no such channel.
        """
        k, c = self._mode_index(mode), self.channel_index(channel)
        user = self.user_parameters().marginal()
        factor = user.factor(k, c)
        p = self.bases[c].size
        factor = factor[:p, :p]
        return ChannelParameters(user.mean(k, c)[:p], factor @ factor.T, factor, float(user.noise_variances[k, c]))

    def _mode_index(self, mode: Hashable) -> int:
        if mode in self.mode_labels:
            return self.mode_labels.index(mode)
        if isinstance(mode, (int, np.integer)) and not isinstance(mode, bool) and 0 <= mode < self.n_modes:
            return int(mode)
        raise OptionError(f"there is no mode {mode!r}; the modes are {listed(self.mode_labels, 20)}")

    def channel_index(self, channel: str | int) -> int:
        """Return the position of a channel given by name or position; PredictionError if there is none.

        Parameters
        ----------
        channel : str or int
            Name or position.
        """
        if isinstance(channel, str) and channel in self.channels:
            return self.channels.index(channel)
        if isinstance(channel, (int, np.integer)) and not isinstance(channel, bool) and 0 <= channel < self.n_channels:
            return int(channel)
        raise PredictionError(f"the model has no channel {channel!r}; {did_you_mean(channel, self.channels)}")

    def curves(self, times: ArrayLike, covariates: Mapping[str, Any] | None = None) -> FloatArray:
        """Return the mean curve of each mode and channel, shape (K, C, m), in units of the channels.

        A model with covariates or regimes gives its curves at reference conditions by default: categories at their
        reference levels, effects of numbers at their average over the training readings (a linear one is there at the
        training mean), and the regime at the average of the training readings.

        Parameters
        ----------
        times : array_like of shape (m,)
            In the panel's time unit and from its origin; on the time to failure at most 0.
        covariates : mapping of name to value, optional
            Conditions in place of the reference: all covariates that channels depend on, those of units too; each a
            number or level, or an array of shape (m,).

        Raises
        ------
        PredictionError
            A curve overflows at one of the times (the message names the channel and the time), or a covariate is
            lacking, unknown, or has a value or shape that the model cannot use.
        """
        from cem.numerics.floating import overflow_at

        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        user = self.user_parameters()
        curves = np.empty((self.n_modes, self.n_channels, len(times)))
        given = None
        if covariates is not None:
            from cem.mixture.asked_conditions import channels_at

            given = channels_at(self, times, covariates)
        for c, basis in enumerate(self.bases):
            means = user.layout.vector(user.means, c)
            with np.errstate(over="ignore", invalid="ignore"):  # far from the domain
                if given is None:
                    curves[:, c] = means[:, : basis.size] @ basis(times).T
                else:
                    curves[:, c] = given[c].origins + given[c].factors * (means @ given[c].design.T)
            wrong = overflow_at(curves[:, c], times, self.channels[c], basis.domain)
            if wrong:
                raise PredictionError(wrong)
        return curves

    @property
    def process_(self) -> dict[str, ChannelProcess]:
        """How units wander about their curves: channel → kind, ratio ϱ per unit of time, and rate λ of an OU process.

        The process adds ϱ σ² per unit of time to the variance, with σ² of `noise_variances_`. Channels whose units do
        not wander are left out; a ratio of 0 says that the fit found no wander.
        """
        own = self.processes or ()
        return {name: process for name, process in zip(self.channels, own, strict=False) if process is not None}

    def _wander_variance(self, channel: int, ages: FloatArray) -> FloatArray:
        """Variance of a unit's wander at ages since its first reading, in units of σ²; 0 where units do not wander."""
        process = None if self.processes is None else self.processes[channel]
        return np.zeros_like(ages) if process is None else process.covariance(ages, ages)

    @property
    def domain(self) -> tuple[float, float]:
        """First and last training time over all channels."""
        return min(basis.domain[0] for basis in self.bases), max(basis.domain[1] for basis in self.bases)

    def compressed(self, panel: Panel) -> SufficientStatistics:
        """Sufficient statistics (9) of a panel that has the model's channels in order, on the model's time axis.

        Parameters
        ----------
        panel : Panel
            With the model's channels, as `FailureModeModel.with_own_channels` returns it.
        """
        from cem.mixture.conditioned import compressed_readings

        return self._with_membership(compressed_readings(self, panel), panel)

    def _with_membership(self, statistics: SufficientStatistics, panel: Panel) -> SufficientStatistics:
        """The statistics with what besides readings informs the modes of the panel's units, if anything does.

        Parameters
        ----------
        statistics : SufficientStatistics
            Of the panel's units, in their order.
        panel : Panel
            With its mode probabilities and covariates of units.

        Raises
        ------
        PanelError
            Mode probabilities have a label that is none of the model's modes.
        """
        from cem.panel.mode_priors import log_mode_priors

        design, mode_priors = self._membership_design(panel), log_mode_priors(panel, self.mode_labels)
        if design is None and mode_priors is None:
            return statistics
        return statistics.with_membership(design, mode_priors)

    def _mode_weights(self, panel: Panel) -> FloatArray:
        """Probabilities of the modes of a panel's units before their readings: (L, K), or (K,) if all have π.

        Parameters
        ----------
        panel : Panel
            With its mode probabilities and covariates of units.
        """
        from cem.mixture.membership import UnitModes  # a process that only scores does not need it
        from cem.panel.mode_priors import log_mode_priors

        modes, parameters = (
            UnitModes(self._membership_design(panel), log_mode_priors(panel, self.mode_labels)),
            self._prior,
        )
        logs = modes.log_weights(parameters)
        with np.errstate(under="ignore"):
            return parameters.weights if logs is None else np.exp(logs)

    @property
    def _prior(self) -> Parameters:
        """The parameters whose π and γ say how probable modes are before readings."""
        return self.internal_parameters

    def _membership_design(self, panel: Panel) -> FloatArray | None:
        """(1, f(u)) of the panel's units, (L, 1 + F); None if π does not depend on their covariates."""
        from cem.mixture.conditioned import unit_design

        return None if self.of_units is None else unit_design(self.of_units, panel)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates that the model needs with every reading."""
        own = () if self.conditions is None else self.conditions.columns
        return tuple(column.name for column in own if not column.of_unit)

    @property
    def unit_covariates(self) -> tuple[str, ...]:
        """Names of the covariates of units that the model needs."""
        own = () if self.conditions is None else self.conditions.columns
        names = [column.name for column in own if column.of_unit]
        names += [] if self.of_units is None else list(self.of_units.names)
        return tuple(dict.fromkeys(names))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a model is not changed once made; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a model is not changed once made; cannot delete {name!r}")

    def _arguments(self) -> dict[str, Any]:
        return {
            "parameters": self.internal_parameters,
            "coordinates": self.coordinates,
            "bases": self.bases,
            "channels": self.channels,
            "response": self.response,
            "mode_labels": self.mode_labels,
            "time_unit": self.time_unit,
            "channel_units": self._channel_units,
            "time_axis": self.time_axis,
            "training": self._training,
            "conditions": self.conditions,
            "of_units": self.of_units,
            "column_kinds": self.column_kinds,
            "processes": self.processes,
        }


def _copied(record: Any) -> Any:
    """A copy of a record; `copy.deepcopy` of the many starts of a search takes longer than some of them run."""
    if isinstance(record, dict):
        return {key: _copied(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return type(record)(map(_copied, record))
    return record if isinstance(record, (str, int, float, bool, type(None))) else copy.deepcopy(record)
