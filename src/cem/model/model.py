"""The fitted model: everything that scoring new units needs, and nothing of the training data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PredictionError
from cem.errors.names import did_you_mean, listed, object_array
from cem.mixture.fitted import ChannelParameters, FittedMixture

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


class FailureModeModel(FittedMixture):
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

    __slots__ = ()

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
        """Marginal log-likelihood log Σ_k π_k P(x_l | k) of each unit, in the panel's own units; shape (L,).

        Parameters
        ----------
        X, times, axes, n_jobs
            As for `predict_proba`.
        """
        return self._evidence(X, times, n_jobs, axes).log_likelihoods

    def score(self, X: Data, y: object = None, times: ArrayLike | None = None, *, axes: Axes = None) -> float:
        """Mean marginal log-likelihood per unit; `y` is there for scikit-learn and not looked at.

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
        y
            For scikit-learn's signature; not used.
        """
        return float(self.score_samples(X, times, axes=axes).mean())

    def posterior(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> Posterior:
        """Posterior means and covariances of each unit's coefficients under each mode, model.md (4).

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
        """
        from cem.mixture import prediction

        return prediction.posterior(self.statistics(X, times, axes=axes), self.internal_parameters, self.mode_labels)

    def novelty(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> FloatArray:
        """Tail probability of each unit's misfit under its most probable mode, shape (L,).

        Uniform on [0, 1] for units like those of the training; small: like nothing that the model was trained on.

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
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
            self.compressed(panel), self.internal_parameters, self.mode_labels, c, on_axis, asked, noise
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

        return remaining_life_to_threshold(self, self.posterior, panel, threshold, channel, direction, options)

    def statistics(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> SufficientStatistics:
        """Sufficient statistics of a panel in the model's coordinates; arguments as for `predict_proba`."""
        return self.compressed(self._aligned(self._as_panel(X, times, axes)))

    def _evidence(self, X: Data, times: ArrayLike | None, n_jobs: int, axes: Axes) -> Evidence:
        from cem.mixture import prediction

        if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
            raise OptionError(f"n_jobs={n_jobs!r}: a number of threads, or -1 for one a core, was expected")
        if n_jobs == -1:
            import os

            n_jobs = os.cpu_count() or 1
        return prediction.evidence(self.statistics(X, times, axes=axes), self.internal_parameters, int(n_jobs))

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

        Parameters
        ----------
        panel : Panel
            With any of the model's channels, in any order.

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
        """The model as one C99 header without dependencies; see `cem.export.codegen.export_c`.

        Parameters
        ----------
        path, name, scalar
            As for `cem.export.codegen.export_c`.
        """
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
