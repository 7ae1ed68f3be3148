"""The fitted model: everything that scoring new units needs, and nothing of the training data."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.basis.family import Basis
from cem.errors import OptionError, PredictionError
from cem.errors.names import all_distinct, did_you_mean, listed, object_array
from cem.mixture.parameters import Coordinates, Parameters

# What streaming does not need is imported by the method that does: a process that loads a model and scores readings
# starts in a third of the time.
if TYPE_CHECKING:
    import os

    from cem.mixture.prediction import Evidence, Forecast, Posterior
    from cem.model.summary import Summary
    from cem.panel.panel import Panel
    from cem.passage.first_passage import FirstPassage
    from cem.scoring.scorer import Scorer
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["ChannelParameters", "FailureModeModel"]

FloatArray = NDArray[np.float64]

# A Panel, an array, or a data frame of whichever library.
Data = Any
Axes = str | Sequence[str] | None

_TIME_AXES = ("forward", "to_failure")
_SLOTS = (
    "_cache",
    "_channel_units",
    "_training",
    "bases",
    "channels",
    "coordinates",
    "internal_parameters",
    "mode_labels",
    "response",
    "time_axis",
    "time_unit",
)


class ChannelParameters(NamedTuple):
    """Parameters of one channel in one mode, in the user's terms and without padding."""

    mean: FloatArray  # (p_c,)      μ_kc
    covariance: FloatArray  # (p_c, p_c)  Σ_kc
    covariance_factor: FloatArray  # (p_c, p_c)  Λ_kc, lower triangular
    noise_variance: float  # σ²_kc, in squared units of the channel


class FailureModeModel:
    """A fitted mixture of linear mixed-effects models, model.md §2; immutable.

    Most models come from `FailureModeEM.fit` or `cem.load`.

    Parameters
    ----------
    parameters : Parameters
        In internal coordinates.
    coordinates : Coordinates
        What the internal coordinates are.
    bases : sequence of Basis
        The bound basis of each channel.
    channels : sequence of str
    response : str, optional
        The channel that `forecast` forecasts by default.
    mode_labels : sequence of hashable, optional
        Distinct; 0, 1, ... by default.
    time_unit : str, optional
        Label of the unit of times.
    channel_units : mapping of str to str, optional
        Labels of the channels' units of measurement.
    time_axis : {"forward", "to_failure"}
        Whether curves run over the time, or over the time to failure.
    training : mapping, optional
        Record of the fit that JSON can hold; `summary` reports it.

    Attributes
    ----------
    internal_parameters : Parameters
    coordinates, bases, channels, response, mode_labels, time_unit, time_axis
        As given.

    Raises
    ------
    OptionError
        The parts do not fit each other.
    """

    __slots__ = _SLOTS

    internal_parameters: Parameters
    coordinates: Coordinates
    bases: tuple[Basis, ...]
    channels: tuple[str, ...]
    response: str | None
    mode_labels: tuple[Hashable, ...]
    time_unit: str | None
    time_axis: str
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
    ) -> None:
        channels, bases = tuple(channels), tuple(bases)
        labels = tuple(range(parameters.n_modes)) if mode_labels is None else tuple(mode_labels)
        sizes = tuple(basis.size for basis in bases)
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
            "_channel_units": dict(channel_units or {}),
            "_training": copy.deepcopy(dict(training or {})),
            "_cache": {},
        }
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    # -- what it holds, in the user's terms -----------------------------------------------------------------------

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
        """Record of the fit: a copy."""
        return copy.deepcopy(self._training)

    def _adopt_record(self, training: dict[str, Any]) -> None:
        """Take a record of the fit that nobody else holds, without a copy: for the loader, before the model is used."""
        object.__setattr__(self, "_training", training)

    @property
    def basis_sizes_(self) -> tuple[int, ...]:
        """p_c, the number of coefficients of each channel."""
        return self.internal_parameters.sizes

    @property
    def weights_(self) -> FloatArray:
        """π, mode probabilities, shape (K,)."""
        return self.internal_parameters.weights

    @property
    def means_(self) -> FloatArray:
        """μ, coefficient means, shape (K, C, p), NaN beyond p_c: ``bases[c](t) @ means_[k, c, :p_c]`` is a curve."""
        return self._padded("means_")

    @property
    def covariance_factors_(self) -> FloatArray:
        """Λ, lower Cholesky factors of the coefficients' covariances, shape (K, C, p, p), NaN beyond p_c."""
        return self._padded("covariance_factors_")

    @property
    def covariances_(self) -> FloatArray:
        """Σ = Λ Λᵀ, shape (K, C, p, p), NaN beyond p_c."""
        return self._padded("covariances_")

    @property
    def linking_rank(self) -> int:
        """r, how many factors the channels of a mode share, model.md (16); 0: they are independent."""
        return self.internal_parameters.rank

    @property
    def loadings_(self) -> FloatArray:
        """What a shared factor adds to the coefficients, shape (K, C, p, r), NaN beyond p_c.

        ``bases[c](t) @ loadings_[k, c, :p_c, j]`` is what one standard deviation of factor j adds to a curve, in units
        of the channel; two channels have the covariance ``loadings_[k, c] @ loadings_[k, g].T``.
        """
        return self._padded("loadings_")

    @property
    def noise_variances_(self) -> FloatArray:
        """σ², shape (K, C), in squared units of the channel."""
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
        p = max(user.sizes)
        last = {"means_": (p,), "loadings_": (p, user.rank)}.get(name, (p, p))
        values = np.full((self.n_modes, self.n_channels, *last), np.nan)
        if name == "loadings_":
            for k, c in np.ndindex(self.n_modes, self.n_channels):
                values[k, c, : user.sizes[c]] = user.factor(k, c) @ user.loading(k, c)
            return self._view(name, values)
        user = user.marginal()
        for c, p_c in enumerate(user.sizes):
            if name == "means_":
                values[:, c, :p_c] = user.layout.vector(user.means, c)
            else:
                factors = user.layout.matrix(user.factors, c)
                block = factors if name == "covariance_factors_" else factors @ np.swapaxes(factors, -1, -2)
                values[:, c, :p_c, :p_c] = block
        return self._view(name, values)

    def user_parameters(self) -> Parameters:
        """Parameters in the user's terms, packed by channel: coefficients of `bases`, in units of the channels.

        Where channels are linked, `factors` are those of Ψ = Cov(T | f), and `loadings` are whitened by them;
        `Parameters.marginal` gives Σ.

        Raises
        ------
        PredictionError
            Channels are linked, and the numbers of one are too far apart for float64.
        """
        internal, coordinates, layout = self.internal_parameters, self.coordinates, self.coordinates.layout
        means, factors = np.empty_like(internal.means), np.empty_like(internal.factors)
        for c in range(self.n_channels):
            layout.vector(means, c)[:] = coordinates.coefficients(layout.vector(internal.means, c), c)
            layout.matrix(factors, c)[:] = coordinates.covariance_factor(layout.matrix(internal.factors, c), c)
        noise = internal.noise_variances * np.square(coordinates.scales)
        if internal.loadings is None:
            return Parameters(internal.weights, means, factors, noise, internal.sizes)
        loadings = np.empty_like(internal.loadings)
        for c in range(self.n_channels):
            rows = slice(*layout.mean_offsets[c : c + 2])
            own = layout.matrix(internal.factors, c) @ internal.loadings[:, rows]  # Λ̃ Γ̃, then s S⁻¹ Λ̃ Γ̃
            own = coordinates.scales[c] * np.linalg.solve(coordinates.transform(c), own)
            try:
                loadings[:, rows] = np.linalg.solve(layout.matrix(factors, c), own)
            except np.linalg.LinAlgError:
                raise PredictionError(
                    f"channel {self.channels[c]!r}: the factors of its coefficients' covariances cannot be told from "
                    "singular ones in the user's terms; the model's numbers are too far apart"
                ) from None
        return Parameters(internal.weights, means, factors, noise, internal.sizes, loadings)

    def parameters(self, mode: Hashable, channel: str | int) -> ChannelParameters:
        """Parameters of one channel in one mode, in the user's terms.

        Parameters
        ----------
        mode : label or int
            A label of `mode_labels`; an integer that is no label counts modes from 0.
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
        return ChannelParameters(user.mean(k, c), factor @ factor.T, factor, float(user.noise_variances[k, c]))

    def _mode_index(self, mode: Hashable) -> int:
        if mode in self.mode_labels:
            return self.mode_labels.index(mode)
        if isinstance(mode, (int, np.integer)) and not isinstance(mode, bool) and 0 <= mode < self.n_modes:
            return int(mode)
        raise OptionError(f"there is no mode {mode!r}; the modes are {listed(self.mode_labels, 20)}")

    def channel_index(self, channel: str | int) -> int:
        """Position of a channel given by name or position; PredictionError where there is none."""
        if isinstance(channel, str) and channel in self.channels:
            return self.channels.index(channel)
        if isinstance(channel, (int, np.integer)) and not isinstance(channel, bool) and 0 <= channel < self.n_channels:
            return int(channel)
        raise PredictionError(f"the model has no channel {channel!r}; {did_you_mean(channel, self.channels)}")

    def curves(self, times: ArrayLike) -> FloatArray:
        """Mean curve of each mode and channel, shape (K, C, m), in units of the channels.

        Raises
        ------
        PredictionError
            A curve overflows at one of the times; names the channel and the time.
        """
        from cem.numerics.floating import overflow_at

        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        user = self.user_parameters()
        curves = np.empty((self.n_modes, self.n_channels, len(times)))
        for c, basis in enumerate(self.bases):
            design = basis(times)
            with np.errstate(over="ignore", invalid="ignore"):  # far from the domain
                curves[:, c] = user.layout.vector(user.means, c) @ design.T
            wrong = overflow_at(curves[:, c], times, self.channels[c], basis.domain)
            if wrong:
                raise PredictionError(wrong)
        return curves

    @property
    def domain(self) -> tuple[float, float]:
        """First and last training time over all channels."""
        return min(basis.domain[0] for basis in self.bases), max(basis.domain[1] for basis in self.bases)

    # -- scoring --------------------------------------------------------------------------------------------------

    def predict_proba(
        self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None, n_jobs: int = 1
    ) -> FloatArray:
        """Mode probabilities of each unit given its readings, model.md (3); shape (L, K).

        Parameters
        ----------
        X : Panel, data frame, or array_like of shape (units, times) or (units, times, channels)
            Channels are matched by name; those that are absent, the response for one, count as missing. Labels are
            not looked at. Arrays hold the model's channels in order, with or without the response; NaN = missing. A
            data frame is read as the one that the model was fitted to, and must have all channels but the response.
        times : array_like of shape (times,) or (units, times), optional
            With arrays alone; may be left out where the model was fitted at 0, 1, 2, ...
        axes : sequence of str, optional
            What the axes of a three-dimensional array are, as for `Panel.from_arrays`.
        n_jobs : int
            Threads.

        Raises
        ------
        PredictionError
            An unknown channel; an array without times for a model that was fitted with times; a clock or a unit of
            measurement that is not that of the training panel; a running unit where the model's time axis is the time
            to failure.
        PanelError
            X cannot be read as a panel.
        """
        return self._evidence(X, times, n_jobs, axes).mode_probabilities

    def predict(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None, n_jobs: int = 1) -> NDArray[Any]:
        """Label of the most probable mode of each unit, shape (L,); arguments as for `predict_proba`."""
        best = self.predict_proba(X, times, axes=axes, n_jobs=n_jobs).argmax(axis=1)
        kinds = {type(label) for label in self.mode_labels}
        alike = len(kinds) == 1 and kinds <= {int, str, float, bool}
        labels = np.array(self.mode_labels) if alike else object_array(self.mode_labels)
        found: NDArray[Any] = labels[best]
        return found

    def score_samples(
        self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None, n_jobs: int = 1
    ) -> FloatArray:
        """Marginal log-likelihood log Σ_k π_k P(x_l | k) of each unit, in the panel's own units; shape (L,)."""
        return self._evidence(X, times, n_jobs, axes).log_likelihoods

    def score(self, X: Data, y: object = None, times: ArrayLike | None = None, *, axes: Axes = None) -> float:
        """Mean marginal log-likelihood per unit; `y` is there for scikit-learn and not looked at."""
        return float(self.score_samples(X, times, axes=axes).mean())

    def posterior(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> Posterior:
        """Posterior means and covariances of each unit's coefficients under each mode, model.md (4)."""
        from cem.mixture import prediction

        return prediction.posterior(self.statistics(X, times, axes=axes), self.internal_parameters, self.mode_labels)

    def novelty(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> FloatArray:
        """Tail probability of each unit's misfit under its most probable mode, shape (L,).

        Uniform on [0, 1] for units like those of the training; small: like nothing that the model was trained on.
        """
        from cem.mixture import prediction

        return prediction.novelty(self._evidence(X, times, 1, axes))

    def forecast(
        self, X: Data, times: ArrayLike, channel: str | int | None = None, *, axes: Axes = None, noise: bool = True
    ) -> Forecast:
        """Predictive distribution of a channel, at any times, given all readings of each unit (model.md §7).

        Parameters
        ----------
        X : Panel, data frame, or array_like of shape (units, times) or (units, times, channels)
            What the units have shown, as for `predict_proba`; an array has readings at 0, 1, 2, ..., and will do only
            where the model was fitted at such times.
        times : float, or array_like of shape (m,) or (L, m)
            In the panel's time unit and from its origin, the same for all units or unit by unit.
        channel : str or int, optional
            The response by default.
        axes : sequence of str, optional
            As for `predict_proba`.
        noise : bool
            True: of a reading; False: of the curve behind it.

        Returns
        -------
        Forecast
            mean, variance, quantile, interval, and the modes' parts.

        Raises
        ------
        PredictionError
            No channel given to a model without a response, an unknown channel, times of the wrong shape or not finite,
            or so far from those of the training that the forecast overflows.
        """
        from cem.mixture import prediction

        if channel is None:
            if self.response is None:
                raise PredictionError(
                    f"the model has no response; name the channel to forecast, one of {listed(self.channels, 12)}"
                )
            channel = self.response
        c = self.channel_index(channel)
        asked = np.atleast_1d(np.asarray(times, dtype=np.float64))
        given = self._as_panel(X, None, axes, "X (what the units have shown)")
        panel = self._aligned(given)
        if asked.ndim > 2 or (asked.ndim == 2 and len(asked) != panel.n_units):
            raise PredictionError(
                f"times has shape {asked.shape}; (m,), the same for all units, or ({panel.n_units}, m), one row per "
                "unit, was expected"
            )
        if not np.isfinite(asked).all():
            bad = np.argwhere(~np.isfinite(asked))[0]
            where = f"of unit {panel.units[bad[0]]!r} " if asked.ndim == 2 else ""
            raise PredictionError(f"time {bad[-1]} {where}is {asked[tuple(bad)]}; finite times were expected")
        on_axis = asked
        if self.time_axis == "to_failure":
            on_axis = asked - self._failure_times(given)[:, None]
        return prediction.forecast_channel(
            self._compressed(panel), self.internal_parameters, self.mode_labels, c, on_axis, asked, noise
        )

    def remaining_life(
        self,
        panel: Panel,
        threshold: ArrayLike | Mapping[Hashable, float],
        *,
        channel: str | int | None = None,
        direction: Literal["auto", "upper", "lower"] = "auto",
        **options: Any,
    ) -> FirstPassage:
        """Law of the time left until each unit's own noise-free curve first crosses a threshold (model.md §7).

        Conditional on the curve not having crossed it since the unit's first reading; the probability that it has is
        reported beside it. For alignment at failure, without a threshold, see `cem.RemainingLife`.

        Parameters
        ----------
        panel : Panel
            Running units, as for `predict_proba`.
        threshold : float, array_like of shape (K,) or (L, K), or mapping of mode label to float
            In units of the channel.
        channel : str or int, optional
            The response by default.
        direction : {"auto", "upper", "lower"}
            Crossed at or above the threshold, or at or below it. "auto": from the side where the modes' mean curves
            begin; it is an error where they do not say.
        options
            horizon, n_draws, n_cells, random_state: as for `cem.passage.first_passage.first_passage`.

        Returns
        -------
        FirstPassage
            Of L units.

        Raises
        ------
        OptionError
            The model's time axis is the time to failure, the threshold or direction is none, or the mean curves do not
            say from which side the threshold is crossed.
        PredictionError
            There is no such channel, or none was named and the model has no response.

        Warns
        -----
        ThresholdWarning
            By the direction given every unit has crossed the threshold from the start, since it moves the other way.
        """
        from cem.passage.threshold import remaining_life_to_threshold

        return remaining_life_to_threshold(self, panel, threshold, channel, direction, options)

    def statistics(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> SufficientStatistics:
        """Sufficient statistics of a panel in the model's coordinates; arguments as for `predict_proba`."""
        return self._compressed(self._aligned(self._as_panel(X, times, axes)))

    def _evidence(self, X: Data, times: ArrayLike | None, n_jobs: int, axes: Axes) -> Evidence:
        from cem.mixture import prediction

        if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
            raise OptionError(f"n_jobs={n_jobs!r}: a number of threads, or -1 for one a core, was expected")
        if n_jobs == -1:
            import os

            n_jobs = os.cpu_count() or 1
        return prediction.evidence(self.statistics(X, times, axes=axes), self.internal_parameters, int(n_jobs))

    def _compressed(self, panel: Panel) -> SufficientStatistics:
        from cem.statistics.sufficient import SufficientStatistics

        return SufficientStatistics.from_panel(panel, self.bases, coordinates=self.coordinates, kernel="plain")

    def _as_panel(self, X: Data, times: ArrayLike | None, axes: Axes = None, what: str = "X") -> Panel:
        from cem.panel.panel import Panel

        if isinstance(X, Panel) and times is None and axes is None:
            return X
        from cem.model.inputs import panel_to_score

        return panel_to_score(self, X, times=times, axes=axes, what=what)

    def _aligned(self, panel: Panel) -> Panel:
        """The panel with the model's channels in the model's order, on the model's time axis."""
        panel = self.with_own_channels(panel)
        if self.time_axis == "to_failure":
            self._failure_times(panel)
            panel = panel.aligned_at_failure()
        return panel

    def with_own_channels(self, panel: Panel) -> Panel:
        """The panel with the model's channels in the model's order, those that it lacks missing; its times as given.

        Channels that the fit left out, since they did not vary, are left out here too.

        Raises
        ------
        PredictionError
            A channel that the model does not know; a unit of time, an origin or a unit of measurement that is not that
            of the training panel.

        Warns
        -----
        ClockWarning
            The panel does not say what its times are, and they do not look like those of the training panel.
        """
        left_out = self._training.get("left_out_channels", ())
        unknown = [name for name in panel.channels if name not in self.channels and name not in left_out]
        if unknown:
            raise PredictionError(
                f"the model has no channel {unknown[0]!r}; {did_you_mean(unknown[0], self.channels)}; "
                "or leave the channel out: panel.select_channels([...])"
            )
        from cem.model.clock_match import check_clock, check_measures

        check_measures(self, panel)
        check_clock(self, panel)
        return self._in_own_channels(panel)

    def _in_own_channels(self, panel: Panel) -> Panel:
        """The panel with the model's channels in the model's order; those that the model lacks are left out."""
        if panel.channels == self.channels:
            return panel
        known = [name for name in panel.channels if name in self.channels]
        values = np.full((len(panel.times), self.n_channels), np.nan)
        taken = [panel.channels.index(name) for name in known]
        values[:, [self.channels.index(name) for name in known]] = panel.values[:, taken]
        return panel._replace(channels=self.channels, values=values, response=None, _channel_units={})

    def _failure_times(self, panel: Panel) -> FloatArray:
        """Failure times of a panel that is to be aligned at them."""
        running = np.flatnonzero(np.isnan(panel.failure_times))
        if running.size:
            raise PredictionError(
                f"unit {panel.units[running[0]]!r} is still running, and this model's time axis is the time to "
                f"failure, which is unknown for it ({running.size:,} such units); score running units by their "
                "remaining life, or leave them out"
            )
        return panel.failure_times

    # -- drawing, reporting, keeping ------------------------------------------------------------------------------

    def sample(
        self,
        n_units: int,
        times: Any,
        *,
        modes: Sequence[Hashable] | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> Panel:
        """Draw units from the model.

        Parameters
        ----------
        n_units : int
        times : array_like of shape (n,), or one array per unit
            On the model's time axis; where that is the time to failure, at most 0.
        modes : sequence of labels, length n_units, optional
            Drawn from the weights by default.
        random_state : int or Generator, optional

        Returns
        -------
        Panel
            Its `true_modes` are those drawn from. Its `modes` are unknown, so that a fit has to find them.

        Raises
        ------
        OptionError
            `n_units`, `times` or `modes` cannot be drawn from; readings would overflow at one of the times.
        """
        from cem.model.sample import draw_units

        return draw_units(self, n_units, times, modes=modes, random_state=random_state)

    def summary(self) -> Summary:
        """Modes, their curves, and how the fit went: print it, or take its `frames`."""
        from cem.model.summary import summarise

        return summarise(self)

    def scorer(self) -> Scorer:
        """The model packed for scoring single readings as they arrive."""
        if self.linking_rank:
            from cem.scoring.linked_scorer import LinkedScorer

            return LinkedScorer(self)
        from cem.scoring.scorer import Scorer

        return Scorer(self)

    def export_c(
        self, path: str | os.PathLike[str] | None = None, *, name: str = "fleet", scalar: str = "double"
    ) -> str:
        """The model as one C99 header without dependencies; see `cem.export.codegen.export_c`."""
        from cem.export.codegen import export_c

        return export_c(self, path, name=name, scalar=scalar)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file; `cem.load` reads it.

        The file is written under another name in the same directory, synchronised and renamed: the new one is there
        whole, or the old one still is. A symbolic link stays one, and its target is written. A file that is replaced
        hands on its mode, and its owner and group where the process may set them; hard links to it keep the old
        content.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        ModelFileError
            The file cannot be written, the path leads to a directory, a device, a pipe or a socket, or a label cannot
            be kept in JSON.
        BasisError
            A `Custom` basis is a function that cannot be imported by name.

        Warns
        -----
        StaleFileWarning
            Temporary files of killed processes are beside the file; they can be deleted.
        """
        from cem.model.file import save

        save(self, path)

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
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._arguments(),)

    def __repr__(self) -> str:
        weights = ", ".join(
            f"{label!r} {weight:.3g}" for label, weight in zip(self.mode_labels, self.weights_, strict=True)
        )
        response = f", response {self.response!r}" if self.response is not None else ""
        return (
            f"FailureModeModel: {self.n_modes} modes ({weights}), channels {listed(self.channels)}{response}, "
            f"time axis {self.time_axis!r}"
        )


def _restore(arguments: dict[str, Any]) -> FailureModeModel:
    return FailureModeModel(**arguments)
