"""``process="auto"``: a channel gets a process only where units that were left out are predicted better with it.

The likelihood alone must not decide. Where a basis misfits, a process takes up the misfit and gains hundreds of nats,
while its forecasts are worse. So held-out likelihood **and** held-out forecasts have to gain, each by more than one
standard error of the paired differences of whole units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.errors import FitError, PredictionError
from cem.fitting.embedding import embedded
from cem.metrics.metrics import interval_score
from cem.numerics.normal import normal_cdf, normal_quantile
from cem.process.channel_process import KINDS, ChannelProcess
from cem.search.fresh import one_mode_run

if TYPE_CHECKING:
    from cem.fitting.process_choice import OneChannel
    from cem.panel.panel import Panel

__all__ = ["Trial", "held_out_process"]

FloatArray = NDArray[np.float64]

_N_FOLDS = 5
_CUTS = (1 / 3, 2 / 3)  # of a unit's readings, after which the later ones are forecast
_LEAST_READINGS = 4  # of a unit that is asked for forecasts
_MOST_ASKED = 30  # readings that are forecast for each cut
_LEVEL = 0.9
_LEAST_UNITS = 4


_FIGURES = ("likelihood", "likelihood_error", "score", "score_error", "interval", "interval_error")


@dataclass(frozen=True)
class Trial:
    """How one kind of process did on units that were left out, beside no process.

    Parameters
    ----------
    channel : str
    process : ChannelProcess
        Its ratio (and rate) of highest likelihood.
    likelihood, likelihood_error : float
        Gain of ℓ per unit, and its standard error.
    score, score_error : float
        Share by which the CRPS of forecasts falls, and its standard error.
    interval, interval_error : float
        The same of the interval score at 90 %.
    chosen : bool
    reason : str
        Why it is chosen, or is not.
    """

    channel: str
    process: ChannelProcess
    likelihood: float
    likelihood_error: float
    score: float
    score_error: float
    interval: float
    interval_error: float
    chosen: bool
    reason: str

    def record(self) -> dict[str, Any]:
        """What the model keeps of it."""
        return {
            "channel": self.channel, "kind": self.process.kind, "ratio": self.process.ratio, "rate": self.process.rate,
            "log_likelihood_gain": self.likelihood, "log_likelihood_error": self.likelihood_error,
            "crps_gain": self.score, "crps_error": self.score_error,
            "interval_gain": self.interval, "interval_error": self.interval_error,
            "chosen": self.chosen, "reason": self.reason,
        }  # fmt: skip


def held_out_process(name: str, one: OneChannel) -> tuple[ChannelProcess | None, list[Trial]]:
    """The process of one channel, or None, and what was tried.

    Its ratio and rate, one number or two, are those of all units; everything else is fitted to the other folds.

    Parameters
    ----------
    name : str
        Of the channel.
    one : OneChannel
        Its readings, of at most 200 units.
    """
    if one.panel.n_units < _LEAST_UNITS:
        return None, []
    plain = _scores(one, None)
    if plain is None:
        return None, []
    trials: list[Trial] = []
    scores: list[Any] = []
    for kind in KINDS:
        process = one.most_likely(kind)
        found = _scores(one, process) if process.ratio > 0 else None
        numbers: Any = (np.nan,) * 6 if found is None else tuple(
            number for gain in (found[0] - plain[0], *_shares(plain, found)) for number in _mean_and_error(gain)
        )  # fmt: skip
        figures: dict[str, Any] = dict(zip(_FIGURES, numbers, strict=True))
        trials.append(Trial(name, process, **figures, chosen=False, reason=_fault(process, numbers)))
        scores.append(found)
    # The simplest of those whose forecasts are within one standard error of the best ones.
    passed = [i for i, trial in enumerate(trials) if not trial.reason]
    if not passed:
        return None, trials
    best = min(passed, key=lambda i: float(np.nanmean(scores[i][1])))
    for i in passed:
        mean, error = _mean_and_error(_shares(scores[i], scores[best])[0])
        if i == best or mean <= error:
            chosen = i
            break
    why = "the best forecasts" if chosen == best else "simpler than the best one, within one standard error of it"
    others = "forecasts not better than those of a simpler one" if chosen != best else "not the best forecasts"
    trials = [
        Trial(**{**vars(trial), "chosen": i == chosen, "reason": why if i == chosen else trial.reason or others})
        for i, trial in enumerate(trials)
    ]
    return trials[chosen].process, trials


def _fault(process: ChannelProcess, numbers: Sequence[float]) -> str:
    """Why a kind is not taken; empty of one that gains."""
    if process.ratio == 0:
        return "no wander is more likely than none"
    if not np.isfinite(numbers).all():
        return "it cannot be fitted to the folds"
    for what, gain, error in zip(
        ("likelihood", "CRPS of forecasts", "interval score of forecasts"), numbers[::2], numbers[1::2], strict=True
    ):
        if not gain > error:
            return f"held-out {what} gains no more than one standard error"
    return ""


def _mean_and_error(gains: FloatArray) -> tuple[float, float]:
    """Mean over the units that have one, and its standard error."""
    gains = gains[~np.isnan(gains)]
    if len(gains) < 2:
        return np.nan, np.nan
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def _shares(plain: tuple[FloatArray, ...], other: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
    """By what share of the mean score of `plain` CRPS and interval score of each unit fall, (L,) each."""
    return (
        (plain[1] - other[1]) / np.nanmean(plain[1]),
        (plain[2] - other[2]) / np.nanmean(plain[2]),
    )


def _scores(one: OneChannel, process: ChannelProcess | None) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Of each unit, by the fit to the other folds, (L,): ℓ, and CRPS and interval score of its forecasts."""
    panel = one.panel
    n_units = panel.n_units
    folds = np.random.default_rng(0).permutation(np.arange(n_units) % min(_N_FOLDS, n_units))
    found = np.full((3, n_units), np.nan)
    for fold in range(int(folds.max()) + 1):
        out = np.flatnonzero(folds == fold)
        try:
            model = _fitted(one, np.flatnonzero(folds != fold), process)
            found[0, out] = model.score_samples(panel[out])
            for row, cuts in zip((1, 2), _forecast_scores(model, panel[out]), strict=True):
                found[row, out] = cuts
        except (FitError, PredictionError, np.linalg.LinAlgError):
            return None
    if np.isnan(found[1]).all():  # no unit has readings enough to forecast some from others
        return None
    return found[0], found[1], found[2]


def _fitted(one: OneChannel, units: NDArray[np.intp], process: ChannelProcess | None) -> Any:
    """The model of some units, all in one mode."""
    from cem.model.model import FailureModeModel

    statistics, constraints, plan = one.problem(one.panel[units], process)
    parameters = one_mode_run(Expectation(statistics), constraints).parameters
    coordinates = statistics.coordinates
    if plan is not None:
        own = embedded(parameters, statistics, plan)
        parameters, coordinates = own.parameters, own.coordinates
    return FailureModeModel(
        parameters=parameters,
        coordinates=coordinates,
        bases=statistics.bases,
        channels=one.panel.channels,
        processes=None if process is None else (process,),
    )


def _forecast_scores(model: Any, panel: Panel) -> tuple[FloatArray, FloatArray]:
    """CRPS and interval score of each unit's later readings given its earlier ones, over the cuts, (L,) each.

    NaN of a unit of few readings.
    """
    crps, interval = np.full((2, len(_CUTS), panel.n_units), np.nan)
    for i, cut in enumerate(_CUTS):
        values = panel.values.copy()
        asked = np.empty((panel.n_units, _MOST_ASKED))
        truth = np.full((panel.n_units, _MOST_ASKED), np.nan)
        for l in range(panel.n_units):
            begin, end = int(panel.offsets[l]), int(panel.offsets[l + 1])
            asked[l] = panel.times[end - 1]
            seen = begin + np.flatnonzero(~np.isnan(values[begin:end, 0]))
            if len(seen) < _LEAST_READINGS:
                continue
            first = max(2, round(cut * len(seen)))
            later = seen[first:]
            later = later[np.linspace(0, len(later) - 1, min(len(later), _MOST_ASKED)).round().astype(np.int64)]
            asked[l, : len(later)], truth[l, : len(later)] = panel.times[later], values[later, 0]
            values[seen[first] : end] = np.nan
        forecast = model.forecast(panel._replace(values=values), asked, 0)
        known = ~np.isnan(truth)
        mean, deviation = forecast.mean, np.sqrt(forecast.variance)
        z = (np.where(known, truth, mean) - mean) / deviation
        density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
        half = float(normal_quantile(0.5 + 0.5 * _LEVEL)) * deviation
        own = deviation * (z * (2.0 * normal_cdf(z) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))
        width = interval_score(np.where(known, truth, mean), mean - half, mean + half, level=_LEVEL)
        some = known.any(axis=1)
        for scores, each in ((crps, own), (interval, width)):
            scores[i, some] = np.where(known, each, 0.0).sum(axis=1)[some] / known.sum(axis=1)[some]
    return crps.mean(axis=0), interval.mean(axis=0)
