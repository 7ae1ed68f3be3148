"""What a reader of the page must know before the rest, each with what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cem.errors.html import html_text
from cem.errors.names import listed
from cem.report.html import Section, missing
from cem.report.sections_of_fit import calibrator, of_the_best

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.prognosis.remaining_life import RemainingLife
    from cem.prognosis.threshold_life import ThresholdLife

__all__ = ["advice", "notes_of"]

_FEW_UNITS = 5
_SOME_STARTS = 3


def notes_of(model: FailureModeModel, prognosis: RemainingLife | ThresholdLife | None) -> list[str]:
    """Warnings that follow from the model and its record of the fit."""
    record = model.training
    found = []
    if record.get("converged") is False:
        found.append(
            "The best start did not converge: parameters and log-likelihood would still change. Fit with a larger "
            "max_iter."
        )
    if record.get("left_out_channels"):
        names = listed(tuple(record["left_out_channels"]), 12)
        found.append(
            f"The fit left out the channels {names}, because they were constant or their curves cannot be determined. "
            "Check these sensors, or leave the columns out of the panel."
        )
    if record.get("gross_errors"):
        counts = ", ".join(f"{name} {n}" for name, n in record["gross_errors"].items())
        found.append(
            f"The fit left out readings far outside every mode, by channel: {counts}. Look at sensors that have many."
        )
    floors = Counter(str(one.get("channel")) for one in record.get("floors") or ())
    if floors:
        shares = record.get("covariance") in ("pooled", "shrunk")
        pooled = "" if shares else ', or covariance="shrunk"'
        found.append(
            f"Variances are at their lower limit in the channels {listed(tuple(floors), 12)}. Look for stuck or "
            f"coarsely rounded sensors there. If the sensors are sound, use a smaller basis or fewer modes{pooled}."
        )
    lost = sum(str(start.get("fate", "")).startswith("lost mode") for start in record.get("starts") or ())
    n_starts = len(record.get("starts") or ())
    if n_starts and lost > 0.5 * n_starts:
        found.append(f"{lost} of {n_starts} starts lost a mode. Fit with fewer modes.")
    if n_starts >= _SOME_STARTS and of_the_best(record["starts"]) == 1:
        found.append(
            f"Only 1 of {n_starts} starts led to the best solution, so a better one may exist. Fit with more starts "
            "(n_init), and compare."
        )
    for label, n in zip(model.mode_labels, record.get("assigned") or (), strict=False):
        if n < _FEW_UNITS:
            found.append(
                f"Mode {label!r} has {n} training unit{'s' * (n != 1)}. Its curves and spread rest on little: confirm "
                "it with more units, or fit with fewer modes."
            )
    if prognosis is not None:
        found += _of_lives(prognosis)
    return found


def _of_lives(prognosis: RemainingLife | ThresholdLife) -> list[str]:
    if prognosis.calibration is None:
        return [
            "Remaining lives are not calibrated: nobody measured on held-out units how often the intervals hold the "
            f"truth. Do it with {calibrator(prognosis.model)}, and save the result."
        ]
    skill = prognosis.calibration.skill
    if skill is not None and skill <= 0:
        return [
            f"On held-out units the sensors did not improve remaining lives (skill {skill:.2f}). If a load or an "
            "operating regime moves the sensors, fit with covariates or regimes."
        ]
    return []


def advice(notes: Sequence[str]) -> Section:
    """The section of warnings."""
    if not notes:
        return Section("warnings", "Warnings", missing("None."))
    items = "".join(f"<li>{html_text(note)}</li>" for note in notes)
    return Section("warnings", "Warnings, and what to do", f'<ul class="notes">{items}</ul>')
