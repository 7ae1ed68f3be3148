"""What was known of one unit after each of its readings, as one panel, so that one call predicts all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.panel.panel import Panel

__all__ = ["known_at", "moments_of"]

FloatArray = NDArray[np.float64]

_MOST_MOMENTS = 150


def moments_of(panel: Panel, most: int = _MOST_MOMENTS) -> FloatArray:
    """Times of the unit's readings, evenly thinned if there are more than can be told apart in a picture.

    Parameters
    ----------
    panel : Panel
        Of one unit.
    most : int
        Largest number of moments; the first and the last reading are among them.
    """
    times = np.unique(np.asarray(panel.times))
    if len(times) > most:
        times = times[np.unique(np.linspace(0, len(times) - 1, most).round().astype(np.int64))]
    return times


def known_at(panel: Panel, moments: FloatArray) -> Panel:
    """The unit at each moment, as a unit of its own with the id 0, 1, ..., without later readings and failures.

    Parameters
    ----------
    panel : Panel
        Of one unit.
    moments : ndarray of shape (m,)
        Not before its first reading.
    """
    return Panel.concatenate(
        [panel.until(moment)._replace(_unit_ids=np.array([i])) for i, moment in enumerate(moments)]
    )
