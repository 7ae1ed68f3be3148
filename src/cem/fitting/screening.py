"""Checks of a panel before a fit: constant channels, quantised channels, units that are too short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.errors import ConstantChannelWarning, PanelError, ShortUnitsWarning
from cem.errors.warning import warn

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["decimal_step", "varying_channels", "warn_of_short_units", "warn_of_stuck_channels"]

FloatArray = NDArray[np.float64]

_MOST_NAMED = 5
_FEWEST_FOR_STUCK = 5
_SAMPLE = 2000
_FEW = 8


def _named(names: Sequence[object]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def varying_channels(panel: Panel) -> list[str]:
    """Return the channels that vary; a warning names the others.

    Raises
    ------
    PanelError
        A channel has no observation, or no channel varies.
    """
    silent = [panel.channels[c] for c in np.flatnonzero(panel.counts.sum(axis=0) == 0)]
    if silent:
        raise PanelError(
            f"channel {_named(silent)} has no observation on any unit of this panel; leave it out with "
            "panel.select_channels(...)"
        )
    lowest, highest = np.fmin.reduce(panel.values, axis=0), np.fmax.reduce(panel.values, axis=0)
    constant = [name for name, low, high in zip(panel.channels, lowest, highest, strict=True) if not high > low]
    if len(constant) == panel.n_channels:
        raise PanelError(
            f"no channel varies: {_named(constant)} read the same value everywhere; there is nothing to fit"
        )
    if constant:
        warn(
            f"left out, because every reading has the same value: {_named(constant)}; such channels carry no "
            "information about modes",
            ConstantChannelWarning,
        )
    return [name for name in panel.channels if name not in set(constant)]


def warn_of_stuck_channels(panel: Panel) -> None:
    """Warn of units on which a channel that varies elsewhere has one value in all of its five or more readings."""
    starts = panel.offsets[:-1]
    # NumPy's functions that skip NaN are slower.
    complete = int(panel.counts.sum()) == panel.values.size
    least, most = (np.minimum, np.maximum) if complete else (np.fmin, np.fmax)
    lowest, highest = least.reduceat(panel.values, starts, axis=0), most.reduceat(panel.values, starts, axis=0)
    stuck = (lowest == highest) & (panel.counts >= _FEWEST_FOR_STUCK)
    found = np.flatnonzero(stuck.any(axis=0))
    if not found.size:
        return
    places = []
    for channel in found[:_MOST_NAMED]:
        units = [panel.units[i] for i in np.flatnonzero(stuck[:, channel])]
        places.append(
            f"{panel.channels[channel]!r} never changes on {len(units)} of {panel.n_units} units ({_named(units)})"
        )
    more = f" and {len(found) - _MOST_NAMED} more channels likewise" if len(found) > _MOST_NAMED else ""
    warn(
        f"channel{'s' if len(found) > 1 else ''} {'; '.join(places)}{more}: a stuck or coarsely quantised sensor? The "
        "noise floor keeps it from forming a mode of its own; set its cells there to NaN if the sensor is known to "
        "be dead",
        ConstantChannelWarning,
    )


def warn_of_short_units(panel: Panel, bases: Sequence[Basis]) -> None:
    """Warn of channels for which no unit has as many readings as the basis has coefficients."""
    longest = panel.counts.max(axis=0)
    short = [c for c in range(panel.n_channels) if longest[c] < bases[c].size]
    if short:
        worst = short[0]
        warn(
            f"no unit has as many readings as its basis has coefficients in channel "
            f"{_named([panel.channels[c] for c in short])} (the longest unit has {longest[worst]} of "
            f"{panel.channels[worst]!r}, {bases[worst]!r} has {bases[worst].size} coefficients); the fit relies on the "
            "fleet's covariance, and a smaller basis would be safer",
            ShortUnitsWarning,
        )


def decimal_step(readings: FloatArray) -> float:
    """Largest power of ten of which all readings are multiples; 0 if there is none.

    A sensor with that step rounds with an error variance of step²/12, the smallest noise it can have.

    Parameters
    ----------
    readings : ndarray of shape (n,)
        NaN is missing.
    """
    observed = readings[np.isfinite(readings)]
    if not len(observed):
        return 0.0
    sample = observed[:: max(1, len(observed) // _SAMPLE)]
    largest = float(np.abs(observed).max())
    span = float(np.ptp(observed))
    few = sample[:_FEW].tolist()
    for exponent in range(6, -13, -1):
        if not 1.0 <= largest * 10.0**-exponent < 1e11:
            continue
        if 0.0 < span < 0.5 * 10.0**exponent:  # all near one multiple, but not equal to it
            continue
        if not all(_is_whole(reading, exponent) for reading in few):
            continue
        if _are_whole(sample, exponent) and _are_whole(observed, exponent):
            return float(10.0**exponent)
    return 0.0


def _is_whole(reading: float, exponent: int) -> bool:
    """`_are_whole` for one number: the first reading rules out most steps, and a number is faster than an array."""
    steps = reading * 10.0**-exponent if exponent <= 0 else reading / 10.0**exponent
    return abs(steps - round(steps)) <= 1e-9 + 1e-15 * abs(steps)


def _are_whole(readings: FloatArray, exponent: int) -> bool:
    # 10^-n is not a binary fraction: scale by the exact power on whichever side it is an integer.
    steps = readings * 10.0**-exponent if exponent <= 0 else readings / 10.0**exponent
    return bool((np.abs(steps - np.rint(steps)) <= 1e-9 + 1e-15 * np.abs(steps)).all())
