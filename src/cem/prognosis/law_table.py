"""Remaining lives of units, and what predicts them, as columns of a table and for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cem.errors.html import MOST_ROWS, html_table
from cem.mixture.result_tables import mode_cells, unit_cells
from cem.panel.frames.out import interval_columns, mode_columns

if TYPE_CHECKING:
    from cem.prognosis.distribution import RemainingLifeDistribution
    from cem.prognosis.remaining_life import RemainingLife

__all__ = ["law_columns", "law_html", "prognosis_html"]


def law_columns(law: RemainingLifeDistribution, level: float = 0.9) -> dict[str, Any]:
    """One row for each unit."""
    low, high = interval_columns(level)
    lower, upper = law.interval(level)
    columns: dict[str, Any] = {
        "unit": unit_cells(law.units),
        "mean": law.mean(),
        "median": law.median(),
        low: lower,
        high: upper,
        "standard_deviation": law.standard_deviation(),
    }
    columns.update(zip(mode_columns(law.mode_labels, columns), law.mode_probabilities.T.copy(), strict=True))
    return columns


def law_html(law: RemainingLifeDistribution) -> str:
    """The first units of a law."""
    return html_table(repr(law), law_columns(law[:MOST_ROWS]) if law.n_units else {}, law.n_units, "units")


def prognosis_html(prognosis: RemainingLife) -> str:
    """The laws of lifetimes of the modes."""
    laws = prognosis.lifetimes.laws
    columns = {
        "mode": mode_cells(prognosis.model.mode_labels),
        "weight": prognosis.model.weights_,
        "law": [law.family for law in laws],
        "median life": [float(law.median()) for law in laws],
    }
    calibrated = "" if prognosis.calibration is None else ", calibrated"
    return html_table(f"RemainingLife of {prognosis.model.n_channels} channels{calibrated}", columns)
