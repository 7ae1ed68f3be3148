"""Convert the input of `fit`, `predict` or `score` to a panel."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from cem.errors import OptionError
from cem.panel.arrays import flatten
from cem.panel.clock import POSITIONS
from cem.panel.containers import column_names, is_table
from cem.panel.panel import Panel

__all__ = ["panel_of_arrays"]


def panel_of_arrays(
    X: Any,
    *,
    times: Any = None,
    modes: Any = None,
    units: Iterable[Hashable] | np.ndarray | None = None,
    channels: Sequence[str] | None = None,
    may_lack: str | None = None,
    axes: str | Sequence[str] | None = None,
    failure_times: Any = None,
    missing: Any = None,
    allow_empty_channels: bool = False,
    covariates: Any = None,
    unit_covariates: Any = None,
) -> Panel:
    """Return the panel of a user's input: a Panel unchanged, arrays as `from_arrays` reads them.

    Parameters
    ----------
    X : Panel, array, list of arrays or list of data frames
        As `Panel.from_arrays` takes them. A long data frame is refused with the call of `Panel.from_frame`.
    times, units, axes, failure_times, missing, allow_empty_channels
        As for `Panel.from_arrays`; a Panel has its own.
    modes : sequence of labels, optional
        Also for a Panel, whose own labels they replace.
    channels : sequence of str, optional
        Names of the model's channels in order; input with names is read by name.
    covariates, unit_covariates : mapping, structured array or data frame, optional
        As for `Panel.from_arrays`, by name; only with arrays. Searches of scikit-learn slice a structured array of
        shape (units, times), or (units,), and a data frame with one row per unit; a dict they pass on whole.
    may_lack : str, optional
        The one of ``channels`` that an array may lack: a model's response.

    Raises
    ------
    PanelError
        X cannot be read as a panel; the message says how to give it.
    OptionError
        ``times``, ``axes``, ... with a Panel.
    """
    if isinstance(X, Panel):
        of_arrays = {"times": times, "axes": axes, "units": units, "missing": missing}
        of_arrays |= {"covariates": covariates, "unit_covariates": unit_covariates}
        for name, given in of_arrays.items():
            if given is not None:
                raise OptionError(f"{name} is for arrays; a Panel has its own times, units, channels and covariates")
        return X if modes is None else X.with_modes(modes)
    flat = flatten(times, X, units, channels=channels, axes=axes, may_lack=may_lack)
    columns = None
    if covariates is not None:
        from cem.panel.covariate_checks import columns_of_arrays  # panels without covariates do not pay for it

        columns = columns_of_arrays(_by_name(covariates), flat)
    panel = Panel(
        flat.unit_ids,
        flat.offsets,
        flat.times,
        flat.values,
        flat.channels,
        modes=modes,
        failure_times=failure_times,
        missing=missing,
        allow_empty_channels=allow_empty_channels,
        allow_empty_units=allow_empty_channels,  # both: the panel is only scored
        covariates=columns,
        unit_covariates=None if unit_covariates is None else _by_name(unit_covariates),
    )
    return panel if times is not None else panel._replace(_clock=POSITIONS)


def _by_name(given: Any) -> Any:
    """The columns of a structured array or a data frame by name; anything else as it is."""
    if isinstance(given, np.ndarray) and given.dtype.names is not None:
        return {name: given[name] for name in given.dtype.names}
    if is_table(given):
        return {name: given[name] for name in column_names(given) or ()}
    return given
