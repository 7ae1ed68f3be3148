"""Laws to a threshold of units that were left out, cut off at ages; units that never crossed included."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import CemWarning, FitError, OptionError, PanelError, ThresholdWarning
from cem.errors.names import listed
from cem.errors.warning import warn
from cem.numerics.threads import in_order, threads_told
from cem.prognosis.censored import Followed, Outcomes
from cem.prognosis.heldout import N_POINTS, cut_off_ages, drawing, folds_of_units, in_fold
from cem.prognosis.without_sensors import law_of_all_lives, lives_without_sensors

if TYPE_CHECKING:
    from cem.mixture.life_law import RemainingLifeLaw
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.passage.law import FirstPassage

__all__ = [
    "HeldOutPassages",
    "direction_of_readings",
    "first_crossings_of_readings",
    "hold_out_passages",
    "judged_units",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_LEAST_UNITS = 4
_MOST_NAMED = 8
_ONE_SIDE = 0.8
"""Share of the units that must begin on one side of a threshold for its direction to be plain."""


@dataclass(frozen=True, eq=False)
class HeldOutPassages:
    """Predictions of all folds: a law for each part, and the outcomes of all.

    Parameters
    ----------
    laws : tuple of FirstPassage
        In the order of `outcomes`.
    folds : tuple of int
        The fold of each law.
    outcomes : Outcomes
        Of all predictions.
    alone : tuple of RemainingLifeLaw
        The same predictions from the law of crossing ages alone.
    models : tuple of FailureModeModel
        Of the folds.
    units : tuple of ndarray of int64
        The units of each fold, by position in the panel.
    n_crossed : int
        Units that cross within their records.
    """

    laws: tuple[FirstPassage, ...]
    folds: tuple[int, ...]
    outcomes: Outcomes
    alone: tuple[RemainingLifeLaw, ...]
    models: tuple[FailureModeModel, ...]
    units: tuple[NDArray[np.int64], ...]
    n_crossed: int


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
    ends, running = _ends_of_readings(panel, channel, threshold, direction)
    return np.where(running, np.nan, ends)


def _ends_of_readings(panel: Panel, channel: str, threshold: float, direction: str) -> tuple[FloatArray, BoolArray]:
    """Where each unit crosses, or its last reading of the channel if it does not, and whether it does not, (L,).

    NaN for a unit that begins beyond the threshold, or of which there is only one reading.
    """
    column = panel.channels.index(channel)
    found, running = np.full(panel.n_units, np.nan), np.zeros(panel.n_units, dtype=np.bool_)
    sign = 1.0 if direction == "upper" else -1.0
    for unit, (first, last) in enumerate(zip(panel.offsets[:-1], panel.offsets[1:], strict=True)):
        beyond = sign * (panel.values[first:last, column] - threshold)
        read = np.flatnonzero(~np.isnan(beyond))
        across = np.flatnonzero(beyond[read] >= 0)
        times = panel.times[first:last]
        if len(across) and across[0] > 0:
            before, after = read[across[0] - 1], read[across[0]]
            share = -beyond[before] / (beyond[after] - beyond[before])
            found[unit] = times[before] + share * (times[after] - times[before])
        elif not len(across) and len(read) and times[read[-1]] > times[0]:
            found[unit], running[unit] = times[read[-1]], True
    return found, running


def direction_of_readings(panel: Panel, channel: str, threshold: float) -> str:
    """From which side units come to a threshold, by their first readings.

    Raises
    ------
    OptionError
        Units begin on both sides.
    """
    column = panel.channels.index(channel)
    firsts = [own[np.flatnonzero(~np.isnan(own))[:1]] for own in np.split(panel.values[:, column], panel.offsets[1:-1])]
    below = float(np.mean(np.concatenate(firsts) < threshold))
    if below >= _ONE_SIDE:
        return "upper"
    if below <= 1.0 - _ONE_SIDE:
        return "lower"
    raise OptionError(
        f"direction: {below:.0%} of the units begin below the threshold {threshold:g} of channel {channel!r}, so it is "
        "not plain from which side it is crossed; give direction='upper' or 'lower'"
    )


def judged_units(
    panel: Panel, channel: str, threshold: float, direction: str
) -> tuple[NDArray[np.int64], FloatArray, BoolArray]:
    """Positions of the units that are predicted, where their lives or records end, and which do not cross, (F,) each.

    Parameters
    ----------
    panel : Panel
    channel, threshold, direction
        What is crossed.

    Raises
    ------
    PanelError
        There is no such channel, or fewer than four units cross the threshold within their records.

    Warns
    -----
    ThresholdWarning
        Units are never predicted, because they begin beyond the threshold or have a single reading.
    """
    if channel not in panel.channels:
        raise PanelError(f"the panel has no channel {channel!r}; its channels are {listed(panel.channels, 12)}")
    every_end, every_running = _ends_of_readings(panel, channel, threshold, direction)
    judged = np.flatnonzero(~np.isnan(every_end))
    ends, running = every_end[judged], every_running[judged]
    if int((~running).sum()) < _LEAST_UNITS:
        raise PanelError(
            f"{int((~running).sum())} of {panel.n_units} units cross {threshold:g} after their first reading and "
            f"within their records; at least {_LEAST_UNITS} are needed"
        )
    if len(judged) < panel.n_units:
        named = [panel.units[int(i)] for i in np.flatnonzero(np.isnan(every_end))]
        warn(
            f"{len(named)} of {panel.n_units} units begin beyond {threshold:g}, or have a single reading of "
            f"{channel!r} ({listed(named, _MOST_NAMED)}): they are trained on, and nothing is known of their lives",
            ThresholdWarning,
        )
    return judged, ends, running


def hold_out_passages(
    panel: Panel,
    fit: Callable[[Panel], FailureModeModel],
    predict: Callable[[FailureModeModel, Panel], FirstPassage],
    channel: str,
    threshold: float,
    direction: str,
    *,
    ages: Mapping[Hashable, ArrayLike] | ArrayLike | int,
    n_folds: int,
    cap: float | None,
    random_state: int,
    n_jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> HeldOutPassages:
    """Fit without each fold in turn, and predict its units at their cut-offs.

    Parameters
    ----------
    panel : Panel
        Units that begin beyond the threshold, or have a single reading, are trained on in every fold and never
        predicted. Units that do not cross are predicted like the others: it is known that they lived for so long.
    fit, predict : callable
        A model of some units, and its law of others.
    channel, threshold, direction
        What is crossed.
    ages
        As for `cem.ThresholdLife.calibrated`.
    n_folds : int
        Number of folds.
    cap : float, optional
        Of scores. Default: the horizon of the laws, or else the longest time that a unit was followed.
    random_state : int
        Seed of the folds and ages.
    n_jobs, progress
        As for `cem.prognosis.heldout.hold_out`.

    Raises
    ------
    PanelError
        As for `judged_units`, which warns too.
    """
    judged, ends, running = judged_units(panel, channel, threshold, direction)
    units = panel[judged]
    first = units.times[np.asarray(units.offsets[:-1])]
    cuts = _ages_before(units, first, ends, ages, random_state)
    fold_of = folds_of_units(len(judged), n_folds, random_state)
    # Ages count from zero where the clock has one, as lives do at failure.
    origin = np.where(bool((first >= 0).all()) and bool((ends > 0).all()), 0.0, first)

    def one(fold: int) -> tuple[FailureModeModel, list[Any]]:
        held = np.flatnonzero(fold_of == fold)
        trained_on = np.ones(panel.n_units, dtype=np.bool_)
        trained_on[judged[held]] = False
        others = fold_of != fold
        lives = (ends - origin)[others]
        law = law_of_all_lives(lives[~running[others]], lives[running[others]])
        parts = []
        with in_fold(fold, fold_of), warnings.catch_warnings():
            warnings.simplefilter("ignore", CemWarning)
            model = fit(panel[trained_on])
            for column in range(cuts.shape[1]):
                own = held[~np.isnan(cuts[held, column])]
                if not len(own):
                    continue
                cut = units[own].until(cuts[own, column])
                last = cut.times[np.asarray(cut.offsets[1:]) - 1]
                alone = lives_without_sensors(law, last - origin[own], N_POINTS)
                parts.append((predict(model, cut), alone, own, last, fold))
        return model, parts

    done = []
    with threads_told(FitError), closing(in_order(one, range(n_folds), n_jobs, take_part=False)) as results:
        for result in results:
            done.append(result)
            if progress is not None:
                progress("fold", len(done), n_folds)
    laws, alone, positions, last, folds = zip(*(part for _, parts in done for part in parts), strict=True)
    clusters, now = np.concatenate(positions), np.concatenate(last)
    followed = Followed.of(ends - first, running)
    horizon = max(float(law.horizon) for law in laws)
    limit = cap or (horizon if np.isfinite(horizon) else float((ends - first).max()))
    outcomes = Outcomes(ends[clusters] - now, running[clusters], now - first[clusters], clusters, limit, followed)
    models = tuple(model for model, _ in done)
    held_units = tuple(judged[fold_of == fold] for fold in range(n_folds))
    return HeldOutPassages(laws, folds, outcomes, alone, models, held_units, int((~running).sum()))


def _ages_before(
    panel: Panel, first: FloatArray, ends: FloatArray, ages: Mapping[Hashable, ArrayLike] | ArrayLike | int,
    random_state: int,
) -> FloatArray:  # fmt: skip
    """Ages at which units are cut off, between their first reading and their end, (L, m); NaN: one less of this unit.

    A number of them is a mean: at random, with one distance for all units, so that every age counts alike. Equally many
    for each unit would count a unit that stopped being followed at other ages than had it been seen to its end.
    """
    if isinstance(ages, (int, np.integer)) and not isinstance(ages, bool) and ages >= 1:
        spans = ends - first
        distance = spans.mean() / ages
        starts = drawing(random_state).random(panel.n_units)
        drawn = distance * (starts[:, None] + np.arange(int(np.ceil(spans.max() / distance))))
        return np.where(drawn < spans[:, None], first[:, None] + drawn, np.nan)
    from cem.panel.panel import Panel as Units

    # Two readings of one channel stand for each unit: what `cut_off_ages` asks for is where it begins and ends.
    between = Units.from_arrays(
        [np.array([begin, begin + 0.5 * (end - begin)]) for begin, end in zip(first, ends, strict=True)],
        [np.zeros((2, 1))] * panel.n_units, units=panel.units, failure_times=ends,
    )  # fmt: skip
    return cut_off_ages(between, ages, random_state)
