"""The section that checks the model against the units of a panel: quantile residuals, and how surely it classifies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors.names import listed
from cem.metrics.agreement import short_odds
from cem.model.classification import THRESHOLDS
from cem.plot.quantiles import QuantileResidualDisplay
from cem.plot.style import percent
from cem.report.html import Section, missing, paragraph, table
from cem.report.sections_of_fit import failed_units

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.report.pictures import Pictures

__all__ = ["checks"]

_MOST_READINGS = 50_000
_MOST_NAMED = 12


def checks(model: FailureModeModel, panel: Panel | None, pictures: Pictures) -> list[Section]:
    """Does the model fit, and can its modes be trusted; no section without units that the model can place."""
    scored = failed_units(model, panel)
    if scored is None:
        return []
    body = ""
    if np.isfinite(model.with_own_channels(scored).values).any():
        every = max(1, -(-scored.n_readings // _MOST_READINGS))
        part = scored if every == 1 else scored[np.arange(0, scored.n_units, every)]
        shown: list[QuantileResidualDisplay] = []
        body += paragraph(
            "Quantile residuals are independent standard normal numbers if the model holds: curves, spread of units, "
            "noise and modes together. Points outside the band say that it does not. Where they rise, readings spread "
            "more than the model expects, where they fall, less; ends that turn away are outliers."
        )
        body += pictures.of(
            lambda axes: shown.append(QuantileResidualDisplay.from_model(model, part, ax=axes)),
            ["Quantile residuals less the normal quantiles, with a band that holds 95 % of true models"],
            size=(5.6, 3.6),
        )
        if every > 1:
            body += missing(f"Of {scored.n_units:,} units every {every:,}th is drawn.")
        body += _by_channel(model, part)
    else:
        body += missing("The units have no reading of any channel of the model, so there are no residuals.")
    found = model.classification(scored)
    if model.n_modes > 1:
        body += "<h3>How surely these units are classified</h3>"
        body += paragraph(
            f"{found!r}. The model expects {_percent(found.claimed_error)} of them to be in another mode than the one "
            f"assigned{'' if model.components is not None else '; with few training units it is too sure of itself'}."
        )
        columns: dict[str, Any] = {
            "mode": [str(label) for label in found.mode_labels],
            "units": found.assigned.tolist(),
            "mean probability": [_share(p) for p in found.mean_probabilities],
            "odds": [short_odds(odds) for odds in found.odds.tolist()],
        }
        for i, level in enumerate(THRESHOLDS):
            columns[f"above {level:g}"] = ["" if np.isnan(x) else percent(x) for x in found.shares[:, i]]
        body += table(columns)
    return [Section("checks", "Does the model fit?", body)]


def _by_channel(model: FailureModeModel, panel: Panel) -> str:
    """Spread and tails of the quantile residuals of each channel, the worst first."""
    found = model.residuals(panel, "quantile").standardised
    seen = np.isfinite(found)
    some = np.flatnonzero(seen.any(axis=0))
    of = [found[seen[:, c], c] for c in some]
    order = sorted(range(len(some)), key=lambda i: -abs(float(np.log(max(of[i].std(), 1e-9)))))
    shown = order[:_MOST_NAMED]
    columns: dict[str, Any] = {
        "channel": [model.channels[some[i]] for i in shown],
        "readings": [len(of[i]) for i in shown],
        "mean": [f"{of[i].mean():.3f}" for i in shown],
        "sd": [f"{of[i].std():.3f}" for i in shown],
        "beyond 3 sd": [_two_digits(float(np.mean(np.abs(of[i]) > 3))) for i in shown],
    }
    rest = [model.channels[some[i]] for i in order[_MOST_NAMED:]]
    return (
        "<h3>Quantile residuals by channel</h3>"
        + paragraph("Mean 0, sd 1 and 0.27 % beyond 3 sd are expected; the worst channel comes first.")
        + table(columns)
        + (missing(f"Not shown: {listed(rest, 60)}.") if rest else "")
    )


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    return _two_digits(share) if share >= 1e-4 or share == 0 else "fewer than 0.01 %"


def _two_digits(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.2g} %"
