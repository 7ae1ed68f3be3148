"""Remaining lives of turbofan engines one of whose sensors is broken, or whose clock runs in another unit.

    python benchmarks/broken_sensors.py                  # writes benchmarks/results/broken_sensors.json
    python benchmarks/broken_sensors.py --without-gate   # every reading counts in full; keeps no results
    python benchmarks/broken_sensors.py --epsilons       # several values of ε; keeps no results
    python benchmarks/broken_sensors.py --intact         # channels that intact engines lose; keeps no results
    python benchmarks/broken_sensors.py --test           # the 100 test engines of FD001 in place of the folds

The model is that of docs/howto/turbofan.md, calibrated. Folds are over the training engines of FD001, cut off at the
ages of cutoffs.csv: each fold is predicted by a fit, and a calibration, of the other engines. From the middle of an
engine's record on, each of the 14 sensors in turn reads 0; gives one reading ten times too large; reads three standard
deviations of its noise too much; or repeats its last value. Then nothing is broken, and all ages are 300, 1,000 and
5,000 cycles too high. Errors count lives above 125 as 125.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import harness

import cmapss  # isort: skip
import numpy as np
from cmapss import CAP, N_FOLDS, SEED, SENSORS

import cem
from cem.datasets import read_cmapss
from cem.panel import Panel
from cem.prognosis import gate
from cem.prognosis.heldout import folds_of_units

warnings.simplefilter("ignore", cem.CemWarning)

DAMAGES = ("reads 0", "one reading × 10", "+ 3 standard deviations", "stuck")
GROSS = DAMAGES[:2]
LATER = (300.0, 1000.0, 5000.0)
LEVEL = 0.9
EPSILONS = (1e-3, 1e-4, 1e-6, 1e-9, 1e-15)


def damaged(panel: Panel, channel: int, damage: str, noise: float, rng: np.random.Generator) -> Panel:
    """The panel whose sensor is broken from the middle of each unit's record on."""
    values = np.array(panel.values)
    for first, end in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        middle = first + (end - first) // 2
        if damage == "reads 0":
            values[middle:end, channel] = 0.0
        elif damage == "one reading × 10":
            values[rng.integers(middle, end), channel] *= 10.0
        elif damage == "stuck":
            values[middle:end, channel] = values[max(first, middle - 1), channel]
        else:
            values[middle:end, channel] += 3.0 * noise
    return panel._replace(values=values)


def parts(options: argparse.Namespace) -> Iterator[tuple[cem.RemainingLife, list[Panel], list[np.ndarray]]]:
    """A calibrated prognosis, and the running engines that it has not seen with what they have left."""
    folder = harness.SHARED_DATA / "cmapss"
    panel = read_cmapss(folder / "train_FD001.txt", channels=SENSORS)
    ages = cmapss.committed_ages("FD001", panel, 2 if options.quick else 10)
    em = cmapss.estimator(1, (12.0, 35.0, 100.0), 8, 5.0)

    def calibrated(train: Panel, cuts: np.ndarray) -> cem.RemainingLife:
        prognosis = cem.RemainingLife(em.fit(train).model_, gate=None if options.without_gate else "auto")
        return prognosis.calibrated(train, em, ages=cuts, n_folds=N_FOLDS, random_state=SEED)

    if options.test:
        test = read_cmapss(folder / "test_FD001.txt", channels=SENSORS)
        yield calibrated(panel, ages), [test], [np.loadtxt(folder / "RUL_FD001.txt")]
        return
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    for fold in range(1 if options.quick else N_FOLDS):
        inside = np.flatnonzero(fold_of == fold)
        own = panel[inside]
        cuts = [own.until(ages[inside, j]) for j in range(ages.shape[1])]
        left = [own.failure_times - cut.times[np.asarray(cut.offsets[1:]) - 1] for cut in cuts]
        yield calibrated(panel[fold_of != fold], ages[fold_of != fold]), cuts, left


class Tally:
    """Squared errors, intervals and flags of many laws."""

    def __init__(self) -> None:
        self.found: list[np.ndarray] = []

    def add(self, law: cem.RemainingLifeDistribution, truth: np.ndarray, channel: int | None = None) -> None:
        low, high = law.interval(LEVEL)
        names = [] if channel is None else [f"channel {SENSORS[channel]} left", f" of {SENSORS[channel]} left out"]
        named = [any(name in flag for name in names for flag in own) for own in law.flags]
        self.found.append(
            np.stack(
                [
                    np.square(np.minimum(truth, CAP) - law.mean(CAP)), (low <= truth) & (truth <= high), high - low,
                    named, [len(own) > 0 for own in law.flags],
                ]
            )
        )  # fmt: skip

    def figures(self) -> dict[str, float]:
        squares, inside, width, named, flagged = np.concatenate(self.found, axis=1).mean(axis=1).tolist()
        return {"rmse": squares**0.5, "coverage_90": inside, "width_90": width, "named": named, "flagged": flagged}


def row_of(damage: str, tallies: list[Tally], clean: float) -> dict[str, Any]:
    """Means over the sensors; the ratio of the worst one beside them."""
    own = [tally.figures() for tally in tallies]
    means = {key: float(np.mean([one[key] for one in own])) for key in own[0]}
    ratios = [one["rmse"] / clean for one in own]
    return {"damage": damage, "rmse_ratio": float(np.mean(ratios)), "worst_ratio": max(ratios), **means}


def rows_of(given: list[tuple[cem.RemainingLife, list[Panel], list[np.ndarray]]]) -> list[dict[str, Any]]:
    """The table."""
    later_ages = LATER if given[0][0].gate else ()  # without a gate ages far beyond training are refused
    names = ["nothing", *DAMAGES, *(f"ages + {later:,.0f}" for later in later_ages)]
    tallies = {name: [Tally() for _ in SENSORS if name in DAMAGES] or [Tally()] for name in names}
    narrower = dict.fromkeys(LATER, 0)
    for fold, (prognosis, cuts, left) in enumerate(given):
        rng = np.random.default_rng([SEED, fold])
        noise = np.sqrt(prognosis.model.noise_variances_.mean(axis=0))
        oldest = prognosis.model.training["clock"]["longest"]
        for cut, truth in zip(cuts, left, strict=True):
            tallies["nothing"][0].add(prognosis.predict(cut), truth)
            for damage in DAMAGES:
                for c in range(len(SENSORS)):
                    broken = damaged(cut, c, damage, noise[c], rng)
                    tallies[damage][c].add(prognosis.predict(broken), truth, c)
            ages = cut.times[np.asarray(cut.offsets[1:]) - 1]
            at_oldest = cut._replace(times=cut.times + np.repeat(np.maximum(oldest - ages, 0.0), np.diff(cut.offsets)))
            low, high = prognosis.predict(at_oldest).interval(LEVEL)
            for later in later_ages:
                law = prognosis.predict(cut._replace(times=cut.times + later))
                tallies[f"ages + {later:,.0f}"][0].add(law, truth)
                ends = law.interval(LEVEL)
                narrower[later] += int(np.count_nonzero(ends[1] - ends[0] < (high - low) * (1 - 1e-9)))
    clean = tallies["nothing"][0].figures()["rmse"]
    rows = [row_of(name, tallies[name], clean) for name in names]
    for row, later in zip(rows[1 + len(DAMAGES) :], later_ages, strict=True):
        row["narrower_than_at_the_oldest_age"] = narrower[later]
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The figures of the target."""
    by_name = {row["damage"]: row for row in rows}
    broken = [by_name[damage] for damage in DAMAGES]
    return {
        "mean_rmse_ratio": float(np.mean([row["rmse_ratio"] for row in broken])),
        "mean_coverage_90": float(np.mean([row["coverage_90"] for row in broken])),
        "gross_named": float(np.mean([by_name[damage]["named"] for damage in GROSS])),
        "intact_flagged": by_name["nothing"]["flagged"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--without-gate", action="store_true", help="every reading counts in full; keeps no results")
    parser.add_argument("--epsilons", action="store_true", help="several values of ε; keeps no results")
    parser.add_argument("--intact", action="store_true", help="channels that intact engines lose; keeps no results")
    parser.add_argument("--test", action="store_true", help="the test engines of FD001 in place of the folds")
    parser.add_argument("--quick", action="store_true", help="one fold and two cut-offs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/broken_sensors.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    options = parser.parse_args()
    before = harness.load_average()
    if options.intact:
        laws = [prognosis.predict(cut) for prognosis, cuts, _ in parts(options) for cut in cuts]
        lost = np.concatenate([law.channels_left_out.sum(axis=1) for law in laws])
        for n in range(1, int(lost.max()) + 1):
            print(f"{np.count_nonzero(lost == n):5d} of {len(lost):,} predictions lose {n} of {len(SENSORS)} channels")
        print(f"{np.count_nonzero(lost):5d} of {len(lost):,} lose any")
        return
    for epsilon in EPSILONS if options.epsilons else (gate.EPSILON,):
        gate.EPSILON = epsilon
        rows = rows_of(list(parts(options)))
        print(f"epsilon={epsilon:g}", *(f"{key}={value:.4g}" for key, value in summary(rows).items()))
        if options.without_gate or options.epsilons:
            for row in rows:
                print(*(f"{key}={value:.4g}" if isinstance(value, float) else value for key, value in row.items()))
    if not options.epsilons and not options.without_gate:
        harness.write_results(__file__, options, rows, load_before=before, summary=summary(rows))


if __name__ == "__main__":
    main()
