"""Checks of ages and failure times before a law of lifetimes is fitted: no clock times, no codes for *not yet*.

On the time to failure, times are ages: the age of a unit at a reading, and at its failure. A calendar time, or a
failure time of 9999, gives a law that is wrong by orders of magnitude, although every curve still fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cem.errors import PanelError
from cem.errors.names import listed, unit_name

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["check_ages", "check_failure_codes", "check_lives"]

_BAND = 4.0
"""Ages that all lie within a quarter of the smallest one are clock times."""
_SPAN = 100.0
"""So are ages if no unit was observed for a hundredth of its age at the first reading."""
_FAR = 3.0


def check_lives(panel: Panel) -> None:
    """Both checks, for a fit on the time to failure.

    Raises
    ------
    PanelError
        See `check_failure_codes` and `check_ages`.
    """
    check_failure_codes(panel)
    check_ages(panel)


def check_failure_codes(panel: Panel) -> None:
    """Refuse failure times that are codes for *has not failed*: 9999, 1e6, one far time that repeats.

    Raises
    ------
    PanelError
        A failure time is at least three times as late as every other failure and as the readings of its own units, and
        it is a number used for *not yet* or occurs on several units; the message names the units.
    """
    from cem.panel.missing_codes import _is_code

    failed = panel.failure_times
    known = np.flatnonzero(~np.isnan(failed))
    if not known.size:
        return
    first, last = panel.times[panel.offsets[:-1]], panel.times[panel.offsets[1:] - 1]
    found, inverse, counts = np.unique(failed[known], return_inverse=True, return_counts=True)
    power = np.zeros(found.size, dtype=bool)
    positive = found >= 1e4
    power[positive] = np.log10(found[positive]) % 1.0 == 0.0
    coded = (_is_code(found) & (found >= 999)) | power
    bad: list[int] = []
    start = float(first.min())
    for i in np.flatnonzero(coded | (counts > 1))[::-1].tolist():
        value = found[i]
        units = known[inverse == i]
        watched = float(last[units].max())
        if not value - start > _FAR * max(watched - start, 0.0):  # true of most values, which need no further check
            continue
        others = np.setdiff1d(np.flatnonzero(~np.isnan(failed) & (failed != value)), bad, assume_unique=True)
        genuine = failed[others].max() if others.size else -np.inf
        if value - start > _FAR * (genuine - start) and (coded[i] or others.size):
            bad.extend(units.tolist())
    if bad:
        bad.sort()
        l = bad[0]
        raise PanelError(
            f"the failure time of unit {unit_name(panel._unit_ids, l)} is {failed[l]:g}, its last reading at "
            f"{last[l]:g}{_others(panel, bad)}: it looks like a code for 'has not failed'. Give NaN for "
            "units that are still running: panel.with_failure_times(...)"
        )


def _others(panel: Panel, bad: list[int]) -> str:
    return "" if len(bad) == 1 else f" ({len(bad):,} such units: {listed(panel._unit_ids[bad].tolist())})"


def check_ages(panel: Panel) -> None:
    """Refuse times that are clock times rather than ages of the units.

    Raises
    ------
    PanelError
        All times of the fleet lie far from 0 and close together, or no unit was observed for a hundredth of its age.
    """
    first = panel.times[panel.offsets[:-1]]
    last = np.fmax(panel.times[panel.offsets[1:] - 1], panel.failure_times)
    least, longest = float(first.min()), float((last - first).max())
    band = float(last.max()) - least
    if panel.n_units < 2 or least <= 0 or longest <= 0:
        return
    if least > _BAND * band or least > _SPAN * longest:
        l = int(np.argmax(last - first))
        in_units = f" {panel.time_unit}" if panel.time_unit else ""
        raise PanelError(
            f"times are not ages: the first readings are at {least:g}{in_units} or later, and no unit was observed for "
            f"longer than {longest:g} (unit {unit_name(panel._unit_ids, l)}, from {first[l]:g} to {last[l]:g}). On the "
            "time to failure each unit counts from when it was new: subtract its start from its times and its failure "
            "time, or build the panel with origin='first reading'"
        )
