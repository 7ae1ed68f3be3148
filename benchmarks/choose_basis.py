"""What the choice of a basis is worth on units that it has not seen: engines, lasers, and the published simulation.

    python benchmarks/choose_basis.py                     # writes benchmarks/results/choose_basis.json
    python benchmarks/choose_basis.py --only FD001,laser  # some of the sets; keeps no results
    python benchmarks/choose_basis.py --quick             # small: to see that it runs; keeps no results

Engines: five outer folds. `choose_basis` sees the training engines of each (five folds, every second cut-off), and what
it takes is calibrated on them: the simplest candidate within a standard error of the best, as by default, and the best,
as with `standard_errors=0`. The recipe of docs/howto/turbofan.md is fitted and calibrated on the same folds. Errors
are RMSE of E[min(r, 125)]. Test files are not opened.

Lasers and simulation: five outer folds. What the choice loses on units left out, divided by what the best single
candidate of its menu loses there; the menu is that of the whole fleet, so that all folds have the same one.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import csv
import os
import time
import warnings
from collections import Counter
from pathlib import Path

import cmapss
import numpy as np
from cmapss import CAP, N_FOLDS, SEED, SENSORS
from common import published_simulation as simulation

import cem
from cem import metrics
from cem.datasets import read_cmapss
from cem.panel import Panel
from cem.prognosis.heldout import cut_off_ages, folds_of_units
from cem.selection import BasisCandidate, BasisChoice, choose_basis
from cem.selection.basis_menu import default_bases
from cem.selection.basis_scores import losses_of

warnings.simplefilter("ignore", cem.CemWarning)

RECIPES = {"FD001": (1, (12.0, 35.0, 100.0), 8, 5.0), "FD003": (3, (15.0, 50.0, 200.0), 8, 5.0)}
MODES = {"FD001": (1, 2), "FD003": (1, 2, 3)}
N_INNER, CUTS_TO_CHOOSE = 5, slice(None, None, 2)
SIMULATED_SEED = 500
TAKEN = ("simplest", "best")  # within a standard error of the best, as by default; the best, with standard_errors=0


def estimator(n_modes: int = 1, **options: object) -> cem.FailureModeEM:
    return cem.FailureModeEM(n_modes, n_init=cmapss.STARTS, max_iter=400, random_state=SEED, **options)


def with_options(em: cem.FailureModeEM, one: BasisCandidate) -> cem.FailureModeEM:
    return cem.FailureModeEM(**{**em.get_params(deep=False), **one.options, "basis": one.basis})


def counts(chosen: list[str]) -> str:
    """What was chosen, and in how many outer folds."""
    return "; ".join(f"{one} ({n})" for one, n in Counter(chosen).most_common())


def errors(
    em: cem.FailureModeEM, train: Panel, own: Panel, cuts: np.ndarray, ages: np.ndarray
) -> dict[str, np.ndarray]:
    """Predictions of E[min(r, cap)] for units left out at their cut-offs, from plain and from calibrated laws."""
    plain = cem.RemainingLife(cem.FailureModeEM(**em.get_params(deep=False)).fit(train).model_)
    laws = {"plain": plain, "calibrated": plain.calibrated(train, em, ages=cuts, n_folds=N_FOLDS, random_state=SEED)}
    return {
        kind: np.stack([law.predict(own.until(ages[:, j])).mean(CAP) for j in range(ages.shape[1])])
        for kind, law in laws.items()
    }


def engines(name: str, options: argparse.Namespace) -> list[dict]:
    """Choice and recipe on the same outer folds."""
    panel = read_cmapss(options.data / "cmapss" / f"train_{name}.txt", channels=SENSORS)
    ages = cmapss.committed_ages(name, panel, 2 if options.quick else 10)
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    n_modes, constants, rank, penalty = RECIPES[name]
    recipe = cmapss.estimator(n_modes, constants, rank, penalty)
    found: dict[str, dict[str, list[np.ndarray]]] = {who: {"plain": [], "calibrated": []} for who in (*TAKEN, "recipe")}
    truth, seconds, numbers = [], [], []
    chosen: dict[str, list[str]] = {who: [] for who in TAKEN}
    for fold in range(1 if options.quick else N_FOLDS):
        train, own = panel[fold_of != fold], panel[fold_of == fold]
        cuts, held = ages[fold_of != fold], ages[fold_of == fold]
        start = time.process_time()
        taken = choose_basis(
            estimator(time_axis="to_failure"), train, modes=MODES[name], score="rmse", cap=CAP,
            ages=cuts[:, CUTS_TO_CHOOSE], n_folds=N_INNER, random_state=SEED, n_jobs=options.jobs,
            **({"ranks": [0]} if options.quick else {}),
        )  # fmt: skip
        predicted = {"simplest": errors(taken.estimator, train, own, cuts, held)}
        seconds.append(time.process_time() - start)
        numbers.append(len(taken.candidates))
        predicted["best"] = (
            predicted["simplest"]
            if taken.best is taken.taken
            else errors(with_options(taken.estimator, taken.best), train, own, cuts, held)
        )
        predicted["recipe"] = errors(recipe, train, own, cuts, held)
        for who, laws in predicted.items():
            for kind, values in laws.items():
                found[who][kind].append(values.ravel())
        truth.append((own.failure_times[None, :] - held.T).ravel())
        chosen["simplest"].append(taken.taken.name)
        chosen["best"].append(taken.best.name)
        print(f"{name}, fold {fold}: {taken.taken.name}, {seconds[-1]:.1f} s", flush=True)
    outcome = np.concatenate(truth)
    rows = []
    for kind in ("plain", "calibrated"):
        value = {who: metrics.rmse(outcome, np.concatenate(laws[kind]), cap=CAP) for who, laws in found.items()}
        for who in TAKEN:
            rows.append(
                {
                    "set": name,
                    "laws": kind,
                    "taken": who,
                    "rmse_choice": value[who],
                    "rmse_recipe": value["recipe"],
                    "ratio": value[who] / value["recipe"],
                    "chosen": counts(chosen[who]),
                    "candidates": int(np.median(numbers)),
                    "processor_seconds_of_choice_and_calibration": float(np.median(seconds)),
                }
            )
            print(rows[-1], flush=True)
    return rows


def lasers(options: argparse.Namespace) -> Panel:
    """Increase of the operating current of 15 lasers; the reading at 0 h, which is 0 by definition, left out."""
    with (options.data / "degradation" / "laser.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["hours"]) > 0]
    units = sorted({row["unit"] for row in rows})
    own = [[(float(row["hours"]), float(row["increase"])) for row in rows if row["unit"] == unit] for unit in units]
    times, values = ([np.array(unit)[:, i] for unit in own] for i in (0, 1))
    return Panel.from_arrays(times, [one[:, None] for one in values])


def against_its_menu(
    name: str, em: cem.FailureModeEM, panel: Panel, score: str, options: argparse.Namespace
) -> list[dict]:
    """Loss of the choice, and of every candidate of the menu, on the same outer folds."""
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    to_failure = em.time_axis == "to_failure"
    cuts = cut_off_ages(panel, 10, SEED) if to_failure else np.zeros((0, 0))
    menu = default_bases(panel, em.time_axis)[: 3 if options.quick else None]
    losses: dict[str, np.ndarray] = {}
    lost = {who: np.empty(panel.n_units) for who in TAKEN}
    chosen: dict[str, list[str]] = {who: [] for who in TAKEN}

    def of(taken: BasisChoice) -> None:
        for one in taken.candidates:
            if one.name not in losses:
                other = with_options(em, one)
                losses[one.name] = losses_of(other, panel, fold_of, score, cuts, None).values

    start = time.process_time()
    for fold in range(N_FOLDS):
        train = panel[fold_of != fold]
        ages = {"ages": cuts[fold_of != fold]} if to_failure else {}
        taken = choose_basis(em, train, bases=menu, score=score, random_state=SEED, n_jobs=options.jobs, **ages)
        of(taken)
        for who, one in zip(TAKEN, (taken.taken, taken.best), strict=True):
            chosen[who].append(one.name)
            lost[who][fold_of == fold] = losses[one.name][fold_of == fold]
    best = min(losses, key=lambda one: losses[one].mean())
    default = cem.FailureModeEM(**em.get_params(deep=False))
    of_default = losses_of(default, panel, fold_of, score, cuts, None).values
    seconds = time.process_time() - start
    rows = [
        {
            "set": name,
            "score": score,
            "taken": who,
            "lost_by_choice": float(lost[who].mean()),
            "lost_by_best_of_menu": float(losses[best].mean()),
            "ratio": float(lost[who].mean() / losses[best].mean()),
            "best_of_menu": best,
            "lost_by_default_basis": float(of_default.mean()),
            "chosen": counts(chosen[who]),
            "candidates": len(losses),
            "processor_seconds": seconds,
        }
        for who in TAKEN
    ]
    print(*rows, sep="\n", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("CEM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with cmapss/ and degradation/")
    parser.add_argument("--only", help="some of FD001,FD003,laser,simulation; keeps no results")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/choose_basis.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    parser.add_argument("--jobs", type=int, default=1, help="candidates side by side")
    options = parser.parse_args()
    before = harness.load_average()
    asked = (options.only or "FD001,FD003,laser,simulation").split(",")
    rows = []
    for name in asked:
        if name in RECIPES:
            rows += engines(name, options)
        elif name == "laser":
            rows += against_its_menu("laser", estimator(), lasers(options), "forecast", options)
        else:
            n_units = 15 if options.quick else 50
            fleet = simulation.drawn((n_units, n_units), SIMULATED_SEED)
            em = estimator(2, time_axis="to_failure", lifetimes="weibull")
            rows += against_its_menu("simulation", em, fleet.panel, "crps", options)
    if not options.quick and not options.only:
        harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
