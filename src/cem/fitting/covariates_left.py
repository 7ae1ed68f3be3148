"""Whether a fit leaves a common cause in what its covariates explain of the readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.fitting.common_cause import warn_of_common_cause
from cem.fitting.conditioning import Conditioning
from cem.statistics.columns import Column, ColumnPlan, Design

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["warn_of_what_covariates_leave"]

FloatArray = NDArray[np.float64]

_UNITS_TO_LOOK_AT = 512
"""As many as the common cause is looked for in; the readings of others need not be adjusted."""


def warn_of_what_covariates_leave(
    panel: Panel,
    bases: tuple[Basis, ...],
    plan: ColumnPlan | None,
    conditioning: Conditioning | None,
) -> None:
    """Look for a common cause in what covariates leave of the readings."""
    if panel.n_channels < 2:
        return
    values, times, offsets = panel.values, panel.times, panel.offsets
    used: tuple[str, ...] = ()
    if conditioning is not None:
        used = conditioning.conditions.names
        rows, offsets = _rows_of_some_units(offsets)
        times, values = times[rows], conditioning.mapped_values(rows)
        if plan is not None:
            _take_covariates_off(values, rows, offsets, panel, bases, plan)
    unused = [name for name in panel.covariates if name not in used]
    warn_of_common_cause(values, times, offsets, panel.channels, bases, unused=unused)


def _rows_of_some_units(offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of at most `_UNITS_TO_LOOK_AT` units, evenly over the fleet, and where each unit's begin."""
    n_units = len(offsets) - 1
    units = np.arange(min(n_units, _UNITS_TO_LOOK_AT)) * n_units // min(n_units, _UNITS_TO_LOOK_AT)
    starts, lengths = offsets[units], np.diff(offsets)[units]
    own = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(starts - own[:-1], lengths) + np.arange(own[-1]), own


def _take_covariates_off(
    values: FloatArray,
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    panel: Panel,
    bases: tuple[Basis, ...],
    plan: ColumnPlan,
) -> None:
    """Subtract the columns with a feature from readings (n, C) of rows.

    Their coefficients are those of first differences. Wear and the units' levels would throw those of pooled readings
    off by more than the noise, and what that leaves moves the channels together.
    """
    unit = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    done: dict[tuple[Basis, tuple[Column, ...]], FloatArray] = {}
    for c, basis in enumerate(bases):
        own = tuple(column for column in plan.fixed[c] if column.feature >= 0)
        if not own:
            continue
        if (basis, own) not in done:
            done[basis, own] = Design(panel, basis, (), own, plan.features)(rows)[:, 1:]
        values[:, c] -= done[basis, own] @ _of_differences(values[:, c], done[basis, own], unit)


def _of_differences(values: FloatArray, design: FloatArray, unit: NDArray[np.int64]) -> FloatArray:
    """The coefficients (q,) that explain most of the changes from one reading of a unit to its next."""
    seen = np.isfinite(values)
    same = np.diff(unit[seen]) == 0
    columns, changes = np.diff(design[seen], axis=0)[same], np.diff(values[seen])[same]
    lengths = np.sqrt(np.square(columns).sum(axis=0))
    lengths[lengths == 0.0] = np.inf  # it does not change within units: no change comes from it
    columns /= lengths
    with np.errstate(over="ignore", invalid="ignore"):  # readings near the end of float64
        found: FloatArray = np.linalg.lstsq(columns.T @ columns, columns.T @ changes, rcond=1e-12)[0] / lengths
    return found
