"""Sections on the units of a panel: their modes, how typical they are, and how long they will last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors.display import escaped
from cem.plot.lives import RemainingLifeDisplay
from cem.plot.novelty import NoveltyDisplay
from cem.report.html import Section, missing, paragraph, table
from cem.report.sections_of_fit import failed_units

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.prognosis.remaining_life import RemainingLife
    from cem.report.pictures import Pictures

__all__ = ["lives", "units"]

_MOST_ROWS = 200


def units(model: FailureModeModel, panel: Panel | None, pictures: Pictures) -> list[Section]:
    """Mode probabilities and novelty of the units, the least typical first."""
    scored = failed_units(model, panel)
    if scored is None:
        return []
    probabilities, novelty = model.predict_proba(scored), model.novelty(scored)
    best = probabilities.argmax(axis=1)
    order = np.argsort(novelty, kind="stable")
    shown = order[:_MOST_ROWS]
    readings = np.diff(scored.offsets)
    columns: dict[str, Any] = {
        "unit": [str(scored.units[l]) for l in shown],
        "mode": [str(model.mode_labels[best[l]]) for l in shown],
        "probability": [f"{probabilities[l, best[l]]:.3f}" for l in shown],
        "novelty": ["< 1e-6" if novelty[l] < 1e-6 else f"{novelty[l]:.2g}" for l in shown],
        "readings": readings[shown].tolist(),
    }
    body = paragraph(
        "Novelty is a tail probability: near 0, a unit looks like nothing in the training data. Inspect the first "
        "units before you rely on their modes. For units like the training units it is uniform from 0 to 1."
    )
    drawn = scored if scored.n_channels <= 40 else None
    if drawn is not None:
        name = "Novelty of each unit, over all channels and by channel"
        body += pictures.of(
            lambda axes: NoveltyDisplay.from_model(model, drawn, ax=axes),
            [name],
            size=(8.0, 1.6 + 0.24 * scored.n_channels),
        )
    left = len(order) - len(shown)
    body += table(columns, rest=f"and {left:,} more units; `cem score` lists them all" if left else "")
    return [Section("units", "The units and their modes", body)]


def lives(
    model: FailureModeModel, prognosis: RemainingLife | None, panel: Panel | None, pictures: Pictures
) -> list[Section]:
    """Remaining lives of the running units, those that end first at the top."""
    if panel is None:
        return []
    if prognosis is None:
        why = (
            "The model has no laws of lifetimes, so remaining lives cannot be predicted from it."
            if model.time_axis == "to_failure"
            else "The model is on the forward time axis: remaining lives need a failure threshold. Predict them with "
            "model.remaining_life(panel, threshold=...), or with `cem rul --threshold`."
        )
        return [Section("lives", "Remaining lives", missing(why))]
    running = np.isnan(panel.failure_times)
    if not running.any():
        return [Section("lives", "Remaining lives", missing("All units have failed; there is no remaining life."))]
    left = panel[running]
    law = prognosis.predict(left)
    ages = left.times[left.offsets[1:] - 1]
    median, (low, high) = law.median(), law.interval(0.9)
    best = law.mode_probabilities.argmax(axis=1)
    order = np.argsort(median, kind="stable")
    shown = order[:_MOST_ROWS]
    columns: dict[str, Any] = {
        "unit": [str(left.units[l]) for l in shown],
        "age": ages[shown].tolist(),
        "median remaining life": median[shown].tolist(),
        "5 %": low[shown].tolist(),
        "95 %": high[shown].tolist(),
        "mode": [str(model.mode_labels[best[l]]) for l in shown],
        "probability": [f"{law.mode_probabilities[l, best[l]]:.3f}" for l in shown],
    }
    measure = f", in {escaped(model.time_unit)}" if model.time_unit else ""
    body = paragraph(
        f"Remaining life of {left.n_units:,} running units from their last reading{measure}, with intervals that hold "
        "90 %; those that end first are at the top."
    )
    first = left.units[order[0]]
    body += pictures.of(
        lambda axes: RemainingLifeDisplay.from_prognosis(prognosis, left, unit=first, ax=axes),
        [f"Remaining life of unit {escaped(first)}, which ends first, after each of its readings"],
        size=(6.0, 3.6),
    )
    n = len(order) - len(shown)
    body += table(columns, rest=f"and {n:,} more units; `cem rul` lists them all" if n else "")
    return [Section("lives", "Remaining lives", body)]
