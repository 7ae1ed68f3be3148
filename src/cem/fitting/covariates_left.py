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
    from cem.statistics.fixed import FixedStatistics
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["warn_of_what_covariates_leave"]

FloatArray = NDArray[np.float64]

_UNITS_TO_LOOK_AT = 512
"""As many as the common cause is looked for in; the readings of others need not be adjusted."""


def warn_of_what_covariates_leave(
    panel: Panel,
    bases: tuple[Basis, ...],
    statistics: SufficientStatistics,
    plan: ColumnPlan | None,
    conditioning: Conditioning | None,
) -> None:
    """Look for a common cause in what covariates leave of the readings, with the coefficients of the pooled curves."""
    if panel.n_channels < 2:
        return
    values, times, offsets = panel.values, panel.times, panel.offsets
    used: tuple[str, ...] = ()
    if conditioning is not None:
        used = conditioning.conditions.names
        rows, offsets = _rows_of_some_units(offsets)
        times, values = times[rows], conditioning.mapped_values(rows)
        if plan is not None and statistics.fixed is not None:
            _take_covariates_off(values, rows, panel, bases, plan, statistics.fixed)
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
    panel: Panel,
    bases: tuple[Basis, ...],
    plan: ColumnPlan,
    fixed: FixedStatistics,
) -> None:
    """Subtract the columns with a feature, with the coefficients of the pooled curves, from readings (n, C) of rows."""
    done: dict[tuple[Basis, tuple[Column, ...]], FloatArray] = {}
    for c, basis in enumerate(bases):
        own = tuple(column for column in plan.fixed[c] if column.feature >= 0)
        if not own:
            continue
        if (basis, own) not in done:
            done[basis, own] = Design(panel, basis, (), own, plan.features)(rows)[:, 1:]
        of_features = [column.feature >= 0 for column in plan.fixed[c]]
        coefficients = fixed.wide.centre(c)[-len(of_features) :][of_features]
        values[:, c] -= done[basis, own] @ coefficients
