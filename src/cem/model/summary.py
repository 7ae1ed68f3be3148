"""Summary of a model and its fit for people: as text, and as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors.display import escaped, short_number
from cem.errors.names import counted, listed

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture

__all__ = ["Frame", "Summary", "summarise"]

_PLACES = ("start", "middle", "end")
_MOST_BASES = 8


class Frame(dict[str, list[Any]]):
    """A table as a dict of columns of equal length."""

    def to_frame(self, backend: str | None = None) -> Any:
        """Return the table as a data frame.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self, backend)

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table("", self)

    def __str__(self) -> str:
        return "\n".join(_table(self))


@dataclass(frozen=True)
class Summary:
    """Summary of a model: print it, or use its tables in `frames`.

    Parameters
    ----------
    title : str
        One line about the model.
    frames : dict of str to Frame
        "modes" (weight, units assigned), "curves" (mean curve of each mode and channel at the start, middle and end
        of the channel's domain, with the standard deviation of a reading between units, in units of the channel),
        "columns" (functions of each channel's basis by kind), "covariates" (what the model is told with its readings),
        "effects" (coefficients of covariates, in units of the channel and as `FailureModeModel.covariate_effects_`
        counts them; mode "all": one for the fleet), "regimes" (offset and scale of each channel in each regime),
        "processes" (how units wander about their curves, and what ``process="auto"`` tried),
        "membership" (coefficients of units' covariates, as `FailureModeModel.membership_`),
        "classification" (mean mode probabilities of the training units by the mode they were assigned to, and odds of
        correct classification), "bases" (the best of those that ``basis="auto"`` compared, by rising number of
        parameters), "starts", "floors" (parameters that are at their floor). A table is empty if the model
        has no record of it.
    facts : dict of str to object
        Log-likelihood, number of parameters, entropy and the like.
    """

    title: str
    frames: Mapping[str, Frame]
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        lines = [self.title]
        if self.facts:
            width = max(map(len, self.facts))
            lines += ["", *(f"{name.ljust(width)}  {_cell(value)}" for name, value in self.facts.items())]
        for name, frame in self.frames.items():
            if any(frame.values()):
                lines += ["", _HEADINGS[name], *_table(frame)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        tables = ", ".join(name for name, frame in self.frames.items() if any(frame.values()))
        return f"Summary: {self.title}; print it, or see frames: {tables}"

    def _repr_html_(self) -> str:
        from cem.errors.html import html_facts, html_table

        tables = [html_table(_HEADINGS[name], frame) for name, frame in self.frames.items() if any(frame.values())]
        return "".join([html_facts(self.title, self.facts), *tables])


_HEADINGS = {
    "modes": "Modes",
    "curves": "Mean curves (sd: of a reading, between units of the mode)",
    "columns": "Basis functions whose coefficients vary from unit to unit, belong to a mode, or are common to all",
    "covariates": "Covariates",
    "effects": "Effects of covariates",
    "regimes": "Regimes (a reading less the offset, divided by the scale, is on the average regime)",
    "processes": "Processes (gains per unit left out, CRPS and interval score of its later readings as a share)",
    "membership": "Membership: log-odds of each mode by covariates of the unit",
    "classification": "Mean mode probabilities of training units, by the mode assigned, and odds of being right",
    "bases": "Bases compared on units left out (gap: to the best score, and its standard error)",
    "starts": "Starts",
    "floors": "On their floor",
}


def summarise(model: FittedMixture) -> Summary:
    """Summarise a model; see `FailureModeModel.summary`."""
    training = model.training
    names = [str(label) for label in model.mode_labels]
    response = f", response {model.response!r}" if model.response is not None else ""
    axis = "time to failure" if model.time_axis == "to_failure" else "time"
    unit = f" [{escaped(model.time_unit)}]" if model.time_unit else ""
    size = f"{counted(model.n_modes, 'failure mode')}, {counted(model.n_channels, 'channel')}"
    title = f"{size}{response}, over {axis}{unit}"
    frames = {
        "modes": _modes(model, training),
        "curves": _curves(model),
        **_of_conditions(model),
        **_processes(model, training),
        "classification": _classification(model, names, training),
        "bases": _bases(training),
        "starts": _records(training.get("starts"), ("kind", "log_likelihood", "n_iter", "fate")),
        "floors": _floors(model, training),
    }
    return Summary(title, frames, _facts(model, training))


def _bases(training: Mapping[str, Any]) -> Frame:
    """The best candidates of an automatic choice of the basis, and the one taken."""
    rows = training.get("basis_choice", {}).get("candidates", ())
    best = sorted(rows, key=lambda row: (not row["recommended"], row["gap"]))[:_MOST_BASES]
    shown = [{**row, "recommended": "<-" if row["recommended"] else ""} for row in rows if row in best]
    return _records(
        shown,
        ("basis", "n_modes", "linking_rank", "covariance", "n_parameters", "score", "gap", "gap_standard_error",
         "recommended"),
    )  # fmt: skip


def _has_conditions(model: FittedMixture) -> bool:
    return any(part is not None for part in (model.conditions, model.of_units, model.column_kinds))


def _of_conditions(model: FittedMixture) -> dict[str, Frame]:
    """Tables of what only some models have."""
    if not _has_conditions(model):
        return {}
    from cem.model.condition_summary import condition_tables

    return {name: Frame(columns) for name, columns in condition_tables(model).items()}


_TRIED = (
    *("channel", "kind", "ratio", "rate", "log_likelihood_gain", "log_likelihood_error", "crps_gain", "crps_error"),
    *("interval_gain", "interval_error", "chosen", "reason"),
)


def _processes(model: FittedMixture, training: Mapping[str, Any]) -> dict[str, Frame]:
    """How units wander about their curves, and what was tried for channels of process="auto"."""
    tried = training.get("processes")
    if model.processes is None and not tried:
        return {}
    if tried:
        return {"processes": _records(tried, sorted(tried[0], key=_TRIED.index))}  # a file has them by name
    columns = [(name, own.kind, own.ratio, own.rate) for name, own in model.process_.items()]
    return {
        "processes": Frame(
            zip(("channel", "kind", "ratio", "rate"), map(list, zip(*columns, strict=True)), strict=True)
        )
    }


def _facts(model: FittedMixture, training: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, key in (
        ("units", "n_units"),
        ("distinct units", "n_distinct_units"),
        ("observed values", "n_observations"),
        ("log-likelihood", "log_likelihood"),
        ("parameters", "n_parameters"),
        ("passes", "n_iter"),
        ("converged", "converged"),
        ("covariance", "covariance"),
        ("shrinkage, units", "shrinkage"),
        ("noise", "noise"),
    ):
        if training.get(key) is not None:
            facts[name] = training[key]
    by_likelihood = training.get("covariance") != "shrunk"  # criteria count parameters of such fits only
    if by_likelihood and {"log_likelihood", "n_parameters", "n_units"} <= set(training) and training["n_units"] > 0:
        facts["BIC"] = -2 * training["log_likelihood"] + training["n_parameters"] * math.log(training["n_units"])
    if model.linking_rank:
        facts["shared factors"] = model.linking_rank
    if model.processes is not None or training.get("processes"):
        own = listed([f"{name}: {process.kind}" for name, process in model.process_.items()], 12) or "none"
        facts["process"] = f"{own} (by held-out forecasts)" if training.get("processes") else own
    if _has_conditions(model):
        from cem.model.condition_summary import condition_facts

        facts.update(condition_facts(model))
    entropy = training.get("entropy")
    if entropy is not None:
        facts["entropy"] = entropy
        if model.n_modes > 1 and training.get("n_units"):
            # 1: every unit belongs to one mode with certainty; 0: all modes are equally likely for every unit
            facts["relative entropy"] = 1 - entropy / (training["n_units"] * math.log(model.n_modes))
    from cem.model.known_parameters import said_of_parameters

    said = said_of_parameters(model)
    if said is not None:
        facts["uncertainty"] = said
    if training.get("left_out_channels"):
        facts["channels left out"] = ", ".join(training["left_out_channels"])
    counts = training.get("gross_errors")
    if counts is not None:
        by_channel = ", ".join(f"{name} {n}" for name, n in counts.items())
        facts["gross errors left out"] = f"{sum(counts.values())}{f' ({by_channel})' if counts else ''}"
    return facts


def _modes(model: FittedMixture, training: Mapping[str, Any]) -> Frame:
    frame = Frame(mode=list(model.mode_labels), weight=[float(weight) for weight in model.weights_])
    if training.get("assigned") is not None:
        frame["units"] = list(training["assigned"])
    return frame


def _curves(model: FittedMixture) -> Frame:
    columns: tuple[str, ...] = ("mode", "channel", "unit", *_PLACES, *(f"sd_{place}" for place in _PLACES), "noise")
    frame = Frame({name: [] for name in columns})
    user, units = model.user_parameters().marginal(), model.channel_units
    for c, (channel, basis) in enumerate(zip(model.channels, model.bases, strict=True)):
        low, high = basis.domain
        places = np.array([low, 0.5 * (low + high), high])
        rows, wander = basis(places), model._wander_variance(c, places - low)
        for k, label in enumerate(model.mode_labels):
            noise = user.noise_variances[k, c]
            # Without columns of covariates, which come after the basis: at reference conditions, as in `model.curves`.
            mean, factor = user.mean(k, c)[: basis.size], user.factor(k, c)[: basis.size]
            deviations = np.sqrt(np.square(rows @ factor).sum(axis=1) + noise * (1.0 + wander))
            cells = (label, channel, units.get(channel, ""), *(rows @ mean), *deviations, math.sqrt(noise))
            for name, cell in zip(columns, cells, strict=True):
                frame[name].append(float(cell) if isinstance(cell, np.floating) else cell)
    return frame


def _classification(model: FittedMixture, names: Sequence[str], training: Mapping[str, Any]) -> Frame:
    table = training.get("classification")
    if not table:
        return Frame()
    frame = Frame(assigned=list(names))
    for k, name in enumerate(names):
        frame[f"P({name})"] = [math.nan if row is None else row[k] for row in table]
    if model.n_modes > 1:
        from cem.metrics.agreement import odds_of_correct_classification

        own = np.array([math.nan if row is None else row[k] for k, row in enumerate(table)])
        frame["odds"] = odds_of_correct_classification(own, model.weights_).tolist()
    return frame


def _floors(model: FittedMixture, training: Mapping[str, Any]) -> Frame:
    frame = _records(training.get("floors"), ("mode", "channel", "floor"))
    frame["mode"] = [model.mode_labels[k] for k in frame["mode"]]
    return frame


def _records(records: Sequence[Mapping[str, Any]] | None, columns: Sequence[str]) -> Frame:
    return Frame({name: [record.get(name) for record in records or ()] for name in columns})


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, str)):
        return escaped(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "" if math.isnan(value) else short_number(value)
    return escaped(value)


def _table(frame: Frame) -> list[str]:
    """Lines of a table with numbers aligned right; mode labels are not rounded, and all names are escaped."""
    columns = []
    for name, values in frame.items():
        cells = [escaped(value) if name == "mode" else _cell(value) for value in values]
        if name == "odds":
            from cem.metrics.agreement import short_odds

            cells = [_cell(short_odds(value)) for value in values]
        name = escaped(name)
        width = max(map(len, [name, *cells]))
        numeric = bool(values) and all(
            isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
        )
        columns.append([cell.rjust(width) if numeric else cell.ljust(width) for cell in [name, *cells]])
    return ["  " + "  ".join(row).rstrip() for row in zip(*columns, strict=True)]
