"""Sections on the units of a panel: their modes, how typical they are, and how long they will last."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors.display import escaped
from cem.plot.lives import RemainingLifeDisplay
from cem.plot.novelty import NoveltyDisplay
from cem.plot.style import counted
from cem.prognosis.threshold_life import ThresholdLife
from cem.report.html import Section, missing, paragraph, table
from cem.report.sections_of_fit import failed_units

if TYPE_CHECKING:
    from cem.mixture.life_law import RemainingLifeLaw
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.prognosis.remaining_life import RemainingLife
    from cem.report.pictures import Pictures

__all__ = ["lives", "units"]

_MOST_ROWS = 200
_MOST_CHANNELS = 40


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
    drawn = scored if scored.n_channels <= _MOST_CHANNELS else None
    if drawn is None:
        body += missing(
            f"The novelty by channel is not drawn, because there are {scored.n_channels:,} channels; "
            "cem.plot.NoveltyDisplay draws it for some of them."
        )
    else:
        name = "Novelty of each unit, over all channels and by channel"
        body += pictures.of(
            lambda axes: NoveltyDisplay.from_model(model, drawn, ax=axes),
            [name],
            size=(6.4, 2.2 + 0.24 * scored.n_channels),
        )
    body += table(columns, rest=_rest(order, "cem score"))
    return [Section("units", "The units and their modes", body)]


def lives(
    model: FailureModeModel,
    prognosis: RemainingLife | None,
    panel: Panel | None,
    pictures: Pictures,
    until: Mapping[str, Any] | None,
) -> list[Section]:
    """Remaining lives of the running units, those that end first at the top; of all units until a threshold."""
    if panel is None:
        return []
    if until is not None:
        return [Section("lives", "Remaining lives", _until(model, panel, pictures, until))]
    if prognosis is None:
        why = (
            "The model has no laws of lifetimes, so remaining lives cannot be predicted from it."
            if model.time_axis == "to_failure"
            else "The model is on the forward time axis, so remaining lives need a failure threshold: give one to "
            "model.report(panel, threshold=...), or to `cem report --threshold`."
        )
        return [Section("lives", "Remaining lives", missing(why))]
    running = np.isnan(panel.failure_times)
    if not running.any():
        return [Section("lives", "Remaining lives", missing("All units have failed; there is no remaining life."))]
    left = panel[running]
    law = prognosis.predict(left)
    order = np.argsort(law.median(), kind="stable")
    first = left.units[order[0]]
    body = paragraph(
        f"{_lives_of(left.n_units, 'running unit')}{_measure(model)}, with intervals that hold 90 %; those that end "
        "first are at the top."
    )
    body += _fan(
        pictures, first, lambda axes: RemainingLifeDisplay.from_prognosis(prognosis, left, unit=first, ax=axes)
    )
    columns = _life_columns(model, left, law, law.median(), order[:_MOST_ROWS])
    return [Section("lives", "Remaining lives", body + table(columns, rest=_rest(order, "cem rul")))]


def _until(model: FailureModeModel, panel: Panel, pictures: Pictures, until: Mapping[str, Any]) -> str:
    life = _calibrated(model, until)
    law = model.remaining_life(panel, **until) if life is None else life.predict(panel)
    median = law.median()
    order = np.argsort(median, kind="stable")
    first, shown = panel.units[order[0]], order[:_MOST_ROWS]
    channel = until.get("channel", model.response)
    name = escaped(channel if isinstance(channel, str) else model.channels[channel])
    given = until["threshold"]
    measure = model.channel_units.get(channel if isinstance(channel, str) else model.channels[channel])
    level = f"{float(given):g}" if np.ndim(given) == 0 and not isinstance(given, Mapping) else "its threshold"
    if measure and level != "its threshold":
        level += f" {escaped(measure)}"
    body = paragraph(
        f"{_lives_of(panel.n_units, 'unit')}{_measure(model)}, until the curve of "
        f"channel {name} {'rises' if law.direction == 'upper' else 'falls'} to {level}, if it did not before; with "
        "intervals that hold 90 %. Those that end first are at the top."
    )
    own = {} if life is not None else _of_unit(until, int(order[0]))
    body += _fan(
        pictures,
        first,
        lambda axes: RemainingLifeDisplay.from_threshold(life or model, panel, unit=first, ax=axes, **own),
    )
    columns = _life_columns(model, panel, law, median, shown)
    columns["P(crossed before)"] = [f"{p:.3f}" for p in law.probability_crossed[shown]]
    columns["P(never)"] = [f"{p:.3f}" for p in law.probability_never[shown]]
    return body + table(columns, rest=_rest(order, "cem rul"))


def _calibrated(model: FailureModeModel, until: Mapping[str, Any]) -> ThresholdLife | None:
    """The prognosis that the model holds, if it is what is asked for and has a calibration."""
    if "threshold" not in model.training or "covariates" in until:
        return None
    held = ThresholdLife(model)
    asked = (until.get("channel", model.response), until.get("direction", "auto"))
    same = np.ndim(until["threshold"]) == 0 and until["threshold"] == held.threshold
    same = same and asked[0] == held.channel and asked[1] in ("auto", held.direction)
    return held if same and held.calibration is not None else None


def _of_unit(until: Mapping[str, Any], unit: int) -> dict[str, Any]:
    """The same threshold and conditions for one unit, where each unit has its own."""
    found = dict(until)
    if np.ndim(found["threshold"]) == 2:
        found["threshold"] = np.asarray(found["threshold"])[unit]
    if isinstance(found.get("covariates"), Mapping):
        found["covariates"] = {
            name: np.asarray(value, dtype=object)[unit] if np.ndim(value) == 1 else value
            for name, value in found["covariates"].items()
        }
    return found


def _fan(pictures: Pictures, unit: Hashable, draw: Callable[[Any], Any]) -> str:
    name = f"Remaining life of unit {escaped(unit)}, which ends first, after each of its readings"
    return pictures.of(draw, [name], size=(6.0, 3.6))


def _life_columns(
    model: FailureModeModel,
    panel: Panel,
    law: RemainingLifeLaw,
    median: NDArray[np.float64],
    shown: NDArray[np.int64],
) -> dict[str, Any]:
    ages = panel.times[panel.offsets[1:] - 1]
    low, high = law.interval(0.9)
    chances = law.mode_probabilities
    best = chances.argmax(axis=1)
    return {
        "unit": [str(panel.units[l]) for l in shown],
        "age": ages[shown].tolist(),
        "median remaining life": median[shown].tolist(),
        "5 %": low[shown].tolist(),
        "95 %": high[shown].tolist(),
        "mode": [str(model.mode_labels[best[l]]) for l in shown],
        "probability": [f"{chances[l, best[l]]:.3f}" for l in shown],
    }


def _lives_of(n: int, what: str) -> str:
    return f"Remaining life of {counted(n, what)} from {'its' if n == 1 else 'their'} last reading"


def _measure(model: FailureModeModel) -> str:
    return f", in {escaped(model.time_unit)}" if model.time_unit else ""


def _rest(order: NDArray[np.int64], command: str) -> str:
    left = len(order) - _MOST_ROWS
    return f"and {left:,} more units; `{command}` lists them all" if left > 0 else ""
