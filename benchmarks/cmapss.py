"""Remaining life and modes of the C-MAPSS engines, from training files to the figures of docs/howto/turbofan.md.

    python benchmarks/cmapss.py                    # everything; writes benchmarks/results/cmapss.json
    python benchmarks/cmapss.py --without-test     # all that is chosen and measured on training units
    python benchmarks/cmapss.py --training FILE    # go on with the results of that: the test file alone
    python benchmarks/cmapss.py --quick            # one candidate a set, two cut-offs a unit, no file of results
    python benchmarks/cmapss.py --cut-offs         # draws benchmarks/cutoffs.csv again (seed 0)

Basis, number of modes, number of factors that channels and lives share and the penalty of their loadings are chosen,
and intervals corrected, by five folds over training units cut off at the committed ages. The test files are opened in
the last step, by `on_the_test_file`, and by nothing else. The folder of the data is $CEM_SHARED_DATA/cmapss, or that of
--data.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import csv
import json
import os
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import cem
from cem import metrics
from cem.datasets import read_cmapss
from cem.lifetimes import Lifetimes
from cem.model.diagnostics import time_correlation
from cem.panel import Panel
from cem.prognosis.calibration import calibration_of, reliability
from cem.prognosis.heldout import HeldOut, cut_off_ages, folds_of_units, hold_out
from cem.prognosis.selection import cross_validate

warnings.simplefilter("ignore", cem.CemWarning)

SENSORS = [f"s{i}" for i in (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)]
CAP = 125.0
N_FOLDS, SEED = 5, 0
CUT_OFFS = Path(__file__).with_name("cutoffs.csv")
BASES = {"12, 35, 100": (12.0, 35.0, 100.0), "15, 50, 200": (15.0, 50.0, 200.0)}
MODES = (1, 2, 3)
LINKS = ((0, 0.0), (4, 50.0), (4, 5.0), (8, 50.0), (8, 5.0))  # r and linking_penalty
STARTS = 3
BASELINE = 20
SHARES_OF_LIFE = (0.3, 0.4, 0.5)
SIGNS = ["s7", "s12", "s15", "s20", "s21"]
TRAINED_SHARE = 0.5


def estimator(
    n_modes: int, constants: tuple[float, ...], rank: int = 0, penalty: float = 0.0, **options: object
) -> cem.FailureModeEM:
    """The model on the time to failure; rank 0 is the plain one, of independent channels and lives."""
    return cem.FailureModeEM(
        n_modes,
        basis=cem.Exponential(constants),
        time_axis="to_failure",
        n_init=STARTS,
        max_iter=400,
        random_state=SEED,
        linking_rank=rank,
        linking_penalty=penalty,
        **options,
    )


@dataclass(frozen=True)
class Candidate:
    """What is chosen: K, the basis by its label, r and the penalty of loadings."""

    n_modes: int
    label: str
    rank: int = 0
    penalty: float = 0.0

    @property
    def name(self) -> str:
        links = f", r={self.rank}, λ={self.penalty:g}" if self.rank else ""
        return f"K={self.n_modes}, {self.label}{links}"

    def estimator(self, **options: object) -> cem.FailureModeEM:
        return estimator(self.n_modes, BASES[self.label], self.rank, self.penalty, **options)


def draw_cut_offs(folder: Path) -> None:
    """Ages uniform on 31 … life − 1, ten for each unit, FD001 before FD003, one generator with seed 0."""
    rng = np.random.default_rng(SEED)
    with CUT_OFFS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", "unit", "age"])
        for name in ("FD001", "FD003"):
            panel = read_cmapss(folder / f"train_{name}.txt", channels=["s2"])
            for unit, life in zip(panel.units, panel.failure_times, strict=True):
                for age in np.sort(rng.integers(31, int(life), size=10)):
                    writer.writerow([name, unit, int(age)])


def committed_ages(name: str, panel: Panel, n: int = 10) -> np.ndarray:
    """(L, n) cut-offs of a set's units; fewer than ten are spread over them."""
    ages: dict[int, list[float]] = {}
    with CUT_OFFS.open() as file:
        for row in csv.DictReader(file):
            if row["set"] == name:
                ages.setdefault(int(row["unit"]), []).append(float(row["age"]))
    return cut_off_ages(panel, ages)[:, :: 10 // n]


def figures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Errors of point predictions; capped ones of predictions that are E[min(r, 125)]."""
    return {
        "rmse_capped": metrics.rmse(truth, predicted, cap=CAP),
        "mae_capped": metrics.mae(truth, predicted, cap=CAP),
        "nasa_score": metrics.nasa_score(truth, predicted, cap=CAP),
    }


def least_score(law: cem.RemainingLifeDistribution) -> np.ndarray:
    """The prediction of least expected NASA score under each law, both capped at 125."""
    candidates = np.arange(1.0, CAP + 1.0)
    masses = law.pmf.sum(axis=2)
    best = np.empty(law.n_units)
    for unit, (grid, own) in enumerate(zip(np.broadcast_to(law.grid, masses.shape), masses, strict=True)):
        late = candidates[:, None] - np.minimum(grid, CAP)
        costs = np.expm1(np.where(late < 0, -late / 13.0, late / 10.0))
        best[unit] = candidates[(costs @ own).argmin()]
    return best


def trivial(panel: Panel, held: HeldOut) -> dict[str, float]:
    """RMSE, capped, of the best constant, and of the mean residual life at the unit's age, sensors unseen."""
    truth = np.minimum(held.collected("truth"), CAP)
    blind = []
    for fold in held.folds:
        kept = np.setdiff1d(np.arange(panel.n_units), fold.positions)
        lives = panel.failure_times[kept]
        for age in fold.ages:
            left = lives[lives > age] - age
            blind.append(np.minimum(left, CAP).mean() if left.size else 0.0)
    return {"constant": float(truth.std()), "without_sensors": metrics.rmse(truth, np.array(blind))}


def chosen_by_cross_validation(name: str, panel: Panel, ages: np.ndarray, options: argparse.Namespace) -> dict:
    """The candidate of the least capped RMSE on training units."""
    bases = dict(list(BASES.items())[-1:]) if options.quick else BASES
    modes = (1,) if options.quick else MODES
    menu = {one.name: one for links in LINKS for label in bases for k in modes for one in [Candidate(k, label, *links)]}
    result = cross_validate(
        panel,
        {label: one.estimator() for label, one in menu.items()},
        score="rmse",
        cap=CAP,
        ages=ages,
        n_folds=N_FOLDS,
        random_state=SEED,
        n_jobs=options.jobs,
    )
    print(f"{name}, {panel.n_units} training units\n{result}", flush=True)
    rows = [{key: getattr(one, key) for key in one.__dataclass_fields__} for one in result.scored]
    return {"candidates": rows, "best": result.best.name, "chosen": asdict(menu[result.best.name])}


def on_training_units(
    name: str, panel: Panel, ages: np.ndarray, candidate: Candidate, options: argparse.Namespace
) -> dict:
    """Errors and coverage of the chosen candidate on units left out, plain, calibrated, and with κ."""
    em = candidate.estimator()
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)

    def fit(part: Panel) -> cem.RemainingLife:
        return cem.RemainingLife(cem.FailureModeEM(**em.get_params(deep=False)).fit(part).model_)

    held = hold_out(panel, fit, ages, fold_of, n_jobs=options.jobs)
    truth, clusters = held.collected("truth"), held.collected("positions")
    calibration = calibration_of(held)
    plain = np.concatenate([fold.law().mean(CAP) for fold in held.folds])
    corrected = [calibration.corrected(fold.law(calibration.temper)) for fold in held.folds]
    mended = np.concatenate([law.mean(CAP) for law in corrected])
    # The map of scores alone: the readings' evidence counts once, so that the laws stay as sharp as they were.
    mapping = calibration_of(held, tempers=(1.0,))
    mapped = np.concatenate([mapping.corrected(fold.law()).mean(CAP) for fold in held.folds])

    def fit_with_kappa(part: Panel) -> cem.RemainingLife:
        prognosis = fit(part)
        return prognosis.replaced(information=time_correlation(prognosis.model, part).information)

    worth = hold_out(panel, fit_with_kappa, ages, fold_of, n_jobs=options.jobs)
    kappa = np.array([fold.prognosis.information for fold in worth.folds])
    report = {
        "candidate": candidate.name,
        "chosen": asdict(candidate),
        "plain": figures(truth, plain),
        "calibrated": figures(truth, mended),
        "mapped": figures(truth, mapped),
        "trivial": trivial(panel, held),
        "reliability_plain": calibration.before.to_dict(),
        "reliability_calibrated": calibration.after.to_dict(),
        "reliability_mapped": mapping.after.to_dict(),
        "calibration": calibration.to_dict(),
        "mapping": mapping.to_dict(),
        "kappa": {
            "median": float(np.median(kappa)),
            "by_channel": dict(zip(SENSORS, np.median(kappa, axis=0).tolist(), strict=True)),
            **figures(truth, np.concatenate([fold.law().mean(CAP) for fold in worth.folds])),
            "reliability": reliability([fold.law() for fold in worth.folds], truth, clusters).to_dict(),
        },
    }
    print(f"{name}, {candidate.name}: capped RMSE {report['plain']['rmse_capped']:.2f}, from calibrated laws "
          f"{report['calibrated']['rmse_capped']:.2f}, from mapped ones {report['mapped']['rmse_capped']:.2f}; "
          f"{report['trivial']}")  # fmt: skip
    print(f"plain {calibration.before}\ncalibrated {calibration.after}\nmapped {mapping.after}")
    print(f"with kappa (median {report['kappa']['median']:.3f}): RMSE {report['kappa']['rmse_capped']:.2f}, coverage "
          f"{report['kappa']['reliability']['coverage']}", flush=True)  # fmt: skip
    return report


def baselines_removed(panel: Panel) -> Panel:
    """Each unit's own mean over its first 20 cycles subtracted, channel by channel."""
    values = panel.values.copy()
    for first, last in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        values[first:last] -= np.nanmean(values[first : first + BASELINE], axis=0)
    return Panel(
        panel.units, panel.offsets, panel.times, values, panel.channels, modes=panel.modes,
        failure_times=panel.failure_times, time_unit=panel.time_unit,
    )  # fmt: skip


def modes_of_fd003(panel: Panel, labels: dict[int, str]) -> dict:
    """Mode of units left out at 30, 40 and 50 % of life, labels known in training, baselines removed.

    A forward model of the five sensors that the rule of signs is about, fitted to the first half of the lives of the
    training units. β, by which the log-odds of the readings are multiplied, is that of the best log score on the
    units of the other folds.
    """
    labelled = baselines_removed(panel.with_modes(labels)).select_channels(SIGNS)
    codes, shares = labelled.mode_codes, SHARES_OF_LIFE
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    log_odds, prior = np.empty((len(shares), panel.n_units, 2)), np.empty((panel.n_units, 2))
    for fold in range(N_FOLDS):
        held = np.flatnonzero(fold_of == fold)
        train = labelled[fold_of != fold]
        em = cem.FailureModeEM(2, basis=cem.Polynomial(2), n_init=1, random_state=SEED)
        model = em.fit(train.until(np.floor(TRAINED_SHARE * train.failure_times))).model_
        prior[held] = np.log(model.weights_)
        own = labelled[held].with_modes(None)
        for s, share in enumerate(shares):
            probabilities = model.predict_proba(own.until(np.floor(share * own.failure_times)))
            log_odds[s, held] = np.log(np.maximum(probabilities, 1e-300)) - prior[held]
    tempers = np.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05])
    tempered = np.exp(prior + tempers[:, None, None, None] * log_odds)
    tempered /= tempered.sum(axis=-1, keepdims=True)
    scores = metrics.log_score(np.broadcast_to(codes, tempered.shape[:-1]), tempered)  # (β, share, unit)
    best = np.array([scores[:, :, fold_of != fold].mean(axis=(1, 2)).argmin() for fold in range(N_FOLDS)])
    units = np.arange(panel.n_units)
    rows = []
    for s, share in enumerate(shares):
        mended = tempered[best[fold_of], s, units]
        rows.append(
            {
                "share_of_life": share,
                "accuracy": float((mended.argmax(axis=1) == codes).mean()),
                "mean_probability_of_the_mode_named": float(mended.max(axis=1).mean()),
                "brier_plain": float(metrics.brier_score(codes, tempered[0, s]).mean()),
                "brier": float(metrics.brier_score(codes, mended).mean()),
                "log_score_plain": float(scores[0, s].mean()),
                "log_score": float(scores[best[fold_of], s, units].mean()),
            }
        )
        print(f"FD003 modes at {share:.0%} of life: {rows[-1]}", flush=True)
    return {"rows": rows, "tempers": tempers[best].tolist()}


def of_links(
    name: str, panel: Panel, ages: np.ndarray, candidate: Candidate, options: argparse.Namespace
) -> list[dict]:
    """What links between channels, and of lives to channels, change, everything else as chosen."""
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    rows = []
    plain = replace(candidate, rank=0, penalty=0.0)
    for one, lifetimes in ((plain, "lognormal"), (candidate, "lognormal"), (candidate, "auto")):
        em = one.estimator(lifetimes=lifetimes)

        def fit(part: Panel, em: cem.FailureModeEM = em) -> cem.RemainingLife:
            return cem.RemainingLife(cem.FailureModeEM(**em.get_params(deep=False)).fit(part).model_)

        held = hold_out(panel, fit, ages, fold_of, n_jobs=options.jobs)
        laws, truth = [fold.law() for fold in held.folds], held.collected("truth")
        em.fit(panel)
        rows.append(
            {
                "rank": one.rank,
                "lives": "linked" if one.rank and lifetimes == "auto" else "independent",
                **figures(truth, np.concatenate([law.mean(CAP) for law in laws])),
                "reliability": reliability(laws, truth, held.collected("positions")).to_dict(),
                "log_likelihood": em.log_likelihood_,
                "n_parameters": em.n_parameters_,
            }
        )
        print(f"{name}: {rows[-1]}", flush=True)
    return rows


def fit_times(panels: dict[str, Panel], candidates: dict[str, Candidate]) -> dict:
    """Processor seconds of one fit, K and basis given, one start, the lives' part included; the least of three."""
    result = {}
    for name, panel in panels.items():
        chosen = candidates[name]
        for rank in sorted({0, 4, chosen.rank}):
            one = replace(chosen, rank=rank, penalty=(chosen.penalty or LINKS[1][1]) if rank else 0.0)
            seconds = []
            for _ in range(3):
                em = one.estimator().set_params(n_init=1)
                start = time.process_time()
                em.fit(panel)
                seconds.append(time.process_time() - start)
            result[f"{name}, {one.name}"] = {
                "seconds": min(seconds), "passes": em.n_iter_, "converged": em.converged_
            }  # fmt: skip
    print(f"one fit, one start: {result}", flush=True)
    return result


def on_the_test_file(folder: Path, panel: Panel, candidate: Candidate, training: dict) -> dict:
    """The last step: the model of all training units, its calibration from them, one prediction a test unit."""
    prognosis = cem.RemainingLife(candidate.estimator().fit(panel).model_)
    learned = {
        kind: cem.calibration.Calibration.from_dict(training[key])
        for kind, key in (("calibrated", "calibration"), ("mapped", "mapping"))
    }
    test = read_cmapss(folder / "test_FD001.txt", rul=folder / "RUL_FD001.txt", channels=SENSORS)
    truth = test.failure_times - test.times[test.offsets[1:] - 1]
    laws = {"plain": prognosis.predict(test)}
    laws.update({kind: prognosis.replaced(calibration=own).predict(test) for kind, own in learned.items()})
    report = {
        name: {
            **figures(truth, law.mean(CAP)),
            "nasa_score_of_least_expected": metrics.nasa_score(truth, least_score(law), cap=CAP),
            "rmse_uncapped": metrics.rmse(truth, law.mean()),
            "mae_uncapped": metrics.mae(truth, law.median()),
            "reliability": reliability([law], truth, test.units).to_dict(),
            "binomial_90": metrics.binomial_interval(
                int(sum((law.interval(0.9)[0] <= truth) & (truth <= law.interval(0.9)[1]))), len(truth)
            ),
        }
        for name, law in laws.items()
    }
    lives = Lifetimes.fit(panel.failure_times, np.ones((panel.n_units, 1))).laws[0]
    ages = test.times[test.offsets[1:] - 1]
    report["trivial"] = {
        "constant": float(np.minimum(truth, CAP).std()),
        "without_sensors": metrics.rmse(truth, np.minimum(lives.mean_residual_life(ages), CAP), cap=CAP),
    }
    report["point_prediction_chosen_on_training_units"] = min(laws, key=lambda kind: training[kind]["rmse_capped"])
    print(f"FD001 test: {report}", flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("CEM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "cmapss"
    parser.add_argument("--data", type=Path, default=default, help="folder with train_FD001.txt and the others")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs; keeps no results")
    parser.add_argument("--without-test", action="store_true", help="do not open the test files")
    parser.add_argument("--training", type=Path, help="results of --without-test to go on from")
    parser.add_argument("--cut-offs", action="store_true", help="draw cutoffs.csv again and stop")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/cmapss.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    parser.add_argument("--jobs", type=int, default=1, help="folds side by side")
    options = parser.parse_args()
    if options.cut_offs:
        draw_cut_offs(options.data)
        return
    before = harness.load_average()
    if options.training is not None:
        rows = json.loads(options.training.read_text(encoding="utf-8"))["rows"]
        training = next(row for row in rows if row["figure"] == "training units" and row["set"] == "FD001")
        panel = read_cmapss(options.data / "train_FD001.txt", channels=SENSORS)
        last = on_the_test_file(options.data, panel, Candidate(**training["chosen"]), training)
        rows.append({"figure": "test", "set": "FD001", **last})
        harness.write_results(__file__, options, rows, load_before=before)
        return
    panels = {name: read_cmapss(options.data / f"train_{name}.txt", channels=SENSORS) for name in ("FD001", "FD003")}
    ages = {name: committed_ages(name, panel, 2 if options.quick else 10) for name, panel in panels.items()}
    with (options.data / "fd003_train_modes.csv").open() as file:
        labels = {int(row["unit"]): row["mode"] for row in csv.DictReader(file)}
    rows: list[dict] = []
    candidates = {}
    rows.append({"figure": "modes", "set": "FD003", **modes_of_fd003(panels["FD003"], labels)})
    for name, panel in panels.items():
        choice = chosen_by_cross_validation(name, panel, ages[name], options)
        candidates[name] = Candidate(**choice["chosen"])
        rows.append({"figure": "choice", "set": name, **choice})
        rows.append({"figure": "training units", "set": name,
                     **on_training_units(name, panel, ages[name], candidates[name], options)})  # fmt: skip
        rows.append(
            {"figure": "links", "set": name, "rows": of_links(name, panel, ages[name], candidates[name], options)}
        )
    training = {row["set"]: row for row in rows if row["figure"] == "training units"}
    rows.append({"figure": "time", **fit_times(panels, candidates)})
    if not options.without_test:
        last = on_the_test_file(options.data, panels["FD001"], candidates["FD001"], training["FD001"])
        rows.append({"figure": "test", "set": "FD001", **last})
    if not options.quick:
        harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
