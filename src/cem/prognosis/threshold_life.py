"""`ThresholdLife`: remaining life against a threshold, with intervals measured on units left out and corrected.

A training unit's true life ends where its readings first cross the threshold. Units are cut off at earlier ages and
predicted by a fit without their fold; the correction (38) of model.md acts on the cdf of first passage, and the
probability of never crossing goes with it: 1 − F'(∞).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import CemWarning, OptionError, PanelError, PredictionError, ThresholdWarning
from cem.errors.names import listed
from cem.errors.warning import warn
from cem.numerics.floating import underflow_is_zero
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
        if model.time_axis != "forward":
            raise OptionError(
                "a threshold is crossed on the forward time axis, and this model's is the time to failure; use "
                "cem.RemainingLife(model), or fit with time_axis='forward'"
            )
        held = model.training.get(_RECORD)
        if threshold is None:
            if held is None:
                raise OptionError("threshold is None, and the model holds none; give a number in units of the channel")
            threshold, channel, direction = held["threshold"], channel or held["channel"], held["direction"]
            if options is None and held["monotone"]:
                options = {"monotone": True}
        if isinstance(threshold, (bool, str)) or np.ndim(threshold) or not np.isfinite(threshold):
            raise OptionError(f"threshold is {threshold!r}; one finite number was expected")
        channel = channel or model.response
        if channel is None:
            raise PredictionError(
                f"the model has no response; name the channel of the threshold, one of {listed(model.channels, 12)}"
            )
        index = model.channel_index(channel)
        if direction == "auto":
            if at is None and model.conditions is None:
                from cem.passage.threshold import crossing_direction

                direction = crossing_direction(model, index, np.asarray(float(threshold)))
        elif direction not in ("upper", "lower"):
            raise OptionError(f"direction is {direction!r}; 'auto', 'upper' or 'lower' was expected")
        is_monotone = bool(dict(options or {}).get("monotone", False))
        asked = {"threshold": threshold, "channel": channel, "direction": direction, "monotone": is_monotone}
        if calibration is None and held is not None and "calibration" in held and asked.items() <= held.items():
            calibration = Calibration.from_dict(held["calibration"])
        for name, value in {
            "model": model, "threshold": float(threshold), "channel": channel, "direction": direction, "at": at,
            "calibration": calibration, "options": dict(options or {}),
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
        if estimator is not None and estimator.time_axis != "forward":
            raise OptionError(f"the estimator's time_axis is {estimator.time_axis!r}; 'forward' was expected")
        found: list[HeldOut] = []
        for own in laws_held_out(self, panel, refit_of(self.model, estimator), ages, n_folds, random_state):
            found += own
            if progress is not None:
                progress("fold", own[0].fold + 1, n_folds)
        limit = cap or longest_looked_at(self, found[0].law)
        return self.replaced(calibration=_learned(found, correct, degrees, limit))

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


class HeldOut(NamedTuple):
    """What a model says of units that it has not seen, all cut off at one of their ages."""

    fold: int
    law: FirstPassage
    truth: FloatArray
    """Their remaining lives, (n,)."""
    units: NDArray[np.int64]
    """Their positions among the units that cross, (n,)."""


def laws_held_out(
    prognosis: ThresholdLife, panel: Panel, fit: Callable[[Panel], FailureModeModel],
    ages: Mapping[Hashable, ArrayLike] | ArrayLike | int, n_folds: int, random_state: int,
) -> Iterator[list[HeldOut]]:  # fmt: skip
    """The laws of units left out, fold by fold; parameters and errors as for `ThresholdLife.calibrated`."""
    channel, threshold, side = prognosis.channel, prognosis.threshold, prognosis._side()
    crossings = first_crossings_of_readings(panel, channel, threshold, side)
    crosses = np.isfinite(crossings)
    if int(crosses.sum()) < _LEAST_UNITS:
        raise PanelError(
            f"{int(crosses.sum())} of {panel.n_units} units cross {threshold:g} after their first reading and within "
            f"their records; at least {_LEAST_UNITS} are needed to measure how well lives are predicted"
        )
    if not crosses.all():
        named = [panel.units[int(i)] for i in np.flatnonzero(~crosses)]
        warn(
            f"{len(named)} of {panel.n_units} units do not cross {threshold:g} after their first reading and within "
            f"their records ({listed(named, _MOST_NAMED)}): they are trained on, and nothing is learned of their lives",
            ThresholdWarning,
        )
    place = np.flatnonzero(crosses)
    cuts = _ages_before(panel[crosses], crossings[crosses], ages, random_state)
    fold_of = folds_of_units(len(place), n_folds, random_state)
    for fold in range(n_folds):
        held = np.flatnonzero(fold_of == fold)
        trained_on = np.ones(panel.n_units, dtype=np.bool_)
        trained_on[place[held]] = False
        found = []
        with in_fold(fold, fold_of), warnings.catch_warnings():
            warnings.simplefilter("ignore", CemWarning)
            own = ThresholdLife(
                fit(panel[trained_on]), threshold, channel=channel, direction=side, at=prognosis.at,
                options=prognosis.options,
            )  # fmt: skip
            for column in range(cuts.shape[1]):
                cut = panel[place[held]].until(cuts[held, column])
                left = crossings[place[held]] - cut.times[np.asarray(cut.offsets[1:]) - 1]
                found.append(HeldOut(fold, own.predict(cut), left, held))
        yield found


def longest_looked_at(prognosis: ThresholdLife, law: FirstPassage) -> float:
    """The horizon of a law, or else the length of the training times."""
    low, high = prognosis.model.bases[prognosis.model.channel_index(prognosis.channel)].domain
    return float(law.horizon if np.isfinite(law.horizon) else high - low)


def _restored(model: FailureModeModel, arguments: Mapping[str, Any]) -> ThresholdLife:
    return ThresholdLife(model, **arguments)


def refit_of(model: FailureModeModel, estimator: FailureModeEM | None) -> Callable[[Panel], FailureModeModel]:
    """Return how a model is fitted to other units: as by the estimator, or by a warm start from its parameters."""
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
    """
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


def _learned(found: list[HeldOut], correct: bool, degrees: int | None, cap: float) -> Calibration:
    """The correction of all held-out laws, and reports before and after it."""
    truth, clusters = (np.concatenate([getattr(own, name) for own in found]) for name in ("truth", "units"))
    before = reliability([own.law for own in found], truth, clusters, cap=cap)
    if not correct:
        return Calibration(before=before)
    scores = [scores_of_passage(own.law, own.truth) for own in found]
    medians = [np.minimum(own.law.median(), cap) for own in found]
    n_units, weight = len(np.unique(clusters)), len(np.unique(clusters)) / len(clusters)

    def without(fold: int | None) -> Calibration:
        used = [i for i, own in enumerate(found) if own.fold != fold]
        return correction_of_scores(
            np.concatenate([scores[i] for i in used]), np.concatenate([medians[i] for i in used]), n_units, weight,
            degrees,
        )  # fmt: skip

    corrections = {fold: without(fold) for fold in {own.fold for own in found}}
    after = reliability([CorrectedPassage(own.law, corrections[own.fold]) for own in found], truth, clusters, cap=cap)
    return replace(without(None), before=before, after=after)
