"""What every display has: the axes and the figure that it was drawn on last."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean
from cem.plot.style import drawing_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cem.panel.panel import Panel

__all__ = ["Display", "one_unit"]


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

    def _open(self, ax: Any, n: int = 1, **options: Any) -> list[Axes]:
        self.figure_, self.axes_, self._is_new = drawing_axes(ax, n, **options)
        self.ax_ = self.axes_[0]
        return self.axes_


def one_unit(panel: Panel, unit: Hashable | None) -> Panel:
    """The panel of one unit: the one that is named, or the only one.

    Raises
    ------
    PanelError
        There is no such unit.
    OptionError
        No unit is named, and the panel has several.
    """
    if unit is None:
        if panel.n_units != 1:
            raise OptionError(
                f"the panel has {panel.n_units:,} units and the picture is of one; name it: unit={panel.units[0]!r}"
            )
        return panel
    if unit not in panel.units:
        raise PanelError(f"there is no unit {unit!r}; {did_you_mean(unit, panel.units[:10_000])}")
    return panel.select_units([unit])
