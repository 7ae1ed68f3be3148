"""The fitted model: everything needed to score new units, and none of the training data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cem.errors.names import listed
from cem.mixture.fitted import ChannelParameters
from cem.model.condition_attributes import ConditionAttributes
from cem.model.outputs import ModelOutputs

# Methods import what streaming does not need, so that a process that loads a model and scores readings starts in a
# third of the time.
if TYPE_CHECKING:
    import os
    from typing import IO

    import numpy as np

    from cem.model.summary import Summary
    from cem.model.uncertain import UncertainModel
    from cem.panel.panel import Panel
    from cem.plot.trajectories import TrajectoryDisplay
    from cem.prognosis.model_check import ModelCheck
    from cem.scoring.scorer import Scorer

__all__ = ["ChannelParameters", "FailureModeModel"]


class FailureModeModel(ModelOutputs, ConditionAttributes):
    """A fitted mixture of linear mixed-effects models (model.md §2): predicts, forecasts, samples, saves; immutable.

    `FailureModeEM.fit` makes one as ``model_``, and `cem.load` reads one from a file.

    Parameters
    ----------
    parameters : Parameters
        In internal coordinates.
    coordinates : Coordinates
        The internal coordinates.
    bases : sequence of Basis
        The bound basis of each channel.
    channels : sequence of str
        Names of the channels.
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
    conditions : Conditions, optional
        Covariates of readings, regimes, and the channels' columns of covariates.
    of_units : Conditions, optional
        Features of units' covariates, by which the probabilities of the modes depend on them.
    column_kinds : sequence over channels of sequence of {"random", "by mode", "common"}, optional
        Of each function of a channel's basis, whether its coefficient varies from unit to unit, belongs to a mode, or
        to the fleet. By default all are random.
    processes : sequence over channels of cem.process.channel_process.ChannelProcess or None, optional
        How units wander about their curves. By default they do not.

    Attributes
    ----------
    internal_parameters : Parameters
    coordinates, bases, channels, response, mode_labels, time_unit, time_axis
        As given.
    covariates, unit_covariates : tuple of str
        Names of the covariates that the model needs with every reading, and of every unit.

    Raises
    ------
    OptionError
        The parts do not fit each other.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> model = cem.FailureModeEM(3, random_state=0).fit(panel).model_
    >>> model.predict_proba(panel).shape
    (160, 3)
    """

    __slots__ = ()

    def sample(
        self,
        n_units: int,
        times: Any,
        *,
        modes: Sequence[Hashable] | None = None,
        random_state: int | np.random.Generator | None = None,
        covariates: Mapping[str, Any] | None = None,
        unit_covariates: Mapping[str, Any] | None = None,
    ) -> Panel:
        """Draw simulated units from the model.

        Parameters
        ----------
        n_units : int
            Number of units.
        times : array_like of shape (n,), or one array per unit
            On the model's time axis; on the time to failure, at most 0.
        modes : sequence of labels, length n_units, optional
            Drawn from the weights by default, or from the units' own probabilities if these depend on covariates.
        random_state : int or Generator, optional
            Seed of the draws.
        covariates : mapping of name to value, optional
            The covariates of the readings, if the model has any: for each a number or level, an array of shape (n,), or
            one array per unit.
        unit_covariates : mapping of name to value, optional
            The covariates of units, if the model has any: for each a number or level, or an array of shape (n_units,).
            With `modes`, you may leave out those on which only the modes' probabilities depend.

        Returns
        -------
        Panel
            `true_modes` holds the modes drawn. `modes` are unknown, so that a fit has to find them. It carries the
            covariates given.

        Raises
        ------
        OptionError
            `n_units`, `times` or `modes` is invalid, or readings would overflow at one of the times; a covariate of the
            model is lacking, a name is unknown to it, or a value or shape cannot be used.
        """
        from cem.model.sample import draw_units

        return draw_units(
            self, n_units, times, modes=modes, random_state=random_state, covariates=covariates,
            unit_covariates=unit_covariates,
        )  # fmt: skip

    def summary(self) -> Summary:
        """Summarise the modes, their curves, and the fit: print it, or use its `frames`."""
        from cem.model.summary import summarise

        return summarise(self)

    def plot(
        self,
        panel: Panel | None = None,
        channel: str | Sequence[str] | None = None,
        *,
        level: float = 0.9,
        ax: Any = None,
    ) -> TrajectoryDisplay:
        """Draw the curves of the modes, and units behind them; see `cem.plot.TrajectoryDisplay.from_model`.

        Parameters
        ----------
        panel : Panel, optional
            The units behind the curves, each in the colour of its most probable mode.
        channel : str or sequence of str, optional
            What to draw; all channels by default.
        level : float
            Probability of the band about the mean curve of a mode.
        ax : matplotlib Axes or sequence of them, optional
            Where to draw, one for each channel; a figure of its own by default.

        Returns
        -------
        cem.plot.TrajectoryDisplay
            The picture; ``figure_`` is its figure.

        Raises
        ------
        MissingPackageError
            matplotlib is not installed.
        PredictionError, PanelError
            There is no such channel, or the panel has none of the model's channels.
        """
        from cem.extras import room

        display: TrajectoryDisplay = room("plot").TrajectoryDisplay.from_model(
            self, panel, channel=channel, level=level, ax=ax
        )
        return display

    def report(
        self,
        panel: Panel | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        threshold: Any = None,
        **options: Any,
    ) -> str:
        """Describe the model, and the units of a panel under it, on one self-contained HTML page.

        The page has what was fitted, the data as read, the modes with pictures, warnings with what to do, starts,
        calibration, operating conditions, checks of the model, and modes, novelty and remaining lives of the units. It
        needs no network and no other file. The same model and panel give the same bytes.

        Parameters
        ----------
        panel : Panel, optional
            Units to score and to draw; of a model on the time to failure, running ones too. Without it, the page has
            the model alone.
        path : path-like, optional
            Where to write the page, whole or not at all.
        threshold
            Failure threshold for remaining lives, as for `remaining_life`; for a model on the forward time axis.
        options
            channel, direction, covariates of the threshold, as for `remaining_life`; title, the heading of the page.

        Returns
        -------
        str
            The page.

        Raises
        ------
        OptionError
            The panel is of another type, a threshold does not fit the model, or the file cannot be written.
        PredictionError, PanelError
            The model cannot read the panel.
        MissingPackageError
            matplotlib is not installed.
        """
        from cem.extras import room

        page: str = room("report").report(self, panel, path, threshold=threshold, **options)
        return page

    def check(self, panel: Panel, training: Panel | None = None) -> ModelCheck:
        """Say how well the model fits these units, and which units and channels it does not know.

        On the time to failure each unit counts as running at its last reading, failed or not, and its fit is compared
        with those of training units cut off at random ages, as by the gate of `cem.RemainingLife`. On the forward axis
        it is compared with those of `training`, or else with what the model itself expects, so that a basis that
        misfits shows in most units.

        Parameters
        ----------
        panel : Panel
            As for `predict_proba`; times of running units count from when each was new, as in training.
        training : Panel, optional
            The units of the fit, for a model on the forward time axis; 20 or more cut-offs, five a unit, are needed.

        Returns
        -------
        ModelCheck
            Print it for a table.

        Raises
        ------
        PredictionError
            A channel that the model does not know; a unit of time, an origin or a unit of measurement other than that
            of the training units.
        OptionError
            The model is on the time to failure and keeps no law of lifetimes, or `training` is given for it.
        PanelError
            `training` has too few units.

        Warns
        -----
        ClockWarning
            Times do not look like those in training.
        """
        from cem.extras import room

        found: ModelCheck = room("prognosis.model_check").checked(self, panel, training)
        return found

    def with_uncertainty(
        self,
        law: Any,
        *,
        n_draws: int = 200,
        n_components: int = 3,
        spread: float | None = None,
        random_state: int = 0,
    ) -> UncertainModel:
        """Return a model whose predictions average over the law of the parameters, instead of taking them as known.

        Mode probabilities, forecasts, posteriors, novelty and remaining lives of the new model, its scorer, its file
        and its C header carry the uncertainty; parameters, curves and samples stay those of the fit.

        Parameters
        ----------
        law : Replicates, Uncertainty, or sequence of Parameters
            Bootstrap replicates of the fit, what ``em.uncertainty(panel)`` returns, or draws of the parameters in the
            model's internal coordinates, in the order of its modes. Where units are few, take the parametric
            bootstrap.
        n_draws : int
            Draws taken from a law that is not a set of draws already.
        n_components : int
            Components for each mode: more follow the law better, and take more time and memory in scoring.
        spread : float, optional
            Factor on how far draws are from the fit. Default: 1.25 for bootstrap replicates, which are too close to the
            fit where modes overlap; ``FailureModeEM(uncertainty="bootstrap")`` finds it from 1 to 3. 1 for other
            laws.
        random_state : int
            Seed of the draws.

        Returns
        -------
        UncertainModel

        Raises
        ------
        OptionError
            The law is none of these, has no draws, or is that of another fit; or a number cannot be used.
        """
        from cem.extras import room

        found: UncertainModel = room("model.uncertain").with_uncertainty(
            self, law, n_draws, n_components, spread, random_state
        )
        return found

    def scorer(self) -> Scorer:
        """Return a scorer: the model packed for scoring single readings as they arrive."""
        if self.linking_rank:
            from cem.scoring.linked_scorer import LinkedScorer

            return LinkedScorer(self)
        if self.processes is not None:
            from cem.scoring.wandering_scorer import WanderingScorer

            return WanderingScorer(self)
        from cem.scoring.scorer import Scorer

        return Scorer(self)

    def export_c(
        self, path: str | os.PathLike[str] | None = None, *, name: str = "fleet", scalar: str = "double"
    ) -> str:
        """Write the model as one C99 header without dependencies; see `cem.export.codegen.export_c`.

        Parameters
        ----------
        path, name, scalar
            As for `cem.export.codegen.export_c`.
        """
        from cem.export.codegen import export_c

        return export_c(self, path, name=name, scalar=scalar)

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Save the model to a file; `cem.load` reads it.

        The file is written under another name in the same directory, synchronised, and renamed. So you always have the
        whole new file or the whole old one. A symbolic link stays a link, and its target is written. A replaced file
        keeps its mode, and its owner and group if the process may set them; hard links to it keep the old content.

        Parameters
        ----------
        path : path-like or binary file object
            The file to write. An open file is written at its position and stays open; if that fails, it may hold a
            part.

        Raises
        ------
        ModelFileError
            The file cannot be written, an open file is in text mode, the path leads to a directory, a device, a pipe or
            a socket, or a label cannot be kept in JSON.
        BasisError
            A `Custom` basis is a function that cannot be imported by name.

        Warns
        -----
        StaleFileWarning
            Temporary files of killed processes are beside the file; you can delete them.
        DeprecatedUseWarning
            The path is given as bytes.
        """
        from cem.model.file import save

        save(self, path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._arguments(),)

    # Pickles use __reduce__; other libraries, such as skops, use these two.

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments()

    def __setstate__(self, state: dict[str, Any]) -> None:
        FailureModeModel.__init__(self, **state)

    def __repr__(self) -> str:
        weights = ", ".join(
            f"{label!r} {weight:.3g}" for label, weight in zip(self.mode_labels, self.weights_, strict=True)
        )
        response = f", response {self.response!r}" if self.response is not None else ""
        return (
            f"FailureModeModel: {self.n_modes} modes ({weights}), channels {listed(self.channels)}{response}, "
            f"time axis {self.time_axis!r}"
        )

    def _repr_html_(self) -> str:
        from cem.model.tables import model_html

        return model_html(self)


def _restore(arguments: dict[str, Any]) -> FailureModeModel:
    return FailureModeModel(**arguments)
