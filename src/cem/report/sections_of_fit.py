"""Sections on the model: what was fitted, the data, the modes, conditions, starts, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import OptionError
from cem.errors.display import escaped
from cem.errors.names import counted, listed
from cem.metrics.agreement import short_odds
from cem.panel.text import described
from cem.plot.calibration import CalibrationDisplay
from cem.plot.regimes import RegimesDisplay
from cem.plot.starts import StartsDisplay
from cem.plot.trajectories import TrajectoryDisplay
from cem.prognosis.remaining_life import RemainingLife
from cem.report.html import Section, facts, missing, paragraph, table, told_apart

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.prognosis.calibration import Reliability
    from cem.prognosis.threshold_life import ThresholdLife
    from cem.report.pictures import Pictures

__all__ = [
    "calibration",
    "calibrator",
    "conditions",
    "data",
    "failed_units",
    "fitted",
    "modes",
    "of_the_best",
    "starts",
]

_MOST_PICTURES = 24
_MOST_ROWS = 300


def fitted(model: FailureModeModel) -> Section:
    """Options of the fit, and the channels with their bases."""
    summary = model.summary()
    values: dict[str, Any] = {
        "failure modes": model.n_modes,
        "time axis": "time to failure" if model.time_axis == "to_failure" else "time, forward",
        "unit of time": model.time_unit or "not given",
        "units of measurement": "as below" if model.channel_units else "not given",
        "response": "none" if model.response is None else model.response,
    }
    if model.covariates:
        values["covariates of readings"] = listed(model.covariates, 20)
    if model.unit_covariates:
        values["covariates of units"] = listed(model.unit_covariates, 20)
    body = facts(values | {name: value for name, value in summary.facts.items() if name not in values})
    if not summary.facts:
        body += missing(
            "The model has no record of its fit: options, log-likelihood and number of units are unknown. A model that "
            "FailureModeEM fitted and saved has them."
        )
    measures = model.channel_units
    body += "<h3>Channels</h3>" + _cut(
        {
            "channel": list(model.channels),
            "unit of measurement": [measures.get(name, "") for name in model.channels],
            "basis of its curves": [repr(basis) for basis in model.bases],
            "coefficients": [basis.size for basis in model.bases],
        },
        "channels",
    )
    columns = summary.frames.get("columns")
    if columns is not None and any(columns.values()):
        body += "<h3>Which coefficients vary from unit to unit</h3>" + _cut(columns, "rows")
    return Section("fitted", "What was fitted", body)


def data(model: FailureModeModel, panel: Panel | None) -> Section:
    """The panel as it was read, or what the record of the fit says of the training units."""
    record = model.training
    body = ""
    if panel is not None:
        first, *lines = described(panel).split("\n")
        values = {line[2:19].strip(): line[19:] for line in lines if not line.startswith("  channels  ")}
        body += paragraph(first) + facts(values)
        body += "<h3>Channels as read</h3>" + _cut(_channels(panel), "channels")
        absent = [name for name in model.channels if name not in panel.channels]
        if absent:
            body += missing(f"Channels of the model that the data lack; they count as missing: {listed(absent, 20)}.")
    if "n_units" in record:
        seen = f", {record['n_observations']:,} observed values" if "n_observations" in record else ""
        copies = (
            f" (copies of {record['n_distinct_units']:,} units, by weights)" if "n_distinct_units" in record else ""
        )
        body += paragraph(f"The model was fitted to {record['n_units']:,} units{copies}{seen}.")
    clock = record.get("clock")
    if clock:
        measure = f" {escaped(model.time_unit)}" if model.time_unit else ""
        body += paragraph(f"Training times: {clock['kind']}, up to {clock['longest']:,.6g}{measure}.")
    if panel is None:
        body += missing(
            "No data were given with the model, so the page shows no readings, no scores and no remaining lives. Give "
            "a panel or a file to see them."
        )
    return Section("data", "The data as read", body)


def _channels(panel: Panel) -> dict[str, Any]:
    counts = panel.counts.sum(axis=0)
    columns: dict[str, Any] = {
        "channel": list(panel.channels),
        "unit of measurement": [panel.channel_units.get(name, "") for name in panel.channels],
        "observed": counts.tolist(),
        "missing": [f"{100 * (1 - n / max(1, panel.n_readings)):.3g} %" for n in counts],
    }
    parts: dict[str, list[Any]] = {"lowest": [], "median": [], "highest": []}
    for c in range(panel.n_channels):
        seen = panel.values[:, c][np.isfinite(panel.values[:, c])]
        found = [float(function(seen)) if seen.size else None for function in (np.min, np.median, np.max)]
        for column, shown in zip(parts.values(), told_apart(found), strict=True):
            column.append(shown)
    return columns | parts


def failed_units(model: FailureModeModel, panel: Panel | None) -> Panel | None:
    """The units that the model can place on its time axis: all of them, or those whose failure is known."""
    if panel is None or model.time_axis != "to_failure":
        return panel
    failed = ~np.isnan(panel.failure_times)
    return panel[failed] if failed.any() else None


def modes(model: FailureModeModel, panel: Panel | None, pictures: Pictures) -> list[Section]:
    """Weights, curves and their pictures, channel by channel."""
    frames = model.summary().frames
    body = table(frames["modes"])
    placed = failed_units(model, panel)
    known: Sequence[str] = model.channels
    if placed is not None:
        known = [
            name for name in model.channels if name in placed.channels and placed.counts[:, _at(placed, name)].any()
        ]
        if not known:  # no reading at all: the curves alone
            placed, known = None, model.channels
    drawn = list(known[:_MOST_PICTURES])
    if drawn:
        shown = None if placed is None else placed.select_channels([*drawn, *_needed(model, placed, drawn)])
        measures = model.channel_units
        names = [f"{name} [{measures[name]}]" if name in measures else name for name in drawn]
        body += paragraph(
            "Mean curve of each mode, and the band that holds 90 % of its units' own curves"
            + (", at reference conditions" if model.conditions is not None else "")
            + ("." if shown is None else "; behind them the units, in the colour of their most probable mode.")
        )
        body += pictures.of(
            lambda axes: TrajectoryDisplay.from_model(model, shown, channel=drawn, ax=axes), names, legend=False
        )
    if len(known) > len(drawn):
        body += missing(f"Not drawn, because there are many channels: {listed(known[len(drawn) :], 60)}.")
    if panel is not None and placed is None:
        why = "are still running, or have no reading" if model.time_axis == "to_failure" else "have no reading"
        body += missing(f"The units are not drawn: they {why}.")
    elif placed is not None and panel is not None and placed.n_units < panel.n_units:
        n = panel.n_units - placed.n_units
        body += missing(
            "1 unit is still running and is not drawn."
            if n == 1
            else f"{n:,} units are still running and are not drawn."
        )
    body += "<h3>Mean curves</h3>" + paragraph(
        "At the start, middle and end of the training times; sd: standard deviation of a reading between the units of "
        "the mode."
    )
    body += _cut(_told_apart(frames["curves"], ("start", "middle", "end")), "rows")
    if model.n_modes > 1 and any(frames["classification"].values()):
        body += "<h3>How surely the training units belong to their modes</h3>"
        body += paragraph(
            "Mean mode probabilities of the units that were assigned to each mode, and the odds that they are "
            "right over the odds before any reading (above 5 is usually called good)."
        )
        body += table(
            {n: list(map(short_odds if n == "odds" else _share, x)) for n, x in frames["classification"].items()}
        )
    return [Section("modes", "The failure modes", body)]


def _told_apart(frame: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The table with some of its columns in so many digits that numbers of one row differ where they do."""
    found = {name: list(column) for name, column in frame.items()}
    for i, row in enumerate(zip(*(frame[name] for name in names), strict=True)):
        for name, shown in zip(names, told_apart([float(x) for x in row]), strict=True):
            found[name][i] = shown
    return found


def _at(panel: Panel, name: str) -> int:
    return panel.channels.index(name)


def _needed(model: FailureModeModel, panel: Panel, drawn: list[str]) -> list[str]:
    """The other channels, which say of which mode a unit is."""
    return [name for name in panel.channels if name in model.channels and name not in drawn]


def conditions(model: FailureModeModel, pictures: Pictures) -> list[Section]:
    """Regimes, effects of covariates, and membership; no section for a model without any."""
    frames = model.summary().frames
    body = ""
    if model.regimes_ is not None:
        height = 1.4 + 0.3 * max(3, len(model.regimes_.labels))
        names = ["Training readings of each regime", "What each regime adds to each channel"]
        body += pictures.of(lambda axes: RegimesDisplay.from_model(model, ax=axes), names, size=(5.6, height))
    for key, title in (
        ("regimes", "Regimes: a reading less the offset, divided by the scale, is on the average regime"),
        ("covariates", "Covariates"),
        ("effects", "Effects of covariates"),
        ("membership", "Log-odds of each mode by covariates of the unit"),
    ):
        frame = frames.get(key)
        if frame is not None and any(frame.values()):
            body += f"<h3>{title}</h3>" + _cut(frame, "rows")
    return [Section("conditions", "Operating conditions", body)] if body else []


def starts(model: FailureModeModel, pictures: Pictures) -> Section:
    """The starts of the fit, and whether its best one converged."""
    record = model.training
    found = record.get("starts") or ()
    body = ""
    if "converged" in record:
        passes = f" after {record['n_iter']:,} passes" if "n_iter" in record else ""
        ended = "converged" if record["converged"] else "did not converge"
        body += paragraph(f"The best start {ended}{passes}.")
    if "basis_choice" in record:
        chosen = record["basis_choice"]
        n_candidates = counted(len(chosen["candidates"]), "candidate")
        body += paragraph(f"Of {n_candidates} this basis was taken: {chosen['reason']}")
        body += _cut(model.summary().frames["bases"], "candidates")
    if not found:
        return Section("starts", "Starts and convergence", body + missing("The model has no record of its starts."))
    if model.linking_rank:
        body += paragraph(
            "Starts are fits without shared factors; the fit with them began at the best one, so its log-likelihood "
            "and passes above are others."
        )
    if len(found) > 1:
        body += paragraph(f"{of_the_best(found)} of {len(found)} starts led to the best solution.")
        body += pictures.of(
            lambda axes: StartsDisplay.from_model(model, ax=axes),
            ["Log-likelihood that each start reached"],
            size=(5.6, 3.4),
        )
    return Section("starts", "Starts and convergence", body + _cut(_numbered(found), "starts"))


def of_the_best(starts: Sequence[Mapping[str, Any]]) -> int:
    """How many starts led to the best solution: that one, and those that ended because they came to the same."""
    fates = [str(start.get("fate")) for start in starts]
    if "best" not in fates:
        return 0
    return 1 + fates.count(f"same as start {fates.index('best')}")


def _numbered(starts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The starts by the numbers that fates refer to."""
    names = {"kind": "kind", "log-likelihood": "log_likelihood", "passes": "n_iter", "fate": "fate"}
    columns = {name: [start.get(key) for start in starts] for name, key in names.items()}
    return {"start": list(range(len(starts))), **columns}


def calibration(
    model: FailureModeModel, prognosis: RemainingLife | ThresholdLife | None, pictures: Pictures
) -> list[Section]:
    """Coverage before and after; no section for a model on the forward time axis that holds no threshold."""
    if model.time_axis != "to_failure" and prognosis is None:
        return []
    held = None if prognosis is None else prognosis.calibration
    if held is None:
        said = missing(
            f"Remaining lives are not calibrated. {calibrator(model)} measures their coverage on held-out units and "
            "corrects it; its save keeps the result in the model file."
        )
        return [Section("calibration", "Calibration", said)]
    reports = {"before": held.before, "after": held.after, "without sensors": held.without_sensors}
    known = {name: one for name, one in reports.items() if one is not None}
    body = ""
    if held.skill is not None:
        body += paragraph(
            f"Skill against no sensors: {held.skill:.2f} (1 - CRPS / CRPS without sensors, on held-out units; 1 is "
            "perfect, 0 is no gain)."
        )
    last = held.after or held.before
    if last is not None and last.n_running:
        body += paragraph(
            f"{last.n_running} of the {last.n_units} held-out units never crossed the threshold within their records. "
            "They count with what is known: their lives are longer."
        )
    if last is not None and last.by_life is not None:
        low, high = last.by_life.bounds
        body += paragraph(
            f"Short, middle and long are thirds of the predictions by their medians: below {low:.4g}, up to "
            f"{high:.4g}, and above{', in ' + model.time_unit if model.time_unit else ''} (of the last report)."
        )
    try:
        names = ["Share of lives inside intervals", "Probability integral transforms"]
        body += pictures.of(lambda axes: CalibrationDisplay.from_calibration(held, ax=axes), names)
    except OptionError:  # a calibration without a report
        body += missing("The calibration has no report of the coverage on held-out units.")
    if known:
        body += table(_coverage(known))
    return [Section("calibration", "Calibration", body)]


def calibrator(model: FailureModeModel) -> str:
    """What calibrates the remaining lives of a model."""
    name = "RemainingLife" if model.time_axis == "to_failure" else "ThresholdLife"
    return f"{name}(model).calibrated(panel)"


def _coverage(reports: dict[str, Reliability]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "predictions",
            "interval",
            "held",
            "±",
            "short lives",
            "middle",
            "long lives",
            "mean width",
            "CRPS",
        )
    }
    for name, report in reports.items():
        for level, share in report.coverage.items():
            errors = 100 * report.standard_errors[level]
            thirds = (
                [""] * 3 if report.by_life is None else [f"{100 * x:.1f} %" for x in report.by_life.coverage[level]]
            )
            held = (f"{100 * level:.0f} %", f"{100 * share:.1f} %", f"{errors:.1f} %")
            row = (name, *held, *thirds, report.widths[level])
            for column, cell in zip(columns.values(), (*row, report.crps), strict=True):
                column.append(cell)
    return columns


def _share(value: Any) -> Any:
    """A probability as people read it; anything else as it is."""
    if not isinstance(value, float):
        return value
    return "" if np.isnan(value) else "< 0.001" if 0 < value < 5e-4 else f"{value:.3f}"


def _cut(columns: Any, rest: str) -> str:
    """A table of its first rows."""
    n = len(next(iter(columns.values()), ()))
    more = f"and {n - _MOST_ROWS:,} more {rest}" if n > _MOST_ROWS else ""
    return table({name.replace("_", " "): list(values)[:_MOST_ROWS] for name, values in columns.items()}, rest=more)
