"""``cem demo --fleet compressors``: the same fit without and with the loads at which the machines run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.cli.demo_files import N_REGIMES, RATE, SETTINGS, share_seen
from cem.datasets.compressor_fleet import N_TRAINING, load_compressor_fleet
from cem.metrics.agreement import adjusted_rand_index, contingency

if TYPE_CHECKING:
    from collections.abc import Hashable

    from cem.cli.terminal import Terminal
    from cem.fitting.estimator import FailureModeEM
    from cem.panel.panel import Panel
    from cem.prognosis.remaining_life import RemainingLife

__all__ = ["comparison", "run_compressors"]

_LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class Fit:
    """One of the fits that the demo compares."""

    name: str
    em: FailureModeEM
    lives: RemainingLife
    agreement: float


def run_compressors(terminal: Terminal, *, n_starts: int = 10, seed: int = 0, n_jobs: int = 1) -> dict[str, Any]:
    """Fit the compressor fleet without and with its loads, and compare modes and remaining lives with the truth.

    Parameters
    ----------
    terminal : Terminal
    n_starts, seed, n_jobs : int
        Of each fit.

    Returns
    -------
    dict
        Everything that was shown, for ``--json``.
    """
    from cem.covariates.regimes import Regimes

    labelled = load_compressor_fleet(modes=True)
    training = load_compressor_fleet()[:N_TRAINING]
    truth = list(labelled.modes[:N_TRAINING])
    terminal.say(
        f"The compressor fleet: {labelled.n_units} units that change between three loads, {labelled.n_channels} "
        f"channels, {len(labelled.times)} readings.\nUnits {labelled.units[N_TRAINING]} to {labelled.units[-1]} are "
        "kept out of the fits.\n"
    )
    search = {"n_init": n_starts, "random_state": seed, "n_jobs": n_jobs}
    terminal.say("1. A fit of the sensors alone. cem warns that something else moves them.\n")
    alone = _fitted(terminal, "sensors alone", training, truth, search)
    _show_modes(terminal, alone, truth)
    regimes = Regimes(SETTINGS, n=N_REGIMES)
    terminal.say(f"2. The same fit with regimes={regimes!r}.\n")
    by_load = _fitted(terminal, "with regimes", training, truth, search, regimes=regimes)
    _show_modes(terminal, by_load, truth)
    terminal.say(f"{_regimes(by_load)}\n")
    terminal.say('3. The same fit with membership=["site"] too: sites differ in how frequent each mode is.\n')
    by_site = _fitted(terminal, "with regimes and sites", training, truth, search, regimes=regimes, membership=["site"])
    fits = (alone, by_load, by_site)
    terminal.table(
        "Agreement with the true modes, and skill of predicted lives on held-out units",
        ["fit", "adjusted Rand index", "skill"],
        [[fit.name, f"{fit.agreement:.3f}", f"{_skill(fit):.2f}"] for fit in fits],
    )
    terminal.say("Skill is 1 - CRPS / CRPS without sensors: at 0 or below, sensors do not help.\n")
    running = _running(labelled)
    left = np.asarray(labelled.failure_times[N_TRAINING:]) - running.times[running.offsets[1:] - 1]
    predicted = _show_lives(terminal, fits, running, left)
    return {
        "n_units": training.n_units,
        "n_channels": training.n_channels,
        "regimes": list(_regimes(by_load).labels),
        "fits": [
            {
                "name": fit.name,
                "log_likelihood": float(fit.em.log_likelihood_),
                "converged": bool(fit.em.converged_),
                "adjusted_rand_index": fit.agreement,
                "skill": _skill(fit),
                "medians": medians,
            }
            for fit, medians in zip(fits, predicted, strict=True)
        ],
        "running": [
            {"unit": unit, "remaining_life": float(life)} for unit, life in zip(running.units, left, strict=True)
        ],
    }


def comparison(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The table of the fits, from the document of `run_compressors`."""
    names = ("name", "log_likelihood", "converged", "adjusted_rand_index", "skill")
    return {name: [fit[name] for fit in document["fits"]] for name in names}


def _fitted(
    terminal: Terminal,
    name: str,
    training: Panel,
    truth: list[Hashable | None],
    search: dict[str, Any],
    **conditions: Any,
) -> Fit:
    from cem.basis.families import Exponential
    from cem.fitting.estimator import FailureModeEM
    from cem.prognosis.remaining_life import RemainingLife

    em = FailureModeEM(
        len(set(truth)),
        basis=Exponential([RATE]),
        covariance="pooled",
        time_axis="to_failure",
        **search,
        **conditions,
    )
    with terminal.fitting() as progress:
        em.fit(training, progress=progress)
    if em.interrupted_:
        raise KeyboardInterrupt
    # Skill is measured on units that the fit of their fold does not see; nothing is corrected.
    lives = RemainingLife(em.model_).calibrated(training, em, ages=3, n_folds=3, correct=False, n_jobs=search["n_jobs"])
    assigned = em.responsibilities_.argmax(axis=1).tolist()
    return Fit(name, em, lives, adjusted_rand_index(assigned, truth))


def _skill(fit: Fit) -> float:
    calibration = fit.lives.calibration
    assert calibration is not None and calibration.skill is not None
    return calibration.skill


def _regimes(fit: Fit) -> Any:
    conditions = fit.em.model_.conditions
    assert conditions is not None and conditions.regimes is not None
    return conditions.regimes


def _show_modes(terminal: Terminal, fit: Fit, truth: list[Hashable | None]) -> None:
    """The modes beside the labels that the fit did not get."""
    assigned = fit.em.responsibilities_.argmax(axis=1).tolist()
    counts, rows, labels = contingency(assigned, truth)
    order = sorted(range(len(labels)), key=lambda i: str(labels[i]))
    table = []
    for k, label in enumerate(fit.em.model_.mode_labels):
        found = counts[rows.index(k)] if k in rows else np.zeros(len(labels), dtype=np.int64)
        cells = [f"{fit.em.weights_[k]:.3f}", str(assigned.count(k)), *(str(found[i]) for i in order)]
        table.append([str(label), *cells])
    columns = ["mode", "weight", "units", *(f"true {labels[i]}" for i in order)]
    terminal.table("Failure modes found, and the labels that the fit was not shown", columns, table)
    terminal.say(f"Adjusted Rand index with the true modes: {fit.agreement:.3f} (1 is the same partition)\n")


def _running(labelled: Panel) -> Panel:
    """The units that no fit has seen, cut off while they run."""
    panel = labelled[N_TRAINING:]
    shares = np.array([share_seen(i, panel.n_units) for i in range(panel.n_units)])
    return panel.until(shares * panel.failure_times)


def _show_lives(terminal: Terminal, fits: Sequence[Fit], running: Panel, left: np.ndarray) -> list[list[float]]:
    """The remaining lives of running units by the first and the last fit; medians by each."""
    laws = [fit.lives.predict(running.with_modes(None)) for fit in fits]
    shown = (0, len(fits) - 1)
    rows = []
    for i, unit in enumerate(running.units):
        cells = []
        for f in shown:
            low, high = laws[f].interval(_LEVEL)
            cells.append(f"{laws[f].median()[i]:.0f} ({low[i]:.0f} to {high[i]:.0f})")
        age = running.times[running.offsets[i + 1] - 1]
        rows.append([str(unit), str(running.modes[i]), f"{age:g}", f"{left[i]:.0f}", *cells])
    columns = ["unit", "true mode", "age", "days left", *(fits[f].name for f in shown)]
    terminal.table(f"Running compressors: days left, predicted median and {_LEVEL:.0%} interval", columns, rows)
    errors = [float(np.abs(law.median() - left).mean()) for law in laws]
    terminal.say(
        f"Mean absolute error of the medians: {errors[shown[0]]:.0f} days with {fits[shown[0]].name}, "
        f"{errors[shown[1]]:.0f} days {fits[shown[1]].name}."
    )
    return [law.median().tolist() for law in laws]
