"""What every display has: the axes and the figure that it was drawn on last."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import OptionError, PanelError
from cem.errors.display import safe
from cem.errors.names import did_you_mean
from cem.panel.panel import Panel
from cem.plot.style import drawing_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Display", "checked", "meant", "one_unit"]


class Display:
    """Base of the displays.

    Attributes
    ----------
    figure_ : matplotlib Figure
        After `plot`.
    axes_ : list of matplotlib Axes
        All axes that were drawn on.
    ax_ : matplotlib Axes
        The first of them.
    """

    figure_: Figure
    axes_: list[Axes]
    ax_: Axes
    _is_new: bool

    def __repr__(self) -> str:
        """One line: a notebook shows it beside the picture. Numbers are in the attributes."""
        parts = []
        for own in fields(self):  # type: ignore[arg-type]  # every display is a dataclass
            value = getattr(self, own.name)
            if isinstance(value, np.ndarray):
                parts.append(f"{own.name} {value.shape}")
            elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
                parts.append(f"{own.name}={value if isinstance(value, (int, float)) else safe(repr(value))[:60]}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _open(self, ax: Any, n: int = 1, **options: Any) -> list[Axes]:
        self.figure_, self.axes_, self._is_new = drawing_axes(ax, n, **options)
        self.ax_ = self.axes_[0]
        return self.axes_


def checked(value: Any, name: str, *kinds: type) -> None:
    """Refuse an argument of another type by name, before it fails somewhere inside.

    Parameters
    ----------
    value
        The argument.
    name : str
        What the message calls it.
    kinds : type
        What is valid.

    Raises
    ------
    OptionError
        It is none of them.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        hint = "; an estimator has its model as estimator.model_" if hasattr(value, "model_") else ""
        raise OptionError(f"{name} is of type {type(value).__name__}; {wanted} was expected{hint}")


def meant(unit: object, units: Sequence[Hashable]) -> str:
    """End of a message about an unknown unit: the one of the same letters and another type, or the closest one."""
    for known in units:
        if str(known) == str(unit):
            return f"did you mean {known!r}, of type {type(known).__name__}?"
    return did_you_mean(unit, units[:10_000])


def one_unit(panel: Panel, unit: Hashable | None) -> Panel:
    """The panel of one unit: the one that is named, or the only one.

    Raises
    ------
    PanelError
        There is no such unit.
    OptionError
        No unit is named, and the panel has several.
    """
    checked(panel, "panel", Panel)
    if unit is None:
        if panel.n_units != 1:
            raise OptionError(
                f"the panel has {panel.n_units:,} units and the picture is of one; name it: unit={panel.units[0]!r}"
            )
        return panel
    if unit not in panel.units:
        raise PanelError(f"there is no unit {unit!r}; {meant(unit, panel.units)}")
    return panel.select_units([unit])
