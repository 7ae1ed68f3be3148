"""``cem demo``: fit the fleet that ships with cem, compare with the true modes, follow one running unit."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.cli.terminal import Terminal, bar
from cem.metrics.agreement import adjusted_rand_index, contingency

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["comparison", "run_demo"]

_STEPS = 10


@dataclass(frozen=True)
class Reading:
    """The mode probabilities of the running unit after some of its readings."""

    time: float
    n_readings: int
    probabilities: tuple[float, ...]


def run_demo(terminal: Terminal, *, n_starts: int = 10, seed: int = 0, n_jobs: int = 1) -> dict[str, Any]:
    """Fit the demo fleet without its labels, compare with them, and follow one unit that the fit has not seen.

    Returns
    -------
    dict
        Everything that was shown, for ``--json``.
    """
    from cem.datasets.demo_fleet import N_TRAINING, load_demo_fleet
    from cem.fitting.estimator import FailureModeEM

    labelled = load_demo_fleet(modes=True)
    watched = N_TRAINING + _unit_to_watch(labelled[N_TRAINING:])
    training = load_demo_fleet(modes=False)[:N_TRAINING]
    n_modes = len(set(labelled.modes))
    terminal.say(
        f"The demo fleet: {labelled.n_units} units, {labelled.n_channels} channels, {len(labelled.times)} readings. "
        f"Units {labelled.units[N_TRAINING]} to {labelled.units[-1]} are kept out of the fit.\n"
    )
    with terminal.fitting() as progress:
        # One covariance for all modes: the few units of the rarest mode cannot determine their own.
        em = FailureModeEM(n_modes, covariance="pooled", n_init=n_starts, n_jobs=n_jobs, random_state=seed)
        em.fit(training, progress=progress)
    if em.interrupted_:
        raise KeyboardInterrupt
    model = em.model_
    truth = list(labelled.modes[:N_TRAINING])
    assigned = em.responsibilities_.argmax(axis=1).tolist()
    agreement = _show_modes(terminal, em, truth, assigned, training.times[training.offsets[1:] - 1])
    readings = _watch(model, labelled[watched : watched + 1])
    _show_watched(terminal, model, labelled, watched, truth, assigned, readings)
    return {
        "n_units": training.n_units,
        "n_channels": training.n_channels,
        "log_likelihood": float(em.log_likelihood_),
        "converged": bool(em.converged_),
        "n_iter": int(em.n_iter_),
        "weights": [float(weight) for weight in em.weights_],
        "truth": agreement,
        "watched": {
            "unit": _plain(labelled.units[watched]),
            "true_mode": _plain(labelled.modes[watched]),
            "readings": [
                {"time": r.time, "n_readings": r.n_readings, "probabilities": list(r.probabilities)} for r in readings
            ],
        },
    }


def comparison(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The table of the modes found, from the document of `run_demo`: weights, and units by true mode."""
    truth = document["truth"]
    columns: dict[str, list[Any]] = {"mode": list(range(len(document["weights"]))), "weight": document["weights"]}
    for j, label in enumerate(truth["labels"]):
        columns[f"true {label}"] = [row[j] for row in truth["units_by_mode"]]
    return columns


def _unit_to_watch(panel: Panel) -> int:
    """Position of the unit with the most readings in the rarest mode."""
    modes = list(panel.modes)
    rarest = min(set(modes), key=lambda mode: (modes.count(mode), str(mode)))
    lengths = np.diff(panel.offsets)
    return max((i for i, mode in enumerate(modes) if mode == rarest), key=lambda i: (int(lengths[i]), -i))


def _show_modes(
    terminal: Terminal,
    em: FailureModeEM,
    truth: list[Hashable | None],
    assigned: list[int],
    last_times: np.ndarray,
) -> dict[str, Any]:
    """Show the modes beside the labels that the fit did not get."""
    model = em.model_
    counts, rows, labels = contingency(assigned, truth)
    order = sorted(range(len(labels)), key=lambda i: str(labels[i]))
    # The mean curve within the data: at the first time, and when half of the units have ended.
    channel = model.response if model.response is not None else model.channels[0]
    index = model.channels.index(channel)
    basis = model.bases[index]
    late = float(np.median(last_times))
    start, end = basis(np.array([basis.domain[0], late])) @ model.means_[:, index, : basis.size].T
    table = []
    for k, label in enumerate(model.mode_labels):
        found = counts[rows.index(k)] if k in rows else np.zeros(len(labels), dtype=np.int64)
        table.append(
            [
                str(label),
                f"{em.weights_[k]:.3f}",
                str(assigned.count(k)),
                f"{start[k]:.4g} → {end[k]:.4g}",
                *(str(found[i]) for i in order),
            ]
        )
    columns = [
        "mode",
        "weight",
        "units",
        f"{channel} at {basis.domain[0]:g} → {late:.4g}",
        *(f"true {labels[i]}" for i in order),
    ]
    terminal.table("Failure modes found, and the labels that the fit was not shown", columns, table)
    index_value = adjusted_rand_index(assigned, truth)
    terminal.say(f"Adjusted Rand index with the true modes: {index_value:.3f} (1 is the same partition)\n")
    return {
        "adjusted_rand_index": index_value,
        "labels": [_plain(labels[i]) for i in order],
        "units_by_mode": [
            [int(counts[rows.index(k)][i]) for i in order] if k in rows else [0] * len(order)
            for k in range(len(model.mode_labels))
        ],
    }


def _watch(model: FailureModeModel, unit_panel: Panel) -> list[Reading]:
    """Score the unit reading by reading; return its mode probabilities at each tenth of its history."""
    unit = model.scorer().unit()
    columns = [unit_panel.channels.index(name) for name in model.channels]
    n = len(unit_panel.times)
    stops = {max(1, round(n * step / _STEPS)) for step in range(1, _STEPS + 1)}
    seen = []
    for number, (time, values) in enumerate(zip(unit_panel.times, unit_panel.values, strict=True), start=1):
        unit.update(float(time), np.ascontiguousarray(values[columns]))
        if number in stops:
            seen.append(Reading(float(time), number, tuple(unit.mode_probabilities().tolist())))
    return seen


def _show_watched(
    terminal: Terminal,
    model: FailureModeModel,
    panel: Panel,
    watched: int,
    truth: list[Hashable | None],
    assigned: list[int],
    readings: list[Reading],
) -> None:
    rows = [
        [f"{reading.time:g}", str(reading.n_readings), *(f"{bar(p, 10)} {p:.3f}" for p in reading.probabilities)]
        for reading in readings
    ]
    columns = ["time", "readings", *(f"mode {label}" for label in model.mode_labels)]
    terminal.table(f"Unit {panel.units[watched]} as its readings arrive", columns, rows)
    best = int(np.argmax(readings[-1].probabilities))
    members = [label for label, mode in zip(truth, assigned, strict=True) if mode == best]
    usual = max(set(members), key=lambda label: (members.count(label), str(label))) if members else "none"
    terminal.say(
        f"It ends in mode {model.mode_labels[best]}, whose training units are mostly of the true mode {usual}; "
        f"its own true mode is {panel.modes[watched]}."
    )


def _plain(value: Any) -> Any:
    """A label as a JSON value."""
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
