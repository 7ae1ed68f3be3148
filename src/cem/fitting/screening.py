"""Checks of a panel before a fit: constant channels, quantised channels, units that are too short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.errors import ConstantChannelWarning, PanelError, ShortUnitsWarning
from cem.errors.warning import warn
from cem.numerics.decimal_step import decimal_step

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["decimal_step", "varying_channels", "warn_of_short_units", "warn_of_stuck_channels"]

FloatArray = NDArray[np.float64]

_MOST_NAMED = 5
_FEWEST_FOR_STUCK = 5


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
