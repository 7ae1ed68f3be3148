"""What a saved unit may hold: numbers that readings lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError

if TYPE_CHECKING:
    from cem.scoring.scorer import Scorer, Unit

__all__ = ["are_sound", "require_memory", "require_state"]

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
    if not are_sound(numbers[None], fresh, scorer)[0]:
        raise ScorerError(_ALTERED)


def are_sound(states: FloatArray, fresh: FloatArray, scorer: Scorer) -> NDArray[np.bool_]:
    """Which states (L, n) readings can lead to, (L,); the others are as for `require_state`."""
    places = scorer._state_places()
    last_time, n_observations = states[:, 0], states[:, 1]
    with np.errstate(invalid="ignore", over="ignore"):
        diagonals, squares, weights = (states[:, places[name]] for name in ("diagonals", "squares", "weights"))
        n_channels = weights.shape[1]
        rss = squares[:, :n_channels] + squares[:, n_channels:]
        total = weights.sum(axis=1)
        slack = 1e-9 * (1.0 + n_observations) if scorer.forgetting < 1 else 0.0
        sound: NDArray[np.bool_] = (
            np.isfinite(last_time)
            & (n_observations >= 0)
            & (n_observations <= 2**53)
            & (n_observations == np.floor(n_observations))
            & (np.abs(states[:, 2:]) <= _LARGEST).all(axis=1)
            & (diagonals >= fresh[places["diagonals"]]).all(axis=1)
            & (rss >= 0).all(axis=1)
            & (weights >= 0).all(axis=1)
            & (total <= n_observations + slack if scorer.forgetting < 1 else total == n_observations)
            & (states[:, places["unused"]] == fresh[places["unused"]]).all(axis=1)
        )
        if scorer._wanders:
            sound &= scorer._are_filters(states)  # type: ignore[attr-defined]
    return sound


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
    from cem.scoring.under_conditions import are_rows_of

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
        sound = are_rows_of(unit.scorer, memory[None])
    if not sound:
        raise ScorerError(_ALTERED)
