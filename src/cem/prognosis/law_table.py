"""What predicts remaining lives, for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.errors.html import html_table
from cem.mixture.result_tables import mode_cells

if TYPE_CHECKING:
    from cem.prognosis.remaining_life import RemainingLife

__all__ = ["prognosis_html"]


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
