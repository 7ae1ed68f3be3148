"""`ThresholdLife`: remaining life against a threshold, with intervals measured on units left out and corrected.

A training unit's true life ends where its readings first cross the threshold; of one that never crossed it is known
that it is longer than its record. Units are cut off at earlier ages and predicted by a fit without their fold. The
correction (38) of model.md acts on the cdf of first passage, and the probability of never crossing, 1 − F'(∞), goes
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cem.errors import OptionError, PredictionError
from cem.errors.names import did_you_mean, listed
from cem.errors.options import real
from cem.mixture.fitted import require_model
from cem.numerics.floating import underflow_is_zero
from cem.passage.first_passage import checked_settings
from cem.prognosis.calibration import Calibration, correction_of_scores
from cem.prognosis.corrected_passage import CorrectedPassage, scores_of_passage
from cem.prognosis.heldout_passages import first_crossings_of_readings, hold_out_passages
from cem.prognosis.reliability import reliability, reliability_of_running
from cem.prognosis.remaining_life import OF_A_REFIT
from cem.prognosis.without_sensors import warn_of_no_skill

if TYPE_CHECKING:
    import os
    from typing import IO

    from cem.fitting.estimator import FailureModeEM
    from cem.mixture.asked_conditions import GivenCovariates
    from cem.mixture.life_law import RemainingLifeLaw
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.passage.law import FirstPassage
    from cem.prognosis.censored import Outcomes
    from cem.prognosis.heldout_passages import HeldOutPassages
    from cem.prognosis.reliability import Reliability

__all__ = ["ThresholdLife", "first_crossings_of_readings"]

_RECORD = "threshold"
_SETTINGS = ("horizon", "n_draws", "n_cells", "random_state")
"""Options that are kept in a file beside monotone and gate."""

_CONDITIONS = (
    "A ThresholdLife takes conditions as at=, such as at='last'. cross_validate and PooledLife.stacked take none: "
    "compare ThresholdLife(model, threshold, at='last').calibrated(panel, estimator), or average such by PooledLife."
)


class ThresholdLife:
    """Predict when running units cross a threshold, by `FailureModeModel.remaining_life`, calibrated; immutable.

    Parameters
    ----------
    model : FailureModeModel
        On the forward time axis.
    threshold : float
        In units of the channel. Default: that in the model (see `save`).
    channel : str, optional
        The response by default.
    direction : {"auto", "upper", "lower"}
        As for `FailureModeModel.remaining_life`.
    at : mapping of name to value, or "last", optional
        The conditions, where the channel depends on covariates: `covariates` of `FailureModeModel.remaining_life`.
    calibration : Calibration, optional
        From `calibrated`. Default: the one in the model if it is of the same threshold, channel and direction.
    options : mapping, optional
        horizon, n_draws, n_cells, random_state, monotone, as for `cem.passage.first_passage.first_passage`; gate, as
        for `FailureModeModel.remaining_life`.

    Raises
    ------
    OptionError
        The model is on the time to failure, there is no threshold, or it is not one finite number.
    PredictionError
        The channel is unknown, or none is given and the model has no response.
    """

    __slots__ = ("at", "calibration", "channel", "direction", "model", "options", "threshold")

    model: FailureModeModel
    threshold: float
    channel: str
    direction: str
    at: GivenCovariates
    calibration: Calibration | None
    options: Mapping[str, Any]

    def __init__(
        self,
        model: FailureModeModel,
        threshold: float | None = None,
        *,
        channel: str | None = None,
        direction: str = "auto",
        at: GivenCovariates = None,
        calibration: Calibration | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        require_model(model)
        if calibration is not None and not isinstance(calibration, Calibration):
            raise OptionError(f"calibration is {calibration!r}; a Calibration, of `calibrated`, was expected")
        own = checked_settings({} if options is None else options, more=("gate",))
        if own.get("gate", "auto") not in ("auto", "on", None):
            raise OptionError(f"gate is {own['gate']!r}; 'auto', 'on' or None was expected")
        if model.time_axis != "forward":
            raise OptionError(
                "a threshold is crossed on the forward time axis, and this model's is the time to failure; use "
                "cem.RemainingLife(model), or fit with time_axis='forward'"
            )
        held = model.training.get(_RECORD)
        if threshold is None:
            if held is None:
                raise OptionError("threshold is None, and the model holds none; give a number in units of the channel")
            threshold, direction = held["threshold"], held["direction"]
            channel = held["channel"] if channel is None else channel
            if options is None and held["monotone"]:
                own["monotone"] = True
        threshold = real("threshold", threshold, "one finite number")
        channel = model.response if channel is None else channel
        if channel is None:
            raise PredictionError(
                f"the model has no response; name the channel of the threshold, one of {listed(model.channels, 12)}"
            )
        index = model.channel_index(channel)
        channel = str(model.channels[index])
        if direction == "auto":
            if at is None and model.conditions is None:
                from cem.passage.threshold import crossing_direction

                direction = crossing_direction(model, index, np.asarray(threshold))
        elif direction not in ("upper", "lower"):
            raise OptionError(f"direction is {direction!r}; 'auto', 'upper' or 'lower' was expected")
        asked = {"threshold": threshold, "channel": channel, "direction": direction}
        asked["monotone"] = own.get("monotone", False)
        if held is not None and asked.items() <= held.items():
            kept = {name: held[name] for name in _SETTINGS if name in held}
            if "gate" in held:
                kept["gate"] = None if held["gate"] == "off" else held["gate"]
            own = {**kept, **own}
            if calibration is None and "calibration" in held:
                calibration = Calibration.from_dict(held["calibration"])
        for name, value in {
            "model": model, "threshold": threshold, "channel": channel, "direction": direction, "at": at,
            "calibration": calibration, "options": own,
        }.items():  # fmt: skip
            object.__setattr__(self, name, value)

    # -- prediction -------------------------------------------------------------------------------------------------

    def predict(self, panel: Panel) -> FirstPassage:
        """Predict when each unit first crosses the threshold, counted from its last reading.

        Parameters
        ----------
        panel : Panel
            Running units, as for `FailureModeModel.remaining_life`.

        Returns
        -------
        FirstPassage
            Corrected, if this prognosis is calibrated.
        """
        try:
            law = self.model.remaining_life(
                panel, self.threshold, channel=self.channel,
                direction=self.direction,  # type: ignore[arg-type]  # one of the three
                covariates=self.at, **self.options,
            )  # fmt: skip
        except PredictionError as error:
            if self.at is None and self.model.conditions is not None:
                error.add_note(_CONDITIONS)
            raise
        held = self.calibration
        return law if held is None or not held.knots else CorrectedPassage(law, held)

    @underflow_is_zero
    def calibrated(
        self,
        panel: Panel,
        estimator: FailureModeEM | None = None,
        *,
        ages: Mapping[Hashable, ArrayLike] | ArrayLike | int = 10,
        n_folds: int = 5,
        correct: bool = True,
        degrees: int | None = None,
        cap: float | None = None,
        random_state: int = 0,
        n_jobs: int = 1,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> ThresholdLife:
        """Measure coverage on held-out units, and return a prognosis that is corrected towards the nominal coverage.

        A unit's true life is where its readings of the channel first cross the threshold, on the straight line between
        two of them. Units that do not cross within their records are held out and predicted like the others. Of their
        lives it is known that they are longer, and they count with that: see "Units that never crossed" in model.md.
        Units that begin beyond the threshold are named in a warning, trained on in every fold, and never predicted.

        A model with the uncertainty of its parameters (`FailureModeEM(uncertainty=...)`) is calibrated with it: each
        fold's fit finds its own.

        Parameters
        ----------
        panel : Panel
            The training units.
        estimator : FailureModeEM, optional
            Fitted from scratch without each fold. Default: a warm start from this model's parameters.
        ages : int, array_like of shape (F, m), or mapping of unit to m ages
            Ages at which units are cut off, before their crossing or the end of their record. An int: so many for each
            unit on average, drawn with one distance for all, so that every age counts alike. An array has a row for
            each unit that is predicted.
        n_folds : int
            Number of folds.
        correct : bool
            False: only measure.
        degrees : int, optional
            As for `cem.calibration.calibrate`.
        cap : float, optional
            Lives beyond it count as the cap in scores and widths, since a law may have mass at "never". Default: the
            horizon, or else the longest time from a unit's first reading to its crossing or last reading.
        random_state : int
            Seed of the folds and ages.
        n_jobs : int
            Number of threads; folds run side by side, and the result is the same for any number.
        progress : callable, optional
            Called with ("fold", folds done, folds).

        Returns
        -------
        ThresholdLife

        Raises
        ------
        PanelError
            Fewer than four units cross the threshold within their records.
        OptionError
            An option does not fit; or the model's uncertainty is from draws that no fit can find again.

        Warns
        -----
        ThresholdWarning
            Units are never predicted, because they begin beyond the threshold or have a single reading.
        NoSkillWarning
            Laws are no better than without sensors.
        """
        if estimator is not None and estimator.time_axis != "forward":
            raise OptionError(f"the estimator's time_axis is {estimator.time_axis!r}; 'forward' was expected")
        held = self.held_out(
            panel, estimator, ages=ages, n_folds=n_folds, cap=cap, random_state=random_state, n_jobs=n_jobs,
            progress=progress,
        )  # fmt: skip
        found = _learned(held, correct, degrees)
        report, alone = found.after or found.before, found.without_sensors
        if found.skill is not None and report is not None and alone is not None:
            warn_of_no_skill(found.skill, "CRPS", report.crps, alone.crps, "this prognosis ")
        return self.replaced(calibration=found)

    def held_out(self, panel: Panel, estimator: FailureModeEM | None = None, **options: Any) -> HeldOutPassages:
        """What this prognosis says of units that its model was not fitted to.

        Parameters
        ----------
        panel, estimator
            As for `calibrated`.
        **options
            ages, n_folds, cap, random_state, n_jobs and progress, as there; all but the last two have to be given.
        """
        side, cap = self._side(), options.get("cap")
        if cap is not None and not real("cap", cap, "a number above 0") > 0:
            raise OptionError(f"cap is {cap}; a number above 0 was expected")

        def predict(model: FailureModeModel, cut: Panel) -> FirstPassage:
            law = ThresholdLife(model, self.threshold, channel=self.channel, direction=side, at=self.at,
                                options=self.options)  # fmt: skip
            return law.predict(cut)

        return hold_out_passages(
            panel, _refit(self.model, estimator), predict, self.channel, self.threshold, side, **options
        )

    def _side(self) -> str:
        """The direction; OptionError where it depends on the unit's conditions."""
        if self.direction == "auto":
            raise OptionError("direction='auto' depends on the conditions of each unit here; give 'upper' or 'lower'")
        return self.direction

    # -- variants, files ----------------------------------------------------------------------------------------------

    def replaced(self, **options: Any) -> ThresholdLife:
        """Return the prognosis with other arguments of the constructor.

        Parameters
        ----------
        **options
            Arguments and their new values.
        """
        kept = {name: getattr(self, name) for name in ("channel", "direction", "at", "calibration", "options")}
        if {"threshold", "channel", "direction"} & set(options):
            kept["calibration"] = None  # it is of the threshold that it was learned on
        if bool(options.get("options", self.options).get("monotone")) != bool(self.options.get("monotone")):
            kept["calibration"] = None
        for name in options:
            if name not in (*kept, "threshold"):
                raise OptionError(f"replaced has no argument {name!r}; {did_you_mean(name, [*kept, 'threshold'])}")
        arguments = {**kept, "threshold": self.threshold, **options}
        return type(self)(self.model, arguments.pop("threshold"), **arguments)

    def report(self, panel: Panel | None = None, path: str | os.PathLike[str] | None = None, **options: Any) -> str:
        """Describe the prognosis, and the units of a panel under it, on one self-contained HTML page.

        Parameters
        ----------
        panel, path
            As for `cem.FailureModeModel.report`.
        options
            title and notes, as for `cem.RemainingLife.report`.

        Returns
        -------
        str
            The page.

        Raises
        ------
        OptionError, PredictionError, PanelError, MissingPackageError
            As for `cem.FailureModeModel.report`.
        """
        from cem.extras import room

        page: str = room("report").report(self._model_with_all(), panel, path, **options)
        return page

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Save the model with threshold, channel, direction and calibration in its record; `load` reads it.

        Parameters
        ----------
        path : path-like or binary file object
            File to write.
        """
        self._model_with_all().save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | bytes | IO[bytes]) -> ThresholdLife:
        """Load a prognosis that `save` wrote.

        Parameters
        ----------
        path : path-like, bytes, or binary file object
            As for `cem.load`.
        """
        from cem.model.loading import load_by

        return cls(load_by("cem.ThresholdLife.load", path, None))

    def _model_with_all(self) -> FailureModeModel:
        record: dict[str, Any] = {
            "threshold": self.threshold, "channel": self.channel, "direction": self._side(),
            "monotone": bool(self.options.get("monotone", False)),
        }  # fmt: skip
        record.update({name: self.options[name] for name in _SETTINGS if self.options.get(name) is not None})
        if self.options.get("gate", "auto") != "auto":
            record["gate"] = self.options["gate"] or "off"
        if self.calibration is not None:
            record["calibration"] = self.calibration.to_dict()
        training = {**self.model.training, _RECORD: record}
        return type(self.model)(**{**self.model._arguments(), "training": training})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"ThresholdLife is immutable; make another one with replaced({name}=...)")

    def __reduce__(self) -> tuple[Any, ...]:
        named = ("threshold", "channel", "direction", "at", "calibration", "options")
        return _restored, (self.model, {name: getattr(self, name) for name in named})

    def __repr__(self) -> str:
        calibrated = "" if self.calibration is None else ", calibrated"
        side = {"upper": "at or above", "lower": "at or below"}.get(self.direction, "at")
        return f"ThresholdLife({self.channel!r} {side} {self.threshold:g}{calibrated})"


def _restored(model: FailureModeModel, arguments: Mapping[str, Any]) -> ThresholdLife:
    return ThresholdLife(model, **arguments)


def _refit(model: FailureModeModel, estimator: FailureModeEM | None) -> Callable[[Panel], FailureModeModel]:
    """How the model is fitted to other units."""
    from cem.fitting.estimator import FailureModeEM

    if estimator is not None:
        options = estimator.get_params(deep=False)
        options["uncertainty"] = None if model.components is None else options["uncertainty"] or _method_of(model)
        return lambda part: FailureModeEM(**options).fit(part).model_
    kinds = {name: own.kind for name, own in model.process_.items() if own is not None} if model.processes else None
    warm = FailureModeEM(
        model.n_modes,
        covariance=model.training.get("covariance", "full"),
        linking_rank=model.linking_rank,
        **{name: model.training[name] for name in OF_A_REFIT if name in model.training},
        process=kinds,  # type: ignore[arg-type]  # kinds by channel
        uncertainty=None if model.components is None else _method_of(model),
    )

    def fit(part: Panel) -> FailureModeModel:
        return FailureModeEM(**warm.get_params(deep=False)).fit(part.select_channels(model.channels), init=model).model_

    return fit


def _method_of(model: FailureModeModel) -> Any:
    """How a fit finds such an uncertainty of its parameters."""
    assert model.components is not None
    method = model.components.record.get("method")
    if method not in ("information", "bootstrap"):
        raise OptionError(
            f"the model carries an uncertainty of its parameters by {method!r}, which fits without each fold cannot "
            "find by themselves; give estimator=FailureModeEM(..., uncertainty='bootstrap'), or calibrate "
            "cem.ThresholdLife(model.without_uncertainty(), ...)"
        )
    return method


def _learned(held: HeldOutPassages, correct: bool, degrees: int | None) -> Calibration:
    """The correction of all held-out laws, and reports before and after it, and of laws without sensors."""
    before, alone = report_of(held.laws, held.outcomes), report_of(held.alone, held.outcomes)
    if not correct:
        return Calibration(before=before, without_sensors=alone)
    outcomes, parts = held.outcomes, held.outcomes.parts
    found = [
        scores_of_passage(law, own, still)
        for law, own, still in zip(
            held.laws, parts(outcomes.lives, held.laws), parts(outcomes.running, held.laws), strict=True
        )
    ]
    medians = [np.minimum(law.median(), outcomes.cap) for law in held.laws]
    weight = len(np.unique(outcomes.clusters)) / len(outcomes.clusters)

    def without(fold: int | None) -> Calibration:
        used = [i for i, own in enumerate(held.folds) if own != fold]
        scores, open_ended = (np.concatenate([found[i][j] for i in used]) for j in (0, 1))
        lives = np.concatenate([medians[i] for i in used])
        return correction_of_scores(scores, lives, held.n_crossed, weight, degrees, open_ended)

    corrections = {fold: without(fold) for fold in set(held.folds)}
    corrected = [CorrectedPassage(law, corrections[fold]) for law, fold in zip(held.laws, held.folds, strict=True)]
    return replace(without(None), before=before, after=report_of(corrected, held.outcomes), without_sensors=alone)


def report_of(laws: Sequence[RemainingLifeLaw], outcomes: Outcomes) -> Reliability:
    """Coverage and scores of predictions, with what is known of units that still ran."""
    horizons = np.repeat([law.horizon for law in laws], [law.n_units for law in laws])
    if outcomes.running.any() or (outcomes.lives > horizons).any():
        return reliability_of_running(laws, outcomes)
    return reliability(laws, outcomes.lives, outcomes.clusters, cap=outcomes.cap)
