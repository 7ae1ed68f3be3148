"""The log-likelihood of units that were left out, for each number of modes, on the same folds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cem.errors import CemError, CemWarning, FitError, OptionError
from cem.errors.names import counted
from cem.fitting.criteria import panel_likelihood
from cem.fitting.estimator import FailureModeEM
from cem.numerics.threads import in_order, threads_told
from cem.panel.panel import Panel
from cem.prognosis.heldout import folds_of_units
from cem.selection.mode_choice import ModeCandidate

__all__ = ["folds_of", "held_out_scores", "with_held_out"]

FloatArray = NDArray[np.float64]

_LEAST_FOLDS = 2
_FEWER_OR = "take fewer folds, or "


def held_out_scores(
    estimator_of: Callable[[int], FailureModeEM],
    panel: Panel,
    numbers: Sequence[int],
    fold_of: NDArray[np.int64],
    *,
    n_jobs: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[int, FloatArray], dict[int, str]]:
    """Held-out log-likelihoods by number of modes.

    Parameters
    ----------
    estimator_of : callable
        An estimator of so many modes, not fitted.
    panel : Panel
    numbers : sequence of int
        Numbers of modes.
    fold_of : ndarray of shape (L,), int64
        From `folds_of`.
    n_jobs : int
        Fits that run side by side.
    progress : callable, optional
        Called with (fits done, fits).

    Returns
    -------
    scores : dict
        Forward: an array (L,), of each unit. On the time to failure: an array (folds,), the mean of each fold's units,
        lives included. Numbers of modes that a fold could not be fitted or scored with are left out.
    failures : dict
        Why, by these numbers of modes.

    Raises
    ------
    KeyboardInterrupt
        A fit was interrupted: it would count as a bad one.
    """
    to_failure = estimator_of(1).time_axis == "to_failure"
    n_folds = int(fold_of.max()) + 1
    tasks = [(n_modes, fold) for n_modes in numbers for fold in range(n_folds)]

    def one(task: tuple[int, int]) -> FloatArray | str:
        n_modes, fold = task
        held = panel[fold_of == fold]
        try:
            em = estimator_of(n_modes).fit(panel[fold_of != fold])
            if em.interrupted_:
                raise KeyboardInterrupt
            scores: FloatArray
            if to_failure:
                scores = np.array([panel_likelihood(em.model_, held.with_modes(None))[0] / held.n_units])
            else:
                scores = em.score_samples(held.select_channels(em.channels_))
        except CemError as error:
            return f"without the units of fold {fold + 1} of {n_folds}: {error}"
        if not np.isfinite(scores).all():
            return f"without the units of fold {fold + 1} of {n_folds}: they have no finite likelihood"
        return scores

    found: dict[tuple[int, int], FloatArray | str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        with threads_told(FitError), closing(in_order(one, tasks, n_jobs, take_part=False)) as results:
            for task, scores in zip(tasks, results, strict=True):
                found[task] = scores
                if progress is not None:
                    progress(len(found), len(tasks))
    result: dict[int, FloatArray] = {}
    failures: dict[int, str] = {}
    for n_modes in numbers:
        parts = [found[n_modes, fold] for fold in range(n_folds)]
        whole = [part for part in parts if not isinstance(part, str)]
        if len(whole) == n_folds:
            result[n_modes] = np.concatenate(whole)
        else:
            failures[n_modes] = next(part for part in parts if isinstance(part, str))
    return result, failures


def folds_of(panel: Panel, n_folds: int, random_state: int, time_axis: str) -> NDArray[np.int64]:
    """The fold of each unit, (L,); on the time to failure every fold has its share of the failed units.

    Raises
    ------
    OptionError
        There are more folds than units, or than units that failed.
    """
    if panel.n_units < n_folds:
        raise OptionError(
            f"n_folds is {n_folds}, and the panel has {counted(panel.n_units, 'unit')}; every fold needs one, so "
            f"{_FEWER_OR if panel.n_units >= _LEAST_FOLDS else ''}give more units"
        )
    if time_axis != "to_failure":
        return folds_of_units(panel.n_units, n_folds, random_state)
    failed = ~np.isnan(panel.failure_times)
    n_failed = int(failed.sum())
    if n_failed < n_folds:
        raise OptionError(
            f"n_folds is {n_folds}, and {n_failed} of the {panel.n_units} units failed; on the time to failure every "
            f"fold needs one, so {_FEWER_OR if n_failed >= _LEAST_FOLDS else ''}give more units that failed"
        )
    fold_of = np.empty(panel.n_units, dtype=np.int64)
    fold_of[failed] = folds_of_units(n_failed, n_folds, random_state)
    fold_of[~failed] = np.random.default_rng(random_state).permutation(np.arange(panel.n_units - n_failed) % n_folds)
    return fold_of


def with_held_out(candidates: Sequence[ModeCandidate], scores: Mapping[int, FloatArray]) -> tuple[ModeCandidate, ...]:
    """The candidates with their held-out scores, and the standard errors of the differences to the best."""
    if not scores:
        return tuple(candidates)
    best = max(scores, key=lambda n_modes: (scores[n_modes].mean(), -n_modes))
    found = []
    for one in candidates:
        own = scores.get(one.n_modes)
        if own is None:
            found.append(one)
            continue
        gaps = scores[best] - own
        error = float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
        found.append(replace(one, held_out=float(own.mean()), held_out_standard_error=error))
    return tuple(found)
