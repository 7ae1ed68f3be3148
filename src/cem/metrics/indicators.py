"""The value of channels for prognosis: monotonicity, trendability and prognosability.

A channel is useful if it moves one way, alike on every unit, and ends at one level. Each metric gives one figure per
channel, between 0 and 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, PanelError

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["monotonicity", "prognosability", "trendability"]

FloatArray = NDArray[np.float64]


def _histories(panel: Panel, channel: int, window: int, fewest: int) -> list[tuple[int, FloatArray, FloatArray]]:
    """(unit number, times, values) of one channel on each unit with at least ``fewest`` readings, smoothed."""
    if window < 1:
        raise OptionError(f"window is {window}; 1 (no smoothing) or more readings was expected")
    found = []
    for unit in range(len(panel.offsets) - 1):
        rows = slice(int(panel.offsets[unit]), int(panel.offsets[unit + 1]))
        times, values = panel.times[rows], panel.values[rows, channel]
        there = ~np.isnan(values)
        times, values = times[there], values[there]
        if window > 1 and len(values) >= window:
            # Means of `window` consecutive readings, at the time of the last one: the end of life stays in place.
            sums = np.cumsum(np.concatenate([[0.0], values]))
            times, values = times[window - 1 :], (sums[window:] - sums[:-window]) / window
        if len(values) >= fewest:
            found.append((unit, times, values))
    if not found:
        raise PanelError(
            f"channel {panel.channels[channel]!r} has no unit with {fewest} or more readings; leave the channel out"
        )
    return found


def monotonicity(panel: Panel, *, window: int = 1) -> FloatArray:
    """Return ``|number of rises − number of falls| / (n − 1)`` of each channel, mean over units.

    It is 1 for a monotone channel and 0 for one without trend.

    Parameters
    ----------
    panel : Panel
        Units with fewer than two readings of a channel are left out for that channel.
    window : int, default 1
        Number of readings to average first. Noise hides a trend in single steps; 1 is the published form.

    Returns
    -------
    ndarray of shape (C,)
        From 0 to 1.

    References
    ----------
    Coble (2010), "Merging data sources to predict remaining useful life - an automated method to identify
    prognostic parameters", dissertation, University of Tennessee; Coble, Hines (2009), Annual Conference of the
    PHM Society.
    """
    return np.array(
        [
            np.mean([abs(np.sign(np.diff(x)).sum()) / (len(x) - 1) for _, _, x in _histories(panel, c, window, 2)])
            for c in range(len(panel.channels))
        ]
    )


def trendability(panel: Panel, *, window: int = 1, n_points: int = 100) -> FloatArray:
    """Return the smallest ``|correlation|`` of a channel between any two units, at equal fractions of history.

    Parameters
    ----------
    panel : Panel
        At least two units with two readings of every channel.
    window : int
        Number of readings to average first.
    n_points : int
        Number of evenly spaced fractions of life at which histories are interpolated linearly.

    Returns
    -------
    ndarray of shape (C,)
        From 0 to 1. A unit on which the channel is constant has correlation 0 with every other.

    References
    ----------
    Coble (2010), as in `monotonicity`.
    """
    if n_points < 3:
        raise OptionError(f"n_points is {n_points}; 3 or more was expected")
    fractions = np.linspace(0.0, 1.0, n_points)
    result = np.empty(len(panel.channels))
    for c in range(len(panel.channels)):
        histories = _histories(panel, c, window, 2)
        if len(histories) < 2:
            raise PanelError(f"channel {panel.channels[c]!r} is read on one unit only; trendability compares units")
        curves = np.array([np.interp(t[0] + fractions * (t[-1] - t[0]), t, x) for _, t, x in histories])
        centred = curves - curves.mean(axis=1, keepdims=True)
        norms = np.sqrt(np.sum(np.square(centred), axis=1, keepdims=True))
        moving = norms > 1e-12 * np.abs(curves).max(axis=1, keepdims=True)
        unit_curves = np.divide(centred, norms, out=np.zeros_like(centred), where=moving & (norms > 0))
        result[c] = np.abs(unit_curves @ unit_curves.T)[np.triu_indices(len(curves), 1)].min()
    return np.minimum(result, 1.0)


def prognosability(panel: Panel, *, window: int = 1, run_to_failure: bool = False) -> FloatArray:
    """Return ``exp(−sd of the last values / mean |first − last value|)`` of each channel.

    It is 1 if all units fail at one level.

    Parameters
    ----------
    panel : Panel
        Only failed units take part: those with a failure time.
    window : int
        Number of readings to average first.
    run_to_failure : bool
        Take every unit's last reading as its failure, whatever the failure times are.

    Returns
    -------
    ndarray of shape (C,)
        From 0 to 1; 0 if a channel never moves but differs between units, 1 if it is constant on all units.

    Raises
    ------
    PanelError
        Fewer than two failed units have readings of the channel.

    References
    ----------
    Coble (2010), as in `monotonicity`.
    """
    result = np.empty(len(panel.channels))
    for c in range(len(panel.channels)):
        ends = [
            (x[0], x[-1])
            for unit, _, x in _histories(panel, c, window, 2)
            if run_to_failure or np.isfinite(panel.failure_times[unit])
        ]
        if len(ends) < 2:
            raise PanelError(
                f"channel {panel.channels[c]!r} is read on {len(ends)} units with a failure time, and two are needed; "
                "give failure times, or run_to_failure=True if every unit was run to failure"
            )
        first, last = np.array(ends).T
        spread, travel = float(np.std(last, ddof=1)), float(np.mean(np.abs(first - last)))
        result[c] = np.exp(-spread / travel) if travel > 0 else float(spread == 0)
    return result
