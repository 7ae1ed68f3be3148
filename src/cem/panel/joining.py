"""Join the panels of several fleets."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import encode_labels
from cem.panel.checks import check_alike, check_units
from cem.panel.mode_priors import joined_mode_priors

if TYPE_CHECKING:
    from cem.panel.covariates import Columns
    from cem.panel.panel import Panel

__all__ = ["joined_parts"]


def joined_parts(panels: Sequence[Panel]) -> dict[str, Any]:
    """Parts of the panel of all units, in order; errors as for `Panel.concatenate`."""
    if not panels:
        raise PanelError("concatenate needs at least one panel; found none")
    first = panels[0]
    for position, panel in enumerate(panels[1:], start=1):
        check_alike(first, panel, position)
    if all(panel._unit_ids.dtype.kind == "i" for panel in panels):
        unit_ids = np.concatenate([panel._unit_ids for panel in panels])
    else:
        unit_ids = np.concatenate([panel._unit_ids.astype(object) for panel in panels])
    check_units(unit_ids)
    starts = np.cumsum([0, *(panel.times.size for panel in panels)])
    ends = [panel.offsets[1:] + start for panel, start in zip(panels, starts[:-1], strict=True)]
    modes = None
    if any(panel.mode_labels for panel in panels):
        modes = [mode for panel in panels for mode in panel.modes]
    codes, labels = encode_labels(modes) if modes else (np.full(unit_ids.size, -1, dtype=np.int32), ())
    true_codes: np.ndarray | None = None
    true_labels: tuple[Hashable, ...] = ()
    if any(panel._true_codes is not None for panel in panels):
        true_codes, true_labels = encode_labels([mode for panel in panels for mode in panel.true_modes])
    covariates: Columns = {}
    unit_covariates: Columns = {}
    if any(panel._covariate_columns or panel._unit_covariate_columns for panel in panels):
        from cem.panel.covariate_joining import joined_covariates

        covariates, unit_covariates = joined_covariates(panels)
    clocks = {panel._clock for panel in panels}
    return {
        "_unit_ids": unit_ids,
        "channels": first.channels,
        "response": first.response,
        "offsets": np.concatenate([np.zeros(1, dtype=np.int64), *ends]),
        "times": np.concatenate([panel.times for panel in panels]),
        "values": np.concatenate([panel.values for panel in panels]),
        "mode_codes": codes,
        "mode_labels": labels,
        "failure_times": np.concatenate([panel.failure_times for panel in panels]),
        "time_unit": first.time_unit,
        "origin": first.origin,
        "_channel_units": {name: unit for panel in panels for name, unit in panel._channel_units.items()},
        "_clock": first._clock if len(clocks) == 1 else None,
        "_true_codes": true_codes,
        "_true_labels": true_labels,
        "_covariate_columns": covariates,
        "_unit_covariate_columns": unit_covariates,
        **joined_mode_priors(panels),
    }
