"""Choose basis, number of modes and other options by cross-validation over whole units.

Candidates are estimators with different options. Each is fitted without every fold in turn and scored on the held-out
units: by the log-likelihood of their readings, or by predictions of their remaining lives at fixed cut-off ages. BIC,
AIC and ICL of the fit to all units are reported beside the scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import CemWarning, FitError, OptionError, PanelError
from cem.errors.display import escaped
from cem.errors.names import counted, listed
from cem.errors.options import real
from cem.fitting.estimator import FailureModeEM
from cem.metrics.metrics import cluster_standard_error, crps_pmf, rmse
from cem.numerics.threads import in_order, threads_told
from cem.prognosis.distribution import RemainingLifeDistribution, over_modes
from cem.prognosis.heldout import HeldOut, cut_off_ages, folds_of_units, hold_out, in_fold
from cem.prognosis.heldout_passages import direction_of_readings, hold_out_passages, judged_units
from cem.prognosis.reliability import scores_of_laws
from cem.prognosis.remaining_life import RemainingLife
from cem.prognosis.threshold_life import ThresholdLife
from cem.prognosis.without_sensors import warn_of_no_skill

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.passage.law import FirstPassage
    from cem.prognosis.heldout_passages import HeldOutPassages

__all__ = ["SCORES", "CrossValidation", "Scored", "WithoutSensors", "cross_validate"]

FloatArray = NDArray[np.float64]

SCORES = ("rmse", "crps", "log_score", "log_likelihood", "mae", "brier")
"""To choose by; "log_likelihood" is better when larger, the others when smaller; "mae" and "brier" need a threshold."""

_OF_THRESHOLDS = ("mae", "brier")
_ONLY_OF_THRESHOLDS = ("mae", "coverage_90", "brier")
_OF_LIVES = ("rmse", "crps", "log_score", *_OF_THRESHOLDS)


class _Figures:
    """Equal if all figures are; those that are not known, NaN, are equal to one another.

    Up to Python 3.12 a dataclass takes a NaN object as equal to itself, and from 3.13 on it does not.
    """

    def _compared(self) -> tuple[Any, ...]:
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return tuple(None if isinstance(value, float) and np.isnan(value) else value for value in values)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())


@dataclass(frozen=True, eq=False)
class Scored(_Figures):
    """The scores of one candidate.

    Parameters
    ----------
    name : hashable
        Its key in `candidates`.
    rmse : float
        RMSE of E[min(r, cap)] against min(truth, cap). NaN on the forward time axis, as are all scores of remaining
        lives.
    rmse_standard_error : float
        Its standard error, by the bootstrap over units.
    crps, log_score : float
        Mean continuous ranked probability score, and mean −ln density of the true remaining life.
    log_likelihood : float
        Mean over held-out units of ln P(their whole history), in the panel's units.
    bic, aic, icl : float
        Of the fit to all units, as from `FailureModeEM.bic`, `aic` and `icl`; smaller is better. NaN where its
        covariances are shrunk, because these criteria are for fits by maximum likelihood.
    skill : float
        1 − score / score without sensors: 1 is perfect, and at 0 or below sensors do not help. Of the RMSE if that
        chooses, else of the CRPS; NaN on the forward time axis.
    mae, coverage_90, brier : float
        Of lives to a threshold: mean absolute error of the median, share of the lives inside 90 % intervals, and Brier
        score of the probability to cross within `CrossValidation.within`. NaN without a threshold.
    """

    name: Hashable
    rmse: float
    rmse_standard_error: float
    crps: float
    log_score: float
    log_likelihood: float
    bic: float
    aic: float
    icl: float
    skill: float = float("nan")
    mae: float = float("nan")
    coverage_90: float = float("nan")
    brier: float = float("nan")


@dataclass(frozen=True, eq=False)
class WithoutSensors(_Figures):
    """The scores of predictions from the law of lifetimes alone, given that a unit has reached its age.

    Units and ages are those at which the candidates were scored. The law is fitted to the lives of each fold's training
    units; readings have no part in it.

    Parameters
    ----------
    rmse, crps, log_score, mae, coverage_90, brier : float
        As in `Scored`.
    """

    rmse: float
    crps: float
    log_score: float
    mae: float = float("nan")
    coverage_90: float = float("nan")
    brier: float = float("nan")


@dataclass(frozen=True)
class CrossValidation:
    """The scores of all candidates, in the given order, and the best one. Print it for a table.

    Parameters
    ----------
    scored : tuple of Scored
        The candidates.
    score : str
        The score that `best` uses.
    without_sensors : WithoutSensors, optional
        What the same score is without sensors; None on the forward time axis without a threshold.
    within : float, optional
        Time ahead of the Brier scores; None without a threshold.
    """

    scored: tuple[Scored, ...]
    score: str
    without_sensors: WithoutSensors | None = None
    within: float | None = None

    @property
    def best(self) -> Scored:
        """The candidate with the best score; the first of equals."""
        sign = -1.0 if self.score == "log_likelihood" else 1.0
        return min(self.scored, key=lambda one: sign * float(getattr(one, self.score)))

    def to_frame(self, backend: str | None = None) -> Any:
        """Return the table as a data frame: a row for each candidate, and whether it is the best.

        Names of candidates are texts if they are of several types. With a score of remaining lives the last row is
        "without sensors".

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend)

    def _table(self) -> dict[str, Any]:
        names = [one.name for one in self.scored]
        alone = self.without_sensors
        if alone is not None:
            names.append("without sensors")
        if len({type(name) for name in names}) > 1 or not all(isinstance(name, (str, int)) for name in names):
            names = [str(name) for name in names]
        last = [] if alone is None else [alone]
        columns: dict[str, Any] = {"candidate": names}
        for field in fields(Scored)[1:]:
            if field.name in _ONLY_OF_THRESHOLDS and self.within is None:
                continue
            columns[field.name] = np.array([getattr(one, field.name, np.nan) for one in (*self.scored, *last)])
        if alone is not None:
            columns["skill"][-1] = 0.0
        columns["best"] = np.array([one is self.best for one in self.scored] + [False for _ in last])
        return columns

    def __repr__(self) -> str:
        best = self.best
        return (
            f"CrossValidation of {counted(len(self.scored), 'candidate')}: {best.name!r} is best, with {self.score} "
            f"{getattr(best, self.score):.6g}; print it for a table"
        )

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(repr(self), self._table())

    def __str__(self) -> str:
        names = [escaped(one.name) for one in self.scored]
        alone = self.without_sensors
        width = max(len("candidate" if alone is None else "without sensors"), *map(len, names))
        of_lives: tuple[str, ...] = (
            ("rmse", "crps", "log_score") if alone is None else ("rmse", "crps", "log_score", "skill")
        )
        if self.within is not None:
            of_lives += _ONLY_OF_THRESHOLDS
        columns = (*of_lives, "log_likelihood", "bic", "aic", "icl")
        rows = [f"{'candidate':{width}s} " + " ".join(f"{column:>14s}" for column in columns)]
        for name, one in zip(names, self.scored, strict=True):
            mark = "  <- best" if one is self.best else ""
            rows.append(f"{name:{width}s} " + " ".join(f"{getattr(one, c):14.6g}" for c in columns) + mark)
        if alone is not None:
            figures = [getattr(alone, name, 0.0) for name in of_lives]
            rows.append(f"{'without sensors':{width}s} " + " ".join(f"{figure:14.6g}" for figure in figures))
        if self.within is not None:
            rows.append(f"lives to a threshold; brier: of the probability to cross within {self.within:.4g}")
        return "\n".join(rows)


def cross_validate(
    panel: Panel,
    candidates: Mapping[Any, FailureModeEM],
    *,
    score: str = "crps",
    ages: Mapping[Hashable, ArrayLike] | ArrayLike | int = 10,
    cap: float | None = None,
    n_folds: int = 5,
    random_state: int = 0,
    n_jobs: int = 1,
    progress: Callable[[Hashable, int, int], None] | None = None,
    threshold: float | None = None,
    channel: str | None = None,
    direction: str = "auto",
    within: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> CrossValidation:
    """Score candidate estimators on units that they were not fitted to.

    Parameters
    ----------
    panel : Panel
        Training units. On the time to failure, failed units are held out fold by fold, and running units are always
        trained on. With a threshold, units that do not cross count with what is known of their lives: see "Units that
        never crossed" in model.md.
    candidates : mapping of name to FailureModeEM
        All on the same time axis; they are not changed.
    score : {"rmse", "crps", "log_score", "log_likelihood", "mae", "brier"}
        Score that chooses the best candidate. All but "log_likelihood" need the time to failure or a threshold, and the
        last two a threshold.
    ages : int, array_like of shape (F, m), or mapping of unit to m ages
        Ages at which failed units are cut off: see `cem.prognosis.heldout.cut_off_ages`. The scores depend on the
        ages, so fix them if you compare runs.
    cap : float, optional
        Remaining lives beyond it count as `cap` in the RMSE.
    n_folds : int
        Number of folds.
    random_state : int
        Seed of the folds, and of the ages if they are drawn; the same for all candidates.
    n_jobs : int
        Number of threads; folds run side by side, and the result is the same for any number.
    progress : callable, optional
        Called with (name, folds done, folds).
    threshold : float, optional
        On the forward time axis: score lives until a channel crosses it, as for `cem.ThresholdLife`, with `ages` as for
        `ThresholdLife.calibrated`.
    channel : str, optional
        Of the threshold. Default: the panel's response.
    direction : {"auto", "upper", "lower"}
        From which side it is crossed; "auto": from where units begin.
    within : float, optional
        Time ahead of the Brier score. Default: the median of the remaining lives that are known.
    options : mapping, optional
        As for `cem.ThresholdLife`.

    Returns
    -------
    CrossValidation

    Raises
    ------
    OptionError
        There are no candidates, they differ in time axis, or the score does not suit it.
    PanelError
        On the time to failure: too few units failed for the folds. With a threshold: fewer than four units cross it.

    Warns
    -----
    ThresholdWarning
        Units are never predicted, because they begin beyond the threshold or have a single reading.
    NoSkillWarning
        The best candidate predicts lives no better than without sensors.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()[:60]
    >>> candidates = {k: cem.FailureModeEM(k, n_init=1, random_state=0, covariance="pooled") for k in (1, 2)}
    >>> cem.selection.cross_validate(panel, candidates, score="log_likelihood", n_folds=2).best.name
    2
    """
    if (
        not isinstance(candidates, Mapping)
        or not candidates
        or not all(isinstance(one, FailureModeEM) for one in candidates.values())
    ):
        raise OptionError(
            f"candidates must map names to FailureModeEM estimators, one or more; found a {type(candidates).__name__}; "
            "call cross_validate(panel, {'two modes': FailureModeEM(2), 'three modes': FailureModeEM(3)})"
        )
    axes = {one.time_axis for one in candidates.values()}
    if len(axes) != 1:
        raise OptionError("candidates are on different time axes, so their scores cannot be compared; use one axis")
    if score not in SCORES:
        raise OptionError(f"score={score!r}: one of {', '.join(map(repr, SCORES))} was expected")
    to_failure = axes == {"to_failure"}
    if threshold is None:
        if not to_failure and score in _OF_LIVES:
            raise OptionError(
                f"score={score!r} needs candidates with time_axis='to_failure', or a threshold; on the forward axis "
                "give threshold=, or choose by 'log_likelihood'"
            )
        given = {"channel": channel, "within": within, "options": options, "direction": direction}
        asked = [name for name, value in given.items() if value not in (None, "auto")]
        if asked or score in _OF_THRESHOLDS:
            raise OptionError(f"{asked[0] if asked else f'score={score!r}'} is of a threshold; give threshold= as well")
    elif to_failure:
        raise OptionError(
            "threshold is for the forward time axis, and the candidates are on the time to failure; leave it out"
        )
    else:
        if within is not None and not real("within", within, "a time above 0") > 0:
            raise OptionError(f"within is {within!r}; a time above 0 was expected")
        crossing = _Crossing(
            panel, real("threshold", threshold, "one finite number"), channel, direction, dict(options or {})
        )
    judged = panel
    cuts = np.zeros((0, 0))
    if to_failure:
        failed = ~np.isnan(panel.failure_times)
        if int(failed.sum()) < 2:
            raise PanelError(f"{int(failed.sum())} of {panel.n_units} units have failed; at least 2 are needed")
        judged = panel[failed]
        cuts = cut_off_ages(judged, ages, random_state)
    fold_of = folds_of_units(judged.n_units, n_folds, random_state)
    scored = []
    alone: WithoutSensors | None = None
    of_threshold: dict[str, float] = {}
    for name, estimator in candidates.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CemWarning)  # one for each fold and candidate would bury the result

            def step(_: str, done: int, total: int, name: Hashable = name) -> None:
                if progress is not None:
                    progress(name, done, total)

            if to_failure:
                held = hold_out(panel, _fit_of(estimator), cuts, fold_of, n_jobs=n_jobs, progress=step)
                figures = _of_lives(held, [fold.law() for fold in held.folds], cap)
                if alone is None:  # folds and ages are those of all candidates
                    laws = [fold.law_without_sensors() for fold in held.folds]
                    value, _, crps, log_score = _of_lives(held, laws, cap)
                    alone = WithoutSensors(value, crps, log_score)
                skill = _skill(figures, alone, score)
                likelihoods = [
                    fold.prognosis.model.score_samples(
                        judged[np.unique(fold.positions)].select_channels(fold.prognosis.model.channels)
                    )
                    for fold in held.folds
                ]
            elif threshold is not None:
                asked_of = {"ages": ages, "cap": cap, "n_folds": n_folds, "random_state": random_state}
                passages = crossing.held_out(estimator, **asked_of, n_jobs=n_jobs, progress=step)
                outcomes = passages.outcomes
                if within is None:  # outcomes are those of all candidates
                    within = float(np.median(outcomes.lives[~outcomes.running]))
                of_threshold = scores_of_laws(passages.laws, outcomes, within)
                if alone is None:
                    of_none = scores_of_laws(passages.alone, outcomes, within)
                    alone = WithoutSensors(**{f.name: of_none[f.name] for f in fields(WithoutSensors)})
                names = ("rmse", "rmse_standard_error", "crps", "log_score")
                figures = tuple(of_threshold.pop(one) for one in names)  # type: ignore[assignment]  # four
                skill = _skill(figures, alone, score)
                likelihoods = [
                    model.score_samples(panel[own].select_channels(model.channels))
                    for model, own in zip(passages.models, passages.units, strict=True)
                ]
            else:
                figures, skill, likelihoods = (float("nan"),) * 4, float("nan"), []
                forward = partial(_of_readings, judged, estimator, fold_of)
                folds = in_order(forward, range(n_folds), n_jobs, take_part=False)
                with threads_told(FitError), closing(folds) as found_in_order:
                    for found in found_in_order:
                        likelihoods.append(found)
                        step("fold", len(likelihoods), n_folds)
            whole = _fitted(estimator, panel)
            scored.append(
                Scored(
                    name,
                    *figures,
                    float(np.concatenate(likelihoods).mean()),
                    *((float("nan"),) * 3 if whole.shrinkage_ else (whole.bic(), whole.aic(), whole.icl())),
                    skill,
                    **of_threshold,
                )
            )
    result = CrossValidation(tuple(scored), score, alone, None if threshold is None else within)
    if alone is not None:
        which = "rmse" if score == "rmse" else "crps"
        value, without = getattr(result.best, which), getattr(alone, which)
        warn_of_no_skill(
            result.best.skill, which.upper(), value, without, f"the best candidate, {result.best.name!r}, "
        )
    return result


class _Crossing:
    """What is crossed, checked once for all candidates."""

    def __init__(self, panel: Panel, threshold: float, channel: str | None, direction: str, options: Any) -> None:
        name = channel or panel.response
        if name is None or name not in panel.channels:
            raise OptionError(
                f"channel is {channel!r}; name the channel of the threshold, one of {listed(panel.channels, 12)}"
            )
        if direction == "auto":
            direction = direction_of_readings(panel, name, threshold)
        elif direction not in ("upper", "lower"):
            raise OptionError(f"direction is {direction!r}; 'auto', 'upper' or 'lower' was expected")
        judged_units(panel, name, threshold, direction)  # it refuses and warns here, and not for each candidate
        self.panel, self.what, self.options = panel, (name, threshold, direction), options

    def held_out(self, estimator: FailureModeEM, **asked: Any) -> HeldOutPassages:
        """Its laws of units that were left out."""
        name, threshold, direction = self.what

        def predict(model: FailureModeModel, cut: Panel) -> FirstPassage:
            life = ThresholdLife(model, threshold, channel=name, direction=direction, options=self.options)
            return life.predict(cut)

        def fit(part: Panel) -> FailureModeModel:
            return _fitted(estimator, part).model_

        return hold_out_passages(self.panel, fit, predict, *self.what, **asked)


def _skill(figures: tuple[float, float, float, float], alone: WithoutSensors, score: str) -> float:
    """1 − score / score without sensors: of the RMSE if that chooses, else of the CRPS."""
    value, without = (figures[0], alone.rmse) if score == "rmse" else (figures[2], alone.crps)
    return 1.0 - value / without if without > 0 else float("nan")


def _fitted(estimator: FailureModeEM, panel: Panel) -> FailureModeEM:
    """A copy of the estimator, fitted, its parameters taken as known.

    A fit that was interrupted has no figures to compare.
    """
    em = FailureModeEM(**{**estimator.get_params(deep=False), "uncertainty": None}).fit(panel)
    if em.interrupted_:
        raise KeyboardInterrupt
    return em


def _fit_of(estimator: FailureModeEM) -> Callable[[Panel], RemainingLife]:
    def fit(part: Panel) -> RemainingLife:
        return RemainingLife(_fitted(estimator, part).model_)

    return fit


def _of_readings(panel: Panel, estimator: FailureModeEM, fold_of: NDArray[np.int64], fold: int) -> FloatArray:
    """ln P of the units of a fold under the fit to the others, on the forward axis."""
    with in_fold(fold, fold_of):
        em = _fitted(estimator, panel[fold_of != fold])
        scores: FloatArray = em.score_samples(panel[fold_of == fold].select_channels(em.channels_))
        return scores


def _of_lives(
    held: HeldOut, laws: Sequence[RemainingLifeDistribution], cap: float | None
) -> tuple[float, float, float, float]:
    """RMSE, its standard error, CRPS and log score of the predictions of all folds."""
    predicted: list[FloatArray] = []
    crps: list[FloatArray] = []
    logs: list[FloatArray] = []
    for fold, law in zip(held.folds, laws, strict=True):
        masses = over_modes(law.pmf)
        predicted.append(law.mean(cap))
        crps.append(crps_pmf(fold.truth, law.grid, masses))
        cell = np.clip(np.searchsorted(law.edges, fold.truth) - 1, 0, len(law.grid) - 1)
        density = masses[np.arange(len(masses)), cell] / np.diff(law.edges)[cell]
        logs.append(-np.log(np.maximum(density, 1e-300)))
    truth = held.collected("truth").astype(np.float64)
    if cap is not None:
        truth = np.minimum(truth, cap)
    guess = np.concatenate(predicted)
    squares = np.square(guess - truth)
    value = rmse(truth, guess)
    # Delta method: from the error of the mean square to that of its root.
    error = cluster_standard_error(squares, held.collected("positions")) / (2.0 * max(value, 1e-300))
    return value, error, float(np.concatenate(crps).mean()), float(np.concatenate(logs).mean())
