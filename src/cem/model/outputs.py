"""What a fitted model says of units: their modes, likelihoods, forecasts, residuals and remaining lives."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PredictionError
from cem.errors.names import did_you_mean, listed, object_array
from cem.mixture.fitted import FittedMixture

# Methods import what streaming does not need, so that a process that loads a model and scores readings starts in a
# third of the time.
if TYPE_CHECKING:
    from cem.mixture.asked_conditions import GivenCovariates
    from cem.mixture.prediction import Evidence, Forecast, Posterior
    from cem.model.classification import Classification
    from cem.model.residuals import Residuals
    from cem.panel.panel import Panel
    from cem.passage.first_passage import FirstPassage
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["Axes", "Data", "ModelOutputs"]

FloatArray = NDArray[np.float64]

# A Panel, an array, or a data frame of any library.
Data = Any
Axes = str | Sequence[str] | None


class ModelOutputs(FittedMixture):
    """Base of `FailureModeModel`: a fitted mixture that answers questions about units from their readings."""

    __slots__ = ()

    def predict_proba(
        self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None, n_jobs: int = 1
    ) -> FloatArray:
        """Return the posterior mode probabilities of each unit given its readings, model.md (3), shape (L, K).

        Parameters
        ----------
        X : Panel, data frame, or array_like of shape (units, times) or (units, times, channels)
            Channels are matched by name; absent ones, such as the response, count as missing. Mode labels are ignored.
            An array has the model's channels in order, with or without the response; NaN = missing. A data frame is
            read like the training frame, and must have all channels but the response.
        times : array_like of shape (times,) or (units, times), optional
            Times of an array's readings. You may leave them out if the model was fitted at 0, 1, 2, ...
        axes : sequence of str, optional
            What the axes of a three-dimensional array are, as for `Panel.from_arrays`.
        n_jobs : int
            Number of threads; -1 means one per core.

        Raises
        ------
        PredictionError
            An unknown channel; an array without times for a model that was fitted with times; an array for a model that
            needs covariates, or a covariate that is absent, missing at a reading, or of an unknown level or regime; a
            clock or a unit of measurement other than the training panel's; a running unit, if the model's time axis is
            the time to failure.
        PanelError
            X cannot be read as a panel.
        """
        return self._evidence(X, times, n_jobs, axes).mode_probabilities

    def probability_frame(
        self,
        X: Data,
        times: ArrayLike | None = None,
        *,
        axes: Axes = None,
        n_jobs: int = 1,
        backend: str | None = None,
    ) -> Any:
        """Return `predict_proba` as a data frame: the units' ids, and a column for each mode, named by its label.

        A label whose text is that of another label, or "unit", gives a column such as ``mode 1``.

        Parameters
        ----------
        X, times, axes, n_jobs
            As for `predict_proba`.
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.

        Raises
        ------
        PredictionError, PanelError
            As for `predict_proba` and `cem.Panel.to_frame`.
        OptionError
            The backend is unknown.
        """
        from cem.model.tables import probability_frame

        return probability_frame(self, self._as_panel(X, times, axes), n_jobs, backend)

    def predict(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None, n_jobs: int = 1) -> NDArray[Any]:
        """Return the label of the most probable mode of each unit, shape (L,); arguments as for `predict_proba`."""
        best = self.predict_proba(X, times, axes=axes, n_jobs=n_jobs).argmax(axis=1)
        kinds = {type(label) for label in self.mode_labels}
        alike = len(kinds) == 1 and kinds <= {int, str, float, bool}
        labels = np.array(self.mode_labels) if alike else object_array(self.mode_labels)
        found: NDArray[Any] = labels[best]
        return found

    def score_samples(
        self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None, n_jobs: int = 1
    ) -> FloatArray:
        """Return each unit's marginal log-likelihood log Σ_k π_k P(x_l | k), in the panel's own units, shape (L,).

        Parameters
        ----------
        X, times, axes, n_jobs
            As for `predict_proba`.
        """
        return self._evidence(X, times, n_jobs, axes).log_likelihoods

    def score(self, X: Data, y: object = None, times: ArrayLike | None = None, *, axes: Axes = None) -> float:
        """Return the mean marginal log-likelihood per unit; `y` is ignored (it is there for scikit-learn).

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
        y
            For scikit-learn's signature; not used.
        """
        return float(self.score_samples(X, times, axes=axes).mean())

    def posterior(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> Posterior:
        """Return the posterior means and covariances of each unit's random effects under each mode (model.md (4)).

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
        """
        from cem.mixture import prediction

        panel = self._aligned(self._as_panel(X, times, axes))
        found = prediction.posterior(self.compressed(panel), self.internal_parameters, self.mode_labels)
        return prediction.of_backend(found, panel._backend)

    def novelty(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> FloatArray:
        """Return how typical each unit is of its most probable mode: a tail probability, shape (L,).

        A value near 0 means that the unit looks like nothing in the training data. At the true parameters it is nearly
        uniform on [0, 1] for units like the training units. Where these are few, too many of their like are near 0:
        `with_uncertainty` mends that.

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
        """
        from cem.mixture import prediction

        return prediction.novelty(self._evidence(X, times, 1, axes))

    def residuals(
        self,
        X: Data,
        kind: Literal["subject", "marginal", "quantile"] = "subject",
        *,
        mode: Hashable | None = None,
        times: ArrayLike | None = None,
        axes: Axes = None,
        random_state: int | np.random.Generator | None = 0,
    ) -> Residuals:
        """Return what the readings of units leave unexplained, and how much of it is usual (model.md, "After the fit").

        Parameters
        ----------
        X : Panel, data frame, or array_like
            As for `predict_proba`: mode labels are ignored, and on the time to failure all units have failed.
        kind : {"subject", "marginal", "quantile"}
            "subject": readings less the unit's own curve. Are the noise and the basis right? "marginal": less the mean
            curve of the unit's mode. Are the mean curves right? "quantile": normal scores of F(reading | the unit's
            earlier readings) under the whole mixture; independent and standard normal if the model holds. Is all of it
            right? Readings that are rounded to a decimal step are placed at random within it.
        mode : label, optional
            Take all units under this mode; by default curves are averaged over the modes by each unit's probabilities.
        times, axes : optional
            As for `predict_proba`.
        random_state : int, Generator or None
            Seed of these places.

        Raises
        ------
        OptionError
            The kind is unknown, or there is no such mode.
        PredictionError, PanelError
            As for `predict_proba`.
        """
        from cem.model.residuals import residuals_of

        return residuals_of(self, self._as_panel(X, times, axes), kind, mode, random_state)

    def classification(
        self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None, n_jobs: int = 1
    ) -> Classification:
        """Return how surely units are classified: mean probabilities, odds of correct classification, entropy.

        Parameters
        ----------
        X, times, axes, n_jobs
            As for `predict_proba`; labels of the units are ignored, so it says how well readings alone classify.
        """
        from cem.model.classification import classification_of

        return classification_of(self, self._as_panel(X, times, axes), n_jobs)

    def forecast(
        self,
        X: Data,
        times: ArrayLike,
        channel: str | int | None = None,
        *,
        axes: Axes = None,
        noise: bool = True,
        covariates: GivenCovariates = None,
    ) -> Forecast:
        """Forecast a channel at any times, from all readings of each unit (model.md, "Prognosis").

        Parameters
        ----------
        X : Panel, data frame, or array_like of shape (units, times) or (units, times, channels)
            The units' readings so far, as for `predict_proba`. An array's readings are at 0, 1, 2, ..., so it works
            only if the model was fitted at such times.
        times : float, or array_like of shape (m,) or (L, m)
            Times to forecast, in the panel's time unit and from its origin: the same for all units, or a row per unit.
        channel : str or int, optional
            The response by default.
        axes : sequence of str, optional
            As for `predict_proba`.
        noise : bool, default True
            True: forecast a reading. False: forecast the curve behind it, and how far the unit has wandered from it if
            the model has a process.
        covariates : mapping of name to value, or "last", optional
            The covariates at the times to forecast, if the channel depends on any: a number or level, or an array of
            shape (m,) or (L, m). "last" takes those that each unit read last. Covariates of units come from X.

        Returns
        -------
        Forecast
            Predictive mixture with mean, variance, quantile, interval, and the parts of the modes.

        Raises
        ------
        PredictionError
            No channel is given and the model has no response; an unknown channel; times of the wrong shape, not
            finite, or so far from the training times that the forecast overflows; covariates that the channel depends
            on are not given, are unknown to the model, or have values or shapes that it cannot use.
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
        at = None
        if self.conditions is not None or covariates is not None:
            from cem.mixture.asked_conditions import forecast_conditions

            on_axis, asked, at = forecast_conditions(self, c, panel, covariates, on_axis, asked)
        level = None
        if self.processes is not None:
            from cem.mixture.process_forecast import level_at

            level = level_at(self, panel, c, on_axis)
        of_process = () if level is None else (level,)
        found = self._forecast_of(self.compressed(panel), c, on_axis, asked, noise, at, *of_process)
        return prediction.of_backend(found, panel._backend)

    def remaining_life(
        self,
        panel: Panel,
        threshold: ArrayLike | Mapping[Hashable, float],
        *,
        channel: str | int | None = None,
        direction: Literal["auto", "upper", "lower"] = "auto",
        covariates: GivenCovariates = None,
        gate: Literal["auto", "on"] | None = "auto",
        **options: Any,
    ) -> FirstPassage:
        """Predict when each unit's own noise-free curve first crosses a threshold (first-passage time).

        The prediction is conditional on no crossing since the unit's first reading; the probability of an earlier
        crossing is reported beside it. If you have units that ran to failure and no threshold, use
        `cem.RemainingLife`. Where units wander about their curves (``process=``), what crosses is the curve and the
        wander together, from the present level on, and the condition is that this level is not beyond the threshold.

        Parameters
        ----------
        panel : Panel
            Running units, as for `predict_proba`.
        threshold : float, array_like of shape (K,) or (L, K), or mapping of mode label to float
            In units of the channel.
        channel : str or int, optional
            The response by default.
        direction : {"auto", "upper", "lower"}, default "auto"
            "upper": crossed at or above the threshold. "lower": at or below it. "auto": from the side where the modes'
            mean curves begin; an error if they do not agree.
        covariates : mapping of name to value, or "last", optional
            The conditions, if the channel depends on any: for each covariate a number or level, or an array of shape
            (L,). "last" takes those that each unit read last. They are constant: what crosses the threshold is the
            curve of the unit at these conditions, and its past, too, counts as if it had run at them. Covariates of
            units come from the panel.
        gate : {"auto", "on"}, optional
            "auto": a reading that lies far outside of every mode is not entered, and `flags` of the law count such
            readings and name units whose time is beyond training. If the last two readings of the threshold's channel
            are out on the threshold's side, they are believed. "on": also how well each unit and each of its channels
            fits a mode, which takes as long again as its mode probabilities. None: every reading counts.
        options
            horizon, n_draws, n_cells, random_state, monotone: as for `cem.passage.first_passage.first_passage`.

        Returns
        -------
        FirstPassage
            Remaining lives of L units, counted from each unit's last reading.

        Raises
        ------
        OptionError
            The model's time axis is the time to failure, the threshold or direction is invalid, or the mean curves do
            not show from which side the threshold is crossed.
        PredictionError
            The channel is unknown, or none is given and the model has no response; covariates that the channel depends
            on are not given, are unknown to the model, or have values or shapes that it cannot use.

        Warns
        -----
        ThresholdWarning
            With the given direction every unit has crossed the threshold from the start, and moves away from it.
        """
        from cem.passage.threshold import remaining_life_to_threshold

        entered = None
        if gate is not None:
            from functools import partial

            from cem.model.forward_fits import gated

            entered = partial(gated, self, gate=gate)
        panel = self._as_panel(panel, None, what="panel")
        return remaining_life_to_threshold(
            self, self._component_posterior, panel, threshold, channel, direction, options, covariates, entered
        )

    def _component_posterior(self, panel: Panel) -> Posterior:
        """The posterior under each component of the modes; here modes have no components."""
        return self.posterior(panel)

    def statistics(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> SufficientStatistics:
        """Return the sufficient statistics of a panel in the model's coordinates; arguments as for `predict_proba`."""
        return self.compressed(self._aligned(self._as_panel(X, times, axes)))

    def _evidence(self, X: Data, times: ArrayLike | None, n_jobs: int, axes: Axes) -> Evidence:
        if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
            raise OptionError(f"n_jobs={n_jobs!r}: a number of threads, or -1 for one per core, was expected")
        if n_jobs == -1:
            import os

            n_jobs = os.cpu_count() or 1
        panel = self._aligned(self._as_panel(X, times, axes))
        found = self._evidence_of(self.compressed(panel), int(n_jobs))
        if self.conditions is None or self.conditions.regimes is None:
            return found
        from cem.mixture.conditioned import map_jacobian

        return found._replace(log_likelihoods=found.log_likelihoods + map_jacobian(self, panel))

    def _evidence_of(self, statistics: SufficientStatistics, n_threads: int) -> Evidence:
        from cem.mixture import prediction

        return prediction.evidence(statistics, self.internal_parameters, n_threads)

    def _forecast_of(self, statistics: SufficientStatistics, *arguments: Any) -> Forecast:
        from cem.mixture import prediction

        return prediction.forecast_channel(statistics, self.internal_parameters, self.mode_labels, *arguments)

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
        """Return the panel with the model's channels in the model's order; absent ones are missing.

        Times stay as given. Channels that the fit left out because they did not vary are left out here too.

        Parameters
        ----------
        panel : Panel
            With any of the model's channels, in any order.

        Raises
        ------
        PredictionError
            A channel that the model does not know; a covariate that it needs and the panel lacks; a unit of time, an
            origin or a unit of measurement other than the training panel's.

        Warns
        -----
        ClockWarning
            The panel does not state what its times are, and they do not look like the training times.
        """
        left_out = self._training.get("left_out_channels", ())
        unknown = [name for name in panel.channels if name not in self.channels and name not in left_out]
        if unknown and unknown[0] in (*self.covariates, *self.unit_covariates):
            option = "unit_covariates" if unknown[0] in self.unit_covariates else "covariates"
            raise PredictionError(
                f"{unknown[0]!r} is a covariate of the model and no channel; read the panel with {option}="
                f"[{unknown[0]!r}]"
            )
        if unknown:
            raise PredictionError(
                f"the model has no channel {unknown[0]!r}; {did_you_mean(unknown[0], self.channels)}; "
                "or leave the channel out: panel.select_channels([...])"
            )
        if self.covariates or self.unit_covariates or panel.covariates or panel.unit_covariates:
            from cem.mixture.conditioned import check_covariates

            check_covariates(self, panel)
        from cem.model.clock_match import check_clock, check_measures

        check_measures(self, panel)
        check_clock(self, panel)
        return self._in_own_channels(panel)

    def _in_own_channels(self, panel: Panel) -> Panel:
        """The panel with the model's channels in the model's order; channels that the model lacks are left out."""
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
                f"failure, which is unknown for it ({running.size:,} such units); predict the remaining life of "
                "running units with cem.RemainingLife, or leave them out"
            )
        return panel.failure_times
