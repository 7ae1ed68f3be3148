"""What all pictures share: the colour of each mode, names and units of measurement on axes, and new figures."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import OptionError
from cem.errors.display import escaped
from cem.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GREY",
    "INK",
    "PALETTE",
    "axis_label",
    "counted",
    "drawing_axes",
    "mode_colour",
    "mode_name",
    "mode_style",
    "of_one",
    "percent",
    "plain",
    "time_label",
    "with_measure",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours without black, which is kept for the truth, and yellow, which is faint on white."""

INK, GREY = "#12202e", "#7a8794"

_STYLES = ("-", "--", "-.", ":")
_LONGEST_NAME = 24
_LONGEST_LINE = 34


def mode_colour(mode: int) -> str:
    """Return the colour of a mode, by its position: the same in every picture.

    Parameters
    ----------
    mode : int
        Position among the model's modes, from 0. After six modes the colours come again, with broken lines.

    Returns
    -------
    str
        As "#0072B2".

    Examples
    --------
    >>> import cem
    >>> cem.plot.mode_colour(0)
    '#0072B2'
    """
    return PALETTE[mode % len(PALETTE)]


def mode_style(mode: int) -> str:
    """Line style of a mode, by its position; modes of one colour have different ones."""
    return _STYLES[mode // len(PALETTE) % len(_STYLES)]


def plain(name: object, longest: int = _LONGEST_NAME) -> str:
    """A name as letters to draw: on one line, not too long, and never read as a formula.

    A long name keeps its beginning and its end, where ids of one kind differ.
    """
    text = escaped(name)
    if len(text) > longest:
        end = (longest - 1) // 3
        text = f"{text[: longest - 1 - end]}…{text[-end:]}"
    return text.replace("$", r"\$")


def with_measure(text: str, unit: str | None) -> str:
    """A finished text with a unit of measurement, where there is one."""
    return text if not unit else f"{text} [{plain(unit)}]"


def of_one(what: str, name: object, unit: str | None = None) -> str:
    """``remaining life of unit 7 [d]``; on two lines if it is long."""
    text = with_measure(f"{what} {plain(name)}", unit)
    if len(text) > _LONGEST_LINE and " of " in what:
        head, _, tail = what.rpartition(" of ")
        text = with_measure(f"{head}\nof {tail} {plain(name)}", unit)
    return text


def mode_name(label: Hashable) -> str:
    """``mode 0`` for a number, and else the label."""
    return f"mode {plain(label)}" if isinstance(label, (int, np.integer)) else plain(label)


def axis_label(name: str, unit: str | None) -> str:
    """A quantity with its unit of measurement, where there is one."""
    return with_measure(plain(name), unit)


def time_label(unit: str | None, time_axis: str = "forward") -> str:
    """Label of the axis of time."""
    return axis_label("time to failure" if time_axis == "to_failure" else "time", unit)


def counted(n: int, what: str) -> str:
    """``1 unit``, ``2 units``."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def percent(share: float) -> str:
    """``62 %``."""
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "< 1 %"


def level_text(level: float) -> str:
    """``90 %``, ``97.5 %``: all digits of a level that somebody chose."""
    return f"{100 * level:g} %"


def checked_level(level: float, name: str = "level") -> float:
    """A probability above 0 and below 1."""
    try:
        number = float(level)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1:
        raise OptionError(f"{name} is {level!r}; a number between 0 and 1, both excluded, was expected")
    return number


def drawing_axes(
    ax: Any, n: int = 1, *, columns: int | None = None, size: tuple[float, float] = (6.4, 4.0)
) -> tuple[Figure, list[Axes], bool]:
    """The axes to draw on: those given, or new ones.

    Parameters
    ----------
    ax : Axes, sequence of Axes, or None
        None: a new figure.
    n : int
        How many axes are needed.
    columns : int, optional
        Of the new figure.
    size : (float, float)
        Inches of each new axes.

    Returns
    -------
    figure : Figure
    axes : list of Axes, length n
    is_new : bool
        Whether the figure was made here.

    Raises
    ------
    MissingPackageError
        matplotlib is not installed.
    OptionError
        `ax` holds something else, or another number of axes.
    """
    if ax is None:
        columns = columns or n
        rows = -(-n // columns)
        pyplot = extra("matplotlib.pyplot", "plot", "drawing")
        figure, grid = pyplot.subplots(
            rows, columns, figsize=(size[0] * columns, size[1] * rows), squeeze=False, layout="constrained"
        )
        axes = list(grid.reshape(-1))
        for unused in axes[n:]:
            unused.remove()
        return figure, axes[:n], True
    kind = extra("matplotlib.axes", "plot", "drawing").Axes
    given = list(np.asarray(ax, dtype=object).reshape(-1))
    if len(given) != n or not all(isinstance(one, kind) for one in given):
        found = type(ax).__name__ if not all(isinstance(one, kind) for one in given) else f"{len(given)} axes"
        raise OptionError(f"ax is {found}; {'matplotlib axes' if n == 1 else f'{n} matplotlib axes'} were expected")
    return given[0].figure, given, False


def tidy(axes: Axes) -> None:
    """No frame on the upper and the right side, and whole numbers at the ticks, not differences from a large one."""
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        formatter: Any = axis.get_major_formatter()
        if hasattr(formatter, "set_useOffset"):
            formatter.set_useOffset(False)


def legend(figure: Figure, axes: Sequence[Axes], is_new: bool, handles: Sequence[Any]) -> None:
    """One legend: above a figure of several axes that was made here, else in the first axes."""
    if not handles:
        return
    names = [handle.get_label() for handle in handles]
    if is_new:
        columns = _columns(names, figure.get_figwidth())
        rows = -(-len(names) // columns)
        figure.set_figheight(figure.get_figheight() + 0.2 * (rows - 1))  # the axes keep theirs
        figure.legend(handles, names, loc="outside upper center", ncols=columns, frameon=False)
    else:
        axes[0].legend(handles, names, frameon=False)


def _columns(names: Sequence[str], width: float) -> int:
    """How many columns of a legend fit: letters of ten points are some .085 inches wide, a handle with its gaps .7."""
    for columns in range(len(names), 1, -1):
        parts = np.array_split(np.array([len(name) for name in names]), columns)  # as matplotlib does
        if sum(0.085 * part.max() + 0.7 for part in parts) <= width:
            return columns
    return 1
