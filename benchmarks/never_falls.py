"""Over thousands of random problems with covariates, regimes and columns of three kinds: does the objective ever fall?

Two parts. *Ascents*: from random parameters, channels linked or not, plain passes and quasi-Newton steps, columns by
mode or common, noise of each mode or pooled, every structure of the covariances; covariates that vary within units, or
not, or hardly, a regime that no reading has, two covariates that are one, channels missing on units. *Fits*: whole ones
through `FailureModeEM`, with regimes, membership and covariates of readings and units, forward and to failure.

What is counted is a fall of the objective by more than 1e-9 of its size within one ascent.
"""

from __future__ import annotations

from common import harness

import sys  # isort: skip
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np

import cem
from cem.em.constraints import COVARIANCE_STRUCTURES
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.errors import CemError

sys.path.append(str(harness.HERE.parent / "tests"))
from fixed_problems import random_problem

KINDS = ("plain", "constant within units", "nearly constant", "absent", "collinear")
BY_MODE = ("none", "some", "all")
# A fall below this multiple of the objective's size is rounding.
ROUNDING = 1e-9


class Tally:
    """What happened to runs of one kind."""

    def __init__(self, part: str) -> None:
        self.part, self.runs, self.passes, self.falls, self.worst = part, 0, 0, 0, 0.0
        self.refused: Counter[str] = Counter()

    def add(self, objectives: np.ndarray, what: object) -> None:
        self.runs += 1
        self.passes += len(objectives) - 1
        fall = float(-np.diff(objectives).min(initial=0.0) / (1.0 + np.abs(objectives).max()))
        self.worst = max(self.worst, fall)
        if fall > ROUNDING:
            self.falls += 1
            print(f"{self.part}: the objective fell by {fall:.2g} of its size: {what}", file=sys.stderr)

    def row(self, n_problems: int) -> dict[str, object]:
        return {
            "part": self.part,
            "problems": n_problems,
            "runs": self.runs,
            "passes": self.passes,
            "falls": self.falls,
            "worst": self.worst,
            "refused": sum(self.refused.values()),
        }


def ascents(seed: int, tally: Tally) -> None:
    """One random problem, climbed by plain passes and by quasi-Newton steps."""
    rng = np.random.default_rng(seed)
    rank, kind = int(rng.integers(0, 3)) * (seed % 2), KINDS[seed % 5]
    problem = random_problem(seed, rank=rank, by_mode=BY_MODE[seed % 3], kind=kind)
    covariance = ("full", "shrunk")[int(rng.integers(2))] if rank else COVARIANCE_STRUCTURES[int(rng.integers(4))]
    weight = float(10 ** rng.uniform(-1, 4)) if covariance == "shrunk" else 0.0
    constraints = replace(
        problem.constraints, pooled_noise=bool(rng.integers(2)), covariance=covariance, shrinkage=weight
    )
    ascent = MixtureProblem(Expectation(problem.statistics), constraints)
    for accelerate in (False, True):
        try:
            start = start_em(ascent, feasible(problem.parameters, constraints))
            run = continue_em(start, ascent, n_passes=100, tolerance=1e-8, accelerate=accelerate)
        except CemError as error:
            tally.refused[type(error).__name__] += 1
            continue
        what = (seed, kind, rank, covariance, constraints.pooled_noise, accelerate)
        tally.add(np.asarray(run.objectives), what)


def random_fleet(seed: int) -> cem.Panel:
    """Readings that depend on load, regime and site; missing cells and channels; a third of the units run on."""
    rng = np.random.default_rng(seed)
    n_units, n_channels = int(rng.integers(12, 40)), int(rng.integers(1, 4))
    lengths, site = rng.integers(3, 20, n_units), rng.integers(0, 3, n_units)
    within = (1.0, 1e-4, 1.0, 0.1)[seed % 4]
    times, values, load, state = [], [], [], []
    for l, n in enumerate(lengths):
        t = np.sort(rng.uniform(0.0, 10.0, n))
        w = rng.normal() + within * rng.normal(size=n)
        g = rng.integers(0, 3, n) if l else np.arange(n) % 3
        x = rng.normal(size=n_channels) + rng.normal(size=n_channels) * 0.2 * t[:, None] + 0.5 * w[:, None]
        x = x * (1.0 + 0.3 * g[:, None]) + g[:, None] + site[l] + 0.3 * rng.normal(size=x.shape)
        x[rng.random(x.shape) < 0.1] = np.nan
        if l and n_channels > 1 and rng.random() < 0.1:
            x[:, 0] = np.nan
        x[np.isnan(x).all(axis=1), -1] = 0.0
        times.append(t + 0.1)
        values.append(x)
        load.append(w)
        state.append([f"g{i}" for i in g])
    failures = np.array([t[-1] for t in times]) + rng.gamma(2.0, 1.0, n_units)
    failures[rng.random(n_units) < 0.3] = np.nan
    return cem.Panel.from_arrays(
        times, values, failure_times=failures, covariates={"load": load, "state": state},
        unit_covariates={"site": [f"s{i}" for i in site]}, allow_empty_channels=True,
    )  # fmt: skip


def options(seed: int) -> dict[str, object]:
    """Random options of a fit."""
    rng = np.random.default_rng([seed, 1])
    menu: list[object] = ["load", cem.covariates.Power("load", 2, by_mode=True), "site"]
    menu += [cem.covariates.Category("site", by_mode=True), cem.covariates.Category("state")]
    menu += [cem.covariates.Linear("load", basis_functions="all")]
    regimes = cem.Regimes("state") if rng.random() < 0.5 else None
    terms = menu[int(rng.integers(len(menu)))]
    if regimes is not None and terms is menu[4]:
        terms = "load"
    found: dict[str, object] = {
        "basis": cem.Polynomial(2, random_degree=int(rng.integers(0, 2))),
        "covariates": None if regimes is not None and rng.random() < 0.3 else {None: [terms]},
        "regimes": regimes,
        "noise": str(rng.choice(["own", "pooled"])),
        "covariance": str(rng.choice(COVARIANCE_STRUCTURES)),
        "accelerate": str(rng.choice(["auto", "none"])),
    }
    if rng.random() < 0.3:
        found["membership"] = ["site"]
    if rng.random() < 0.3:
        found |= {"basis": cem.Polynomial(1), "time_axis": "to_failure"}
    if rng.random() < 0.2:
        found["random_columns"] = "none"
    if rng.random() < 0.2:
        found |= {"linking_rank": 1, "covariance": str(rng.choice(["full", "shrunk"]))}
    return found


def fits(seed: int, tally: Tally) -> None:
    """One fit of a random fleet with random options."""
    chosen = options(seed)
    n_modes = seed % 3 + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            em = cem.FailureModeEM(n_modes, n_init=2, max_iter=100, random_state=seed, **chosen).fit(random_fleet(seed))
        except CemError as error:
            tally.refused[f"{type(error).__name__}: {str(error)[:60]}"] += 1
            return
    tally.add(em.objectives_, (seed, n_modes, chosen))


def main() -> None:
    given = harness.arguments(__doc__, problems=("random problems of each part", 2_000))
    before = harness.load_average()
    n = 20 if given.quick else given.problems
    rows = []
    for part, one in (("ascents", ascents), ("fits", fits)):
        tally = Tally(part)
        for seed in range(n):
            one(seed, tally)
        for reason, times in tally.refused.most_common(8):
            print(f"{part}: refused {times} times: {reason}", file=sys.stderr)
        rows.append(tally.row(n))
    harness.write_results(__file__, given, rows, load_before=before)


if __name__ == "__main__":
    main()
