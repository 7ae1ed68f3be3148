"""Convert the input of `fit`, `predict` or `score` to a panel."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from cem.errors import OptionError
from cem.panel.arrays import flatten
from cem.panel.clock import POSITIONS
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
        for name, given in (("times", times), ("axes", axes), ("units", units), ("missing", missing)):
            if given is not None:
                raise OptionError(f"{name} is for arrays; a Panel has its own times, units and channels")
        return X if modes is None else X.with_modes(modes)
    flat = flatten(times, X, units, channels=channels, axes=axes, may_lack=may_lack)
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
    )
    return panel if times is not None else panel._replace(_clock=POSITIONS)
