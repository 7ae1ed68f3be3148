"""Readings enter copies of units' states, and units are asked: by the compiled scorer, or one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cem.scoring.scorer import Scorer, Unit

__all__ = ["enter", "query"]

FloatArray = NDArray[np.float64]
Rows = tuple[FloatArray, FloatArray, NDArray[np.int32], NDArray[np.int64], FloatArray | None]
"""Times (N,), values (N, C), the rows unit by unit (N,), where each unit's begin (L + 1,), and covariates (N, m)."""


def enter(
    scorer: Scorer, rows: Rows, states: FloatArray, each: FloatArray | None, n_threads: int
) -> tuple[int, int] | None:
    """Readings enter their units; (unit, row) of the first that failed, whose states are then good for nothing.

    Parameters
    ----------
    scorer : Scorer
    rows : Rows
    states : ndarray of shape (L, n)
        Changed in place.
    each : ndarray of shape (N, K + 1) or None
        Written: mode probabilities and novelty of a row's unit after the row.
    n_threads : int
    """
    times, values, order, offsets, w = rows
    if each is None or not (scorer._linked or scorer._grouped):
        failure = scorer._advance(times, values, order, offsets, states, None, each, n_threads, w)
        return None if failure is None else failure[:2]
    for l, unit in _units(scorer, states):
        for row in order[offsets[l] : offsets[l + 1]].tolist():
            one = slice(row, row + 1)
            try:
                unit._update_rows(times[one], values[one], None if w is None else w[one])
                each[row, :-1], each[row, -1] = unit.mode_probabilities(), unit.novelty()
            except ScorerError:
                return l, row
        states[l] = np.concatenate([unit._get_state(), unit._get_memory()])
    return None


def query(scorer: Scorer, states: FloatArray, probabilities_out: FloatArray, n_threads: int) -> int | None:
    """Mode probabilities (L, K) of units; the first that has none, or None.

    Parameters
    ----------
    scorer : Scorer
    states : ndarray of shape (L, n)
    probabilities_out : ndarray of shape (L, K)
    n_threads : int
    """
    if not scorer._linked:
        times, values = np.empty(0), np.empty((0, scorer.n_channels))
        order, offsets = np.empty(0, dtype=np.int32), np.zeros(len(states) + 1, dtype=np.int64)
        found = np.empty((len(states), scorer._n_columns)) if scorer._grouped else probabilities_out
        failure = scorer._advance(times, values, order, offsets, states, found, None, n_threads)
        if scorer._grouped:
            scorer._sum_components(found, probabilities_out)
        return None if failure is None else failure[0]
    for l, unit in _units(scorer, states):
        try:
            unit.mode_probabilities(out=probabilities_out[l])
        except ScorerError:
            return l
    return None


def _units(scorer: Scorer, states: FloatArray) -> Iterator[tuple[int, Unit]]:
    """One unit that takes on one state after the other."""
    unit: Any = scorer._blank()
    n_state = len(unit._get_state())
    for l, numbers in enumerate(states):
        if n_state < len(numbers):
            unit._set_memory(numbers[n_state:])
        unit._set_state(numbers[:n_state])
        yield l, unit
