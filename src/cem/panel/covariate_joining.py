"""Join the covariates of several panels: the same names and kinds in each, levels merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cem.errors import PanelError
from cem.errors.names import did_you_mean
from cem.panel.covariates import Columns, Covariate, kind_of, positions

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["joined_covariates"]


def joined_covariates(panels: Sequence[Panel]) -> tuple[Columns, Columns]:
    """Covariates of readings and of units, end to end.

    Raises
    ------
    PanelError
        One panel lacks a covariate of another one, or has another kind of it.
    """
    return (
        _joined([panel._covariate_columns for panel in panels], "covariate", "covariates"),
        _joined([panel._unit_covariate_columns for panel in panels], "unit covariate", "unit_covariates"),
    )


def _joined(of_panels: Sequence[Columns], what: str, option: str) -> Columns:
    names = {name: position for position, columns in reversed([*enumerate(of_panels)]) for name in columns}
    for position, columns in enumerate(of_panels):
        lacking = next((name for name in names if name not in columns), None)
        if lacking is not None:
            raise PanelError(
                f"panel {position} lacks the {what} {lacking!r}, which panel {names[lacking]} has; give it by "
                f"panel.with_covariates({option}={{{lacking!r}: values}}), or remove it from the others by "
                f"panel.with_covariates({option}={{{lacking!r}: None}})"
                + (f"; {did_you_mean(lacking, columns)}" if columns else "")
            )
    return {name: _joined_column([columns[name] for columns in of_panels], what) for name in of_panels[0]}


def _joined_column(parts: Sequence[Covariate], what: str) -> Covariate:
    """The covariate of several panels, end to end, with their levels merged.

    Parameters
    ----------
    parts : sequence of Covariate
        One for each panel.
    what : str
        "covariate" or "unit covariate", for messages.

    Raises
    ------
    PanelError
        Numbers in one panel and a category in another, or levels of two types.
    """
    first = parts[0]
    known = next((part for part in parts if part.levels), first)  # a category without levels fits every category
    for position, part in enumerate(parts):
        if (part.levels is None) != (known.levels is None) or (part.levels and kind_of(part) != kind_of(known)):
            raise PanelError(
                f"{what} {first.name!r} holds {kind_of(part)} in panel {position} and {kind_of(known)} in panel "
                f"{parts.index(known)}; give it in one form"
            )
    if first.levels is None:
        return Covariate(first.name, np.concatenate([part.values for part in parts]))
    levels = sorted({level for part in parts for level in part.levels or ()})  # type: ignore[type-var]  # of one type
    place = {level: float(position) for position, level in enumerate(levels)}
    values = []
    for part in parts:
        rank = np.array([*(place[level] for level in part.levels or ()), np.nan])
        values.append(rank[positions(part)])
    return Covariate(first.name, np.concatenate(values), tuple(levels))
