"""What a saved unit may hold: numbers that readings lead to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError

if TYPE_CHECKING:
    from cem.scoring.scorer import Scorer, Unit

__all__ = ["require_memory", "require_state"]

FloatArray = NDArray[np.float64]

_ALTERED = (
    "the saved unit holds numbers that no readings lead to, so Unit.to_bytes() did not write it; score its "
    "readings again"
)
_LARGEST = 1e75
"""Readings beyond 1e30 in internal coordinates are refused, so sums of squares stay far below this."""


def require_state(numbers: FloatArray, fresh: FloatArray, scorer: Scorer) -> None:
    """Refuse a state that no readings lead to, even with a valid checksum: later results would not be finite.

    Parameters
    ----------
    numbers, fresh : ndarray of shape (n,)
        The state, and that of a unit without readings.
    scorer : Scorer
        Of the unit.
    """
    places = scorer._state_places()
    last_time, n_observations = numbers[:2].tolist()
    diagonals, squares, weights = (numbers[places[name]] for name in ("diagonals", "squares", "weights"))
    rss = squares[: len(weights)] + squares[len(weights) :]
    total = float(weights.sum())
    slack = 1e-9 * (1.0 + n_observations)
    sound = (
        math.isfinite(last_time)
        and 0 <= n_observations <= 2**53
        and n_observations == int(n_observations)
        and bool((np.abs(numbers[2:]) <= _LARGEST).all())
        and bool((diagonals >= fresh[places["diagonals"]]).all())
        and bool((rss >= 0).all() and (weights >= 0).all())
        and (total <= n_observations + slack if scorer.forgetting < 1 else total == n_observations)
        and np.array_equal(numbers[places["unused"]], fresh[places["unused"]])
    )
    if not sound:
        raise ScorerError(_ALTERED)


def require_memory(unit: Unit, memory: FloatArray, n_observations: int) -> None:
    """Give a unit the covariates of a saved one, or refuse what the model cannot have accepted.

    Parameters
    ----------
    unit : Unit
        Without readings.
    memory : ndarray of shape (m_u + m,)
        Its own covariates, and those at its latest reading; all NaN where it has none.
    n_observations : int
        Values that the saved unit has received.
    """
    from cem.scoring.under_conditions import is_row_of

    n_readings = len(unit.scorer._covariate_names())
    last = memory[len(memory) - n_readings :]
    begun = np.isnan(memory[: len(memory) - n_readings])
    if begun.any() and (n_observations or not begun.all()):
        raise ScorerError(_ALTERED)
    if not begun.any() and not unit._set_memory(memory):
        raise ScorerError(_ALTERED)
    if n_observations == 0:
        sound = bool(np.isnan(last).all())
    else:
        sound = is_row_of(unit.scorer, memory)
    if not sound:
        raise ScorerError(_ALTERED)
