"""`ThresholdLife`: remaining life against a threshold, with intervals measured on units left out and corrected.

A training unit's true life ends where its readings first cross the threshold. Units are cut off at earlier ages and
predicted by a fit without their fold; the correction (38) of model.md acts on the cdf of first passage, and the
probability of never crossing goes with it: 1 − F'(∞).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import CemWarning, OptionError, PanelError, PredictionError, ThresholdWarning
from cem.errors.names import did_you_mean, listed
from cem.errors.options import real
from cem.errors.warning import warn
from cem.mixture.fitted import require_model
from cem.numerics.floating import underflow_is_zero
from cem.passage.first_passage import checked_settings
from cem.prognosis.calibration import Calibration, correction_of_scores
from cem.prognosis.corrected_passage import CorrectedPassage, scores_of_passage
from cem.prognosis.heldout import cut_off_ages, folds_of_units, in_fold
from cem.prognosis.reliability import reliability
from cem.prognosis.remaining_life import OF_A_REFIT

if TYPE_CHECKING:
    import os
    from typing import IO

    from cem.fitting.estimator import FailureModeEM
    from cem.mixture.asked_conditions import GivenCovariates
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.passage.law import FirstPassage

__all__ = ["ThresholdLife", "first_crossings_of_readings"]

FloatArray = NDArray[np.float64]

_RECORD = "threshold"
_SETTINGS = ("horizon", "n_draws", "n_cells", "random_state")
"""Options that are kept in a file beside monotone."""

_LEAST_UNITS = 4
_MOST_NAMED = 8


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
        horizon, n_draws, n_cells, random_state, monotone, as for `cem.passage.first_passage.first_passage`.

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
        own = checked_settings({} if options is None else options)
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
            own = {**{name: held[name] for name in _SETTINGS if name in held}, **own}
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
        law = self.model.remaining_life(
            panel, self.threshold, channel=self.channel, direction=self.direction, covariates=self.at, **self.options  # type: ignore[arg-type]
        )  # fmt: skip
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
        progress: Callable[[str, int, int], None] | None = None,
    ) -> ThresholdLife:
        """Measure coverage on held-out units, and return a prognosis that is corrected towards the nominal coverage.

        A unit's true life is where its readings of the channel first cross the threshold, on the straight line between
        two of them. Units that cross at their first reading, or never within their record, have no such life: they are
        named in a warning, trained on in every fold, and never predicted. Leaving out the long lives makes laws look
        later than they are, so a panel where few units cross should not be calibrated.

        Parameters
        ----------
        panel : Panel
            The training units.
        estimator : FailureModeEM, optional
            Fitted from scratch without each fold. Default: a warm start from this model's parameters.
        ages
            Ages at which units are cut off, as for `cem.calibration.calibrate`; "failure" is the crossing.
        n_folds : int
            Number of folds.
        correct : bool
            False: only measure.
        degrees : int, optional
            As for `cem.calibration.calibrate`.
        cap : float, optional
            Lives beyond it count as the cap in scores and widths, since a law may have mass at "never". Default: the
            horizon, or else the length of the training times.
        random_state : int
            Seed of the folds and ages.
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
            An option does not fit.

        Warns
        -----
        ThresholdWarning
            Units are left out, because they do not cross within their records.
        """
        if cap is not None and not real("cap", cap, "a number above 0") > 0:
            raise OptionError(f"cap is {cap}; a number above 0 was expected")
        if estimator is not None and estimator.time_axis != "forward":
            raise OptionError(f"the estimator's time_axis is {estimator.time_axis!r}; 'forward' was expected")
        crossings = first_crossings_of_readings(panel, self.channel, self.threshold, self._side())
        crosses = np.isfinite(crossings)
        if int(crosses.sum()) < _LEAST_UNITS:
            raise PanelError(
                f"{int(crosses.sum())} of {panel.n_units} units cross {self.threshold:g} after their first reading and "
                f"within their records; calibration needs at least {_LEAST_UNITS}"
            )
        if not crosses.all():
            named = [panel.units[int(i)] for i in np.flatnonzero(~crosses)]
            warn(
                f"{len(named)} of {panel.n_units} units do not cross {self.threshold:g} after their first reading and "
                f"within their records ({listed(named, _MOST_NAMED)}): they are trained on, and the calibration knows "
                "nothing of their lives",
                ThresholdWarning,
            )
        place = np.flatnonzero(crosses)
        cuts = _ages_before(panel[crosses], crossings[crosses], ages, random_state)
        fold_of = folds_of_units(len(place), n_folds, random_state)
        laws, truth, positions = [], [], []
        fit = _refit(self.model, estimator)
        for fold in range(n_folds):
            held = np.flatnonzero(fold_of == fold)
            trained_on = np.ones(panel.n_units, dtype=np.bool_)
            trained_on[place[held]] = False
            with in_fold(fold, fold_of), warnings.catch_warnings():
                warnings.simplefilter("ignore", CemWarning)
                model = fit(panel[trained_on])
                own = panel[place[held]]
                for column in range(cuts.shape[1]):
                    cut = own.until(cuts[held, column])
                    law = ThresholdLife(
                        model, self.threshold, channel=self.channel, direction=self._side(), at=self.at,
                        options=self.options,
                    ).predict(cut)  # fmt: skip
                    laws.append((fold, law))
                    truth.append(crossings[place[held]] - cut.times[np.asarray(cut.offsets[1:]) - 1])
                    positions.append(held)
            if progress is not None:
                progress("fold", fold + 1, n_folds)
        low, high = self.model.bases[self.model.channel_index(self.channel)].domain
        horizon = laws[0][1].horizon
        limit = float(cap) if cap is not None else (horizon if np.isfinite(horizon) else high - low)
        found = _learned(laws, truth, np.concatenate(positions), correct, degrees, limit)
        return self.replaced(calibration=found)

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
        options = {**estimator.get_params(deep=False), "uncertainty": None}
        return lambda part: FailureModeEM(**options).fit(part).model_
    kinds = {name: own.kind for name, own in model.process_.items() if own is not None} if model.processes else None
    warm = FailureModeEM(
        model.n_modes,
        covariance=model.training.get("covariance", "full"),
        linking_rank=model.linking_rank,
        **{name: model.training[name] for name in OF_A_REFIT if name in model.training},
        process=kinds,  # type: ignore[arg-type]  # kinds by channel
    )

    def fit(part: Panel) -> FailureModeModel:
        return FailureModeEM(**warm.get_params(deep=False)).fit(part.select_channels(model.channels), init=model).model_

    return fit


def first_crossings_of_readings(panel: Panel, channel: str, threshold: float, direction: str) -> FloatArray:
    """Return when the readings of each unit first cross a threshold, on the line between two of them, shape (L,).

    Parameters
    ----------
    panel : Panel
        The units.
    channel : str
        Its name.
    threshold : float
        In the panel's units.
    direction : {"upper", "lower"}
        Crossed at or above the threshold, or at or below it.

    Returns
    -------
    ndarray of shape (L,)
        NaN for a unit that does not cross within its record, or whose first reading is beyond the threshold.

    Raises
    ------
    PanelError
        The panel does not have the channel.
    """
    if channel not in panel.channels:
        raise PanelError(
            f"the panel has no channel {channel!r} to cross a threshold; {did_you_mean(channel, panel.channels)}"
        )
    column = panel.channels.index(channel)
    found = np.full(panel.n_units, np.nan)
    sign = 1.0 if direction == "upper" else -1.0
    for unit, (first, last) in enumerate(zip(panel.offsets[:-1], panel.offsets[1:], strict=True)):
        beyond = sign * (panel.values[first:last, column] - threshold)
        read = np.flatnonzero(~np.isnan(beyond))
        across = np.flatnonzero(beyond[read] >= 0)
        if len(across) and across[0] > 0:
            before, after = read[across[0] - 1], read[across[0]]
            share = -beyond[before] / (beyond[after] - beyond[before])
            times = panel.times[first:last]
            found[unit] = times[before] + share * (times[after] - times[before])
    return found


def _ages_before(
    panel: Panel, crossings: FloatArray, ages: Mapping[Hashable, ArrayLike] | ArrayLike | int, random_state: int
) -> FloatArray:
    """Ages at which units are cut off, between their first reading and their crossing, (L, m)."""
    from cem.panel.panel import Panel as Units

    first = panel.times[np.asarray(panel.offsets[:-1])]
    # Two readings of one channel stand for each unit: what `cut_off_ages` asks for is where it begins and ends.
    spans = Units.from_arrays(
        [np.array([begin, begin + 0.5 * (end - begin)]) for begin, end in zip(first, crossings, strict=True)],
        [np.zeros((2, 1))] * panel.n_units, units=panel.units, failure_times=crossings,
    )  # fmt: skip
    return cut_off_ages(spans, ages, random_state)


def _learned(
    laws: list[tuple[int, FirstPassage]], truth: list[FloatArray], clusters: NDArray[np.int64], correct: bool,
    degrees: int | None, cap: float,
) -> Calibration:  # fmt: skip
    """The correction of all held-out laws, and reports before and after it."""
    before = reliability([law for _, law in laws], np.concatenate(truth), clusters, cap=cap)
    if not correct:
        return Calibration(before=before)
    scores = [scores_of_passage(law, own) for (_, law), own in zip(laws, truth, strict=True)]
    medians = [np.minimum(law.median(), cap) for _, law in laws]
    n_units, weight = len(np.unique(clusters)), len(np.unique(clusters)) / len(clusters)

    def without(fold: int | None) -> Calibration:
        used = [i for i, (own, _) in enumerate(laws) if own != fold]
        return correction_of_scores(
            np.concatenate([scores[i] for i in used]), np.concatenate([medians[i] for i in used]), n_units, weight,
            degrees,
        )  # fmt: skip

    corrections = {fold: without(fold) for fold in {own for own, _ in laws}}
    corrected = [CorrectedPassage(law, corrections[fold]) for fold, law in laws]
    after = reliability(corrected, np.concatenate(truth), clusters, cap=cap)
    return replace(without(None), before=before, after=after)
